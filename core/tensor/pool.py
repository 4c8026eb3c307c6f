"""Pooling and resizing: windows folded, and axes resampled by a few weighted taps for each position."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import numpy as np

from .. import graph
from ..dtype import float32, index_dtype, int32
from ..elementary.basic import Expr, where
from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph import Node
from ..ops import Op
from .base import Array
from .convolution import around, windows
from .spatial import Counts, Spatial, each


def _out(n: int, k: int, s: int, p: int, d: int, ceil: bool) -> int:
    reach = n + 2 * p - d * (k - 1) - 1
    out = -(-reach // s) + 1 if ceil else reach // s + 1
    return (
        out - 1 if ceil and (out - 1) * s >= n + p else out
    )  # no window starts in the padding after the end


class Pool(Spatial):
    """avg_pool2d to interpolate. The last two axes are pooled."""

    __slots__ = ()

    def _pooled(
        self, kernel: Counts, stride: Counts | None, padding: Counts, dilation: Counts, ceil: bool
    ) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], list[tuple[int, int]]]:
        """Kernel, stride, dilation and the spans of padding that the windows need."""
        if self.ndim < 3:
            raise ShapeError(f"pooling of {self.shape}: (…, C, H, W)")
        k = each(kernel, 2, "kernel size")
        s, p, d = (
            each(stride or kernel, 2, "stride"),
            each(padding, 2, "padding", 0),
            each(dilation, 2, "dilation"),
        )
        if any(q > e // 2 for q, e in zip(p, k, strict=True)):
            raise ArgumentError(f"padding {padding} of windows of {kernel}: at most half the window")
        spans = []
        for n, e, t, q, g in zip(self.shape[-2:], k, s, p, d, strict=True):
            out = _out(n, e, t, q, g, ceil)
            if out < 1:
                raise ShapeError(
                    f"pooling of {self.shape} by windows of {kernel}: they reach beyond the input"
                )
            spans.append((q, max(q, (out - 1) * t + (e - 1) * g + 1 - n - q) if ceil else q))
        return k, s, d, spans

    def avg_pool2d(
        self,
        kernel_size: Counts,
        stride: Counts | None = None,
        padding: Counts = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> Self:
        """The mean of each window; ``stride`` is the window's size unless given."""
        k, s, d, spans = self._pooled(kernel_size, stride, padding, 1, ceil_mode)
        wide = self.cast(float32) if self.dtype.bits == 16 else self
        total = _folded(Op.ADD, windows(around(wide.node, spans), k, s, d))
        p = each(padding, 2, "padding", 0)
        if (count_include_pad and not ceil_mode) or not any(a or b for a, b in spans):
            out = wide._new(total).mul(1.0 / math.prod(k))
        else:
            counted = graph.full(1.0, self.shape[-2:], wide.dtype)
            if count_include_pad:
                counted = graph.pad(
                    graph.full(
                        1.0, tuple(n + 2 * q for n, q in zip(self.shape[-2:], p, strict=True)), wide.dtype
                    ),
                    [(0, b - q) for (_, b), q in zip(spans, p, strict=True)],
                )
            else:
                counted = graph.pad(counted, spans)
            count = _folded(Op.ADD, windows(counted, k, s, d))
            out = wide._new(total).div(wide._of(count, self.device))
        return out.cast(self.dtype)

    def max_pool2d(
        self,
        kernel_size: Counts,
        stride: Counts | None = None,
        padding: Counts = 0,
        dilation: Counts = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Self | tuple[Self, Self]:
        """The greatest of each window; ``stride`` is the window's size unless given.

        With ``return_indices`` also where it was (int64), counted over the H·W positions of its plane.
        """
        k, s, d, spans = self._pooled(kernel_size, stride, padding, dilation, ceil_mode)
        lowest = self.dtype.min
        padded = self.pad([*[None] * (self.ndim - 2), *spans], value=lowest)
        seen = windows(padded.node, k, s, d)
        best = _folded(Op.MAX, seen)
        if not return_indices:
            return self._new(best)
        h, w = self.shape[-2:]
        plane = graph.pad((Expr(graph.reshape(graph.iota(h * w, int32), (h, w))) + 1).node, spans)
        position = Expr(graph.broadcast_to(windows(plane, k, s, d), seen.shape))
        top = Expr(graph.expand(graph.reshape(best, (*best.shape, 1, 1)), seen.shape))
        e = Expr(seen)
        hit = e.eq(top) | e.ne(e) if self.dtype.is_float else e.eq(top)
        left = where(hit & position.ne(0), h * w + 1 - position, 0)
        first = h * w - Expr(_folded(Op.MAX, left.node))
        return self._new(best), self._test(graph.cast(first.node, index_dtype))

    def max_unpool2d(
        self,
        indices: Self,
        kernel_size: Counts,
        stride: Counts | None = None,
        padding: Counts = 0,
        output_size: Sequence[int] | None = None,
    ) -> Self:
        """What ``max_pool2d`` kept, back at its positions; zeros elsewhere."""
        k, p = each(kernel_size, 2, "kernel size"), each(padding, 2, "padding", 0)
        s = each(stride or kernel_size, 2, "stride")
        if output_size is None:
            size = tuple((n - 1) * t - 2 * q + e for n, t, q, e in zip(self.shape[-2:], s, p, k, strict=True))
        else:
            size = tuple(output_size)[-2:]
        lead = self.shape[:-2]
        flat = self.zeros((*lead, math.prod(size)), dtype=self.dtype, device=self.device)
        placed = flat.scatter(-1, indices.flatten(-2), self.flatten(-2))
        return placed.reshape(*lead, *size)

    def adaptive_avg_pool2d(self, output_size: Counts | tuple[int | None, int | None]) -> Self:
        """Means of windows that come to ``output_size``: position i covers ⌊i·n/m⌋ to ⌈(i+1)·n/m⌉."""
        wanted = (output_size,) * 2 if isinstance(output_size, int) else tuple(output_size)
        if len(wanted) != 2 or any(m is not None and m < 1 for m in wanted):
            raise ArgumentError(f"adaptive_avg_pool2d to {output_size}: two positive sizes")
        x = self
        for axis, m in zip((self.ndim - 2, self.ndim - 1), wanted, strict=True):
            n = x.shape[axis]
            if m is None or m == n:
                continue
            if n % m == 0:
                x = x.unflatten(axis, (m, n // m)).mean(axis + 1)
                continue
            i = np.arange(m)
            start, stop = i * n // m, -((-(i + 1) * n) // m)
            taps = start + np.arange((stop - start).max())[:, None]
            x = x._resampled(axis, np.minimum(taps, n - 1), (taps < stop) / (stop - start))
        return x

    def _resampled(self, axis: int, taps: Array, weights: Array) -> Self:
        """Σ over t of weights[t, i]·self at taps[t, i], along an axis."""
        m = taps.shape[1]
        shape = [m if i == axis else 1 for i in range(self.ndim)]
        wide = self.cast(float32) if self.dtype.bits == 16 else self
        out: Self | None = None
        for at, weight in zip(taps, weights, strict=True):
            w = type(self)(weight.astype(wide.dtype.numpy), device=self.device).reshape(shape)
            part = wide.index_select(axis, at).mul(w)
            out = part if out is None else out.add(part)
        assert out is not None
        return out.cast(self.dtype)

    def interpolate(
        self,
        size: Counts | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool = False,
    ) -> Self:
        """The spatial axes of (N, C, *spatial) resized.

        Args:
            size: of the result; or
            scale_factor: how much larger, on all axes or on each.
            mode: "nearest", "linear" (also called "bilinear", "trilinear") or "cubic" ("bicubic"; a = -0.75).
            align_corners: whether the first and last positions stay where they are; else the edges of
            elements do.
        """
        rank = self.ndim - 2
        kind = {"bilinear": "linear", "trilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
        if rank < 1:
            raise ShapeError(f"interpolate of {self.shape}: (N, C, *spatial)")
        if kind not in ("nearest", "linear", "cubic"):
            raise ArgumentError(f"interpolate mode {mode!r}: nearest, linear or cubic")
        if (size is None) == (scale_factor is None):
            raise ArgumentError("interpolate: give the size or the scale factor, one of them")
        if kind != "nearest" and not self.dtype.is_float:
            raise DTypeError(f"{mode} interpolation of {self.dtype}: cast it to a float")
        if size is not None:
            sizes = each(size, rank, "size")
            scales = [n / m for n, m in zip(self.shape[2:], sizes, strict=True)]
        else:
            factors = (
                [scale_factor] * rank if isinstance(scale_factor, (int, float)) else list(scale_factor or ())
            )
            if len(factors) != rank:
                raise ArgumentError(f"interpolate of {rank} axes by {scale_factor}: one factor for each")
            sizes = tuple(int(n * f) for n, f in zip(self.shape[2:], factors, strict=True))
            scales = [1.0 / f for f in factors]
        x = self
        for axis, (m, scale) in enumerate(zip(sizes, scales, strict=True), 2):
            n = x.shape[axis]
            i = np.arange(m, dtype=np.float64)
            if kind == "nearest":
                x = x.index_select(axis, np.minimum((i * scale).astype(np.int64), n - 1))
                continue
            at = i * ((n - 1) / max(m - 1, 1)) if align_corners else (i + 0.5) * scale - 0.5
            x = x._resampled(axis, *(_linear_taps(at, n) if kind == "linear" else _cubic_taps(at, n)))
        return x


def _folded(op: Op, x: Node) -> Node:
    """The last two axes (positions in the window) folded away."""
    n = len(x.shape)
    return graph.reshape(graph.reduce(op, x, (n - 2, n - 1)), x.shape[:-2])


def _linear_taps(at: Array, n: int) -> tuple[Array, Array]:
    at = np.clip(at, 0, n - 1)
    low = np.floor(at).astype(np.int64)
    part = at - low
    return np.stack([low, np.minimum(low + 1, n - 1)]), np.stack([1 - part, part])


def _cubic_taps(at: Array, n: int) -> tuple[Array, Array]:
    """Four neighbours, by the cubic convolution kernel (Keys 1981) with a = -0.75."""
    a = -0.75
    low = np.floor(at)
    taps, weights = [], []
    for k in (-1, 0, 1, 2):
        d = np.abs(at - (low + k))
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        taps.append(np.clip(low + k, 0, n - 1).astype(np.int64))
        weights.append(np.where(d <= 1, near, far))
    return np.stack(taps), np.stack(weights)
