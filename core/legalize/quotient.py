"""Division where a device offers it: a · RECIP(b) is one operation, rounded once."""

from __future__ import annotations

from collections.abc import Mapping

from ..ops import Op
from ..value import Extra, Value, toposort
from .term import Target


def quotient(
    target: Target, old: Value, srcs: tuple[Value, ...], memo: Mapping[Value, Value]
) -> Value | None:
    """``old`` as a division, if it is a product with a reciprocal and the device divides.

    Args:
        target: what to make it for.
        old: any value.
        srcs: its operands, legalized.
        memo: what every value below ``old`` was legalized to.
    """
    if old.op is Op.MUL and target.divides:
        for factor, other in ((0, 1), (1, 0)):
            if old.srcs[other].op is Op.RECIP and not _is_shared(old.srcs[other], old.srcs[factor]):
                return target.divide(srcs[factor], memo[old.srcs[other].srcs[0]])
    return None


def _is_shared(divisor: Value, dividend: Value) -> bool:
    """Whether one result of a reduction divides many elements: inverted once, it multiplies them."""
    known = {v.op for v in toposort([divisor])}
    return Extra.REF in known and Op.LOAD not in known and Op.LOAD in {v.op for v in toposort([dividend])}
