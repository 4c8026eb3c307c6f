"""Register tiles: one output loop as lanes, another unrolled around the reductions inside, in column panels.

In: the loop over rows, whose body holds the loop that becomes lanes' body: accumulators, reductions, stores.
Out: loops over column panels, in each of which tiles follow each other down the rows; a tile's accumulators
are variables of their own, which the reductions update side by side. What every tile of a panel reads again
is packed first (``stage``), where there are tiles enough to repay the copy and a near cache has room; a
reduction over several loops then walks what is packed by one.

Where the rows' own operand lies far apart along the reduction, as of a transposed matrix, each step down it
costs a cache line and soon a page. Then panels form groups, whose tiles take turns: a strip of rows is packed
once for all panels of a group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod

from ..loops import Bind, Body, Loop, Memory, Stmt, statements, values
from ..merge import merge_loops
from ..ops import Op
from ..record import dataclass
from ..value import Access, Value, toposort
from .nest import wrap
from .stage import stage
from .transforms import Chunk, by_blocks, chunks, split_chunks

REUSE = 4
"""Tiles that must read a packed panel for it to be worth its copy, and panels a packed strip of rows."""
FAR = 512
"""Elements apart from which on each step down an operand costs a cache line, and soon a page, of its own."""


@dataclass(frozen=True, slots=True)
class Tile:
    """How results are tiled.

    Attributes:
        vector: the output loop whose iterations become lanes.
        across: how it is cut: each iteration of a chunk is a panel.
        height: rows of a tile.
        room: bytes that a packed panel may have; 0: nothing is packed.
        near: bytes of an operand that need no packing, since it stays in the nearest cache whole.
        memories: the kernel's parameters by name.
        groups: of panels there should be at least, so that no thread is idle.
        always: whether panels are packed however few tiles read them: they are filled up, or turned.
        note: told of each step.
    """

    vector: Loop
    across: tuple[Chunk, ...]
    height: int
    room: int
    near: int
    memories: Mapping[str, Memory]
    groups: int
    note: Callable[[str], None]
    always: bool = False


def panels(tile: Tile, rows: Loop) -> Body:
    """The panels of all results of ``rows``."""
    down = chunks(rows.extent, 1, tile.height)
    tile.note(f"unroll {rows.var} as {', '.join(map(str, down))}")
    mine = {f"{rows.var}{'abcdefgh'[k]}_{part}" for k in range(len(down)) for part in "ou"}
    wide = _group(tile, rows)
    if not wide:
        body = split_chunks(replace(tile.vector, body=split_chunks(rows, down)), tile.across)
        return merge_loops(tuple(_packed(panel, tile, rows, mine) for panel in sink(body)))

    def group(columns: Loop) -> Body:
        pieces = chunks(columns.extent, tile.across[0].lanes, tile.across[0].unroll)
        return sink(split_chunks(replace(rows, body=split_chunks(columns, pieces)), down), innermost=True)

    tile.note(f"split {tile.vector.var} by {wide}")
    groups = [_packed(s, tile, rows, mine) for s in by_blocks(tile.vector, wide, group)]
    return merge_loops(
        tuple(
            replace(
                g, body=tuple(_strip(s, tile) if isinstance(s, Loop) and s.var in mine else s for s in g.body)
            )
            for g in groups
        )
    )


def _group(tile: Tile, rows: Loop) -> int:
    """Columns of a group of panels; 0 where each panel is by itself."""
    reductions = [s for s in statements(rows.body) if isinstance(s, Loop)]
    far = any(
        load.op is Op.LOAD and isinstance(load.arg, Access)
        and load.arg.index.coefficient(rows.var) == 1 and not load.arg.guard
        and tile.vector.var not in load.arg.index.names()
        and any(abs(load.arg.index.coefficient(r.var) or 0) >= FAR for r in reductions)
        for load in toposort(values(rows.body))
    )  # fmt: skip
    if not far or rows.extent < REUSE * tile.height:
        return 0
    panel = tile.across[0].unroll * tile.across[0].lanes
    most = tile.across[0].iterations // tile.groups
    size = prod(r.extent for r in reductions) * panel * max(v.dtype.itemsize for v in values(rows.body))
    most = min(most, tile.room // size)
    return max((n for n in range(REUSE, most + 1) if tile.across[0].iterations % n == 0), default=0) * panel


def _strip(strip: Loop, tile: Tile) -> Loop:
    """Tiles side by side that share their rows, with what only these rows read packed first."""

    def walked(load: Value, access: Access, inside: Mapping[str, Loop]) -> list[Loop]:
        names = access.index.names()
        loops = [loop for var, loop in inside.items() if var in names]
        copies = [loop for loop in loops if loop.bind is Bind.UNROLL]
        reduced = [loop for loop in loops if loop.bind is Bind.SERIAL]
        if access.guard or strip.var not in names or not reduced:
            return []
        if len(copies) != 1 or len(loops) != 1 + len(reduced):
            return []
        fills = copies[0].extent >= 4 and tile.across[0].lanes % copies[0].extent == 0
        if fills and access.index.coefficient(copies[0].var) == 1:  # then rows are copied as lanes
            copies = [replace(copies[0], bind=Bind.VECTOR)]
        return [*reduced, *copies]

    return _staged(strip, tile, "strip", walked)


def _packed(panel: Stmt, tile: Tile, rows: Loop, down: set[str]) -> Loop:
    """The panel with the operands packed that all of its tiles read; ``down`` are the loops over rows."""
    assert isinstance(panel, Loop)
    if rows.extent < REUSE * tile.height and not tile.always:
        return panel

    def walked(load: Value, access: Access, inside: Mapping[str, Loop]) -> list[Loop]:
        """None where a position is made of rows, of columns alone, or of what the kernel computes."""
        names = access.names()
        if not names.isdisjoint(down) or tile.memories[access.memory].nbytes <= tile.near:
            return []
        loops = [loop for var, loop in inside.items() if var in names]
        columns = [loop for loop in loops if loop.bind in (Bind.UNROLL, Bind.VECTOR)]
        reduced = [loop for loop in loops if loop.bind is Bind.SERIAL]
        fits = prod(loop.extent for loop in loops) * load.dtype.itemsize <= tile.room
        return [*reduced, *columns] if reduced and columns and fits else []

    return _staged(panel, tile, "panel", walked)


Walked = Callable[[Value, Access, Mapping[str, Loop]], list[Loop]]
"""Of a load, the loops that its position is made of, neighbours last; none where it stays as it is."""


def _staged(around: Loop, tile: Tile, name: str, walked: Walked) -> Loop:
    """The loop with what it reads again packed first."""
    inside = {s.var: s for s in statements(around.body) if isinstance(s, Loop)}
    body, count = around.body, 0
    for load in toposort(values(around.body)):
        access = load.arg
        if load.op is not Op.LOAD or not isinstance(access, Access):
            continue
        memory = tile.memories.get(access.memory)
        loops = walked(load, access, inside) if memory is not None and not memory.written else []
        if loops:
            tile.note(f"stage {access.memory} by {', '.join(loop.var for loop in loops)}")
            body = stage(body, load, loops, f"{name}_{around.var}_{count}").whole
            count += 1
    return replace(around, body=body)


def sink(body: Body, innermost: bool = False) -> Body:
    """Of each chunk, the unrolled and lane loops moved inside the serial ones that they surround.

    ``o { u { i { o2 { u2 { … } } } } }`` becomes ``o { o2 { u { i { u2 { … } } } } }``, so that what is
    jammed is innermost; or, where that should be ``innermost``, ``o { o2 { u2 { u { i { … } } } } }``. What
    stands outside is jammed last: its copies of a statement are neighbours.
    """
    out: list[Stmt] = []
    for s in body:
        assert isinstance(s, Loop)
        held: list[Loop] = []
        inner: Body = s.body
        while len(inner) == 1 and isinstance(inner[0], Loop) and inner[0].bind in (Bind.UNROLL, Bind.VECTOR):
            held.append(inner[0])
            inner = inner[0].body
        moved: list[Stmt] = []
        for t in inner:
            assert isinstance(t, Loop)
            moved.append(replace(t, body=_within(t.body, held) if innermost else _around(held, t.body)))
        out.append(replace(s, body=tuple(moved)))
    return tuple(out)


def _around(nest: Sequence[Loop], body: Body) -> Body:
    return (wrap(nest, body),) if nest else body


def _within(body: Body, nest: Sequence[Loop]) -> Body:
    """The nest inside the unrolled and lane loops that a body begins with."""
    (s,) = body if len(body) == 1 else (None,)
    if isinstance(s, Loop) and s.bind in (Bind.UNROLL, Bind.VECTOR):
        return (replace(s, body=_within(s.body, nest)),)
    return _around(nest, body)
