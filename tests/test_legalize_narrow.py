"""float16 and bfloat16 on a device that only holds them: bits in memory, rounded float32 in registers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flushing import FLUSHING

from portwright.core import value as val
from portwright.core.device import Extra, Spec
from portwright.core.dtype import (
    ALL,
    FLOAT8S,
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int16,
    int64,
    uint16,
    uint64,
)
from portwright.core.evaluate import NUMPY_PRIMITIVES
from portwright.core.index import constant
from portwright.core.interpret_value import evaluate_value, fma
from portwright.core.legalize import Legalizer, legalize
from portwright.core.ops import ALL_OPS, PRIMITIVES, Op
from portwright.core.reference import cast
from portwright.core.value import Access, Value

Array = np.ndarray[Any, np.dtype[Any]]
NARROW = frozenset({float16, bfloat16}) | FLOAT8S
EVERY = np.arange(65536, dtype=np.uint16)


def device(flushes: bool = False, extras: frozenset[Extra] = frozenset()) -> Spec:
    return Spec(
        "TEST",
        dtypes=frozenset(ALL),
        native=ALL_OPS,
        arithmetic=frozenset(ALL) - NARROW,
        flushes_subnormals=flushes,
        extras=extras,
    )


def load(dtype: DType, name: str = "x") -> Value:
    return val.make(Op.LOAD, dtype, (), Access(name, constant(0), ()))


def stored(value: Value, spec: Spec) -> Value:
    """What memory is given."""
    work = Legalizer(spec)
    [one] = work.stored(work.term(value))
    return one


def named(leaf: Value) -> str:
    return leaf.arg.memory if isinstance(leaf.arg, Access) else str(leaf.arg)


def held(value: Value) -> Value:
    """``value`` through a register, so that storing it can't look behind."""
    return val.where(load(bool_, "true"), value, val.number(0.0, value.dtype))


def store(value: Value, spec: Spec, **arrays: Array) -> Array:
    """What a store of ``value`` writes, in the value's own dtype."""
    legal = stored(value, spec)
    assert not any(v.dtype in NARROW for v in val.toposort([legal]))
    leaves = {**arrays, "true": np.array(True)}
    primitives = FLUSHING if spec.flushes_subnormals else NUMPY_PRIMITIVES
    [got] = evaluate_value([legal], lambda v: leaves[named(v)], primitives)
    assert got.dtype == Legalizer(spec).storage(value.dtype).dtype.numpy
    return got.view(value.dtype.numpy) if value.dtype in NARROW else got


def assert_same(got: Array, expected: Array) -> None:
    """The same bits, or both NaN."""
    with np.errstate(invalid="ignore"):
        nan = (got != got) & (expected != expected)
    unsigned = f"u{got.dtype.itemsize}"
    wrong = (got.view(unsigned) != expected.view(unsigned)) & ~nan
    assert not wrong.any(), (np.flatnonzero(wrong)[:5], got[wrong][:5], expected[wrong][:5])


both = pytest.mark.parametrize("dtype", [float16, bfloat16], ids=str)
all_devices = pytest.mark.parametrize("flushes", [False, True], ids=["subnormals", "flushing"])


@both
@all_devices
def test_bits_are_kept(dtype: DType, flushes: bool) -> None:
    spec = device(flushes)
    x = load(dtype)
    raw = val.bitcast(load(uint16), dtype)
    for value in (x, held(x), raw, held(raw)):
        assert (store(value, spec, x=EVERY).view(np.uint16) == EVERY).all()
    for value in (val.bitcast(x, uint16), val.bitcast(held(x), uint16)):
        assert (store(value, spec, x=EVERY) == EVERY).all()
    assert (store(val.bitcast(x, int16), spec, x=EVERY) == EVERY.view(np.int16)).all()
    other = bfloat16 if dtype is float16 else float16
    assert (store(val.bitcast(held(x), other), spec, x=EVERY).view(np.uint16) == EVERY).all()


