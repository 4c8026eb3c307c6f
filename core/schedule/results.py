"""Loops over results that are reductions: several results at once, where that lets loads be shared.

Where a loop over results walks memory, its iterations become lanes (``tiled``): in a register tile with the
rows beside it where these share what is loaded, in a stripe where the reduction runs down columns that lie
far apart, or alone. Where the reduction walks memory itself, and rows and columns share what it loads, blocks
of results are reduced side by side (``along_memory``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

from ..device import Extra
from ..loops import Acc, Body, Let, Loop, Scratch, statements
from .across import WIDEST, across, together
from .deep import deepened, depth
from .nest import perfect
from .panels import FAR, REUSE, Tile, panels, sink
from .scheduling import Scheduling, heavy, loads
from .stripe import column, striped
from .transforms import by_blocks, chunks, split_chunks
from .widen import widen


def tiled(work: Scheduling, nest: Sequence[Loop], outermost: bool) -> Body | None:
    """An output loop as lanes; None where the reductions' own loops serve better."""
    inner = nest[-1].body
    lanes = work.lanes(inner)
    vector = _vector_loop(work, nest, inner, lanes)
    room = work.room()
    panel, near = room.panel, room.unpacked
    turned = None
    if vector is None:
        turned = across(nest, inner, room, 2 * lanes)
        if turned is not None and not work.decisions.whether(f"turn {turned.columns.var}"):
            turned = None
    if turned is None:
        turned = together(vector, nest, inner, room, 2 * lanes)
        if turned is not None and not work.decisions.whether(f"fuse {turned.rows.var}"):
            turned = None
        if turned is not None:
            work.note(f"fuse {turned.rows.var}")
            nest, inner = [*turned.around, turned.columns, turned.rows], turned.rows.body
    if turned is None and vector is None:
        return None
    if turned is not None:
        vector, panel, near = turned.columns, turned.room, 0
    assert vector is not None
    rest = [n for n in nest if n is not vector]
    accs = sum(isinstance(s, Acc) for s in statements(inner))
    budget = max(1, (work.spec.vector_registers * 3 // 4) // max(accs, 1))
    rows = turned.rows if turned is not None else _shares_most(rest, tuple(heavy(inner)), vector.var)
    filled = rows is not None and turned is None and _fills_up(work, vector, rows, inner, lanes)
    filled = filled and work.decisions.whether(f"widen {vector.var}")
    if filled:
        work.note(f"widen {vector.var} to {lanes}")
        vector, near = widen(replace(vector, body=inner), lanes), 0
        inner = vector.body
    if rows is not None:
        columns = min(work.knob("vectors", vector.var), budget // 4, vector.extent // lanes) or 1
        pieces = tuple(chunks(vector.extent, lanes, columns, twice=work.again(inner)))
        work.note(f"vectorize {vector.var} as {', '.join(map(str, pieces))}")
        most = min(budget // columns, work.knob("rows", rows.var))
        height = _height(rows.extent, most, IN_FLIGHT // columns)
        vector = replace(vector, body=inner)
        tile = Tile(
            vector, pieces, height, panel, near, work.memories, 2 * work.spec.threads, work.note,
            always=filled or turned is not None,
        )  # fmt: skip
        others = [n for n in rest if n is not rows]
        rows = replace(rows, body=inner)
        cut = depth(work, tile, rows, prod(n.extent for n in others)) if outermost and not filled else None
        if cut is not None and work.decisions.whether(f"deepen {rows.var}"):
            return work.finish(others, deepened(work, tile, rows, cut), outermost)
        return work.finish(others, _panels(work, tile, rows, others, outermost), outermost)
    loop = replace(vector, body=inner)
    if _is_far(work, loop, lanes) and work.decisions.whether(f"stripe {loop.var}"):
        return work.finish(rest, _stripes(work, loop, lanes), outermost)
    apart = work.spec.threads if outermost else 1  # work items that the columns are to make
    columns = max(1, min(4, budget, vector.extent // (lanes * apart)))
    pieces = tuple(chunks(vector.extent, lanes, columns, twice=work.again(inner)))
    work.note(f"vectorize {vector.var} as {', '.join(map(str, pieces))}")
    return work.finish(rest, split_chunks(loop, pieces), outermost)


def _stripes(work: Scheduling, loop: Loop, lanes: int) -> Body:
    """Far columns in stripes, one a thread at least, whose sums half of the nearest cache holds."""
    spec = work.spec
    size = max(s.dtype.itemsize for s in loop.body if isinstance(s, Acc))
    most = min(work.knob("stripe", loop.var), spec.cache_bytes[0] // (2 * size), loop.extent // spec.threads)
    width = max(8 * lanes, most // lanes * lanes)
    work.note(f"stripe {loop.var} by {width}")
    return by_blocks(loop, width, lambda part: striped(part, lanes, Extra.FMA in spec.extras))


def along_memory(
    work: Scheduling, nest: Sequence[Loop], outermost: bool, reduce: Callable[[int], Body]
) -> Body | None:
    """Reductions along memory of several results at once, where these share what is loaded; else None.

    Args:
        reduce: what stands in the nest, scheduled, with so many partial accumulators.
    """
    inner = nest[-1].body
    most_work = heavy(inner)
    if len(most_work) != 1 or any(isinstance(s, Scratch) for s in statements(inner)):
        return None
    reduced = perfect(most_work[0])[-1]
    along = [a for a in loads(reduced.body) if a.index.coefficient(reduced.var) == 1]
    shared = [n for n in nest if n.extent > 1 and any(n.var not in a.index.names() for a in along)]
    if len(along) < 2 or not shared or reduced.extent < 2 * work.lanes(reduced.body):
        return None
    chosen = shared[-2:]
    if not work.decisions.whether(f"unroll {' and '.join(n.var for n in chosen)}"):
        return None
    most = 4 if len(chosen) == 1 or work.spec.vector_registers >= 32 else 2
    heights = [_height(n.extent, most if i == len(chosen) - 1 else 4) for i, n in enumerate(chosen)]
    body = reduce(max(1, IN_FLIGHT // prod(heights)))
    for n, h in zip(reversed(chosen), reversed(heights), strict=True):
        cut = chunks(n.extent, 1, h)
        work.note(f"unroll {n.var} as {', '.join(map(str, cut))}")
        body = split_chunks(replace(n, body=body), cut)
    if len(chosen) == 2:
        body = sink(body)
    return work.finish([n for n in nest if n not in chosen], body, outermost)


def _vector_loop(work: Scheduling, nest: Sequence[Loop], inner: Body, lanes: int) -> Loop | None:
    """The output loop whose lanes serve the reductions inside better than their own loops would."""
    if any(isinstance(s, Scratch) for s in statements(inner)):
        return None
    costs: list[tuple[float, int]] = []
    reductions = heavy(inner)
    for i, loop in enumerate(nest):
        s = work.strides(loop.var, tuple(reductions))
        if s.unit and loop.extent >= 4:
            costs.append((s.cost(lanes) * max(1.0, lanes / loop.extent), -i))
    if not costs:
        return None
    cost, at = min(costs)
    own = [
        work.strides(x.var, x.body).cost(lanes) * max(1.0, lanes / x.extent)
        for x in statements(tuple(reductions))
        if isinstance(x, Loop) and not any(isinstance(y, Loop) for y in x.body)
    ]
    return None if own and sum(own) < cost else nest[-at]


def _panels(work: Scheduling, tile: Tile, rows: Loop, others: Sequence[Loop], outermost: bool) -> Body:
    """Panels of all rows, or of blocks of them where there are too few panels for the threads."""
    busy = 2 * work.spec.threads
    around = prod(n.extent for n in others)
    if not outermost or around * tile.across[0].iterations >= busy:
        return panels(tile, rows)
    block = tile.height * max(1, rows.extent * around // (tile.height * busy))
    work.note(f"split {rows.var} by {block}")
    return by_blocks(rows, block, lambda part: panels(tile, part))


def _fills_up(work: Scheduling, vector: Loop, rows: Loop, inner: Body, lanes: int) -> bool:
    """Whether columns are too few for a vector, and read from a panel that can be filled up."""
    narrow = vector.extent < lanes and vector.extent & (vector.extent - 1)
    reductions = heavy(inner)
    if not narrow or len(reductions) != 1 or any(isinstance(s, Let) for s in statements(inner)):
        return False
    terms = prod(n.extent for n in perfect(reductions[0]))
    blocks = 2 * work.spec.threads
    if rows.extent < REUSE * work.spec.knobs.rows * blocks or terms * lanes * WIDEST > work.room().panel:
        return False
    read = [a for a in loads((reductions[0],)) if any(vector.var in i.names() for i in a.indices())]
    memories = [work.memories.get(a.memory) for a in read]
    return all(m is not None and not m.written for m in memories) and all(
        not a.guard and rows.var not in a.index.names() for a in read
    )


def _shares_most(rest: Sequence[Loop], reduction: Body, vector: str) -> Loop | None:
    """The loop whose copies would share the most vector loads of the reductions inside."""
    best: tuple[int, int, int] | None = None
    for i, loop in enumerate(rest):
        if loop.extent < 2:
            continue
        shared = 0
        for access in loads(reduction):
            if access.index.coefficient(vector) == 1 and loop.var not in access.index.names():
                shared += 1
        if shared and (best is None or (shared, min(loop.extent, 8)) > best[:2]):
            best = (shared, min(loop.extent, 8), i)
    return rest[best[2]] if best is not None else None


def _is_far(work: Scheduling, loop: Loop, lanes: int) -> bool:
    """Whether a loop over results holds one reduction, down columns whose elements lie far apart."""
    held = column(loop.body)
    if held is None or len(held.reduced) > 1 or not work.spec.near_bytes or loop.extent < 8 * lanes:
        return False
    down = held.reduced[-1]
    along = [a for a in loads(down.body) if a.index.coefficient(loop.var) == 1]
    return down.extent >= 8 and any(abs(a.index.coefficient(down.var) or 0) >= FAR for a in along)


def _height(extent: int, most: int, least: int = 1) -> int:
    """How many copies of a loop stand side by side, so that all of it takes least.

    Copies take as long as there are, but never less than ``least`` would, and half a copy's time for the loop
    around them. Of what takes the same, what leaves no rest is less code.

    Args:
        extent: of the loop.
        most: copies that there is room for.
        least: copies below which the next step waits for the last one's result.
    """

    def cost(height: int) -> tuple[float, bool, int]:
        whole, rest = divmod(extent, height)
        time = whole * (max(height, least) + 0.5) + (max(rest, least) + 0.5 if rest else 0)
        return time, rest > 0, -height

    return min(range(1, min(extent, most) + 1), key=cost)


IN_FLIGHT = 8
"""Multiply-adds that are under way at once: two a cycle, of which each takes four, on most processors."""
