"""exp, log and their kin, from EXP2, LOG2 and polynomials.

Every function takes a float node and gives one of the same shape and dtype; half types are computed in
float32. Beside each stands its derivative. Stated accuracies are of float32 and float64, above the
primitives' own error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

from .. import graph
from ..derivative import define
from ..dtype import DType, float32, float64
from ..graph import Node
from ..ops import Op
from . import coefficients
from .basic import Expr, where, wide

LOG2_E = 1 / math.log(2)
LN_2 = math.log(2)


@dataclass(frozen=True)
class Split:
    """Constants of one width. Sums of the parts are the constant to twice the width.

    Attributes:
        ln2: ln 2, the first part short enough to be multiplied by a coarse exponent exactly.
        log2e: 1 / ln 2.
        grid: adding and subtracting it rounds to a multiple of 2^-8.
        top: the first power of two that overflows.
    """

    ln2: tuple[float, float]
    log2e: tuple[float, float]
    grid: float
    top: int


SPLIT: dict[DType, Split] = {
    float32: Split((0.69140625, 0.0017409305599453094), (1.4426950216293335, 1.925963033500011e-08), 1.5 *
    2**15, 128), float64: Split(
        (0.6931471803691238, 1.9082149292705877e-10), (1.4426950408889634, 2.0355273740931033e-17), 1.5 *
        2**44, 1024 ),
}  # fmt: skip

Function = Callable[[Node], Node]


def in_float32(f: Function) -> Function:
    """``f``, computed in float32 for the half types."""

    @wraps(f)
    def widened(x: Node) -> Node:
        w = wide(x)
        return f(x) if w is x else graph.cast(f(w), x.dtype)

    return widened


def mul(a: Node, b: Node) -> Node:
    """MUL."""
    return graph.elementwise(Op.MUL, a, b)


def scaled_exp(x: Expr, halvings: int = 0, *, negative: bool = False) -> Expr:
    """exp(x) / 2^halvings, without overflow before the division; ``negative`` says that x is at most 0.

    x = t·ln 2 + r with t a multiple of 2^-8: EXP2(t) errs only as the primitive does, because t is exact, and
    the rest is 1 + r + r²/2 + … of an |r| below 0.0014.
    """
    c = SPLIT[x.node.dtype]
    t = (x * LOG2_E + c.grid) - c.grid
    if not negative:
        last = c.top - 2.0**-8 + halvings
        t = where(t < last, t, last)
    r = (x - t * c.ln2[0]) - t * c.ln2[1]
    power = (t - halvings).exp2() if halvings else t.exp2()
    rest = r.poly((1.0, 0.5) if x.node.dtype is float32 else (1.0, 0.5, 1 / 6, 1 / 24, 1 / 120))
    return where(t > -float(c.top + 64), power + power * (r * rest), power)


@in_float32
def exp(x: Node) -> Node:
    """e to the power x: within 1 ulp of EXP2's own error over the whole range."""
    return define(scaled_exp(Expr(x)).node, (x,), lambda g, y: [mul(g, y)])


@in_float32
def expm1(x: Node) -> Node:
    """exp(x) - 1, accurate near 0: within 3 ulp."""
    e = Expr(x)
    near = e + (e * e) * e.poly(coefficients.EXPM1[x.dtype])
    y = where(e.abs() < 1, near, scaled_exp(e) - 1).abs().with_sign(e.sign_bit())
    return define(y.node, (x,), lambda g, y: [mul(g, (Expr(y) + 1).node)])


def _log(x: Node, unit: float) -> Node:
    y = Expr(x).log2() * unit
    return define(y.node, (x,), lambda g, y: [mul(g, (Expr(x) * (LN_2 / unit)).recip().node)])


@in_float32
def log(x: Node) -> Node:
    """The natural logarithm: within 1 ulp of LOG2's own error."""
    return _log(x, LN_2)


@in_float32
def log10(x: Node) -> Node:
    """The logarithm to base 10: within 1 ulp of LOG2's own error."""
    return _log(x, math.log10(2))


@in_float32
def log1p(x: Node) -> Node:
    """log(1 + x), accurate near 0: within 4 ulp and LOG2's own error.

    What rounding 1 + x to u lost is made good by the factor x / (u - 1).
    """
    e = Expr(x)
    u = e + 1
    w = u - 1
    near = where(e < 2.0**25, e, 1.0) * where((e < 2.0**25) & w.ne(0), w, 1.0).recip()
    y = where(w.ne(0), (u.log2() * LN_2) * near, e)
    return define(y.node, (x,), lambda g, y: [mul(g, (Expr(x) + 1).recip().node)])


@in_float32
def sigmoid(x: Node) -> Node:
    """1 / (1 + exp(-x)): within 3 ulp and the primitives' own errors."""
    y = (scaled_exp(-Expr(x)) + 1).recip()
    return define(y.node, (x,), lambda g, y: [mul(g, (Expr(y) * (1.0 - Expr(y))).node)])


