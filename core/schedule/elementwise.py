"""Loops around nothing but stores: which of them becomes lanes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from ..loops import Acc, Bind, Body, Let, Loop, Scratch, Store, values
from ..value import Access, toposort
from .scheduling import Scheduling, unrolled
from .transforms import chunks, split_chunks
from .turn import BLOCK, crossing, turned

TINY = 16
"""Iterations of a nest that are written out rather than looped over."""


def elementwise(work: Scheduling, nest: Sequence[Loop], outermost: bool) -> Body:
    """Loops around nothing but stores: the one along memory becomes lanes."""
    inner = nest[-1].body
    if any(isinstance(s, Scratch | Acc) for s in inner):
        return (work.grid(nest[0]) if outermost else nest[0],)
    lets = {s.name for s in inner if isinstance(s, Let)}
    if any(isinstance(s, Store) and not lets.isdisjoint(s.index.names()) for s in inner):
        return (nest[0],)  # at computed positions, iterations may meet: they keep their order
    lanes = work.lanes(inner)
    order = sorted(range(len(nest)), key=lambda i: (work.strides(nest[i].var, inner, True).cost(lanes), -i))
    at = order[0]
    if nest[at].extent < 4 and nest[-1].extent >= 4:
        at = len(nest) - 1
    vector = nest[at]
    around = [*nest[:at], *nest[at + 1 :]]
    rows = _crossed(work, vector, around, inner)
    if rows is not None and work.decisions.whether(f"turn {vector.var}"):
        work.note(f"turn blocks of {rows.var}, {vector.var}")
        body = turned(replace(rows, body=(replace(vector, body=inner),)), lanes)
        return work.finish([n for n in around if n is not rows], body, outermost)
    heavy = sum(1 for v in toposort(values(inner)) if v.srcs) > 24
    once = not around and vector.extent >= lanes  # what is left is not worth code for each narrower vector
    copies = 1 if heavy else work.knob("unroll", vector.var)
    pieces = chunks(vector.extent, lanes, copies, max(4, lanes) if once else 4, work.again(inner))
    if len(pieces) == 1 and pieces[0].lanes == 1:
        if not outermost and prod(n.extent for n in nest) <= TINY:
            work.note(f"unroll {', '.join(n.var for n in nest)}")
            return (unrolled(nest, inner),)
        return (work.grid(nest[0]) if outermost else nest[0],)
    work.note(f"vectorize {vector.var} as {', '.join(map(str, pieces))}")
    cut = split_chunks(replace(vector, body=inner), pieces)
    if around:
        return work.rows(around, cut, outermost)
    if outermost and isinstance(cut[0], Loop) and cut[0].extent > 1:
        work.note(f"grid {cut[0].var} of {cut[0].extent}")
        return (replace(cut[0], bind=Bind.GRID), *cut[1:])
    return cut


def _crossed(work: Scheduling, vector: Loop, around: Sequence[Loop], inner: Body) -> Loop | None:
    """The loop along which operands lie that lie across the lanes, where that is worth turning them."""
    room = work.room()
    if not room.panel or vector.extent < BLOCK:
        return None
    found = set()
    for rows in around:
        for load in crossing(rows, replace(vector, body=inner)) if rows.extent >= BLOCK else ():
            assert isinstance(load.arg, Access)
            memory = work.memories.get(load.arg.memory)
            if memory is not None and not memory.written and memory.nbytes > room.unpacked:
                found.add(rows.var)
    return next(n for n in around if n.var in found) if len(found) == 1 else None
