"""Turn: elementwise results in square blocks, for operands that lie across them.

In: a loop over rows that holds one over columns, and that one lets and stores; some loads walk memory along
the rows. Out: loops over blocks; in each, the part of such an operand that the block needs is read along its
own neighbours into scratch (``stage``), and the block's results are computed from there by lanes. Meanwhile
the next block's memory is asked for: its rows are too far apart for the processor to foresee.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..index import constant, variable
from ..loops import Body, Loop, Prefetch, Stmt, values
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
    copies: list[Stmt] = []
    asked: list[Prefetch] = []
    body: Body = (replace(row, body=(wide,)),)
    for i, load in enumerate(crossing(row, wide)):
        made = stage(body, load, (row, wide), f"turned_{wide.var}_{i}", lanes)
        copies += (made.scratch, *made.copy)
        body = made.body
        if prefetches and wide is not columns and row.extent == wide.extent:
            asked += _asking(load, row, wide, f"{columns.var}_o")
    (results,) = body
    assert isinstance(results, Loop)
    (wide,) = results.body  # type: ignore[assignment]
    cut = split_chunks(wide, chunks(wide.extent, lanes, 1))
    return (*copies, replace(results, body=(*asked, *cut)))


def _asking(load: Value, row: Loop, wide: Loop, block: str) -> Iterator[Prefetch]:
    """With each row of a block's results, one column of what the next block copies."""
    access = load.arg
    assert isinstance(access, Access)
    step = access.index.coefficient(block)
    if step:
        at = access.index.substitute({row.var: constant(0), wide.var: variable(row.var, row.extent)}) + step
        for element in range(0, row.extent, max(1, LINE // load.dtype.itemsize)):
            yield Prefetch(access.memory, at + element)
