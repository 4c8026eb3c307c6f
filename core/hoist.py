"""The last pass before printing: what is computed twice, or in a loop that does not change it, gets a name.

In: an expanded tree. Out: the same tree in which every value that is used more than once, or is invariant in
a loop, is a Let at the outermost place where its parts are known; and no expression is deeper than a line.
What reads an accumulator or memory that will still change stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import count

from . import value as val
from .loops import (
    Acc,
    Bind,
    Body,
    Kernel,
    Let,
    Loop,
    Multiply,
    Scratch,
    Stmt,
    Store,
    Update,
    statements,
    values_of,
    with_values,
)
from .ops import Op
from .value import Extra, Value

DEPTH = 6
"""How deep an expression may nest before its inner part gets a name."""


def hoist(kernel: Kernel) -> Kernel:
    """The kernel with shared and invariant values named."""
    taken = {s.name for s in statements(kernel.body) if isinstance(s, Let | Acc)}
    body, escaped = _Hoist(taken).body(kernel.body, frozenset())
    assert not escaped
    return kernel.with_body(body)


class _Hoist:
    def __init__(self, taken: set[str]) -> None:
        self.fresh = (name for name in map("t{}".format, count()) if name not in taken)

    def body(self, body: Body, bound: frozenset[str]) -> tuple[Body, list[Value]]:
        """The body with its lets, and the values that it wants from outside (in terms of outside's names).

        ``bound`` are the names that the body itself binds or changes: its loop variable.
        """
        local = bound | {n for s in body for n in _binds(s)}
        wanted: list[tuple[Stmt, list[Value]]] = []
        for s in body:
            if isinstance(s, Loop):
                # a thread computes what its block could: the block's body is its threads alone
                inner, escapes = self.body(s.body, frozenset((s.var,) if s.bind is not Bind.THREAD else ()))
                wanted.append((replace(s, body=inner), escapes))
            else:
                wanted.append((s, list(values_of(s))))
        # what can be computed outside of this body, and how often the rest is used in it
        outside: dict[Value, None] = {}
        uses: dict[Value, int] = {}
        seen: set[Value] = set()  # what a shared value is made of is used by it alone, once
        for _, roots in wanted:
            stack = list(roots)
            for r in roots:
                uses[r] = uses.get(r, 0) + 1
            while stack:
                v = stack.pop()
                if v in seen:
                    continue
                seen.add(v)
                if bound and v.mentions.isdisjoint(local):
                    if _worth(v):
                        outside[v] = None
                    continue
                for x in v.srcs:
                    uses[x] = uses.get(x, 0) + 1
                    stack.append(x)
        out: list[Stmt] = []
        have: dict[Value, Value] = {v: v for v in outside}
        depth: dict[Value, int] = {}
        for (s, roots), changing in zip(wanted, _changing(body), strict=True):
            always = isinstance(s, Loop)
            new = [self.rebuild(r, have, uses, depth, out, always, changing) for r in roots]
            if isinstance(s, Loop):
                out.append(self.retarget(s, dict(zip(roots, new, strict=True))))
            else:
                out.append(with_values(s, new))
        return tuple(out), list(outside)

    def rebuild(
        self, root: Value, have: dict[Value, Value], uses: dict[Value, int], depth: dict[Value, int],
        out: list[Stmt], always: bool, changing: frozenset[str],
    ) -> Value:  # fmt: skip
        """``root`` in terms of names; Lets that it needs are appended to ``out``."""
        pinned: dict[Value, Value] = {}
        order: list[Value] = []
        done: set[Value] = set()
        stack: list[tuple[Value, bool]] = [(root, False)]
        while stack:
            v, ready = stack.pop()
            if ready:
                order.append(v)
            elif v not in done and v not in have:
                done.add(v)
                stack.append((v, True))
                stack.extend((x, False) for x in reversed(v.srcs))
        for v in order:
            srcs = tuple([have[x] if x in have else pinned[x] for x in v.srcs])
            new = v if srcs == v.srcs else val.make(v.op, v.dtype, srcs, v.arg, v.lanes)
            depth[new] = 1 + max((depth.get(x, 0) for x in srcs), default=0)
            deep = depth[new] > DEPTH and v is not root
            named = _worth(v) and (uses.get(v, 0) > 1 or deep or (always and v is root))
            pins = not v.mentions.isdisjoint(changing)  # it will be another value further down
            if named and not pins:
                name = next(self.fresh)
                out.append(Let(name, new))
                new = val.ref(name, v.dtype, v.lanes)
                depth[new] = 0
            (pinned if pins else have)[v] = new
        return have[root] if root in have else pinned[root]

    def retarget(self, loop: Loop, new: dict[Value, Value]) -> Loop:
        """The loop with the values that it wanted from outside replaced by what outside calls them."""
        changed = {old: v for old, v in new.items() if old is not v}
        if not changed:
            return loop
        memo = dict(changed)

        def through(body: Body) -> Body:
            out: list[Stmt] = []
            for s in body:
                if isinstance(s, Loop):
                    out.append(replace(s, body=through(s.body)))
                else:
                    out.append(with_values(s, val.rewrite(values_of(s), lambda v, _: None, memo)))
            return tuple(out)

        return replace(loop, body=through(loop.body))


def _changing(body: Body) -> list[frozenset[str]]:
    """For each statement, the accumulators and memories that it or one after it changes."""
    out: list[frozenset[str]] = []
    names: frozenset[str] = frozenset()
    for s in reversed(body):
        for inner in statements((s,)):
            if isinstance(inner, Update):
                names |= {inner.name}
            elif isinstance(inner, Multiply):
                names |= set(inner.c)
            elif isinstance(inner, Store):
                names |= {f"@{inner.memory}"}
        out.append(names)
    return out[::-1]


def _binds(s: Stmt) -> Iterable[str]:
    """The names that a statement declares or changes."""
    if isinstance(s, Let | Acc | Update):
        yield s.name
    elif isinstance(s, Multiply):
        yield from s.c
    elif isinstance(s, Scratch):
        yield f"@{s.memory.name}"
    elif isinstance(s, Store):
        yield f"@{s.memory}"
    elif isinstance(s, Loop):
        yield s.var
        for inner in statements(s.body):
            if not isinstance(inner, Loop):
                yield from _binds(inner)


_NAMES = frozenset({Op.CONST, Extra.REF, Extra.LANES})
_OF_ONE = frozenset({Extra.INDEX, Extra.SPLAT})


def _worth(v: Value) -> bool:
    return v.op not in _NAMES and not (v.op in _OF_ONE and (not v.srcs or v.srcs[0].op is Op.CONST))
