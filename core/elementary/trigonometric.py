"""cos, tan and the inverse functions, from SIN and polynomials. Float nodes; half types computed in
float32.
"""

from __future__ import annotations

import math

from .. import graph
from ..derivative import define
from ..dtype import DType, float32, float64
from ..graph import Node
from ..record import dataclass
from . import coefficients
from .basic import Expr, where
from .exponential import in_float32, mul


@dataclass(frozen=True)
class HalfPi:
    """π/2 in parts: small integers times all but the last are exact.

    Attributes:
        parts: their sum is π/2 to more than twice the width.
        exact: arguments below this reduce without loss.
    """

    parts: tuple[float, ...]
    exact: float


_HALF_PI: dict[DType, HalfPi] = {
    float32: HalfPi(
        (1.5703125, 0.0004837512969970703, 7.549533620476723e-08, 2.5633440682570896e-12), 2.0**12
    ),
    float64: HalfPi((1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21), 2.0**19),
}


@in_float32
def sin(x: Node) -> Node:
    """SIN, the primitive."""
    return Expr(x).sin().node


@in_float32
def cos(x: Node) -> Node:
    """The cosine: within 2 ulp of SIN's own error while |x| < 4096 (float64: 2^19), its zeros included.

    x lies r beside an odd multiple m of π/2, and cos(x) is sin(r) or -sin(r). Beyond, 1 - 2·sin²(x/2): as
    accurate in absolute terms, but not relative to values near zero.
    """
    e = Expr(x)
    c = _HALF_PI[x.dtype]
    near = e.abs() < c.exact
    k = ((e * (1 / math.pi) - 0.5) + e.rounder) - e.rounder
    m = k + k + 1
    r = e
    for part in c.parts:
        r = r - m * part
    odd = k - 2.0 * ((k * 0.5 + e.rounder) - e.rounder)
    s = where(near, r, e * 0.5).sin()
    y = where(near, where(odd.ne(0), s, -s), 1.0 - 2.0 * (s * s))

    return define(y.node, (x,), lambda g, y: [(-Expr(mul(g, Expr(x).sin().node))).node])


@in_float32
def tan(x: Node) -> Node:
    """The tangent, sin / cos: within 4 ulp of the primitives' own errors."""
    y = Expr(x).sin() * Expr(cos(x)).recip()
    return define(y.node, (x,), lambda g, y: [mul(g, (Expr(y) * Expr(y) + 1).node)])


def _atan_ratio(top: Expr, bottom: Expr) -> Expr:
    """atan(top / bottom) of values ≥ 0, not both 0 and not both infinite."""
    steep, middle = bottom * 2.4142135623730951 < top, bottom * 0.41421356237309503 < top
    q_top = where(steep, -bottom, where(middle, top - bottom, top))
    q_bottom = where(steep, top, where(middle, top + bottom, bottom))
    q = q_top * q_bottom.recip()
    z = q * q
    p = q * (z * z.poly(coefficients.ATAN[top.node.dtype])) + q
    base = where(steep, math.pi / 2, where(middle, math.pi / 4, q * 0.0))
    return base + p


@in_float32
def atan(x: Node) -> Node:
    """The inverse tangent: within 3 ulp."""
    e = Expr(x)
    a = e.abs()
    huge = a > 2.0**60
    y = _atan_ratio(where(huge, 1.0, a), where(huge, 0.0, a * 0.0 + 1))
    y = where(e.ne(e), e, y.abs().with_sign(e.sign_bit()))
    return define(y.node, (x,), lambda g, y: [mul(g, (Expr(x) * Expr(x) + 1).recip().node)])


def _asin_of(s: Expr, z: Expr) -> Expr:
    return s + s * (z * z.poly(coefficients.ASIN[s.node.dtype]))


def _asin_parts(e: Expr) -> tuple[Expr, Expr]:
    """asin(|e|) when |e| < 1/2, and 2·asin(sqrt((1-|e|)/2)), which completes it to π/2 beyond."""
    a = e.abs()
    rest = (1.0 - a) * 0.5
    return _asin_of(a, a * a), 2.0 * _asin_of(rest.sqrt(), rest)


@in_float32
def asin(x: Node) -> Node:
    """The inverse sine: within 3 ulp; NaN beyond 1."""
    e = Expr(x)
    small, rest = _asin_parts(e)
    y = where(e.abs() < 0.5, small, math.pi / 2 - rest).abs().with_sign(e.sign_bit())

    def rule(g: Node, y: Node) -> list[Node | None]:
        return [mul(g, _slope(x).node)]

    return define(where(e.abs() > 1, math.nan, y).node, (x,), rule)


@in_float32
def acos(x: Node) -> Node:
    """The inverse cosine: within 3 ulp; NaN beyond 1."""
    e = Expr(x)
    small, rest = _asin_parts(e)
    negative = e < 0
    low = 6.123233995736766e-17 if x.dtype is float64 else -4.371139000186241e-08  # π/2 beyond its first part
    near = where(negative, low + small, low - small) + math.pi / 2
    y = where(e.abs() < 0.5, near, where(negative, math.pi - rest, rest))

    def rule(g: Node, y: Node) -> list[Node | None]:
        return [(-Expr(mul(g, _slope(x).node))).node]

    return define(y.node, (x,), rule)


def _slope(x: Node) -> Expr:
    e = Expr(x)
    return ((1.0 - e) * (e + 1)).sqrt().recip()


def atan2(y: Node, x: Node) -> Node:
    """The angle of the point (x, y), in (-π, π]; signed zeros and infinities as in C. Within 4 ulp."""
    if y.dtype.bits == 16:
        return graph.cast(atan2(graph.cast(y, float32), graph.cast(x, float32)), y.dtype)
    a, b = Expr(y), Expr(x)
    up, along = a.abs(), b.abs()
    both_zero = up.eq(0) & along.eq(0)
    infinite = up.eq(math.inf) & along.eq(math.inf)
    top = where(infinite, 1.0, up)
    bottom = where(infinite | both_zero, 1.0, along)
    # scaled together, so that neither the ratio's reciprocal nor their sum overflows or is flushed
    big = (top > 2.0**60) | (bottom > 2.0**60)
    small = (top < 2.0**-60) & (bottom < 2.0**-60)
    scale = where(big, 2.0**-60, where(small, 2.0**60, top * 0.0 + 1))
    scale = where(up.eq(math.inf) | along.eq(math.inf), 1.0, scale)
    angle = _atan_ratio(top * scale, bottom * scale)
    angle = where(b.signed_bits() < 0, math.pi - angle, angle)
    out = where(a.ne(a) | b.ne(b), a + b, angle.abs().with_sign(a.sign_bit()))

    def rule(g: Node, angle: Node) -> list[Node | None]:
        a, b = Expr(y), Expr(x)
        over = (a * a + b * b).recip()
        return [mul(g, (b * over).node), mul(g, (-(a * over)).node)]

    return define(out.node, (y, x), rule)
