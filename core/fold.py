"""Partial results that are folded into one accumulator, one after another, are folded together first.

In: an expanded tree. Out: the same tree, in which a run of updates of one accumulator by the lanes of several
vectors is one update, by the lanes of one vector: the others are combined with it lane by lane, which is one
operation where a fold of lanes is several.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

from . import value as val
from .loops import Body, Kernel, Loop, Stmt, Update
from .ops import Op
from .value import Extra, Value


def fold_together(kernel: Kernel) -> Kernel:
    """The kernel with one fold of lanes where there were several in a row."""
    return kernel.with_body(_body(kernel.body))


def _body(body: Body) -> Body:
    out: list[Stmt] = []
    for key, run in groupby(body, _kind):
        statements = [replace(s, body=_body(s.body)) if isinstance(s, Loop) else s for s in run]
        out += [_one(statements)] if key is not None else statements
    return tuple(out)


def _kind(s: Stmt) -> tuple[str, Op, int] | None:
    """What tells updates that can be one: of which accumulator, with what, over how many lanes."""
    if isinstance(s, Update) and s.value.op is Extra.FOLD and s.value.arg is s.op:
        vector = s.value.srcs[0]
        if vector.op is Extra.REF and not s.value.dtype.is_bool:
            return s.name, s.op, vector.lanes
    return None


def _one(run: list[Stmt]) -> Update:
    vectors: list[Value] = []
    for s in run:
        assert isinstance(s, Update)
        vectors.append(s.value.srcs[0])
        last = s
    while len(vectors) > 1:
        half = len(vectors) // 2
        pairs = [val.primitive(last.op, a, b) for a, b in zip(vectors, vectors[half:], strict=False)][:half]
        vectors = [*pairs, *vectors[2 * half :]]
    return replace(last, value=val.make(Extra.FOLD, last.value.dtype, (vectors[0],), last.op, 1))
