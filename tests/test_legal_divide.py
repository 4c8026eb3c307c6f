"""IDIV and MOD of a device that lacks both: by a constant through a product, else by estimates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from portwright.core import value as val
from portwright.core.device import Spec
from portwright.core.dtype import (
    INTS,
    DType,
    bool_,
    float32,
    int8,
    int32,
    uint8,
    uint32,
)
from portwright.core.interpret_value import evaluate_value
from portwright.core.legalize import Legalizer
from portwright.core.legalize.divide import magic
from portwright.core.ops import ALL_OPS, PRIMITIVES, Op
from portwright.core.value import Value

Array = np.ndarray[Any, np.dtype[Any]]
FULL = Spec(
    "FULL",
    dtypes=frozenset({bool_, float32, *INTS}),
    native=ALL_OPS - {Op.IDIV, Op.MOD},
    arithmetic=frozenset({bool_, float32, *INTS}),
)
WORDS = Spec(
    "WORDS",
    dtypes=frozenset({bool_, float32, *INTS}),
    native=ALL_OPS - {Op.IDIV, Op.MOD},
    arithmetic=frozenset({bool_, float32, int32, uint32}),
)
ONLY_INT32 = Spec(
    "ONLY_INT32",
    dtypes=frozenset({bool_, float32, *INTS}),
    native=ALL_OPS - {Op.IDIV, Op.MOD, Op.SHR},
    arithmetic=frozenset({bool_, float32, int32}),
)
SPECS = (FULL, WORDS, ONLY_INT32)


def run(value: Value, spec: Spec, **arrays: Array) -> Array:
    """The value of references by name, put together from its registers; it divides by nothing."""
    work = Legalizer(spec)
    values = [*work.term(value).values()]
    assert not {v.op for v in val.toposort(values)} & {Op.IDIV, Op.MOD}

    def leaf(v: Value) -> Array:
        name, _, word = str(v.arg).partition("_")
        x = arrays[name]
        if word:
            return (x.view(np.uint64) >> np.uint64(32 * int(word))).astype(np.uint32).view(v.dtype.numpy)
        return x.view(v.dtype.numpy) if x.dtype.itemsize == v.dtype.itemsize else x

    got = evaluate_value(values, leaf)
    if len(got) == 2:
        low, high = (
            g.astype(np.int64).view(np.uint64) & np.uint64(0xFFFFFFFF) for g in np.broadcast_arrays(*got)
        )
        return (low | high << np.uint64(32)).view(value.dtype.numpy)
    return got[0].astype(value.dtype.numpy)


def check(op: Op, dtype: DType, spec: Spec, a: Array, divisor: int) -> None:
    value = val.primitive(op, val.ref("a", dtype), val.number(divisor, dtype))
    reference = PRIMITIVES[op].reference
    assert reference is not None
    if dtype.is_signed and divisor == -1:
        a = a[a != dtype.min]
    expected = reference(dtype, a, np.full_like(a, divisor))
    got = np.broadcast_to(run(value, spec, a=a), a.shape)
    wrong = got != expected
    assert not wrong.any(), (divisor, a[wrong][:3], got[wrong][:3], expected[wrong][:3])


def edges(bits: int) -> list[int]:
    """Divisors with something about them, powers of two and their neighbours among them."""
    near = {(1 << k) + d for k in range(1, bits) for d in (-1, 0, 1)} | {7, 10, 100, 641, 1000, 6700417}
    near |= {(1 << bits) - d for d in (1, 2, 3)} | {((1 << bits) - 1) // 3, (1 << bits) // 3 + 1}
    return sorted(d for d in near if 1 < d < 1 << bits)


def multiples(divisor: int, bits: int, rng: np.random.Generator, n: int = 60) -> list[int]:
    """Where a quotient steps, and just before."""
    most = ((1 << bits) - 1) // divisor
    ks = {
        0,
        1,
        2,
        most,
        most - 1,
        most // 2,
        *(int(rng.integers(0, most, endpoint=True, dtype=np.uint64)) for _ in range(n)),
    }
    found = {k * divisor + d for k in ks for d in (-1, 0)} | {(1 << bits) - 1}
    return sorted(v for v in found if 0 <= v < 1 << bits)


def no_power(d: int) -> bool:
    return d & (d - 1) != 0


@pytest.mark.parametrize("bits", [8, 16])
def test_the_constants_of_every_divisor(bits: int) -> None:
    """The quotient rises with n, so it is right everywhere when it is wherever the true one steps."""
    for divisor in filter(no_power, range(2, 1 << bits)):
        m, shift, wide = magic(divisor, bits)
        n = np.arange(0, 1 << bits, divisor, dtype=np.int64)
        n = np.concatenate([n, n[1:] - 1, [(1 << bits) - 1]])
        product = n * (m + (wide << bits))
        assert (product >> (bits + shift) == n // divisor).all(), divisor


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_the_constants_keep_the_theorem(bits: int) -> None:
    rng = np.random.default_rng(bits)
    drawn = (int(rng.integers(3, 1 << int(k), dtype=np.uint64)) for k in rng.integers(2, bits, 20000))
    for divisor in filter(no_power, {*edges(bits), *drawn}):
        m, shift, wide = magic(divisor, bits)
        whole = m + (wide << bits)
        assert 1 << (bits + shift) <= whole * divisor <= (1 << (bits + shift)) + (1 << shift)
        assert m < 1 << bits
        assert shift > 0 or not wide


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
@pytest.mark.parametrize("dtype", [uint8, int8], ids=str)
def test_eight_bits_by_every_constant(dtype: DType, spec: Spec) -> None:
    every = np.arange(256, dtype=np.uint8).view(dtype.numpy)
    for divisor in range(int(dtype.min), int(dtype.max) + 1):
        if divisor:
            check(Op.IDIV, dtype, spec, every, divisor)


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
@pytest.mark.parametrize("dtype", [d for d in INTS if d.bits > 8], ids=str)
def test_by_constants(dtype: DType, spec: Spec) -> None:
    rng = np.random.default_rng(5)
    divisors = edges(dtype.bits)
    for divisor in rng.choice(np.array(divisors, object), min(len(divisors), 24), replace=False):
        signed = int(dtype.cast_scalar(int(divisor)))
        n = np.array(multiples(int(divisor), dtype.bits, rng), object).astype(f"u{dtype.itemsize}")
        a = n.view(dtype.numpy)
        if dtype.is_signed:
            a = np.concatenate([a, np.negative(a)])
        for op in (Op.IDIV, Op.MOD):
            check(op, dtype, spec, a, signed)


def test_a_wide_multiply_is_used_where_there_is_one() -> None:
    value = val.primitive(Op.IDIV, val.ref("a", uint32), val.number(10, uint32))
    counts = [len(val.toposort(Legalizer(s).term(value).values())) for s in (FULL, WORDS)]
    assert counts[0] < 10 < counts[1]


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
@pytest.mark.parametrize("dtype", INTS, ids=str)
def test_by_what_is_not_known(dtype: DType, spec: Spec) -> None:
    """Near every step of the quotient, of divisors of every size."""
    rng = np.random.default_rng(6)
    count = 20000
    one = np.dtype(f"u{dtype.itemsize}").type
    b = rng.integers(1, 1 << dtype.bits, count, one) >> rng.integers(0, dtype.bits, count).astype(one)
    b = np.maximum(b, one(1))
    k = rng.integers(0, 1 << dtype.bits, count, one) >> rng.integers(0, dtype.bits, count).astype(one)
    with np.errstate(all="ignore"):
        a = b * k + rng.integers(-1, 2, count).astype(one)
    a, b = a.view(dtype.numpy), b.view(dtype.numpy)
    keep = (a != dtype.min) | (b != dtype.numpy.type(-1 if dtype.is_signed else 0))
    a, b = a[keep], b[keep]
    for op in (Op.IDIV, Op.MOD):
        reference = PRIMITIVES[op].reference
        assert reference is not None
        got = run(val.primitive(op, val.ref("a", dtype), val.ref("b", dtype)), spec, a=a, b=b)
        wrong = got != reference(dtype, a, b)
        assert not wrong.any(), (op, a[wrong][:3], b[wrong][:3], got[wrong][:3])
