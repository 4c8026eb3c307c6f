"""Dtypes that a device does not compute in, stood in for by others: exact, to the bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flushing import FLUSHING

from portwright.core import reference
from portwright.core import value as val
from portwright.core.device import Spec
from portwright.core.dtype import (
    ALL,
    INTS,
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int32,
    int64,
    uint16,
    uint32,
    uint64,
)
from portwright.core.errors import DeviceError
from portwright.core.evaluate import NUMPY_PRIMITIVES
from portwright.core.index import computed, constant
from portwright.core.interpret_value import evaluate_value
from portwright.core.legal_tree import legalize_kernel
from portwright.core.legalize import FLOOR, Legalizer
from portwright.core.loops import Kernel, Let, Memory, Store
from portwright.core.ops import ALL_OPS, PRIMITIVES, Op, is_supported
from portwright.core.value import Access, Value
from portwright.core.verify import verify

Array = np.ndarray[Any, np.dtype[Any]]


def device(name: str, *arithmetic: DType, native: frozenset[Op] = ALL_OPS) -> Spec:
    return Spec(name, dtypes=frozenset(ALL), native=native, arithmetic=frozenset({bool_, *arithmetic}))


SPECS = [
    device("WORDS", float32, int32, uint32),
    device("ONLY_INT32", float32, int32),
    device("SIGNED", float32, int8, int32, int64),
    device("UNSIGNED", float32, float64, int32, uint16, uint32, uint64),
    device("FLOOR", float32, int32, native=FLOOR | {Op.AND}),
    device("FLOOR_OR", float32, int32, uint32, native=FLOOR | {Op.OR}),
    device("HALF", float32, float16, int32, uint32),
    replace(device("FLUSHES", float32, int32, native=FLOOR | {Op.AND}), flushes_subnormals=True),
]
each_device = pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)


def memory(x: Array, spec: Spec) -> list[Array]:
    """What a kernel finds in memory: one array for each element of its storage."""
    storage = Legalizer(spec).storage(val.number(0, dtype_of(x)).dtype)
    words = np.ascontiguousarray(x).view(storage.dtype.numpy).reshape(-1, storage.count)
    return [words[:, i] for i in range(storage.count)]


def dtype_of(x: Array) -> DType:
    return next(d for d in ALL if d.numpy == x.dtype)


def run(value: Value, spec: Spec, **arrays: Array) -> Array:
    """What a store of ``value`` of the references by name leaves in memory, read as the value's dtype."""
    work = Legalizer(spec)
    leaves: dict[Value, Array] = {}
    for v in val.toposort([value]):
        if v.op is val.Extra.REF:
            words = memory(arrays[str(v.arg)], spec)
            refs = tuple(val.ref(f"{v.arg}{i}", dtype_of(w)) for i, w in enumerate(words))
            leaves |= dict(zip(refs, words, strict=True))
            work.know(v, work.held(v.dtype, refs))
    stored = work.stored(work.term(value))
    for v in val.toposort(stored):
        raw = v.op in (Op.CAST, Op.BITCAST, val.Extra.REF) and v.dtype.bits < 32
        assert v.dtype in spec.arithmetic or raw, v
        assert not isinstance(v.op, Op) or v.op in spec.native, v
    primitives = FLUSHING if spec.flushes_subnormals else NUMPY_PRIMITIVES
    got = np.broadcast_arrays(*evaluate_value(list(stored), leaves.__getitem__, primitives))
    return np.stack(got, -1).reshape(-1).view(value.dtype.numpy)


def samples(dtype: DType, n: int = 2000) -> Array:
    """All of 8 bits; else special values, and numbers of all sizes."""
    if dtype.is_bool:
        return np.array([False, True])
    unsigned = np.dtype(f"u{dtype.itemsize}")
    if dtype.bits == 8:
        return np.arange(256, dtype=unsigned).view(dtype.numpy)
    rng = np.random.default_rng(dtype.bits)
    bits = rng.integers(0, 1 << dtype.bits, n, unsigned)
    top = 1 << (dtype.bits - 1)
    if dtype.is_float:
        tame = (rng.standard_normal(n) * 2.0 ** rng.integers(-10, 70, n)).astype(np.float32)
        special = [
            0,
            top,
            pattern(np.inf, dtype),
            pattern(-np.inf, dtype),
            pattern(np.nan, dtype),
            1,
            top | 1,
        ]
        with np.errstate(all="ignore"):
            tame = tame.astype(dtype.numpy)
        return np.concatenate([bits.view(dtype.numpy), tame, np.array(special, unsigned).view(dtype.numpy)])
    special = [0, 1, 2, 3, 7, top, top - 1, top + 1, 2 * top - 1, 2 * top - 2]
    special += [(1 << k) + d for k in range(2, dtype.bits) for d in (-1, 0, 1)]
    sized = bits >> rng.integers(0, dtype.bits, n).astype(unsigned)
    few = (sized & unsigned.type(0xFFF)) << rng.integers(0, dtype.bits, n).astype(unsigned)
    return np.concatenate([bits, sized, ~sized, few, np.array(special, unsigned)]).view(dtype.numpy)


