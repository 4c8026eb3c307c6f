"""Tensors from nothing: constants, ranges, grids, and others' arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from .. import graph
from ..dtype import DTypeLike, Scalar, as_dtype, bool_, default_float, default_int
from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph import Node, Shape
from ..ops import Op
from ..registry import default_device, open_device
from .autograd import Autograd

ShapeLike = int | tuple[int, ...] | list[int]


def shape_of(*shape: Any) -> Shape:
    """A shape given as one sequence or as several integers, checked."""
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = tuple(shape[0])
    out = integers(shape)
    if any(n < 0 for n in out):
        raise ShapeError(f"a shape of {out}: no axis may be negative")
    return out


def integers(shape: Sequence[Any]) -> Shape:
    """A shape's entries as Python integers."""
    try:
        return tuple([int(n.__index__()) for n in shape])
    except AttributeError as e:
        raise ArgumentError(f"a shape must be integers, not {tuple(shape)!r}") from e


class Create(Autograd):
    """Constructors."""

    __slots__ = ()

    @classmethod
    def _make(cls, node: Node, device: str | None, requires_grad: bool) -> Self:
        t = cls._of(node, default_device() if device is None else open_device(device).name)
        if requires_grad:
            t.requires_grad = True
        return t

    @classmethod
    def full(
        cls,
        size: ShapeLike,
        fill_value: Scalar,
        dtype: DTypeLike | None = None,
        device: str | None = None,
        requires_grad: bool = False,
    ) -> Self:
        """``fill_value`` everywhere; its dtype is the default one of its kind unless named."""
        if dtype is not None:
            to = as_dtype(dtype)
        elif isinstance(fill_value, bool):
            to = bool_
        else:
            to = default_int if isinstance(fill_value, int) else default_float
        if not isinstance(fill_value, (bool, int, float, np.number, np.bool_)):
            raise DTypeError(f"a tensor full of {fill_value!r}: give a number")
        if to.is_int and isinstance(fill_value, int) and not to.min <= fill_value <= to.max:
            raise DTypeError(f"{fill_value} does not fit {to}: name a wider dtype")
        return cls._make(graph.full(fill_value, shape_of(size), to), device, requires_grad)

    @classmethod
    def zeros(
        cls,
        *size: Any,
        dtype: DTypeLike | None = None,
        device: str | None = None,
        requires_grad: bool = False,
    ) -> Self:
        """Zeros, float32 unless named."""
        return cls.full(shape_of(*size), 0, as_dtype(dtype or default_float), device, requires_grad)

    @classmethod
    def ones(
        cls,
        *size: Any,
        dtype: DTypeLike | None = None,
        device: str | None = None,
        requires_grad: bool = False,
    ) -> Self:
        """Ones, float32 unless named."""
        return cls.full(shape_of(*size), 1, as_dtype(dtype or default_float), device, requires_grad)

    @classmethod
    def empty(
        cls,
        *size: Any,
        dtype: DTypeLike | None = None,
        device: str | None = None,
        requires_grad: bool = False,
    ) -> Self:
        """Zeros: no tensor here holds values that nobody chose."""
        return cls.zeros(*size, dtype=dtype, device=device, requires_grad=requires_grad)

    @classmethod
    def arange(
        cls,
        start: Scalar,
        end: Scalar | None = None,
        step: Scalar = 1,
        dtype: DTypeLike | None = None,
        device: str | None = None,
        requires_grad: bool = False,
    ) -> Self:
        """start, start + step, … below (above, for a negative step) ``end``; with one number, 0 … that
        number.

        Raises:
            ArgumentError: when the step is 0 or leads away from the end.
        """
        if end is None:
            start, end = 0, start
        if not all(math.isfinite(v) for v in (start, end, step)):
            raise ArgumentError(f"arange from {start} to {end} by {step}: all three must be finite")
        if step == 0 or (end - start) * step < 0:
            raise ArgumentError(f"arange from {start} to {end} by {step}: the step must lead to the end")
        whole = not any(isinstance(v, float) for v in (start, end, step))
        to = as_dtype(dtype) if dtype is not None else default_int if whole else default_float
        n = -((start - end) // step) if whole else math.ceil((end - start) / step)
        if (
            to.is_int
            and n
            and not (to.min <= min(start, start + (n - 1) * step) and max(start, end - 1) <= to.max)
        ):
            raise DTypeError(f"arange from {start} to {end} does not fit {to}: name a wider dtype")
        if n == 0:
            return cls._make(graph.full(0, (0,), to), device, requires_grad)
        wide = to if to.is_float and to.bits >= 32 else default_float if to.is_float else to
        node = graph.iota(int(n), wide if not to.is_bool else default_int)
        if step != 1:
            node = graph.elementwise(Op.MUL, node, graph.full(step, node.shape, node.dtype))
        if start != 0:
            node = graph.elementwise(Op.ADD, node, graph.full(start, node.shape, node.dtype))
        return cls._make(graph.cast(node, to), device, requires_grad)

    @classmethod
    def linspace(
        cls,
        start: float,
        end: float,
        steps: int,
        dtype: DTypeLike | None = None,
        device: str | None = None,
        requires_grad: bool = False,
    ) -> Self:
        """``steps`` numbers from ``start`` to ``end``, both among them, evenly apart."""
        if steps < 0:
            raise ArgumentError(f"linspace of {steps} steps: there can't be fewer than none")
        to = as_dtype(dtype) if dtype is not None else default_float
        wide = to if to.is_float and to.bits >= 32 else default_float
        if steps < 2:
            return cls._make(graph.full(start, (steps,), to), device, requires_grad)
        i = graph.iota(steps, wide)
        step = (end - start) / (steps - 1)

        def scalar(value: float) -> Node:
            return graph.full(value, i.shape, wide)

        # each half counts from its own end, so that both ends are exact
        up = graph.elementwise(Op.ADD, graph.elementwise(Op.MUL, i, scalar(step)), scalar(start))
        left = graph.elementwise(Op.SUB, scalar(steps - 1), i)
        down = graph.elementwise(Op.SUB, scalar(end), graph.elementwise(Op.MUL, left, scalar(step)))
        first = graph.elementwise(Op.CMPLT, i, scalar(steps // 2))
        return cls._make(graph.cast(graph.elementwise(Op.WHERE, first, up, down), to), device, requires_grad)

    @classmethod
    def eye(
        cls,
        n: int,
        m: int | None = None,
        dtype: DTypeLike | None = None,
        device: str | None = None,
        requires_grad: bool = False,
    ) -> Self:
        """Ones on the diagonal of an n × m matrix (square by default), zeros elsewhere."""
        rows, cols = shape_of(n, n if m is None else m)
        shape = (rows, cols)
        if 0 in shape:
            return cls.zeros(shape, dtype=dtype, device=device, requires_grad=requires_grad)
        i = graph.expand(graph.reshape(graph.iota(rows), (rows, 1)), shape)
        j = graph.expand(graph.reshape(graph.iota(cols), (1, cols)), shape)
        to = as_dtype(dtype or default_float)
        one, zero = graph.full(1, shape, to), graph.full(0, shape, to)
        node = graph.elementwise(Op.WHERE, graph.elementwise(Op.CMPNE, i, j), zero, one)
        return cls._make(node, device, requires_grad)

    @classmethod
    def from_numpy(cls, array: np.ndarray[Any, np.dtype[Any]], device: str | None = None) -> Self:
        """The values of a NumPy array, in its dtype."""
        return cls(array, device=device)

    def _like(self, value: Scalar, dtype: DTypeLike | None, device: str | None, requires_grad: bool) -> Self:
        to = self.dtype if dtype is None else as_dtype(dtype)
        return self._make(graph.full(value, self.shape, to), device or self.device, requires_grad)

    def zeros_like(
        self, dtype: DTypeLike | None = None, device: str | None = None, requires_grad: bool = False
    ) -> Self:
        """Zeros of this shape, dtype and device."""
        return self._like(0, dtype, device, requires_grad)

    def ones_like(
        self, dtype: DTypeLike | None = None, device: str | None = None, requires_grad: bool = False
    ) -> Self:
        """Ones of this shape, dtype and device."""
        return self._like(1, dtype, device, requires_grad)

    def empty_like(
        self, dtype: DTypeLike | None = None, device: str | None = None, requires_grad: bool = False
    ) -> Self:
        """Zeros of this shape, dtype and device."""
        return self._like(0, dtype, device, requires_grad)

    def full_like(
        self,
        fill_value: Scalar,
        dtype: DTypeLike | None = None,
        device: str | None = None,
        requires_grad: bool = False,
    ) -> Self:
        """``fill_value`` in this shape, dtype and on this device."""
        return self._like(fill_value, dtype, device, requires_grad)
