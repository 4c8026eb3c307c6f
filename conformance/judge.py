"""Right or wrong: results held against the contract, and what is said when they differ."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.device import Spec
from ..core.dtype import ALL, DType, as_dtype, float32, float64
from ..core.ops import EXACT, PRIMITIVES, ROUNDED, Op
from .exact import Exact, distance, exact, spacing
from .inputs import to_bits
from .spread import Spread, spread, together

Array = np.ndarray[Any, np.dtype[Any]]


FLUSHED = frozenset({Op.ADD, Op.SUB, Op.MUL})
"""Primitives of float32 that a device which says that it flushes subnormals must be seen to flush. Of others
and of other dtypes either may come: they may be computed in a wider type, or by integers."""


class Mismatch(AssertionError):
    """A result that the contract does not allow. The message says which element, and what was wanted.

    Attributes:
        at: the index of the first bad element; None where it is not about one.
    """

    def __init__(self, message: str, at: tuple[int, ...] | None = None) -> None:
        super().__init__(message)
        self.at = at


@dataclass(frozen=True)
class Accuracy:
    """How far the worst result of a primitive on a dtype lay from the exact one.

    Attributes:
        op, dtype: of what.
        ulp: the distance, in units in the last place of the exact result.
        bound: what the contract allows, in words.
        operands, got: the element, as hex.
        spread: how far all of them lay, of those whose exact result is a finite number.
    """

    op: str
    dtype: str
    ulp: float
    bound: str
    operands: tuple[str, ...]
    got: str
    spread: Spread


def merged(parts: Sequence[Accuracy]) -> Accuracy:
    """The accuracy of all the results of several measurements, at least one, of one primitive and dtype."""
    worst = max(parts, key=lambda a: a.ulp)
    return replace(worst, spread=together(a.spread for a in parts))


def show(x: Any) -> str:
    """One element in decimal and in hex."""
    x = np.asarray(x)
    number = repr(x.item()) if x.dtype.kind in "biuf" else repr(float(x))
    return f"{number} ({hexadecimal(x)})"


def hexadecimal(x: Any) -> str:
    """The bits of one element."""
    return f"0x{int(to_bits(np.asarray(x).reshape(1))[0]):0{2 * np.asarray(x).dtype.itemsize}x}"


def require(
    title: str,
    bad: Array,
    got: Array,
    wanted: Array,
    operands: Sequence[Array] = (),
    rule: str = "equal to the bit",
    ulp: Array | None = None,
) -> None:
    """Nothing when no element is ``bad``.

    Raises:
        Mismatch: with the first bad element, its operands, and what was got and wanted in decimal and hex.
    """
    if not bad.any():
        return
    at = tuple(int(i) for i in np.argwhere(bad)[0]) if bad.ndim else ()
    is_told = any(d.name in re.split(r"[ ,]+", title) for d in ALL)
    of = title if is_told else f"{title}, {as_dtype(got.dtype)}"
    lines = [
        f"{of}, shape {list(got.shape)}: {int(bad.sum()):,} of {bad.size:,} elements are not {rule}",
        f"  first at {list(at)}",
    ]
    lines += [f"  operand {i}  {show(x[at])}" for i, x in enumerate(operands) if x.shape == bad.shape]
    away = _apart(got[at], wanted[at]) if ulp is None else f", {ulp[at]:.4g} ulp away"
    lines += [f"  got        {show(got[at])}{away}", f"  wanted     {_wanted(wanted[at], got)}"]
    raise Mismatch("\n".join(lines), at)


def _wanted(wanted: Any, got: Array) -> str:
    """One wanted element: of a wider type than the results, the bits of the nearest that they can be."""
    wanted = np.asarray(wanted)
    if wanted.dtype == got.dtype or wanted.dtype.kind != "f":
        return show(wanted)
    with np.errstate(all="ignore"):
        near = wanted.astype(got.dtype)
    return f"{float(wanted)!r} ({hexadecimal(near)} when rounded to {as_dtype(got.dtype)})"


def _apart(got: Any, wanted: Any) -> str:
    """How far a float lies from a wanted number of its dtype; "" where that says nothing."""
    dtype = as_dtype(np.asarray(got).dtype)
    if not dtype.is_float:
        return ""
    g, w = float(got), float(wanted)
    if not w:
        return ""
    unit = float(spacing(dtype, np.asarray(w)))
    return f", {abs(g - w) / unit:.4g} ulp away" if math.isfinite(g - w) else ""


def require_bits(title: str, got: Array, wanted: Array, operands: Sequence[Array] = ()) -> None:
    """Equal shapes, dtypes and bits; NaN payloads and the sign of zero count."""
    require_form(title, got, wanted)
    require(title, to_bits(got) != to_bits(wanted), got, wanted, operands)


def require_values(title: str, got: Array, wanted: Array, operands: Sequence[Array] = ()) -> None:
    """Equal as numbers, NaN with NaN; +0 and -0 are the same."""
    require_form(title, got, wanted)
    require(title, ~_alike(got, wanted, signed_zero=False), got, wanted, operands, "equal")


def require_unchanged(now: Array, before: Array) -> None:
    """An input holds what was put into it: kernels must only read it."""
    bad = to_bits(now) != to_bits(before)
    require("an input changed", bad, now, before, rule="as they were before")


def require_form(title: str, got: Array, wanted: Array) -> None:
    """Equal shapes and dtypes; every bool stored as the byte 0 or 1."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        raise Mismatch(f"{title}: got {got.dtype} {got.shape}, wanted {wanted.dtype} {wanted.shape}")
    if got.dtype == np.bool_:
        bytes_ = np.ascontiguousarray(got).view(np.uint8)
        bad = np.flatnonzero(bytes_ > 1)
        if bad.size:
            at = tuple(int(i) for i in np.unravel_index(bad[0], got.shape))
            byte = int(bytes_.ravel()[bad[0]])
            raise Mismatch(
                f"{title}, shape {list(got.shape)}: {bad.size:,} of {got.size:,} bools are neither 0 nor 1\n"
                f"  first at {list(at)}\n"
                f"  got        the byte {byte} (0x{byte:02x})\n"
                f"  wanted     the byte 0 or 1",
                at,
            )


