"""LOG2 from arithmetic and bits.

x = 2^k · (1 + f) with 1 + f in [√½, √2), so that f is exact and small where the logarithm is. log2(1 + f) is
f·log2(e), kept as a sum of two numbers, plus a polynomial in f; k is added to the greater of the two with its
rounding error kept, so that one rounding is left.
"""

from __future__ import annotations

import math

from ..dtype import DType, float32, float64
from .term import Term, from_hex, horner, pattern, product

LEADING: dict[DType, float] = {
    float32: 1.44269502162933349609375,
    float64: float.fromhex("0x1.71547652b82fep0"),
}
"""log2(e), rounded to each format."""

COEFFICIENTS: dict[DType, tuple[float, ...]] = {
    float32: (
        1.917488e-08,
        -0.72134733,
        0.48089823,
        -0.36069798,
        0.2885689,
        -0.23959196,
        0.20455845,
        -0.19120342,
        0.18647364,
        -0.1099914,
    ),
    float64: from_hex(
        "0x1.59c7283cbd9efp-56 -0x1.71547652b82ffp-1 0x1.ec709dc3a042cp-2 -0x1.71547652b7fa4p-2 "
        "0x1.2776c50ef593ep-2 -0x1.ec709dc3e098ap-3 0x1.a61762ac468f9p-3 -0x1.715476424982dp-3 "
        "0x1.484b1291e9ff6p-3 -0x1.2776c6c5bf031p-3 0x1.0c9ab7dd10eebp-3 -0x1.ec70a7db83672p-4 "
        "0x1.c685b7280bb35p-4 -0x1.a60c1c2df41ecp-4 0x1.8a7c7d88e909bp-4 -0x1.7276327fd71e4p-4 "
        "0x1.578676b637d72p-4 -0x1.3ad12d5d6504bp-4 0x1.4133218b63c3fp-4 -0x1.736b5c3852a4bp-4 "
        "0x1.4e858333199b4p-4 -0x1.1a9ceb1323ac4p-5"
    ),
}
"""log2(1 + f) = f·LEADING + c0 f + c1 f² + …; relative errors 2^-27.5 and 2^-58.2. Found by ``derive``."""


def log2(x: Term) -> Term:
    """The logarithm to base 2, of float32 or float64."""
    dtype = x.dtype
    mantissa = dtype.mantissa
    bias = 1 << (dtype.exponent - 1)
    least = pattern(math.sqrt(0.5), dtype)

    tiny = x < dtype.smallest_normal
    raised = mantissa + 2
    moved = tiny.choose(x * 2.0**raised, x).bits + ((bias << mantissa) - least)
    one_plus_f = ((moved & ((1 << mantissa) - 1)) + least).read_as(dtype)
    # k + bias in the low bits of 2^mantissa is that float plus k + bias
    unit = 2.0**mantissa
    k = ((moved >> mantissa) + pattern(unit, dtype)).read_as(dtype) - tiny.choose(
        unit + bias + raised, x.number(unit + bias)
    )
    f = one_plus_f - 1.0
    head, tail = product(f, LEADING[dtype])
    tail = f.times_plus(horner(f, COEFFICIENTS[dtype]), tail)
    total = k + head
    result = total + (((k - total) + head) + tail)

    result = (x < math.inf).choose(result, x)  # infinity and NaN
    return (x > 0.0).choose(result, x.differs(0.0).choose(math.nan, x.number(-math.inf)))
