"""Convolution: windows of the input times the weight, summed. No unrolled copy of the input is made.

Shapes are PyTorch's: input (N, C, *spatial), weight (out, C / groups, *kernel).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from .. import graph
from ..derivative import define
from ..errors import ArgumentError, ShapeError
from ..graph import Node
from ..unwindow import fold_windows, on_axis, spread
from .linear import Linear, contract

Counts = int | Sequence[int]


def each(value: Counts, n: int, what: str, least: int = 1) -> tuple[int, ...]:
    """One count for each of ``n`` axes."""
    out = (value,) * n if isinstance(value, int) else tuple(value)
    if len(out) != n or any(v < least for v in out):
        raise ArgumentError(f"{what} {value}: {n} numbers, none below {least}")
    return out


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


class Spatial(Linear):
    """conv1d to conv_transpose2d."""

    __slots__ = ()

    def _conv(
        self,
        rank: int,
        weight: Self,
        bias: Self | None,
        stride: Counts,
        padding: Counts | str | Sequence[tuple[int, int]],
        dilation: Counts,
        groups: int,
    ) -> Self:
        if self.ndim == rank + 1:
            return self.unsqueeze(0)._conv(rank, weight, bias, stride, padding, dilation, groups).squeeze(0)
        if self.ndim != rank + 2 or weight.ndim != rank + 2:
            raise ShapeError(
                f"conv{rank}d of {self.shape} with {weight.shape}: (N, C, {rank} axes) and "
                f"(out, in, {rank} axes)"
            )
        out_channels, in_channels, *kernel = weight.shape
        if groups < 1 or self.shape[1] != in_channels * groups or out_channels % groups:
            raise ShapeError(
                f"conv{rank}d of {self.shape} with {weight.shape} in {groups} groups: the input must have "
                f"{in_channels * groups} channels, and the groups divide the {out_channels} outputs"
            )
        s, d = each(stride, rank, "stride"), each(dilation, rank, "dilation")
        x, w = self._agree(weight)
        padded = around(x.node, _padding(padding, kernel, s, d))
        if any((k - 1) * e + 1 > n for k, e, n in zip(kernel, d, padded.shape[2:], strict=True)):
            raise ShapeError(
                f"conv{rank}d of {self.shape} with {weight.shape}: the kernel reaches beyond the input"
            )
        seen = windows(padded, kernel, s, d)  # (N, C, *out, *kernel)
        n, out = self.shape[0], seen.shape[2 : 2 + rank]
        split = graph.reshape(seen, (n, groups, 1, in_channels, *out, *kernel))
        order = (0, 1, 2, *range(4, 4 + rank), 3, *range(4 + rank, 4 + 2 * rank))
        moved = graph.permute(split, order)  # (N, groups, 1, *out, in, *kernel)
        each_out = out_channels // groups
        kernels = graph.reshape(w.node, (1, groups, each_out, *(1,) * rank, in_channels, *kernel))
        node = graph.reshape(contract(moved, kernels, 1 + rank), (n, out_channels, *out))
        y = x._with(node, w)
        return y if bias is None else y.add(bias.reshape(1, -1, *(1,) * rank))

    def conv1d(
        self,
        weight: Self,
        bias: Self | None = None,
        stride: Counts = 1,
        padding: Counts | str = 0,
        dilation: Counts = 1,
        groups: int = 1,
    ) -> Self:
        """Convolution (cross-correlation) over one axis. ``padding``: counts, "same" or "valid"."""
        return self._conv(1, weight, bias, stride, padding, dilation, groups)

    def conv2d(
        self,
        weight: Self,
        bias: Self | None = None,
        stride: Counts = 1,
        padding: Counts | str = 0,
        dilation: Counts = 1,
        groups: int = 1,
    ) -> Self:
        """Convolution (cross-correlation) over two axes. ``padding``: counts, "same" or "valid"."""
        return self._conv(2, weight, bias, stride, padding, dilation, groups)

    def conv3d(
        self,
        weight: Self,
        bias: Self | None = None,
        stride: Counts = 1,
        padding: Counts | str = 0,
        dilation: Counts = 1,
        groups: int = 1,
    ) -> Self:
        """Convolution (cross-correlation) over three axes. ``padding``: counts, "same" or "valid"."""
        return self._conv(3, weight, bias, stride, padding, dilation, groups)

    def conv_transpose2d(
        self,
        weight: Self,
        bias: Self | None = None,
        stride: Counts = 1,
        padding: Counts = 0,
        output_padding: Counts = 0,
        groups: int = 1,
        dilation: Counts = 1,
    ) -> Self:
        """The gradient of ``conv2d`` by its input, as a layer: weight (in, out / groups, *kernel)."""
        if self.ndim == 3:
            return (
                self.unsqueeze(0)
                .conv_transpose2d(weight, bias, stride, padding, output_padding, groups, dilation)
                .squeeze(0)
            )
        if self.ndim != 4 or weight.ndim != 4 or self.shape[1] != weight.shape[0] or weight.shape[0] % groups:
            raise ShapeError(
                f"conv_transpose2d of {self.shape} with {weight.shape} in {groups} groups: (N, in, H, W) and "
                "(in, out, kH, kW)"
            )
        s, d = each(stride, 2, "stride"), each(dilation, 2, "dilation")
        p, extra = each(padding, 2, "padding", 0), each(output_padding, 2, "output padding", 0)
        into, each_out, *kernel = weight.shape
        if max(s) > 1 and max(d) == 1:
            return self._apart(weight, bias, groups, s, p, extra)
        turned = weight.flip(2, 3).reshape(groups, into // groups, each_out, *kernel)
        node = self.node
        for i, step in enumerate(s):
            node = spread(node, 2 + i, step)
        spans = [
            ((k - 1) * e - q, (k - 1) * e - q + o) for k, e, q, o in zip(kernel, d, p, extra, strict=True)
        ]
        padded = self._new(node).pad([(0, 0), (0, 0), *spans])
        swapped = turned.transpose(1, 2).reshape(groups * each_out, into // groups, *kernel)
        return padded.conv2d(swapped, bias, 1, 0, d, groups)

    def _apart(
        self,
        weight: Self,
        bias: Self | None,
        groups: int,
        stride: Sequence[int],
        padding: Sequence[int],
        extra: Sequence[int],
    ) -> Self:
        """``conv_transpose2d`` whose windows lie apart: each pixel's, added where they belong."""
        x, w = self._agree(weight)
        n, into, *size = x.shape
        each_out, *kernel = w.shape[1:]
        pixels = graph.permute(
            graph.reshape(x.node, (n, groups, into // groups, 1, *size, 1, 1)), (0, 1, 3, 4, 5, 6, 7, 2)
        )
        taps = graph.permute(
            graph.reshape(w.node, (1, groups, into // groups, each_out, 1, 1, *kernel)),
            (0, 1, 3, 4, 5, 6, 7, 2),
        )
        each = graph.reshape(contract(pixels, taps, 1), (n, groups * each_out, *size, *kernel))
        whole = [(m - 1) * s + k for m, s, k in zip(size, stride, kernel, strict=True)]
        node = fold_windows(each, whole, stride)
        for i, (q, o) in enumerate(zip(padding, extra, strict=True)):
            node = on_axis(node, 2 + i, -q, o - q)
        y = x._with(node, w)
        return y if bias is None else y.add(bias.reshape(1, -1, 1, 1))


def _padding(
    padding: Counts | str | Sequence[tuple[int, int]],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> list[tuple[int, int]]:
    if padding == "valid":
        return [(0, 0)] * len(kernel)
    if padding == "same":
        if any(s != 1 for s in stride):
            raise ArgumentError(
                f'padding="same" with stride {tuple(stride)}: the size can only stay with stride 1'
            )
        reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        return [(r // 2, r - r // 2) for r in reach]
    if isinstance(padding, str):
        raise ArgumentError(f'padding {padding!r}: counts, "same" or "valid"')
    counts = each(padding, len(kernel), "padding", 0)  # type: ignore[arg-type]
    return [(p, p) for p in counts]
