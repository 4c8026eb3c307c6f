"""What is known of a float before it is computed: bounds that hold, and whole numbers that are whole."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from portwright.core import value as val
from portwright.core.device import Extra, Spec
from portwright.core.dtype import ALL, DType, float16, float32, float64, int32
from portwright.core.interpret_value import evaluate_value
from portwright.core.legalize import legalize
from portwright.core.legalize.span import ANY, Span, span_of
from portwright.core.ops import ALL_OPS, Op
from portwright.core.value import Value

Array = np.ndarray[Any, np.dtype[Any]]
BOTH = pytest.mark.parametrize("dtype", [float32, float64], ids=str)


def spec(*lacks: Op, extras: frozenset[Extra] = frozenset()) -> Spec:
    return Spec(
        "TEST", dtypes=frozenset(ALL), native=ALL_OPS - frozenset(lacks), arithmetic=frozenset(ALL),
        extras=extras,
    )  # fmt: skip


def clamped(x: Value, lo: float, hi: float) -> Value:
    least, most = val.number(lo, x.dtype), val.number(hi, x.dtype)
    x = val.where(val.primitive(Op.CMPLT, x, least), least, x)
    return val.where(val.primitive(Op.CMPLT, most, x), most, x)


def nearest(x: Value) -> Value:
    whole = val.number(1.5 * 2.0**x.dtype.mantissa, x.dtype)
    return val.primitive(Op.SUB, val.primitive(Op.ADD, x, whole), whole)


def scaled(x: Value, factor: float) -> Value:
    return val.free_product(x, val.number(factor, x.dtype))


def compute(v: Value, x: Array, target: Spec) -> Array:
    [legal] = legalize([v], target)
    return evaluate_value([legal], lambda _: x)[0]


@BOTH
def test_a_clamp_bounds_and_a_large_sum_rounds(dtype: DType) -> None:
    x = val.ref("x0", dtype)
    assert span_of(x) == ANY
    assert span_of(clamped(x, -3.5, 80.25)) == Span(-3.5, 80.25)
    assert span_of(nearest(clamped(x, -3.5, 80.25))) == Span(-4, 80, is_whole=True)
    assert span_of(nearest(x)) == ANY, "beyond 2^mantissa the sum is rounded to even numbers, not to x"
    assert span_of(val.primitive(Op.MAX, x, val.number(2, dtype))) == Span(2, math.inf)
    assert span_of(val.primitive(Op.ADD, x, val.ref("x1", dtype))) == ANY
    assert span_of(val.cast(val.ref("x0", int32), dtype)).is_whole
    assert span_of(val.cast(x, float16)) == ANY


@BOTH
@pytest.mark.parametrize("factor", [1 / math.log(2), -0.3, 7.0])
@pytest.mark.parametrize("fused", [True, False], ids=["fma", "mul-add"])
def test_bounds_hold_however_a_product_is_rounded(dtype: DType, factor: float, fused: bool) -> None:
    rng = np.random.default_rng(5)
    target = spec(extras=frozenset({Extra.FMA}) if fused else frozenset())
    for _ in range(50):
        lo, hi = np.sort(rng.uniform(-200, 200, 2)).astype(dtype.numpy)
        v = scaled(clamped(val.ref("x0", dtype), float(lo), float(hi)), factor)
        whole = val.number(1.5 * 2.0**dtype.mantissa, dtype)
        n = val.primitive(Op.SUB, val.primitive(Op.ADD, v, whole), whole)
        x = np.concatenate([rng.uniform(-300, 300, 2000), [lo, hi, np.inf, -np.inf]]).astype(dtype.numpy)
        for value in (v, n):
            span, got = span_of(value), compute(value, x, target)
            assert span.lo <= got.min()
            assert got.max() <= span.hi
        assert span_of(n).is_whole
        assert np.array_equal(got, np.floor(got))
        assert span.hi - got.max() <= 1, "as narrow as they are"
        assert got.min() - span.lo <= 1, "as narrow as they are"


EDGES = {float32: (-126, 127, -149), float64: (-1022, 1023, -1074)}
"""The exponents of the least and the greatest normal number, and of the least number."""


@BOTH
@pytest.mark.parametrize("more", [0, -1, 24, -24])
@pytest.mark.parametrize("normal", [True, False], ids=["normal", "any"])
def test_exp2_of_whole_numbers_is_exact(dtype: DType, more: int, normal: bool) -> None:
    least, most, _ = EDGES[dtype]
    lo, hi = (least - more, most - more) if normal else (-(2.0**20), 2.0**20)
    n = nearest(clamped(val.ref("x0", dtype), lo, hi))
    shifted = val.primitive(Op.ADD, n, val.number(more, dtype)) if more else n
    v = val.primitive(Op.EXP2, shifted)
    x = np.concatenate([np.arange(-1200.0, 1200.0), [1e30, -1e30, np.inf, -np.inf, np.nan]]).astype(
        dtype.numpy
    )
    exponents = np.clip(x, lo, hi) + more
    with np.errstate(over="ignore"):
        want = np.exp2(exponents.astype(np.longdouble)).astype(dtype.numpy)
    assert np.array_equal(compute(v, x, spec(Op.EXP2)), want, equal_nan=True)


@BOTH
def test_exp2_of_a_whole_number_is_an_exponent(dtype: DType) -> None:
    least, most, none = EDGES[dtype]
    within = [nearest(clamped(val.ref("x0", dtype), lo, hi)) for lo, hi in ((least, most), (none, most))]
    costs = []
    for n in (*within, val.ref("x0", dtype)):
        [legal] = legalize([val.primitive(Op.EXP2, n)], spec(Op.EXP2))
        costs.append(sum(v.op is Op.MUL for v in val.toposort([legal])))
    assert costs[:2] == [0, 1]
    assert costs[2] > 5


def test_a_free_product_becomes_fma_and_others_do_not() -> None:
    a, b, c = (val.ref(f"x{i}", float32) for i in range(3))
    fma, none = spec(extras=frozenset({Extra.FMA})), spec()
    free, strict = val.free_product(a, b), val.primitive(Op.MUL, a, b)
    for product, target, op in (
        (free, fma, val.Extra.FMA), (free, none, Op.ADD), (strict, fma, Op.ADD), (strict, none, Op.ADD)
    ):  # fmt: skip
        for total in (val.primitive(Op.ADD, product, c), val.primitive(Op.ADD, c, product)):
            [legal] = legalize([total], target)
            assert legal.op is op
            if op is val.Extra.FMA:
                assert legal.srcs == (a, b, c)
    [alone] = legalize([free], fma)
    assert alone is strict, "what is legal leaves nothing open"
