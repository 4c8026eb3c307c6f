"""Index expressions as values and guards: a position as a number, a mask as a condition or of each access."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from . import value as val
from .dtype import DType, bool_, int32, int64
from .index import NEVER, Index, Mask
from .loops import Body, Loop, Stmt, Store, values_of, with_values
from .ops import Op, identity
from .value import Access, Extra, Value


def index_value(index: Index, dtype: DType) -> Value:
    """An index expression as a number of ``dtype``."""
    if index.is_const:
        return val.number(index.const, dtype)
    return val.cast(val.make(Extra.INDEX, _holding(index), (), index), dtype)


def condition(mask: Mask) -> Value:
    """A mask as a bool."""
    parts = []
    for m in mask:
        i = index_value(m, _holding(m))
        parts.append(val.primitive(Op.CMPLT, val.number(-1, i.dtype), i))
    out = parts[0] if parts else val.number(True, bool_)
    for part in parts[1:]:
        out = val.primitive(Op.AND, out, part)
    return out


def masked(value: Value, mask: Mask) -> Value:
    """``value`` where the mask holds, else 0."""
    if not mask:
        return value
    if mask == NEVER:
        return val.number(0, value.dtype)
    if value.op is Op.LOAD:
        access = value.arg
        assert isinstance(access, Access)
        if set(mask) <= set(access.guard):
            return value
    return val.where(condition(mask), value, val.number(identity(Op.ADD, value.dtype), value.dtype))


def guarded(body: Body, rule: Callable[[Index, Mask], Mask]) -> Body:
    """Statements whose loads and stores have other guards.

    Args:
        body: scalar statements.
        rule: the guard of an access, from its position and the guard that it has.
    """
    memo: dict[Value, Value] = {}

    def load(v: Value, srcs: tuple[Value, ...]) -> Value | None:
        if v.op is not Op.LOAD:
            return None
        access = v.arg
        assert isinstance(access, Access)
        return val.make(
            Op.LOAD, v.dtype, (), replace(access, guard=rule(access.index, access.guard)), v.lanes
        )

    out: list[Stmt] = []
    for s in body:
        if isinstance(s, Loop):
            out.append(replace(s, body=guarded(s.body, rule)))
            continue
        made = with_values(s, val.rewrite(values_of(s), load, memo))
        if isinstance(made, Store):
            made = replace(made, guard=rule(made.index, made.guard))
        out.append(made)
    return tuple(out)


def _holding(index: Index) -> DType:
    """The narrowest index type that holds every value of ``index``."""
    return int32 if index.lo >= -(2**31) and index.hi < 2**31 else int64
