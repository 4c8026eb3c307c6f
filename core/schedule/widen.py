"""Widen: a loop with as many iterations as a vector has lanes; those beyond its own read 0 and store nothing.

Few columns (ten classes, say) fill no vector. Where the panel that they are read from is packed anyhow, the
lanes that are left cost nothing but room: it is filled up with zeros, and results are stored lane by lane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .. import value as val
from ..index import Index, Mask, both, variable
from ..loops import Body, Loop, Stmt, Store, map_body, values_of, with_values
from ..ops import Op
from ..rename import substitute
from ..value import Access, Value


def widen(loop: Loop, lanes: int) -> Loop:
    """The loop over ``lanes`` iterations, of which those that it had do what they did."""
    wide = variable(loop.var, lanes)
    beyond: Mask = (wide * -1 + (loop.extent - 1),)

    def guarded(indices: Sequence[Index], guard: Mask) -> Mask:
        return both(guard, beyond) if any(loop.var in i.names() for i in indices) else guard

    def rule(v: Value, srcs: tuple[Value, ...]) -> Value | None:
        if v.op is not Op.LOAD or not isinstance(v.arg, Access):
            return None
        access = replace(v.arg, guard=guarded(v.arg.indices(), v.arg.guard))
        return val.make(Op.LOAD, v.dtype, (), access, v.lanes)

    def each(s: Stmt) -> Body | None:
        if isinstance(s, Loop) or not values_of(s):
            return None
        made = with_values(s, val.rewrite(values_of(s), rule))
        return (replace(made, guard=guarded((made.index,), made.guard)) if isinstance(made, Store) else made,)

    return replace(loop, extent=lanes, body=map_body(substitute(loop.body, {loop.var: wide}), each))
