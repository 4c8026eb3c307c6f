"""Python's operators on tensors."""

from __future__ import annotations

from typing import Any, Self

from .. import graph
from ..elementary.power import integer_power, power
from ..ops import Op
from . import guarded
from .base import TensorBase
from .elementwise import Elementwise


class Operators(Elementwise):
    """+ to !=."""

    __slots__ = ()

    def __add__(self, other: Any) -> Self:
        return self._binary(Op.ADD, other)

    def __radd__(self, other: Any) -> Self:
        return self._reflected(Op.ADD, other)

    def __sub__(self, other: Any) -> Self:
        return self._binary(Op.SUB, other)

    def __rsub__(self, other: Any) -> Self:
        return self._reflected(Op.SUB, other)

    def __mul__(self, other: Any) -> Self:
        return self._binary(Op.MUL, other)

    def __rmul__(self, other: Any) -> Self:
        return self._reflected(Op.MUL, other)

    def __truediv__(self, other: Any) -> Self:
        return self.div(other)

    def __rtruediv__(self, other: Any) -> Self:
        if isinstance(other, (int, float)) and other == 1:
            return self.reciprocal()
        a, b, t = self._floats(other)
        return self._with(graph.elementwise(Op.MUL, b, graph.elementwise(Op.RECIP, a)), t)

    def __floordiv__(self, other: Any) -> Self:
        return self.div(other, "floor")

    def __rfloordiv__(self, other: Any) -> Self:
        a, b, t = self._pair(other)
        return self._with(guarded.quotient(b, a, True), t)

    def __mod__(self, other: Any) -> Self:
        return self.mod(other)

    def __rmod__(self, other: Any) -> Self:
        a, b, t = self._pair(other)
        return self._with(guarded.remainder(b, a, floored=True), t)

    def __pow__(self, other: Any) -> Self:
        return self.pow(other)

    def __rpow__(self, other: Any) -> Self:
        a, b, t = self._pair(other)
        return self._with(power(b, a) if a.dtype.is_float else integer_power(b, a), t)

    def __neg__(self) -> Self:
        return self.neg()

    def __pos__(self) -> Self:
        return self._new(self.node)

    def __abs__(self) -> Self:
        return self.abs()

    def __and__(self, other: Any) -> Self:
        return self.bitwise_and(other)

    def __or__(self, other: Any) -> Self:
        return self.bitwise_or(other)

    def __xor__(self, other: Any) -> Self:
        return self.bitwise_xor(other)

    def __invert__(self) -> Self:
        return self.bitwise_not()

    def __lshift__(self, other: Any) -> Self:
        return self.lshift(other)

    def __rshift__(self, other: Any) -> Self:
        return self.rshift(other)

    def __rlshift__(self, other: Any) -> Self:
        a, b, t = self._integers(other, "a shift")
        return self._with(guarded.shift(Op.SHL, b, a), t)

    def __rrshift__(self, other: Any) -> Self:
        a, b, t = self._integers(other, "a shift")
        return self._with(guarded.shift(Op.SHR, b, a), t)

    __rand__ = __and__
    __ror__ = __or__
    __rxor__ = __xor__

    def __lt__(self, other: Any) -> Self:
        return self.lt(other)

    def __gt__(self, other: Any) -> Self:
        return self.gt(other)

    def __le__(self, other: Any) -> Self:
        return self.le(other)

    def __ge__(self, other: Any) -> Self:
        return self.ge(other)

    def __eq__(self, other: Any) -> Self:  # type: ignore[override]
        return self.eq(other)

    def __ne__(self, other: Any) -> Self:  # type: ignore[override]
        return self.ne(other)

    __hash__ = TensorBase.__hash__
