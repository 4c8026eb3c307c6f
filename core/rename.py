"""Rewriting what a body's values and positions refer to: loop variables, names, memories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from . import value as val
from .index import Index, Mask, both, computed
from .loops import (
    Acc,
    Barrier,
    Body,
    Let,
    Loop,
    Multiply,
    Prefetch,
    Scratch,
    Stmt,
    Store,
    Update,
    values_of,
    with_values,
)
from .ops import Op
from .value import Access, Extra, Value

Rule = Callable[[Value, tuple[Value, ...]], Value | None]
"""As ``value.rewrite`` takes it."""


def substitute(body: Body, with_: Mapping[str, Index]) -> Body:
    """Loop variables and computed positions replaced by index expressions."""
    known: dict[Value, Value] = {}
    rule = _substituting(with_)
    return map_values(body, lambda v: val.rewrite([v], rule, known)[0], lambda i: i.substitute(with_))


def substitute_value(value: Value, with_: Mapping[str, Index]) -> Value:
    """``substitute`` of one value."""
    return val.rewrite([value], _substituting(with_))[0]


def _substituting(with_: Mapping[str, Index]) -> Rule:
    def rule(v: Value, srcs: tuple[Value, ...]) -> Value | None:
        if v.op is Extra.INDEX:
            return index_like(v, lambda i: i.substitute(with_))
        if v.op is Op.LOAD:
            access = v.arg
            assert isinstance(access, Access)
            moved = access.map(lambda i: i.substitute(with_), lambda m: substitute_mask(m, with_))
            return v if moved == access else val.make(Op.LOAD, v.dtype, (), moved, v.lanes)
        return None

    return rule


def index_like(v: Value, change: Callable[[Index], Index]) -> Value:
    """An INDEX value with its expression changed; a number when it has one value."""
    if isinstance(v.arg, tuple):
        return val.make(Extra.INDEX, v.dtype, (), tuple(map(change, v.arg)), v.lanes)
    assert isinstance(v.arg, Index)
    index = change(v.arg)
    if index is v.arg:
        return v
    return val.number(index.const, v.dtype) if index.is_const else val.make(Extra.INDEX, v.dtype, (), index)


def substitute_mask(mask: Mask, with_: Mapping[str, Index]) -> Mask:
    """``substitute`` of a mask, without what now always holds."""
    return both(tuple(m.substitute(with_) for m in mask)) if mask else mask


def rename(body: Body, names: Mapping[str, str]) -> Body:
    """Lets, accumulators and scratch memories under other names, wherever they are declared or used."""
    known: dict[Value, Value] = {}
    rule = _renaming(names)
    new = map_values(body, lambda v: val.rewrite([v], rule, known)[0], lambda i: _renamed(i, names))
    return tuple([_declared(s, names) for s in new])


def copied(
    body: Body, with_: Mapping[str, Index], names: Mapping[str, str], memo: dict[Value, Value]
) -> Body:
    """``rename`` of ``substitute``, in one walk.

    Args:
        memo: what was made of values that were met before, by the same ``with_`` and ``names``.
    """
    substituting, renaming = _substituting(with_), _renaming(names)

    def rule(v: Value, srcs: tuple[Value, ...]) -> Value | None:
        moved = substituting(v, srcs)
        new = renaming(v if moved is None else moved, srcs)
        return moved if new is None else new

    def index(i: Index) -> Index:
        return _renamed(i.substitute(with_), names)

    new = map_values(body, lambda v: val.rewrite([v], rule, memo)[0], index)
    return tuple([_declared(s, names) for s in new])


def _renamed(index: Index, names: Mapping[str, str]) -> Index:
    if names.keys().isdisjoint([n.partition("[")[0] for n in index.names()]):
        return index
    new: dict[str, Index] = {}
    for a in index.atoms():
        name, bracket, lane = a.key.partition("[")  # one lane of a Let is called name[lane]
        if a.inner is None and name in names:
            new[a.key] = computed(names[name] + bracket + lane, a.lo, a.hi)
    return index.substitute(new)


def _renaming(names: Mapping[str, str]) -> Rule:
    def renamed(index: Index) -> Index:
        return _renamed(index, names)

    def rule(v: Value, srcs: tuple[Value, ...]) -> Value | None:
        if v.op is Extra.REF and v.arg in names:
            return val.ref(names[str(v.arg)], v.dtype, v.lanes)
        if v.op is Extra.INDEX:
            return index_like(v, renamed)
        if v.op is Op.LOAD:
            access = v.arg
            assert isinstance(access, Access)
            new = access.map(renamed, lambda m: m and tuple(map(renamed, m)), names.get(access.memory, ""))
            return v if new is access else val.make(Op.LOAD, v.dtype, (), new, v.lanes)
        return None

    return rule


def _declared(s: Stmt, names: Mapping[str, str]) -> Stmt:
    if isinstance(s, Loop):
        return replace(s, body=tuple(_declared(x, names) for x in s.body))
    if isinstance(s, Let | Acc | Update):
        return replace(s, name=names[s.name]) if s.name in names else s
    if isinstance(s, Scratch):
        return Scratch(replace(s.memory, name=names.get(s.memory.name, s.memory.name)))
    if isinstance(s, Multiply):
        return replace(s, c=tuple(names.get(c, c) for c in s.c))
    if isinstance(s, Barrier | Prefetch):
        return s
    return replace(s, memory=names[s.memory]) if s.memory in names else s


def map_values(body: Body, value: Callable[[Value], Value], index: Callable[[Index], Index]) -> Body:
    """Every value and every store's position rewritten."""
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, Loop):
            until = None if s.until is None else index(s.until)
            out.append(replace(s, body=map_values(s.body, value, index), until=until))
        elif isinstance(s, Store):
            guard = both(tuple(index(m) for m in s.guard)) if s.guard else ()
            out.append(Store(s.memory, index(s.index), value(s.value), guard, s.stride))
        elif isinstance(s, Prefetch):
            out.append(replace(s, index=index(s.index)))
        else:
            out.append(with_values(s, [value(v) for v in values_of(s)]))
    return tuple(out)
