"""What two graphs have in common when they differ only in the memory that they read."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from . import node as nodes
from .node import GraphOp, Node
from .ops import Op

Key = tuple[Hashable, ...]
_EXPAND, _PARAMETER, _RESHAPE, _CONST = GraphOp.EXPAND, GraphOp.PARAMETER, GraphOp.RESHAPE, Op.CONST
"""Under names of this module: to find a member in its class takes Python 3.11 a tenth of a microsecond."""


def signature(
    roots: Sequence[Node], leaf: Callable[[Node], bool], reads: Sequence[Node] = ()
) -> tuple[Key, list[Node]]:
    """A key that is equal for graphs of one structure, and the leaves in the order in which they are met.

    Args:
        roots: what is computed.
        leaf: true of what is read from memory; only its device, dtype and shape matter.
        reads: nodes whose places matter, too, in their order: what is read, what a chain hands on.
    """
    number: dict[Node, int] = {}  # in the order of the rows
    rows: list[Hashable] = []
    leaves: list[Node] = []
    stack = list(reversed(roots))
    while stack:
        n = stack.pop()
        if n in number:
            continue
        row: list[Hashable]
        if leaf(n):
            leaves.append(n)
            rows.append(_read(n))
        elif n.op is _EXPAND and n.device is None and _is_one_number(n.srcs[0]):
            rows.append((n,))  # the graph has it once, and whoever writes it again means the same
        else:
            row = [n.op] if n.op is _PARAMETER else [n.op, n.dtype, n.shape, n.arg, n.device]
            for s in n.srcs:
                i = number.get(s)
                if i is None:
                    if not leaf(s):
                        stack += (n, s)  # again, once its operand is numbered
                        break
                    i = number[s] = len(rows)
                    leaves.append(s)
                    rows.append(_read(s))
                row.append(i)
            else:
                number[n] = len(rows)
                rows.append(tuple(row))
            continue
        number[n] = len(rows) - 1
    rows.append(tuple([number[n] for n in (*roots, *reads)]))
    if nodes.locate is not None:  # a kernel tells where it was made
        rows.append(tuple([n.made_at for n in number]))
    return tuple(rows), leaves


def _read(n: Node) -> Key:
    return (n.storage.device.name if n.storage is not None else n.device, n.dtype, n.shape)


def _is_one_number(n: Node) -> bool:
    while n.op is _RESHAPE and n.storage is None:
        n = n.srcs[0]
    return n.op is _CONST
