"""What two graphs have in common when they differ only in the memory that they read."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from . import node as nodes
from .node import GraphOp, Node
from .ops import Op

Key = tuple[Hashable, ...]


def signature(
    roots: Sequence[Node], leaf: Callable[[Node], bool], reads: Sequence[Node] = ()
) -> tuple[Key, list[Node]]:
    """A key that is equal for graphs of one structure, and the leaves in the order in which they are met.

    Args:
        roots: what is computed.
        leaf: true of what is read from memory; only its device, dtype and shape matter.
        reads: leaves whose order matters, too, where it is another than that of the walk.
    """
    number: dict[Node, int] = {}
    rows: list[Hashable] = []
    leaves: list[Node] = []
    order: list[Node] = []
    stack = list(reversed(roots))
    while stack:
        n = stack[-1]
        if n in number:
            stack.pop()
            continue
        row: Key
        if leaf(n):
            leaves.append(n)
            row = (n.storage.device.name if n.storage is not None else n.device, n.dtype, n.shape)
        elif n.op is GraphOp.EXPAND and n.device is None and _is_one_number(n.srcs[0]):
            row = (n,)  # the graph has it once, and whoever writes it again means the same
        else:
            ahead = [s for s in n.srcs if s not in number]
            if ahead:
                stack.extend(reversed(ahead))
                continue
            if n.op is GraphOp.PARAMETER:
                row = (n.op, number[n.srcs[0]])
            else:
                row = (n.op, n.dtype, n.shape, n.arg, n.device, tuple([number[s] for s in n.srcs]))
        stack.pop()
        number[n] = len(rows)
        rows.append(row)
        order.append(n)
    rows.append(tuple([number[n] for n in (*roots, *reads)]))
    if nodes.locate is not None:  # a kernel tells where it was made
        rows.append(tuple([n.made_at for n in order]))
    return tuple(rows), leaves


def _is_one_number(n: Node) -> bool:
    while n.op is GraphOp.RESHAPE and n.storage is None:
        n = n.srcs[0]
    return n.op is Op.CONST