@both
@pytest.mark.parametrize("op", [Op.NEG, Op.RECIP, Op.SQRT, Op.EXP2, Op.LOG2, Op.SIN], ids=repr)
def test_unary_primitives_over_every_input(op: Op, dtype: DType) -> None:
    row = PRIMITIVES[op]
    assert row.reference is not None
    values = EVERY.view(dtype.numpy)
    result = val.primitive(op, load(dtype))
    for value in (result, held(result)):
        got = store(value, device(), x=EVERY)
        if row.bound(dtype).ulp <= 1:  # float32's own result is correctly rounded here, so this is too
            assert_same(got, row.reference(dtype, values))
            continue
        with np.errstate(all="ignore"):
            expected = row.reference(dtype, values)
            apart = np.abs(got.view(np.int16).astype(int) - expected.view(np.int16).astype(int))
            assert ((apart <= 1) | (np.isnan(got) & np.isnan(expected))).all()


@both
@pytest.mark.parametrize("op", [Op.ADD, Op.SUB, Op.MUL, Op.MAX, Op.CMPLT, Op.CMPNE], ids=repr)
def test_binary_primitives(op: Op, dtype: DType) -> None:
    row = PRIMITIVES[op]
    assert row.reference is not None
    rng = np.random.default_rng(5)
    a, b = rng.integers(0, 65536, (2, 200000)).astype(np.uint16)
    a[::3] = b[::3] ^ rng.integers(0, 4, len(b[::3])).astype(np.uint16) ^ 0x8000  # near cancellation
    x, y = a.view(dtype.numpy), b.view(dtype.numpy)
    got = store(val.primitive(op, load(dtype, "a"), load(dtype, "b")), device(), a=a, b=b)
    expected = row.reference(row.result_dtype(dtype, dtype), x, y)
    if op is Op.MAX:  # of two zeros either
        zeros = (a & 0x7FFF == 0) & (b & 0x7FFF == 0)
        expected = np.where(zeros, got, expected)
    assert_same(got, expected)


def test_each_primitive_is_rounded_by_itself() -> None:
    x, y = (np.array([v], np.float16) for v in (2048.0, 1.0))
    total = val.primitive(
        Op.SUB, val.primitive(Op.ADD, load(float16, "a"), load(float16, "b")), load(float16, "a")
    )
    got = store(total, device(), a=x.view(np.uint16), b=y.view(np.uint16))
    assert got[0] == (x + y - x)[0] == 0


@both
@all_devices
@pytest.mark.parametrize("target", ALL, ids=str)
def test_casts_from_every_narrow_value(target: DType, dtype: DType, flushes: bool) -> None:
    values = EVERY.view(dtype.numpy)
    expected = cast(target, values)
    got = store(val.cast(load(dtype), target), device(flushes), x=EVERY)
    kept = np.ones(len(values), bool)
    if target.is_int:  # out of range, anything goes
        with np.errstate(all="ignore"):
            whole = np.trunc(values.astype(np.float64))
        kept = (whole >= float(target.min)) & (whole < float(target.max) + 1)
    if flushes:  # to such a device a bfloat16 below float32's normal range is 0
        kept = kept & ~(np.abs(values.astype(np.float32)) < np.float32(float32.smallest_normal))
    assert_same(got[kept], expected[kept])


def near_midpoints(dtype: DType, source: DType) -> Array:
    """Floats where rounding to ``dtype`` is decided, their neighbours on both sides, and samples."""
    with np.errstate(all="ignore"):
        values = EVERY.view(dtype.numpy).astype(np.float64)
    finite = np.unique(values[np.isfinite(values)])
    f = source.numpy.type
    with np.errstate(all="ignore"):
        points = np.concatenate([values, (finite[1:] + finite[:-1]) / 2]).astype(source.numpy)
        points = np.concatenate([points, np.nextafter(points, f(np.inf)), np.nextafter(points, f(-np.inf))])
        edge = f((2 - dtype.eps / 2) * 2.0 ** ((1 << (dtype.exponent - 1)) - 1))
        edges = np.array([edge, np.nextafter(edge, f(0)), -edge, source.finite_max, source.smallest_normal])
        drawn = np.random.default_rng(3).integers(0, 1 << source.bits, 100000, f"u{source.itemsize}")
        return np.concatenate([points, edges.astype(source.numpy), drawn.view(source.numpy)])


