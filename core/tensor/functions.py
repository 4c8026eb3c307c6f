"""Elementary functions. Integers and bools become the default float; accuracies are in
``core.elementary``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

from .. import graph
from ..dtype import default_float
from ..elementary import basic, trigonometric
from ..elementary import exponential as e
from ..graph import Node
from ..ops import Op
from .operators import Operators


class Functions(Operators):
    """exp to atan2, and rounding."""

    __slots__ = ()

    def _float_node(self) -> Node:
        node = self.node
        return node if node.dtype.is_float else graph.cast(node, default_float)

    def _apply(self, f: Callable[[Node], Node]) -> Self:
        return self._new(f(self._float_node()))

    def _primitive(self, op: Op) -> Self:
        return self._new(graph.elementwise(op, self._float_node()))

    def sqrt(self) -> Self:
        """The square root; NaN below 0."""
        return self._primitive(Op.SQRT)

    def rsqrt(self) -> Self:
        """1 / sqrt."""
        return self._apply(e.rsqrt)

    def square(self) -> Self:
        """self·self."""
        return self._binary(Op.MUL, self)

    def exp(self) -> Self:
        """e to the power self."""
        return self._apply(e.exp)

    def exp2(self) -> Self:
        """2 to the power self."""
        return self._primitive(Op.EXP2)

    def expm1(self) -> Self:
        """exp(self) - 1, accurate near 0."""
        return self._apply(e.expm1)

    def log(self) -> Self:
        """The natural logarithm; -inf of 0, NaN below."""
        return self._apply(e.log)

    def log2(self) -> Self:
        """The logarithm to base 2."""
        return self._primitive(Op.LOG2)

    def log10(self) -> Self:
        """The logarithm to base 10."""
        return self._apply(e.log10)

    def log1p(self) -> Self:
        """log(1 + self), accurate near 0."""
        return self._apply(e.log1p)

    def logaddexp(self, other: Any) -> Self:
        """log(exp(self) + exp(other)) without overflow."""
        a, b, t = self._floats(other)
        x, y = self._with(a, t), self._with(b, t)
        top, gap = x.maximum(y), x.sub(y).abs().neg()
        return self._new(x.eq(y).where(top.add(math.log(2)), top.add(gap.exp().log1p())).node)._join(t)

    def _join(self, other: Any) -> Self:
        self._requires_grad = self._requires_grad or other._requires_grad
        return self

    def sin(self) -> Self:
        """The sine of radians."""
        return self._apply(trigonometric.sin)

    def cos(self) -> Self:
        """The cosine of radians."""
        return self._apply(trigonometric.cos)

    def tan(self) -> Self:
        """The tangent of radians."""
        return self._apply(trigonometric.tan)

    def asin(self) -> Self:
        """The inverse sine; NaN beyond 1."""
        return self._apply(trigonometric.asin)

    def acos(self) -> Self:
        """The inverse cosine; NaN beyond 1."""
        return self._apply(trigonometric.acos)

    def atan(self) -> Self:
        """The inverse tangent."""
        return self._apply(trigonometric.atan)

    def atan2(self, other: Any) -> Self:
        """The angle of the point (other, self), from -π to π."""
        a, b, t = self._floats(other)
        return self._with(trigonometric.atan2(a, b), t)

    def sinh(self) -> Self:
        """The hyperbolic sine."""
        return self._apply(e.sinh)

    def cosh(self) -> Self:
        """The hyperbolic cosine."""
        return self._apply(e.cosh)

    def tanh(self) -> Self:
        """The hyperbolic tangent."""
        return self._apply(e.tanh)

    def asinh(self) -> Self:
        """The inverse hyperbolic sine."""
        return self._apply(e.asinh)

    def acosh(self) -> Self:
        """The inverse hyperbolic cosine; NaN below 1."""
        return self._apply(e.acosh)

    def atanh(self) -> Self:
        """The inverse hyperbolic tangent; NaN beyond 1."""
        return self._apply(e.atanh)

    def erf(self) -> Self:
        """The error function."""
        return self._apply(e.erf)

    def sigmoid(self) -> Self:
        """1 / (1 + exp(-self))."""
        return self._apply(e.sigmoid)

    def floor(self) -> Self:
        """The greatest integer not above."""
        return self._new(basic.floor(self.node))

    def ceil(self) -> Self:
        """The least integer not below."""
        return self._new(basic.ceil(self.node))

    def trunc(self) -> Self:
        """Rounded toward zero."""
        return self._new(basic.trunc(self.node))

    def round(self, decimals: int = 0) -> Self:
        """The nearest integer, ties to even; or the nearest multiple of 10^-decimals."""
        if decimals == 0:
            return self._new(basic.round_even(self.node))
        if not self.dtype.is_float:
            return self._new(self.node)
        scale = 10.0**decimals
        return self.mul(scale).round().div(scale)

    def frac(self) -> Self:
        """What truncation drops."""
        return self.sub(self.trunc())

    def __floor__(self) -> Self:
        return self.floor()

    def __ceil__(self) -> Self:
        return self.ceil()

    def __trunc__(self) -> Self:
        return self.trunc()

    def __round__(self, decimals: int = 0) -> Self:
        return self.round(decimals)
