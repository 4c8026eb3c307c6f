"""Contractions on tensor cores: loops become tiles that a warp multiplies together.

In: a nest of output loops around one sum of products, whose factors (before they are widened) are of a
tile's operand dtype, and whose loops the tile divides. Out: a block for each few tiles of results, whose
threads load the elements that the tile's layout gives them, multiply the tiles, and run the epilogue on what
they hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..index import Index, variable
from ..loops import Acc, Bind, Body, Let, Loop, Multiply, Stmt, Store, Update
from ..ops import Op
from ..record import dataclass
from ..rename import rename, substitute, substitute_value
from ..tile import Layout, Tile
from ..value import Value, indices, toposort
from .nest import perfect

THREAD = "t"
"""The variable of the loop over threads."""
PER_BLOCK = 4
"""Tiles of results that a block computes along rows and along columns, at most: they share operands."""


@dataclass(frozen=True, slots=True)
class _Fit:
    """A tile, and the loops that it takes: rows and columns of the results, and what is summed over."""

    tile: Tile
    rows: Loop
    columns: Loop
    summed: Loop
    a: Value
    b: Value


@dataclass(frozen=True, slots=True)
class Tiled:
    """A contraction in tiles: the loops over blocks, the body of a block, and what was done in words."""

    blocks: list[Loop]
    body: Body
    how: str


def tensorize(nest: Sequence[Loop], inner: Body, tiles: Sequence[Tile]) -> Tiled | None:
    """The contraction in the first tile that fits; None where none does."""
    if len(inner) < 3:
        return None
    acc, loop, epilogue = inner[0], inner[1], inner[2:]
    if not isinstance(acc, Acc) or acc.op is not Op.ADD or not isinstance(loop, Loop):
        return None
    if any(not isinstance(s, Let | Store) for s in epilogue):
        return None
    sums = perfect(loop)
    if len(sums[-1].body) != 1 or not isinstance(update := sums[-1].body[0], Update):
        return None
    fit = next(_fits(nest, acc, sums, update.value, tiles), None)
    if fit is None:
        return None
    tile, rows, columns = fit.tile, fit.rows, fit.columns
    down, across = (_share(n.extent // size) for n, size in ((rows, tile.m), (columns, tile.n)))
    thread = variable(THREAD, tile.threads)
    i, j, k = (variable(f"{n.var}_b", n.extent // size // copies) * (size * copies)
               + variable(f"{n.var}_c", copies) * size
               for n, size, copies in ((rows, tile.m, down), (columns, tile.n, across),
                                       (fit.summed, tile.k, 1)))  # fmt: skip

    def of(
        value: Value, layout: Layout, first: tuple[Loop, Index], second: tuple[Loop, Index]
    ) -> tuple[Value, ...]:
        (r, at_row), (c, at_column) = first, second
        return tuple(
            substitute_value(
                value, {r.var: at_row + layout.row(thread, e), c.var: at_column + layout.column(thread, e)}
            )
            for e in range(layout.elements)
        )

    names = tuple(f"{acc.name}_{e}" for e in range(tile.c.elements))
    product = Multiply(
        tile,
        names,
        of(fit.a, tile.a, (rows, i), (fit.summed, k)),
        of(fit.b, tile.b, (fit.summed, k), (columns, j)),
    )
    steps: Body = (Loop(f"{fit.summed.var}_b", fit.summed.extent // tile.k, (product,)),)
    for around in reversed([s for s in sums if s is not fit.summed]):
        steps = (replace(around, body=steps),)
    out: list[Stmt] = [replace(acc, name=n) for n in names]
    out += steps
    for e, name in enumerate(names):
        at = {rows.var: i + tile.c.row(thread, e), columns.var: j + tile.c.column(thread, e)}
        own = {s.name: f"{s.name}_{e}" for s in epilogue if isinstance(s, Let)}
        out += rename(substitute(epilogue, at), {acc.name: name, **own})
    body: Body = tuple(out)
    for n, copies in ((columns, across), (rows, down)):
        if copies > 1:
            body = (Loop(f"{n.var}_c", copies, body, Bind.UNROLL),)
    sizes = {rows.var: rows.extent // tile.m // down, columns.var: columns.extent // tile.n // across}
    blocks = [Loop(f"{n.var}_b", sizes[n.var], ()) if n.var in sizes else n for n in nest]
    block = (Loop(THREAD, tile.threads, body, Bind.THREAD),)
    loops = ", ".join(n.var for n in (rows, columns, fit.summed))
    return Tiled(blocks, block, f"tensorize {loops} as {down}x{across} of {tile}")


def _fits(
    nest: Sequence[Loop], acc: Acc, sums: Sequence[Loop], value: Value, tiles: Sequence[Tile]
) -> Iterator[_Fit]:
    if value.op is not Op.MUL:
        return
    for tile in tiles:
        if acc.dtype is not tile.c.dtype:
            continue
        x, y = (_narrow(v, tile) for v in value.srcs)
        if x is None or y is None:
            continue
        for a, b in ((x, y), (y, x)):
            in_a, in_b = _names(a), _names(b)
            for columns in reversed(nest):
                for rows in reversed(nest):
                    if columns.var in in_b - in_a and rows.var in in_a - in_b:
                        for s in reversed(sums):
                            divides = not (
                                rows.extent % tile.m or columns.extent % tile.n or s.extent % tile.k
                            )
                            if divides and s.var in in_a & in_b:
                                yield _Fit(tile, rows, columns, s, a, b)


def _narrow(v: Value, tile: Tile) -> Value | None:
    """A factor of the tile's operand dtype, before it is widened; None when it is another's."""
    if v.dtype is tile.a.dtype:
        return v
    return v.srcs[0] if v.op is Op.CAST and v.srcs[0].dtype is tile.a.dtype else None


def _names(value: Value) -> frozenset[str]:
    """The loop variables that a value depends on."""
    found: set[str] = set()
    for v in toposort([value]):
        for i in indices(v):
            found |= i.names()
    return frozenset(found)


def _share(tiles: int) -> int:
    return next(c for c in range(PER_BLOCK, 0, -1) if tiles % c == 0)
