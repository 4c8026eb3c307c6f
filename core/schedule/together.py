"""A block's threads share the loops of one result, and meet in shared memory.

In: the statements that compute one result: lets, accumulators with their reductions, loops that store. Out: a
loop over threads around the same statements, in which each loop is cut so that neighbouring threads take
neighbouring iterations; each thread folds its part of a reduction, the parts are folded by a tree in shared
memory, and every thread then has the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .. import value as val
from ..index import Index, Mask, both, constant, variable
from ..loops import Acc, Barrier, Bind, Body, Let, Loop, Memory, Scratch, Stmt, Store, Update, statements
from ..masking import condition, guarded
from ..ops import Op, identity
from ..rename import rename, substitute
from ..value import Access, Value
from .nest import perfect
from .transforms import fused

THREAD = "t"
"""The variable of the loop over threads."""


def share(body: Body, threads: int) -> Loop:
    """The loop over ``threads`` (a power of two) whose threads compute ``body`` together."""
    out: list[Stmt] = []
    i = 0
    while i < len(body):
        s = body[i]
        i += 1
        if isinstance(s, Acc):
            accs = [s]
            while i < len(body) and isinstance(body[i], Acc):
                accs.append(body[i])  # type: ignore[arg-type]
                i += 1
            loop = body[i] if i < len(body) else None
            if isinstance(loop, Loop):
                i += 1
                out += _reduction(accs, loop, threads)
            else:
                out += accs
        elif isinstance(s, Loop):
            out += deal(s, threads)
        elif isinstance(s, Store):
            out.append(replace(s, guard=both(s.guard, (-variable(THREAD, threads),))))  # by the first thread
        else:
            out.append(s)
    return Loop(THREAD, threads, tuple(out), Bind.THREAD)


def _reduction(accs: list[Acc], loop: Loop, threads: int) -> Body:
    """Each thread's part, then the parts together."""
    parts = {a.name: f"{a.name}_part" for a in accs}
    own = rename((*accs, *deal(loop, threads, tuple(accs))), parts)
    meet: list[Stmt] = []
    for a in accs:
        meet += _meet(a, parts[a.name], threads)
    return (*own, *meet)


def deal(loop: Loop, threads: int, accs: tuple[Acc, ...] = ()) -> Body:
    """The iterations dealt out to the threads in turn; of the last round not every thread has one.

    Args:
        loop: plain loops with nothing between them, which are dealt out as one; lanes stay together.
        threads: of the block.
        accs: what the iterations add to.
    """
    nest = [n for n in perfect(loop) if n.bind is Bind.SERIAL]
    one = fused(nest, nest[-1].body)
    rounds, rest = divmod(one.extent, threads)
    thread = variable(THREAD, threads)
    out: list[Stmt] = []
    if rounds:
        turn = f"{one.var}_r"
        at = variable(turn, rounds) * threads + thread
        out.append(Loop(turn, rounds, substitute(one.body, {one.var: at})))
    if rest:
        at = thread + rounds * threads
        held = constant(rest - 1) - thread
        last = substitute(one.body, {one.var: at})
        out += where(_renamed_apart(last, one.var), (held,), {a.name: a for a in accs})
    return tuple(out)


def _renamed_apart(body: Body, mark: str) -> Body:
    """The body, whose names are no others' although it stands beside the loop that it was cut from."""
    names = {s.name: f"{s.name}_{mark}" for s in statements(body) if isinstance(s, Let | Acc)}
    return rename(body, names)


def where(body: Body, held: Mask, accs: Mapping[str, Acc]) -> Body:
    """The body's loads and stores under a guard; what it adds where the guard fails changes nothing.

    Args:
        body: some statements.
        held: the guard.
        accs: the accumulators to which nothing may be added where it fails.
    """
    return guarded(_adding(body, held, accs), lambda index, guard: both(guard, held))


def _adding(body: Body, held: Mask, accs: Mapping[str, Acc]) -> Body:
    """The body, which adds what changes nothing where the guard fails."""
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, Loop):
            out.append(replace(s, body=_adding(s.body, held, accs)))
        elif isinstance(s, Update) and s.name in accs:
            nothing = val.number(identity(s.op, s.value.dtype), s.value.dtype)
            out.append(replace(s, value=val.where(condition(held), s.value, nothing)))
        else:
            out.append(s)
    return tuple(out)


def _meet(acc: Acc, part: str, threads: int) -> Body:
    """Every thread's part folded by a tree in shared memory; all threads then hold the result."""
    name = f"{acc.name}_parts"
    thread = variable(THREAD, threads)
    out: list[Stmt] = [
        Scratch(Memory(name, acc.dtype, threads, written=True, shared=True)),
        Store(name, thread, val.ref(part, acc.dtype)),
        Barrier(),
    ]

    def load(at: Index, guard: Mask) -> Value:
        return val.make(Op.LOAD, acc.dtype, (), Access(name, at, guard))

    half = threads // 2
    while half:
        guard = both((constant(half - 1) - thread,))
        folded = val.primitive(acc.op, load(thread, guard), load(thread + half, guard))
        out += [Store(name, thread, folded, guard), Barrier()]
        half //= 2
    return (*out, acc, Update(acc.name, acc.op, load(constant(0), ())))
