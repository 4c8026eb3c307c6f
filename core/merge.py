"""A fresh tree cleaned up: reductions of reductions become one, loops that walk memory as one become one."""

from __future__ import annotations

from dataclasses import replace

from . import value as val
from .index import Index, variable
from .loops import Acc, Bind, Body, Loop, Stmt, Store, Update, statements, values
from .ops import Op
from .rename import substitute
from .value import Extra, Number, Value, indices, toposort


def flatten_reductions(body: Body) -> Body:
    """Where an accumulator only feeds another of the same operation, its loops feed that one directly."""
    out: list[Stmt] = [
        replace(s, body=flatten_reductions(s.body)) if isinstance(s, Loop) else s for s in body
    ]
    last = out[-1] if out else None
    if not isinstance(last, Update):
        return tuple(out)
    inner, chosen = _feeds(last)
    at = next(
        (i for i, s in enumerate(out) if isinstance(s, Acc) and s.name == inner and s.op is last.op), None
    )
    if at is None or inner is None:
        return tuple(out)
    chosen_by = () if chosen is None else (chosen,)  # a condition on the sum itself is known after it only
    rest = [s for i, s in enumerate(out) if i not in (at, at + 1, len(out) - 1)]
    loop = out[at + 1]
    if not isinstance(loop, Loop) or any(inner in _refs(v) for v in (*values(tuple(rest)), *chosen_by)):
        return tuple(out)
    redirected = _redirect(loop, inner, last, chosen)
    return (*out[:at], *out[at + 2 : -1], redirected)


def _feeds(update: Update) -> tuple[str | None, Value | None]:
    """The accumulator that an update folds in, and the condition under which it does."""
    v = update.value
    if v.op is Extra.REF:
        return str(v.arg), None
    if v.op is Op.WHERE and update.op is Op.ADD:
        condition, chosen, other = v.srcs
        if chosen.op is Extra.REF and isinstance(other.arg, Number) and other.arg.value == 0:
            return str(chosen.arg), condition
    return None, None


def _redirect(loop: Loop, inner: str, outer: Update, condition: Value | None) -> Loop:
    def redirect(body: Body) -> Body:
        new: list[Stmt] = []
        for s in body:
            if isinstance(s, Loop):
                new.append(replace(s, body=redirect(s.body)))
            elif isinstance(s, Update) and s.name == inner:
                v = s.value
                if condition is not None:
                    v = val.where(condition, v, val.number(0, v.dtype))
                new.append(replace(s, name=outer.name, value=v))
            else:
                new.append(s)
        return tuple(new)

    return replace(loop, body=redirect(loop.body))


def _refs(value: Value) -> set[str]:
    return {str(v.arg) for v in toposort([value]) if v.op is Extra.REF}


def merge_loops(body: Body) -> Body:
    """Two loops with nothing between them become one where every position stays free of new divisions.

    Loops that were bound to something stay as they are.
    """
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, Loop):
            s = replace(s, body=merge_loops(s.body))
            while len(s.body) == 1 and isinstance(s.body[0], Loop):
                inner = s.body[0]
                if not (s.bind is inner.bind is Bind.SERIAL):
                    break
                name = f"{s.var}_{inner.var}"
                both = variable(name, s.extent * inner.extent)
                new = substitute(inner.body, {s.var: both // inner.extent, inner.var: both % inner.extent})
                if divisions(new, name):
                    break
                s = replace(s, var=name, extent=s.extent * inner.extent, body=new)
        out.append(s)
    return tuple(out)


def divisions(body: Body, name: str) -> int:
    """How many divisions and remainders of ``name`` the positions in ``body`` hold."""
    count = 0
    for i in positions(body):
        count += sum(1 for a in i.atoms() if a.inner is not None and name in a.inner.names())
    return count


def positions(body: Body) -> list[Index]:
    """Every index expression in ``body``: of stores, loads and values."""
    out: list[Index] = []
    for s in statements(body):
        if isinstance(s, Store):
            out += [s.index, *s.guard]
    for v in toposort(values(body)):
        out += indices(v)
    return out
