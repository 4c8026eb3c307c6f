"""Choosing and placing along an axis: gather, scatter and their kin, triangles, repeats."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np

from .. import graph
from ..dtype import int32, int64
from ..elementary import basic
from ..elementary.basic import Expr, where
from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph import Node, Shape
from ..ops import Op
from .indexing import Indexing


class Select(Indexing):
    """gather to tril."""

    __slots__ = ()

    def _linear(self, axis: int, index: Node) -> Node:
        """The flat position in ``self`` of each element of ``index``, which chooses on ``axis``; -1
        outside.
        """
        if not index.dtype.is_int:
            raise DTypeError(f"positions of {index.dtype}: they must be integers")
        shape = index.shape
        if len(shape) != self.ndim or any(
            m > n for i, (m, n) in enumerate(zip(shape, self.shape, strict=True)) if i != axis
        ):
            raise ShapeError(
                f"positions of shape {shape} on axis {axis} of {self.shape}: as many axes, "
                "none longer but that one"
            )
        to = int32 if self.node.size < 2**31 else int64
        chosen = Expr(graph.cast(index, int64 if index.dtype.bits == 64 else to))
        n = self.shape[axis]
        if index.dtype.is_signed:
            chosen = where(chosen < 0, chosen + n, chosen)
        inside = (chosen < n) & ~(chosen < 0)
        strides = [math.prod(self.shape[i + 1 :]) for i in range(self.ndim)]
        total = chosen.cast(to) * strides[axis]
        for i, (m, stride) in enumerate(zip(shape, strides, strict=True)):
            if i != axis and m > 1:
                along = graph.reshape(graph.iota(m, to), tuple(m if j == i else 1 for j in range(len(shape))))
                total = total + Expr(graph.expand(along, shape)) * stride
        return where(inside, total, -1).node

    def gather(self, dim: int, index: Self) -> Self:
        """out[i][j] = self[index[i][j]][j] for ``dim`` 0, and so on: elements chosen along one axis."""
        if not self.shape:
            return self.reshape(1).gather(0, index.reshape(1)).reshape(())
        positions = self._linear(self._axis(dim), index.node)
        flat = graph.reshape(self.node, (self.node.size,))
        return self._new(graph.gather(flat, positions))

    def take_along_axis(self, indices: Any, dim: int | None = None) -> Self:
        """``gather`` with ``indices`` broadcast over the other axes, as NumPy's; on the flattened tensor
        of None.
        """
        index = self._lift(indices)
        if dim is None:
            return self.flatten().gather(0, index.flatten())
        axis = self._axis(dim)
        shape = tuple(
            m if i == axis else n for i, (m, n) in enumerate(zip(index.shape, self.shape, strict=True))
        )
        return self.gather(axis, index.expand(shape))

    def index_select(self, dim: int, index: Any) -> Self:
        """The slices along ``dim`` at the positions of a vector."""
        axis = self._axis(dim)
        chosen = index if isinstance(index, Select) else np.asarray(index)
        if len(chosen.shape) != 1:
            raise ShapeError(f"index_select by positions of shape {chosen.shape}: give a vector")
        return self[(slice(None),) * axis + (chosen,)]

    def _place(self, dim: int, index: Self, src: Self, op: Op | None) -> Self:
        if not self.shape:
            return self.reshape(1)._place(0, index.reshape(1), src.reshape(1), op).reshape(())
        positions = self._linear(self._axis(dim), index.node)
        if src.ndim != index.ndim or any(m > n for m, n in zip(index.shape, src.shape, strict=True)):
            raise ShapeError(
                f"scatter of shape {src.shape} at positions of {index.shape}: it must reach over them"
            )
        if src.dtype is not self.dtype:
            raise DTypeError(f"scatter of {src.dtype} into {self.dtype}: cast one of them")
        values = graph.shrink(src.node, [(0, m) for m in index.shape])
        m, n = index.node.size, self.node.size
        flat = graph.scatter(
            graph.reshape(self.node, (n,)), graph.reshape(positions, (m,)), graph.reshape(values, (m,)), op
        )
        return self._with(graph.reshape(flat, self.shape), src)

    def scatter(self, dim: int, index: Self, src: Any, reduce: str | None = None) -> Self:
        """self with self[index[i][j]][j] = src[i][j] for ``dim`` 0, and so on; of equal positions the last
        wins.

        Args:
            dim: the axis.
            index: positions.
            src: a tensor at least as large as ``index``, or one number.
            reduce: "add" or "multiply" folds instead of setting.
        """
        if reduce not in (None, "add", "multiply"):
            raise ArgumentError(f"scatter with reduce={reduce!r}: None, 'add' or 'multiply'")
        if not isinstance(src, Select):
            src = self._of(graph.full(src, index.shape, self.dtype), self.device)
        return self._place(dim, index, src, {None: None, "add": Op.ADD, "multiply": Op.MUL}[reduce])

    def scatter_add(self, dim: int, index: Self, src: Self) -> Self:
        """``scatter`` that adds."""
        return self._place(dim, index, src, Op.ADD)

    def scatter_reduce(
        self, dim: int, index: Self, src: Self, reduce: str, include_self: bool = True
    ) -> Self:
        """Elements of ``src`` folded into self at their positions along ``dim``.

        Args:
            dim: the axis.
            index: positions.
            src: a tensor at least as large as ``index``.
            reduce: "sum", "prod", "mean", "amax" or "amin".
            include_self: whether the old value takes part; where nothing is placed it stays in any case.
        """
        if reduce not in ("sum", "prod", "mean", "amax", "amin"):
            raise ArgumentError(f"scatter_reduce by {reduce!r}: sum, prod, mean, amax or amin")
        if reduce == "amin":
            return self._turned()._reduced(dim, index, src._turned(), "amax", include_self)._turned()
        return self._reduced(dim, index, src, reduce, include_self)

    def _turned(self) -> Self:
        return self.neg() if self.dtype.is_float else self.bitwise_not()

    def _reduced(self, dim: int, index: Self, src: Self, reduce: str, include_self: bool) -> Self:
        op = {"sum": Op.ADD, "mean": Op.ADD, "prod": Op.MUL, "amax": Op.MAX}[reduce]
        start = self
        if not include_self:
            from ..ops import identity

            blank = self._of(graph.full(identity(op, self.dtype), index.shape, self.dtype), self.device)
            start = self._place(dim, index, blank, None)
        out = start._place(dim, index, src, op)
        if reduce != "mean":
            return out
        ones = self._of(graph.full(1, index.shape, self.dtype), self.device)
        base = (
            self.detach().ones_like()
            if include_self
            else self.detach()
            .ones_like()
            ._place(dim, index, self._of(graph.full(0, index.shape, self.dtype), self.device), None)
        )
        count = base._place(dim, index, ones, Op.ADD)
        return out.div(count) if self.dtype.is_float else out.div(count, "floor")

    def repeat_interleave(self, repeats: Any, dim: int | None = None) -> Self:
        """Each element (or slice along ``dim``) ``repeats`` times, one copy after the other.

        Args:
            repeats: one count, or one for each element in a list, array or (at once computed) tensor.
            dim: the axis; the flattened tensor of None.
        """
        if dim is None:
            return self.flatten().repeat_interleave(repeats, 0)
        axis = self._axis(dim)
        n = self.shape[axis]
        if isinstance(repeats, int):
            grown = self.unsqueeze(axis + 1)
            shape = (*self.shape[: axis + 1], repeats, *self.shape[axis + 1 :])
            return grown.expand(shape).flatten(axis, axis + 1)
        counts = repeats.numpy() if isinstance(repeats, Select) else np.asarray(repeats)
        if counts.shape not in ((n,), (1,)) or (counts < 0).any():
            raise ShapeError(
                f"repeat_interleave by {counts.shape} counts along axis {axis} of {self.shape}: one each"
            )
        return self.index_select(axis, np.repeat(np.arange(n), counts))

    def _triangle(self, diagonal: int, lower: bool) -> Self:
        if self.ndim < 2:
            raise ShapeError(f"a triangle of shape {self.shape}: there must be two axes")
        mask = triangle(self.shape, diagonal, lower)
        return self._new(graph.elementwise(Op.WHERE, mask, self.node, basic.full(0, self.node)))

    def tril(self, diagonal: int = 0) -> Self:
        """The last two axes' lower triangle, up to ``diagonal`` places above the main one; zeros
        elsewhere.
        """
        return self._triangle(diagonal, True)

    def triu(self, diagonal: int = 0) -> Self:
        """The last two axes' upper triangle, from ``diagonal`` places above the main one; zeros elsewhere."""
        return self._triangle(diagonal, False)

    def meshgrid(self, *others: Any, indexing: str = "ij") -> list[Self]:
        """Vectors as grids: ``Tensor.meshgrid(x, y)``; "ij" gives the first vector the first axis, "xy"
        the second.
        """
        vectors: list[Any] = list(self) if isinstance(self, (list, tuple)) else [self]
        vectors += [v for o in others for v in (o if isinstance(o, (list, tuple)) else [o])]
        if indexing not in ("ij", "xy"):
            raise ArgumentError(f"meshgrid indexing {indexing!r}: 'ij' or 'xy'")
        shape = tuple(v.node.size for v in vectors)
        grids = [
            v.reshape([n if j == i else 1 for j in range(len(shape))]).expand(shape)
            for i, (v, n) in enumerate(zip(vectors, shape, strict=True))
        ]
        if indexing == "xy" and len(vectors) > 1:
            grids = [g.transpose(0, 1) for g in grids]
        return grids


def triangle(shape: Shape, diagonal: int, lower: bool) -> Node:
    """True in the lower (upper) triangle of the last two axes."""
    rows, cols = shape[-2:]
    i = Expr(graph.expand(graph.reshape(graph.iota(rows), (rows, 1)), (rows, cols)))
    j = Expr(graph.expand(graph.reshape(graph.iota(cols), (1, cols)), (rows, cols)))
    above = (i + diagonal) < j if lower else j < (i + diagonal)
    return graph.broadcast_to((~above).node, shape)
