"""What is known of a float before it is computed: between which numbers it lies, and whether it is whole.

In: a value as it was lowered. Out: bounds that hold however its parts are rounded, NaN aside. Followed are
sums and products with constants, clamps, and what rounds to a whole number by adding a large one; more is not
worth its time. Who legalizes a primitive may so leave out what guards against operands that don't come.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..dtype import DType
from ..ops import Op
from ..record import dataclass
from ..value import Number, Value


@dataclass(frozen=True, slots=True)
class Span:
    """Bounds of a float value.

    Attributes:
        lo, hi: it is no less and no more, unless it is NaN.
        is_whole: it is a whole number, an infinity or NaN.
    """

    lo: float = -math.inf
    hi: float = math.inf
    is_whole: bool = False


ANY = Span()
DEPTH = 16
"""Operations that are followed: a clamp, a product, two sums and what stands around them."""


def span_of(v: Value, depth: int = DEPTH) -> Span:
    """What is known of a value of float32 or float64; ``ANY`` of others."""
    if not v.dtype.is_float or v.dtype.bits < 32 or not depth:
        return ANY
    if v.op is Op.CONST:
        assert isinstance(v.arg, Number)
        x = float(v.arg.value)
        return ANY if math.isnan(x) else Span(x, x, x == math.floor(x) if math.isfinite(x) else True)
    if v.op is Op.CAST and v.srcs[0].dtype.is_int:
        dtype = v.srcs[0].dtype
        return _rounded(float(dtype.min), float(dtype.max), True, v.dtype)
    clamp = _clamp(v)
    if clamp is None and v.op not in (Op.ADD, Op.SUB, Op.MUL):
        return ANY
    if all(s.op is not Op.CONST for s in v.srcs[-2:]):
        return ANY
    a, b = (span_of(s, depth - 1) for s in v.srcs[-2:])
    if clamp is not None:
        return Span(clamp(a.lo, b.lo), clamp(a.hi, b.hi), a.is_whole and b.is_whole)
    if v.op is Op.MUL:
        return _product(a, b, v.dtype)
    if v.op is Op.SUB:
        b = Span(-b.hi, -b.lo, b.is_whole)
    return _rounded(a.lo + b.lo, a.hi + b.hi, a.is_whole and b.is_whole, v.dtype)


def _clamp(v: Value) -> Callable[[float, float], float] | None:
    """Whether a value is the lesser or the greater of its last two operands."""
    if v.op is Op.MAX:
        return max
    if v.op is Op.WHERE and v.srcs[0].op is Op.CMPLT:
        (less, more), chosen = v.srcs[0].srcs, v.srcs[1:]
        if chosen == (less, more):
            return min
        if chosen == (more, less):
            return max
    return None


def _product(a: Span, b: Span, dtype: DType) -> Span:
    """Of a product, whether it is rounded by itself or with a sum."""
    if a.lo != a.hi:
        a, b = b, a
    if a.lo != a.hi or not math.isfinite(a.lo) or a.lo == 0:
        return ANY
    ends = np.sort(np.array((a.lo * b.lo, a.lo * b.hi)).astype(dtype.numpy))
    lo, hi = np.nextafter(ends, np.array((-np.inf, np.inf), dtype.numpy))
    return Span(float(lo), float(hi), a.is_whole and b.is_whole)


def _rounded(lo: float, hi: float, is_whole: bool, dtype: DType) -> Span:
    """Of a sum: rounding keeps the order of numbers, and leaves a large one no room for a fraction."""
    lo, hi = (_nearest(x, dtype, bound) for x, bound in ((lo, -math.inf), (hi, math.inf)))
    all_large = lo >= 2.0**dtype.mantissa or hi <= -(2.0**dtype.mantissa)
    return Span(lo, hi, is_whole or all_large)


def _nearest(x: float, dtype: DType, unknown: float) -> float:
    if math.isnan(x):
        return unknown
    with np.errstate(over="ignore"):
        return float(np.array(x).astype(dtype.numpy))
