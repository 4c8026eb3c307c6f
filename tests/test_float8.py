"""The 8-bit floats: stored in a byte, computed in float32, named and rounded as in ``ml_dtypes``."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import ml_dtypes
import mpmath
import numpy as np
import pytest

import portwright
from portwright import Tensor, dtypes
from portwright.core import reference
from portwright.core import value as val
from portwright.core.device import Spec
from portwright.core.dtype import (
    ALL,
    FLOAT8S,
    DType,
    as_dtype,
    bfloat16,
    float8_e4m3fn,
    float8_e5m2,
    float16,
    float32,
    float64,
    int8,
    promote,
    uint8,
)
from portwright.core.errors import DTypeError
from portwright.core.interpret_value import evaluate_value
from portwright.core.legalize import Legalizer
from portwright.core.ops import PRIMITIVES, Op
from portwright.core.value import Value

Array = np.ndarray[Any, np.dtype[Any]]
EVERY = np.arange(256, dtype=np.uint8)
both = pytest.mark.parametrize("dtype", [float8_e4m3fn, float8_e5m2], ids=str)
everywhere = pytest.mark.parametrize("device", ["NUMPY", "CPU", "CPU:without=floor"])


def spec(flushes: bool = False) -> Spec:
    own = frozenset(ALL) - FLOAT8S - {float16, bfloat16}
    return Spec("TEST", dtypes=frozenset(ALL), arithmetic=own, flushes_subnormals=flushes)


def store(value: Value, flushes: bool = False, **arrays: Array) -> Array:
    """What a store of ``value`` of the references by name writes, in the value's own dtype."""
    work = Legalizer(spec(flushes))
    for v in val.toposort([value]):
        if v.op is val.Extra.REF and v.dtype in FLOAT8S:
            work.know(v, work.held(v.dtype, (val.ref(str(v.arg), uint8),)))
    [stored] = work.stored(work.term(value))
    [got] = evaluate_value([stored], lambda v: arrays[str(v.arg)])
    return got.view(value.dtype.numpy)


def wide(x: Tensor) -> Array:
    """The values, as float32."""
    return np.asarray(x.numpy().astype(np.float32))


def same(a: Array, b: Array) -> bool:
    """The same bits, or both NaN."""
    unsigned = f"u{a.dtype.itemsize}"
    return bool(((a.view(unsigned) == b.view(unsigned)) | (np.isnan(a) & np.isnan(b))).all())


def midpoints(dtype: DType) -> Array:
    """Every number, what is halfway to the next, and the neighbours of both: also beyond the greatest."""
    with np.errstate(all="ignore"):
        values = EVERY.view(dtype.numpy).astype(np.float64)
    finite = np.unique(values[np.isfinite(values)])
    last = finite[-1] + (finite[-1] - finite[-2]) * np.array([0.5, 1, 2])
    points = np.concatenate([finite, (finite[1:] + finite[:-1]) / 2, last, -last, [np.inf, -np.inf, np.nan]])
    exact = points.astype(np.float32)
    assert (exact == points)[:-1].all()
    around = [np.nextafter(exact, np.float32(to)) for to in (np.inf, -np.inf)]
    return np.concatenate([exact, *around])


def test_names() -> None:
    assert portwright.float8_e4m3fn is dtypes.float8_e4m3fn is as_dtype("float8_e4m3fn")
    assert as_dtype(ml_dtypes.float8_e5m2) is float8_e5m2
    assert float8_e4m3fn.numpy == ml_dtypes.float8_e4m3fn


@both
def test_ranges(dtype: DType) -> None:
    known = ml_dtypes.finfo(dtype.numpy)
    assert dtype.finite_max == float(known.max)
    assert dtype.smallest_normal == float(known.smallest_normal)
    assert dtype.eps == float(known.eps)
    assert dtype.has_infinity == bool(np.isinf(np.float32(np.inf).astype(dtype.numpy)))
    lowest = -float("inf") if dtype.has_infinity else -448.0
    assert (dtype.min, dtype.max) == (lowest, -lowest)


def test_promotion() -> None:
    with pytest.raises(DTypeError, match="neither holds the other"):
        promote(float8_e4m3fn, float8_e5m2)
    for narrow in FLOAT8S:
        with np.errstate(all="ignore"):
            held = EVERY.view(narrow.numpy)
        for wider in (float16, bfloat16, float32, float64):
            assert promote(narrow, wider) is promote(wider, narrow) is wider
            assert same(
                held.astype(np.float32).astype(wider.numpy).astype(np.float32), held.astype(np.float32)
            )
        assert promote(narrow, int8) is narrow


def test_promotion_is_associative_where_it_is_defined() -> None:
    def meet(a: DType | None, b: DType | None) -> DType | None:
        try:
            return None if a is None or b is None else promote(a, b)
        except DTypeError:
            return None

    for a, b, c in itertools.product(ALL, repeat=3):
        first, second = meet(meet(a, b), c), meet(a, meet(b, c))
        assert first is second or None in (first, second), (a, b, c)


@both
def test_scalars_round_as_ml_dtypes(dtype: DType) -> None:
    for x in midpoints(dtype):
        expected = float(x.astype(dtype.numpy))
        got = dtype.cast_scalar(float(x))
        assert got == expected or (got != got and expected != expected), x