def judge(op: Op, dtype: DType, got: Array, operands: Sequence[Array], spec: Spec) -> Accuracy | None:
    """Holds a primitive's results against its row of the contract.

    Args:
        op: any primitive with a NumPy meaning.
        dtype: of the operands that decide the bound (of CAST: of the result).
        got: the device's results.
        operands: what it was given.
        spec: the claims: tier and subnormals.

    Returns:
        Where the result lay furthest from the exact one, of floats that are computed; else None.

    Raises:
        Mismatch: when the contract does not allow a result.
    """
    row = PRIMITIVES[op]
    assert row.reference is not None
    result = as_dtype(got.dtype)
    title = f"{op.name} {dtype.name}"
    if op in (Op.CAST, Op.BITCAST):
        title = f"{op.name} {as_dtype(operands[0].dtype)} to {dtype.name}"
    wanted = np.asarray(row.reference(result, *operands)).astype(result.numpy, copy=False)
    if op is Op.CAST and dtype.is_bool and spec.flushes_subnormals and operands[0].dtype.kind not in "biu":
        zeros = flushed(operands[0], as_dtype(operands[0].dtype)) == 0  # True or, of a subnormal, False
        wanted = wanted & ~(zeros & ~got)
    if op is Op.CAST and not castable(dtype, operands[0]).all():
        require_form(title, got, wanted)
        bad = (got != wanted) & castable(dtype, operands[0])
        require(title, bad, got, wanted, operands, "truncated toward zero")
        return None
    if op in (Op.NEG, Op.WHERE, Op.BITCAST) or not dtype.is_float:
        require_bits(title, got, wanted, operands)
        return None
    require_form(title, got, wanted)
    bound = row.bound(dtype, spec.tier)
    variants = list(_variants(operands, spec))
    if bound == EXACT:
        good = np.zeros(got.shape, bool)
        # MAX gives one of its operands as it is: where subnormals are zeros, of these either may come
        zeros = flushed(got, dtype) if spec.flushes_subnormals and got.dtype == dtype.numpy else got
        for xs in variants:
            ref = np.asarray(row.reference(result, *xs)).astype(result.numpy, copy=False)
            good |= _alike(got, ref, signed_zero=False) | _alike(zeros, ref, signed_zero=False)
        require(title, ~good, got, wanted, operands, "equal")
        return None
    ulp = np.full(got.shape, np.inf)
    finite = np.zeros(got.shape, bool)
    good = np.zeros(got.shape, bool)
    signed_zero = op is not Op.LOG2
    for xs in variants:
        truth = exact(op, dtype, *xs)
        away, off = distance(got, truth, dtype)
        if bound == ROUNDED:
            ref = np.asarray(row.reference(result, *xs)).astype(result.numpy, copy=False)
            fits = _alike(got, ref, signed_zero=True)
        else:
            reach = bound.ulp + bound.slope * np.abs(operands[0].astype(np.float64))
            fits = (away <= reach) | (off <= bound.absolute)
            zero = (truth.high == 0) & (truth.low == 0) & (got == 0)
            fits &= ~zero | (np.signbit(got) == np.signbit(truth.high)) | (not signed_zero)
        if spec.flushes_subnormals:
            none = (got == 0) & _is_tiny(op, dtype, truth, xs)
            fits, away = fits | none, np.where(none, 0.0, away)
        good |= fits
        finite |= np.isfinite(truth.high)
        ulp = np.minimum(ulp, away)
    require(title, ~good, got, wanted, operands, f"within {bound}", ulp)
    if spec.flushes_subnormals and op in FLUSHED and dtype is float32:
        zeros = flushed(got, dtype)
        moved = _moved(op, got, *operands)
        require(
            title,
            (got != 0) & (zeros == 0) & ~moved,
            got,
            zeros,
            operands,
            "flushed, as the Spec says of subnormals",
        )
    return _measured(op, dtype, str(bound), ulp, finite, got, operands) if got.size else None


