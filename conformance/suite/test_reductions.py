"""Rung 7: folds and matrix products of awkward sizes, held to three gates.

The first is per element: γ(K)·Σ|a| plus half a unit, right for any order of K additions in the accumulator.
It lets a narrow accumulator pass, so the second looks at all elements at once: their root mean square and
their bias. The third takes integers, of which any order gives the same.
"""

from __future__ import annotations

import numpy as np
import pytest

from ...core import engine, graph
from ...core.compound import Call
from ...core.dtype import ALL, FLOATS, DType, bool_, float16, float32, float64, int32, uint8
from ...core.evaluate import evaluate
from ...core.graph import Node, Shape
from ...core.ops import Op
from ...core.trace import Event, KernelRun, debug
from ..case import Case
from ..compounds import (
    Trial,
    called,
    floats,
    hold_all,
    hold_each,
    integers,
    meant,
    trials,
    values,
    whole,
    widely,
)
from ..exact import spacing
from ..gates import Sums, population, within_gamma
from ..inputs import samples, small_integers
from ..judge import Mismatch, flushed, require, require_bits, require_form, require_values
from ..sizes import AROUND, FEW, PRODUCTS, Shape3, around_tiles, sizes

AXES: dict[str, tuple[Shape, tuple[int, ...]]] = {
    "first": ((33, 65), (0,)),
    "last": ((65, 33), (1,)),
    "middle": ((9, 31, 17), (1,)),
    "outer": ((9, 16, 17), (0, 2)),
    "all": ((7, 33, 15), (0, 1, 2)),
    "one of four": ((3, 8, 5, 17), (1,)),
    "last two": ((5, 16, 33), (1, 2)),
    "single element": ((1, 1), (0, 1)),
}
SUMMED = [d for d in FLOATS if d.bits >= 16]
"""Not the 8-bit floats: a long sum leaves their range, or is one of so few that no chance evens it out."""
INTEGERS = [d for d in ALL if d.is_int]