@both
@pytest.mark.parametrize("flushes", [False, True], ids=["subnormals", "flushing"])
def test_rounded_to_eight_bits(dtype: DType, flushes: bool) -> None:
    x = midpoints(dtype)
    if not flushes:
        rng = np.random.default_rng(2)
        x = np.concatenate([x, rng.integers(0, 1 << 32, 200000, np.uint32).view(np.float32)])
    with np.errstate(all="ignore"):
        expected = x.astype(dtype.numpy)
    value = val.cast(val.ref("x", float32), dtype)
    assert same(store(value, flushes, x=x), expected)
    chosen = val.where(val.number(True, dtypes.bool_), value, val.number(0.0, dtype))
    assert same(store(chosen, flushes, x=x), expected)  # through a register


@both
@pytest.mark.parametrize("flushes", [False, True], ids=["subnormals", "flushing"])
def test_every_one_is_kept(dtype: DType, flushes: bool) -> None:
    x = val.ref("x", dtype)
    chosen = val.where(val.number(True, dtypes.bool_), x, val.number(0.0, dtype))
    for value in (x, chosen, val.bitcast(val.bitcast(x, int8), dtype), val.primitive(Op.NEG, x)):
        got = store(value, flushes, x=EVERY).view(np.uint8)
        assert (got ^ (0x80 if value.op is Op.NEG else 0) == EVERY).all()
    got = store(val.cast(x, float32), flushes, x=EVERY)
    assert same(got, EVERY.view(dtype.numpy).astype(np.float32))


@both
@pytest.mark.parametrize("op", [Op.ADD, Op.SUB, Op.MUL, Op.MAX], ids=lambda o: o.name)
def test_every_pair(dtype: DType, op: Op) -> None:
    a, b = (g.ravel() for g in np.meshgrid(EVERY, EVERY))
    got = store(val.primitive(op, val.ref("a", dtype), val.ref("b", dtype)), a=a, b=b)
    meaning = PRIMITIVES[op].reference
    assert meaning is not None
    x, y = (v.view(dtype.numpy) for v in (a, b))
    expected = meaning(dtype, x, y)
    if op is Op.MAX:  # of two zeros either
        expected = np.where((x == 0) & (y == 0), got, expected)
    assert same(got, expected)


@both
@pytest.mark.parametrize("op", [Op.RECIP, Op.SQRT, Op.EXP2, Op.LOG2, Op.SIN], ids=lambda o: o.name)
def test_no_result_is_near_a_midpoint(dtype: DType, op: Op) -> None:
    """So near that a float32 within the full tier would round the other way: the nearest can be asked for."""
    with np.errstate(all="ignore"):
        values = EVERY.view(dtype.numpy).astype(np.float64)
    finite = np.unique(values[np.isfinite(values)])
    halves = (finite[1:] + finite[:-1]) / 2
    f = {
        Op.RECIP: lambda x: 1 / x, Op.SQRT: mpmath.sqrt, Op.EXP2: lambda x: mpmath.power(2, x),
        Op.LOG2: lambda x: mpmath.log(x, 2), Op.SIN: mpmath.sin,
    }[op]  # fmt: skip
    for x in finite:
        if x == 0 or (x < 0 and op in (Op.SQRT, Op.LOG2)):
            continue
        with mpmath.workprec(200):
            y = f(mpmath.mpf(float(x)))
            nearest = halves[np.argmin(np.abs(halves - float(y)))]
            away = abs(y - mpmath.mpf(float(nearest)))
            exact_tie = away == 0 and Fraction(float(y)) == Fraction(float(nearest))
            assert exact_tie or away > abs(y) * 2.0**-20, (x, y, nearest)


@both
@everywhere
def test_a_tensor_of_them(dtype: DType, device: str) -> None:
    data = np.random.default_rng(4).standard_normal((9, 33)).astype(np.float32)
    x = Tensor(data, device=device).cast(dtype)
    narrow = data.astype(dtype.numpy).astype(np.float32)
    assert x.dtype is dtype
    assert x.numpy().dtype == dtype.numpy
    np.testing.assert_array_equal(wide(x), narrow)
    doubled = (x + x).cast("float32").numpy()
    np.testing.assert_array_equal(doubled, (2 * narrow).astype(dtype.numpy).astype(np.float32))
    np.testing.assert_array_equal(wide(x.max(1)), narrow.max(1))
    total = x.cast("float32").sum(1).numpy()
    np.testing.assert_allclose(total, narrow.sum(1), rtol=1e-5, atol=1e-5)
    half = Tensor(data, device=device).cast("float16") * x
    assert half.dtype is float16


@everywhere
def test_beyond_the_greatest(device: str) -> None:
    x = Tensor(np.array([448.0, 464.0, 465.0, -1e9, 57344.0, 61439.0, 61440.0], np.float32), device=device)
    np.testing.assert_array_equal(wide(x.cast("float8_e4m3fn")), [448, 448, *[np.nan] * 5])
    large = wide(x.cast("float8_e5m2"))
    np.testing.assert_array_equal(large, [448, 448, 448, -np.inf, 57344, 57344, np.inf])


@both
def test_a_matrix_product_is_summed_in_float32(dtype: DType) -> None:
    a, b = (np.random.default_rng(s).integers(-2, 3, (17, 17)).astype(np.float32) for s in (1, 2))
    got = wide(Tensor(a).cast(dtype) @ Tensor(b).cast(dtype))
    expected = reference.cast(dtype, (a @ b).astype(np.float32)).astype(np.float32)
    np.testing.assert_array_equal(got, expected)