@in_float32
def tanh(x: Node) -> Node:
    """The hyperbolic tangent: within 4 ulp."""
    e = Expr(x)
    z = e * e
    near = e + e * (z * z.poly(coefficients.TANH[x.dtype]))
    a = e.abs()
    far = 1.0 - 2.0 * (scaled_exp(a + a) + 1).recip()
    y = where(z < 0.4, near, far).abs().with_sign(e.sign_bit())
    return define(y.node, (x,), lambda g, y: [mul(g, (1.0 - Expr(y) * Expr(y)).node)])


@in_float32
def sinh(x: Node) -> Node:
    """The hyperbolic sine: within 4 ulp, to the last finite value."""
    e = Expr(x)
    z = e * e
    near = e + e * (z * z.poly(coefficients.SINH[x.dtype]))
    half = scaled_exp(e.abs(), 1)
    y = where(z < 1, near, half - 0.25 * half.recip()).abs().with_sign(e.sign_bit())
    return define(y.node, (x,), lambda g, y: [mul(g, cosh(x))])


@in_float32
def cosh(x: Node) -> Node:
    """The hyperbolic cosine: within 3 ulp, to the last finite value."""
    half = scaled_exp(Expr(x).abs(), 1)
    return define((half + 0.25 * half.recip()).node, (x,), lambda g, y: [mul(g, sinh(x))])


@in_float32
def asinh(x: Node) -> Node:
    """The inverse hyperbolic sine: within 6 ulp."""
    e = Expr(x)
    a = e.abs()
    far = 2.0**28 if x.dtype is float64 else 2.0**12
    s = where(a < far, a, 1.0)
    z = s * s
    near = Expr(log1p((s + z * ((z + 1).sqrt() + 1).recip()).node))
    y = where(a < far, near, a.log2() * LN_2 + LN_2).abs().with_sign(e.sign_bit())

    def rule(g: Node, y: Node) -> list[Node | None]:
        e = Expr(x)
        return [mul(g, (e * e + 1).sqrt().recip().node)]

    return define(y.node, (x,), rule)


@in_float32
def acosh(x: Node) -> Node:
    """The inverse hyperbolic cosine: within 6 ulp; NaN below 1."""
    e = Expr(x)
    far = 2.0**28 if x.dtype is float64 else 2.0**12
    t = where(e < far, e, 1.0) - 1
    near = Expr(log1p((t + (t * (t + 2)).sqrt()).node))
    y = where(e > far, e.log2() * LN_2 + LN_2, near)

    def rule(g: Node, y: Node) -> list[Node | None]:
        e = Expr(x)
        return [mul(g, ((e - 1).sqrt() * (e + 1).sqrt()).recip().node)]

    return define(where(e < 1, math.nan, where(e.ne(e), e, y)).node, (x,), rule)


@in_float32
def atanh(x: Node) -> Node:
    """The inverse hyperbolic tangent: within 6 ulp; NaN beyond 1."""
    e = Expr(x)
    a = e.abs()
    y = (0.5 * Expr(log1p(((a + a) * (1.0 - a).recip()).node))).abs().with_sign(e.sign_bit())
    y = where(a > 1, math.nan, y)

    def rule(g: Node, y: Node) -> list[Node | None]:
        e = Expr(x)
        return [mul(g, ((1.0 - e) * (e + 1)).recip().node)]

    return define(where(e.ne(e), e, y).node, (x,), rule)


@in_float32
def erf(x: Node) -> Node:
    """The error function: within 3 ulp."""
    e = Expr(x)
    z = e * e
    near = e * z.poly(coefficients.ERF[x.dtype])
    last, middle = (6.0, 3.5) if x.dtype is float64 else (4.0, 2.5)
    a = e.abs()
    tail = (where(a < last, a, last) - middle).poly(coefficients.ERFC_TAIL[x.dtype])
    far = where(a < last, 1.0 - scaled_exp(tail), 1.0).with_sign(e.sign_bit())
    y = where(e.ne(e), e, where(z < 1, near, far))

    def rule(g: Node, y: Node) -> list[Node | None]:
        e = Expr(x)
        return [mul(g, (scaled_exp(-(e * e)) * (2 / math.sqrt(math.pi))).node)]

    return define(y.node, (x,), rule)


@in_float32
def rsqrt(x: Node) -> Node:
    """1 / sqrt(x)."""
    return Expr(x).sqrt().recip().node


__all__ = [
    "LN_2", "LOG2_E", "SPLIT", "Function", "acosh", "asinh", "atanh", "cosh", "erf", "exp", "expm1",
    "in_float32", "log", "log1p", "log10", "mul", "rsqrt", "scaled_exp", "sigmoid", "sinh", "tanh",
]  # fmt: skip
