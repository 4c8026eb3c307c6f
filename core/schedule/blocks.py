"""The heuristic for devices with blocks of threads: which loops become work items, threads and lanes.

A kernel with results enough to keep the device busy gets one work item for each (or for a small tile of
them, where a contraction's results share what they load). One with few results and long reductions gets a
block for each result, whose threads share the reductions and meet in shared memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

from ..decisions import YES_OR_NO, Decider, Decisions
from ..device import Spec
from ..loops import Acc, Bind, Body, Kernel, Let, Loop, Scratch, Store, statements, values
from ..ops import Op
from ..record import dataclass
from ..value import Access, toposort
from ..work import iterations
from .block_tiles import Shape, blocked, contraction, shapes
from .nest import keeps_order, perfect
from .tensorize import tensorize
from .together import share
from .transforms import fused, split

LONG = 64
"""Iterations of a result's reductions from which a block's threads share them."""
TILE = 4
"""Results of a contraction that one work item computes along a loop, at most."""
UNROLLED = 4
"""Iterations of a reduction that are written out in a row."""


def schedule_blocks(kernel: Kernel, spec: Spec, decider: Decider) -> Kernel:
    """The kernel with its loops bound to blocks, threads and lanes; ``trail`` says how."""
    work = _Work(spec, Decisions(decider), [])
    body = work.body(kernel.body)
    return replace(kernel, body=body, trail=tuple(work.trail), decisions=tuple(work.decisions.made.values()))


@dataclass(slots=True)
class _Work:
    spec: Spec
    decisions: Decisions
    trail: list[str]

    def body(self, body: Body) -> Body:
        loops = [s for s in body if isinstance(s, Loop)]
        if len(body) == 1 and loops and not _in_order(loops[0]):
            nest = perfect(loops[0])
            inner = nest[-1].body
            if any(map(keeps_order, nest)):
                return body
            results = prod(n.extent for n in nest)
            if not any(isinstance(s, Loop) for s in inner):
                return self.elementwise(nest, inner)
            tiled = tensorize(nest, inner, self.spec.tiles)
            if tiled is not None and prod(n.extent for n in tiled.blocks) <= self.spec.max_grid[0]:
                self.trail.append(tiled.how)
                return self.over(tiled.blocks, tiled.body, self.spec.max_grid[0])
            blocks = self.block_tiles(nest, inner)
            if blocks is not None:
                return blocks
            if not self.is_shared(inner, results):
                return self.items(*self.tile(nest, inner))
            return self.blocks(nest, inner)
        if loops and not any(map(_in_order, loops)) and self.is_shared(body, 1):
            return self.blocks([], body)
        stores = [s for s in loops if any(isinstance(x, Store) for x in statements((s,)))]
        if len(stores) == 1 and body[-1] is stores[0] and not _in_order(stores[0]):
            return (*body[:-1], *self.body((stores[0],)))  # what stands before is computed by everybody
        return body

    def is_shared(self, inner: Body, results: int) -> bool:
        """Whether a block's threads should share the loops of one result."""
        if any(isinstance(s, Scratch) for s in statements(inner)) or self.spec.max_block == 1:
            return False
        work = max(iterations(s) for s in inner if isinstance(s, Loop))
        shared = sum(s.dtype.itemsize for s in inner if isinstance(s, Acc)) * self.threads(inner)
        fits = shared <= self.spec.local_bytes and results <= self.spec.max_grid[0]
        return fits and results < self.spec.threads and work >= LONG

    def threads(self, inner: Body) -> int:
        """How many threads share the loops of one result: a power of two, and some work for each."""
        longest = max(iterations(s) for s in inner if isinstance(s, Loop))
        most = min(self.spec.max_block, max(self.spec.block, self.spec.warp))
        threads = 1 << (most.bit_length() - 1)
        while threads > self.spec.warp and threads > 2 and threads * 2 > longest:
            threads //= 2
        return threads

    def block_tiles(self, nest: Sequence[Loop], inner: Body) -> Body | None:
        """A block for each tile of a contraction, whose threads share what they read; else None."""
        found = contraction(nest, inner)
        fits = shapes(found, self.spec, self.lanes(inner)) if found is not None else []
        if found is None or not fits:
            return None
        row, col = found.rows.var, found.columns.var
        textures = self.spec.images is not None  # their cache is what threads share, without a barrier
        if not self.decisions.ask(f"share {row} and {col}", int(not textures), YES_OR_NO):
            return None

        def chosen(what: str, of: Callable[[Shape], int]) -> list[Shape]:
            value = self.decisions.ask(what, of(fits[0]), sorted(set(map(of, fits))))
            return [s for s in fits if of(s) == value]

        fits = chosen(f"rows of {row}", lambda s: s.rows)
        fits = chosen(f"columns of {col}", lambda s: s.columns)
        fits = chosen("terms of a step", lambda s: s.step)
        made = blocked(found, fits[0])
        if prod(n.extent for n in made.blocks) > self.spec.max_grid[0]:
            return None
        self.trail.append(f"share {row} and {col} among {fits[0]}")
        return self.over(made.blocks, made.body, self.spec.max_grid[0])

    # ------------------------------------------------------------------ work items

    def elementwise(self, nest: Sequence[Loop], inner: Body) -> Body:
        """One element, or one vector of them, for each work item."""
        lanes = self.lanes(inner)
        last = nest[-1]
        busy = prod(n.extent for n in nest) // max(lanes, 1) >= self.spec.threads
        follows = lanes > 1 and busy and last.extent % lanes == 0 and _follow(inner, last.var)
        if follows and self.decisions.whether(f"vectorize {last.var}"):
            self.trail.append(f"vectorize {last.var} by {lanes}")
            (cut,) = split(replace(last, body=inner), lanes, Bind.VECTOR)
            assert isinstance(cut, Loop)
            return self.items([*nest[:-1], cut], cut.body)
        return self.items(nest, inner)

    def tile(self, nest: Sequence[Loop], inner: Body) -> tuple[Sequence[Loop], Body]:
        """A register tile, where neighbouring results of a reduction load the same."""
        reductions = tuple(s for s in inner if isinstance(s, Loop))
        loads = [v.arg for v in toposort(values(reductions)) if isinstance(v.arg, Access)]
        if any(isinstance(s, Scratch) for s in statements(inner)):
            return nest, inner
        nest = list(nest)
        results = prod(n.extent for n in nest)
        for i in reversed(range(len(nest))):
            loop = nest[i]
            saves = any(loop.var not in a.index.names() for a in loads)
            factor = next((f for f in (TILE, 2) if loop.extent % f == 0), 1)
            if not saves or factor == 1 or results // factor < self.spec.threads:
                continue
            could = [f for f in (1, 2, TILE) if factor % f == 0]
            factor = self.decisions.ask(f"copies of {loop.var}", factor, could)
            if factor == 1:
                continue
            vector = factor == self.lanes(inner) and _follow(inner, loop.var)
            how = Bind.VECTOR if vector else Bind.UNROLL
            self.trail.append(f"{'vectorize' if vector else 'unroll'} {loop.var} by {factor}")
            (cut,) = split(replace(loop, body=inner), factor, how)
            assert isinstance(cut, Loop)
            nest[i], inner, results = cut, cut.body, results // factor
        return nest, inner

    def items(self, nest: Sequence[Loop], inner: Body) -> Body:
        """The loops as one, over the work items of the grid."""
        return self.over(nest, inner, self.spec.max_grid[0] * min(self.spec.block, self.spec.max_block))

    def over(self, nest: Sequence[Loop], inner: Body, most: int) -> Body:
        one = fused(nest, inner)
        self.trail.append(f"grid {one.var} of {one.extent}")
        if one.extent <= most:
            return (replace(one, bind=Bind.GRID),)
        each = -(-one.extent // most)
        self.trail.append(f"split {one.var} by {each}")
        return split(replace(one, bind=Bind.GRID), each)

    # ------------------------------------------------------------------ blocks

    def blocks(self, nest: Sequence[Loop], inner: Body) -> Body:
        """A block for each result, whose threads share its loops."""
        most = self.threads(inner)
        threads = self.decisions.ask(
            "threads of a block", most, [most >> n for n in range(3) if most >> n > 1]
        )
        self.trail.append(f"share among {threads} threads")
        body = share(inner, threads)
        if not nest:
            return (Loop("b", 1, (body,), Bind.GRID),)
        return self.over(nest, (body,), self.spec.max_grid[0])

    def lanes(self, body: Body) -> int:
        """How many lanes of the widest dtype fill a vector."""
        sizes = [
            v.dtype.itemsize for v in toposort(values(body)) if v.op is not Op.CONST and not v.dtype.is_bool
        ]
        return self.spec.lanes_of(max(sizes, default=1))


def _in_order(loop: Loop) -> bool:
    """Whether iterations may store to one place: at computed positions the last one stays."""
    lets = {s.name for s in statements((loop,)) if isinstance(s, Let | Acc)}
    return any(isinstance(s, Store) and not lets.isdisjoint(s.index.names()) for s in statements((loop,)))


def _follow(body: Body, var: str) -> bool:
    """Whether every access moves with the loop by one element or not at all, unguarded by it."""
    accesses = [(v.arg.index, v.arg.guard) for v in toposort(values(body)) if isinstance(v.arg, Access)]
    stores = [s for s in statements(body) if isinstance(s, Store)]
    accesses += [(s.index, s.guard) for s in stores]
    stored = [s.index.coefficient(var) == 1 for s in stores]
    return all(stored) and all(
        i.coefficient(var) in (0, 1) and not any(var in g.names() for g in guard) for i, guard in accesses
    )
