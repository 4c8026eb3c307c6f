"""Arithmetic, comparison and bits: two operands made to agree in dtype and shape, then one primitive or a
few.

Dtypes promote by ``dtype.promote``; a Python number takes the tensor's dtype when its kind fits there. Shapes
broadcast as NumPy's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Self

from .. import graph
from ..dtype import DType, Scalar, bool_, default_float, promote, scalar_dtype
from ..elementary import basic
from ..elementary.basic import Expr
from ..elementary.power import integer_power, power
from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph import Node, Shape
from ..ops import Op
from . import guarded
from .base import TensorBase
from .movement import Movement


@lru_cache(maxsize=4096)
def broadcast_shape(a: Shape, b: Shape) -> Shape:
    """The shape that both broadcast to.

    Raises:
        ShapeError: when an axis differs and neither is 1.
    """
    n = max(len(a), len(b))
    x, y = (1,) * (n - len(a)) + a, (1,) * (n - len(b)) + b
    if any(p != q and p != 1 and q != 1 for p, q in zip(x, y, strict=True)):
        raise ShapeError(
            f"shapes {a} and {b} do not broadcast: from the last axis on, sizes must be equal or 1"
        )
    return tuple([q if p == 1 else p for p, q in zip(x, y, strict=True)])


class Elementwise(Movement):
    """Operators."""

    __slots__ = ()

    # ---------------------------------------------------------------------------------------- operands

    def _scalar(self, value: Scalar, beside: DType) -> DType:
        dtype = scalar_dtype(value, beside)
        if dtype.is_int and isinstance(value, int) and not dtype.min <= value <= dtype.max:
            raise DTypeError(f"{value} does not fit {dtype}: cast the tensor to a wider dtype first")
        return dtype

    def _pair(self, other: Any) -> tuple[Node, Node, TensorBase]:
        """Both operands in one dtype and shape, and the other as a tensor."""
        a = self.node
        if isinstance(other, TensorBase):
            b = other.node
            if a.dtype is not b.dtype:
                dtype = promote(a.dtype, b.dtype)
                a, b = graph.cast(a, dtype), graph.cast(b, dtype)
            if a.shape != b.shape:
                shape = broadcast_shape(a.shape, b.shape)
                a, b = graph.broadcast_to(a, shape), graph.broadcast_to(b, shape)
            return a, b, other
        if isinstance(other, (bool, int, float)):
            dtype = self._scalar(other, a.dtype)
            a = graph.cast(a, dtype)
            return a, basic.full(dtype.cast_scalar(other), a), self
        return self._pair(self._lift(other))

    def _binary(self, op: Op, other: Any) -> Self:
        a, b, t = self._pair(other)
        return self._with(graph.elementwise(op, a, b), t)

    def _reflected(self, op: Op, other: Any) -> Self:
        a, b, t = self._pair(other)
        return self._with(graph.elementwise(op, b, a), t)

    def _test(self, node: Node, *others: TensorBase) -> Self:
        """A result without a gradient."""
        out = self._with(node, *others)
        out._requires_grad = False
        return out

    def _floats(self, other: Any) -> tuple[Node, Node, TensorBase]:
        """``_pair``, with integers and bools made the default float."""
        a, b, t = self._pair(other)
        if not a.dtype.is_float:
            a, b = graph.cast(a, default_float), graph.cast(b, default_float)
        return a, b, t

    def _integers(self, other: Any, what: str) -> tuple[Node, Node, TensorBase]:
        a, b, t = self._pair(other)
        if a.dtype.is_float:
            raise DTypeError(f"{what} of {a.dtype}: it takes integers")
        return a, b, t

    # -------------------------------------------------------------------------------------- arithmetic

    def add(self, other: Any, alpha: Scalar = 1) -> Self:
        """self + alpha·other. Integers wrap; bools are or-ed."""
        return self._binary(Op.ADD, other if alpha == 1 else self._lift(other).mul(alpha))

    def sub(self, other: Any, alpha: Scalar = 1) -> Self:
        """self - alpha·other."""
        return self._binary(Op.SUB, other if alpha == 1 else self._lift(other).mul(alpha))

    def mul(self, other: Any) -> Self:
        """The product. Integers wrap; bools are and-ed."""
        return self._binary(Op.MUL, other)

    def neg(self) -> Self:
        """The negative. Integers wrap."""
        return self._new(graph.elementwise(Op.NEG, self.node))

    def div(self, other: Any, rounding_mode: str | None = None) -> Self:
        """The quotient, as self · RECIP(other).

        Args:
            other: the divisor.
            rounding_mode: None gives a float always; "trunc" rounds toward zero, "floor" down, and both keep
                integers: of these, division by zero gives 0.
        """
        if rounding_mode is None:
            a, b, t = self._floats(other)
            return self._with(graph.elementwise(Op.MUL, a, graph.elementwise(Op.RECIP, b)), t)
        if rounding_mode not in ("floor", "trunc"):
            raise ArgumentError(f"no rounding mode {rounding_mode!r}: None, 'floor' or 'trunc'")
        a, b, t = self._pair(other)
        return self._with(guarded.quotient(a, b, rounding_mode == "floor"), t)

    def mod(self, other: Any) -> Self:
        """The remainder with the divisor's sign, as Python's %. Of integers, 0 when the divisor is 0."""
        a, b, t = self._pair(other)
        return self._with(guarded.remainder(a, b, floored=True), t)

    remainder = mod

    def fmod(self, other: Any) -> Self:
        """The remainder with the dividend's sign, as C's. Of integers, 0 when the divisor is 0."""
        a, b, t = self._pair(other)
        return self._with(guarded.remainder(a, b, floored=False), t)

    def pow(self, exponent: Any) -> Self:
        """self to a power. A negative base has powers with integer exponents; 0⁰ is 1.

        Raises:
            ArgumentError: for an integer tensor to a negative integer: cast it to a float.
        """
        if isinstance(exponent, (bool, int, float)):
            return self._pow_scalar(exponent)
        a, b, t = self._pair(exponent)
        return self._with(power(a, b) if a.dtype.is_float else integer_power(a, b), t)

    def _pow_scalar(self, exponent: Scalar) -> Self:
        dtype = self._scalar(exponent, self.dtype)
        x = self.cast(dtype)
        if not dtype.is_float and exponent < 0:
            raise ArgumentError(
                f"{dtype} to the power {exponent}: integers have no negative powers. Cast to a float"
            )
        if exponent == int(exponent) if abs(exponent) < 2**31 else False:
            n = abs(int(exponent))
            if n == 0:
                return x._new(basic.full(1, x.node))
            if n <= 4 or not dtype.is_float:
                out: Self | None = None
                square = x
                while n:
                    if n & 1:
                        out = square if out is None else out.mul(square)
                    n >>= 1
                    square = square.mul(square) if n else square
                assert out is not None
                return x._new(out.node) if exponent > 0 else out.reciprocal()
        if exponent == 0.5:
            return x._new(graph.elementwise(Op.SQRT, x.node))
        return x._new(power(x.node, basic.full(float(exponent), x.node)))

    def reciprocal(self) -> Self:
        """1 / self."""
        x = self if self.dtype.is_float else self.cast(default_float)
        return x._new(graph.elementwise(Op.RECIP, x.node))

    def maximum(self, other: Any) -> Self:
        """The greater; NaN if either is. At a tie each gets half of the gradient."""
        return self._binary(Op.MAX, other)

    def minimum(self, other: Any) -> Self:
        """The lesser; NaN if either is. At a tie each gets half of the gradient."""
        a, b, t = self._pair(other)
        return self._with(guarded.minimum(a, b), t)

    def abs(self) -> Self:
        """The absolute value. The least signed integer stays itself."""
        return self._new(basic.absolute(self.node))

    def sign(self) -> Self:
        """-1, 0 or 1; 0 of NaN."""
        return self._new(basic.sign(self.node))

    def copysign(self, other: Any) -> Self:
        """|self| with the sign of ``other``, of zeros and NaN too."""
        a, b, t = self._floats(other)
        return self._with(basic.copysign_(a, b), t)

    def clip(self, min: Any = None, max: Any = None) -> Self:
        """Not below ``min``, not above ``max``; where they cross, ``max``. NaN stays; a NaN is no bound."""
        if min is None and max is None:
            raise ArgumentError("clip without bounds: give min, max or both")
        out = self
        for bound, low in ((min, True), (max, False)):
            if bound is not None:
                a, b, t = out._pair(bound)
                outside = graph.elementwise(Op.CMPLT, a, b) if low else graph.elementwise(Op.CMPLT, b, a)
                out = out._with(graph.elementwise(Op.WHERE, outside, b, a), t)
        return out

    clamp = clip

    def lerp(self, end: Any, weight: Any) -> Self:
        """self + weight·(end - self)."""
        return self.add(self._lift(end).sub(self).mul(weight))

    # -------------------------------------------------------------------------------------- comparison

    def lt(self, other: Any) -> Self:
        """Less: false if either is NaN."""
        a, b, t = self._pair(other)
        return self._test(graph.elementwise(Op.CMPLT, a, b), t)

    def gt(self, other: Any) -> Self:
        """Greater: false if either is NaN."""
        a, b, t = self._pair(other)
        return self._test(graph.elementwise(Op.CMPLT, b, a), t)

    def le(self, other: Any) -> Self:
        """Less or equal: false if either is NaN."""
        a, b, t = self._pair(other)
        return self._test(guarded.at_most(a, b), t)

    def ge(self, other: Any) -> Self:
        """Greater or equal: false if either is NaN."""
        a, b, t = self._pair(other)
        return self._test(guarded.at_most(b, a), t)

    def ne(self, other: Any) -> Self:
        """Different: true if either is NaN."""
        a, b, t = self._pair(other)
        return self._test(graph.elementwise(Op.CMPNE, a, b), t)

    def eq(self, other: Any) -> Self:
        """Equal: false if either is NaN."""
        a, b, t = self._pair(other)
        return self._test(Expr(a).eq(Expr(b)).node, t)

    def isnan(self) -> Self:
        """True of NaN."""
        return self.ne(self)

    def isinf(self) -> Self:
        """True of both infinities."""
        if not self.dtype.is_float:
            return self._test(basic.full(False, self.node, bool_))
        return self._test(Expr(self.node).abs().eq(float("inf")).node)

    def isfinite(self) -> Self:
        """True of what is neither infinite nor NaN."""
        if not self.dtype.is_float:
            return self._test(basic.full(True, self.node, bool_))
        return self._test((Expr(self.node).abs() < float("inf")).node)

    def isclose(self, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Self:
        """|self - other| ≤ atol + rtol·|other|, or both the same infinity."""
        a, b, t = self._floats(other)
        x, y = self._of(a, self.device), self._of(b, self.device)
        near = x.sub(y).abs().le(y.abs().mul(rtol).add(atol)).bitwise_and(y.isfinite())
        near = near.bitwise_or(x.eq(y))
        if equal_nan:
            near = near.bitwise_or(x.isnan().bitwise_and(y.isnan()))
        return self._test(near.node, t)

    def where(self, input: Any, other: Any) -> Self:
        """``input`` where this (a bool tensor) is true, else ``other``: ``Tensor.where(condition, a, b)``.

        Raises:
            DTypeError: when the condition is no bool.
        """
        if not self.dtype.is_bool:
            raise DTypeError(
                f"where by {self.dtype}: the condition comes first, as in Tensor.where(condition, a, b), "
                "and is a bool"
            )
        a, b = input, other
        if not isinstance(a, TensorBase):
            beside = b.dtype if isinstance(b, TensorBase) else None
            a = self._choice(a, beside)
        if not isinstance(b, TensorBase):
            b = self._choice(b, a.dtype)
        x, y, _ = a._pair(b)
        shape = broadcast_shape(self.shape, x.shape)
        c, x, y = (graph.broadcast_to(n, shape) for n in (self.node, x, y))
        return self._with(graph.elementwise(Op.WHERE, c, x, y), a, b)

    def _choice(self, value: Any, beside: DType | None) -> Self:
        if isinstance(value, (bool, int, float)):
            dtype = scalar_dtype(value, beside) if beside is None else self._scalar(value, beside)
            return self._of(graph.const(value, dtype), self.device)
        return self._lift(value)

    def masked_fill(self, mask: Self, value: Any) -> Self:
        """``value`` where ``mask`` is true.

        Raises:
            DTypeError: when this tensor's dtype doesn't hold the value.
        """
        dtype = self.dtype
        if not isinstance(value, TensorBase) and self._scalar(value, dtype) is not dtype:
            raise DTypeError(f"masked_fill of {dtype} with {value}: cast the tensor first")
        fill = (
            value.cast(dtype)
            if isinstance(value, TensorBase)
            else self._of(graph.const(value, dtype), self.device)
        )
        return mask.where(fill, self)

    # -------------------------------------------------------------------------------------------- bits

    def bitwise_and(self, other: Any) -> Self:
        """Bitwise and."""
        a, b, t = self._integers(other, "bitwise and")
        return self._with(graph.elementwise(Op.AND, a, b), t)

    def bitwise_or(self, other: Any) -> Self:
        """Bitwise or."""
        a, b, t = self._integers(other, "bitwise or")
        return self._with(graph.elementwise(Op.OR, a, b), t)

    def bitwise_xor(self, other: Any) -> Self:
        """Bitwise exclusive or."""
        a, b, t = self._integers(other, "bitwise xor")
        return self._with(graph.elementwise(Op.XOR, a, b), t)

    def bitwise_not(self) -> Self:
        """Every bit turned; of bools, the negation."""
        if self.dtype.is_float:
            raise DTypeError(f"bitwise not of {self.dtype}: it takes integers")
        dtype = self.dtype
        ones: Scalar = True if dtype.is_bool else -1 if dtype.is_signed else dtype.max
        return self._new(graph.elementwise(Op.XOR, self.node, basic.full(ones, self.node)))

    def lshift(self, other: Any) -> Self:
        """Bits moved up; amounts outside the width give 0."""
        a, b, t = self._integers(other, "a shift")
        return self._with(guarded.shift(Op.SHL, a, b), t)

    def rshift(self, other: Any) -> Self:
        """Bits moved down, keeping the sign; amounts outside the width leave only the sign."""
        a, b, t = self._integers(other, "a shift")
        return self._with(guarded.shift(Op.SHR, a, b), t)

    def logical_and(self, other: Any) -> Self:
        """True where both are not zero."""
        return self.cast(bool_).bitwise_and(self._lift(other).cast(bool_))

    def logical_or(self, other: Any) -> Self:
        """True where one is not zero."""
        return self.cast(bool_).bitwise_or(self._lift(other).cast(bool_))

    def logical_xor(self, other: Any) -> Self:
        """True where one is zero and one is not."""
        return self.cast(bool_).bitwise_xor(self._lift(other).cast(bool_))

    def logical_not(self) -> Self:
        """True where it is zero."""
        return self.cast(bool_).bitwise_not()
