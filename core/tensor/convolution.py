"""Convolution of nodes, and its gradients, which are convolutions and products of matrices again.

Windows of the input times the weight, summed; no unrolled copy of the input is made. Shapes are PyTorch's:
input (N, C, *spatial), weight (out, C / groups, *kernel).
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import graph
from ..derivative import define
from ..graph import Node
from ..record import dataclass
from ..unwindow import fold_windows, on_axis, spread
from .linear import contract


@dataclass(frozen=True, slots=True)
class Sliding:
    """How a kernel goes over an input.

    Attributes:
        stride, dilation: on each axis.
        padding: zeros before and behind, on each axis.
        groups: of channels, each by itself.
    """

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    groups: int = 1


def windows(x: Node, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Node:
    """Windows over the last axes: (..., *out) with the positions in the window as new last axes."""
    first = len(x.shape) - len(kernel)
    seen = x
    for i, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True)):
        seen = graph.window(seen, first + i, k, s, d)
    if any(s > 1 for s in stride) and all(d == 1 for d in dilation):
        spatial, steps = x.shape[first:], tuple(stride)
        define(seen, (x,), lambda g, y: [fold_windows(g, spatial, steps)])
    return seen


def around(x: Node, padding: Sequence[tuple[int, int]]) -> Node:
    """Zeros around the last axes."""
    return graph.pad(x, [(0, 0)] * (len(x.shape) - len(padding)) + list(padding))


def convolve(x: Node, w: Node, how: Sliding) -> Node:
    """The convolution (cross-correlation) of x with w: (N, out, *spatial)."""
    rank, groups = len(how.stride), how.groups
    out_channels, in_channels, *kernel = w.shape
    n = x.shape[0]
    seen = windows(around(x, how.padding), kernel, how.stride, how.dilation)  # (N, C, *out, *kernel)
    out = seen.shape[2 : 2 + rank]
    split = graph.reshape(seen, (n, groups, 1, in_channels, *out, *kernel))
    order = (0, 1, 2, *range(4, 4 + rank), 3, *range(4 + rank, 4 + 2 * rank))
    moved = graph.permute(split, order)  # (N, groups, 1, *out, in, *kernel)
    kernels = graph.reshape(w, (1, groups, out_channels // groups, *(1,) * rank, in_channels, *kernel))
    y = graph.reshape(contract(moved, kernels, 1 + rank), (n, out_channels, *out))

    def rule(g: Node, y: Node) -> list[Node | None]:
        return [transposed(g, w, x.shape[2:], how), _by_weight(g, seen, w.shape, groups)]

    return define(y, (x, w), rule)


def transposed(g: Node, w: Node, spatial: Sequence[int], how: Sliding) -> Node:
    """The gradient of a convolution by its input, from that by its result.

    Args:
        g: (N, out, *out).
        w: of the convolution.
        spatial: the axes of its input.
        how: it went.
    """

    def rule(u: Node, y: Node) -> list[Node | None]:
        seen = windows(around(u, how.padding), w.shape[2:], how.stride, how.dilation)
        return [convolve(u, w, how), _by_weight(g, seen, w.shape, how.groups)]

    apart = max(how.stride) > 1 and max(how.dilation) == 1
    y = _added(g, w, spatial, how) if apart else _convolved(g, w, spatial, how)
    return define(y, (g, w), rule)


def _added(g: Node, w: Node, spatial: Sequence[int], how: Sliding) -> Node:
    """``transposed`` where windows lie apart: what each result gives to its window, added up."""
    seen = [(o - 1) * s + k for o, s, k in zip(g.shape[2:], how.stride, w.shape[2:], strict=True)]
    y = fold_windows(_by_window(g, w, how.groups), seen, how.stride)
    for i, (n, m, (before, _)) in enumerate(zip(spatial, seen, how.padding, strict=True)):
        y = on_axis(y, 2 + i, -before, n - m + before)
    return y


def _convolved(g: Node, w: Node, spatial: Sequence[int], how: Sliding) -> Node:
    """``transposed`` as a convolution with the turned weight."""
    kernel = w.shape[2:]
    for i, (k, s, d, n, (before, _)) in enumerate(
        zip(kernel, how.stride, how.dilation, spatial, how.padding, strict=True)
    ):
        g = spread(g, 2 + i, s)
        g = on_axis(g, 2 + i, (k - 1) * d - before, n - g.shape[2 + i] + before)
    each_out, each_in = w.shape[0] // how.groups, w.shape[1]
    turned = graph.flip(w, range(2, len(w.shape)))
    split = graph.reshape(turned, (how.groups, each_out, each_in, *kernel))
    swapped = graph.permute(split, (0, 2, 1, *range(3, 3 + len(kernel))))
    weight = graph.reshape(swapped, (how.groups * each_in, each_out, *kernel))
    steps = (1,) * len(kernel)
    return convolve(g, weight, Sliding(steps, how.dilation, ((0, 0),) * len(kernel), how.groups))


def _by_window(g: Node, w: Node, groups: int) -> Node:
    """The gradient by each element of each window: (N, C, *out, *kernel)."""
    n, _, *out = g.shape
    each_out, each_in, *kernel = w.shape[0] // groups, *w.shape[1:]
    ones = (1,) * len(kernel)
    last = len(kernel) * 2 + 3
    order = (0, 1, *range(3, last + 1), 2)  # what is summed comes last
    pixels = graph.permute(graph.reshape(g, (n, groups, each_out, 1, *out, *ones)), order)
    taps = graph.permute(graph.reshape(w, (1, groups, each_out, each_in, *ones, *kernel)), order)
    return graph.reshape(contract(pixels, taps, 1), (n, groups * each_in, *out, *kernel))


def _by_weight(g: Node, seen: Node, shape: Sequence[int], groups: int) -> Node:
    """The gradient of a convolution by its weight, from that by its result and the windows of its input."""
    out_channels, each_in, *kernel = shape
    rank = len(kernel)
    n, out = seen.shape[0], seen.shape[2 : 2 + rank]
    results = graph.reshape(g, (n, groups, out_channels // groups, 1, *out, *(1,) * rank))
    pixels = graph.reshape(seen, (n, groups, 1, each_in, *out, *kernel))
    order = (1, 2, 3, *range(4 + rank, 4 + 2 * rank), 0, *range(4, 4 + rank))
    summed = contract(graph.permute(results, order), graph.permute(pixels, order), 1 + rank)
    return graph.reshape(summed, tuple(shape))
