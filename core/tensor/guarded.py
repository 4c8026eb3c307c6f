"""Division, remainder, shifts, the lesser of two, on nodes: with the guards that the contract asks core
for.
"""

from __future__ import annotations

import math

from .. import graph
from ..derivative import define
from ..dtype import float32
from ..elementary import basic
from ..elementary.basic import Expr, where
from ..errors import DTypeError
from ..graph import ConstArg, GraphOp, Node
from ..ops import Op


def constant(x: Node) -> bool | int | float | None:
    """The value of a node that is one constant everywhere, else None."""
    while x.op in (GraphOp.EXPAND, GraphOp.RESHAPE):
        x = x.srcs[0]
    return x.arg.value if isinstance(x.arg, ConstArg) else None


def _divide(op: Op, a: Node, b: Node) -> Node:
    """IDIV or MOD with 0 for a zero divisor, and the wrapped result for the least value over -1."""
    known = constant(b)
    if known is not None and known not in (0, -1):
        return graph.elementwise(op, a, b)
    e, d = Expr(a), Expr(b)
    zero = d.eq(0)
    unsafe = zero if not a.dtype.is_signed else zero | d.eq(-1)
    safe = graph.elementwise(op, a, where(unsafe, 1, d).node)
    if not a.dtype.is_signed:
        return where(zero, 0, Expr(safe)).node
    by_minus_one = -e if op is Op.IDIV else e * 0
    return where(zero, 0, where(d.eq(-1), by_minus_one, Expr(safe))).node


def quotient(a: Node, b: Node, floored: bool) -> Node:
    """a / b rounded down (``floored``) or toward zero. Integers: 0 over a zero divisor.

    Of floats exact while |a/b| stays below 2^mantissa; the derivative is zero.
    """
    if a.dtype.is_bool:
        raise DTypeError("division of bools: cast them to an integer or a float")
    if a.dtype.is_float:
        if a.dtype.bits == 16:
            return graph.cast(quotient(graph.cast(a, float32), graph.cast(b, float32), floored), a.dtype)
        e, d = Expr(a), Expr(b)
        q, r = _float_division(e, d)
        if floored:
            q = where(r.ne(0) & ((r.signed_bits() ^ d.signed_bits()) < 0), q - 1, q)
        huge = ~(q.abs() < 2.0**a.dtype.mantissa)
        return _flat(where(huge, e * d.recip(), q).node, a, b)
    q_node = _divide(Op.IDIV, a, b)
    if not floored or not a.dtype.is_signed:
        return q_node
    e, d, whole = Expr(a), Expr(b), Expr(q_node)
    inexact = (whole * d).ne(e) & d.ne(0)
    return where(inexact & ((e ^ d) < 0), whole - 1, whole).node


def _flat(y: Node, a: Node, b: Node) -> Node:
    return define(y, (a, b), lambda g, y: [None, None])


def _float_division(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """The quotient rounded toward zero, and the remainder, which is exact while the quotient is."""
    dtype = a.node.dtype
    size, by = a.abs(), b.abs()
    q = Expr(basic.trunc((size * by.recip()).node))
    half = 2.0 ** ((dtype.mantissa + 2) // 2) + 1

    def split(x: Expr) -> tuple[Expr, Expr]:
        c = x * half
        high = c - (c - x)
        return high, x - high

    (qh, ql), (bh, bl) = split(q), split(by)
    p = q * by
    lost = (((qh * bh - p) + qh * bl) + ql * bh) + ql * bl
    r = (size - p) - lost
    over, under = r < 0, ~(r < by)
    q = where(over, q - 1, where(under & (by > 0) & (size < math.inf), q + 1, q))
    r = where(over, r + by, where(under, r - by, r))
    infinite = by.eq(math.inf) & (size < math.inf)
    q, r = where(infinite, 0.0, q), where(infinite, size, r)
    sign = a.sign_bit()
    r = where(by.eq(0) | size.eq(math.inf) | a.ne(a) | b.ne(b), math.nan, r.abs().with_sign(sign))
    return q.abs().with_sign(sign ^ b.sign_bit()), r


def remainder(a: Node, b: Node, floored: bool) -> Node:
    """a - b·quotient(a, b): with the sign of b (``floored``) or of a. Integers: 0 over a zero divisor.

    Of floats exact while |a/b| stays below 2^mantissa. Derivative: 1 by a, minus the quotient by b.
    """
    if a.dtype.is_bool:
        raise DTypeError("remainder of bools: cast them to an integer or a float")
    if not a.dtype.is_float:
        r = _divide(Op.MOD, a, b)
        if not floored or not a.dtype.is_signed:
            return r
        e, d = Expr(r), Expr(b)
        return where(e.ne(0) & ((e ^ d) < 0), e + d, e).node
    if a.dtype.bits == 16:
        return graph.cast(remainder(graph.cast(a, float32), graph.cast(b, float32), floored), a.dtype)
    d = Expr(b)
    _, r_expr = _float_division(Expr(a), d)
    if floored:
        other_side = ~(r_expr.ne(r_expr)) & ((r_expr.signed_bits() ^ d.signed_bits()) < 0)
        moved = where(d.abs() < math.inf, r_expr + d, d)
        r_expr = where(other_side, where(r_expr.eq(0), -r_expr, moved), r_expr)

    def rule(g: Node, y: Node) -> list[Node | None]:
        return [g, (-(Expr(g) * Expr(quotient(a, b, floored)))).node]

    return define(r_expr.node, (a, b), rule)


def shift(op: Op, a: Node, b: Node) -> Node:
    """SHL or SHR with every amount defined: outside the width all bits leave (the sign stays, of SHR)."""
    if a.dtype.is_bool:
        raise DTypeError("a shift of bools: cast them to an integer")
    width = a.dtype.bits
    known = constant(b)
    if known is not None and 0 <= known < width:
        return graph.elementwise(op, a, b)
    d = Expr(b)
    outside = ~(d < width) if not a.dtype.is_signed else (d < 0) | ~(d < width)
    if op is Op.SHR and a.dtype.is_signed:
        return graph.elementwise(op, a, where(outside, width - 1, d).node)
    return where(outside, 0, Expr(graph.elementwise(op, a, where(outside, 0, d).node))).node


def minimum(a: Node, b: Node) -> Node:
    """The lesser of two; NaN if either is."""
    if not a.dtype.is_float:
        return graph.elementwise(Op.WHERE, graph.elementwise(Op.CMPLT, a, b), a, b)
    return (-((-Expr(a)).max(-Expr(b)))).node


def at_most(a: Node, b: Node) -> Node:
    """a ≤ b: false if either is NaN."""
    above = ~(Expr(b) < Expr(a))
    if not a.dtype.is_float:
        return above.node
    return (above & ~(Expr(a).ne(Expr(a)) | Expr(b).ne(Expr(b)))).node
