"""Columns that each go through all rows by themselves, as rows that are as wide as the columns are many.

In: ``for c: for r: out[r, c] = …; for u: out[row(u), c] += …``, as a scatter is lowered: every column is one
iteration's own, and what is written lies a whole row apart. Out: ``for a block of c: for r: for c …; for u:
for c …``, in which the innermost loops are lanes, and write what lies side by side. A column still meets its
rows in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..expand import depends
from ..loops import Body, Let, Loop, Stmt, Store
from .scheduling import Scheduling, stores_in
from .transforms import by_blocks, chunks, split_chunks


def by_rows(work: Scheduling, loop: Loop, outermost: bool) -> Body | None:
    """The loop inside those that it holds; None where that is not what it is, or does not pay."""
    lanes = work.lanes(loop.body)
    strides = work.strides(loop.var, loop.body, stores=True)
    if lanes == 1 or loop.extent < 4 or strides.other or not strides.unit:
        return None
    if not any(isinstance(s, Loop) and stores_in(s) for s in loop.body):
        return None
    if sunk(loop) is None or not work.decisions.whether(f"sink {loop.var}"):
        return None
    threads = work.spec.threads if outermost else 1
    width = max(lanes, -(-loop.extent // threads // lanes) * lanes)

    def rows(part: Loop) -> Body:
        inside = sunk(part)
        assert inside is not None
        return _as_lanes(work, inside, part.var, lanes)

    work.note(f"sink {loop.var} by {width}")
    return work.finish([], by_blocks(loop, width, rows), outermost)


def sunk(loop: Loop) -> Body | None:
    """What a loop holds, with the loop around each of its innermost statements; None where that cannot be.

    What does not depend on the loop is computed once, outside of it.
    """
    return _sunk(loop.body, loop)


def _sunk(body: Body, loop: Loop) -> Body | None:
    out: list[Stmt] = []
    own: list[Stmt] = []
    for s in body:
        if isinstance(s, Loop):
            inside = _sunk(s.body, loop)
            if inside is None or any(isinstance(x, Let) for x in own):
                return None
            out += [*_around(loop, own), replace(s, body=inside)]
            own = []
        elif isinstance(s, Let) and not own and not depends(s.value, {loop.var}):
            out.append(s)
        elif isinstance(s, Let | Store):
            own.append(s)
        else:
            return None
    return (*out, *_around(loop, own))


def _around(loop: Loop, body: Sequence[Stmt]) -> Body:
    return (replace(loop, body=tuple(body)),) if body else ()


def _as_lanes(work: Scheduling, body: Body, var: str, lanes: int) -> Body:
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, Loop) and s.var == var:
            pieces = chunks(s.extent, lanes, work.knob("unroll", var))
            work.note(f"vectorize {var} as {', '.join(map(str, pieces))}")
            out += split_chunks(s, pieces)
        elif isinstance(s, Loop):
            out.append(replace(s, body=_as_lanes(work, s.body, var, lanes)))
        else:
            out.append(s)
    return tuple(out)
