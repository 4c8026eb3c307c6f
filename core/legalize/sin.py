"""SIN from arithmetic and bits, over the whole range.

sin(x) is ±sin(r) or ±cos(r) with r = x - n·π/2 in [-π/4, π/4]; n modulo 4 says which. Below ``LIMIT`` n·π/2
is subtracted in parts short enough that nothing is lost. Above it, only those bits of 2/π that move the
result by less than a whole turn are multiplied with the integer significand of x, in integer arithmetic
(Payne and Hanek's method), so that the largest float is reduced as exactly as a small one. Both are computed
and one is chosen: vector code has no branches.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

from ..dtype import DType, float32, float64, int32, int64
from .term import Term, from_hex, high_product, horner, product, sign_bit

LIMIT = 512.0
_COUNT_BITS = 9  # of n below the limit

SINE: dict[DType, tuple[float, ...]] = {
    float32: (-0.16666655, 0.00833219, -0.0001951895),
    float64: from_hex(
        "-0x1.5555555555548p-3 0x1.111111110f74ep-7 -0x1.a01a019bef558p-13 0x1.71de355c51d0cp-19 "
        "-0x1.ae5e526669341p-26 0x1.5d8db4a71c61bp-33"
    ),
}
"""sin(r) = r + c0 r³ + c1 r⁵ + …; relative errors 2^-27.5 and 2^-57.1. Found by ``derive``."""

COSINE: dict[DType, tuple[float, ...]] = {
    float32: (1.0, -0.5, 0.041666646, -0.001388731, 2.4432022e-05),
    float64: from_hex(
        "0x1p0 -0x1p-1 0x1.555555555554bp-5 -0x1.6c16c16c1500ap-10 0x1.a01a019c8d49ap-16 "
        "-0x1.27e4f7efecf04p-22 0x1.1ee9da9893395p-29 -0x1.8fa5dce21ec85p-37"
    ),
}
"""cos(r) = c0 + c1 r² + …; relative errors 2^-32.6 and 2^-63.5. Found by ``derive``."""


def sin(x: Term) -> Term:
    """The sine of x radians, of float32 or float64."""
    dtype = x.dtype
    size = x.magnitude()
    near, near_quadrant = _reduce_near(size)
    far, far_quadrant = _reduce_far(size)
    small = size < LIMIT
    r = small.choose(near, far)
    quadrant = small.choose(near_quadrant, far_quadrant)
    square = r * r
    sine = (r * square).times_plus(horner(square, SINE[dtype]), r)
    cosine = horner(square, COSINE[dtype])
    result = (quadrant & 1).differs(0).choose(cosine, sine)
    sign = ((quadrant & 2) << (dtype.bits - 2)) ^ (x.bits & sign_bit(dtype))
    result = (result.bits ^ sign).read_as(dtype)
    return (size < math.inf).choose(result, math.nan)


def _reduce_near(x: Term) -> tuple[Term, Term]:
    """r, and n in the two lowest bits, for 0 ≤ x < LIMIT."""
    magic = 1.5 * 2.0**x.dtype.mantissa
    shifted = x.times_plus(2 / math.pi, magic)
    minus_n = magic - shifted
    parts = _half_pi_parts(x.dtype, x.target.fused)
    r = x
    if x.target.fused:
        for part in parts:
            r = minus_n.times_plus(part, r)
        return r, shifted.bits
    lost = minus_n * parts[-1]
    for part in parts[:-1]:
        less = r + minus_n * part
        r, lost = less, lost + ((r - less) + minus_n * part)
    return r + lost, shifted.bits


def _reduce_far(x: Term) -> tuple[Term, Term]:
    """r, and n in the two lowest bits, for 1 ≤ x."""
    dtype = x.dtype
    width = dtype.bits
    exponent = (x.bits >> dtype.mantissa) - ((1 << (dtype.exponent - 1)) - 1)
    significand = (x.bits & ((1 << dtype.mantissa) - 1)) | (1 << dtype.mantissa)
    a, b, c = _window(exponent, dtype)

    # x/(π/2) modulo 4 as a fraction of two words, the first bit standing for 2
    part = significand * b
    low = part + high_product(significand, c)
    high = significand * a + high_product(significand, b)
    high = (low < part).choose(high + 1, high)

    # the nearest integer, and what is left as a signed fraction
    n = (high + (1 << (width - 3))) >> (width - 2)
    signed = int32 if width == 32 else int64
    left = (high - (n << (width - 2))).read_as(signed)
    head = left.to(dtype)
    spare = width - dtype.mantissa - 1
    tail = (left - head.to(signed)).to(dtype)
    tail = (low >> spare).read_as(signed).to(dtype).times_plus(2.0 ** (spare - width), tail)
    upper, lower = (p * 2.0 ** (2 - width) for p in _half_pi_parts(dtype, True)[:2])
    main, error = product(head, upper)
    return main + (error + head.times_plus(lower, tail * upper)), n


def _window(exponent: Term, dtype: DType) -> tuple[Term, Term, Term]:
    """Three words of 2/π, from the bit on that makes 2 of the lowest bit of x."""
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
def _half_pi_parts(dtype: DType, fused: bool) -> tuple[float, ...]:
    """π/2 as a sum: whole numbers of the format for FMA, else so short that n times each is exact."""
    full = dtype.mantissa + 1
    scale = 4 * full + 32
    left = _pi(scale)
    parts = []
    for bits in (full,) * 3 if fused else (full - _COUNT_BITS,) * 3 + (full,):
        drop = max(0, left.bit_length() - bits)
        parts.append(math.ldexp(left >> drop, drop - scale - 1))
        left &= (1 << drop) - 1
    return tuple(parts)


@cache
def _inverse_pi(count: int, width: int, zeros: int) -> tuple[int, ...]:
    """``count`` words: zeros, then the bits of 1/π, which are those of 2/π after one zero more."""
    bits = count * width - zeros
    digits = (1 << (2 * bits + 64)) // _pi(bits + 64)
    return tuple(digits >> (width * (count - 1 - i)) & ((1 << width) - 1) for i in range(count))
