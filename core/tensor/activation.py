"""Activations: the nonlinearities between layers. Gradients at a corner are PyTorch's (0 for relu at 0)."""

from __future__ import annotations

import math
from typing import Self

from .. import graph
from ..derivative import define
from ..dtype import DTypeLike, default_float, float32
from ..elementary import basic
from ..elementary.basic import Expr, where
from ..elementary.exponential import gelu, one_over_one_plus_exp, scaled_exp
from ..graph import Node
from ..ops import Op
from .reduce import Reduce

_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805


class Activation(Reduce):
    """relu to log_softmax."""

    __slots__ = ()

    def relu(self) -> Self:
        """The greater of self and 0; NaN stays."""
        x = self.node
        y = graph.elementwise(Op.MAX, basic.full(0, x), x)  # not maximum's order, whose gradient differs at 0
        return self._new(define(y, (x,), lambda g, y: [where(Expr(y) > 0, Expr(g), 0.0).node]))

    def relu6(self) -> Self:
        """relu, not above 6."""
        return self.hardtanh(0.0, 6.0)

    def hardtanh(self, min_val: float = -1.0, max_val: float = 1.0) -> Self:
        """Clipped; no gradient at the bounds."""
        within = self.gt(min_val).bitwise_and(self.lt(max_val))
        return within.where(self, self._held().clip(min_val, max_val))

    def leaky_relu(self, negative_slope: float = 0.01) -> Self:
        """self above 0, else ``negative_slope``·self."""
        return self.gt(0).where(self, self.mul(negative_slope))

    def elu(self, alpha: float = 1.0) -> Self:
        """self above 0, else alpha·(exp(self) - 1)."""
        return self.gt(0).where(self, self.clip(max=0.0).expm1().mul(alpha))

    def celu(self, alpha: float = 1.0) -> Self:
        """max(0, self) + min(0, alpha·(exp(self/alpha) - 1))."""
        return self.gt(0).where(self, self.clip(max=0.0).div(alpha).expm1().mul(alpha))

    def selu(self) -> Self:
        """elu scaled so that layers keep mean 0 and variance 1."""
        return self.elu(_SELU_ALPHA).mul(_SELU_SCALE)

    def gelu(self, approximate: str = "none") -> Self:
        """self·Φ(self), Φ the normal distribution: by erf, or by tanh when ``approximate="tanh"``."""
        if approximate == "tanh":
            twice = self.add(self.mul(self).mul(self).mul(0.044715)).mul(2 * math.sqrt(2 / math.pi))
            return self.mul(twice.sigmoid())  # (1 + tanh(u)) / 2 is sigmoid(2u)
        return self._apply(gelu)

    def quick_gelu(self) -> Self:
        """self·sigmoid(1.702·self)."""
        return self.mul(self.mul(1.702).sigmoid())

    def silu(self) -> Self:
        """self·sigmoid(self)."""
        return self.mul(self.sigmoid())

    swish = silu

    def mish(self) -> Self:
        """self·tanh(softplus(self))."""
        return self.mul(self.softplus().tanh())

    def softplus(self, beta: float = 1.0, threshold: float = 20.0) -> Self:
        """log(1 + exp(beta·self)) / beta; self itself where beta·self is above ``threshold``."""
        x = self.mul(beta)
        soft = x.maximum(0.0).add(x.abs().neg().exp().log1p())
        node = soft.node if beta == 1.0 else soft.div(beta).node
        y = self._new(define(node, (x.node,), lambda g, y: [_scaled_sigmoid(g, x.node, beta)]))
        return x.gt(threshold).where(self, y)

    def logsigmoid(self) -> Self:
        """log(sigmoid(self))."""
        return self.neg().softplus(1.0, math.inf).neg()

    def softsign(self) -> Self:
        """self / (1 + |self|)."""
        return self.div(self.abs().add(1.0))

    def hardsigmoid(self) -> Self:
        """clip(self/6 + 1/2, 0, 1)."""
        return self.mul(1 / 6).add(0.5).hardtanh(0.0, 1.0)

    def hardswish(self) -> Self:
        """self·hardsigmoid(self)."""
        return self.mul(self.hardsigmoid())

    def softmax(self, dim: int = -1, dtype: DTypeLike | None = None) -> Self:
        """exp over its sum along ``dim``."""
        x, axis = self._logits(dim, dtype)
        if x is None:
            return self.cast(dtype or default_float).mul(0).exp()
        node, own = x.node, x.dtype
        e = scaled_exp(_shifted(node, axis), most=0.0)
        y = e * Expr(graph.expand(Expr(graph.reduce(Op.ADD, e.node, (axis,))).recip().node, node.shape))

        def rule(g: Node, y: Node) -> list[Node | None]:
            weighted = Expr(g) * Expr(y)
            total = graph.expand(graph.reduce(Op.ADD, weighted.node, (axis,)), y.shape)
            return [(weighted - Expr(y) * Expr(total)).node]

        return x._new(define(y.node, (node,), rule)).cast(self._result(dtype, own.name))

    def log_softmax(self, dim: int = -1, dtype: DTypeLike | None = None) -> Self:
        """log(softmax), without its underflow."""
        x, axis = self._logits(dim, dtype)
        if x is None:
            return self.cast(dtype or default_float).mul(0)
        node, own = x.node, x.dtype
        s = _shifted(node, axis)
        total = Expr(graph.reduce(Op.ADD, scaled_exp(s, most=0.0).node, (axis,))).log2() * math.log(2)
        y = s - Expr(graph.expand(total.node, node.shape))

        def rule(g: Node, y: Node) -> list[Node | None]:
            total = graph.expand(graph.reduce(Op.ADD, g, (axis,)), y.shape)
            return [(Expr(g) - scaled_exp(Expr(y), most=0.0) * Expr(total)).node]

        return x._new(define(y.node, (node,), rule)).cast(self._result(dtype, own.name))

    def _logits(self, dim: int, dtype: DTypeLike | None) -> tuple[Self | None, int]:
        """self in the dtype that a softmax is computed in (None of a scalar), and the axis."""
        if not self.shape and dim in (0, -1):
            return None, 0
        x = self if dtype is None else self.cast(dtype)
        x = x if x.dtype.is_float else x.cast(default_float)
        return (x.cast(float32) if x.dtype.bits == 16 else x), self._axis(dim)

    def _result(self, dtype: DTypeLike | None, computed: str) -> DTypeLike:
        return dtype if dtype is not None else self.dtype if self.dtype.is_float else computed

    def softmin(self, dim: int = -1) -> Self:
        """softmax of the negative."""
        return self.neg().softmax(dim)


def _shifted(x: Node, axis: int) -> Expr:
    """x less its greatest along ``axis``, so that nothing overflows."""
    return Expr(x) - Expr(graph.expand(graph.reduce(Op.MAX, x, (axis,)), x.shape))


def _scaled_sigmoid(g: Node, x: Node, beta: float) -> Node:
    return (Expr(g) * (one_over_one_plus_exp(-Expr(x)) * (1.0 / beta))).node
