"""What a loop over a row computes, kept in a row of scratch memory for the loops that follow.

``for j: s += exp2(x[j] - m)`` and then ``for j: out[j] = exp2(x[j] - m) / s`` compute each exponential twice.
When a costly value of one loop is needed again by a later loop of the same extent, the first stores it in a
row that stays in the nearest cache, and the later one loads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import TypeGuard

from . import value as val
from .device import Spec
from .index import variable
from .loops import Body, Kernel, Let, Loop, Memory, Scratch, Stmt, Store, Update, statements
from .ops import Op
from .rename import substitute_value
from .value import Access, Extra, Value, toposort

COSTLY = frozenset({Op.EXP2, Op.LOG2, Op.SIN, Op.SQRT, Op.RECIP, Op.IDIV, Op.MOD})


def keep_rows(kernel: Kernel, spec: Spec) -> Kernel:
    """The fresh kernel with such values kept, where a row fits a quarter of what a work item has near."""
    return kernel.with_body(_keep(kernel.body, spec.near_bytes // 4, count()))


def _keep(body: Body, room: int, fresh: Iterator[int]) -> Body:
    out: list[Stmt] = [
        replace(s, body=_keep(s.body, room, fresh)) if isinstance(s, Loop) else s for s in body
    ]
    for i, first in enumerate(out):
        if not _single(first):
            continue
        for j in range(i + 1, len(out)):
            later = out[j]
            if not _single(later):
                continue
            if later.extent != first.extent:
                continue
            shared = _shared(first, later)
            if shared is None or shared.dtype.itemsize * first.extent > room:
                continue
            name = f"row{next(fresh)}"
            out[j] = _load_it(later, shared, first.var, name)
            out[i] = _store_it(first, shared, name)
            out.insert(0, Scratch(Memory(name, shared.dtype, first.extent, written=True)))
            return _keep(tuple(out), room, fresh)
    return tuple(out)


def _single(s: Stmt) -> TypeGuard[Loop]:
    """A loop around nothing but lets, updates and stores."""
    return isinstance(s, Loop) and s.extent > 1 and all(isinstance(x, Let | Update | Store) for x in s.body)


def _shared(first: Loop, later: Loop) -> Value | None:
    """The largest costly value of ``first`` that ``later`` computes as well."""
    known: set[Value] = set()
    for s in later.body:
        if isinstance(s, Let | Update | Store):
            known.update(toposort([s.value]))
    names = {x.name for x in statements(first.body) if isinstance(x, Let)}
    best: Value | None = None
    for s in first.body:
        if not isinstance(s, Update):
            continue
        for v in toposort([s.value]):  # operands first: the last that fits is the largest
            if v.dtype.is_bool or not _costly(v) or _refers(v, names) or not _along(v, first.var):
                continue
            if substitute_value(v, {first.var: variable(later.var, later.extent)}) in known:
                best = v
    return best


def _costly(value: Value) -> bool:
    return any(v.op in COSTLY for v in toposort([value])) and any(v.op is Op.LOAD for v in toposort([value]))


def _along(value: Value, var: str) -> bool:
    """True when every load follows the loop through memory: a row that lanes can walk."""
    steps = [v.arg.index.coefficient(var) for v in toposort([value]) if isinstance(v.arg, Access)]
    return all(s in (0, 1) for s in steps)


def _refers(value: Value, names: set[str]) -> bool:
    return any(v.op is Extra.REF and v.arg in names for v in toposort([value]))


def _store_it(loop: Loop, shared: Value, name: str) -> Loop:
    return replace(loop, body=(Store(name, variable(loop.var, loop.extent), shared), *loop.body))


def _load_it(loop: Loop, shared: Value, var: str, name: str) -> Loop:
    here = substitute_value(shared, {var: variable(loop.var, loop.extent)})
    row = val.make(Op.LOAD, here.dtype, (), Access(name, variable(loop.var, loop.extent), ()))
    memo = {here: row}
    body: list[Stmt] = []
    for s in loop.body:
        assert isinstance(s, Let | Update | Store)
        body.append(replace(s, value=val.rewrite([s.value], lambda v, _: None, memo)[0]))
    return replace(loop, body=tuple(body))
