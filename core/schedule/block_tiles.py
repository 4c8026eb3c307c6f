"""Contractions by blocks of threads: what a block reads again is staged in memory that its threads share.

In: a nest of output loops around one reduction, in which some loads go with one group of output loops (the
rows), others with another (the columns). Out: a block for each tile of rows and columns, a step of its
reduction at a time: its threads copy the step's operands side by side into shared memory (``stage``), meet,
and each adds what the step gives to its own results, which wait in registers, several rows by several
columns. A tile that reaches over the edge reads nothing there and stores nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import prod

from ..device import Spec
from ..index import Index, Mask, both, constant, variable
from ..loops import Barrier, Bind, Body, Loop, Memory, Scratch, Stmt, Store, statements, values
from ..masking import guarded
from ..ops import Op
from ..record import dataclass
from ..rename import substitute
from ..value import Access, Value, toposort
from .nest import perfect, wrap
from .scheduling import loads
from .stage import stage
from .stripe import column
from .together import THREAD, deal
from .transforms import by_blocks, fused, split

FEWEST = 32
"""Rows, and columns, below which a block has too little to share."""
STEP = 16
"""Terms of a step of the reduction, of which a whole one is wanted at least."""
SHARED_READ = 2.0
"""What a load from shared memory costs, in multiply-adds."""


@dataclass(frozen=True, slots=True)
class Contraction:
    """A nest of results around one reduction, told apart by what reads what.

    Attributes:
        around: output loops that all loads of the reduction go with, or none.
        rows, columns: the others of each group as one loop; ``rows`` holds the statements of one result.
    """

    around: tuple[Loop, ...]
    rows: Loop
    columns: Loop


@dataclass(frozen=True, slots=True)
class Shape:
    """How a block is cut.

    Attributes:
        down, across: its threads, along rows and along columns.
        rows, columns: results of one thread, along each.
        lanes: of its columns that lie side by side, as a vector.
        step: terms of the reduction that are staged at a time.
    """

    down: int
    across: int
    rows: int
    columns: int
    lanes: int
    step: int

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.down * self.across

    def __str__(self) -> str:
        return f"{self.down}x{self.across} threads of {self.rows}x{self.columns}, {self.step} terms at a time"


def contraction(nest: Sequence[Loop], inner: Body) -> Contraction | None:
    """The nest as rows and columns of one reduction; None where it has none, or shares nothing."""
    held = column(inner)
    if held is None:
        return None
    reduced = {n.var for n in held.reduced}
    read = [a for a in loads(held.reduced[-1].body) if not reduced.isdisjoint(a.names())]
    groups: dict[frozenset[int], list[Loop]] = {}
    for loop in nest:
        groups.setdefault(frozenset(i for i, a in enumerate(read) if loop.var in a.names()), []).append(loop)
    sides = [g for g in groups if g and len(g) < len(read)]
    stores = [s for s in statements(inner) if isinstance(s, Store)]

    def along(g: frozenset[int]) -> bool:
        return any(s.index.coefficient(n.var) == 1 for n in groups[g] for s in stores)

    def results(g: frozenset[int]) -> int:
        return prod(n.extent for n in groups[g])

    pairs = [(a, b) for a, b in product(sides, sides) if a.isdisjoint(b)]
    if not pairs:
        return None
    down, across = max(pairs, key=lambda p: (min(results(p[0]), results(p[1])), along(p[1]), not along(p[0])))
    columns = fused(groups[across], inner)
    rows = fused(groups[down], columns.body)
    chosen = {*groups[down], *groups[across]}
    return Contraction(tuple(n for n in nest if n not in chosen), rows, replace(columns, body=()))


def shapes(found: Contraction, spec: Spec, lanes: int) -> list[Shape]:
    """The ways to cut it that fit a device, the best first; none where a block has too little to share.

    Args:
        lanes: of a vector of its results.
    """
    held = column(found.rows.body)
    assert held is not None
    terms = prod(n.extent for n in held.reduced)
    threads = min(256, 1 << (spec.max_block.bit_length() - 1))
    if min(found.rows.extent, found.columns.extent) < FEWEST or terms < STEP or threads < spec.warp:
        return []
    follows = all(s.index.coefficient(found.columns.var) == 1 for s in held.after if isinstance(s, Store))
    lanes = lanes if follows else 1
    across = 1 << (threads.bit_length() // 2)
    down = threads // across
    size = max(v.dtype.itemsize for v in values(held.reduced))
    most = spec.knobs.vectors * 4  # registers of four bytes
    tiles = product({spec.knobs.rows, 4, 2}, {most, 4, 2})
    fits = [
        Shape(down, across, rows, columns, lanes, step)
        for step in (STEP, STEP // 2)
        for rows, columns in tiles
        if columns % lanes == 0
        and step * (down * rows + across * columns + 2 * lanes) * size <= spec.local_bytes
    ]
    return sorted(fits, key=lambda shape: (-shape.step, _cost(shape, found, spec)))


def _cost(shape: Shape, found: Contraction, spec: Spec) -> float:
    """The time of one term of all results, in multiply-adds of a thread."""
    down = -(-found.rows.extent // (shape.down * shape.rows))
    across = -(-found.columns.extent // (shape.across * shape.columns))
    blocks = down * across * prod(n.extent for n in found.around)
    rounds = -(-blocks // max(1, spec.threads // shape.threads))
    reads = shape.rows + shape.columns / shape.lanes
    return rounds * (shape.rows * shape.columns + SHARED_READ * reads)


@dataclass(frozen=True, slots=True)
class Blocked:
    """A contraction in blocks: the loops over them, and what the threads of one do."""

    blocks: list[Loop]
    body: Body


def blocked(found: Contraction, shape: Shape) -> Blocked:
    """The contraction in blocks of that shape."""
    rows, columns = found.rows, found.columns
    thread = variable(THREAD, shape.threads)
    row = _Side(rows, shape.down * shape.rows, shape.rows)
    col = _Side(columns, shape.across * shape.columns, shape.lanes)
    body = col.placed(row.placed(rows.body))
    held = column(body)
    assert held is not None
    u, w, lane = (variable(f"{columns.var}_{x}", n) for x, n in
                  (("r", shape.rows), ("w", shape.columns // shape.lanes), ("l", shape.lanes)))  # fmt: skip
    mine = {
        row.inner.var: thread // shape.across * shape.rows + u,
        col.inner.var: w * (shape.across * shape.lanes) + thread % shape.across * shape.lanes + lane,
    }
    reduced = fused(held.reduced, held.reduced[-1].body)
    memories: dict[str, Memory] = {}

    def step(part: Loop) -> Body:
        copies: list[Stmt] = []
        steps: Body = (part,)
        for i, load in enumerate(_staged(part, row.inner.var, col.inner.var)):
            access = load.arg
            assert isinstance(access, Access)
            side = row if row.inner.var in access.names() else col
            turned = access.index.coefficient(part.var) == 1  # its copies are stored a row apart
            name = f"block_{reduced.var}_{i}"
            made = stage(
                steps, load, (part, side.inner), name, apart=shape.lanes if turned else 0, shared=True
            )
            memories.setdefault(name, made.scratch.memory)
            steps = made.body
            for copy in made.copy:
                assert isinstance(copy, Loop)
                copies += _dealt(copy, shape)
        return (*copies, Barrier(), *steps, Barrier())

    whole = by_blocks(reduced, shape.step, step)
    body = substitute((*held.before, held.acc, *whole, *held.after), mine)
    if shape.lanes > 1:
        body = (Loop(f"{columns.var}_l", shape.lanes, body, Bind.VECTOR),)
    else:
        body = substitute(body, {f"{columns.var}_l": constant(0)})
    body = (Loop(f"{columns.var}_w", shape.columns // shape.lanes, body, Bind.UNROLL),)
    body = (Loop(f"{columns.var}_r", shape.rows, body, Bind.UNROLL),)
    shared = tuple(Scratch(m) for m in memories.values())
    threads = Loop(THREAD, shape.threads, (*shared, *body), Bind.THREAD)
    return Blocked([*found.around, row.outer, col.outer], (threads,))


class _Side:
    """A loop over results as one over blocks and one in a block, which may reach over its end."""

    def __init__(self, loop: Loop, size: int, unit: int) -> None:
        self.var = loop.var
        self.outer = Loop(f"{loop.var}_b", -(-loop.extent // size), ())
        self.inner = Loop(f"{loop.var}_i", size, ())
        self.at = variable(self.outer.var, self.outer.extent) * size + variable(self.inner.var, size)
        whole = unit if loop.extent % unit == 0 else 1  # what a thread has together is in, or is out
        self.held: Mask = both((constant(loop.extent // whole - 1) - self.at // whole,))

    def placed(self, body: Body) -> Body:
        """Statements in terms of both; what they read and store over the end is guarded."""

        def inside(index: Index, guard: Mask) -> Mask:
            names = index.names().union(*(g.names() for g in guard))
            return both(guard, self.held) if self.var in names else guard

        return substitute(guarded(body, inside), {self.var: self.at})


def _staged(part: Loop, row: str, col: str) -> Iterator[Value]:
    """The loads that are worth staging: they go with rows or with columns, and with the reduction."""
    for v in toposort(values((part,))):
        if v.op is Op.LOAD and isinstance(v.arg, Access):
            names = v.arg.names()
            if part.var in names and (row in names) != (col in names):
                yield v


def _dealt(copy: Loop, shape: Shape) -> Body:
    """A copy shared out among the threads, whose loads are vectors where what they read lies so."""
    nest = perfect(copy)
    last, (store,) = nest[-1], nest[-1].body
    assert isinstance(store, Store)
    access = store.value.arg
    assert isinstance(access, Access)
    along = access.index.coefficient(last.var) == 1 and store.index.coefficient(last.var) is not None
    if shape.lanes > 1 and along and last.extent % shape.lanes == 0:
        (cut,) = split(last, shape.lanes, Bind.VECTOR)
        assert isinstance(cut, Loop)
        vector = cut.body
        assert isinstance(vector[0], Loop)
        inside = [a for a in loads(vector) if any(vector[0].var in g.names() for g in a.guard)]
        if not inside:
            return deal(wrap([*nest[:-1], cut], vector), shape.threads)
    return deal(copy, shape.threads)
