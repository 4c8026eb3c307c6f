"""Missing barriers and early reads, in blocks whose threads share memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

from ...core.index import Index
from ...core.loops import Barrier, Body, Loop, Scratch, Stmt, Store, map_body, statements
from ...core.value import Access, Value, make, rewrite
from .means import body, every_body, language
from .mutant import Base, Family

FAMILY = Family("missing barriers and early reads", Base.BLOCKS)
add = FAMILY.add
SUMS = (
    "reductions::test_integers_wrap[int32-ADD] reductions::test_axes[last-ADD] reductions::test_sum[bfloat16]"
    " reductions::test_bools[ADD] reductions::test_sum_of_integers[float32] reductions::test_sum[float32]"
)


def without(which: Callable[[int, int], bool]) -> Callable[[Body], Body]:
    """Barriers that are left out: ``which(number, how many there are)``."""

    def change(b: Body) -> Body:
        total = sum(isinstance(s, Barrier) for s in statements(b))
        numbers = count()

        def rule(s: Stmt) -> Body | None:
            return () if isinstance(s, Barrier) and which(next(numbers), total) else None

        return map_body(b, rule)

    return change


def early(b: Body) -> Body:
    """What stands after a barrier comes before it."""
    out = list(b)
    at = 0
    while at < len(out) - 1:
        if isinstance(out[at], Barrier) and not isinstance(out[at + 1], Barrier):
            out[at], out[at + 1] = out[at + 1], out[at]
            at += 1
        at += 1
    return tuple(out)


def shared_names(b: Body) -> set[str]:
    """Memory that the threads of a block share."""
    return {s.memory.name for s in statements(b) if isinstance(s, Scratch) and s.memory.shared}


def shared_stores(change: Callable[[Store], Store]) -> Callable[[Body], Body]:
    """Stores to shared memory are others."""

    def changed(b: Body) -> Body:
        names = shared_names(b)
        return map_body(b, lambda s: (change(s),) if isinstance(s, Store) and s.memory in names else None)

    return changed


def neighbour(b: Body) -> Body:
    """What another thread gave is read one place further on."""
    names = shared_names(b)

    def rule(v: Value, srcs: tuple[Value, ...]) -> Value | None:
        a = v.arg
        if not isinstance(a, Access) or a.memory not in names or a.index.const == 0:
            return None
        return make(v.op, v.dtype, srcs, replace(a, index=a.index - 1), v.lanes)

    def stored(s: Stmt) -> Body | None:
        if isinstance(s, Store) and s.memory in names:
            return (replace(s, value=rewrite([s.value], rule)[0]),)
        return None

    return map_body(b, stored)


def halved(s: Store) -> Store:
    """Half as many threads as must do it."""
    return replace(s, guard=tuple(Index(m.const // 2, m.terms) for m in s.guard))


def in_loops(b: Body) -> Body:
    """Inside loops over steps there are no barriers."""

    def rule(s: Stmt) -> Body | None:
        if isinstance(s, Loop) and s.bind.value == "for":
            return (replace(s, body=map_body(s.body, lambda t: () if isinstance(t, Barrier) else None)),)
        return None

    return map_body(b, rule)


add("no_barriers", "There are no barriers", body(without(lambda i, n: True)), SUMS)
add("no_first_barrier", "The first barrier is left out", body(without(lambda i, n: i == 0)), SUMS)
add("no_third_barrier", "The third barrier is left out", body(without(lambda i, n: i == 2)), SUMS)
add("every_other_barrier", "Every second barrier is left out", body(without(lambda i, n: i % 2 == 1)), SUMS)
add("reads_before_the_barrier", "What stands behind a barrier is done before it", every_body(early), SUMS)
add(
    "barrier_of_some",
    "Only the first sixteen threads wait at a barrier",
    language(lambda c: replace(c, barrier=f"if (t < 16) {{ {c.barrier} }}")),
    SUMS,
)
add(
    "shares_nothing",
    "Shared memory is each thread's own",
    language(lambda c: replace(c, shared=c.local)),
    SUMS,
)
add(
    "half_the_threads",
    "Half of the threads of each step of a tree do nothing",
    body(shared_stores(halved)),
    SUMS,
)
add("reads_the_neighbour", "A step of a tree reads one place too near", body(neighbour), SUMS)