def integers(source: DType) -> Array:
    """Integers of every magnitude, and those of few bits with their neighbours: ties, and nearly."""
    unsigned = np.dtype(f"u{source.itemsize}")
    if source.bits <= 16:
        return np.arange(1 << source.bits).astype(unsigned).view(source.numpy)
    rng = np.random.default_rng(11)
    count = 60000
    drawn = rng.integers(0, 1 << source.bits, count, unsigned) >> rng.integers(0, source.bits, count).astype(
        unsigned
    )
    few = rng.integers(0, 1 << 12, count).astype(unsigned) << rng.integers(0, source.bits - 1, count).astype(
        unsigned
    )
    one = unsigned.type(1)
    return np.concatenate([drawn, ~drawn, few, few + one, few - one, ~few, ~few + one]).view(source.numpy)


@both
@pytest.mark.parametrize("source", [d for d in ALL if d not in NARROW], ids=str)
def test_casts_to_narrow_round_once(source: DType, dtype: DType) -> None:
    if source.is_bool:
        x = np.array([False, True])
    else:
        x = integers(source) if source.is_int else near_midpoints(dtype, source)
    value = val.cast(val.ref("x", source), dtype)
    expected = cast(dtype, x)
    assert_same(store(value, device(), x=x), expected)
    assert_same(store(held(value), device(), x=x), expected)


@both
def test_constants_convert_exactly(dtype: DType) -> None:
    values = [0.1, -0.0, float("inf"), 1e-7, 65519.9, 1 + 2.0**-8 + 2.0**-40, 1e30]
    for v in values:
        expected = cast(dtype, np.array([v]))
        got = store(held(val.number(v, dtype)), device())
        assert_same(np.atleast_1d(got), expected)


@both
def test_registers_and_memory(dtype: DType) -> None:
    spec = device()
    assert Legalizer(spec).storage(dtype).dtype is uint16
    [register] = legalize([val.ref("x", dtype)], spec)
    assert register is val.ref("x", float32)
    native = Spec("NATIVE", dtypes=frozenset(ALL), arithmetic=frozenset(ALL))
    assert Legalizer(native).storage(dtype).dtype is dtype
    assert stored(val.ref("x", dtype), native) is val.ref("x", dtype)
    [vector] = legalize([val.make(Op.LOAD, dtype, (), Access("x", constant(0), (), 1), 8)], spec)
    assert (vector.dtype, vector.lanes) == (float32, 8)


def test_a_copy_moves_bits() -> None:
    assert stored(load(float16), device()) is load(uint16)


@both
def test_division_and_fma(dtype: DType) -> None:
    rng = np.random.default_rng(9)
    a, b, c = rng.integers(0, 65536, (3, 50000)).astype(np.uint16)
    x, y, _ = (v.view(dtype.numpy) for v in (a, b, c))
    spec = device(extras=frozenset({Extra.DIV, Extra.FMA}))
    quotient = val.primitive(Op.MUL, load(dtype, "a"), val.primitive(Op.RECIP, load(dtype, "b")))
    with np.errstate(all="ignore"):
        assert_same(store(quotient, spec, a=a, b=b), cast(dtype, x.astype(np.float64) / y.astype(np.float64)))
    fused = val.fma(load(dtype, "a"), load(dtype, "b"), val.number(0.0, dtype))
    assert_same(store(fused, spec, a=a, b=b), fma(dtype, x, y, np.zeros_like(x)))


def test_wide_integers_reach_infinity() -> None:
    for source in (int64, uint64):
        x = np.array([source.max, 65519, 65520, 1 << 40], source.numpy)
        got = store(val.cast(val.ref("x", source), float16), device(), x=x)
        assert got.tolist() == [np.inf, 65504.0, np.inf, np.inf]


def test_float64_through_a_tie() -> None:
    just_over = np.array([1 + 2.0**-11 + 2.0**-40])  # float32 sees a tie, which would round down
    got = store(val.cast(val.ref("x", float64), float16), device(), x=just_over)
    assert float(got[0]) == 1 + 2.0**-10