def pattern(x: float, dtype: DType) -> int:
    return int(np.array(x).astype(dtype.numpy).view(f"u{dtype.itemsize}"))


def pairs(dtype: DType) -> tuple[Array, Array]:
    rng = np.random.default_rng(1)
    x = samples(dtype, 600)
    return np.concatenate([x, x, x]), np.concatenate([rng.permutation(x), x, rng.permutation(x)])


def guarded(op: Op, dtype: DType, a: Array, b: Array) -> tuple[Array, Array]:
    if op in (Op.SHL, Op.SHR):
        b = (b.astype(np.uint64) % np.uint64(dtype.bits)).astype(dtype.numpy)
    if op in (Op.IDIV, Op.MOD):
        bad = (b == 0) | ((a == dtype.min) & (b == dtype.numpy.type(-1)) if dtype.is_signed else False)
        b = np.where(bad, dtype.numpy.type(3), b)
    return a, b


def same(got: Array, expected: Array) -> Array:
    nan = (got != got) & (expected != expected)
    unsigned = f"u{got.dtype.itemsize}"
    return np.asarray((got.view(unsigned) == expected.view(unsigned)) | nan)


@each_device
@pytest.mark.parametrize("dtype", [bool_, *INTS], ids=str)
def test_primitives(dtype: DType, spec: Spec) -> None:
    a, b = pairs(dtype)
    for op, row in PRIMITIVES.items():
        if row.reference is None or op in (Op.CAST, Op.BITCAST, Op.WHERE) or not is_supported(op, dtype):
            continue
        arrays = guarded(op, dtype, a, b)[: row.arity]
        operands = [val.ref(n, dtype) for n in "ab"[: row.arity]]
        got = run(val.primitive(op, *operands), spec, **dict(zip("ab", arrays, strict=False)))
        expected = row.reference(row.result_dtype(*[dtype] * row.arity), *arrays)
        wrong = ~same(got, expected)
        assert not wrong.any(), (op, [x[wrong][:3] for x in arrays], got[wrong][:3], expected[wrong][:3])


@each_device
@pytest.mark.parametrize("dtype", [d for d in ALL if d is not float64], ids=str)
def test_choices_and_loads_keep_bits(dtype: DType, spec: Spec) -> None:
    a, b = pairs(dtype)
    chosen = np.arange(a.size) % 3 == 0
    value = val.where(val.ref("c", bool_), val.ref("a", dtype), val.ref("b", dtype))
    assert same(run(value, spec, a=a, b=b, c=chosen), np.where(chosen, a, b)).all()
    unsigned = f"u{dtype.itemsize}"
    assert (run(val.ref("a", dtype), spec, a=a).view(unsigned) == a.view(unsigned)).all()


@each_device
@pytest.mark.parametrize("source", [d for d in ALL if d is not float64], ids=str)
def test_casts(source: DType, spec: Spec) -> None:
    x = samples(source)
    for target in ALL:
        if target is float64 and float64 not in spec.arithmetic:
            continue
        got = run(val.cast(val.ref("x", source), target), spec, x=x)
        expected = reference.cast(target, x)
        kept = np.ones(x.shape, bool)
        if source.is_float and target.is_int:  # out of range, anything goes
            with np.errstate(all="ignore"):
                whole = np.trunc(x.astype(np.float64))
            kept = (whole >= float(target.min)) & (whole < float(target.max) + 1)
        if spec.flushes_subnormals and source.is_float:  # what is subnormal in a register may be 0
            size = np.abs(x.astype(np.float32))
            kept &= ~(size < float32.smallest_normal) | (size == 0)
        wrong = kept & ~same(got, expected)
        assert not wrong.any(), (target, x[wrong][:3], got[wrong][:3], expected[wrong][:3])


