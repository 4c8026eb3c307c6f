"""Primitives that a device lacks: what is built in their place is as accurate and uses only what it has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flushing import FLUSHING, flush

from portwright.core import value as val
from portwright.core.device import Extra, Spec
from portwright.core.dtype import (
    ALL,
    FLOAT8S,
    FLOATS,
    INTS,
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int32,
    int64,
    uint16,
    uint32,
    uint64,
)
from portwright.core.errors import DeviceError
from portwright.core.interpret_value import evaluate_value
from portwright.core.legalize import BUILT, FLOOR, Legalizer, legalize
from portwright.core.ops import ALL_OPS, PRIMITIVES, Op, Tier
from portwright.core.value import Value

Array = np.ndarray[Any, np.dtype[Any]]
NARROW = frozenset({float16, bfloat16}) | FLOAT8S
WITH_FMA = frozenset({Extra.FMA})
MOVES = frozenset({Op.CONST, Op.LOAD, Op.CAST, Op.BITCAST})


def device(lacks: Iterable[Op] = (), extras: Iterable[Extra] = ()) -> Spec:
    """One that computes in everything but float16 and bfloat16."""
    return Spec(
        "TEST",
        dtypes=frozenset(ALL),
        native=ALL_OPS - frozenset(lacks),
        arithmetic=frozenset(ALL) - NARROW,
        extras=frozenset(extras),
    )


def assert_legal(values: Iterable[Value], spec: Spec) -> None:
    offered = {val.Extra[e.name] for e in spec.extras}
    for v in val.toposort(values):
        assert v.dtype in spec.arithmetic, v
        if isinstance(v.op, Op):
            assert v.op in spec.native, v
        elif v.op in (val.Extra.FMA, val.Extra.DIV):
            assert v.op in offered, v


def run(value: Value, spec: Spec, *arrays: Array) -> Array:
    """``value`` of the references x0, x1 … legalized for ``spec`` and computed."""
    [legal] = legalize([value], spec)
    assert_legal([legal], spec)
    [got] = evaluate_value([legal], lambda v: arrays[int(str(v.arg)[1:])])
    return got


def apply(op: Op, dtype: DType, spec: Spec, *arrays: Array) -> Array:
    return run(val.primitive(op, *(val.ref(f"x{i}", dtype) for i in range(len(arrays)))), spec, *arrays)


def bits(x: Array) -> Array:
    return x.view(f"u{x.dtype.itemsize}")


def same(a: Array, b: Array) -> Array:
    """Equal, or both NaN."""
    with np.errstate(invalid="ignore"):
        return np.asarray((a == b) | ((a != a) & (b != b)))


def samples(dtype: DType, seed: int = 0) -> Array:
    """Special values, all magnitudes, and those that the functions find hard."""
    rng = np.random.default_rng(seed)
    unsigned = np.dtype(f"u{dtype.itemsize}")
    f = dtype.numpy.type
    whole = rng.integers(0, 1 << dtype.bits, 30000, unsigned).view(dtype.numpy)
    with np.errstate(all="ignore"):
        powers = np.ldexp(f(1), np.arange(-1100, 1100))
        quarter_turns = (np.arange(-3000, 3000) * (np.pi / 2)).astype(dtype.numpy)
        huge = np.ldexp(np.pi / 2, np.arange(10, (1 << (dtype.exponent - 1)) - 1))
        around = np.concatenate([powers, quarter_turns, huge.astype(dtype.numpy)])
        near = [np.nextafter(around, f(np.inf)), np.nextafter(around, f(-np.inf))]
    low = -(1 << (dtype.exponent - 1)) - dtype.mantissa
    return np.concatenate(
        [
            whole, around, *near,
            np.arange(0, 2000, dtype=unsigned).view(dtype.numpy),
            rng.uniform(low, -low, 20000).astype(dtype.numpy),
            rng.uniform(0.5, 2, 20000).astype(dtype.numpy),
            rng.uniform(-10, 10, 20000).astype(dtype.numpy),
            (1 + np.arange(-500, 500) * dtype.eps).astype(dtype.numpy),
            np.arange(low, -low).astype(dtype.numpy),
            (np.arange(low, -low) + 0.5).astype(dtype.numpy),
            np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype.numpy),
            np.array([dtype.finite_max, dtype.smallest_normal], dtype.numpy),
        ]
    )  # fmt: skip


WORST = {Op.EXP2: 1.2, Op.LOG2: 1.15, Op.SIN: 1.6, Op.SQRT: 0.5, Op.RECIP: 0.5}
"""What the built forms keep to, with and without FMA: closer than the contract asks."""

EXACT = {
    Op.EXP2: np.exp2,
    Op.LOG2: np.log2,
    Op.SIN: np.sin,
    Op.SQRT: np.sqrt,
    Op.RECIP: lambda x: 1 / x,
}


def worst_ulp(op: Op, dtype: DType, x: Array, got: Array) -> float:
    """The greatest error in units of the last place of the exact result; specials must agree."""
    with np.errstate(all="ignore"):
        wide = x.astype(np.longdouble if dtype is float64 else np.float64)
        exact = EXACT[op](wide)
        expected = exact.astype(dtype.numpy)
        special = ~np.isfinite(expected) | ~np.isfinite(got)
        np.testing.assert_array_equal(got[special], expected[special])
        zero = expected == 0
        assert (np.signbit(got[zero & (got == 0)]) == np.signbit(expected[zero & (got == 0)])).all()
        _, exponent = np.frexp(exact)
        least = 2 - (1 << (dtype.exponent - 1)) + 1
        unit = np.ldexp(wide.dtype.type(1), np.maximum(exponent, least) - dtype.mantissa - 1)
        error = np.where(special, 0, np.abs(got.astype(wide.dtype) - exact) / unit)
    return float(error.max())


@pytest.mark.parametrize("extras", [WITH_FMA, frozenset()], ids=["fma", "mul-add"])
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize(("op", "ulp"), WORST.items(), ids=repr)
def test_transcendentals(op: Op, ulp: float, dtype: DType, extras: frozenset[Extra]) -> None:
    assert ulp <= PRIMITIVES[op].bound(dtype, Tier.FULL).ulp
    x = samples(dtype)
    assert worst_ulp(op, dtype, x, apply(op, dtype, device({op}, extras), x)) <= ulp


@pytest.mark.parametrize("lacks", [frozenset(EXACT), ALL_OPS - FLOOR - {Op.AND}], ids=["functions", "all"])
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize(("op", "ulp"), WORST.items(), ids=repr)
def test_transcendentals_where_subnormals_are_flushed(
    op: Op, ulp: float, dtype: DType, lacks: frozenset[Op]
) -> None:
    """A subnormal operand may be 0, and so may a subnormal result; every other one is as close."""
    x = samples(dtype)
    [legal] = legalize(
        [val.primitive(op, val.ref("x0", dtype))], replace(device(lacks), flushes_subnormals=True)
    )
    [got] = evaluate_value([legal], lambda v: flush(x), FLUSHING)
    with np.errstate(all="ignore"):
        exact = EXACT[op](flush(x).astype(np.longdouble)).astype(dtype.numpy)
    small = np.abs(exact) < dtype.smallest_normal
    assert (np.abs(got[small]) <= dtype.smallest_normal).all()
    assert worst_ulp(op, dtype, flush(x)[~small], got[~small]) <= ulp


AT_THE_FLOOR = {
    "with AND": (ALL_OPS - FLOOR - {Op.AND}, frozenset(ALL) - NARROW),
    "with OR": (ALL_OPS - FLOOR - {Op.OR}, frozenset(ALL) - NARROW),
    "only int32": (ALL_OPS - FLOOR - {Op.AND}, frozenset({bool_, float32, int32})),
    "only what is asked for": (frozenset(EXACT), frozenset({bool_, float32, int32})),
}


@pytest.mark.parametrize(("lacks", "arithmetic"), AT_THE_FLOOR.values(), ids=AT_THE_FLOOR)
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize(("op", "ulp"), WORST.items(), ids=repr)
def test_transcendentals_without_their_helpers(
    op: Op, ulp: float, dtype: DType, lacks: frozenset[Op], arithmetic: frozenset[DType]
) -> None:
    """Built of what is built in turn: as close, over the whole range, subnormals and large angles too."""
    if dtype not in arithmetic:
        arithmetic |= {dtype, int64, uint64}  # whose bits it is
    spec = replace(device(lacks), arithmetic=arithmetic)
    x = samples(dtype)
    assert worst_ulp(op, dtype, x, apply(op, dtype, spec, x)) <= ulp


@pytest.mark.parametrize("op", WORST, ids=repr)
def test_every_half_without_helpers(op: Op) -> None:
    """Held or computed in: within the contract's bound of float16."""
    x = np.arange(65536, dtype=np.uint16).view(np.float16)
    for arithmetic in ({bool_, float32, int32}, {bool_, float32, float16, int32}):
        spec = replace(device(ALL_OPS - FLOOR - {Op.AND}), arithmetic=frozenset(arithmetic))
        work = Legalizer(spec)
        value = val.primitive(op, val.bitcast(val.ref("x0", uint16), float16))
        work.know(val.ref("x0", uint16), work.held(uint16, (val.ref("x0", uint16),)))
        [stored] = work.stored(work.term(value))
        [got] = evaluate_value([stored], lambda v: x.view(np.uint16))
        bound = PRIMITIVES[op].bound(float16).ulp
        assert worst_ulp(op, float16, x, got.view(np.float16)) <= bound


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_exact_powers_and_their_logarithms(dtype: DType) -> None:
    top = 1 << (dtype.exponent - 1)
    n = np.arange(3 - top - dtype.mantissa, top).astype(dtype.numpy)
    powers = np.ldexp(dtype.numpy.type(1), n.astype(np.int64))
    np.testing.assert_array_equal(apply(Op.EXP2, dtype, device({Op.EXP2}), n), powers)
    np.testing.assert_array_equal(apply(Op.LOG2, dtype, device({Op.LOG2}), powers), n)


