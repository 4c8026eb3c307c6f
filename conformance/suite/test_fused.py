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
from ...core.evaluate import evaluate
from ...core.graph import Node, toposort
from ...core.ops import Op
from ..case import Case, place
from ..choices import Choices
from ..enclosure import Enclosure
from ..judge import Mismatch, judge, require, require_bits
from ..named import NAMED, add, chain, fold_of_fold, layernorm, mul, number, softmax, sub
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


def test_one_memory(case: Case) -> None:
    """Values in one memory: whole, in another shape, as another dtype, in parts that overlap."""
    case.claims(int32, dtypes.uint32)
    x = case.place(case.rng.integers(-(1 << 30), 1 << 30, (33, 20)).astype(np.int32))
    assert x.storage is not None
    row = graph.buffer(x.storage, (660,), int32)
    bits = graph.buffer(x.storage, (33, 20), dtypes.uint32)
    near, far = graph.shrink(x, ((0, 32), (0, 20))), graph.shrink(x, ((1, 33), (0, 20)))
    back = graph.flip(x, (0, 1))
    total = graph.reduce(Op.ADD, add(back, graph.reshape(row, (33, 20))), (0,))
    exactly(
        case,
        {
            "neighbours": sub(far, near),
            "a row and its reverse": add(row, graph.flip(row, (0,))),
            "the bits of itself": graph.elementwise(Op.XOR, graph.bitcast(bits, int32), back),
            "a sum of both ways": add(x, total),
            "itself, set to its reverse and itself": graph.assign(x, add(back, x)),
            "a part, set to the part after it": graph.assign(near, far),
        },
    )


def exactly(case: Case, named: dict[str, Node]) -> None:
    """The nodes, realized together, are what the graph means, to the bit."""
    wanted = evaluate(list(named.values()), engine.read)
    for name, got, right in zip(named, case.run(*named.values()), wanted, strict=True):
        require_bits(name, got, np.ascontiguousarray(right))


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


def test_near_constants(case: Case) -> None:
    """Kernels that differ in one constant, by a bit, a sign or a byte, are kernels of their own."""
    case.claims(float32, int32)
    x = case.rng.uniform(1, 2, 65).astype(np.float32)
    n = case.rng.integers(-(1 << 31), 1 << 31, 65, dtype=np.int64).astype(np.int32)
    near = (1.5, 1.5 + 2.0**-23, -1.5, 15.0, 0.15, 1.5e10, 16777215.0, 16777216.0)
    far = (1, 256, 65536, 1 << 24, -1, 255, 65535, 11)
    for _ in range(2):  # and again, from what is kept
        # each reads an array of its own: what reads the same one may be one kernel
        nodes = [graph.elementwise(Op.MUL, case.place(x), graph.full(c, x.shape, float32)) for c in near]
        nodes += [graph.elementwise(Op.XOR, case.place(n), graph.full(c, n.shape, int32)) for c in far]
        got = case.run(*nodes)
        for c, y in zip(near, got, strict=False):
            judge(Op.MUL, float32, y, (x, np.full(x.shape, c, np.float32)), case.spec)
        for c, y in zip(far, got[len(near) :], strict=True):
            require_bits(f"XOR {c}", y, n ^ np.int32(c), (n,))


def test_near_dtypes(case: Case) -> None:
    """Kernels that differ in their dtype alone are kernels of their own."""
    held = [d for d in dtypes.ALL if d in case.spec.dtypes and not d.is_bool]
    x, y = case.rng.integers(1, 3, 65), case.rng.integers(1, 3, 65)
    for _ in range(2):
        pairs = [[case.place(v.astype(d.numpy)) for v in (x, y)] for d in held]
        for d, got in zip(held, case.run(*(graph.elementwise(Op.ADD, *p) for p in pairs)), strict=True):
            require_bits(f"ADD {d}", got, (x + y).astype(d.numpy))


def test_near_shapes(case: Case) -> None:
    """Kernels that differ in their shape, or the order of their axes alone, are kernels of their own."""
    case.claims(int32)
    x = case.rng.integers(-999, 999, 24).astype(np.int32)
    shapes = [(24, 1), (1, 24), (4, 6), (6, 4), (3, 8), (8, 3), (2, 12), (12, 2)]
    for _ in range(2):
        placed = [case.place(x.reshape(shape)) for shape in shapes]
        sums = [(p, axis) for p in placed for axis in (0, 1)]
        nodes = [graph.reduce(Op.ADD, p, (axis,)) for p, axis in sums]
        nodes += [graph.contiguous(graph.permute(p, (1, 0))) for p in placed]
        titles = [f"ADD of {list(p.shape)} over axis {axis}" for p, axis in sums]
        titles += [f"{list(p.shape)} across" for p in placed]
        exactly(case, dict(zip(titles, nodes, strict=True)))
