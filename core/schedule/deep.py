"""Deep: a product over more terms than a packed panel holds, a block of its terms at a time.

In: the loop over columns that becomes lanes and the loop over rows, around one reduction whose panel of
columns would not stay near. Out: for blocks of rows and groups of columns, the sums of all their results in
scratch memory: set to the identity, then for each block of terms the panels of the group (``panels``), whose
tiles add what they reduce to the sums, and at the end the rest of the kernel, which reads the sums. A block
of the rows' operand stays near while the panels of a group pass over it.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from .. import value as val
from ..index import variable
from ..loops import Body, Loop, Memory, Scratch, Stmt, Store, values
from ..ops import Op, identity
from ..record import dataclass
from ..value import Access
from .panels import REUSE, Tile, panels
from .scheduling import Scheduling
from .stripe import column, reading
from .transforms import by_blocks, chunks, split_chunks

ROWS = 256
"""Of a block: enough to repay a panel's copy many times."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How a product is cut.

    Attributes:
        terms: of the outermost loop of the reduction, in a block.
        rows, columns: whose sums wait together.
        by_rows: whether threads share out the rows, and not the columns.
    """

    terms: int
    rows: int
    columns: int
    by_rows: bool


def depth(work: Scheduling, tile: Tile, rows: Loop, around: int) -> Depth | None:
    """How to cut it, where its panels are too long as they are and one reduction is all there is; else None.

    Args:
        around: iterations of the loops around both.
    """
    held = column(rows.body)
    spec, first = work.spec, tile.across[0]
    if held is None or rows.extent < REUSE * tile.height or first.lanes == 1:
        return None
    if first.iterations < 2 or tile.vector.extent % first.lanes:
        return None  # one panel is read from end to end as it is; of what adds to sums no column runs twice
    size = max(v.dtype.itemsize for v in values(held.reduced))
    panel = first.unroll * first.lanes
    long = held.reduced[0].extent
    term = prod(n.extent for n in held.reduced[1:]) * size
    if not tile.room or long * term * panel <= tile.room:
        return None
    terms = min(tile.room // (2 * panel * term), spec.near_bytes // (2 * ROWS * term))
    if terms < 2:
        return None
    terms = next((n for n in range(terms, terms // 2, -1) if long % n == 0), terms)
    apart = -(-spec.threads // around)
    most = spec.near_bytes // (4 * ROWS * held.acc.dtype.itemsize)
    by_columns = _evenly(tile.vector.extent, panel, most, apart)
    by_rows = _evenly(rows.extent, tile.height, ROWS, apart)
    if by_columns.share <= by_rows.share:
        return Depth(terms, _evenly(rows.extent, tile.height, ROWS, 1).size, by_columns.size, by_rows=False)
    return Depth(terms, by_rows.size, _evenly(tile.vector.extent, panel, most, 1).size, by_rows=True)


@dataclass(frozen=True, slots=True)
class _Cut:
    """The size of blocks, and the share of a loop that the busiest thread has."""

    size: int
    share: float


def _evenly(extent: int, unit: int, most: int, threads: int) -> _Cut:
    """A loop in blocks of at most ``most`` or one ``unit``, which leave threads idle least; large ones first.

    What is left after the whole blocks is nobody's share: it follows them.
    """
    sizes = range(unit, max(min(extent + unit - 1, most), unit) + 1, unit)

    def share(size: int) -> float:
        whole, rest = divmod(extent, min(size, extent))
        return (-(-whole // threads) * min(size, extent) + rest) / extent

    best = min(reversed(sizes), key=share)
    return _Cut(min(best, extent), share(best))


def deepened(work: Scheduling, tile: Tile, rows: Loop, cut: Depth) -> Body:
    """Blocks of rows and groups of columns, each with its sums."""
    held = column(rows.body)
    assert held is not None
    by = {rows.var: cut.rows, tile.vector.var: cut.columns}
    work.note(f"deepen {held.reduced[0].var} by {cut.terms}")
    work.note(f"split {', '.join(f'{var} by {size}' for var, size in by.items())}")
    outer, inner = replace(tile.vector, body=()), replace(rows, body=())
    if cut.by_rows:
        outer, inner = inner, outer

    def within(part: Loop) -> Body:
        (inside,) = part.body
        assert isinstance(inside, Loop)

        def both(rest: Loop) -> Body:
            own, columns = (part, rest) if cut.by_rows else (rest, part)
            return _summed(tile, replace(own, body=rest.body), columns, cut.terms)

        return by_blocks(inside, by[inner.var], both)

    return by_blocks(replace(outer, body=(replace(inner, body=rows.body),)), by[outer.var], within)


def _summed(tile: Tile, rows: Loop, columns: Loop, terms: int) -> Body:
    """The results of some rows and columns; what is computed stands in the rows' loop."""
    held, first = column(rows.body), tile.across[0]
    assert held is not None
    acc, name = held.acc, f"sums_{rows.var}_{columns.var}"
    at = variable(rows.var, rows.extent) * columns.extent + variable(columns.var, columns.extent)
    sums = val.make(Op.LOAD, acc.dtype, (), Access(name, at, ()))
    start = val.number(identity(acc.op, acc.dtype), acc.dtype)
    added = Store(name, at, val.primitive(acc.op, sums, val.ref(acc.name, acc.dtype)))
    pieces = tuple(chunks(columns.extent, first.lanes, first.unroll))
    part = replace(tile, vector=columns, across=pieces, always=True)

    def each(*body: Stmt) -> Loop:
        return replace(rows, body=split_chunks(replace(columns, body=body), pieces))

    def block(reduced: Loop) -> Body:
        return panels(part, replace(rows, body=(*held.before, acc, reduced, added)))

    return (
        Scratch(Memory(name, acc.dtype, rows.extent * columns.extent, written=True)),
        each(Store(name, at, start)),
        *by_blocks(held.reduced[0], terms, block),
        each(*held.before, *(reading(s, acc.name, sums) for s in held.after)),
    )
