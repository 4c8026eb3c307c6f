"""Makes annotated loops explicit: UNROLL loops become copies, VECTOR loops become lanes.

In: a scheduled tree, still with the meaning of its plain loops. Out: a tree of SERIAL and GRID loops whose
values may have lanes, which a dialect can print statement by statement.

Both work outside in on the statements of the loop: what depends on the loop's variable is copied (or
widened), what does not is kept once, and a loop inside stays one loop around all the copies (so an unrolled
loop around a reduction is *jammed* into it: that is a register tile). Copies are independent by the rules of
the tree: a parameter's element is stored by one iteration only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count

from . import value as val
from .errors import KernelError
from .index import NEVER, Index, both, computed, constant
from .loops import (
    Acc,
    Barrier,
    Bind,
    Body,
    Kernel,
    Let,
    Loop,
    Multiply,
    Prefetch,
    Scratch,
    Stmt,
    Store,
    Update,
    statements,
    values_of,
)
from .ops import Op
from .rename import copied, rename, substitute, substitute_mask
from .value import Access, Extra, Place, Value


def expand(kernel: Kernel) -> Kernel:
    """The kernel with no UNROLL and no VECTOR loop left."""
    return kernel.with_body(_expand(kernel.body, count(1)))


def _expand(body: Body, fresh: Iterator[int]) -> Body:
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, Loop):
            inner = _expand(s.body, fresh)
            if s.bind is Bind.UNROLL:
                inner = jam(inner, s.var, s.extent)
            elif s.bind is Bind.VECTOR:
                inner = _Lanes(s.var, s.extent, inner).widen(inner)
            elif s.extent == 1 and not _holds_threads(s) and s.bind is not Bind.THREAD:
                inner = substitute(inner, {s.var: constant(0)})
            else:
                out.append(replace(s, body=inner))
                continue
            if len(body) > 1 and _declared(
                inner
            ):  # what was a scope of its own now shares one with its siblings
                mark = next(fresh)
                inner = rename(inner, {n: f"{n}_at{mark}" for n in _declared(inner)})
            out += inner
        else:
            out.append(s)
    return tuple(out)


def _holds_threads(s: Loop) -> bool:
    return any(isinstance(x, Loop) and x.bind is Bind.THREAD for x in s.body)


def _declared(body: Body) -> set[str]:
    """The names that ``body`` declares, not those of loops inside."""
    names = {s.name for s in body if isinstance(s, Let | Acc)}
    return names | {s.memory.name for s in body if isinstance(s, Scratch)}


def variant_names(body: Body, var: str) -> set[str]:
    """The names declared in ``body`` whose value depends on the loop variable ``var``."""
    found: set[str] = {var}
    while True:
        before = len(found)
        for s in statements(body):
            if isinstance(s, Let | Update) and depends(s.value, found):
                found.add(s.name)
            elif isinstance(s, Multiply) and any(depends(v, found) for v in values_of(s)):
                found.update(s.c)
            elif isinstance(s, Store) and (
                depends(s.value, found) or any(_mentions(i, found) for i in (s.index, *s.guard))
            ):
                found.add(s.memory)
        if len(found) == before:
            return found


def _mentions(index: Index, names: set[str]) -> bool:
    return not names.isdisjoint(n.split("[")[0] for n in index.names())


def depends(value: Value, names: set[str]) -> bool:
    """True when a value is computed from one of ``names``: loop variables, lets, accumulators or memories."""
    return not names.isdisjoint([n.removeprefix("@") for n in value.mentions])


# ------------------------------------------------------------------------------------------------- copies


def jam(body: Body, var: str, copies: int) -> Body:
    """``copies`` of the statements that depend on ``var``, side by side; loops inside are kept once."""
    if copies == 1:
        return substitute(body, {var: constant(0)})
    variant, declared = variant_names(body, var), _declared(tuple(statements(body)))
    return _jam(body, [_Copy(var, c, variant & declared) for c in range(copies)], variant, declared)


class _Copy:
    """One copy of statements: what it has made of values is kept, as neighbours share most of theirs."""

    def __init__(self, var: str, number: int, renamed: set[str]) -> None:
        self.with_ = {var: constant(number)}
        self.names = {n: f"{n}_{number}" for n in renamed}
        self.made: dict[Value, Value] = {}

    def of(self, s: Stmt) -> Body:
        return copied((s,), self.with_, self.names, self.made)


def _jam(body: Body, copies: Sequence[_Copy], variant: set[str], declared: set[str]) -> Body:
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, Loop):
            until = None if s.until is None or _mentions(s.until, variant) else s.until
            out.append(replace(s, body=_jam(s.body, copies, variant, declared), until=until))
            continue
        if isinstance(s, Barrier):
            out.append(s)
            continue
        if isinstance(s, Prefetch):
            out += substitute((s,), copies[0].with_)
            continue
        if isinstance(s, Multiply):
            for copy in copies if not variant.isdisjoint(s.c) else copies[:1]:
                out += copy.of(s)
            continue
        name = s.memory.name if isinstance(s, Scratch) else s.memory if isinstance(s, Store) else s.name
        # an accumulator from outside takes every copy's term, also when all the terms are equal
        outside = isinstance(s, Update) and name not in declared
        if name not in variant and not outside:
            out.append(s)
            continue
        for copy in copies:
            out += copy.of(s)
    return tuple(out)


# -------------------------------------------------------------------------------------------------- lanes


class _Lanes:
    """Widens the body of one VECTOR loop."""

    def __init__(self, var: str, lanes: int, body: Body) -> None:
        self.var, self.lanes = var, lanes
        self.variant = variant_names(body, var)
        self.declared = {s.name for s in statements(body) if isinstance(s, Let | Acc)}
        self.memo: dict[Value, Value] = {}
        for s in statements(body):
            if isinstance(s, Scratch) and s.memory.name in self.variant:
                raise KernelError(f"scratch {s.memory.name} inside the vector loop {var}")

    def widen(self, body: Body) -> Body:
        out: list[Stmt] = []
        for s in body:
            if isinstance(s, Loop):
                until = None if s.until is None or _mentions(s.until, self.variant) else s.until
                out.append(replace(s, body=self.widen(s.body), until=until))
            elif isinstance(s, Let):
                out.append(replace(s, value=self.value(s.value)))
            elif isinstance(s, Acc):
                out.append(replace(s, lanes=self.lanes) if s.name in self.variant else s)
            elif isinstance(s, Update):
                out.append(self.update(s))
            elif isinstance(s, Store):
                out += self.store(s)
            elif isinstance(s, Prefetch):
                out += substitute((s,), {self.var: constant(0)})
            elif isinstance(s, Multiply):
                raise KernelError(f"{s.tile.name} inside the vector loop {self.var}")
            else:
                out.append(s)
        return tuple(out)

    def update(self, s: Update) -> Update:
        v = self.value(s.value)
        if s.name in self.declared:
            return replace(s, value=self.full(v) if s.name in self.variant else v)
        return replace(s, value=val.make(Extra.FOLD, v.dtype, (self.full(v),), s.op, 1))

    def store(self, s: Store) -> Body:
        if not depends(s.value, self.variant) and not any(
            _mentions(i, self.variant) for i in (s.index, *s.guard)
        ):
            return (s,)  # once for all lanes; it may have lanes of its own
        v = self.value(s.value)
        step = s.index.coefficient(self.var)
        guarded = any(_mentions(m, self.variant) for m in s.guard)
        named = _mentions(s.index, self.variant - {self.var})
        base = {self.var: constant(0)}
        if not guarded and not named and step is not None:
            index, guard = s.index.substitute(base), substitute_mask(s.guard, base)
            if step == 0:
                last = v if v.lanes == 1 else val.make(Extra.LANE, v.dtype, (v,), self.lanes - 1, 1)
                return (replace(s, index=index, guard=guard, value=last),)
            return (replace(s, index=index, guard=guard, value=self.full(v), stride=step),)
        out: list[Stmt] = []
        for lane in range(self.lanes):
            at = self.at(lane)
            guard = both(*((m.substitute(at(m)),) for m in s.guard))
            if guard != NEVER:
                one = v if v.lanes == 1 else val.make(Extra.LANE, v.dtype, (v,), lane, 1)
                out.append(Store(s.memory, s.index.substitute(at(s.index)), one, guard))
        return tuple(out)

    def at(self, lane: int) -> Callable[[Index], Mapping[str, Index]]:
        def mapping(index: Index) -> Mapping[str, Index]:
            out = {self.var: constant(lane)}
            for a in index.atoms():
                if a.inner is None and a.key in self.variant and a.key != self.var:
                    out[a.key] = computed(f"{a.key}[{lane}]", a.lo, a.hi)
            return out

        return mapping

    def full(self, v: Value) -> Value:
        return v if v.lanes == self.lanes else val.make(Extra.SPLAT, v.dtype, (v,), None, self.lanes)

    def value(self, value: Value) -> Value:
        return val.rewrite([value], self.rule, self.memo)[0]

    def rule(self, v: Value, srcs: tuple[Value, ...]) -> Value | None:
        if v.op is Extra.REF:
            return val.ref(str(v.arg), v.dtype, self.lanes) if v.arg in self.variant else v
        if v.op is Extra.INDEX:
            assert isinstance(v.arg, Index)
            return self.index(v, v.arg)
        if v.op is Op.LOAD:
            assert isinstance(v.arg, Access)
            return self.load(v, v.arg)
        if len({s.lanes for s in srcs}) > 1:
            return val.make(v.op, v.dtype, tuple(map(self.full, srcs)), v.arg)
        return None

    def index(self, v: Value, index: Index) -> Value:
        if not _mentions(index, self.variant):
            return v
        step = index.coefficient(self.var)
        if step is None or _mentions(index, self.variant - {self.var}):
            lanes = tuple(index.substitute(self.at(lane)(index)) for lane in range(self.lanes))
            return val.make(Extra.INDEX, v.dtype, (), lanes, self.lanes)
        base = index.substitute({self.var: constant(0)})
        ramp = val.make(Extra.LANES, v.dtype, (), step, self.lanes)
        if base.is_const and base.const == 0:
            return ramp
        start = val.number(base.const, v.dtype) if base.is_const else val.make(Extra.INDEX, v.dtype, (), base)
        return val.primitive(Op.ADD, self.full(start), ramp)

    def load(self, v: Value, access: Access) -> Value:
        if not any(_mentions(i, self.variant) for i in access.indices()):
            return v
        if access.places or v.lanes > 1:
            raise KernelError(f"a load of {v.lanes} lanes inside the vector loop {self.var}")
        step = access.index.coefficient(self.var)
        guarded = any(_mentions(m, self.variant) for m in access.guard)
        named = _mentions(access.index, self.variant - {self.var})
        if step is not None and not guarded and not named:
            base = {self.var: constant(0)}
            moved = access.map(lambda i: i.substitute(base), lambda m: substitute_mask(m, base))
            return val.make(Op.LOAD, v.dtype, (), replace(moved, stride=step), self.lanes)
        places = []
        for lane in range(self.lanes):
            at = self.at(lane)
            guard = both(*((m.substitute(at(m)),) for m in access.guard))
            places.append(Place(access.index.substitute(at(access.index)), guard))
        return val.make(
            Op.LOAD, v.dtype, (), Access(access.memory, constant(0), (), 0, tuple(places)), self.lanes
        )
