"""Division where a device offers it: a · RECIP(b) is one operation, rounded once."""

from __future__ import annotations

from ..ops import Op
from ..value import Extra, Value, toposort


def quotient(old: Value) -> tuple[Value, Value] | None:
    """Dividend and divisor of a product with a reciprocal, where it should be divided."""
    if old.op is Op.MUL:
        for factor, other in (old.srcs, old.srcs[::-1]):
            if other.op is Op.RECIP and not _is_shared(other, factor):
                return factor, other.srcs[0]
    return None


def _is_shared(divisor: Value, dividend: Value) -> bool:
    """Whether one result of a reduction divides many elements: inverted once, it multiplies them."""
    known = {v.op for v in toposort([divisor])}
    return Extra.REF in known and Op.LOAD not in known and Op.LOAD in {v.op for v in toposort([dividend])}