def exactly(case: Case, nodes: list[tuple[str, Node]]) -> None:
    """Results that any order of folding gives alike."""
    wanted = evaluate([n for _, n in nodes], engine.read)
    for (name, node), got, right in zip(nodes, case.run(*(n for _, n in nodes)), wanted, strict=True):
        compare = require_values if node.dtype.is_float else require_bits
        compare(name, got, np.ascontiguousarray(right).reshape(right.shape))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_sum_of_integers(case: Case, dtype: DType) -> None:
    """Gate three: whole numbers in a float are summed exactly, at every size, along both axes."""
    case.claims(dtype)
    room = 1 << (dtype.mantissa + 1)
    nodes = []
    for n in sizes(dtype):
        most = max(1, min(8, room // max(1, 2 * n)))
        x = small_integers(dtype, case.rng, (3, n), most)
        if n > room // 2:  # so that no partial sum is too great: pairs that cancel
            x[:, 1::2] = -x[:, : x.shape[1] - 1 : 2] if n % 2 else -x[:, ::2]
        nodes.append((f"sum of {n}", graph.reduce(Op.ADD, case.place(x), (1,))))
        nodes.append(
            (f"sum of {n}, strided", graph.reduce(Op.ADD, case.place(np.ascontiguousarray(x.T)), (0,)))
        )
    exactly(case, nodes)


@pytest.mark.parametrize("op", [Op.ADD, Op.MUL, Op.MAX], ids=lambda o: o.name)
@pytest.mark.parametrize("dtype", [bool_, uint8, int32, float16, float32], ids=str)
def test_nothing(case: Case, op: Op, dtype: DType) -> None:
    """No elements fold to what the operation leaves all others unchanged with."""
    case.claims(dtype)
    shapes: list[tuple[Shape, tuple[int, ...]]] = [
        ((3, 0), (1,)),
        ((0, 3), (0,)),
        ((2, 0, 3), (1,)),
        ((0,), (0,)),
    ]
    nodes = []
    for shape, axes in shapes:
        x = case.place(np.zeros(shape, dtype.numpy))
        nodes.append((f"{op.name} of {shape} over {axes}", graph.reduce(op, x, axes)))
    exactly(case, nodes)


@pytest.mark.parametrize("op", [Op.ADD, Op.MUL, Op.MAX], ids=lambda o: o.name)
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integers_wrap(case: Case, op: Op, dtype: DType) -> None:
    """Integer folds wrap, and agree to the bit at every size."""
    case.claims(dtype)
    nodes = []
    for n in FEW:
        x = samples(dtype, case.rng, 3 * n).reshape(3, n)
        if op is Op.MUL:
            x = x | dtype.numpy.type(1)  # odd, so that the product does not vanish
        if op is Op.MAX and dtype.is_signed:
            x[0] = np.minimum(x[0], ~x[0])  # none of which is positive
        nodes.append((f"{op.name} of {n}", graph.reduce(op, case.place(x), (1,))))
    exactly(case, nodes)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integer_sums_of_columns(case: Case, dtype: DType) -> None:
    """Sums of great integers down columns, and of all of them."""
    case.claims(dtype)
    x = case.rng.integers(int(dtype.min) // 2, int(dtype.max), (129, 5), dtype=dtype.numpy)
    placed = case.place(x)
    exactly(
        case, [("columns", graph.reduce(Op.ADD, placed, (0,))), ("all", graph.reduce(Op.ADD, placed, (0, 1)))]
    )


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_max_of_neighbours(case: Case, dtype: DType) -> None:
    """The greatest of integers next to each other, which a float would not tell apart."""
    case.claims(dtype)
    rows = [[int(dtype.max) - row - int(i) for i in case.rng.permutation(17)] for row in range(9)]
    x = np.array(rows, dtype.numpy)
    exactly(case, [("MAX of 17", graph.reduce(Op.MAX, case.place(x), (1,)))])


@pytest.mark.parametrize("dtype", [*FLOATS, int32, uint8], ids=str)
def test_exact_products(case: Case, dtype: DType) -> None:
    """Products of 1 and -1 and a few twos are exact in any order."""
    case.claims(dtype)
    nodes = []
    for n in FEW:
        x = case.rng.choice(np.array([1, -1 if dtype.is_signed else 1]), (3, n))
        x[:, : min(n, 2)] *= 2
        placed = x.astype(dtype.numpy)
        nodes.append((f"product of {n}", graph.reduce(Op.MUL, case.place(placed), (1,))))
        turned = case.place(np.ascontiguousarray(placed.T))
        nodes.append((f"product of {n}, strided", graph.reduce(Op.MUL, turned, (0,))))
    exactly(case, nodes)


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_max_of_lowest(case: Case, dtype: DType) -> None:
    """The greatest of equal elements, each of the lowest ones that a dtype has; and any of none."""
    case.claims(dtype)
    low = -np.inf if dtype.is_float else int(dtype.min)
    least = np.array([low, low], np.float64 if dtype.is_float else object).astype(dtype.numpy)
    if dtype.is_float:
        least[1] = np.finfo(np.float32).min if dtype is float32 else dtype.numpy.type(-240)
    nodes = []
    for n in FEW:
        x = case.place(np.repeat(least[:, None], n, 1))
        nodes.append((f"MAX of {n}", graph.reduce(Op.MAX, x, (1,))))
        if dtype.is_bool:
            nodes.append((f"any of {n}", graph.reduce(Op.ADD, x, (1,))))
    exactly(case, nodes)


@pytest.mark.parametrize("op", [Op.ADD, Op.MUL, Op.MAX], ids=lambda o: o.name)
def test_bools(case: Case, op: Op) -> None:
    """Any and all."""
    case.claims(bool_)
    nodes = []
    for n in FEW:
        x = case.rng.random((16, n)) < (0.5 if n < 4 else 1 / n if op is not Op.MUL else 1 - 1 / n)
        nodes.append((f"{op.name} of {n}", graph.reduce(op, case.place(x), (1,))))
    exactly(case, nodes)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_max(case: Case, dtype: DType) -> None:
    """MAX folds exactly, NaN included, with infinities and all-negative rows."""
    case.claims(dtype)
    nodes = []
    for n in sizes(dtype):
        x = -np.abs(samples(dtype, case.rng, 6 * n)).reshape(6, n)
        x[np.isnan(x)] = dtype.numpy.type(-1)
        if case.spec.flushes_subnormals:
            x = flushed(x, dtype)  # they are zeros there: any of them may be the greatest
        x[1, n // 2] = dtype.numpy.type(np.nan)
        x[2, -1] = dtype.numpy.type(np.inf)
        x[3] = dtype.numpy.type(-np.inf)
        x[4, n - 1] = dtype.numpy.type(np.nan)
        x[5, 0] = dtype.numpy.type(np.nan)
        nodes.append((f"MAX of {n}", graph.reduce(Op.MAX, case.place(x), (1,))))
        nodes.append(
            (f"MAX of {n}, strided", graph.reduce(Op.MAX, case.place(np.ascontiguousarray(x.T)), (0,)))
        )
    exactly(case, nodes)


@pytest.mark.parametrize("axes", AXES.values(), ids=[n.replace(" ", "_") for n in AXES])
@pytest.mark.parametrize("op", [Op.ADD, Op.MAX], ids=lambda o: o.name)
def test_axes(case: Case, op: Op, axes: tuple[Shape, tuple[int, ...]]) -> None:
    """Any axes, of the array as it lies and of a transposed view."""
    case.claims(float32)
    shape, folded = axes
    x = case.place(small_integers(float32, case.rng, shape, 100))
    turned = graph.permute(x, tuple(reversed(range(len(shape)))))
    back = tuple(len(shape) - 1 - a for a in folded)
    exactly(
        case, [("as it lies", graph.reduce(op, x, folded)), ("transposed", graph.reduce(op, turned, back))]
    )


@pytest.mark.parametrize("op", [Op.ADD, Op.MAX], ids=lambda o: o.name)
@pytest.mark.parametrize("dtype", [float32, int32], ids=str)
def test_powers_of_two(case: Case, dtype: DType, op: Op) -> None:
    """Whole numbers, at every power of two and the sizes next to it."""
    case.claims(dtype)
    arrays = [small_integers(dtype, case.rng, (3, n), 8) for n in AROUND]
    exactly(case, [(f"{op.name} of {x.shape[1]}", graph.reduce(op, case.place(x), (1,))) for x in arrays])


@pytest.mark.parametrize("dtype", SUMMED, ids=str)
def test_sum(case: Case, dtype: DType) -> None:
    """Gate one, at every size: rows of positive numbers, of both signs, and of very different sizes."""
    case.claims(dtype)
    inputs = []
    for n in sizes(dtype):
        x = case.rng.standard_normal((12, n))
        x[:4] = np.abs(x[:4])
        x[8:] *= 2.0 ** case.rng.integers(-6, 7, (4, n))
        inputs.append(x.astype(np.float32).astype(dtype.numpy) if dtype is not float64 else x)
    nodes = [graph.reduce(Op.ADD, case.place(x), (1,)) for x in inputs]
    for x, got in zip(inputs, case.run(*nodes), strict=True):
        within_gamma(f"sum of {x.shape[1]} {dtype}", got, Sums.of(x, 1), x.shape[1], dtype)


@pytest.mark.parametrize("n", [64, 1000])
@pytest.mark.parametrize("dtype", SUMMED, ids=str)
def test_sum_of_many(case: Case, dtype: DType, n: int) -> None:
    """Gate two: over a thousand sums the errors are small, and as often up as down."""
    case.claims(dtype)
    x = case.rng.uniform(0.25, 1.0, (1024, n)).astype(np.float32).astype(dtype.numpy)
    (got,) = case.run(graph.reduce(Op.ADD, case.place(x), (1,)))
    population(f"1,024 sums of {n} {dtype}", got, Sums.of(x, 1), n, dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_product(case: Case, dtype: DType) -> None:
    """Products of numbers near 1 are within K roundings."""
    case.claims(dtype)
    for n in (1, 2, 3, 8, 17, 33):
        x = (1 + case.rng.uniform(-0.25, 0.25, (8, n))).astype(np.float32).astype(dtype.numpy)
        (got,) = case.run(graph.reduce(Op.MUL, case.place(x), (1,)))
        wanted = np.prod(x.astype(np.longdouble), 1, keepdims=True).astype(np.float64)
        within_gamma(f"product of {n} {dtype}", got, Sums(wanted, np.abs(wanted)), n, dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_special_sums(case: Case, dtype: DType) -> None:
    """An infinity stays, two opposite ones give NaN, a NaN stays NaN."""
    case.claims(dtype)
    x = np.ones((4, 65), np.float32)
    x[0, 40], x[1, 3], x[1, 64], x[2, 64], x[3, 0] = np.inf, np.inf, -np.inf, np.nan, -np.inf
    node = graph.reduce(Op.ADD, case.place(x.astype(dtype.numpy)), (1,))
    wanted = np.array([[np.inf], [np.nan], [np.nan], [-np.inf]]).astype(np.float32).astype(dtype.numpy)
    require_values(f"sum of special {dtype}", case.run(node)[0], wanted)


def product(a: Node, b: Node) -> Node:
    """The matrix product as the graph has it: expand, multiply, fold."""
    (m, k), n = a.shape, b.shape[1]
    left = graph.expand(graph.reshape(a, (m, 1, k)), (m, n, k))
    right = graph.expand(graph.reshape(graph.permute(b, (1, 0)), (1, n, k)), (m, n, k))
    return graph.reduce(Op.ADD, graph.elementwise(Op.MUL, left, right), (2,))


MULTIPLIED = [*FLOATS, *(d for d in INTEGERS if d.bits in (8, 32))]


@pytest.mark.parametrize("dtype", MULTIPLIED, ids=str)
def test_matmul_of_integers(case: Case, dtype: DType) -> None:
    """Gate three for matrix products, at awkward sizes."""
    matmul_of_integers(case, dtype, PRODUCTS)


@pytest.mark.parametrize("dtype", MULTIPLIED, ids=str)
def test_matmul_around_tiles(case: Case, dtype: DType) -> None:
    """Gate three for matrix products, at sizes around every tile of the device."""
    matmul_of_integers(case, dtype, around_tiles(case.spec, dtype))


def matmul_of_integers(case: Case, dtype: DType, shapes: tuple[Shape3, ...]) -> None:
    """Matrix products that any order of folding gives alike."""
    case.claims(dtype)
    nodes = []
    for m, k, n in shapes:
        a, b = (small_integers(dtype, case.rng, s, 1) for s in ((m, k), (k, n)))
        if dtype.is_float and k > 1 << dtype.mantissa:
            a[:, 1 << dtype.mantissa :] = 0
        nodes.append((f"{m}×{k} times {k}×{n}", product(case.place(a), case.place(b))))
    exactly(case, nodes)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_matmul(case: Case, dtype: DType) -> None:
    """Gates one and two for matrix products."""
    case.claims(dtype)
    inputs = []
    for m, k, n in PRODUCTS:
        a, b = (case.rng.standard_normal(s).astype(np.float32).astype(dtype.numpy) for s in ((m, k), (k, n)))
        inputs.append((a, b))
    nodes = [product(case.place(a), case.place(b)) for a, b in inputs]
    for (a, b), got in zip(inputs, case.run(*nodes), strict=True):
        sums = Sums.of_product(a, b)
        k = a.shape[1]
        within_gamma(f"{a.shape[0]}×{k} times {k}×{b.shape[1]} {dtype}", got, sums, k + 1, dtype)


@pytest.mark.parametrize("dtype", SUMMED, ids=str)
def test_matmul_of_many(case: Case, dtype: DType) -> None:
    """Gate two for matrix products: over a thousand of them the errors are small, and as often up as down."""
    case.claims(dtype)
    k = 600
    a, b = (case.rng.uniform(0.25, 1.0, s).astype(np.float32).astype(dtype.numpy) for s in ((32, k), (k, 33)))
    (got,) = case.run(product(case.place(a), case.place(b)))
    population(f"1,056 products of {k} {dtype}", got, Sums.of_product(a, b), k + 1, dtype)


@pytest.mark.parametrize("dtype", [d for d in FLOATS if d.bits >= 32], ids=str)
def test_reduce_then_use(case: Case, dtype: DType) -> None:
    """A sum that is used by what it was made from: subtract the mean, and the rest sums to nearly nothing."""
    case.claims(dtype)
    x = case.rng.standard_normal((33, 65)).astype(dtype.numpy)
    placed = case.place(x)
    mean = graph.elementwise(Op.MUL, graph.reduce(Op.ADD, placed, (1,)), graph.full(1 / 65, (33, 1), dtype))
    centred = graph.elementwise(Op.SUB, placed, graph.expand(mean, (33, 65)))
    (got,) = case.run(centred)
    wanted = x.astype(np.float64) - x.astype(np.float64).mean(1, keepdims=True)
    off = np.abs(got - wanted)
    most = 66 * dtype.eps * np.abs(x).astype(np.float64).sum(1, keepdims=True) / 65 + 2 * spacing(
        dtype, wanted
    )
    assert (off <= most).all(), f"centred {dtype}: off by up to {off.max():.3g}, allowed {most.max():.3g}"


def offered(case: Case, accepted: bool = True) -> list[Trial]:
    """What the device offers besides primitives; skips the case of one that offers nothing."""
    if not case.spec.compounds:
        pytest.skip(f"{case.name} offers no compound")
    if case.compiles_only:
        pytest.skip(f"{case.name} runs nothing, and a compound has no text to compile")
    return list(trials(case, accepted))


def test_compounds_of_integers(case: Case) -> None:
    """Gate three for each compound: whole numbers, which its decomposition folds exactly."""
    for trial in offered(case):
        operands = [case.place(x) for x in integers(case, trial)]
        root, wide = meant(case, trial, operands), widely(case, trial, operands)
        wanted = values(root)
        if trial.dtype.is_float and not (
            trial.dtype.bits > 8 and np.array_equal(wanted, wide) and np.array_equal(wide, np.rint(wide))
        ):
            continue  # a softmax, say, of which no order is exact
        (got,) = case.run(called(case, trial, operands))
        compare = require_values if root.dtype.is_float else require_bits
        compare(f"{trial}, whole numbers", got, wanted)


def test_compounds(case: Case) -> None:
    """Gates one and two for each compound, within what the bounds of its decomposition's steps allow."""
    for trial in offered(case):
        if not trial.dtype.is_float:
            continue
        operands = [case.place(x) for x in floats(case, trial)]
        root = meant(case, trial, operands)
        (got,) = case.run(called(case, trial, operands))
        hold_each(str(trial), case, root, got)
        if root.dtype.is_float:
            hold_all(str(trial), root, got, widely(case, trial, operands))
        (again,) = case.run(called(case, trial, [case.place(engine.read(x)) for x in operands]))
        require_bits(f"{trial}, a second time", again, got)


def test_compounds_special(case: Case) -> None:
    """A NaN goes wherever the decomposition takes it, and nowhere else."""
    for trial in offered(case):
        if not trial.dtype.is_float:
            continue
        arrays = floats(case, trial)
        for x in arrays:
            x.reshape(-1)[int(case.rng.integers(x.size))] = np.nan
        operands = [case.place(x) for x in arrays]
        root = meant(case, trial, operands)
        if not root.dtype.is_float:
            continue
        wanted = values(root)
        (got,) = case.run(called(case, trial, operands))
        require_form(f"{trial} with NaN", got, wanted)
        require(f"{trial} with NaN", np.isnan(got) != np.isnan(wanted), got, wanted, (), "NaN alike")


def test_compounds_are_recognized(case: Case) -> None:
    """What users write as its decomposition says, with work before and after, runs on the device's own."""
    for trial in offered(case):
        arrays = floats(case, trial) if trial.dtype.is_float else integers(case, trial)
        operands = [graph.elementwise(Op.ADD, x, x) for x in map(case.place, arrays)]
        root = meant(case, trial, operands)
        is_whole = whole(case, trial, root)
        with debug.record() as events:
            got, _ = case.run(root, graph.elementwise(Op.ADD, root, root))
        if is_whole and not calls(events):
            raise Mismatch(f"{trial}: no compound was run")
        if root.dtype.is_float:
            hold_each(str(trial), case, forgotten(root), got)
        else:
            require_bits(str(trial), got, values(forgotten(root)))


def test_compounds_decline(case: Case) -> None:
    """What one does not accept is computed by another that does, or by the primitives, and is right."""
    for trial in offered(case, accepted=False):
        arrays = floats(case, trial) if trial.dtype.is_float else integers(case, trial)
        operands = [case.place(x) for x in arrays]
        root = meant(case, trial, operands)
        with debug.record() as events:
            (got,) = case.run(root)
        for call in calls(events):
            if not call.compound.accepts(call.dtype, *call.shapes):
                raise Mismatch(f"{trial}: {call.compound.name} was run on {call.shapes}, which it declines")
        if root.dtype.is_float:
            hold_each(str(trial), case, forgotten(root), got)
        else:
            require_bits(str(trial), got, values(forgotten(root)))


def calls(events: list[Event]) -> list[Call]:
    """The compounds that were run, and on what."""
    runs = [e.stages.compound for e in events if isinstance(e, KernelRun)]
    return [c for c in runs if c is not None]


def forgotten(root: Node) -> Node:
    """The node as an expression again."""
    root.storage = None
    return root
