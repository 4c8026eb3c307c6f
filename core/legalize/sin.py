"""SIN from arithmetic and bits, over the whole range.

sin(x) = ±sin(r) with r = x - nπ in [-π/2, π/2] and the sign from n's parity. Below ``LIMIT`` nπ is subtracted
in parts short enough that nothing is lost. Above it, only those bits of 1/π that move the result by less than
a whole turn are multiplied with the integer mantissa of x, in integer arithmetic (Payne and Hanek's method),
so that the largest float is reduced as exactly as a small one. Both are computed and one is chosen: vector
code has no branches.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

from ..dtype import DType, float32, float64, int32, int64
from .term import Term, from_hex, horner, sign_bit

LIMIT = 2048.0
_COUNT_BITS = 10  # of n below the limit

COEFFICIENTS: dict[DType, tuple[float, ...]] = {
    float32: (-0.1666666, 0.008333069, -0.00019809806, 2.606306e-06),
    float64: from_hex(
        "-0x1.5555555555555p-3 0x1.11111111110c8p-7 -0x1.a01a01a014d6ep-13 0x1.71de3a52a0c3bp-19 "
        "-0x1.ae6454d4931c5p-26 0x1.6123cd160c1e8p-33 -0x1.ae438a510c9c5p-41 "
        "0x1.88337f2089082p-49"
    ),
}
"""sin(r) = r + c0 r³ + c1 r⁵ + …; relative errors 2^-26.4 and 2^-61.4. Found by ``derive``."""


def sin(x: Term) -> Term:
    """The sine of x radians, of float32 or float64."""
    dtype = x.dtype
    size = x.magnitude()
    near, near_sign = _reduce_near(size)
    far, far_sign = _reduce_far(size)
    small = size < LIMIT
    r = small.choose(near, far)
    sign = small.choose(near_sign, far_sign) ^ (x.bits & sign_bit(dtype))
    square = r * r
    result = (r * square).times_plus(horner(square, COEFFICIENTS[dtype]), r)
    result = (result.bits ^ sign).read_as(dtype)
    return (size < math.inf).choose(result, math.nan)


def _reduce_near(x: Term) -> tuple[Term, Term]:
    """r, and the sign bit that n's parity gives, for 0 ≤ x < LIMIT."""
    magic = 1.5 * 2.0**x.dtype.mantissa
    shifted = x.times_plus(1 / math.pi, magic)
    minus_n = magic - shifted
    r = x
    for part in _pi_parts(x.dtype, x.target.fused):
        r = minus_n.times_plus(part, r)
    return r, shifted.bits << (x.dtype.bits - 1)


def _reduce_far(x: Term) -> tuple[Term, Term]:
    """r, and the sign bit that n's parity gives, for 1 ≤ x."""
    dtype = x.dtype
    width = dtype.bits
    exponent = (x.bits >> dtype.mantissa) - ((1 << (dtype.exponent - 1)) - 1)
    significand = (x.bits & ((1 << dtype.mantissa) - 1)) | (1 << dtype.mantissa)
    a, b, c = _window(exponent, dtype)

    # x/π modulo 2 as a fraction of two words, the first bit standing for 1
    low = significand * b
    sum_low = low + _high_product(significand, c)
    high = significand * a + _high_product(significand, b)
    high = (sum_low < low).choose(high + 1, high)

    # to the nearest integer and what is left of it, a signed fraction
    sign = (high + (1 << (width - 2))) & sign_bit(dtype)
    signed = int32 if width == 32 else int64
    left = (high ^ sign).read_as(signed)
    head = left.to(dtype)
    spare = width - dtype.mantissa - 1
    tail = (left - head.to(signed)).to(dtype)
    tail = (sum_low >> spare).read_as(signed).to(dtype).times_plus(2.0 ** (spare - width), tail)
    upper, lower = (p * 2.0 ** (1 - width) for p in _pi_parts(dtype, True)[:2])
    return head.times_plus(upper, head.times_plus(lower, tail * upper)), sign


def _window(exponent: Term, dtype: DType) -> tuple[Term, Term, Term]:
    """Three words of 1/π, from the bit on that x's lowest bit meets with weight 1."""
    width = dtype.bits
    counts = 1 << (dtype.exponent - 1)
    table = _inverse_pi(counts // width + 3, width, dtype.mantissa + 1)
    words = [exponent.number(w) for w in table]
    step = counts // 2
    while step >= width:  # a word's place is chosen by one bit of the exponent after another
        jump = (exponent & step).differs(0)
        by = step // width
        words = [jump.choose(far, near) for near, far in zip(words, words[by:], strict=False)]
        step //= 2
    shift = exponent & (width - 1)
    rest = (width - 1) - shift
    first, second, third = ((p << shift) | ((q >> 1) >> rest) for p, q in pairwise(words))
    return first, second, third


def _high_product(a: Term, b: Term) -> Term:
    """The upper word of a·b, by half words."""
    half = a.dtype.bits // 2
    mask = (1 << half) - 1
    a_low, a_high, b_low, b_high = a & mask, a >> half, b & mask, b >> half
    first = a_low * b_high + ((a_low * b_low) >> half)
    second = a_high * b_low + (first & mask)
    return a_high * b_high + (first >> half) + (second >> half)


@cache
def _pi(bits: int) -> int:
    """floor(π·2^bits), by Machin's formula."""
    spare = 32

    def arc_cotangent(n: int) -> int:
        total = power = (1 << (bits + spare)) // n
        k = 1
        while power:
            power //= -n * n
            k += 2
            total += power // k
        return total

    return 4 * (4 * arc_cotangent(5) - arc_cotangent(239)) >> spare


@cache
def _pi_parts(dtype: DType, fused: bool) -> tuple[float, ...]:
    """π as a sum: whole numbers of the format for FMA, else so short that n times each is exact."""
    full = dtype.mantissa + 1
    scale = 4 * full + 32
    left = _pi(scale)
    parts = []
    for bits in (full,) * 3 if fused else (full - _COUNT_BITS,) * 3 + (full,):
        drop = max(0, left.bit_length() - bits)
        parts.append(math.ldexp(left >> drop, drop - scale))
        left &= (1 << drop) - 1
    return tuple(parts)


@cache
def _inverse_pi(count: int, width: int, zeros: int) -> tuple[int, ...]:
    """``count`` words of that many zeros followed by the bits of 1/π."""
    bits = count * width - zeros
    digits = (1 << (2 * bits + 64)) // _pi(bits + 64)
    return tuple(digits >> (width * (count - 1 - i)) & ((1 << width) - 1) for i in range(count))
