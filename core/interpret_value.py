"""Value expressions, executed in NumPy: what a kernel's arithmetic means.

Every primitive is the contract's own reference; FMA and DIV are rounded once. A value of several lanes is an
array with the lanes on its last axis; one of a single lane has no such axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .dtype import DType
from .errors import KernelError
from .evaluate import NUMPY_PRIMITIVES, Primitives
from .ops import Op
from .reference import round_to
from .value import Extra, Number, Value, toposort

Array = np.ndarray[Any, np.dtype[Any]]


def evaluate_value(
    values: Sequence[Value],
    leaf: Callable[[Value], Array],
    primitives: Primitives = NUMPY_PRIMITIVES,
) -> list[Array]:
    """The arrays of ``values``.

    Args:
        values: what to compute.
        leaf: the array of a LOAD, REF or INDEX, of the value's dtype; all broadcast together.
        primitives: what computes each elementwise primitive: ``f(result dtype, *operands)``.
    """
    known: dict[Value, Array] = {}
    for v in toposort(values):
        known[v] = _compute(v, [_beside(known[s], s, v) for s in v.srcs], leaf, primitives)
    return [known[v] for v in values]


def _beside(x: Array, source: Value, user: Value) -> Array:
    """A scalar operand of a vector operation gets an axis for the lanes."""
    return x[..., None] if source.lanes == 1 < user.lanes else x


def _compute(v: Value, srcs: list[Array], leaf: Callable[[Value], Array], primitives: Primitives) -> Array:
    op, dtype = v.op, v.dtype
    if op is Op.CONST:
        assert isinstance(v.arg, Number)
        return np.array(v.arg.value).astype(dtype.numpy)
    if op is Op.LOAD or op in (Extra.REF, Extra.INDEX):
        return np.asarray(leaf(v)).astype(dtype.numpy, copy=False)
    if isinstance(op, Op):
        return np.asarray(primitives[op](dtype, *srcs)).astype(dtype.numpy, copy=False)
    if op is Extra.FMA:
        return fma(dtype, *srcs)
    if op is Extra.DIV:
        return divide(dtype, *srcs)
    if op is Extra.LANES:
        assert isinstance(v.arg, int)
        return (np.arange(v.lanes) * v.arg).astype(dtype.numpy)
    if op is Extra.SPLAT:
        return np.broadcast_to(srcs[0], (*srcs[0].shape[:-1], v.lanes))
    if op is Extra.LANE:
        assert isinstance(v.arg, int)
        return srcs[0][..., v.arg]
    if op is Extra.SHUFFLE:
        assert isinstance(v.arg, tuple)
        return np.concatenate(srcs, axis=-1)[..., list(v.arg)]
    if op is Extra.FOLD:
        assert isinstance(v.arg, Op)
        total = srcs[0][..., 0]
        for lane in range(1, v.srcs[0].lanes):
            total = np.asarray(primitives[v.arg](dtype, total, srcs[0][..., lane]))
        return total
    raise KernelError(f"{op!r} has no value")


def divide(dtype: DType, a: Array, b: Array) -> Array:
    """a / b, rounded once. A quotient of narrow floats, rounded to float64 on the way, rounds the same."""
    with np.errstate(all="ignore"):
        if dtype.bits == 64:
            return a / b
        return round_to(a.astype(np.float64) / b.astype(np.float64), dtype)


def fma(dtype: DType, a: Array, b: Array, c: Array) -> Array:
    """a·b + c, rounded once."""
    with np.errstate(all="ignore"):
        if dtype.bits < 64:  # the product is exact in float64, and the sum rounded to odd
            product = a.astype(np.float64) * b.astype(np.float64)
            return round_to(_sum_to_odd(product, c.astype(np.float64)), dtype)
        # in longdouble, whose exponents leave room: a·b is upper + lower exactly, then three terms to odd
        wide_a, wide_b, wide_c = (x.astype(np.longdouble) for x in (a, b, c))
        upper = wide_a * wide_b
        plain = (upper + wide_c).astype(np.float64)
        a_head, a_tail = _split(wide_a)
        b_head, b_tail = _split(wide_b)
        lower = ((a_head * b_head - upper) + a_head * b_tail + a_tail * b_head) + a_tail * b_tail
        small, small_error = _two_sum(wide_c, lower)
        total, error = _two_sum(upper, small)
        exact = _sum_to_odd(total, _sum_to_odd(error, small_error)).astype(np.float64)
        return np.where(np.isfinite(upper) & np.isfinite(wide_c), exact, plain)


def _split(x: Array) -> tuple[Array, Array]:
    """A float64 in a wider format as two halves of 26 and 27 bits."""
    head = (x.astype(np.float64).view(np.uint64) & np.uint64(0xFFFFFFFFF8000000)).view(np.float64)
    wide = head.astype(x.dtype)
    return wide, x - wide


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """a + b rounded, and its rounding error."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _sum_to_odd(a: Array, b: Array) -> Array:
    """a + b; where that is inexact, the neighbour whose last bit is 1, so that rounding it again is right."""
    total, error = _two_sum(a, b)
    mantissa, _ = np.frexp(total)
    digits = np.finfo(total.dtype).nmant + 1
    even = np.fmod(np.ldexp(mantissa, digits), 2) == 0
    toward = np.where(error > 0, np.inf, -np.inf).astype(total.dtype)
    fix = even & (error != 0) & np.isfinite(total) & np.isfinite(error)
    return np.where(fix, np.nextafter(total, toward), total)
