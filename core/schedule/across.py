"""Operands that lie across the lanes: which of a reduction's results are worth turning them for.

Of a product with a transposed matrix both operands walk memory along the reduction, and none along a loop
over results. Where many rows read the same columns, those are packed in panels in which they lie side by side
(``stage``): then the columns become lanes like any others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ..device import Spec
from ..loops import Body, Loop, Scratch, Store, statements
from ..value import Access
from .nest import keeps_order, perfect
from .scheduling import heavy, loads, room

ROWS = 48
"""Rows that must read a panel for it to be worth turning: that costs more than a copy."""
WIDEST = 8
"""Bytes of an element, at most."""


@dataclass(frozen=True, slots=True)
class Across:
    """Loops over results: the columns that become lanes, and the rows that read them again."""

    columns: Loop
    rows: Loop


def across(nest: Sequence[Loop], inner: Body, spec: Spec, width: int) -> Across | None:
    """Columns that lie side by side where they are stored, and rows enough to repay their panels; or None.

    Args:
        nest: the loops over results.
        inner: what stands in them.
        spec: the device's.
        width: columns of a panel.
    """
    reductions = heavy(inner)
    if len(reductions) != 1 or any(isinstance(s, Scratch) for s in statements(inner)):
        return None
    reduced = [n for n in perfect(reductions[0]) if not keeps_order(n)]
    if width * prod(n.extent for n in reduced) * WIDEST > room(spec)[0]:
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
                return Across(columns, rows)
    return None


def _mentions(access: Access, loop: Loop) -> bool:
    return any(loop.var in i.names() for i in access.indices())