def pairs(dtype: DType, seed: int) -> list[Array]:
    """Two arrays of special values against each other and of samples."""
    rng = np.random.default_rng(seed)
    if dtype.is_bool:
        return [np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool)]
    special: list[Any]
    if dtype.is_float:
        special = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            3.5,
            np.inf,
            -np.inf,
            np.nan,
            dtype.finite_max,
            dtype.smallest_normal,
        ]
    else:
        least, most = int(dtype.min), int(dtype.max)
        special = [least, least + 1, 0, 1, 2, 3, 7, most // 2, most - 1, most]
    table = np.array(special, None if dtype.is_float else object).astype(dtype.numpy)
    x, y = (g.ravel() for g in np.meshgrid(table, table))
    drawn = rng.integers(0, 1 << dtype.bits, (2, 3000), np.dtype(f"u{dtype.itemsize}")).view(dtype.numpy)
    return [np.concatenate([x, drawn[0]]), np.concatenate([y, drawn[1]])]


def guarded(op: Op, dtype: DType, a: Array, b: Array) -> list[Array]:
    """Operands as core sends them: no zero divisor, shifts within the width."""
    if op in (Op.SHL, Op.SHR):
        return [a, (b.astype(np.uint64) % np.uint64(dtype.bits)).astype(dtype.numpy)]
    if op in (Op.IDIV, Op.MOD):
        bad = (b == 0) | ((a == dtype.min) & (b == dtype.numpy.type(-1)) if dtype.is_signed else False)
        return [a, np.where(bad, dtype.numpy.type(1), b)]
    return [a, b]


LOGIC = frozenset({Op.AND, Op.OR, Op.XOR})
LACKS = {
    **{op.name: frozenset({op}) for op in sorted(BUILT, key=lambda o: o.name)},
    "all but AND": BUILT - {Op.AND},
    "all but OR": BUILT - {Op.OR},
    "SUB, NEG": frozenset({Op.SUB, Op.NEG}),
}


@pytest.mark.parametrize("lacks", LACKS.values(), ids=LACKS)
def test_simple_primitives_are_exact(lacks: frozenset[Op]) -> None:
    spec = device(lacks)
    for op in sorted(lacks - EXACT.keys(), key=lambda o: o.name):
        row = PRIMITIVES[op]
        for dtype in (bool_, *INTS, float32, float64):
            if not row.operands.accepts(dtype) or (len(lacks) > 4 and dtype.bits == 16):
                continue
            a, b = guarded(op, dtype, *pairs(dtype, 3))
            assert row.reference is not None
            if op is Op.WHERE:
                chosen = np.random.default_rng(1).integers(0, 2, len(a)).astype(bool)
                value = val.where(val.ref("x0", bool_), val.ref("x1", dtype), val.ref("x2", dtype))
                got, expected = run(value, spec, chosen, a, b), np.where(chosen, a, b)
                assert (bits(got) == bits(expected)).all(), dtype
                continue
            arrays = (a, b)[: row.arity]
            expected = row.reference(row.result_dtype(*[dtype] * row.arity), *arrays)
            wrong = ~same(apply(op, dtype, spec, *arrays), expected)
            assert not wrong.any(), (op, dtype, [x[wrong][:3] for x in arrays])


def test_negative_zero() -> None:
    zeros = np.array([0.0, -0.0, 1.0, np.inf], np.float32)
    got = apply(Op.NEG, float32, device({Op.NEG, Op.SUB}), zeros)
    assert np.signbit(got).tolist() == [True, False, True, True]


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(DeviceError, match="TEST lacks ADD"):
        apply(Op.ADD, int32, device({Op.ADD}), np.zeros(1, np.int32), np.zeros(1, np.int32))
    with pytest.raises(DeviceError, match="lacks AND and OR"):
        apply(Op.AND, int32, device({Op.AND, Op.OR}), np.zeros(1, np.int32), np.zeros(1, np.int32))


def test_an_absent_dtype_is_refused() -> None:
    spec = Spec("SMALL", dtypes=frozenset(ALL), arithmetic=frozenset({bool_, float32, int32, uint32}))
    with pytest.raises(DeviceError, match="SMALL does not compute in float64"):
        legalize([val.cast(val.ref("x0", float32), float64)], spec)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_division_is_contracted_where_offered(dtype: DType) -> None:
    x, y = val.ref("x0", dtype), val.ref("x1", dtype)
    spec = device(extras={Extra.DIV})
    for value in (
        val.primitive(Op.MUL, x, val.primitive(Op.RECIP, y)),
        val.primitive(Op.MUL, val.primitive(Op.RECIP, y), x),
    ):
        [legal] = legalize([value], spec)
        assert_legal([legal], spec)
        assert sum(v.op is val.Extra.DIV for v in val.toposort([legal])) == 1
        assert not any(v.op is Op.RECIP for v in val.toposort([legal]))
    [plain] = legalize([val.primitive(Op.MUL, x, val.primitive(Op.RECIP, y))], device())
    assert not any(v.op is val.Extra.DIV for v in val.toposort([plain]))


def test_reciprocal_by_division() -> None:
    x = np.array([3.0, -0.0, np.inf, 1e-40], np.float32)
    with np.errstate(all="ignore"):
        got = apply(Op.RECIP, float32, device({Op.RECIP}, {Extra.DIV}), x)
        np.testing.assert_array_equal(got, np.float32(1) / x)


def test_extras_that_are_not_offered_are_taken_apart() -> None:
    a, b, c = (val.ref(f"x{i}", float32) for i in range(3))
    arrays = [np.array([v], np.float32) for v in (3.0, 7.0, 2.0)]
    assert run(val.fma(a, b, c), device(), *arrays)[0] == 23
    assert run(val.make(val.Extra.DIV, float32, (a, b)), device(), *arrays)[0] == pytest.approx(3 / 7)


def test_a_device_that_has_all_gets_the_same_values() -> None:
    x = val.ref("x0", float32)
    value = val.where(val.primitive(Op.CMPLT, x, val.number(0, float32)), val.primitive(Op.EXP2, x), x)
    assert legalize([value], device()) == [value]


def test_legalizing_twice_changes_nothing() -> None:
    spec = device({Op.EXP2, Op.SIN, Op.MAX}, {Extra.FMA, Extra.DIV})
    x, y = val.ref("x0", float32), val.ref("x1", float32)
    value = val.primitive(Op.MAX, val.primitive(Op.EXP2, x), val.primitive(Op.SIN, y))
    once = legalize([value], spec)
    assert legalize(once, spec) == once


def test_a_memo_is_kept_between_calls() -> None:
    work = Legalizer(device({Op.EXP2}))
    power = val.primitive(Op.EXP2, val.ref("x0", float32))
    first, second = work.term(power).value, work.term(val.primitive(Op.NEG, power)).value
    assert second.srcs == (first,)


def test_lanes_are_kept() -> None:
    spec = device({Op.EXP2}, WITH_FMA)
    wide = val.primitive(Op.EXP2, val.ref("x0", float32, 8))
    folded = val.make(val.Extra.FOLD, float32, (wide,), Op.ADD, 1)
    spread = val.make(val.Extra.SPLAT, float32, (val.primitive(Op.EXP2, val.ref("x0", float32)),), None, 4)
    assert [v.lanes for v in legalize([wide, folded, spread], spec)] == [8, 1, 4]


@pytest.mark.parametrize("op", [Op.EXP2, Op.LOG2, Op.SIN, Op.SQRT, Op.RECIP, Op.MAX], ids=repr)
def test_a_native_half_without_the_primitive_computes_in_float32(op: Op) -> None:
    spec = Spec("HALF", dtypes=frozenset(ALL), native=ALL_OPS - {op}, arithmetic=frozenset(ALL))
    x = np.arange(65536, dtype=np.uint16).view(np.float16)
    arrays = (x, x[::-1].copy())[: PRIMITIVES[op].arity]
    row = PRIMITIVES[op]
    assert row.reference is not None
    got, expected = apply(op, float16, spec, *arrays), row.reference(float16, *arrays)
    with np.errstate(all="ignore"):
        assert (same(got, expected) | (np.abs(bits(got).astype(int) - bits(expected).astype(int)) <= 1)).all()
