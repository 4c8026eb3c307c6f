"""What a primitive's result is before it is rounded, and how far a result lies from that.

The exact value is held as the sum of two float64: ``high`` is it to 53 bits, ``low`` what that leaves. For
the dtypes narrower than float64 the contract's own meaning is taken in float64; of float64, mpmath's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.dtype import DType, float64
from ..core.ops import PRIMITIVES, Op

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Exact:
    """Values to far more digits than any dtype has: ``high + low``."""

    high: Array
    low: Array


def exact(op: Op, dtype: DType, *operands: Array) -> Exact:
    """The result of a float primitive, not rounded to ``dtype``."""
    if dtype is float64:
        precise = _MPMATH.get(op)
        if precise is not None:
            return _through_mpmath(precise, operands[0])
    meaning = PRIMITIVES[op].reference
    assert meaning is not None
    with np.errstate(all="ignore"):
        high = np.asarray(meaning(float64, *(x.astype(np.float64) for x in operands)))
    if not dtype.has_infinity:  # beyond the greatest number there is NaN; half a unit more still rounds to it
        edge = float(dtype.finite_max) + float(spacing(dtype, np.array(float(dtype.finite_max)))) / 2
        high = np.where(np.abs(high) <= edge, high, np.nan)
    return Exact(high, np.zeros_like(high))


def spacing(dtype: DType, x: Array) -> Array:
    """The unit in the last place of ``dtype`` at ``x``: of the lowest binade below it too."""
    _, exponent = np.frexp(np.where(np.isfinite(x), x, 1.0))
    least = 2 - (1 << (dtype.exponent - 1))
    return np.asarray(np.ldexp(1.0, np.maximum(exponent - 1, least) - dtype.mantissa))


def distance(got: Array, wanted: Exact, dtype: DType) -> tuple[Array, Array]:
    """How far each element lies from the exact value: in units in the last place of ``dtype``, and absolute.

    Two NaN are at distance 0, as are equal infinities; a NaN and a number are infinitely far apart. An
    infinity stands one unit above the greatest finite value, so that a bound in ulp says how early a result
    may overflow.
    """
    top = float(dtype.finite_max)
    edge = top + float(spacing(dtype, np.array(top))) if dtype is not float64 else top
    with np.errstate(all="ignore"):
        value = got.astype(np.float64)
        same = (value == wanted.high) & (np.isinf(value)) | (np.isnan(value) & np.isnan(wanted.high))
        bounded = np.clip(value, -edge, edge)
        high = np.where(np.isinf(wanted.high), wanted.high, np.clip(wanted.high, -edge, edge))
        low = np.where(high == wanted.high, wanted.low, 0.0)
        off = np.abs((bounded - high) - low)
        if dtype is float64:  # its edge has no float64 of its own: an infinity is one unit further
            off = off + np.where(
                np.isinf(value) != np.isinf(wanted.high), float(spacing(dtype, np.array(top))), 0.0
            )
        ulp = off / spacing(dtype, high)
    ulp = np.where(np.isnan(ulp), np.inf, ulp)
    off = np.where(np.isnan(off), np.inf, off)
    return np.where(same, 0.0, ulp), np.where(same, 0.0, off)


def _through_mpmath(f: Callable[[Any], Any], x: Array) -> Exact:
    import mpmath

    high, low = np.empty(x.shape), np.zeros(x.shape)
    with mpmath.workprec(200):
        for i, v in enumerate(x.tolist()):
            y = f(v)
            try:
                high[i] = float(y)
            except OverflowError:
                high[i] = float("inf") if y > 0 else float("-inf")
            if np.isfinite(high[i]):
                low[i] = float(y - mpmath.mpf(high[i]))
    return Exact(high, low)


def _exp2(x: float) -> Any:
    import mpmath

    if x != x:
        return mpmath.nan
    return mpmath.power(2, mpmath.mpf(max(min(x, 4096.0), -4096.0)))


def _log2(x: float) -> Any:
    import mpmath

    if x != x or x < 0:
        return mpmath.nan
    return mpmath.log(mpmath.mpf(x), 2) if 0 < x < float("inf") else mpmath.inf if x else -mpmath.inf


def _sin(x: float) -> Any:
    import mpmath

    if x != x or x in (float("inf"), float("-inf")):
        return mpmath.nan
    if x == 0:
        return x
    return mpmath.sin(mpmath.mpf(x))


_MPMATH: dict[Op, Callable[[float], Any]] = {Op.EXP2: _exp2, Op.LOG2: _log2, Op.SIN: _sin}
