"""Drain: results that bypass the caches are computed a block at a time, and stored from there.

In: a loop around lets and stores. Out: loops over blocks; in each, what is stored is first computed into
scratch that stays in the nearest cache, and then streamed. A store that bypasses the caches right behind a
long computation is waited for: the few buffers of the processor for such stores fill up a line at a time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from .. import value as val
from ..index import variable
from ..loops import Body, Loop, Memory, Scratch, Stmt, Store
from ..ops import Op
from ..value import Access
from .transforms import by_blocks, chunks, split_chunks

BLOCK = 1024
"""Results of a block: 4 KiB of four-byte elements."""


def can_drain(loop: Loop, streamed: Collection[str]) -> bool:
    """Whether all that the loop stores is streamed, one element after another, and there is a block of it."""
    stores = [s for s in loop.body if isinstance(s, Store)]
    return loop.extent >= BLOCK and all(
        s.memory in streamed and not s.guard and s.index.coefficient(loop.var) == 1 for s in stores
    )


def drained(loop: Loop, lanes: int, copies: int) -> Body:
    """The loop in blocks.

    Args:
        loop: ``can_drain`` of it is true.
        lanes: of a vector.
        copies: vectors side by side of what is stored.
    """

    def block(part: Loop) -> Body:
        at = variable(part.var, part.extent)
        scratch: list[Stmt] = []
        computed: list[Stmt] = []
        stored: list[Stmt] = []
        for s in part.body:
            if not isinstance(s, Store):
                computed.append(s)
                continue
            memory = Memory(f"block_{part.var}_{len(stored)}", s.value.dtype, part.extent, written=True)
            scratch.append(Scratch(memory))
            computed.append(replace(s, memory=memory.name, index=at))
            held = val.make(Op.LOAD, s.value.dtype, (), Access(memory.name, at, ()))
            stored.append(replace(s, value=held))
        first = split_chunks(replace(part, body=tuple(computed)), chunks(part.extent, lanes, 1))
        then = split_chunks(replace(part, body=tuple(stored)), chunks(part.extent, lanes, copies))
        return (*scratch, *first, *then)

    return by_blocks(loop, BLOCK, block)
