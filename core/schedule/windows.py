"""Windows: results side by side, each of a few elements of its own, as in pooling.

In: loops over results around short reductions that share nothing. Out: the loop along which results lie side
by side as lanes, where their windows lie one or two elements apart: a load of each other element is two loads
and a shuffle (``strided``). Results at the ends, whose windows reach over the edge, are computed one by one;
those between need no guards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from ..index import Mask, variable
from ..loops import Body, Loop, Scratch, Stmt, Store, statements
from ..rename import substitute
from .elementwise import TINY
from .nest import keeps_order, perfect
from .scheduling import Scheduling, loads, unrolled
from .transforms import Chunk, chunks, split_chunks

EDGE = 3
"""Results at each end that may need guards."""


def windowed(work: Scheduling, nest: Sequence[Loop], outermost: bool) -> Body | None:
    """Results of neighbouring windows as lanes; None where they are too few or too wide, or lie otherwise."""
    loop = nest[-1]
    lanes = work.lanes(loop.body)
    if lanes == 1 or any(isinstance(s, Scratch) for s in statements(loop.body)):
        return None
    reduced = [perfect(s) for s in loop.body if isinstance(s, Loop)]
    if any(n.extent >= lanes or keeps_order(n) for window in reduced for n in window):
        return None
    stores = [s for s in statements(loop.body) if isinstance(s, Store)]
    if any(s.index.coefficient(loop.var) != 1 or _is_guarded(s.guard, loop) for s in stores):
        return None
    if any(a.index.coefficient(loop.var) not in (0, 1, 2) for a in loads(loop.body)):
        return None
    ends = _edges(loop)
    if ends is None:
        return None
    first, last = ends
    inner = loop.extent - first - last
    if inner < 4 or not work.decisions.whether(f"lanes of {loop.var}"):
        return None
    pieces = [Chunk(0, first, 1, 1)] if first else []
    for c in chunks(inner, lanes, 1, twice=work.again(loop.body)):
        pieces.append(Chunk(c.start + first, c.iterations, c.unroll, c.lanes, c.again))
    pieces += [Chunk(loop.extent - last, last, 1, 1)] if last else []
    work.note(f"vectorize {loop.var} as {', '.join(map(str, pieces))}")
    body: list[Stmt] = []
    for s in loop.body:
        window = perfect(s) if isinstance(s, Loop) else []
        small = 1 < prod(n.extent for n in window) <= TINY
        if small:
            work.note(f"unroll {', '.join(n.var for n in window)}")
        body.append(unrolled(window, window[-1].body) if small else s)
    return work.finish(nest[:-1], split_chunks(replace(loop, body=tuple(body)), pieces), outermost)


def _edges(loop: Loop) -> tuple[int, int] | None:
    """How many results at the first and at the last end have guards; None of more than ``EDGE``."""
    for last in range(EDGE + 1):
        for first in range(EDGE + 1):
            between = loop.extent - first - last
            if between < 1:
                continue
            body = substitute(loop.body, {loop.var: variable(loop.var, between) + first})
            if not any(_is_guarded(a.guard, loop) for a in loads(body)):
                return first, last
    return None


def _is_guarded(guard: Mask, loop: Loop) -> bool:
    return any(loop.var in m.names() for m in guard)
