"""Operands that lie across the lanes: which of a reduction's results are worth turning them for.

Of a product with a transposed matrix both operands walk memory along the reduction, and none along a loop
over results. Where many rows read the same columns, those are packed in panels in which they lie side by side
(``stage``): then the columns become lanes like any others. So they do where the one loop that walks memory is
too short to fill tiles, as of a convolution of small images: then the filters are lanes, and all pixels rows
(``together``).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..loops import Body, Loop, Scratch, Store, statements, values
from ..record import dataclass
from ..value import Access
from .nest import keeps_order, perfect
from .scheduling import Room, heavy, loads
from .transforms import fused

ROWS = 48
"""Rows that must read a panel for it to be worth turning: that costs more than a copy."""
WIDEST = 8
"""Bytes of an element, at most."""


@dataclass(frozen=True, slots=True)
class Across:
    """Loops over results.

    Attributes:
        columns: become lanes.
        rows: read them again.
        room: bytes that a panel of columns may have.
        around: loops over results that stay around both, outermost first, where it is said.
    """

    columns: Loop
    rows: Loop
    room: int
    around: tuple[Loop, ...] = ()


def across(nest: Sequence[Loop], inner: Body, room: Room, width: int) -> Across | None:
    """Columns that lie side by side where they are stored, and rows enough to repay their panels; or None.

    Args:
        nest: the loops over results.
        inner: what stands in them.
        room: for a panel.
        width: columns of a panel.
    """
    reductions = heavy(inner)
    if len(reductions) != 1 or any(isinstance(s, Scratch) for s in statements(inner)):
        return None
    reduced = [n for n in perfect(reductions[0]) if not keeps_order(n)]
    if width * prod(n.extent for n in reduced) * WIDEST > room.panel:
        return None
    read = loads((reductions[0],))
    stores = [s for s in statements(inner) if isinstance(s, Store)]
    for columns in reversed(nest):
        turned = [a for a in read if _mentions(a, columns)]
        if columns.extent < width or not turned or len(turned) == len(read):
            continue
        if any(s.index.coefficient(columns.var) != 1 for s in stores):
            continue
        if any(a.index.coefficient(columns.var) is None for a in turned):
            continue
        for rows in nest:
            if rows.extent < ROWS or any(_mentions(a, rows) for a in turned):
                continue
            if any(_mentions(a, rows) for a in read):
                return Across(columns, rows, room.panel)
    return None


TILES = 2
"""Tiles' widths that a loop along memory should have, or be a whole number of."""
TERMS = 64
"""Of each result, from which on it does not matter that results are stored one by one."""
FEWEST = 8
"""Of each result, where no loop over results would be lanes otherwise."""
WALK = 256
"""Terms side by side in both operands, from which on it is as well to walk along them."""
FEW = 32
"""Rows for which a panel of columns is not worth its copy."""


def together(vector: Loop | None, nest: Sequence[Loop], inner: Body, room: Room, width: int) -> Across | None:
    """Columns that share a panel, and all other results that read the same panel as their rows; or None.

    Where the loop along memory is too short for tiles, or there is none, the columns are another loop's.
    Where it is long, and each other loop by itself has too few rows, they are its own.

    Args:
        vector: the loop along memory, one of ``nest``; None where there is none.
        nest, inner, room: as of ``across``; the rows that are given hold ``inner`` in terms of their loop.
        width: columns of a panel.
    """
    reductions = heavy(inner)
    if len(reductions) != 1 or any(isinstance(s, Scratch) for s in statements(inner)):
        return None
    terms = prod(n.extent for n in perfect(reductions[0]))
    read = loads((reductions[0],))
    size = max(v.dtype.itemsize for v in values((reductions[0],)))
    least = TERMS if vector is not None else FEWEST
    if terms < least or width * terms * size > room.alone:
        return None
    last = perfect(reductions[0])[-1]
    if vector is None and last.extent >= WALK and all(a.index.coefficient(last.var) == 1 for a in read):
        return None
    if vector is None or (vector.extent < TILES * width and vector.extent % width != 0):
        candidates = [n for n in reversed(nest) if n is not vector]
    else:
        candidates = []
    if vector is not None and len(nest) > 2 and max(n.extent for n in nest if n is not vector) < FEW:
        candidates.insert(0, vector)
    stores = [s for s in statements(inner) if isinstance(s, Store)]
    fewest = width if vector is not None else width // 2
    found = [
        Across(n, fused([o for o in nest if o is not n and o not in around], inner), room.alone, around)
        for n in candidates
        if n.extent >= fewest and (around := _panel_of(n, nest, read, stores)) is not None
    ]
    # better a panel that all results share; else, where nothing else would be lanes, one of each group
    whole = [a for a in found if not a.around]
    return next(iter(whole or (found if vector is None else ())), None)


def _panel_of(
    columns: Loop, nest: Sequence[Loop], read: Sequence[Access], stores: Sequence[Store]
) -> tuple[Loop, ...] | None:
    """The loops that a panel of columns differs with; None where none can be made, or few rows read it."""
    turned = [a for a in read if _mentions(a, columns)]
    if not turned or len(turned) == len(read):
        return None
    placed = [*((a.index, a.guard) for a in turned), *((s.index, s.guard) for s in stores)]
    if any(index.coefficient(columns.var) is None or guard for index, guard in placed):
        return None
    around = tuple(n for n in nest if n is not columns and any(_mentions(a, n) for a in turned))
    rows = prod(n.extent for n in nest if n is not columns and n not in around)
    return around if rows >= ROWS else None


def _mentions(access: Access, loop: Loop) -> bool:
    return any(loop.var in i.names() for i in access.indices())
