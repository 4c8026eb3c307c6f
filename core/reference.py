"""What each primitive means, in NumPy: the executable half of the contract.

Every function takes the dtype of its result and its operands, and gives the correctly rounded result: floats
are computed in a wider type and rounded once (float64 for the narrower ones, ``longdouble`` for float64).
NumPy's own float32 transcendentals are up to 3 ulp off and its out-of-range casts are unspecified, so neither
is used as a meaning. Operands obey the table's guards (no zero divisor, shift amounts within the width).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .dtype import DType, float64

Array = np.ndarray[Any, np.dtype[Any]]


def widen(x: Array) -> Array:
    """``x`` in a wider float: float64 of the narrower floats, ``longdouble`` of float64."""
    return x.astype(np.longdouble) if x.dtype == np.float64 else x.astype(np.float64)


def round_to(x: Array, dtype: DType) -> Array:
    """Floats of any width rounded once to ``dtype``, to nearest even."""
    with np.errstate(all="ignore"):
        if dtype.is_in_numpy or x.dtype == np.float32:
            return x.astype(dtype.numpy)
        if x.dtype.itemsize <= 2:
            return x.astype(np.float32).astype(dtype.numpy)
        # Through float32 would round twice. Rounding to odd first keeps what the second step needs to know.
        near = x.astype(np.float32)
        bits = near.view(np.uint32)
        back = near.astype(x.dtype)
        toward_zero = np.where(np.abs(back) > np.abs(x), bits - np.uint32(1), bits)
        inexact = (back != x) & np.isfinite(x)
        odd = np.where(inexact, toward_zero | np.uint32(1), bits).astype(np.uint32)
        return odd.view(np.float32).astype(dtype.numpy)


def _rounded(dtype: DType, f: Callable[..., Array], *operands: Array) -> Array:
    with np.errstate(all="ignore"):
        return round_to(f(*(widen(x) for x in operands)), dtype)


def _binary(
    dtype: DType, f: Callable[..., Array], logical: Callable[..., Array] | None, a: Array, b: Array
) -> Array:
    if dtype.is_float:
        if dtype is float64:
            with np.errstate(all="ignore"):
                return f(a, b)
        return _rounded(dtype, f, a, b)
    if dtype.is_bool and logical is not None:
        return logical(a, b)
    with np.errstate(all="ignore"):
        return f(a, b)


def cast(dtype: DType, x: Array) -> Array:
    """CAST: by value. Float to integer out of range gives some value."""
    source = x.dtype
    if dtype.is_bool:
        nonzero: Array = x.astype(np.float32) != 0 if source.kind not in "biuf" else x != 0
        return nonzero
    if source == dtype.numpy:
        return x
    with np.errstate(all="ignore"):
        if dtype.is_float:
            if source.kind in "iu":
                # longdouble holds every 64-bit integer, so that only one rounding is left
                return (
                    round_to(x.astype(np.longdouble), dtype)
                    if source.itemsize == 8
                    else round_to(x.astype(np.float64), dtype)
                )
            if source.kind == "b":
                return x.astype(np.float32).astype(dtype.numpy)
            return round_to(x if source.char in "efdg" else x.astype(np.float32), dtype)
        if source.kind in "biu":
            return x.astype(dtype.numpy)
        wide = np.trunc(x.astype(np.float64))
        wide = np.where(np.isfinite(wide), wide, 0.0)
        if dtype.bits == 64 and not dtype.is_signed:
            top = wide >= 2.0**63
            return np.where(
                top, (wide - 2.0**63).astype(np.int64).astype(np.uint64) + np.uint64(1 << 63),
                wide.astype(np.int64).astype(np.uint64),
            )  # fmt: skip
        return np.clip(wide, -(2.0**63), 2.0**63 - 1024).astype(np.int64).astype(dtype.numpy)


def bitcast(dtype: DType, x: Array) -> Array:
    """BITCAST: the same bits."""
    return np.ascontiguousarray(x).view(dtype.numpy).reshape(x.shape)


def add(dtype: DType, a: Array, b: Array) -> Array:
    """ADD."""
    return _binary(dtype, np.add, np.logical_or, a, b)


def sub(dtype: DType, a: Array, b: Array) -> Array:
    """SUB."""
    return _binary(dtype, np.subtract, None, a, b)


def mul(dtype: DType, a: Array, b: Array) -> Array:
    """MUL."""
    return _binary(dtype, np.multiply, np.logical_and, a, b)


def neg(dtype: DType, a: Array) -> Array:
    """NEG."""
    with np.errstate(all="ignore"):
        return np.negative(a)


def maximum(dtype: DType, a: Array, b: Array) -> Array:
    """MAX: NaN if either is."""
    with np.errstate(all="ignore"):
        return np.where(np.isnan(a) | (a > b), a, b) if dtype.is_float else np.maximum(a, b)


def idiv(dtype: DType, a: Array, b: Array) -> Array:
    """IDIV: toward zero. A zero divisor, which core never sends, gives some value."""
    with np.errstate(all="ignore"):
        q: Array = a // b
        if dtype.is_signed:
            q += ((q * b != a) & ((a < 0) != (b < 0))).astype(dtype.numpy)
        return q


def mod(dtype: DType, a: Array, b: Array) -> Array:
    """MOD: the remainder of IDIV."""
    with np.errstate(all="ignore"):
        return np.fmod(a, b)


def recip(dtype: DType, a: Array) -> Array:
    """RECIP."""
    return _binary(dtype, lambda x, _: x.dtype.type(1) / x, None, a, a)


def sqrt(dtype: DType, a: Array) -> Array:
    """SQRT."""
    return _binary(dtype, lambda x, _: np.sqrt(x), None, a, a)


def exp2(dtype: DType, a: Array) -> Array:
    """EXP2."""
    return _rounded(dtype, np.exp2, a)


def log2(dtype: DType, a: Array) -> Array:
    """LOG2."""
    return _rounded(dtype, np.log2, a)


def sin(dtype: DType, a: Array) -> Array:
    """SIN."""
    return _rounded(dtype, np.sin, a)


def cmplt(dtype: DType, a: Array, b: Array) -> Array:
    """CMPLT: ``dtype`` is bool."""
    with np.errstate(all="ignore"):
        return np.less(a, b).astype(np.bool_)


def cmpne(dtype: DType, a: Array, b: Array) -> Array:
    """CMPNE: ``dtype`` is bool."""
    with np.errstate(all="ignore"):
        return np.not_equal(a, b).astype(np.bool_)


def where(dtype: DType, c: Array, a: Array, b: Array) -> Array:
    """WHERE."""
    return np.where(c, a, b)


def and_(dtype: DType, a: Array, b: Array) -> Array:
    """AND."""
    return np.bitwise_and(a, b)


def or_(dtype: DType, a: Array, b: Array) -> Array:
    """OR."""
    return np.bitwise_or(a, b)


def xor(dtype: DType, a: Array, b: Array) -> Array:
    """XOR."""
    return np.bitwise_xor(a, b)


def shl(dtype: DType, a: Array, b: Array) -> Array:
    """SHL."""
    return np.left_shift(a, b)


def shr(dtype: DType, a: Array, b: Array) -> Array:
    """SHR."""
    return np.right_shift(a, b)
