"""RECIP and SQRT from arithmetic and bits, correctly rounded.

Newton's iteration gives the result to a few units in its last place. Its error is then known exactly: with
significands taken as integers, what is left of 2^n after subtracting quotient · divisor (or of the operand
after subtracting the root's square) is small, so that wrapping integers hold it. It says by how much to
correct the quotient or root, and which way to round.
"""

from __future__ import annotations

import math

from ..dtype import float32, int32, int64
from .term import Term, pattern, sign_bit

_STEPS = 2  # how far Newton's result may be off, in units of the last place


def recip(x: Term) -> Term:
    """1 / x, of float32 or float64."""
    if x.target.divides:
        return x.number(1.0) / x
    dtype = x.dtype
    size = x.magnitude()
    exponent, significand = _parts(size)
    digits = dtype.mantissa + 1
    m = significand.to(dtype) * 2.0 ** (1 - digits)
    y = m.times_plus(-8 / 17, 24 / 17)  # 1/m on [1, 2) to 1/17
    for _ in range(3 if dtype is float32 else 4):
        y = y.times_plus((-m).times_plus(y, 1.0), y)
    quotient = (y * 2.0**digits).to(significand.dtype)
    left = 0 - quotient * significand
    for _ in range(_STEPS):
        over = left < 0
        quotient, left = over.choose(quotient - 1, quotient), over.choose(left + significand, left)
        under = (left < significand) ^ True
        quotient, left = under.choose(quotient + 1, quotient), under.choose(left - significand, left)
    # two more bits: whether at least half is left, and whether anything else is
    half = (left + left < significand) ^ True
    quotient = (quotient << 2) + half.choose(left.number(2), 0) + left.differs(0).choose(left.number(1), 0)
    # a subnormal result has one or two bits less
    edge = (1 << (dtype.exponent - 1)) - 3
    drop = (exponent > edge).choose(exponent - (edge - 2), 2)
    odd = (quotient >> drop) & 1
    rounded = (quotient + ((odd.number(1) << (drop - 1)) - 1) + odd) >> drop
    result = _scaled(rounded.to(dtype), drop - 2 - exponent - digits)
    result = (size > 0.0).choose(result, math.inf)
    result = (size < math.inf).choose(result, 0.0)
    result = (result.bits | (x.bits & sign_bit(dtype))).read_as(dtype)
    return x.differs(x).choose(x, result)


def sqrt(x: Term) -> Term:
    """The square root, of float32 or float64."""
    dtype = x.dtype
    exponent, significand = _parts(x)
    digits = dtype.mantissa + 1
    odd = exponent & 1
    significand = significand << odd  # the exponent made even
    a = significand.to(dtype) * 2.0 ** (1 - digits)
    guess = 0x5F3759DF if dtype is float32 else 0x5FE6EB50C7B537A9
    y = (guess - (a.bits >> 1)).read_as(dtype)  # 1/√a to 1/29
    for _ in range(3 if dtype is float32 else 4):
        y = (y * 0.5).times_plus((-(a * y)).times_plus(y, 1.0), y)
    root = (a * y * 2.0 ** (digits - 1)).to(significand.dtype)
    left = (significand << (digits - 1)) - root * root
    for _ in range(_STEPS):
        over = left < 0
        left, root = over.choose(left + (root + root - 1), left), over.choose(root - 1, root)
        under = left > root + root
        left, root = under.choose(left - (root + root + 1), left), under.choose(root + 1, root)
    root = (left > root).choose(root + 1, root)
    result = _scaled(root.to(dtype), ((exponent - odd) >> 1) - (digits - 1))
    result = (x < math.inf).choose(result, x)  # infinity and NaN
    return (x > 0.0).choose(result, (x < 0.0).choose(math.nan, x))


def _parts(x: Term) -> tuple[Term, Term]:
    """Signed integers (e, s) with x = s · 2^(e - mantissa), of a positive float."""
    dtype = x.dtype
    tiny = x < dtype.smallest_normal
    raised = dtype.mantissa + 2
    bits = tiny.choose(x * 2.0**raised, x).read_as(int32 if dtype is float32 else int64)
    bias = (1 << (dtype.exponent - 1)) - 1
    exponent = (bits >> dtype.mantissa) - tiny.choose(bits.number(bias + raised), bias)
    return exponent, (bits & ((1 << dtype.mantissa) - 1)) | (1 << dtype.mantissa)


def _scaled(x: Term, exponent: Term) -> Term:
    """x · 2^exponent, rounded once: by two factors, since one may not be a normal number."""
    dtype = x.dtype
    one = pattern(1.0, dtype)
    half = exponent >> 1
    first = ((half << dtype.mantissa) + one).read_as(dtype)
    return x * first * (((exponent - half) << dtype.mantissa) + one).read_as(dtype)
