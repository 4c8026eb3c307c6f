"""A block's threads share the loops of one result, and meet in shared memory.

In: the statements that compute one result: lets, accumulators with their reductions, loops that store. Out: a
loop over threads around the same statements, in which each loop is cut so that neighbouring threads take
neighbouring iterations; each thread folds its part of a reduction, the parts are folded by a tree in shared
memory, and every thread then has the whole.
"""

from __future__ import annotations

from dataclasses import replace

from .. import value as val
from ..index import Index, both, constant, variable
from ..loops import Acc, Barrier, Bind, Body, Let, Loop, Memory, Scratch, Stmt, Store, Update, statements
from ..masking import condition
from ..ops import Op, identity
from ..rename import rename, substitute
from ..value import Access, Value
from .nest import perfect, wrap
from .transforms import fuse_loops

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
            out += _cut(s, threads, ())
        elif isinstance(s, Store):
            out.append(replace(s, guard=both(s.guard, (-variable(THREAD, threads),))))  # by the first thread
        else:
            out.append(s)
    return Loop(THREAD, threads, tuple(out), Bind.THREAD)


def _reduction(accs: list[Acc], loop: Loop, threads: int) -> Body:
    """Each thread's part, then the parts together."""
    parts = {a.name: f"{a.name}_part" for a in accs}
    own = rename((*accs, *_cut(loop, threads, tuple(accs))), parts)
    meet: list[Stmt] = []
    for a in accs:
        meet += _meet(a, parts[a.name], threads)
    return (*own, *meet)


def _cut(loop: Loop, threads: int, accs: tuple[Acc, ...]) -> Body:
    """The iterations dealt out to the threads in turn; of the last round not every thread has one."""
    nest = perfect(loop)
    one = wrap(nest, nest[-1].body)
    for _ in nest[1:]:
        one = fuse_loops(one)
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
        out += _where(_renamed_apart(last, one.var), held, {a.name: a for a in accs})
    return tuple(out)


def _renamed_apart(body: Body, mark: str) -> Body:
    """The body, whose names are no others' although it stands beside the loop that it was cut from."""
    names = {s.name: f"{s.name}_{mark}" for s in statements(body) if isinstance(s, Let | Acc)}
    return rename(body, names)


def _where(body: Body, held: Index, accs: dict[str, Acc]) -> Body:
    """The body's loads and stores under a guard; what it adds where the guard fails changes nothing."""
    memo: dict[Value, Value] = {}

    def guarded(value: Value) -> Value:
        def rule(v: Value, srcs: tuple[Value, ...]) -> Value | None:
            if v.op is not Op.LOAD:
                return None
            access = v.arg
            assert isinstance(access, Access)
            return val.make(Op.LOAD, v.dtype, (), replace(access, guard=both(access.guard, (held,))), v.lanes)

        return val.rewrite([value], rule, memo)[0]

    out: list[Stmt] = []
    for s in body:
        if isinstance(s, Loop):
            out.append(replace(s, body=_where(s.body, held, accs)))
        elif isinstance(s, Store):
            out.append(replace(s, value=guarded(s.value), guard=both(s.guard, (held,))))
        elif isinstance(s, Let):
            out.append(replace(s, value=guarded(s.value)))
        elif isinstance(s, Update) and s.name in accs:
            nothing = val.number(identity(s.op, s.value.dtype), s.value.dtype)
            out.append(replace(s, value=val.where(condition((held,)), guarded(s.value), nothing)))
        elif isinstance(s, Update):
            out.append(replace(s, value=guarded(s.value)))
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

    def load(at: Index, guard: tuple[Index, ...]) -> Value:
        return val.make(Op.LOAD, acc.dtype, (), Access(name, at, guard))

    half = threads // 2
    while half:
        guard = both((constant(half - 1) - thread,))
        folded = val.primitive(acc.op, load(thread, guard), load(thread + half, guard))
        out += [Store(name, thread, folded, guard), Barrier()]
        half //= 2
    return (*out, acc, Update(acc.name, acc.op, load(constant(0), ())))
