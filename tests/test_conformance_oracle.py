"""The suite's own yardsticks, held against exact rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from portwright.conformance.case import place
from portwright.conformance.choices import Drawn
from portwright.conformance.enclosure import Enclosure
from portwright.conformance.exact import distance, exact, spacing
from portwright.conformance.gates import Sums, gamma, population, within_gamma
from portwright.conformance.inputs import binary, powers, samples, specials, sweep, to_bits, unary
from portwright.conformance.judge import Mismatch, judge
from portwright.conformance.programs import Programs
from portwright.core import engine, reference
from portwright.core.device import Spec
from portwright.core.dtype import ALL, FLOATS, INTS, DType, bfloat16, bool_, float16, float32, float64, int32
from portwright.core.evaluate import evaluate
from portwright.core.graph import toposort
from portwright.core.ops import PRIMITIVES, Op, Tier

EXACT_SPEC = Spec("ACME", dtypes=frozenset(ALL))


def nearest(x: Fraction, dtype: DType) -> float:
    """The float of ``dtype`` nearest to a rational, ties to even; computed with integers only."""
    if not x:
        return 0.0
    magnitude = abs(x)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    exponent -= magnitude < Fraction(2) ** exponent
    exponent = max(exponent, 2 - (1 << (dtype.exponent - 1)))
    unit = Fraction(2) ** (exponent - dtype.mantissa)
    rounded = round(magnitude / unit) * unit  # Python rounds a half to even
    beyond = math.inf if dtype.has_infinity else math.nan
    value = beyond if rounded > Fraction(dtype.finite_max) else float(rounded)
    return value if x > 0 else -value


def finite(x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return x[np.isfinite(x.astype(np.float64))]


@pytest.mark.parametrize("target", FLOATS, ids=str)
@pytest.mark.parametrize("source", [*FLOATS, *INTS], ids=str)
def test_the_contract_casts_to_the_nearest_float(source: DType, target: DType) -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate([specials(source), samples(source, rng, 1500)])
    if source.is_float:
        x = finite(np.concatenate([x, powers(source)[::7]]))
    got = reference.cast(target, x)
    exactly = [Fraction(float(v)) if source.is_float else Fraction(int(v)) for v in x]
    wanted = np.array([nearest(v, target) for v in exactly])
    assert np.array_equal(got.astype(np.float64), wanted, equal_nan=True)


@pytest.mark.parametrize("target", INTS, ids=str)
@pytest.mark.parametrize("source", FLOATS, ids=str)
def test_the_contract_truncates_floats_to_integers(source: DType, target: DType) -> None:
    rng = np.random.default_rng(2)
    x = finite(np.concatenate([specials(source), samples(source, rng, 1500)]))
    got = reference.cast(target, x)
    for value, result in zip(x.astype(np.float64).tolist(), got.tolist(), strict=True):
        if int(target.min) <= math.trunc(value) <= int(target.max):
            assert result == math.trunc(value)


@pytest.mark.parametrize("op", [Op.IDIV, Op.MOD], ids=lambda o: o.name)
@pytest.mark.parametrize("dtype", INTS, ids=str)
def test_the_contract_divides_as_c_does(op: Op, dtype: DType) -> None:
    a, b = (x[:3000] for x in binary(op, dtype, np.random.default_rng(3), 1000))
    meaning = PRIMITIVES[op].reference
    assert meaning is not None
    for x, y, got in zip(a.tolist(), b.tolist(), meaning(dtype, a, b).tolist(), strict=True):
        quotient = math.trunc(Fraction(x, y))
        assert got == (quotient if op is Op.IDIV else x - y * quotient)


@pytest.mark.parametrize("op", [Op.ADD, Op.SUB, Op.MUL], ids=lambda o: o.name)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_the_contract_rounds_arithmetic_once(op: Op, dtype: DType) -> None:
    rng = np.random.default_rng(4)
    a, b = (finite(samples(dtype, rng, 2000))[:900] for _ in range(2))
    meaning = PRIMITIVES[op].reference
    assert meaning is not None
    exactly = {Op.ADD: Fraction.__add__, Op.SUB: Fraction.__sub__, Op.MUL: Fraction.__mul__}[op]
    wanted = [
        nearest(exactly(Fraction(float(x)), Fraction(float(y))), dtype) for x, y in zip(a, b, strict=True)
    ]
    assert np.array_equal(meaning(dtype, a, b).astype(np.float64), np.array(wanted), equal_nan=True)


@pytest.mark.parametrize("op", [Op.EXP2, Op.LOG2, Op.SIN], ids=lambda o: o.name)
@pytest.mark.parametrize("dtype", [float16, float32, float64], ids=str)
def test_exact_values_agree_with_mpmath(op: Op, dtype: DType) -> None:
    x = finite(unary(op, dtype, np.random.default_rng(5), 64))
    x = np.random.default_rng(6).permutation(x[np.abs(x.astype(np.float64)) < 1000])[:300]
    x = np.abs(x) + dtype.numpy.type(0.01) if op is Op.LOG2 else x
    truth = exact(op, dtype, x)
    f = {Op.EXP2: lambda v: mpmath.power(2, v), Op.LOG2: lambda v: mpmath.log(v, 2), Op.SIN: mpmath.sin}[op]
    unit = spacing(dtype, truth.high)
    with mpmath.workprec(300):
        for i, v in enumerate(x.astype(np.float64).tolist()):
            off = mpmath.mpf(truth.high[i]) + mpmath.mpf(truth.low[i]) - f(mpmath.mpf(v))
            assert abs(off) <= float(unit[i]) * 2.0**-20


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_a_neighbour_is_one_unit_away(dtype: DType) -> None:
    step = 997 if dtype.bits > 8 else 1
    bits = np.arange(1, 1 << min(dtype.bits - 1, 15), step, dtype=np.uint64)
    bits = bits << np.uint64(max(dtype.bits - 16, 0))
    x = bits.astype(f"u{dtype.itemsize}").view(dtype.numpy)
    x = finite(x)
    up = (to_bits(x) + 1).view(dtype.numpy)
    up = up[np.isfinite(up.astype(np.float64))]
    x = x[: up.size]
    assert np.array_equal(spacing(dtype, x.astype(np.float64)), up.astype(np.float64) - x.astype(np.float64))
    truth = exact(Op.ADD, dtype, x, np.zeros_like(x))
    assert np.array_equal(distance(up, truth, dtype)[0], np.ones(up.size))


def test_distance_at_the_edges() -> None:
    top = np.array([float32.finite_max], np.float32)
    above = exact(Op.ADD, float32, top, top)  # beyond the range: infinity is right, the top is one unit off
    assert distance(np.array([np.inf], np.float32), above, float32)[0] == 0
    assert distance(top, above, float32)[0] <= 1
    at = exact(Op.ADD, float32, top, np.zeros(1, np.float32))
    assert distance(np.array([np.inf], np.float32), at, float32)[0] == 1
    assert np.isinf(distance(np.array([np.nan], np.float32), at, float32)[0])
    infinite = exact(Op.LOG2, float32, np.zeros(1, np.float32))
    assert np.isinf(distance(-top, infinite, float32)[0])


def test_special_values_are_judged() -> None:
    zero, minus = np.array([0.0], np.float32), np.array([-0.0], np.float32)
    with pytest.raises(Mismatch, match=r"wanted     -0\.0"):
        judge(Op.SQRT, float32, zero, [minus], EXACT_SPEC)
    judge(Op.MAX, float32, zero, [minus, zero], EXACT_SPEC)
    judge(Op.MAX, float32, minus, [minus, zero], EXACT_SPEC)
    with pytest.raises(Mismatch, match="MAX float32"):
        judge(Op.MAX, float32, zero, [np.array([np.nan], np.float32), zero], EXACT_SPEC)


def test_flushing_is_allowed_only_where_it_is_claimed() -> None:
    tiny = np.array([float32.smallest_normal / 2], np.float32)
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    flushes = Spec("ACME", dtypes=frozenset(ALL), flushes_subnormals=True)
    judge(Op.MUL, float32, zero, [tiny, one], flushes)
    judge(Op.RECIP, float32, np.array([np.inf], np.float32), [tiny], flushes)
    with pytest.raises(Mismatch):
        judge(Op.MUL, float32, zero, [tiny, one], EXACT_SPEC)
    with pytest.raises(Mismatch):
        judge(Op.MUL, float32, one, [tiny, one], flushes)


def test_a_product_that_only_moves_a_subnormal_need_not_flush_it() -> None:
    tiny, one = np.array([float32.smallest_normal / 2], np.float32), np.ones(1, np.float32)
    flushes = Spec("ACME", dtypes=frozenset(ALL), flushes_subnormals=True)
    judge(Op.MUL, float32, tiny, [tiny, one], flushes)
    judge(Op.MUL, float32, -tiny, [tiny, -one], flushes)
    judge(Op.SUB, float32, -tiny, [0 * one, tiny], flushes)
    with pytest.raises(Mismatch, match="not flushed"):
        judge(Op.MUL, float32, tiny / 2, [tiny, one / 2], flushes)
    with pytest.raises(Mismatch, match="not flushed"):
        judge(Op.SUB, float32, tiny * 1.5, [tiny * 2, tiny / 2], flushes)
    with pytest.raises(Mismatch, match="not flushed"):
        judge(Op.SUB, float32, tiny, [tiny * 2, tiny], flushes)  # as large as an operand, but computed


def test_bounds_are_those_of_the_tier() -> None:
    x = np.array([3.0], np.float32)
    off = np.nextafter(np.sqrt(x), np.float32(9))
    judge(Op.SQRT, float32, off, [x], EXACT_SPEC)
    with pytest.raises(Mismatch, match=r"0\.5 ulp"):
        judge(Op.SQRT, float32, off, [x], Spec("ACME", dtypes=frozenset(ALL), tier=Tier.STRICT))


def test_a_bool_is_one_byte_of_0_or_1() -> None:
    bad = np.array([1, 2, 0], np.uint8).view(np.bool_)
    with pytest.raises(Mismatch, match=r"first at \[1\]\n  got        the byte 2 \(0x02\)"):
        judge(
            Op.CMPLT, int32, bad, [np.array([1, 1, 1], np.int32), np.array([2, 2, 0], np.int32)], EXACT_SPEC
        )


def test_gates_tell_accumulators_apart() -> None:
    rng = np.random.default_rng(7)
    x = rng.uniform(0.25, 1.0, (1024, 1000)).astype(np.float16)
    sums = Sums.of(x, 1)
    good = x.astype(np.float32).sum(1, keepdims=True).astype(np.float16)
    within_gamma("good", good, sums, 1000, float16)
    population("good", good, sums, 1000, float16)
    narrow = np.zeros((1024, 1), np.float16)
    for column in x.T:
        narrow = narrow + column[:, None]
    within_gamma("narrow", narrow, sums, 1000, float16)  # the first gate lets it pass
    with pytest.raises(Mismatch, match="too narrow"):
        population("narrow", narrow, sums, 1000, float16)
    short = x[:, :-1].astype(np.float32).sum(1, keepdims=True)
    with pytest.raises(Mismatch, match="γ"):
        within_gamma("short", short, Sums.of(x.astype(np.float32), 1), 1000, float32)


def test_gates_see_a_bias() -> None:
    rng = np.random.default_rng(8)
    x = rng.uniform(0.25, 1.0, (1024, 8)).astype(np.float32)
    down = np.zeros((1024, 1), np.float32)
    for column in x.T:  # each addition is rounded toward zero
        exactly = down.astype(np.float64) + column[:, None]
        near = exactly.astype(np.float32)
        down = np.where(near > exactly, np.nextafter(near, np.float32(0)), near).astype(np.float32)
    with pytest.raises(Mismatch, match="one side"):
        population("down", down, Sums.of(x, 1), 8, float32)


def test_gamma_is_defined_where_it_is_no_longer_small() -> None:
    assert gamma(3, float32) == pytest.approx(3 * 2.0**-24)
    assert gamma(4097, bfloat16) == 2 * 4097 * 2.0**-8


@pytest.mark.parametrize("seed", range(6))
def test_the_meaning_of_random_programs_lies_in_its_interval(seed: int) -> None:
    kinds = [
        (float32,),
        (float32, bool_),
        (float16, float32),
        (float64, float32),
        (int32, bool_),
        (float32, int32),
    ]
    rng = np.random.default_rng(seed)
    for _ in range(8):
        enclosure = Enclosure(engine.read, EXACT_SPEC)
        roots = Programs(Drawn(rng), lambda x: place(x, "NUMPY"), enclosure, kinds[seed]).draw(14)
        order = [n for n in toposort(roots, stop=lambda n: n.storage is not None) if n.storage is None]
        for node, value in zip(order, evaluate(order, engine.read), strict=True):
            assert not enclosure.of(node).excludes(value).any(), node


def test_sweeps_hold_every_pattern() -> None:
    assert sweep(bool_).tolist() == [False, True]
    assert np.unique(to_bits(sweep(bfloat16))).size == 1 << 16
