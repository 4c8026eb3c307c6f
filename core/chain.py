"""Kernels one after another as one, where each block of the last needs only such a block of those before.

In: fresh kernels in running order, of which later ones read what earlier ones write, and how many blocks the
results are cut into. Out: one kernel: a loop over the blocks, and in it, one after another, the kernels' own
loops over the results of that block. What is handed on is scratch memory of one block, which stays in a near
cache: the scores of attention are never written to memory, whatever their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from math import prod

from . import value as val
from .device import Spec
from .index import Index, constant, variable
from .loops import Acc, Body, Kernel, Let, Loop, Scratch, Stmt, Store, map_body, statements, values
from .ops import Op
from .rename import map_values, rename, substitute
from .schedule.nest import perfect
from .schedule.transforms import fuse_loops
from .siblings import Cut
from .value import Access, Value, toposort

BLOCK = "block"
"""The variable of the loop over blocks."""


def chain(kernels: Sequence[Kernel], blocks: int) -> Kernel | None:
    """The kernels as one; None where a block needs more of an earlier kernel than such a block.

    Args:
        kernels: fresh, with one written parameter each, no two of one name. What a later one reads under the
            name of an earlier one's is handed on, and read by nobody else.
        blocks: how many; of the results of each kernel there are a multiple.
    """
    *before, last = kernels
    handed = {m.name: m for k in before for m in k.params if m.written}
    block = variable(BLOCK, blocks)
    body: Body = ()
    for m in handed.values():
        if m.size % blocks:
            return None
        body += (Scratch(replace(m, size=m.size // blocks, written=True)),)
    for i, kernel in enumerate(kernels):
        own = _of_block(kernel, blocks)
        if own is None:
            return None
        own = rename(own, {s.name: f"{s.name}_{i}" for s in statements(own) if isinstance(s, Let | Acc)})
        for name, m in handed.items():
            inside = _within(own, name, block * (m.size // blocks))
            if inside is None:
                return None
            own = inside
        body += own
    read = {m.name: m for k in kernels for m in k.params if not m.written and m.name not in handed}
    return Kernel((*(m for m in last.params if m.written), *read.values()), (Loop(BLOCK, blocks, body),))


def cut_for(kernels: Sequence[Kernel], spec: Spec) -> Cut | None:
    """Into how many blocks a chain had better be cut; None where the kernels are better by themselves.

    They are where too few blocks keep the threads busy, where what is handed on fits no near cache, and where
    what each block reads anew of the other operands would be more than what is not written and read any more.
    """
    handed = sum(m.nbytes for k in kernels[:-1] for m in k.params if m.written)
    fitting = (
        n
        for n in numbers_of_blocks(kernels[-1])
        if keeps_busy(n, spec.threads) and handed <= spec.near_bytes * n
    )
    for blocks in islice(fitting, TRIED):
        made = chain(kernels, blocks)
        if made is not None:
            return Cut(blocks) if _read_anew(made) <= handed else None
    return None


def keeps_busy(blocks: int, threads: int) -> bool:
    """Whether no thread waits long for another's last block."""
    return blocks >= 8 * threads or (blocks >= 2 * threads and blocks % threads == 0)


TRIED = 3
"""Numbers of blocks that are tried, the fewest first: what more blocks would need is rarely less."""


def numbers_of_blocks(kernel: Kernel) -> Iterator[int]:
    """Into how many blocks the results of a kernel can be cut, the fewest first; rows stay together."""
    loop = kernel.body[0] if len(kernel.body) == 1 else None
    nest = perfect(loop) if isinstance(loop, Loop) else []
    around = 1
    for left, n in zip(reversed(range(len(nest))), nest, strict=True):
        for d in range(1, n.extent):
            if n.extent % d == 0 and (d == 1 or left >= 2 or n.extent // d >= ROWS):
                yield around * d
        around *= n.extent


ROWS = 48
"""Rows that a block has at least, unless there are no more: of fewer, tiles are not at their best."""


def _of_block(kernel: Kernel, blocks: int) -> Body | None:
    """What computes one block of a kernel's results, BLOCK its number."""
    loop = kernel.body[0] if len(kernel.body) == 1 else None
    if not isinstance(loop, Loop):
        return None
    while loop.extent % blocks:
        if len(loop.body) != 1 or not isinstance(loop.body[0], Loop):
            return None
        loop = fuse_loops(loop)
    each = loop.extent // blocks
    block = variable(BLOCK, blocks)
    if each == 1:
        return substitute(loop.body, {loop.var: block})
    at = block * each + variable(loop.var, each)
    return (replace(loop, extent=each, body=substitute(loop.body, {loop.var: at})),)


def _within(body: Body, name: str, start: Index) -> Body | None:
    """The statements with what they access of a memory counted from ``start``; None where that is not all.

    An access stays in its block when neither where it is nor whether it is depends on the number of the
    block any more: then it is in every block what it is in the first and in the last.
    """
    stays = True

    def moved(index: Index, guard: Sequence[Index]) -> Index:
        nonlocal stays
        index = index - start
        stays = stays and not any(BLOCK in i.names() for i in (index, *guard))
        return index

    def rule(v: Value, srcs: tuple[Value, ...]) -> Value | None:
        access = v.arg
        if v.op is not Op.LOAD or not isinstance(access, Access) or access.memory != name:
            return None
        at = replace(access, index=moved(access.index, access.guard))
        return val.make(Op.LOAD, v.dtype, (), at, v.lanes)

    memo: dict[Value, Value] = {}
    body = map_values(body, lambda v: val.rewrite([v], rule, memo)[0], lambda i: i)

    def stored(s: Stmt) -> Body | None:
        if isinstance(s, Store) and s.memory == name:
            return (replace(s, index=moved(s.index, s.guard)),)
        return None

    body = map_body(body, stored)
    return body if stays else None


def _read_anew(kernel: Kernel) -> int:
    """Bytes of operands that a chain's blocks read, in all, beyond what its kernels would."""
    (loop,) = kernel.body
    assert isinstance(loop, Loop)
    touched = dict.fromkeys((m.name for m in kernel.params), 0)
    for v in toposort(values(loop.body)):
        access = v.arg
        if v.op is Op.LOAD and isinstance(access, Access) and access.memory in touched:
            of_first = access.index.substitute({BLOCK: constant(0)})
            ways = {a.key: a.hi - a.lo + 1 for a in of_first.atoms() if a.inner is None}
            touched[access.memory] += min(of_first.hi - of_first.lo + 1, prod(ways.values()))
    return sum(
        max(0, loop.extent * min(touched[m.name], m.size) - m.size) * m.dtype.itemsize for m in kernel.params
    )
