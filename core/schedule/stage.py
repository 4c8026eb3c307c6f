"""Stage: what some loops read of a memory, copied first into scratch, in the order in which they read it.

In: statements, a load that is in them, and the loops inside them that its position depends on, outermost
first. Out: scratch with one element for each of those loops' iterations, a nest that fills it, and the
statements reading from there. Padding becomes part of the copy, so that what is read is never guarded. What
the load's position depends on besides these loops must be open around the statements.

A column panel of a matrix becomes a block of neighbouring memory in this way, whatever its rows are apart;
and what lies across the lanes comes to lie along them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import prod

from .. import value as val
from ..index import flatten, variable
from ..loops import Bind, Body, Loop, Memory, Scratch, Stmt, Store, values_of, with_values
from ..merge import merge_loops
from ..ops import Op
from ..record import dataclass
from ..value import Access, Value
from .nest import wrap
from .transforms import chunks, split_chunks


@dataclass(frozen=True, slots=True)
class Staged:
    """Statements with a load that goes through scratch memory.

    Attributes:
        scratch: declares it.
        copy: fills it.
        body: the statements, reading from there.
    """

    scratch: Scratch
    copy: Body
    body: Body

    @property
    def whole(self) -> Body:
        """One after another."""
        return (self.scratch, *self.copy, *self.body)


def stage(
    body: Body,
    load: Value,
    loops: Sequence[Loop],
    name: str,
    lanes: int = 1,
    apart: int = 0,
    shared: bool = False,
) -> Staged:
    """The statements with one load going through scratch memory.

    Args:
        body: the statements; their loops may be annotated.
        load: a scalar LOAD in them.
        loops: the loops (their bodies do not matter) whose variables its position is made of, and which stand
            in ``body``: the order of the scratch memory, neighbours last.
        name: of the scratch memory.
        lanes: of a vector.
        apart: elements that are left free after each row of neighbours.
        shared: whether the threads of a block share it; the copy is then still to be dealt out to them.
    """
    access = load.arg
    assert isinstance(access, Access)
    sizes = (*(loop.extent for loop in loops[:-1]), loops[-1].extent + apart)
    at = flatten((variable(loop.var, loop.extent) for loop in loops), sizes)
    memory = Memory(name, load.dtype, prod(sizes), written=True, shared=shared)
    staged = val.make(Op.LOAD, load.dtype, (), Access(name, at, ()))
    joined, store = _joined(list(loops), Store(name, at, load))
    return Staged(Scratch(memory), _copy(joined, store, lanes), _reading(body, {load: staged}))


def _joined(loops: list[Loop], store: Store) -> tuple[list[Loop], Store]:
    """The loops of a copy, as one wherever two of them walk both memories as one."""
    for outer, inner in pairwise(loops):
        if outer.bind is inner.bind is Bind.SERIAL:
            nest = merge_loops((wrap([outer, inner], (store,)),))
            (made,) = nest
            assert isinstance(made, Loop)
            (held,) = made.body
            if isinstance(held, Store):
                at = loops.index(outer)
                return _joined([*loops[:at], made, *loops[at + 2 :]], held)
    return loops, store


def _copy(loops: Sequence[Loop], store: Store, lanes: int) -> Body:
    """The loops in the order in which they walk the memory that is copied: neighbours last.

    Where these come to lie across what is stored side by side, they are copied in square blocks of a
    vector's lanes, each of which can be transposed in registers.
    """
    access = store.value.arg
    assert isinstance(access, Access)

    def step(loop: Loop) -> int:
        k = access.index.coefficient(loop.var)
        return abs(k) if k is not None else 1 << 62

    nest = sorted(loops, key=step, reverse=True)
    along, across = nest[-1], next((n for n in nest if store.index.coefficient(n.var) == 1), nest[-1])
    n = across.extent if across.bind is Bind.VECTOR else lanes
    apart = across is not along and along.bind is Bind.SERIAL and step(along) == 1 and not access.guard
    if not apart or n < 4 or min(along.extent, across.extent) < n:
        return (wrap(nest, (store,)),)
    body = split_chunks(replace(along, body=(store,)), chunks(along.extent, 1, n))
    if across.bind is Bind.SERIAL:
        body = split_chunks(replace(across, body=body), chunks(across.extent, n, 1))
    else:
        body = (replace(across, body=body),)
    around = [loop for loop in nest if loop not in (along, across)]
    return (wrap(around, body),) if around else body


def _reading(body: Body, memo: dict[Value, Value]) -> Body:
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, Loop):
            out.append(replace(s, body=_reading(s.body, memo)))
        else:
            new = val.rewrite(values_of(s), lambda v, _: None, dict(memo)) if values_of(s) else []
            out.append(with_values(s, new))
    return tuple(out)
