"""What rounding a product lost: where a device offers FMA, one operation of it.

A composition that needs a product to twice the width (``core/elementary/power.py``) splits both factors into
halves whose products are exact, and adds these up (Dekker 1971). FMA(a, b, -a·b) is the same number.
"""

from __future__ import annotations

from ..ops import Op
from ..record import dataclass
from ..value import Number, Value


@dataclass(frozen=True, slots=True)
class Lost:
    """A product of two values, rounded, whose error is wanted."""

    a: Value
    b: Value
    product: Value


@dataclass(frozen=True, slots=True)
class _Halves:
    """What ``whole`` was split into: ``high`` has half of its bits."""

    whole: Value
    high: Value


def lost_of(v: Value) -> Lost | None:
    """The product whose error a value is; None of a value that is no such error.

    The value is (((ah·bh - p) + ah·bl) + al·bh) + al·bl, of the halves of a and of b, and p = a·b.
    """
    rest, terms = v, []
    for _ in range(3):
        if rest.op is not Op.ADD or rest.srcs[1].op is not Op.MUL:
            return None
        rest, term = rest.srcs
        terms.append(term)
    if rest.op is not Op.SUB or rest.srcs[0].op is not Op.MUL or rest.srcs[1].op is not Op.MUL:
        return None
    first, product = rest.srcs
    low, across, over = terms
    a, b = (_split(x) for x in low.srcs)
    if a is None or b is None:
        return None
    al, bl = low.srcs
    expected = (
        (first, a.high, b.high),
        (over, a.high, bl),
        (across, al, b.high),
        (product, a.whole, b.whole),
    )
    alike = all(p.srcs == (x, y) for p, x, y in expected)
    return Lost(a.whole, b.whole, product) if alike else None


def _split(low: Value) -> _Halves | None:
    """The split that a low half is of: high = c - (c - x) for c = x·(2^k + 1), low = x - high."""
    if low.op is not Op.SUB:
        return None
    whole, high = low.srcs
    if high.op is not Op.SUB or high.srcs[1].op is not Op.SUB:
        return None
    c, back = high.srcs
    if back.srcs != (c, whole) or c.op is not Op.MUL or c.srcs[0] is not whole:
        return None
    factor = c.srcs[1].arg
    half = 2.0 ** ((whole.dtype.mantissa + 2) // 2) + 1
    return _Halves(whole, high) if isinstance(factor, Number) and factor.value == half else None
