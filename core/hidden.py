"""Terms that no row of a block sees: of a masked score, from which block of terms on all are nothing.

In: a score, ``WHERE(row < column, nothing, x)`` or the like, at a position made of a block of terms and of
loops inside it. Out: the first block of terms in which the condition hides all that these loops reach: it
adds nothing to what is kept of a row, nor do those that follow.

What is left out is not read either: 0 times a NaN that only later rows may see is not computed.
"""

from __future__ import annotations

from collections.abc import Sequence

from .index import Index, constant
from .loops import Loop
from .ops import Op
from .value import Extra, Number, Value


def hidden_from(score: Value, nothing: float, block: str, inside: Sequence[Loop]) -> Index | None:
    """The first block whose scores are all ``nothing``; None where that is not seen.

    Args:
        score: a value.
        nothing: what is hidden.
        block: the variable that counts blocks of terms.
        inside: the loops over what is in a block.
    """
    if score.op is not Op.WHERE:
        return None
    condition, yes, no = score.srcs
    if _is(no, nothing):
        hides = False
    elif _is(yes, nothing):
        hides = True
    else:
        return None
    if condition.op is Op.XOR and _is(condition.srcs[1], True):
        condition, hides = condition.srcs[0], not hides
    if condition.op is not Op.CMPLT:
        return None
    a, b = (_position(v) for v in condition.srcs)
    if a is None or b is None:
        return None
    ahead = b - a if hides else a - b + 1  # all is hidden where this is 1 or more everywhere
    for loop in inside:
        step = ahead.coefficient(loop.var)
        if step is None:
            return None
        ahead = ahead.substitute({loop.var: constant(0 if step >= 0 else loop.extent - 1)})
    step = ahead.coefficient(block)
    if not step or step < 0:
        return None
    before = constant(step) - ahead.substitute({block: constant(0)})
    return before // step if before.lo >= 0 else None


def _is(v: Value, number: float) -> bool:
    return isinstance(v.arg, Number) and v.op is Op.CONST and v.arg.value == number


def _position(v: Value) -> Index | None:
    """A whole number that is made of positions, as one; None of any other value."""
    if v.op is Extra.INDEX and isinstance(v.arg, Index):
        return v.arg
    if v.op is Op.CONST and isinstance(v.arg, Number) and v.dtype.is_int:
        return constant(int(v.arg.value))
    if v.op in (Op.ADD, Op.SUB) and v.dtype.is_int:
        a, b = (_position(s) for s in v.srcs)
        if a is not None and b is not None:
            return a + b if v.op is Op.ADD else a - b
    return None
