"""Rung 5: every pair of dtypes, by value (CAST) and by bits (BITCAST)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ...core import graph
from ...core.dtype import ALL, DType, float32
from ...core.ops import PRIMITIVES, Op
from ..case import Case
from ..inputs import SLICES, Array, as_floats, powers, samples, slice_of, specials, sweep
from ..judge import Accuracy, castable, judge, require_bits

PAIRS = [pytest.param(a, b, id=f"{a}-{b}") for a, b in itertools.permutations(ALL, 2)]
SAME_WIDTH = [
    pytest.param(a, b, id=f"{a}-{b}")
    for a, b in itertools.permutations(ALL, 2)
    if a.bits == b.bits and not a.is_bool and not b.is_bool
]


def operands(source: DType, target: DType, case: Case) -> Array:
    """Every element of a narrow dtype; else special values, samples, and midpoints of the target's."""
    if source.bits <= 16:
        return sweep(source)
    parts = [specials(source), samples(source, case.rng, 4096)]
    if source.is_float:
        parts.append(powers(source))
        if target.is_float and target.bits < source.bits:
            parts.append(midpoints(source, target, case))
        if target.is_int:
            edges = [float(target.min), float(target.max), 0.0, 1.0]
            around = [v + d for v in edges for d in (-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1)]
            parts.append(as_floats(around, source))
            tame = case.rng.uniform(float(target.min), float(target.max), 2048)
            parts.append(as_floats(list(tame), source))
    elif target.is_float and target.mantissa < source.bits:
        parts.append(integer_midpoints(source, target, case))
    return np.concatenate(parts)


def midpoints(source: DType, target: DType, case: Case) -> Array:
    """Values halfway between two neighbours of the narrower float, and the next ones on either side."""
    low = np.concatenate([samples(target, case.rng, 2048), specials(target), powers(target)])
    low = low[np.isfinite(low)]
    with np.errstate(all="ignore"):
        exact = low.astype(np.float64)
        _, exponent = np.frexp(exact)
        least = 2 - (1 << (target.exponent - 1))
        half = np.ldexp(0.5, np.maximum(exponent - 1, least) - target.mantissa)
        middle = (exact + np.copysign(half, exact)).astype(source.numpy)
        return np.concatenate(
            [middle, np.nextafter(middle, source.numpy.type(np.inf)), np.nextafter(middle, -middle)]
        )


def integer_midpoints(source: DType, target: DType, case: Case) -> Array:
    """Integers of one bit more than the float keeps, and the next ones: ties and double rounding."""
    kept = target.mantissa + 2
    head = case.rng.integers(1 << (kept - 1), 1 << kept, 2048, dtype=np.uint64) | np.uint64(1)
    top = source.bits - (1 if source.is_signed else 0)
    shift = case.rng.integers(0, top - kept + 1, 2048).astype(np.uint64)
    exact = head << shift
    near = exact + case.rng.integers(-1, 2, 2048).astype(np.uint64)
    values = np.concatenate([exact, near]) & np.uint64((1 << top) - 1)
    return values.astype(source.numpy)


def tried(case: Case, source: DType, target: DType, x: Array) -> Accuracy | None:
    """A cast of some operands, judged."""
    (got,) = case.run(graph.cast(case.place(x), target))
    return judge(Op.CAST, target, got, (x,), case.spec)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_cast(case: Case, source: DType, target: DType) -> None:
    """By value. Float to integer out of range and NaN may give anything, but must give something."""
    case.claims(source, target)
    case.keep(tried(case, source, target, operands(source, target, case)))


@pytest.mark.parametrize("high", range(SLICES), ids="{:02x}".format)
@pytest.mark.parametrize(("source", "target"), [p for p in PAIRS if p.values[0] is float32])
def test_sweep(case: Case, source: DType, target: DType, high: int) -> None:
    """Every float32, in slices by the highest byte."""
    case.claims(source, target)
    case.sweep(slice_of(source, high), lambda x: tried(case, source, target, x))


@pytest.mark.parametrize(("source", "target"), SAME_WIDTH)
def test_bitcast(case: Case, source: DType, target: DType) -> None:
    """The same bits: NaN payloads are kept."""
    case.claims(source, target)
    x = (
        sweep(source)
        if source.bits <= 16
        else np.concatenate([specials(source), samples(source, case.rng, 4097)])
    )
    (got,) = case.run(graph.bitcast(case.place(x), target))
    reference = PRIMITIVES[Op.BITCAST].reference
    assert reference is not None
    require_bits(f"BITCAST {source} to {target}", got, reference(target, x), (x,))


@pytest.mark.parametrize("source", ALL, ids=str)
def test_views(case: Case, source: DType) -> None:
    """One operand, walked backwards, becomes every other dtype: in loops that are not those of an array."""
    case.claims(source)
    given, nodes = [], []
    for target in (d for d in ALL if d is not source and d in case.spec.dtypes):
        x = case.rng.permutation(operands(source, target, case))[:2001]
        x = np.concatenate([x[castable(target, x)], specials(source)[:1]])
        given.append((target, x[castable(target, x)]))
        nodes.append(graph.cast(graph.flip(case.place(given[-1][1][::-1]), (0,)), target))
    for node, got, (target, x) in zip(nodes, case.run(*nodes), given, strict=True):
        case.shows([node])
        case.keep(judge(Op.CAST, target, got, (x,), case.spec))


@pytest.mark.parametrize("source", [d for d in ALL if not d.is_bool], ids=str)
def test_bitcast_views(case: Case, source: DType) -> None:
    """The bits of a part of an array, beside others."""
    case.claims(source)
    x = (
        sweep(source)
        if source.bits <= 16
        else np.concatenate([specials(source), samples(source, case.rng, 999)])
    )
    reference = PRIMITIVES[Op.BITCAST].reference
    assert reference is not None
    others = (d for d in ALL if d.bits == source.bits and not d.is_bool and d is not source)
    targets = [d for d in others if d in case.spec.dtypes]
    if not targets:
        pytest.skip(f"{case.name} has no other dtype of {source.bits} bits")
    part = graph.shrink(case.place(x), ((3, x.size - 2),))
    nodes = [graph.bitcast(part, target) for target in targets]
    for target, node, got in zip(targets, nodes, case.run(*nodes), strict=True):
        case.shows([node])
        require_bits(f"BITCAST {source} to {target}", got, reference(target, x[3:-2]), (x[3:-2],))
