"""Turn: elementwise results in square blocks, for operands that lie across them.

In: a loop over rows that holds one over columns, and that one lets and stores; some loads walk memory along
the rows. Out: loops over blocks; in each, the part of such an operand that the block needs is read along its
own neighbours into scratch (``stage``), and the block's results are computed from there by lanes. While one
block is copied, the next one's memory is asked for: its rows are too far apart for the processor to foresee.
"""

from __future__ import annotations

from dataclasses import replace

from ..index import Index
from ..loops import Body, Loop, Prefetch, Scratch, Store, values
from ..ops import Op
from ..value import Access, Value, toposort
from .stage import stage
from .transforms import by_blocks, chunks, split_chunks

BLOCK = 64
"""Rows and columns of a block: 16 KiB of four-byte elements, in a nearest cache of 32."""
LINE = 64
"""Bytes that memory moves at once, or half of them."""


def crossing(rows: Loop, columns: Loop) -> list[Value]:
    """The loads that walk memory along the rows, and lie far apart along the columns."""
    found = []
    for v in toposort(values(columns.body)):
        if v.op is not Op.LOAD or not isinstance(v.arg, Access) or v.arg.guard:
            continue
        across, along = v.arg.index.coefficient(columns.var), v.arg.index.coefficient(rows.var)
        if across is not None and abs(across) > 1 and along == 1:
            found.append(v)
    return found


def turned(rows: Loop, lanes: int, prefetches: bool = True) -> Body:
    """The loops in blocks; ``rows`` holds the loop over columns alone."""

    def high(row: Loop) -> Body:
        (columns,) = row.body
        assert isinstance(columns, Loop)
        return by_blocks(columns, BLOCK, lambda wide: _block(row, columns, wide, lanes, prefetches))

    return by_blocks(rows, BLOCK, high)


def _block(row: Loop, columns: Loop, wide: Loop, lanes: int, prefetches: bool) -> Body:
    """One block: what lies across it copied, then its results."""
    copies: list[Scratch | Loop] = []
    body: Body = (replace(row, body=(wide,)),)
    for i, load in enumerate(crossing(row, wide)):
        scratch, copy, *body_ = stage(body, load, (row, wide), f"turned_{wide.var}_{i}")
        assert isinstance(scratch, Scratch)
        assert isinstance(copy, Loop)
        body = tuple(body_)
        ahead = f"{columns.var}_o" if wide is not columns else ""
        copies += (scratch, _asking(copy, ahead) if prefetches and wide.var != f"{columns.var}_t" else copy)
    (results,) = body
    assert isinstance(results, Loop)
    (wide,) = results.body  # type: ignore[assignment]
    return (*copies, replace(results, body=split_chunks(wide, chunks(wide.extent, lanes, 1))))


def _asking(copy: Loop, block: str) -> Loop:
    """The copy, which asks in each of its rows for the same row of the next block."""
    (inner,) = copy.body
    assert isinstance(inner, Loop)
    (store,) = inner.body
    assert isinstance(store, Store)
    access = store.value.arg
    assert isinstance(access, Access)
    step = access.index.coefficient(block) if block else None
    if not step:
        return copy
    first = access.index.substitute({inner.var: Index(0, ())}) + step
    elements = max(1, LINE // store.value.dtype.itemsize)
    asked = tuple(Prefetch(access.memory, first + at) for at in range(0, inner.extent, elements))
    return replace(copy, body=(*asked, inner))
