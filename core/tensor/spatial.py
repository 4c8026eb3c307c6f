"""Convolution as users call it: what is asked is checked, and done by ``convolution``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from ..errors import ArgumentError, ShapeError
from .convolution import Sliding, convolve, transposed
from .linear import Linear

Counts = int | Sequence[int]


def each(value: Counts, n: int, what: str, least: int = 1) -> tuple[int, ...]:
    """One count for each of ``n`` axes."""
    out = (value,) * n if isinstance(value, int) else tuple(value)
    if len(out) != n or any(v < least for v in out):
        raise ArgumentError(f"{what} {value}: {n} numbers, none below {least}")
    return out


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
        how = Sliding(s, d, tuple(_padding(padding, kernel, s, d)), groups)
        sizes = [n + before + behind for n, (before, behind) in zip(self.shape[2:], how.padding, strict=True)]
        if any((k - 1) * e + 1 > n for k, e, n in zip(kernel, d, sizes, strict=True)):
            raise ShapeError(
                f"conv{rank}d of {self.shape} with {weight.shape}: the kernel reaches beyond the input"
            )
        node = convolve(x.node, w.node, how)
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
        size = [
            (n - 1) * step - 2 * q + (k - 1) * e + 1 + o
            for n, step, q, k, e, o in zip(self.shape[2:], s, p, weight.shape[2:], d, extra, strict=True)
        ]
        x, w = self._agree(weight)
        y = x._with(transposed(x.node, w.node, size, Sliding(s, d, tuple((q, q) for q in p), groups)), w)
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
