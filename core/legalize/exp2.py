"""EXP2 from arithmetic and bits.

2^x = 2^n · 2^r with n the nearest integer to x and r in [-1/2, 1/2]. Adding 1.5·2^mantissa rounds x to an
integer, which then stands in the low bits of the sum; 2^r is a polynomial; 2^n is made as two factors of half
the exponent each, so that both are normal numbers and a subnormal or infinite result is rounded once, by the
last product.

Of a whole number it is only an exponent: ``exp2_of_whole``.
"""

from __future__ import annotations

from ..dtype import DType, float32, float64
from .span import Span
from .term import Term, from_hex, horner

COEFFICIENTS: dict[DType, tuple[float, ...]] = {
    float32: (1.0, 0.6931472, 0.24022648, 0.055503596, 0.009618504, 0.0013390849, 0.0001531693),
    float64: from_hex(
        "0x1p0 0x1.62e42fefa39efp-1 0x1.ebfbdff82c59dp-3 0x1.c6b08d704a0d6p-5 "
        "0x1.3b2ab6fba0fddp-7 0x1.5d87fe78b3189p-10 0x1.4309130c5d020p-13 0x1.ffcbfbfc246bfp-17 "
        "0x1.62bfcd1696eeap-20 0x1.b52606aead710p-24 0x1.e612c74979601p-28 0x1.e81a94d0f9f13p-32"
    ),
}
"""2^r = 1 + 0.69… r + …; relative errors 2^-27.8 and 2^-56.5. Found by ``derive``."""


def exp2(x: Term) -> Term:
    """2 to the power x, of float32 or float64."""
    dtype = x.dtype
    bias = (1 << (dtype.exponent - 1)) - 1
    high, low = bias + 2.0, -(bias + dtype.mantissa + 1.0)  # beyond: infinity, and 0
    # the low bits of a sum with this hold n + 2·bias, whose halves are two biased exponents
    magic = 1.5 * 2.0**dtype.mantissa + 2 * bias
    x = (x > high).choose(high, x)
    x = (x < low).choose(low, x)
    shifted = x + magic
    r = x - (shifted - magic)
    n = shifted.bits
    half = n >> 1
    power = horner(r, COEFFICIENTS[dtype])
    power = power * (half << dtype.mantissa).read_as(dtype)
    return power * ((n - half) << dtype.mantissa).read_as(dtype)


def exp2_of_whole(x: Term, span: Span, more: int = 0) -> Term:
    """2 to the power x + more, of whole numbers: exact, or infinity or 0 where no float is as large or small.

    Args:
        x: of float32 or float64.
        span: within which bounds it lies: what they rule out is not seen to here.
        more: -1 or greater.
    """
    dtype = x.dtype
    bias = (1 << (dtype.exponent - 1)) - 1
    high, low = bias + 1 - more, -(bias + dtype.mantissa + 1) - more  # beyond: infinity, and 0
    whole = 1.5 * 2.0**dtype.mantissa  # the low bits of a sum with this hold what else is added
    n = x
    if span.hi > high:
        n = (n > high).choose(high, n)
    if span.lo >= 1 - bias - more:
        power = ((n + (whole + bias + more)).bits << dtype.mantissa).read_as(dtype)
    else:
        if span.lo < low:
            n = (n < low).choose(low, n)
        both = (n + (whole + 2 * bias + more)).bits  # whose halves are two biased exponents
        half = both >> 1
        power = (half << dtype.mantissa).read_as(dtype)
        power = power * ((both - half) << dtype.mantissa).read_as(dtype)
    return (x < power).choose(power, x)  # no whole x is more than 2^(x - 1): it is chosen where it is NaN
