"""Running folds along an axis: cumsum and its kin, in blocks, so that n elements cost n·16 steps and a few
kernels, and not n² steps.
"""

from __future__ import annotations

import math
from typing import Self

from .. import graph
from ..dtype import DTypeLike, as_dtype, default_float, float32, index_dtype
from ..elementary import basic
from ..elementary.basic import Expr, where
from ..graph import Node
from ..ops import Op, identity
from .activation import Activation
from .reduce import total_dtype

BLOCK = 16
"""Elements whose folds are taken one by one."""
SHORT = 64
"""Elements of which the same in one kernel is quicker than in three."""


def _lower(like: Node) -> Node:
    """True where the position on the last axis is not above that on the one before."""
    rows, cols = like.shape[-2:]
    ones = (1,) * (len(like.shape) - 2)
    i = graph.expand(graph.reshape(graph.iota(rows), (*ones, rows, 1)), like.shape)
    j = graph.expand(graph.reshape(graph.iota(cols), (*ones, 1, cols)), like.shape)
    return (~(Expr(i) < Expr(j))).node


def _within(op: Op, x: Node) -> Node:
    """The running fold of a short last axis: each position folds a row of the triangle before it."""
    *lead, n = x.shape
    square = graph.expand(graph.reshape(x, (*lead, 1, n)), (*lead, n, n))
    kept = graph.elementwise(Op.WHERE, _lower(square), square, basic.full(identity(op, x.dtype), square))
    return graph.reshape(graph.reduce(op, kept, [len(lead) + 1]), x.shape)


def running(op: Op, x: Node) -> Node:
    """The running fold with ``op`` along the last axis."""
    *lead, n = x.shape
    if n <= SHORT:
        return _within(op, x)
    blocks = -(-n // BLOCK)
    spans = [(0, 0)] * len(lead)
    padded = graph.pad(x, [*spans, (0, blocks * BLOCK - n)])
    inside = graph.contiguous(_within(op, graph.reshape(padded, (*lead, blocks, BLOCK))))
    every = [(0, d) for d in lead]
    totals = graph.shrink(inside, [*every, (0, blocks - 1), (BLOCK - 1, BLOCK)])
    before = running(op, graph.reshape(totals, (*lead, blocks - 1)))
    shifted = graph.pad(before, [*spans, (1, 0)])
    if identity(op, x.dtype) != 0:
        first = graph.expand(graph.reshape(graph.iota(blocks), (1,) * len(lead) + (blocks,)), shifted.shape)
        shifted = where(Expr(first).ne(0), Expr(shifted), identity(op, x.dtype)).node
    offset = graph.expand(graph.reshape(shifted, (*lead, blocks, 1)), inside.shape)
    out = graph.reshape(graph.elementwise(op, offset, inside), (*lead, blocks * BLOCK))
    return graph.shrink(out, [*every, (0, n)])


class Scan(Activation):
    """cumsum to logcumsumexp."""

    __slots__ = ()

    def _running(self, op: Op, dim: int) -> Self:
        if not self.shape and dim in (0, -1):
            return self._new(self.node)
        axis = self._axis(dim)
        if self.shape[axis] < 2:
            return self._new(self.node)
        x = self.movedim(axis, -1)
        return x._new(running(op, x.node)).movedim(-1, axis)

    def _cumulated(self, op: Op, dim: int, dtype: DTypeLike | None) -> Self:
        result = as_dtype(dtype) if dtype is not None else total_dtype(self.dtype)
        wide = float32 if result.is_float and result.bits == 16 else result
        return self.cast(wide)._running(op, dim).cast(result)

    def cumsum(self, dim: int = 0, dtype: DTypeLike | None = None) -> Self:
        """The sum of the elements up to each, itself included."""
        return self._cumulated(Op.ADD, dim, dtype)

    def cumprod(self, dim: int = 0, dtype: DTypeLike | None = None) -> Self:
        """The product of the elements up to each, itself included."""
        return self._cumulated(Op.MUL, dim, dtype)

    def _extremes(self, dim: int, values: Self) -> tuple[Self, Self]:
        """Values and, in int64, where each was last met."""
        if not self.shape:
            return values, self.cast(index_dtype).mul(0)
        axis = self._axis(dim)
        n = self.shape[axis]
        position = self.arange(n, dtype=index_dtype, device=self.device)
        position = position.reshape([n if i == axis else 1 for i in range(self.ndim)]).expand(self.shape)
        here = self.detach().eq(values.detach()).bitwise_or(self.detach().isnan())
        return values, here.where(position, 0)._running(Op.MAX, dim)

    def cummax(self, dim: int = 0) -> tuple[Self, Self]:
        """The greatest of the elements up to each, and where it was last met (int64)."""
        return self._extremes(dim, self._running(Op.MAX, dim))

    def cummin(self, dim: int = 0) -> tuple[Self, Self]:
        """The least of the elements up to each, and where it was last met (int64)."""
        if self.dtype.is_float:
            return self._extremes(dim, self.neg()._running(Op.MAX, dim).neg())
        return self._extremes(dim, self.bitwise_not()._running(Op.MAX, dim).bitwise_not())

    def logcumsumexp(self, dim: int = 0) -> Self:
        """log of the running sum of exp, without overflow."""
        x = self if self.dtype.is_float else self.cast(default_float)
        if not x.shape and dim in (0, -1):
            return x._new(x.node)
        axis = x._axis(dim)
        moved = x.movedim(axis, -1)
        wide = moved.cast(float32) if x.dtype.bits == 16 else moved
        return wide._running_log_sum().cast(x.dtype).movedim(-1, axis)

    def _running_log_sum(self) -> Self:
        *lead, n = self.shape
        if n <= SHORT:
            square = self.unsqueeze(-2).expand(*lead, n, n)
            inside = square._of(_lower(square.node), self.device)
            return inside.where(square, -math.inf).logsumexp(-1)
        blocks = -(-n // BLOCK)
        padded = self.pad([None] * len(lead) + [(0, blocks * BLOCK - n)])
        inner = padded.reshape(*lead, blocks, BLOCK)._running_log_sum().contiguous()
        totals = inner.narrow(-1, BLOCK - 1, 1).squeeze(-1).narrow(-1, 0, blocks - 1)
        before = totals._running_log_sum().pad([None] * len(lead) + [(1, 0)], value=-math.inf)
        out = inner.logaddexp(before.unsqueeze(-1)).reshape(*lead, blocks * BLOCK)
        return out.narrow(-1, 0, n)


__all__ = ["Scan", "running"]
