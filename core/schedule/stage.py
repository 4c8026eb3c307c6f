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
from math import prod

from .. import value as val
from ..index import flatten, variable
from ..loops import Body, Loop, Memory, Scratch, Stmt, Store, values_of, with_values
from ..ops import Op
from ..value import Access, Value
from .nest import wrap


def stage(body: Body, load: Value, loops: Sequence[Loop], name: str) -> Body:
    """The statements with one load going through scratch memory.

    Args:
        body: the statements; their loops may be annotated.
        load: a scalar LOAD in them.
        loops: the loops (their bodies do not matter) whose variables its position is made of, and which stand
            in ``body``: the order of the scratch memory, neighbours last.
        name: of the scratch memory.
    """
    access = load.arg
    assert isinstance(access, Access)
    sizes = tuple(loop.extent for loop in loops)
    at = flatten((variable(loop.var, loop.extent) for loop in loops), sizes)
    memory = Memory(name, load.dtype, prod(sizes), written=True)
    staged = val.make(Op.LOAD, load.dtype, (), Access(name, at, ()))
    copy = wrap(_as_read(access, loops), (Store(name, at, load),))
    return (Scratch(memory), copy, *_reading(body, {load: staged}))


def _as_read(access: Access, loops: Sequence[Loop]) -> list[Loop]:
    """The loops in the order in which they walk the memory that is copied: neighbours last."""

    def step(loop: Loop) -> int:
        k = access.index.coefficient(loop.var)
        return abs(k) if k is not None else 1 << 62

    return sorted(loops, key=step, reverse=True)


def _reading(body: Body, memo: dict[Value, Value]) -> Body:
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, Loop):
            out.append(replace(s, body=_reading(s.body, memo)))
        else:
            new = val.rewrite(values_of(s), lambda v, _: None, dict(memo)) if values_of(s) else []
            out.append(with_values(s, new))
    return tuple(out)