def castable(target: DType, x: Array) -> Array:
    """Which operands a cast has a meaning for: of a float to an integer, those in its range."""
    if x.dtype.kind in "biu" or not target.is_int:
        return np.ones(x.shape, bool)
    with np.errstate(all="ignore"):
        wide = np.trunc(x.astype(np.float64))
        return np.asarray(
            (wide >= float(target.min)) & (wide < 2.0 ** (target.bits - (1 if target.is_signed else 0)))
        )


def _measured(
    op: Op, dtype: DType, bound: str, ulp: Array, finite: Array, got: Array, operands: Sequence[Array]
) -> Accuracy:
    at = int(np.argmax(ulp))
    return Accuracy(
        op.name,
        dtype.name,
        round(float(ulp.ravel()[at]), 6),
        bound,
        tuple(hexadecimal(x.ravel()[at]) for x in operands),
        hexadecimal(got.ravel()[at]),
        spread(ulp[finite]),
    )


def _alike(a: Array, b: Array, signed_zero: bool) -> Array:
    """Equal as numbers, or both NaN."""
    if a.dtype.kind in "biu":
        return np.asarray(a == b)
    with np.errstate(all="ignore"):
        equal = a == b
        if signed_zero:
            equal &= np.signbit(a) == np.signbit(b)
        return np.asarray(equal | (np.isnan(a) & np.isnan(b)))


def _variants(operands: Sequence[Array], spec: Spec) -> Sequence[tuple[Array, ...]]:
    """The operands as they are and, of a device that flushes subnormals, with them flushed."""
    if not spec.flushes_subnormals:
        return [tuple(operands)]
    dtypes = [as_dtype(x.dtype) for x in operands]
    choices = [(x, flushed(x, d)) if d.is_float else (x,) for x, d in zip(operands, dtypes, strict=True)]
    return list(itertools.product(*choices))


def _is_tiny(op: Op, dtype: DType, truth: Exact, operands: Sequence[Array]) -> Array:
    """Where a result lies below the normal range before it is rounded: it may be flushed."""
    tiny = np.abs(truth.high) < dtype.smallest_normal
    if op is Op.MUL and dtype is float64:  # whose product is held rounded, and may have been rounded up
        a, b = operands
        with np.errstate(all="ignore"):
            tiny |= np.abs(np.ldexp(a, 64) * b) < dtype.smallest_normal * 2.0**64
    return np.asarray(tiny)


def _moved(op: Op, got: Array, a: Array, b: Array) -> Array:
    """Where a sum with 0 or a product with ±1 is the other operand, or that with its sign bit flipped."""
    leaves = 1 if op is Op.MUL else 0
    return np.asarray(
        ((np.abs(b) == leaves) & (np.abs(got) == np.abs(a)))
        | ((np.abs(a) == leaves) & (np.abs(got) == np.abs(b)))
    )


def flushed(x: Array, dtype: DType) -> Array:
    """``x`` with its subnormals made zeros of their sign."""
    with np.errstate(invalid="ignore"):  # NaNs that signal do so when they are widened
        wide = x.astype(np.float64)
        zeros = np.copysign(np.zeros((), np.float64), wide).astype(x.dtype)
    return np.where(np.abs(wide) < dtype.smallest_normal, zeros, x)
