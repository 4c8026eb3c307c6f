"""What two graphs have in common when they differ only in the memory that they read."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from . import node as nodes
from .node import GraphOp, Node


def signature(
    order: Sequence[Node], named: Sequence[Node], leaf: Callable[[Node], bool]
) -> tuple[Hashable, ...]:
    """A key that is equal for graphs of one structure.

    Args:
        order: the nodes, operands before users.
        named: those whose places matter: roots, and leaves in the order in which they are given.
        leaf: true of what is read from memory; only its device, dtype and shape matter.
    """
    number = {n: i for i, n in enumerate(order)}
    rows: list[Hashable] = [tuple([number[n] for n in named])]
    for n in order:
        if leaf(n):
            rows.append((n.storage.device.name if n.storage is not None else n.device, n.dtype, n.shape))
        elif n.op is GraphOp.PARAMETER:
            rows.append((n.op, number[n.srcs[0]]))
        else:
            rows.append((n.op, n.dtype, n.shape, n.arg, n.device, tuple([number[s] for s in n.srcs])))
    if nodes.locate is not None:  # a kernel tells where it was made
        rows.append(tuple([n.made_at for n in order]))
    return tuple(rows)
