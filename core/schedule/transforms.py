"""The schedule's vocabulary: pure functions from statements to statements that keep their meaning.

Every result means the same as a plain tree, so each can be checked by the interpreter, before and after. A
reduction may be folded in another order; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from .. import value as val
from ..errors import KernelError
from ..index import variable
from ..loops import Acc, Bind, Body, Let, Loop, Stmt, Store, Update
from ..record import dataclass
from ..rename import substitute
from .nest import wrap


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a loop, from ``start``: ``iterations`` times ``unroll`` copies of ``lanes`` elements.

    The first ``again`` of them are in the piece before it, too.
    """

    start: int
    iterations: int
    unroll: int
    lanes: int
    again: int = 0

    @property
    def size(self) -> int:
        """How many elements it covers that none before it does."""
        return self.iterations * self.unroll * self.lanes - self.again

    def __str__(self) -> str:
        again = f" ({self.again} again)" if self.again else ""
        return f"{self.iterations}x{self.unroll}x{self.lanes}{again}"


def chunks(extent: int, lanes: int, unroll: int, least: int = 4, twice: bool = False) -> list[Chunk]:
    """How a loop of ``extent`` is cut: unrolled vectors first, then what is left of it.

    Args:
        extent: of the loop.
        lanes: of a vector.
        unroll: vectors side by side.
        least: lanes of the narrowest vector that what is left may be cut into, down to single elements.
        twice: whether iterations may be run twice: then the last vector is whole, and begins that much
            earlier. Of a loop shorter than a vector, vectors are as wide as the loop lets one be.
    """
    if twice and least <= extent < lanes:
        lanes = 1 << (extent.bit_length() - 1)
    width = unroll * lanes
    whole, rest = divmod(extent, width)
    if lanes == 1 or (twice and extent >= lanes):
        out = [Chunk(0, whole, unroll, lanes)] if whole else []
        single = -(-rest // lanes)
        if rest and single * lanes <= extent:
            out.append(Chunk(extent - single * lanes, 1, single, lanes, single * lanes - rest))
        elif rest:  # less than its vectors are in all: those that are whole, and one more
            single -= 1
            out.append(Chunk(0, 1, single, lanes))
            out.append(Chunk(extent - lanes, 1, 1, lanes, (single + 1) * lanes - rest))
        return out
    out = []
    start = 0
    steps = [(unroll, lanes)] if unroll > 1 else []
    width = lanes
    while width >= least and width > 1:
        steps.append((1, width))
        width //= 2
    steps.append((1, 1))
    for copies, width in steps:
        n = (extent - start) // (copies * width)
        if n:
            out.append(Chunk(start, n, copies, width))
            start += n * copies * width
    return out


def split(loop: Loop, factor: int, inner: Bind = Bind.SERIAL) -> Body:
    """``v`` as ``v_o`` around ``v_i < factor``; what does not fill a whole ``v_i`` follows as ``v_t``."""
    whole, rest = divmod(loop.extent, factor)
    out: list[Stmt] = []
    if whole:
        outer, within = variable(f"{loop.var}_o", whole), variable(f"{loop.var}_i", factor)
        body = substitute(loop.body, {loop.var: outer * factor + within})
        nest = Loop(f"{loop.var}_i", factor, body, inner)
        out.append(Loop(f"{loop.var}_o", whole, (nest,), loop.bind))
    if rest:
        tail = variable(f"{loop.var}_t", rest) + whole * factor
        bound = Bind.SERIAL if loop.bind is Bind.GRID else loop.bind
        out.append(Loop(f"{loop.var}_t", rest, substitute(loop.body, {loop.var: tail}), bound))
    return tuple(out)


def by_blocks(loop: Loop, factor: int, make: Callable[[Loop], Body]) -> Body:
    """``split``, whose inner loop and what follows it become what ``make`` gives of them."""
    out: list[Stmt] = []
    for s in split(loop, factor):
        assert isinstance(s, Loop)
        inner = s.body[0] if s.var == f"{loop.var}_o" else s
        assert isinstance(inner, Loop)
        out += make(s) if inner is s else (replace(s, body=make(inner)),)
    return tuple(out)


def split_chunks(loop: Loop, pieces: Sequence[Chunk]) -> Body:
    """A loop cut into chunks: ``va_o`` around ``va_u`` (unrolled) around ``va_i`` (lanes), then ``vb_o`` …"""
    out: list[Stmt] = []
    for k, c in enumerate(pieces):
        v = f"{loop.var}{'abcdefgh'[k]}"
        outer, copy, lane = (
            variable(f"{v}_o", c.iterations), variable(f"{v}_u", c.unroll), variable(f"{v}_i", c.lanes)
        )  # fmt: skip
        at = outer * (c.unroll * c.lanes) + copy * c.lanes + lane + c.start
        body = substitute(loop.body, {loop.var: at})
        if c.lanes > 1:
            body = (Loop(f"{v}_i", c.lanes, body, Bind.VECTOR),)
        if c.unroll > 1:
            body = (Loop(f"{v}_u", c.unroll, body, Bind.UNROLL),)
        out.append(Loop(f"{v}_o", c.iterations, body))
    return tuple(out)


def bind(loop: Loop, how: Bind) -> Loop:
    """The loop, run another way."""
    return replace(loop, bind=how)


def interchange(outer: Loop) -> Loop:
    """Two loops with nothing between them, the other way round."""
    if len(outer.body) != 1 or not isinstance(outer.body[0], Loop):
        raise KernelError(f"loop {outer.var} holds more than one loop: it can't be interchanged")
    inner = outer.body[0]
    return replace(inner, body=(replace(outer, body=inner.body),))


def fuse_loops(outer: Loop) -> Loop:
    """Two loops with nothing between them as one, over both extents."""
    if len(outer.body) != 1 or not isinstance(outer.body[0], Loop):
        raise KernelError(f"loop {outer.var} holds more than one loop: it can't be fused")
    inner = outer.body[0]
    name = f"{outer.var}{inner.var}"
    both = variable(name, outer.extent * inner.extent)
    body = substitute(inner.body, {outer.var: both // inner.extent, inner.var: both % inner.extent})
    return Loop(name, outer.extent * inner.extent, body, outer.bind)


def fused(loops: Sequence[Loop], inner: Body) -> Loop:
    """Loops around some statements, outermost first, as one."""
    one = wrap(loops, inner)
    for _ in loops[1:]:
        one = fuse_loops(one)
    return one


def split_accumulator(acc: Acc, loop: Loop, pieces: Sequence[Chunk]) -> Body:
    """A reduction in partial accumulators: one for each lane and copy of each chunk of its innermost loop.

    ``loop`` is the reduction's outermost loop; its nest must be loops with nothing between them around lets,
    stores and updates of ``acc``. The partial results are folded into ``acc`` at the end of each chunk.
    """
    outer: list[Loop] = []
    inner = loop
    while len(inner.body) == 1 and isinstance(inner.body[0], Loop):
        outer.append(inner)
        inner = inner.body[0]
    if any(
        not isinstance(s, Let | Store | Update) or (isinstance(s, Update) and s.name != acc.name)
        for s in inner.body
    ):
        raise KernelError(f"the loops of {acc.name} hold more than its update")
    out: list[Stmt] = [acc]
    for k, c in enumerate(pieces):
        v = f"{inner.var}{'abcdefgh'[k]}"
        steps = variable(f"{v}_o", c.iterations)
        at = (
            steps * (c.unroll * c.lanes)
            + variable(f"{v}_u", c.unroll) * c.lanes
            + variable(f"{v}_i", c.lanes)
            + c.start
        )
        body = substitute(inner.body, {inner.var: at})
        partial = f"{acc.name}{'abcdefgh'[k]}"
        if c.lanes * c.unroll > 1:
            body = tuple(replace(s, name=partial) if isinstance(s, Update) else s for s in body)
        nest: Stmt = Loop(f"{v}_o", c.iterations, body)
        for around in reversed(outer):
            nest = replace(around, body=(nest,))
        if c.lanes * c.unroll == 1:
            out.append(nest)
            continue
        fold = Update(acc.name, acc.op, val.ref(partial, acc.dtype))
        body = (replace(acc, name=partial), nest, fold)
        if c.lanes > 1:
            body = (Loop(f"{v}_i", c.lanes, body, Bind.VECTOR),)
        if c.unroll > 1:
            body = (Loop(f"{v}_u", c.unroll, body, Bind.UNROLL),)
        out += body
    return tuple(out)
