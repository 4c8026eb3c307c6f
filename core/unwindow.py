"""Windows added back where they were: the gradient of WINDOW, and so a transposed convolution.

At position i is the sum over k of g[o, k] where o·stride + k·dilation = i. Where windows are some elements
apart that holds for one k in so many only. So positions are taken by their phases: i = stride·q + f meets
k = stride·j + f alone, and for each phase the sum over j of g[q - j, stride·j + f] is one of neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from . import graph
from .graph import MOVEMENT, GraphOp, Node, ReduceArg, WindowArg
from .ops import Op

TERMS = 16
"""Terms of a sum from which on it is quicker to write it and read it again than to walk windows around it."""


def on_axis(x: Node, axis: int, before: int, after: int) -> Node:
    """``x`` with ``axis`` padded (counts ≥ 0) or cut (counts < 0)."""
    n = len(x.shape)
    cut = [(0, x.shape[i]) if i != axis else (max(0, -before), x.shape[i] + min(0, after)) for i in range(n)]
    return graph.pad(
        graph.shrink(x, cut), [(0, 0) if i != axis else (max(0, before), max(0, after)) for i in range(n)]
    )


def spread(x: Node, axis: int, step: int) -> Node:
    """``x`` with ``step - 1`` zeros between the elements of ``axis``."""
    if step == 1 or x.shape[axis] <= 1:
        return x
    shape = x.shape
    split = graph.reshape(x, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
    padded = on_axis(split, axis + 1, 0, step - 1)
    joined = graph.reshape(padded, (*shape[:axis], shape[axis] * step, *shape[axis + 1 :]))
    return on_axis(joined, axis, 0, 1 - step)


def fold_axis(g: Node, n: int, arg: WindowArg) -> Node:
    """The windows of one axis added back.

    Args:
        g: (..., out, ..., size), ``out`` at ``arg.axis``.
        n: of the axis that they were taken of.
        arg: how.
    """
    axis, size, stride, dilation = arg.axis, arg.size, arg.stride, arg.dilation
    count = g.shape[axis]
    if dilation == 1 and size <= stride:  # windows apart: each element lies in one at most
        last = len(g.shape) - 1
        apart = on_axis(g, last, 0, stride - size)
        order = (*range(axis + 1), last, *range(axis + 1, last))
        shape = (*g.shape[:axis], count * stride, *g.shape[axis + 1 : -1])
        return on_axis(graph.reshape(graph.permute(apart, order), shape), axis, 0, n - count * stride)
    folded = _fold_neighbours(spread(g, axis, stride), axis, dilation)
    return on_axis(folded, axis, 0, n - folded.shape[axis])


def _fold_neighbours(g: Node, axis: int, dilation: int = 1) -> Node:
    """At i the sum over k of g[i - k·dilation, k]: (..., out, ..., size) to (..., out + reach, ...)."""
    size = g.shape[-1]
    reach = (size - 1) * dilation
    # [..., i, ..., k, q]: g[i + (q - size + 1)·dilation, k]
    moved = graph.window(on_axis(g, axis, reach, reach), axis, size, 1, dilation)
    turned = graph.flip(moved, [len(moved.shape) - 1])
    outer = turned.shape[:-2]
    square = on_axis(graph.reshape(turned, (*outer, size * size)), len(outer), 0, size)
    diagonal = on_axis(graph.reshape(square, (*outer, size, size + 1)), len(outer) + 1, 0, -size)
    kept = graph.reshape(diagonal, (*outer, size))
    return graph.reshape(graph.reduce(Op.ADD, kept, [len(outer)]), outer)


def fold_windows(g: Node, shape: Sequence[int], stride: Sequence[int]) -> Node:
    """The windows of several axes added back, by phases.

    A long sum, as of a convolution's gradient, is put into memory first, with windows' positions as its last
    axes: then it is a product of matrices, and what follows reads neighbours.

    Args:
        g: (..., \\*out, \\*kernel).
        shape: of the axes that they were taken of; what lies behind the last window is 0.
        stride: on each of these axes.
    """
    rank = len(stride)
    first = len(g.shape) - 2 * rank
    lead, out, kernel = g.shape[:first], g.shape[first : first + rank], g.shape[first + rank :]
    kept, outs, taps = range(first), range(first, first + rank), range(first + rank, first + 2 * rank)
    long = _is_long(g)
    parts = graph.permute(g, (*kept, *taps, *outs))
    if long:
        parts = graph.contiguous(parts)
    steps = [-(-k // s) for k, s in zip(kernel, stride, strict=True)]
    for i, (k, s, j) in enumerate(zip(kernel, stride, steps, strict=True)):
        parts = on_axis(parts, first + i, 0, s * j - k)
    split = [n for j, s in zip(steps, stride, strict=True) for n in (j, s)]
    parts = graph.reshape(parts, (*lead, *split, *out))
    phases, taps = range(first + 1, first + 2 * rank, 2), range(first, first + 2 * rank, 2)
    sums = graph.permute(parts, (*kept, *phases, *range(first + 2 * rank, first + 3 * rank), *taps))
    for i in reversed(range(rank)):
        sums = _fold_neighbours(sums, first + rank + i)
    if long and prod(steps) > 1:
        sums = graph.contiguous(sums)
    order = [axis for i in range(rank) for axis in (first + rank + i, first + i)]
    counts = [o + j - 1 for o, j in zip(out, steps, strict=True)]
    whole = [c * s for c, s in zip(counts, stride, strict=True)]
    y = graph.reshape(graph.permute(sums, (*kept, *order)), (*lead, *whole))
    for i, (n, m) in enumerate(zip(shape, whole, strict=True)):
        y = on_axis(y, first + i, 0, n - m)
    return y


def _is_long(g: Node) -> bool:
    """Whether each element is a sum of many terms."""
    while g.op in MOVEMENT or g.op is Op.CAST:
        g = g.srcs[0]
    return g.op is GraphOp.REDUCE and isinstance(g.arg, ReduceArg) and g.srcs[0].size >= TERMS * g.size


__all__ = ["fold_axis", "fold_windows", "on_axis", "spread"]
