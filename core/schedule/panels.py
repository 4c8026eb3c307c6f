"""Register tiles: one output loop as lanes, another unrolled around the reductions inside, in column panels.

In: the loop over rows, whose body holds the loop that becomes lanes' body: accumulators, reductions, stores.
Out: loops over column panels, in each of which tiles follow each other down the rows; a tile's accumulators
are variables of their own, which the reductions update side by side. What every tile of a panel reads again
is packed first (``stage``), where there are tiles enough to repay the copy and a near cache has room.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod

from ..loops import Bind, Body, Loop, Memory, Stmt, statements, values
from ..ops import Op
from ..value import Access, Value, toposort
from .nest import wrap
from .stage import stage
from .transforms import Chunk, chunks, split_chunks

REUSE = 4
"""Tiles that must read a packed panel for it to be worth its copy."""


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
        note: told of each step.
    """

    vector: Loop
    across: tuple[Chunk, ...]
    height: int
    room: int
    near: int
    memories: Mapping[str, Memory]
    note: Callable[[str], None]


def panels(tile: Tile, rows: Loop) -> Body:
    """The panels of all results of ``rows``."""
    down = chunks(rows.extent, 1, tile.height, least=2)
    tile.note(f"unroll {rows.var} as {', '.join(map(str, down))}")
    body = split_chunks(replace(tile.vector, body=split_chunks(rows, down)), tile.across)
    mine = {f"{rows.var}{'abcdefgh'[k]}_{part}" for k in range(len(down)) for part in "ou"}
    return tuple(_packed(panel, tile, rows, mine) for panel in sink(body))


def _packed(panel: Stmt, tile: Tile, rows: Loop, down: set[str]) -> Stmt:
    """The panel with the operands packed that all of its tiles read; ``down`` are the loops over rows."""
    assert isinstance(panel, Loop)
    if rows.extent < REUSE * tile.height:
        return panel
    inside = {s.var: s for s in statements(panel.body) if isinstance(s, Loop)}
    body, count = panel.body, 0
    for load in toposort(values(panel.body)):
        loops = _walked(load, inside, down)
        access = load.arg
        if not loops or not isinstance(access, Access):
            continue
        memory = tile.memories.get(access.memory)
        size = prod(loop.extent for loop in loops) * load.dtype.itemsize
        if memory is None or memory.written or memory.nbytes <= tile.near or size > tile.room:
            continue
        tile.note(f"stage {access.memory} by {', '.join(loop.var for loop in loops)}")
        body = stage(body, load, loops, f"panel_{panel.var}_{count}")
        count += 1
    return replace(panel, body=body)


def _walked(load: Value, inside: Mapping[str, Loop], down: set[str]) -> list[Loop]:
    """The loops in a panel that a load's position is made of, the panel's own columns last; none where
    it is made of rows, of columns alone, or of what the kernel computes."""
    if load.op is not Op.LOAD or not isinstance(load.arg, Access):
        return []
    names = frozenset().union(*(i.names() for i in load.arg.indices()))
    if not names.isdisjoint(down) or any(m.names() & down for m in load.arg.guard):
        return []
    loops = [loop for var, loop in inside.items() if var in names]
    columns = [loop for loop in loops if loop.bind in (Bind.UNROLL, Bind.VECTOR)]
    reduced = [loop for loop in loops if loop.bind is Bind.SERIAL]
    return [*reduced, *columns] if reduced and columns else []


def sink(body: Body) -> Body:
    """Of each chunk, the unrolled and lane loops moved inside the serial ones that they surround.

    ``o { u { i { o2 { u2 { … } } } } }`` becomes ``o { o2 { u { i { u2 { … } } } } }``, so that what is
    jammed is innermost.
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
            moved.append(replace(t, body=(wrap(held, t.body),) if held else t.body))
        out.append(replace(s, body=tuple(moved)))
    return tuple(out)
