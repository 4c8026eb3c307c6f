"""x to the power y, with the logarithm carried to twice the width so that large results stay accurate."""

from __future__ import annotations

import math

from .. import graph
from ..derivative import define
from ..dtype import float32
from ..graph import Node
from . import coefficients
from .basic import Expr, trunc, where
from .exponential import SPLIT, exp_times_power, log, mul

Pair = tuple[Expr, Expr]
"""A value and what rounding left over."""


def _split(a: Expr) -> Pair:
    c = a * (2.0 ** ((a.node.dtype.mantissa + 2) // 2) + 1)
    high = c - (c - a)
    return high, a - high


def _product(a: Expr, b: Expr) -> Pair:
    """a·b exactly (Dekker 1971)."""
    p = a * b
    (ah, al), (bh, bl) = _split(a), _split(b)
    return p, (((ah * bh - p) + ah * bl) + al * bh) + al * bl


def _sum(a: Expr, b: Expr) -> Pair:
    """a + b exactly (Knuth)."""
    s = a + b
    back = s - a
    return s, (a - (s - back)) + (b - back)


def _log2(a: Expr) -> Pair:
    """log2 of positive finite values, to about 1.5 times the width: 2·atanh(s) for s = (m - 1) / (m + 1)."""
    dtype = a.node.dtype
    c = SPLIT[dtype]
    mantissa = dtype.mantissa
    tiny = a < dtype.smallest_normal
    bits = where(tiny, a * 2.0 ** (mantissa + 1), a).signed_bits()
    one = (c.top - 1) << mantissa
    m = ((bits & ((1 << mantissa) - 1)) | one).as_float(dtype)
    upper = m > math.sqrt(2)
    m = where(upper, m * 0.5, m)
    e = ((bits >> mantissa) - (c.top - 1)).cast(dtype)
    e = where(upper, e + 1, e) - where(tiny, mantissa + 1.0, a * 0.0)
    f, d = m - 1, m + 1
    lost = m - (d - 1)
    over = d.recip()
    s = f * over
    p, left = _product(s, d)
    rest = (((f - p) - left) - s * lost) * over
    # the cube's part of 2·atanh(s) to twice the width, all but what z² is a factor of
    first, *others = coefficients.LOG[dtype]
    z, z_low = _product(s, s)
    small = z * z.poly(tuple(others))
    v = small + first
    v_low = (small - (v - first)) + coefficients.LOG_LOW[dtype]
    cube, cube_low = _product(z, v)
    cube_low = cube_low + z * v_low + z_low * v
    cube, left = _product(s, cube)
    cube_low = left + s * cube_low
    ln, ln_low = _sum(s + s, cube)
    ln_low = ln_low + (cube_low + (rest + rest) * (z + 1))
    high, low = _product(ln, a * 0.0 + c.log2e[0])
    low = (low + ln * c.log2e[1]) + ln_low * c.log2e[0]
    total, total_low = _sum(e, high)
    return total, total_low + low


def _exp2(high: Expr, low: Expr) -> Expr:
    """2 to the power high + low."""
    c = SPLIT[high.node.dtype]
    least, most = c.none, c.top + 0.25
    inside = (high < most) & (high > least)
    q = where(high < most, where(high > least, high, least), most)
    n = (q + q.rounder) - q.rounder
    r = ((q - n) + where(inside, low, 0.0)) * math.log(2)
    return exp_times_power(r, n, round(least), round(most))


def power(x: Node, y: Node) -> Node:
    """x to the power y, of floats of one dtype: within 1 ulp of EXP2's own error, however large the result.

    Special values are C's: x⁰ = 1 and 1ʸ = 1 even of NaN; a negative x has a power when y is an integer.
    """
    dtype = x.dtype
    if dtype.bits == 16:
        return graph.cast(power(graph.cast(x, float32), graph.cast(y, float32)), dtype)
    a, b = Expr(x), Expr(y)
    size = a.abs()
    ordinary = size.ne(0) & (size < math.inf)
    limit = 2.0**40 if dtype is float32 else 2.0**70
    exponent = where(b > limit, limit, where(b < -limit, -limit, b))
    high, low = _log2(where(ordinary, size, 1.0))
    p, left = _product(high, exponent)
    out = _exp2(p, left + low * exponent)
    grows = (b < 0) ^ size.ne(0)  # 0 to a negative power and infinity to a positive one
    out = where(ordinary, out, where(grows, math.inf, out * 0.0))
    whole = b.eq(Expr(trunc(y)))
    half = b * 0.5
    odd = whole & half.ne(Expr(trunc(half.node))) & (b.abs() < math.inf)
    negative = a.signed_bits() < 0
    out = where(negative & odd, -out, out)
    out = where(negative & ordinary & ~whole, math.nan, out)
    out = where(a.ne(a) | b.ne(b), math.nan, out)
    out = where(b.eq(0) | a.eq(1), 1.0, out)

    def rule(g: Node, out: Node) -> list[Node | None]:
        a, b = Expr(x), Expr(y)
        slope = where(b.ne(0), b * Expr(power(x, (b - 1).node)), 0.0)
        flat = a.eq(0) & ~(b < 0)
        by_exponent = where(flat, 0.0, Expr(out) * Expr(log(x)))
        return [mul(g, slope.node), mul(g, by_exponent.node)]

    return define(out.node, (x, y), rule)


def integer_power(x: Node, y: Node) -> Node:
    """x to the power y, of integers of one dtype, wrapping; a negative y truncates 1 / x^|y| toward zero."""
    dtype = x.dtype
    a, b = Expr(x), Expr(y)
    out, square = a * 0 + 1, a
    bits = dtype.bits if not dtype.is_signed else dtype.bits - 1
    for i in range(bits):
        if i:
            square = square * square
        out = where(((b >> i) & 1).ne(0), out * square, out)
    if not dtype.is_signed:
        return out.node
    unit = where(a.eq(1), 1, where(a.eq(-1), 1 - 2 * (b & 1), out * 0))
    return where(b < 0, unit, out).node


__all__ = ["integer_power", "power"]
