"""The call of a captured function that is as it was: one generated function, for this recipe alone.

In: a recipe without effects, how the function is called, and turns that nobody uses. Out: a function of the
captured one's own parameters, so that to pass by name costs little, which asks in one expression whether all
is as it was, runs a player, and makes the result. Where anything differs (other memory, a result that is
still held, a watched place, other arguments, somebody who listens) it has done nothing, and the long way
finds out what.

A turn is taken from a list while it is used. Two threads, or a call inside a call, never meet in one: who
finds the list empty goes the long way, which makes more turns. Where turns are large, a lock keeps it at two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from sys import getrefcount
from typing import Any
from weakref import getweakrefcount

from . import engine, trace
from .form import Form
from .guard import GONE, MOST
from .recipe import Given, Recipe
from .structure import HERE, Branch
from .tensor import Tensor
from .watch import same

SMALL = 1 << 20
"""Bytes up to which a turn may be had once more for each thread that calls at the same time."""

Call = Callable[..., Any]
Long = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


class _Missing:
    """What a parameter holds that nobody passed."""


MISSING = _Missing()


class _Writer:
    """Text under construction, the objects that it names, and the conditions that it asks."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {
            "_engine": engine, "_trace": trace, "_getrefcount": getrefcount, "_tensor": Tensor._of,
            "_getweakrefcount": getweakrefcount, "_GONE": GONE, "_missing": MISSING, "_same": same,
            "_type": type, "_len": len,
        }  # fmt: skip
        self.terms: list[str] = []
        self.tensors: list[str] = []
        """Expressions of the arguments' tensors, in order."""

    def name(self, value: Any) -> str:
        """A name for an object."""
        made = f"_o{len(self.names)}"
        self.names[made] = value
        return made

    def argument(self, at: str, rest: Any) -> bool:
        """What the argument ``at`` must be: ``rest``, with tensors in it. False where that is not written."""
        if rest is HERE:
            self.tensors.append(at)
        elif not isinstance(rest, Branch):
            held = self.name(rest)
            self.terms.append(f"({at} is {held} or _same({held}, {at}))")
        elif rest.kind is dict:
            self.terms.append(f"_type({at}) is {self.name(dict)} and (*{at},) == {self.name(rest.keys)}")
            return all(
                self.argument(f"{at}[{self.name(k)}]", c)
                for k, c in zip(rest.keys, rest.children, strict=True)
            )
        elif rest.kind in (tuple, list):
            self.terms.append(f"_type({at}) is {self.name(rest.kind)} and _len({at}) == {len(rest.children)}")
            return all(self.argument(f"{at}[{i}]", c) for i, c in enumerate(rest.children))
        else:
            return False
        return True

    def result(self, rest: Any, tensors: list[str]) -> str:
        """What makes the result, of ``tensors`` in order: as ``put_back`` does."""
        if rest is HERE:
            return tensors.pop(0)
        if not isinstance(rest, Branch):
            return self.name(rest)
        inside = [self.result(c, tensors) for c in rest.children]
        if issubclass(rest.kind, dict):
            keys = map(self.name, rest.keys)
            return "{" + ", ".join(f"{k}: {v}" for k, v in zip(keys, inside, strict=True)) + "}"
        if rest.kind is list:
            return f"[{', '.join(inside)}]"
        if rest.kind is tuple:
            return f"({''.join(f'{v}, ' for v in inside)})"
        return f"{self.name(rest.kind)}({', '.join(inside)})"


