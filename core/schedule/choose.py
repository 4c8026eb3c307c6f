"""The heuristic: which transforms suit a kernel on a device, read from its tree and the Spec.

Which loop becomes lanes is decided by how each load moves with it: not at all (the value is shared), by one
element (one vector load) or otherwise (an element at a time). Where an output's loop wins, reductions inside
it run once for all lanes, and a second output loop is unrolled around them where that lets loads be shared: a
register tile. Where a reduction's own loop wins, it gets partial accumulators.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from math import prod

from ..decisions import USUAL, Decider, Decisions
from ..device import Spec
from ..loops import Acc, Body, Kernel, Let, Loop, Memory, Stmt, Store, Update, statements
from ..work import weight
from .blocks import schedule_blocks
from .columns import by_rows
from .elementwise import TINY, elementwise
from .nest import keeps_order, perfect, wrap
from .results import along_memory, tiled
from .scheduling import Scheduling, loads, stores_in, unrolled
from .transforms import chunks, split_accumulator
from .windows import windowed

PARALLEL = 1 << 16
"""Operations and bytes of a kernel below which waking threads costs more than they save."""


def schedule(kernel: Kernel, spec: Spec, decider: Decider = USUAL) -> Kernel:
    """The kernel with its loops cut, reordered and annotated for the device; ``trail`` says how.

    Args:
        kernel: a legal tree of plain loops.
        spec: the device's.
        decider: who answers where there is more than one way; what was answered is in ``decisions``.
    """
    if spec.warp > 1:  # neighbours run in step, and should touch neighbouring memory
        return schedule_blocks(kernel, spec, decider)
    memories = {} if kernel.aliases else {p.name: p for p in kernel.params}
    read = {a.memory for a in loads(kernel.body)}
    twice = not kernel.aliases and read.isdisjoint(p.name for p in kernel.params if p.written)
    work = Scheduling(spec, memories, Decisions(decider), twice)
    kernel = replace(kernel, params=tuple(_stream(p, read, spec) for p in kernel.params))
    body = _body(work, kernel.body, outermost=weight(kernel) >= PARALLEL and spec.threads > 1)
    return replace(kernel, body=body, trail=tuple(work.trail), decisions=tuple(work.decisions.made.values()))


def _stream(p: Memory, read: Collection[str], spec: Spec) -> Memory:
    """Outputs larger than the last cache bypass it, where nothing else of the kernel reads them."""
    large = bool(spec.cache_bytes) and p.nbytes >= spec.cache_bytes[-1]
    return replace(p, stream=p.written and large and p.name not in read)


def _body(work: Scheduling, body: Body, outermost: bool = False, partial: int = 0) -> Body:
    """Statements side by side: reductions with their accumulators, and at most one loop that stores."""
    out: list[Stmt] = []
    i = 0
    stores = [s for s in body if isinstance(s, Loop) and stores_in(s)]
    while i < len(body):
        s = body[i]
        follows = body[i + 1] if i + 1 < len(body) else None
        if isinstance(s, Acc) and isinstance(follows, Loop):
            out += _reduction(work, s, follows, partial)
            i += 2
            continue
        if isinstance(s, Loop):
            out += _spine(work, s, outermost and stores == [s])
        else:
            out.append(s)
        i += 1
    return tuple(out)


def _spine(work: Scheduling, loop: Loop, outermost: bool) -> Body:
    """A loop over results, with whatever it holds."""
    nest = perfect(loop)
    inner = nest[-1].body
    if any(keeps_order(n) for n in nest):
        return (replace(loop, body=_body(work, loop.body)),)
    if not any(isinstance(s, Loop) for s in statements(inner)):
        return elementwise(work, nest, outermost)
    return (
        (by_rows(work, loop, outermost) if len(nest) == 1 else None)
        or tiled(work, nest, outermost)
        or along_memory(work, nest, outermost, lambda partial: _body(work, inner, partial=partial))
        or windowed(work, nest, outermost)
        or work.rows(nest, _body(work, inner), outermost)
    )


def _reduction(work: Scheduling, acc: Acc, loop: Loop, partial: int) -> Body:
    """A reduction by itself: its innermost loop in partial accumulators where loads follow it."""
    nest = perfect(loop)
    inner = nest[-1].body
    if any(isinstance(s, Loop) for s in statements(inner)) or any(keeps_order(n) for n in nest):
        return (acc, replace(loop, body=_body(work, loop.body)))
    if prod(n.extent for n in nest) <= TINY:
        work.note(f"unroll {', '.join(n.var for n in nest)}")
        return (acc, unrolled(nest, inner))
    if any(not isinstance(s, Let | Store | Update) for s in inner):
        return (acc, loop)
    lanes = work.lanes(inner)
    best = min(nest, key=lambda n: (work.strides(n.var, inner).cost(lanes), -nest.index(n)))
    strides = work.strides(best.var, inner)
    if best is not nest[-1]:
        if strides.other or best.extent < lanes:
            best = nest[-1]
        else:
            nest = [n for n in nest if n is not best] + [best]
    strides = work.strides(best.var, inner)
    if strides.other > strides.unit or best.extent < 4:
        return (acc, loop)
    pieces = chunks(best.extent, lanes, partial or work.knob("partial", acc.name))
    work.note(f"split accumulator {acc.name} over {best.var} as {', '.join(map(str, pieces))}")
    rebuilt = wrap([replace(n, body=()) for n in nest], inner)
    return split_accumulator(acc, rebuilt, pieces)
