"""exp, log and their kin, from EXP2, LOG2 and polynomials.

Every function takes a float node and gives one of the same shape and dtype; half types are computed in
float32. Beside each stands its derivative. Stated accuracies are of float32 and float64, above the
primitives' own error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps

from .. import graph
from ..derivative import define
from ..dtype import DType, float32, float64
from ..graph import Node
from ..ops import Op
from ..record import dataclass
from . import coefficients
from .basic import Expr, where, wide

LOG2_E = 1 / math.log(2)
LN_2 = math.log(2)
NOTHING = 40.0
"""exp(-40) added to 1 is 1, of any width."""


@dataclass(frozen=True)
class Split:
    """Constants of one width. Sums of the parts are the constant to twice the width.

    Attributes:
        ln2: ln 2, the first part short enough to be multiplied by an exponent exactly.
        log2e: 1 / ln 2.
        top: the first power of two that overflows.
        none: 2 to the power of this, and of less, is rounded to 0.
    """

    ln2: tuple[float, float]
    log2e: tuple[float, float]
    top: int
    none: float


SPLIT: dict[DType, Split] = {
    float32: Split(
        (0.693145751953125, 1.4286068203094173e-06), (1.4426950216293335, 1.925963033500011e-08), 128, -150.25
    ),
    float64: Split(
        (0.6931471803691238, 1.9082149292705877e-10), (1.4426950408889634, 2.0355273740931033e-17), 1024,
        -1075.25,
    ),
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


def exp_times_power(r: Expr, n: Expr, from_: int, to: int) -> Expr:
    """exp(r)·2^n of an |r| up to ln 2 / 2 and a whole n.

    exp(r) is a polynomial, of a result 2^s times as large, and n less by s such that EXP2(n - s) is a normal
    number over the range of n, if there is such an s: so a result that is none is rounded once. Over a range
    too wide for that s is 1, which the largest results need.

    Args:
        r, n: as said.
        from_, to: between which n lies.
    """
    dtype = r.node.dtype
    top = SPLIT[dtype].top
    s = min(max(0, to - (top - 1)), from_ + (top - 2)) if to - from_ < 2 * top - 2 else 1
    scaled = tuple(math.ldexp(c, s) for c in coefficients.EXP[dtype])
    return r.poly(scaled) * (n - s if s else n).exp2()


def scaled_exp(x: Expr, halvings: int = 0, *, least: float = -math.inf, most: float = math.inf) -> Expr:
    """exp(x) / 2^halvings, without overflow before the division.

    x = n·ln 2 + r with n the nearest whole number: EXP2(n) is exact on every device, and for one that builds
    it no more than an exponent.

    Args:
        x: any number.
        halvings: how often the result is halved.
        least, most: what is below or above counts as these, for who knows that x lies between or sees no
            difference; the range of results is narrower for it, and they cost less.
    """
    dtype = x.node.dtype
    c = SPLIT[dtype]
    least = max(least, (c.none + halvings) * LN_2)
    most = min(most, (c.top + 0.25 + halvings) * LN_2)
    x = where(x < least, least, x)
    x = where(x > most, most, x)
    n = x.times_plus(LOG2_E, x.rounder) - x.rounder
    r = n.times_plus(-c.ln2[1], n.times_plus(-c.ln2[0], x))
    from_, to = (round(end * LOG2_E) - halvings for end in (least, most))
    return exp_times_power(r, n - halvings if halvings else n, from_, to)


@in_float32
def exp(x: Node) -> Node:
    """e to the power x: within 1 ulp of EXP2's own error over the whole range."""
    return define(scaled_exp(Expr(x)).node, (x,), lambda g, y: [mul(g, y)])


@in_float32
def expm1(x: Node) -> Node:
    """exp(x) - 1, accurate near 0: within 3 ulp."""
    e = Expr(x)
    near = (e * e).times_plus(e.poly(coefficients.EXPM1[x.dtype]), e)
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
    y = one_over_one_plus_exp(-Expr(x))
    return define(y.node, (x,), lambda g, y: [mul(g, (Expr(y) * (1.0 - Expr(y))).node)])


def one_over_one_plus_exp(x: Expr) -> Expr:
    """1 / (1 + exp(x)), of a sum so much smaller that none is infinite whose inverse is not 0."""
    spare = x.node.dtype.mantissa + 1
    part = 2.0**-spare
    return (scaled_exp(x, spare, least=-NOTHING) + part).recip() * part


@in_float32
def tanh(x: Node) -> Node:
    """The hyperbolic tangent: within 4 ulp."""
    e = Expr(x)
    z = e * e
    near = e.times_plus(z * z.poly(coefficients.TANH[x.dtype]), e)
    a = e.abs()
    far = 1.0 - 2.0 * (scaled_exp(a + a, least=0.0, most=NOTHING) + 1).recip()
    y = where(z < 0.4, near, far).abs().with_sign(e.sign_bit())
    return define(y.node, (x,), lambda g, y: [mul(g, (1.0 - Expr(y) * Expr(y)).node)])


@in_float32
def sinh(x: Node) -> Node:
    """The hyperbolic sine: within 4 ulp, to the last finite value."""
    e = Expr(x)
    z = e * e
    near = e.times_plus(z * z.poly(coefficients.SINH[x.dtype]), e)
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
    far = where(a < last, 1.0 - scaled_exp(tail, least=-NOTHING, most=0.0), 1.0).with_sign(e.sign_bit())
    y = where(e.ne(e), e, where(z < 1, near, far))

    def rule(g: Node, y: Node) -> list[Node | None]:
        e = Expr(x)
        return [mul(g, (scaled_exp(-(e * e), most=0.0) * (2 / math.sqrt(math.pi))).node)]

    return define(y.node, (x,), rule)


def _normal(x: Node) -> Expr:
    """Φ(x), the share of a normal distribution that lies below x.

    In float32 e to a polynomial for a tail, on either side, so that a small share is as accurate as a large
    one. Beyond 6 the polynomial falls faster than the logarithm that it stands for, of shares below 1e-9.
    """
    e = Expr(x)
    if x.dtype is float64:
        return (Expr(erf((e * math.sqrt(0.5)).node)) + 1.0) * 0.5
    tail = scaled_exp(e.abs().poly(coefficients.NORMAL_TAIL), most=0.0)
    return where(e < 0.0, tail, 1.0 - tail)


@in_float32
def gelu(x: Node) -> Node:
    """x·Φ(x): of float32 within 4 ulp from -1 on, to -6 within 5e-6 of itself, and below that within 2e-9."""
    y = Expr(x) * _normal(x)

    def rule(g: Node, y: Node) -> list[Node | None]:
        e = Expr(x)
        density = scaled_exp(e * e * -0.5, most=0.0) * (1 / math.sqrt(2 * math.pi))
        return [mul(g, (_normal(x) + e * density).node)]

    return define(y.node, (x,), rule)


@in_float32
def rsqrt(x: Node) -> Node:
    """1 / sqrt(x)."""
    return Expr(x).sqrt().recip().node


__all__ = [
    "LN_2", "LOG2_E", "NOTHING", "SPLIT", "Function", "acosh", "asinh", "atanh", "cosh", "erf", "exp",
    "exp_times_power", "expm1", "gelu",
    "in_float32", "log", "log1p", "log10", "mul", "one_over_one_plus_exp",
    "rsqrt", "scaled_exp", "sigmoid", "sinh", "tanh",
]  # fmt: skip
