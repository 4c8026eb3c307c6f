"""Reductions: axes folded to one element each.

Sums of float16 and bfloat16 accumulate in float32; sums and products of integers and bools are int64 (uint64
of unsigned), as PyTorch's. ``dim`` is one axis, several, or None for all; ``keepdim`` keeps them with size 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

from .. import graph
from ..derivative import define
from ..dtype import (
    DType,
    DTypeLike,
    as_dtype,
    bool_,
    default_float,
    float32,
    index_dtype,
    int32,
    int64,
    uint64,
)
from ..elementary import basic
from ..elementary.basic import Expr, where
from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph import Node
from ..ops import Op
from .functions import Functions

Dims = int | Sequence[int] | None


class Reduce(Functions):
    """sum to norm."""

    __slots__ = ()

    def _folded(self, node: Node, axes: tuple[int, ...], keepdim: bool) -> Self:
        """``node``, whose ``axes`` have size 1, without them unless they are kept."""
        if not keepdim:
            node = graph.reshape(node, tuple([n for i, n in enumerate(node.shape) if i not in axes]))
        t = self._new(node)
        t._requires_grad = self._requires_grad and node.dtype.is_float
        return t

    def _accumulate(self, op: Op, dim: Dims, keepdim: bool, dtype: DTypeLike | None) -> Self:
        axes = self._axes(dim)
        result = as_dtype(dtype) if dtype is not None else total_dtype(self.dtype)
        wide = float32 if result.is_float and result.bits == 16 else result
        return self._folded(
            graph.cast(graph.reduce(op, graph.cast(self.node, wide), axes), result), axes, keepdim
        )

    def sum(
        self, dim: Dims = None, keepdim: bool = False, dtype: DTypeLike | None = None, axis: Dims = None
    ) -> Self:
        """The sum; 0 of nothing."""
        return self._accumulate(Op.ADD, axis if dim is None else dim, keepdim, dtype)

    def prod(self, dim: Dims = None, keepdim: bool = False, dtype: DTypeLike | None = None) -> Self:
        """The product; 1 of nothing."""
        return self._accumulate(Op.MUL, dim, keepdim, dtype)

    def _filled(self, axes: tuple[int, ...], what: str) -> None:
        if any(self.shape[a] == 0 for a in axes):
            raise ShapeError(f"{what} over axes {axes} of {self.shape}: there is nothing to choose from")

    def amax(self, dim: Dims = None, keepdim: bool = False) -> Self:
        """The greatest; NaN if there is one. Equal ones share the gradient."""
        axes = self._axes(dim)
        self._filled(axes, "max")
        return self._folded(graph.reduce(Op.MAX, self.node, axes), axes, keepdim)

    def amin(self, dim: Dims = None, keepdim: bool = False) -> Self:
        """The least; NaN if there is one. Equal ones share the gradient."""
        axes = self._axes(dim)
        self._filled(axes, "min")
        return self._folded(lowest(self.node, axes), axes, keepdim)

    def max(self, dim: Any = None, keepdim: bool = False, axis: Dims = None) -> Self:
        """The greatest, over ``dim`` or everything; with another tensor, ``maximum``. Positions:
        ``argmax``.
        """
        if isinstance(dim, Reduce):
            return self.maximum(dim)
        return self.amax(axis if dim is None else dim, keepdim)

    def min(self, dim: Any = None, keepdim: bool = False, axis: Dims = None) -> Self:
        """The least, over ``dim`` or everything; with another tensor, ``minimum``. Positions: ``argmin``."""
        if isinstance(dim, Reduce):
            return self.minimum(dim)
        return self.amin(axis if dim is None else dim, keepdim)

    def _count(self, axes: tuple[int, ...]) -> int:
        return math.prod(self.shape[a] for a in axes)

    def mean(
        self, dim: Dims = None, keepdim: bool = False, dtype: DTypeLike | None = None, axis: Dims = None
    ) -> Self:
        """The arithmetic mean; NaN of nothing. Integers and bools give the default float."""
        axes = self._axes(axis if dim is None else dim)
        result = (
            as_dtype(dtype) if dtype is not None else self.dtype if self.dtype.is_float else default_float
        )
        if not result.is_float:
            raise DTypeError(f"mean in {result}: name a float")
        wide = float32 if result.bits == 16 else result
        total = graph.reduce(Op.ADD, graph.cast(self.node, wide), axes)
        n = self._count(axes)
        share = Expr(total) * (1.0 / n if n else math.nan)
        return self._folded(graph.cast(share.node, result), axes, keepdim)

    def var(self, dim: Dims = None, correction: int = 1, keepdim: bool = False, axis: Dims = None) -> Self:
        """The mean of squared distances from the mean, over n - ``correction``; NaN where that is 0 or
        less.
        """
        axes = self._axes(axis if dim is None else dim)
        x = self if self.dtype.is_float else self.cast(default_float)
        own = x.dtype
        x = x.cast(float32) if own.bits == 16 else x
        away = x.sub(x.mean(axes, keepdim=True))
        n = self._count(axes) - correction
        scale = 1.0 / n if n > 0 else math.nan
        return away.mul(away).sum(axes, keepdim).mul(scale).cast(own)

    def std(self, dim: Dims = None, correction: int = 1, keepdim: bool = False, axis: Dims = None) -> Self:
        """The square root of ``var``."""
        v = self.var(dim, correction, keepdim, axis)
        return v._new(_root(v.node))

    def var_mean(self, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> tuple[Self, Self]:
        """Variance and mean."""
        return self.var(dim, correction, keepdim), self.mean(dim, keepdim)

    def std_mean(self, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> tuple[Self, Self]:
        """Standard deviation and mean."""
        return self.std(dim, correction, keepdim), self.mean(dim, keepdim)

    def any(self, dim: Dims = None, keepdim: bool = False) -> Self:
        """Whether one is not zero."""
        axes = self._axes(dim)
        return self._folded(graph.reduce(Op.MAX, graph.cast(self.node, bool_), axes), axes, keepdim)

    def all(self, dim: Dims = None, keepdim: bool = False) -> Self:
        """Whether none is zero."""
        return self.logical_not().any(dim, keepdim).logical_not()

    def count_nonzero(self, dim: Dims = None) -> Self:
        """How many are not zero, in int64."""
        return self.cast(bool_).sum(dim)

    def _position(self, dim: int | None, keepdim: bool, greatest: bool) -> Self:
        """Where the first of the greatest (least) elements is; the first NaN, if there is one."""
        if dim is None:
            out = self.flatten()._position(0, False, greatest)
            return out.reshape((1,) * self.ndim) if keepdim else out
        if not self.shape and dim in (0, -1):
            return self._test(graph.full(0, (), index_dtype))
        axis = self._axis(dim)
        self._filled((axis,), "argmax" if greatest else "argmin")
        x, n = self.node, self.shape[axis]
        best = graph.reduce(Op.MAX, x, (axis,)) if greatest else lowest(x, (axis,))
        e = Expr(x)
        hit = e.eq(Expr(graph.expand(best, x.shape)))
        if x.dtype.is_float:
            hit = hit | e.ne(e)
        counter = int32 if n < 2**31 else int64
        shape = tuple(n if i == axis else 1 for i in range(self.ndim))
        left = n - Expr(graph.expand(graph.reshape(graph.iota(n, counter), shape), x.shape))
        first = n - Expr(graph.reduce(Op.MAX, where(hit, left, 0).node, (axis,)))
        return self._folded(graph.cast(first.node, index_dtype), (axis,), keepdim)

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Self:
        """The position (int64) of the first of the greatest; of the first NaN, if there is one."""
        return self._position(dim, keepdim, True)

    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Self:
        """The position (int64) of the first of the least; of the first NaN, if there is one."""
        return self._position(dim, keepdim, False)

    def logsumexp(self, dim: Dims = None, keepdim: bool = False) -> Self:
        """log of the sum of exp, without overflow."""
        axes = self._axes(dim)
        x = self if self.dtype.is_float else self.cast(default_float)
        top = x._held().amax(axes, keepdim=True)
        top = top.isfinite().where(top, 0.0)  # an infinite one decides by itself
        out = x.sub(top).exp().sum(axes, keepdim=True).log().add(top)
        return out if keepdim else out._folded(out.node, axes, False)

    def norm(self, p: float | str = "fro", dim: Dims = None, keepdim: bool = False) -> Self:
        """The p-norm of the elements: 2 ("fro"), 1, 0, ±inf or another number."""
        x = self if self.dtype.is_float else self.cast(default_float)
        if p in ("fro", 2):
            wide = x.cast(float32) if x.dtype.bits == 16 else x
            total = wide.mul(wide).sum(dim, keepdim)
            return total._new(_root(total.node)).cast(x.dtype)
        if not isinstance(p, (int, float)):
            raise ArgumentError(f"no norm {p!r}: give a number or 'fro'")
        size = x.abs()
        if p == math.inf:
            return size.amax(dim, keepdim)
        if p == -math.inf:
            return size.amin(dim, keepdim)
        if p == 0:
            return size.ne(0).cast(x.dtype).sum(dim, keepdim)
        if p == 1:
            return size.sum(dim, keepdim)
        return size.pow(p).sum(dim, keepdim).pow(1.0 / p)

    def normalize(self, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Self:
        """self over its p-norm along ``dim``, but at least ``eps``."""
        return self.div(self.norm(p, dim, keepdim=True).clip(min=eps))


def _root(x: Node) -> Node:
    """The square root of a sum of squares: 0 where its gradient is taken of no spread at all."""
    y = graph.elementwise(Op.SQRT, x)

    def rule(g: Node, y: Node) -> list[Node | None]:
        e = Expr(y)
        return [where(e > 0, Expr(g) * where(e > 0, e * 2.0, 1.0).recip(), 0.0).node]

    return define(y, (x,), rule)


def total_dtype(dtype: DType) -> DType:
    """What sums and products of ``dtype`` are held in."""
    if dtype.is_float:
        return dtype
    return int64 if dtype.is_signed or dtype.is_bool else uint64


def lowest(x: Node, axes: Sequence[int]) -> Node:
    """The least along ``axes``: MAX of what order reverses, and back."""
    if x.dtype.is_float:
        return graph.elementwise(Op.NEG, graph.reduce(Op.MAX, graph.elementwise(Op.NEG, x), axes))
    ones = True if x.dtype.is_bool else -1 if x.dtype.is_signed else x.dtype.max

    def turned(n: Node) -> Node:
        return graph.elementwise(Op.XOR, n, basic.full(ones, n))

    return turned(graph.reduce(Op.MAX, turned(x), axes))