def quick(
    form: Form,
    recipe: Recipe,
    lent: Sequence[Given],
    idle: list[Any],
    lock: AbstractContextManager[Any],
    long: Long,
) -> Call | None:
    """The function, to be a method; None where the recipe or the call is of another kind.

    Args:
        form: how the function is called.
        recipe: what was captured.
        lent: what the players lend to tensors, in the order of a turn's ``lent``.
        idle: turns that nobody uses: each with the ``nodes`` that it is bound to, what it has ``lent``,
            ``start``, which runs it while nobody listens, and the ``other`` that is to be used next.
        lock: held meanwhile where turns are large.
        long: what to do with the object and the arguments where anything differs.
    """
    if recipe.assigned or recipe.placed or recipe.graded or len(recipe.sources) > MOST:
        return None
    w = _Writer()
    w.names |= recipe.watch.condition.names
    for at, rest in zip(form.variables, recipe.arguments.values(), strict=True):
        if not w.argument(at, rest):
            return None
    sources = [w.tensors[i] for i in recipe.own]
    captured = [f"_c{i}" for i in range(len(recipe.captured))]
    w.terms += [f"{w.tensors[i]} is {captured[at]}" for i, at in recipe.pinned.items()]
    sources += captured
    w.terms += [f"{s}.node is _n{i}" for i, s in enumerate(sources)]
    leases = [f"_l{i}" for i in range(len(lent))]
    outs = [f"_out{i}" for i in range(len(lent))]
    # as Lease.is_free, word for word: references are counted while no local of ours holds what is counted
    for x in leases:
        counted = " + ".join(f"_getrefcount({x}.{part})" for part in ("top", "shown", "out"))
        w.terms.append(f"{counted} == {x}.free_at and {x}.out.node is {x}.node")
        w.terms.append(f"{x}.out.grad is None and not _getweakrefcount({x}.out)")
    w.terms.append(recipe.watch.condition.text)

    made = [f"{out} = {x}.out" for out, x in zip(outs, leases, strict=True)]
    results: list[str] = []
    for r in recipe.results:
        if not isinstance(r, Given):
            results.append(sources[r])
            continue
        if r not in lent:  # memory of a source, or another shape of what is lent
            return None
        out = outs[lent.index(r)]
        if out in results:  # two results of one value are two tensors
            out, again = f"_r{len(results)}", out
            made.append(f"{out} = _tensor({again}.node, {w.name(r.device)})")
        results.append(out)
    result = w.result(recipe.rest, results)
    nodes = [f"_n{i}" for i in range(len(sources))]
    unpacked = [f"{', '.join(u)}, = {of}" for u, of in (
        (nodes, "_turn.nodes"), (captured, "_captured"), (leases, "_turn.lent")
    ) if u]  # fmt: skip

    def otherwise(self: Any, values: Sequence[Any], rest: Sequence[Any], others: dict[str, Any]) -> Any:
        return long(self, *form.passed(MISSING, values, rest, others))

    w.names |= {
        "_otherwise": otherwise, "_take": idle.pop, "_give": idle.append, "_captured": recipe.captured,
        "_lock": lock, "_none_left": IndexError,
    }  # fmt: skip
    local = {"_self", "_rest", "_others", "_turn", "_as_it_was", *nodes, *captured, *leases, *outs}
    local |= {f"_r{i}" for i in range(len(recipe.results))}
    if not form.can_be_written(local.union(w.names)):
        return None
    tape = recipe.tape
    is_small = sum(tape.values[v].nbytes for v in tape.written()) <= SMALL
    text = _TEXT.format(
        parameters=form.parameters("_missing", "_rest", "_others"),
        alone="if True" if is_small else "with _lock",
        unpacked="; ".join(unpacked) or "pass",
        condition=" and ".join(w.terms),
        made="; ".join(made) or "pass",
        result=result,
        values="".join(f"{v}, " for v in form.variables),
    )
    exec(text, w.names)
    call: Call = w.names.pop("_quick")
    call.__qualname__ = call.__name__ = recipe.name  # in tracebacks and profiles
    return call


_TEXT = """
def _quick(_self, {parameters}):
    {alone}:
        if _engine.recorder is None and not (_trace.listening or _rest or _others):
            try:
                _turn = _take()
            except _none_left:
                return _otherwise(_self, ({values}), _rest, _others)
            try:
                {unpacked}
                try:
                    _as_it_was = {condition}
                except _GONE:
                    _as_it_was = False
                if _as_it_was:
                    _turn.start()
                    {made}
                    _turn = _turn.other
                    return {result}
            finally:
                _give(_turn)
        return _otherwise(_self, ({values}), _rest, _others)
"""
