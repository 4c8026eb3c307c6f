"""Rung 6: movement of every kind, alone and composed, to the bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest

from ...core import engine, graph
from ...core.dtype import ALL, DType, bool_, float32, float64, int8, int32, int64, uint8, uint64
from ...core.evaluate import evaluate
from ...core.graph import Node, toposort
from ...core.ops import PRIMITIVES, Op, is_supported
from ..case import Array, Case
from ..choices import Choices
from ..inputs import guarded, samples, specials
from ..judge import flushed, judge, require_bits
from ..movement import moves, random_shape
from ..shrink import Make, hold

View = Callable[[Node], Node]


def put(node: Node) -> Node:
    """The view in memory of its own, so that a kernel must make it."""
    return graph.contiguous(node)


def agree(case: Case, named: Sequence[tuple[str, Node]]) -> None:
    """The device's arrays of the nodes are those of the graph's meaning, to the bit."""
    nodes = [put(n) for _, n in named]
    wanted = evaluate(nodes, engine.read)
    titles = [f"{name} ({_movements(node)})" for name, node in named]
    for title, got, right in zip(titles, case.run(*nodes), wanted, strict=True):
        require_bits(title, got, np.ascontiguousarray(right).reshape(right.shape))


def _movements(node: Node) -> str:
    """What is done to a buffer, in order."""
    order = [n for n in toposort([node], stop=lambda n: n.storage is not None) if n.storage is None]
    return ", ".join(f"{n.op!r}" for n in order) or "nothing"


def values(case: Case, dtype: DType, *shape: int) -> Node:
    """Placed samples of a shape."""
    return case.place(samples(dtype, case.rng, int(np.prod(shape, dtype=int))).reshape(shape))


SHAPES: dict[str, tuple[int, ...]] = {
    "vector": (37,),
    "matrix": (17, 33),
    "tall": (257, 3),
    "cube": (5, 16, 7),
    "four": (3, 4, 5, 6),
}


def single(x: Node) -> dict[str, Node]:
    """One movement of each kind on each axis."""
    rank = len(x.shape)
    made = {
        "reshape to a row": graph.reshape(x, (x.size,)),
        "reshape with ones": graph.reshape(x, (1, *x.shape, 1)),
        "reverse the axes": graph.permute(x, tuple(reversed(range(rank)))),
        "flip all": graph.flip(x, range(rank)),
        "pad all": graph.pad(x, [(1, 2)] * rank),
        "shrink all": graph.shrink(x, [(1, n - 1) for n in x.shape]),
        "expand in front": graph.broadcast_to(x, (3, *x.shape)),
    }
    for a in range(rank):
        made[f"flip {a}"] = graph.flip(x, (a,))
        made[f"pad before {a}"] = graph.pad(x, [(3, 0) if i == a else (0, 0) for i in range(rank)])
        made[f"pad after {a}"] = graph.pad(x, [(0, 5) if i == a else (0, 0) for i in range(rank)])
        made[f"shrink {a}"] = graph.shrink(x, [(1, 2) if i == a else (0, n) for i, n in enumerate(x.shape)])
        made[f"window {a}"] = graph.window(x, a, 2)
        made[f"window {a}, stride 2"] = graph.window(x, a, 2, stride=2)
        made[f"window {a}, dilation 2"] = graph.window(x, a, 2, dilation=2)
        made[f"roll axes by {a}"] = graph.permute(x, tuple((i + a) % rank for i in range(rank)))
        thin = graph.shrink(x, [(0, 1) if i == a else (0, n) for i, n in enumerate(x.shape)])
        made[f"stride 0 along {a}"] = graph.expand(thin, x.shape)
    return made


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_single(case: Case, shape: tuple[int, ...]) -> None:
    """One movement at a time."""
    case.claims(float32)
    agree(case, list(single(values(case, float32, *shape)).items()))


COMPOSED: dict[str, View] = {
    "transpose of a transpose": lambda x: graph.permute(graph.permute(x, (1, 0)), (1, 0)),
    "reshape after transpose": lambda x: graph.reshape(graph.permute(x, (1, 0)), (x.size,)),
    "transpose after reshape": lambda x: graph.permute(graph.reshape(x, (4, 6, 12)), (2, 0, 1)),
    "flip after pad": lambda x: graph.flip(graph.pad(x, ((2, 0), (0, 3))), (0, 1)),
    "pad after flip": lambda x: graph.pad(graph.flip(x, (0, 1)), ((2, 0), (0, 3))),
    "pad of a pad": lambda x: graph.pad(graph.pad(x, ((1, 0), (0, 1))), ((0, 1), (1, 0))),
    "shrink of a pad": lambda x: graph.shrink(graph.pad(x, ((4, 4), (4, 4))), ((2, 18), (0, 22))),
    "shrink inside the padding only": lambda x: graph.shrink(
        graph.pad(x, ((4, 4), (4, 4))), ((0, 3), (0, 26))
    ),
    "reshape of a pad": lambda x: graph.reshape(graph.pad(x, ((0, 1), (0, 1))), (17 * 19, 1)),
    "pad of a reshape of a pad": lambda x: graph.pad(
        graph.reshape(graph.pad(x, ((0, 0), (1, 1))), (4, 4, 20)), ((1, 0), (0, 1), (2, 2))
    ),
    "expand of a shrink": lambda x: graph.expand(graph.shrink(x, ((3, 4), (0, 18))), (5, 18)),
    "reshape of an expand": lambda x: graph.reshape(graph.broadcast_to(x, (2, 16, 18)), (32, 18)),
    "flip of a reshape of an expand": lambda x: graph.flip(
        graph.reshape(graph.expand(graph.reshape(x, (16, 1, 18)), (16, 3, 18)), (48, 18)), (0,)
    ),
    "window of a window": lambda x: graph.window(graph.window(x, 0, 3, stride=2), 1, 4, dilation=3),
    "windows of a pad": lambda x: graph.window(graph.pad(x, ((1, 1), (1, 1))), 1, 3, stride=3),
    "reshape of a window": lambda x: graph.reshape(graph.window(x, 1, 4), (16 * 15, 4)),
    "permute of a flip of a shrink": lambda x: graph.permute(
        graph.flip(graph.shrink(x, ((1, 15), (2, 17))), (1,)), (1, 0)
    ),
    "diagonal": lambda x: graph.shrink(
        graph.reshape(
            graph.pad(graph.reshape(graph.shrink(x, ((0, 16), (0, 16))), (256,)), ((0, 16),)), (16, 17)
        ),
        ((0, 16), (0, 1)),
    ),
}


@pytest.mark.parametrize("view", COMPOSED.values(), ids=[n.replace(" ", "_") for n in COMPOSED])
def test_composed(case: Case, view: View) -> None:
    """Movements on top of each other, whose indexes and guards must be combined."""
    case.claims(float32)
    agree(case, [("composition", view(values(case, float32, 16, 18)))])


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_every_dtype(case: Case, dtype: DType) -> None:
    """Every width of element is moved whole."""
    case.claims(dtype)
    x = values(case, dtype, 5, 6, 7)
    agree(
        case,
        [
            ("permute", graph.permute(x, (2, 0, 1))),
            ("flip", graph.flip(x, (0, 2))),
            ("pad", graph.pad(x, ((1, 0), (0, 2), (3, 1)))),
            ("window", graph.window(x, 1, 3, stride=2)),
        ],
    )


@pytest.mark.parametrize("rank", range(9))
def test_rank(case: Case, rank: int) -> None:
    """From a scalar to eight axes."""
    case.claims(int32)
    shape = (2, 3, 2, 1, 3, 2, 2, 3)[:rank]
    x = values(case, int32, *shape)
    agree(
        case,
        [
            ("copy", x),
            ("reverse the axes", graph.permute(x, tuple(reversed(range(rank))))),
            ("flip", graph.flip(x, range(0, rank, 2))),
            ("pad", graph.pad(x, [(1, 0) if a % 2 else (0, 1) for a in range(rank)])),
        ],
    )


EMPTY = ((0,), (0, 3), (3, 0), (2, 0, 4))


@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_empty(case: Case, shape: tuple[int, ...]) -> None:
    """No elements: nothing is read, and what is added to them is zeros."""
    case.claims(float32)
    x = values(case, float32, *shape)
    agree(
        case,
        [
            ("copy", x),
            ("reverse the axes", graph.permute(x, tuple(reversed(range(len(shape)))))),
            ("pad to something", graph.pad(x, [(1, 1)] * len(shape))),
            ("negate", graph.elementwise(Op.NEG, x)),
            ("shrink to nothing", graph.shrink(values(case, float32, 4, 4), ((1, 1), (0, 4)))),
        ],
    )


@pytest.mark.parametrize("part", range(8))
def test_random(case: Case, part: int) -> None:
    """Two to six movements, drawn by the seed."""
    case.claims(uint8, int32)

    def movement(choices: Choices, dtype: DType, axes: int, n: int) -> list[Node]:
        shape = random_shape(choices, axes)
        array = choices.array(dtype, int(np.prod(shape, dtype=int)), samples)
        return [moves(choices, case.place(array.reshape(shape)), n)]

    makes: list[Make] = []
    for i in range(16):
        axes, n = int(case.rng.integers(0, 5)), int(case.rng.integers(2, 7))
        makes.append(partial(movement, dtype=(int32, uint8)[i % 2], axes=axes, n=n))
    hold(case, makes, lambda values: agree(case, [(f"movement {i}", v) for i, v in enumerate(values)]))


@pytest.mark.parametrize("dtype", [float32, int32, uint8], ids=str)
def test_computed_between(case: Case, dtype: DType) -> None:
    """Two views of one buffer meet in an operation: windows that overlap, an axis against its reverse."""
    case.claims(dtype)
    array = samples(dtype, case.rng, 33 * 20).reshape(33, 20)
    if case.spec.flushes_subnormals and dtype.is_float:  # then what is computed of them may be a zero
        array = np.where(flushed(array, dtype) == 0, dtype.numpy.type(1), array)
    x = case.place(array)
    op = Op.MAX
    near, far = graph.shrink(x, ((0, 32), (0, 20))), graph.shrink(x, ((1, 33), (0, 20)))
    flipped = graph.flip(x, (0, 1))
    rows = graph.expand(graph.shrink(x, ((4, 5), (0, 20))), (33, 20))
    agree(
        case,
        [
            ("neighbours", graph.elementwise(op, near, far)),
            ("against its reverse", graph.elementwise(op, x, flipped)),
            ("a row against all", graph.elementwise(op, rows, x)),
            ("padded against whole", graph.elementwise(op, graph.pad(near, ((1, 0), (0, 0))), x)),
        ],
    )


def reversed_(case: Case, x: Array) -> Node:
    """``x`` on the device, as a view that walks backwards."""
    return graph.flip(case.place(x[::-1, ::-1]), (0, 1))


def turned(case: Case, x: Array) -> Node:
    """``x`` on the device, as a view across its rows."""
    return graph.permute(case.place(x.T), (1, 0))


def inner(case: Case, x: Array) -> Node:
    """``x`` on the device, as the inner part of something larger."""
    (rows, columns), around = x.shape, np.pad(x, ((2, 1), (1, 3)), mode="wrap")
    return graph.shrink(case.place(around), ((2, 2 + rows), (1, 1 + columns)))


def repeated(case: Case, x: Array) -> Node:
    """The first row of ``x`` on the device, as every row."""
    return graph.expand(case.place(x[:1]), x.shape)


VIEWS = (reversed_, turned, inner, repeated)
"""Operands take these from the first or the third on, round about."""
ELEMENTWISE = [
    pytest.param(op, dtype, id=f"{op.name}-{dtype}")
    for op, row in PRIMITIVES.items()
    if row.reference is not None and op not in (Op.CAST, Op.BITCAST)
    for dtype in (float32, int32, float64, int8, uint8, int64, uint64)
    if is_supported(op, dtype)
]


@pytest.mark.parametrize(("op", "dtype"), ELEMENTWISE)
def test_operands(case: Case, op: Op, dtype: DType) -> None:
    """Each primitive of operands that are views, each another one: reversed, across, a part, repeated."""
    case.claims(dtype, bool_)
    shape = (13, 20)
    a, b = (samples(dtype, case.rng, 260).reshape(shape) for _ in range(2))
    if op in (Op.IDIV, Op.MOD):
        a = np.where(a == dtype.min, dtype.numpy.type(7), a)  # whatever row of b meets it
    for x in (a, b):
        x.reshape(-1)[::3] = np.resize(case.rng.permutation(specials(dtype)), 87)
    if op in (Op.IDIV, Op.MOD):
        a = np.where(a == dtype.min, dtype.numpy.type(7), a)
    a, b = guarded(op, dtype, a, b)
    operands = [a, b][: PRIMITIVES[op].arity] if op is not Op.WHERE else [a > b, a, b]
    nodes, given = [], []
    for first in (0, 2):
        views = [VIEWS[(first + i) % len(VIEWS)] for i in range(len(operands))]
        nodes.append(graph.elementwise(op, *(v(case, x) for v, x in zip(views, operands, strict=True))))
        given.append(
            [
                np.broadcast_to(x[:1], shape) if v is repeated else x
                for v, x in zip(views, operands, strict=True)
            ]
        )
    for got, xs in zip(case.run(*nodes), given, strict=True):
        case.keep(judge(op, dtype, got.reshape(-1), [x.reshape(-1) for x in xs], case.spec))


def test_gather(case: Case) -> None:
    """Rows by position; a position outside gives zeros."""
    case.claims(float32, int32)
    x = values(case, float32, 9, 5)
    index = case.place(np.array([[0, 8, 4], [-1, 9, 3], [2, 2, -100]], np.int32))
    agree(
        case,
        [("GATHER", graph.gather(x, index)), ("GATHER of a view", graph.gather(graph.flip(x, (0,)), index))],
    )


@pytest.mark.parametrize("op", [None, Op.ADD, Op.MAX], ids=["set", "add", "max"])
def test_scatter(case: Case, op: Op | None) -> None:
    """Rows set or folded, in order, more than once; a position outside changes nothing."""
    case.claims(int32)
    x, updates = values(case, int32, 9, 5), values(case, int32, 8, 5)
    index = case.place(np.array([0, 8, 4, 4, -1, 9, 0, 4], np.int32))
    agree(case, [("SCATTER", graph.scatter(x, index, updates, op))])


@pytest.mark.parametrize("size", [70_001, 140_003])
def test_large(case: Case, size: int) -> None:
    """Positions that take more than sixteen bits."""
    case.claims(uint8)
    x = values(case, uint8, size)
    agree(case, [("flip", graph.flip(x, (0,))), ("pad", graph.pad(x, ((3, 2),)))])


def test_large_rows(case: Case) -> None:
    """Rows so far apart that positions take more than sixteen bits."""
    case.claims(int32)
    x = values(case, int32, 3, 40_009)
    agree(case, [("columns", graph.permute(x, (1, 0))), ("last row", graph.shrink(x, ((2, 3), (0, 40_009))))])


@pytest.mark.parametrize("rank", [7, 8])
def test_many_axes(case: Case, rank: int) -> None:
    """Axes of an array of many, exchanged two by two."""
    case.claims(uint8)
    x = values(case, uint8, *(2, 3, 2, 2, 3, 2, 2, 3)[:rank])
    named = []
    for a in range(rank - 1):
        order = [*range(a), a + 1, a, *range(a + 2, rank)]
        named.append((f"axes {a} and {a + 1}", graph.permute(x, tuple(order))))
    agree(case, named)


def test_gathered_twice(case: Case) -> None:
    """Rows by position of rows by position: outside at either step gives zeros."""
    case.claims(int32)
    x = values(case, int32, 9, 3)
    first = case.place(np.array([8, -1, 3, 9, 0, -9], np.int32))
    second = case.place(np.array([0, 1, 5, -1, 6, 2, -6], np.int32))
    agree(case, [("GATHER of a GATHER", graph.gather(graph.gather(x, first), second))])


@pytest.mark.parametrize("op", [Op.ADD, Op.MAX], ids=lambda o: o.name)
def test_scattered_onto_one(case: Case, op: Op) -> None:
    """Every update to the same row."""
    case.claims(int32)
    x, updates = values(case, int32, 4, 3), values(case, int32, 17, 3)
    index = case.place(np.full(17, 2, np.int32))
    agree(case, [(f"SCATTER by {op.name}", graph.scatter(x, index, updates, op))])
