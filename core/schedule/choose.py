"""The heuristic: which transforms suit a kernel on a device, read from its tree and the Spec.

Which loop becomes lanes is decided by how each load moves with it: not at all (the value is shared), by one
element (one vector load) or otherwise (an element at a time). Where an output's loop wins, reductions inside
it run once for all lanes, and a second output loop is unrolled around them where that lets loads be shared: a
register tile. Where a reduction's own loop wins, it gets partial accumulators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from ..device import Spec
from ..loops import (
    Acc,
    Bind,
    Body,
    Kernel,
    Let,
    Loop,
    Memory,
    Scratch,
    Stmt,
    Store,
    Update,
    statements,
    values,
)
from ..ops import Op
from ..value import Access, toposort
from ..work import iterations, weight
from .blocks import schedule_blocks
from .nest import keeps_order, perfect, wrap
from .panels import Tile, panels, sink
from .transforms import chunks, fuse_loops, split, split_accumulator, split_chunks

PARALLEL = 1 << 16
"""Operations and bytes of a kernel below which waking threads costs more than they save."""


TINY = 16
"""Iterations of a nest that are written out rather than looped over."""


def schedule(kernel: Kernel, spec: Spec) -> Kernel:
    """The kernel with its loops cut, reordered and annotated for the device; ``trail`` says how."""
    if spec.warp > 1:  # neighbours run in step, and should touch neighbouring memory
        return schedule_blocks(kernel, spec)
    memories = {} if kernel.aliases else {p.name: p for p in kernel.params}
    work = _Work(spec, [], memories)
    kernel = replace(kernel, params=tuple(_stream(p, kernel, spec) for p in kernel.params))
    body = work.body(kernel.body, outermost=weight(kernel) >= PARALLEL and spec.threads > 1)
    return replace(kernel, body=body, trail=tuple(work.trail))


def _stream(p: Memory, kernel: Kernel, spec: Spec) -> Memory:
    """Outputs larger than the last cache bypass it, where nothing else of the kernel reads them."""
    reread = any(isinstance(v.arg, Access) and v.arg.memory == p.name for v in toposort(values(kernel.body)))
    large = bool(spec.cache_bytes) and p.nbytes >= spec.cache_bytes[-1]
    return replace(p, stream=p.written and large and not reread)


@dataclass(frozen=True, slots=True)
class _Strides:
    """How the loads of some statements move with one loop: how many not at all, by one element, otherwise."""

    shared: int
    unit: int
    other: int

    def cost(self, lanes: int) -> float:
        return 0.1 * self.shared + self.unit + self.other * lanes


@dataclass(slots=True)
class _Work:
    spec: Spec
    trail: list[str]
    memories: Mapping[str, Memory]
    partial: int = 4  # partial accumulators of each reduction, in vectors

    def note(self, text: str) -> None:
        if text not in self.trail:
            self.trail.append(text)

    # ------------------------------------------------------------------ the tree, from the outside in

    def body(self, body: Body, outermost: bool = False) -> Body:
        """Statements side by side: reductions with their accumulators, and at most one loop that stores."""
        out: list[Stmt] = []
        i = 0
        stores = [s for s in body if isinstance(s, Loop) and _stores(s)]
        while i < len(body):
            s = body[i]
            follows = body[i + 1] if i + 1 < len(body) else None
            if isinstance(s, Acc) and isinstance(follows, Loop):
                out += self.reduction(s, follows)
                i += 2
                continue
            if isinstance(s, Loop):
                out += self.spine(s, outermost and stores == [s])
            else:
                out.append(s)
            i += 1
        return tuple(out)

    def spine(self, loop: Loop, outermost: bool) -> Body:
        """A loop over results, with whatever it holds."""
        nest = perfect(loop)
        inner = nest[-1].body
        if any(keeps_order(n) for n in nest):
            return (replace(loop, body=self.body(loop.body)),)
        if not any(isinstance(s, Loop) for s in statements(inner)):
            return self.elementwise(nest, outermost)
        lanes = self.lanes(inner)
        best = self.vector_loop(nest, inner, lanes)
        if best is not None:
            return self.tile(nest, best, lanes, outermost)
        return self.dot_tile(nest, inner, outermost) or self.rows(nest, self.body(inner), outermost)

    def dot_tile(self, nest: Sequence[Loop], inner: Body, outermost: bool) -> Body | None:
        """Reductions along memory of several outputs at once, where the outputs share what is loaded."""
        heavy = _heavy(inner)
        if len(heavy) != 1 or any(isinstance(s, Scratch) for s in statements(inner)):
            return None
        reduced = perfect(heavy[0])[-1]
        loads = [a for a in _loads(reduced.body) if a.index.coefficient(reduced.var) == 1]
        shared = [n for n in nest if n.extent > 1 and any(n.var not in a.index.names() for a in loads)]
        if len(loads) < 2 or not shared or reduced.extent < 2 * self.lanes(reduced.body):
            return None
        tiled = shared[-2:]
        most = 4 if len(tiled) == 1 or self.spec.vector_registers >= 32 else 2
        heights = [_height(n.extent, most if i == len(tiled) - 1 else 4) for i, n in enumerate(tiled)]
        self.partial = max(1, 4 // prod(heights))
        body = self.body(inner)
        self.partial = 4
        for n, h in zip(reversed(tiled), reversed(heights), strict=True):
            cut = chunks(n.extent, 1, h, least=2)
            self.note(f"unroll {n.var} as {', '.join(map(str, cut))}")
            body = split_chunks(replace(n, body=body), cut)
        if len(tiled) == 2:
            body = sink(body)
        return self.finish([n for n in nest if n not in tiled], body, outermost)

    def rows(self, nest: Sequence[Loop], inner: Body, outermost: bool) -> Body:
        """Loops around reductions that are vectorised by themselves."""
        rebuilt = wrap(nest, inner)
        if not outermost:
            return (rebuilt,)
        return (self.grid(rebuilt),)

    def grid(self, loop: Loop) -> Loop:
        """The outermost loop shared out among threads; short ones are fused with the next first."""
        wanted = 4 * self.spec.threads
        while loop.extent < wanted and len(loop.body) == 1 and isinstance(loop.body[0], Loop):
            if loop.body[0].bind is not Bind.SERIAL:
                break
            loop = fuse_loops(loop)
        self.note(f"grid {loop.var} of {loop.extent}")
        return replace(loop, bind=Bind.GRID)

    # ------------------------------------------------------------------ no reduction inside

    def elementwise(self, nest: Sequence[Loop], outermost: bool) -> Body:
        """Loops around nothing but stores: the one along memory becomes lanes."""
        inner = nest[-1].body
        if any(isinstance(s, Scratch | Acc) for s in inner):
            return (self.grid(nest[0]) if outermost else nest[0],)
        lets = {s.name for s in inner if isinstance(s, Let)}
        if any(isinstance(s, Store) and not lets.isdisjoint(s.index.names()) for s in inner):
            return (nest[0],)  # at computed positions, iterations may meet: they keep their order
        lanes = self.lanes(inner)
        order = sorted(
            range(len(nest)), key=lambda i: (self.strides(nest[i].var, inner, True).cost(lanes), -i)
        )
        at = order[0]
        if nest[at].extent < 4 and nest[-1].extent >= 4:
            at = len(nest) - 1
        vector = nest[at]
        around = [*nest[:at], *nest[at + 1 :]]
        heavy = sum(1 for v in toposort(values(inner)) if v.srcs) > 24
        pieces = chunks(vector.extent, lanes, 1 if heavy else 4)
        if len(pieces) == 1 and pieces[0].lanes == 1:
            if not outermost and prod(n.extent for n in nest) <= TINY:
                self.note(f"unroll {', '.join(n.var for n in nest)}")
                return (unrolled(nest, inner),)
            return (self.grid(nest[0]) if outermost else nest[0],)
        self.note(f"vectorize {vector.var} as {', '.join(map(str, pieces))}")
        cut = split_chunks(replace(vector, body=inner), pieces)
        if around:
            return self.rows(around, cut, outermost)
        if outermost and isinstance(cut[0], Loop) and cut[0].extent > 1:
            self.note(f"grid {cut[0].var} of {cut[0].extent}")
            return (replace(cut[0], bind=Bind.GRID), *cut[1:])
        return cut

    # ------------------------------------------------------------------ reductions

    def reduction(self, acc: Acc, loop: Loop) -> Body:
        """A reduction by itself: its innermost loop in partial accumulators where loads follow it."""
        nest = perfect(loop)
        inner = nest[-1].body
        if any(isinstance(s, Loop) for s in statements(inner)) or any(keeps_order(n) for n in nest):
            return (acc, replace(loop, body=self.body(loop.body)))
        if prod(n.extent for n in nest) <= TINY:
            self.note(f"unroll {', '.join(n.var for n in nest)}")
            return (acc, unrolled(nest, inner))
        if any(not isinstance(s, Let | Store | Update) for s in inner):
            return (acc, loop)
        lanes = self.lanes(inner)
        best = min(nest, key=lambda n: (self.strides(n.var, inner).cost(lanes), -nest.index(n)))
        strides = self.strides(best.var, inner)
        if best is not nest[-1]:
            if strides.other or best.extent < lanes:
                best = nest[-1]
            else:
                nest = [n for n in nest if n is not best] + [best]
        strides = self.strides(best.var, inner)
        if strides.other > strides.unit or best.extent < 4:
            return (acc, loop)
        pieces = chunks(best.extent, lanes, self.partial)
        self.note(f"split accumulator {acc.name} over {best.var} as {', '.join(map(str, pieces))}")
        rebuilt = wrap([replace(n, body=()) for n in nest], inner)
        return split_accumulator(acc, rebuilt, pieces)

    def vector_loop(self, nest: Sequence[Loop], inner: Body, lanes: int) -> Loop | None:
        """The output loop whose lanes serve the reductions inside better than their own loops would."""
        costs: list[tuple[float, int]] = []
        heavy = _heavy(inner)
        if any(isinstance(s, Scratch) for s in statements(inner)):
            return None
        reduction = tuple(heavy)
        for i, loop in enumerate(nest):
            s = self.strides(loop.var, reduction)
            if not s.unit or loop.extent < 4:
                continue
            costs.append((s.cost(lanes) * max(1.0, lanes / loop.extent), -i))
        if not costs:
            return None
        cost, at = min(costs)
        own = []
        for h in heavy:
            innermost = [
                s
                for s in statements((h,))
                if isinstance(s, Loop) and not any(isinstance(x, Loop) for x in s.body)
            ]
            own += [self.strides(x.var, x.body).cost(lanes) * max(1.0, lanes / x.extent) for x in innermost]
        if own and sum(own) < cost:
            return None
        return nest[-at]

    def tile(self, nest: Sequence[Loop], vector: Loop, lanes: int, outermost: bool) -> Body:
        """A register tile: ``vector`` as lanes, another output loop unrolled around the reductions inside."""
        inner = nest[-1].body
        rest = [n for n in nest if n is not vector]
        reduction = tuple(_heavy(inner))
        accs = sum(isinstance(s, Acc) for s in statements(inner))
        budget = max(1, (self.spec.vector_registers * 3 // 4) // max(accs, 1))
        rows = self.tile_loop(rest, reduction, vector.var)
        columns = 2 if rows is not None and vector.extent >= 2 * lanes and budget >= 8 else 1
        if rows is None:
            columns = 4 if budget >= 4 and vector.extent >= 4 * lanes * self.spec.threads else 1
        across = chunks(vector.extent, lanes, columns)
        self.note(f"vectorize {vector.var} as {', '.join(map(str, across))}")
        if rows is None:
            body = split_chunks(replace(vector, body=inner), across)
            return self.finish(rest, body, outermost)
        others = [n for n in rest if n is not rows]
        tile = Tile(
            vector, tuple(across), _height(rows.extent, min(budget // columns, 8)),
            *self.room(), self.memories, self.note,
        )  # fmt: skip
        rows = replace(rows, body=inner)
        busy = 2 * self.spec.threads
        around = prod(n.extent for n in others)
        if not outermost or max(around, 1) * (vector.extent // (lanes * columns)) >= busy:
            return self.finish(others, panels(tile, rows), outermost)
        block = tile.height * max(1, rows.extent * around // (tile.height * busy))
        self.note(f"split {rows.var} by {block}")
        blocks: list[Stmt] = []
        for s in split(rows, block):
            assert isinstance(s, Loop)
            within = s.body[0] if s.var == f"{rows.var}_o" else s
            assert isinstance(within, Loop)
            blocks += panels(tile, s) if within is s else (replace(s, body=panels(tile, within)),)
        return self.finish(others, tuple(blocks), outermost)

    def room(self) -> tuple[int, int]:
        """Bytes of a packed panel, and bytes that need no packing.

        A panel may fill half of the nearest cache but one, where a thread has one work item at a time.
        """
        caches = self.spec.cache_bytes
        if not caches or self.spec.max_block > 1:
            return 0, 0
        return caches[min(1, len(caches) - 1)] // 2, caches[0] // 2

    def finish(self, around: Sequence[Loop], body: Body, outermost: bool) -> Body:
        if around:
            return self.rows(around, body, outermost)
        first = body[0]
        if outermost and isinstance(first, Loop) and first.bind is Bind.SERIAL and first.extent > 1:
            self.note(f"grid {first.var} of {first.extent}")
            return (replace(first, bind=Bind.GRID), *body[1:])
        return body

    def tile_loop(self, rest: Sequence[Loop], reduction: Body, vector: str) -> Loop | None:
        """The loop whose copies would share the most vector loads of the reductions inside."""
        best: tuple[int, int, int] | None = None
        for i, loop in enumerate(rest):
            if loop.extent < 2:
                continue
            shared = 0
            for access in _loads(reduction):
                if access.index.coefficient(vector) == 1 and loop.var not in access.index.names():
                    shared += 1
            if shared and (best is None or (shared, min(loop.extent, 8)) > best[:2]):
                best = (shared, min(loop.extent, 8), i)
        return rest[best[2]] if best is not None else None

    # ------------------------------------------------------------------ what loads do

    def lanes(self, body: Body) -> int:
        """How many lanes of the widest dtype that is computed with fill a vector."""
        size = 1
        for v in toposort(values(body)):
            if v.op is not Op.CONST and not v.dtype.is_bool:
                size = max(size, v.dtype.itemsize)
        return max(1, self.spec.vector_bytes // max(size, 1))

    def strides(self, var: str, body: Body, stores: bool = False) -> _Strides:
        """How accesses in ``body`` move with ``var``; stores count too when asked."""
        shared = unit = other = 0
        for access in _loads(body):
            step = access.index.coefficient(var)
            guarded = any(var in m.names() for m in access.guard)
            if guarded or step is None:
                other += 1
            elif step == 0:
                shared += 1
            elif step == 1:
                unit += 1
            else:
                other += 1
        if stores:
            for s in statements(body):
                if isinstance(s, Store):
                    step = s.index.coefficient(var)
                    unit, other = (unit + 2, other) if step == 1 else (unit, other + 2)
        return _Strides(shared, unit, other)


def _heavy(inner: Body) -> list[Loop]:
    """The loops that most of the work is in."""
    loops = [s for s in inner if isinstance(s, Loop)]
    most = max(map(iterations, loops), default=0)
    return [s for s in loops if 4 * iterations(s) >= most]


def unrolled(nest: Sequence[Loop], inner: Body) -> Loop:
    """The nest with every loop unrolled."""
    return wrap([replace(n, bind=Bind.UNROLL) for n in nest], inner)


def _loads(body: Body) -> list[Access]:
    return [v.arg for v in toposort(values(body)) if v.op is Op.LOAD and isinstance(v.arg, Access)]


def _stores(loop: Loop) -> bool:
    return any(isinstance(s, Store) for s in statements((loop,)))


def _height(extent: int, most: int) -> int:
    """How many copies: a divisor of the extent near ``most`` where there is one."""
    if extent <= most:
        return extent
    for h in range(most, most // 2, -1):
        if extent % h == 0:
            return h
    return most
