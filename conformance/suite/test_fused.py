"""Rung 8: whole programs, computed in whatever pieces the port likes, against what the graph means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest

from ...core import dtype as dtypes
from ...core import engine, graph
from ...core.dtype import DType, float32, int32
from ...core.errors import NotRunError, PortwrightError
from ...core.graph import Node, toposort
from ...core.ops import Op
from ..case import Case, place
from ..choices import Choices
from ..enclosure import Enclosure
from ..judge import Mismatch, require
from ..programs import Programs
from ..shrink import hold

STEPS = 14
PROGRAMS = 3
KINDS: dict[str, tuple[DType, ...]] = {
    "float32": (dtypes.float32,),
    "float32-bool": (dtypes.float32, dtypes.bool_),
    "float16": (dtypes.float16, dtypes.float32),
    "bfloat16": (dtypes.bfloat16, dtypes.float32),
    "float64": (dtypes.float64, dtypes.float32),
    "int32": (dtypes.int32, dtypes.bool_),
    "int8": (dtypes.int8, dtypes.int64),
    "uint": (dtypes.uint8, dtypes.uint32),
    "mixed": (dtypes.float32, dtypes.int32, dtypes.uint8),
}


def together(case: Case, roots: Sequence[Node]) -> None:
    """The roots, realized together, lie where they may."""
    enclosure = Enclosure(engine.read, case.spec)
    for root in roots:
        enclosure.of(root)
    try:
        arrays = case.run(*roots)
    except NotRunError:
        if not case.compiles_only:
            raise
        return
    for root, got in zip(roots, arrays, strict=True):
        enclosure.hold(root, got)


def agree(case: Case, roots: Sequence[Node]) -> None:
    """The roots, realized together, lie where they may; else the first part that is wrong alone is told."""
    order = [n for n in toposort(roots, stop=lambda n: n.storage is not None) if n.storage is None]
    try:
        together(case, roots)
    except (Mismatch, PortwrightError) as error:
        for node in order:
            forget(order)
            try:
                together(case, [node])
            except (Mismatch, PortwrightError) as alone:
                forget(order)
                raise alone from None
        forget(order)
        case.shows(roots)
        error.add_note("each part of it is right when it is computed alone")
        raise
    finally:
        if case.compiles_only:
            forget(order)


def forget(nodes: Sequence[Node]) -> None:
    """Makes the nodes unrealized again."""
    for node in nodes:
        node.storage = None


@pytest.mark.parametrize("part", range(3))
@pytest.mark.parametrize("kinds", KINDS.values(), ids=KINDS.keys())
def test_random(case: Case, kinds: tuple[DType, ...], part: int) -> None:
    """Programs drawn by the seed."""
    case.claims(*kinds)

    def program(choices: Choices) -> list[Node]:
        return Programs(choices, case.place, Enclosure(engine.read, case.spec), kinds).draw(STEPS)

    for _ in range(PROGRAMS):
        hold(case, [program], partial(together, case), partial(agree, case))


def add(a: Node, b: Node) -> Node:
    """a + b, of any shapes that broadcast by expanding axes of 1."""
    return meet(Op.ADD, a, b)


def mul(a: Node, b: Node) -> Node:
    """a · b."""
    return meet(Op.MUL, a, b)


def sub(a: Node, b: Node) -> Node:
    """a - b."""
    return meet(Op.SUB, a, b)


def meet(op: Op, a: Node, b: Node) -> Node:
    """A primitive of two values of one rank."""
    shape = tuple(max(m, n) for m, n in zip(a.shape, b.shape, strict=True))
    return graph.elementwise(op, graph.expand(a, shape), graph.expand(b, shape))


def number(value: float, like: Node) -> Node:
    """A constant of the rank and dtype of another value."""
    return graph.full(value, (1,) * len(like.shape), like.dtype)


def softmax(x: Node) -> Node:
    """Over the last axis, in base 2."""
    last = (len(x.shape) - 1,)
    e = graph.elementwise(Op.EXP2, sub(x, graph.reduce(Op.MAX, x, last)))
    return mul(e, graph.elementwise(Op.RECIP, graph.reduce(Op.ADD, e, last)))


def layernorm(x: Node) -> Node:
    """Over the last axis."""
    last = (len(x.shape) - 1,)
    share = number(1 / x.shape[-1], x)
    centred = sub(x, mul(graph.reduce(Op.ADD, x, last), share))
    variance = mul(graph.reduce(Op.ADD, mul(centred, centred), last), share)
    deviation = graph.elementwise(Op.SQRT, add(variance, number(2.0**-10, x)))
    return mul(centred, graph.elementwise(Op.RECIP, deviation))


def chain(x: Node) -> Node:
    """Sixty elementwise steps."""
    for i in range(30):
        x = add(mul(x, number(0.5, x)), number(i / 8, x))
        if i % 10 == 9:
            x = graph.elementwise(Op.SIN, x)
    return x


def outer_sum(x: Node) -> Node:
    """The product of a matrix with its transpose, as expand, multiply, fold: no cube is stored."""
    n, k = x.shape
    left, right = graph.reshape(x, (n, 1, k)), graph.reshape(x, (1, n, k))
    return graph.reduce(Op.ADD, mul(left, right), (2,))


def epilogue(x: Node) -> Node:
    """A fold, then work on what it gave."""
    s = outer_sum(x)
    return meet(Op.MAX, add(mul(s, number(0.25, s)), number(1.0, s)), number(0.0, s))


def fold_of_fold(x: Node) -> Node:
    """One axis folded, then the other, then used by the first input."""
    rows = graph.reduce(Op.ADD, x, (1,))
    return add(x, graph.reduce(Op.MAX, rows, (0,)))


def running_sum(x: Node) -> Node:
    """Sums of all that came before, as a fold over windows of a padded array."""
    n = x.shape[1]
    windows = graph.window(graph.pad(x, ((0, 0), (n - 1, 0))), 1, n)
    return graph.reshape(graph.reduce(Op.ADD, windows, (2,)), x.shape)


def convolution(x: Node) -> Node:
    """Three-wide windows along both axes, times weights that are a part of the input."""
    windows = graph.window(graph.window(graph.pad(x, ((1, 1), (1, 1))), 0, 3), 1, 3)
    weights = graph.reshape(graph.shrink(x, ((0, 3), (0, 3))), (1, 1, 3, 3))
    return graph.reduce(Op.ADD, mul(windows, weights), (2, 3))


def chosen_by_sum(x: Node) -> Node:
    """Sums over windows, of which a fold takes those that differ from the middle."""
    windows = graph.window(graph.pad(x, ((0, 0), (1, 1))), 1, 3)
    sums = graph.reshape(graph.reduce(Op.ADD, windows, (2,)), x.shape)
    zero = graph.full(0.0, x.shape, x.dtype)
    below = graph.elementwise(Op.CMPLT, graph.full(3.0, x.shape, x.dtype), sums)
    return graph.reduce(Op.ADD, graph.elementwise(Op.WHERE, below, sums, zero), (0,))


NAMED: dict[str, Callable[[Node], Node]] = {
    f.__name__: f
    for f in (
        softmax,
        layernorm,
        chain,
        outer_sum,
        epilogue,
        fold_of_fold,
        running_sum,
        convolution,
        chosen_by_sum,
    )
}


@pytest.mark.parametrize("shape", [(5, 7), (33, 129)], ids=str)
@pytest.mark.parametrize("program", NAMED.values(), ids=NAMED.keys())
def test_named(case: Case, program: Callable[[Node], Node], shape: tuple[int, int]) -> None:
    """The programs that models are made of."""
    case.claims(float32)
    x = case.rng.uniform(-2, 2, shape).astype(np.float32)
    agree(case, [program(case.place(x))])


def test_many_outputs(case: Case) -> None:
    """Values that share their work, realized together."""
    case.claims(float32)
    x = case.place(case.rng.uniform(-2, 2, (17, 33)).astype(np.float32))
    shared = graph.elementwise(Op.SIN, mul(x, x))
    agree(
        case, [shared, graph.reduce(Op.ADD, shared, (1,)), graph.reduce(Op.MAX, shared, (0,)), add(shared, x)]
    )


def test_realized_between(case: Case) -> None:
    """A value that was realized is a leaf of what is made of it afterwards."""
    case.claims(float32)
    x = case.place(case.rng.uniform(-2, 2, (9, 17)).astype(np.float32))
    middle = mul(x, x)
    agree(case, [middle])
    agree(case, [add(middle, x), graph.reduce(Op.ADD, middle, (1,))])


def test_again(case: Case) -> None:
    """The same program twice gives the same bits."""
    case.claims(float32, int32)
    values = case.rng.uniform(-2, 2, (33, 65)).astype(np.float32)
    first, second = (case.run(softmax(case.place(values)))[0] for _ in range(2))
    require("softmax, a second time", first.view(np.uint32) != second.view(np.uint32), second, first)


def test_new_data(case: Case) -> None:
    """The same program of other numbers, some alike in their first bytes or in sum, gives other results."""
    case.claims(float32)
    first = case.rng.uniform(-2, 2, (17, 33)).astype(np.float32)
    alike = first.copy()
    alike[5:] = alike[5:][::-1]
    for values in (first, alike, case.rng.uniform(-2, 2, (17, 33)).astype(np.float32), first):
        for program in (softmax, fold_of_fold):
            agree(case, [program(case.place(values))])


@pytest.mark.parametrize("program", [chain, layernorm], ids=lambda p: p.__name__)
def test_replayed(case: Case, program: Callable[[Node], Node]) -> None:
    """One program many times over, on buffers that are written again in between."""
    case.claims(float32)
    start = case.rng.uniform(-2, 2, (5, 40)).astype(np.float32)
    x = case.place(start)
    for _ in range(4):
        agree(case, [program(x)])
        (value,) = case.run(program(case.place(engine.read(x)[::-1].copy())))
        x = case.place(np.clip(value, -2, 2))


def test_written_after(case: Case) -> None:
    """What was launched on a buffer reads what was in it then, whatever is written to it next."""
    case.claims(float32)
    start = case.rng.uniform(-2, 2, 4099).astype(np.float32)
    x = place(start, case.name)
    assert x.storage is not None
    doubled = add(x, x)
    engine.realize([doubled], case.name)
    x.storage.write(memoryview(np.zeros_like(start).view(np.uint8)))
    got = engine.read(doubled)
    require("x + x, after x was written again", got != start + start, got, start + start)


def test_runs_its_source(case: Case) -> None:
    """A fused kernel with a sign changed in its text gives the changed result: the text is what runs."""
    case.claims(float32)
    x = case.rng.integers(-9, 10, 37).astype(np.float32)
    placed = case.place(x)
    node = add(mul(placed, number(5.5, placed)), number(2.75, placed))
    got, wanted = case.run_edited(node, "2.75", "1024.75", x), x * np.float32(5.5) + np.float32(1024.75)
    require("5.5 · x + 1024.75, from an edited source", got != wanted, got, wanted)


def test_written_again(case: Case) -> None:
    """One buffer that a fused kernel writes for one operand after another, read each time."""
    case.claims(float32)
    first = case.rng.integers(-99, 99, 1029).astype(np.float32)
    arrays = [first, first[::-1].copy(), case.rng.integers(-99, 99, 1029).astype(np.float32)]
    placed = case.place(arrays[0])
    node = add(mul(placed, placed), number(0.5, placed))
    for x, got in zip(arrays, case.run_each(node, arrays), strict=True):
        wanted = x * x + np.float32(0.5)
        require("x · x + 0.5, into a buffer that was read before", got != wanted, got, wanted, (x,))


@pytest.mark.parametrize("dtype", [int32, dtypes.uint8, dtypes.int64], ids=str)
def test_integer_constants(case: Case, dtype: DType) -> None:
    """Integers that a compiler may replace work by shifts and masks for."""
    case.claims(dtype)
    x = case.place(case.rng.integers(0 if not dtype.is_signed else -120, 121, (7, 19)).astype(dtype.numpy))

    def by(op: Op, value: Node, n: int) -> Node:
        return graph.elementwise(op, value, graph.full(n, (7, 19), dtype))

    agree(case, [by(Op.IDIV, by(Op.MUL, x, 5), 4), by(Op.MOD, by(Op.ADD, x, 3), 6), by(Op.MUL, x, 10)])