@each_device
@pytest.mark.parametrize("source", [d for d in ALL if not d.is_bool and d is not float64], ids=str)
def test_bits(source: DType, spec: Spec) -> None:
    x = samples(source)
    for target in ALL:
        if target.bits == source.bits and not target.is_bool and target is not float64:
            got = run(val.bitcast(val.ref("x", source), target), spec, x=x)
            assert same(got, x.view(target.numpy)).all(), target


@each_device
@pytest.mark.parametrize("dtype", INTS, ids=str)
def test_constants(dtype: DType, spec: Spec) -> None:
    """Operations with constants are shortened where that is possible: the meaning is kept."""
    x = samples(dtype, 200)
    for op in (Op.ADD, Op.SUB, Op.MUL, Op.AND, Op.OR, Op.XOR, Op.CMPLT, Op.CMPNE, Op.SHL, Op.SHR):
        row = PRIMITIVES[op].reference
        assert row is not None
        wanted = (0, 1, 5, dtype.bits - 1) if op in (Op.SHL, Op.SHR) else (0, 1, -1, 3, dtype.min, dtype.max)
        for c in {dtype.cast_scalar(w) for w in wanted}:
            result = bool_ if op in (Op.CMPLT, Op.CMPNE) else dtype
            constant = np.full_like(x, c)
            value = val.primitive(op, val.ref("x", dtype), val.number(c, dtype))
            assert (np.broadcast_to(run(value, spec, x=x), x.shape) == row(result, x, constant)).all(), (
                op,
                c,
            )
            if op not in (Op.SHL, Op.SHR):
                value = val.primitive(op, val.number(c, dtype), val.ref("x", dtype))
                expected = row(result, constant, x)
                assert (np.broadcast_to(run(value, spec, x=x), x.shape) == expected).all(), (op, c)


@pytest.mark.parametrize("target", [float16, bfloat16, float32], ids=str)
@pytest.mark.parametrize("source", [int64, uint64], ids=str)
def test_two_words_to_a_float_round_once(source: DType, target: DType) -> None:
    """Ties, and what a single low bit decides, at every position of the leading bit."""
    rng = np.random.default_rng(3)
    kept = target.mantissa + 2
    head = (rng.integers(1 << (kept - 1), 1 << kept, 20000, np.uint64) | np.uint64(1)).astype(np.uint64)
    exact = head << rng.integers(0, 63 - kept + 1, 20000).astype(np.uint64)
    x = np.concatenate([exact, exact + np.uint64(1), exact - np.uint64(1)]).view(source.numpy)
    for spec in SPECS[:2]:
        got = run(val.cast(val.ref("x", source), target), spec, x=x)
        wrong = ~same(got, reference.cast(target, x))
        assert not wrong.any(), (x[wrong][:3], got[wrong][:3])


def test_a_position_is_one_integer() -> None:
    """What two words hold and int32 doesn't becomes -1, which no guard lets pass."""
    at = computed("g0", -(2**62), 2**62)
    load = val.make(Op.LOAD, float32, (), Access("in1", at, (at, at * -1 + 3)))
    where = val.make(Op.LOAD, int64, (), Access("in0", constant(0), ()))
    kernel = Kernel(
        (Memory("out0", float32, 1, True), Memory("in0", int64, 1), Memory("in1", float32, 4)),
        (Let("g0", where), Store("out0", constant(0), load)),
    )
    legal = legalize_kernel(kernel, SPECS[0])
    verify(legal)
    let = legal.body[0]
    assert isinstance(let, Let)
    assert let.value.dtype is int32
    for index, position in (
        (3, 3),
        (-1, -1),
        (1 << 32, -1),
        ((1 << 32) + 3, -1),
        (-(1 << 40), -1),
        (1 << 31, -1),
    ):
        words = np.array([index]).view(np.uint32)
        [got] = evaluate_value([let.value], lambda v, w=words: w[v.arg.index.const])
        assert int(got) == position


def test_float64_is_refused() -> None:
    x = val.ref("x", int64)
    with pytest.raises(DeviceError, match="in float64, which a cast to it needs, and nothing stands in"):
        Legalizer(SPECS[0]).term(val.cast(x, float64))
    with pytest.raises(DeviceError, match="WORDS does not compute in float64, which SQRT needs"):
        Legalizer(SPECS[0]).term(val.make(Op.SQRT, float64, (x,)))
