"""Long reductions with few results, in two steps: threads share the work, and rounding errors stay small."""

from __future__ import annotations

from . import graph
from .device import Spec
from .graph import GraphOp, Node, ReduceArg, toposort

LONG = 1 << 17
"""Elements that a reduction must fold into each result before it is worth a second kernel."""
PIECES = 128
"""Partial results wanted of each result, about."""


def split_large_reductions(roots: list[Node], spec: Spec) -> list[Node]:
    """The same roots with each long reduction to few results folded in pieces first.

    The pieces are put into memory by a kernel of their own, whose results another kernel folds.
    """
    new: dict[Node, Node] = {}
    for node in toposort(roots, stop=lambda n: n.storage is not None):
        if node.storage is not None or not node.srcs:
            new[node] = node
            continue
        srcs = tuple(new[s] for s in node.srcs)
        new[node] = node if srcs == node.srcs else graph.with_srcs(node, srcs)
        if (
            node.op is GraphOp.REDUCE
            and node.size < spec.threads * 2
            and node.srcs[0].size // max(node.size, 1) >= LONG
        ):
            new[node] = _in_pieces(new[node])
    return [new[r] for r in roots]


def _in_pieces(node: Node) -> Node:
    arg, x = node.arg, node.srcs[0]
    assert isinstance(arg, ReduceArg)
    axis = max(arg.axes, key=lambda a: x.shape[a])
    n = x.shape[axis]
    pieces = min((p for p in range(2, 4096) if n % p == 0), key=lambda p: abs(p - PIECES), default=1)
    if pieces == 1:
        return node
    split = (*x.shape[:axis], pieces, n // pieces, *x.shape[axis + 1 :])
    folded = tuple(a if a < axis else a + 1 for a in arg.axes)
    part = graph.contiguous(graph.reduce(arg.op, graph.reshape(x, split), folded))
    return graph.reshape(graph.reduce(arg.op, part, (axis,)), node.shape)
