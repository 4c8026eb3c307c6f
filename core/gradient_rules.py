"""One gradient rule for each primitive and each graph operation.

A rule takes the gradient to a node, the node, and which operands need theirs; it gives one node (or None) for
each operand. Ties share: MAX gives half to each, a REDUCE MAX an equal part to every greatest element.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from . import graph
from .dtype import int32, int64
from .elementary.basic import Expr, full, where
from .elementary.trigonometric import cos
from .errors import GradientError
from .graph import AnyOp, AxesArg, GraphOp, Node, ReduceArg, ScatterArg, SpanArg, WindowArg
from .ops import Op
from .unwindow import fold_axis

Parts = Sequence[Node | None]
Rule = Callable[[Node, Node, tuple[bool, ...]], Parts]


def _mul(a: Node, b: Node) -> Node:
    return graph.elementwise(Op.MUL, a, b)


def _neg(a: Node) -> Node:
    return graph.elementwise(Op.NEG, a)


# -------------------------------------------------------------------------------------------- primitives


def _product(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    a, b = y.srcs
    return [_mul(g, b) if need[0] else None, _mul(g, a) if need[1] else None]


def _maximum(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    a, b, e = Expr(y.srcs[0]), Expr(y.srcs[1]), Expr(g)
    shared = where(a.ne(b), 0.0, e * 0.5)
    return [where(b < a, e, shared).node, where(a < b, e, shared).node]


def _recip(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    return [_neg(_mul(g, _mul(y, y)))]


def _sqrt(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    return [(Expr(g) * (Expr(y) * 2.0).recip()).node]


def _exp2(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    return [(Expr(g) * (Expr(y) * math.log(2))).node]


def _log2(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    return [(Expr(g) * (Expr(y.srcs[0]) * math.log(2)).recip()).node]


def _sin(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    return [_mul(g, cos(y.srcs[0]))]


def _where(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    c, e = Expr(y.srcs[0]), Expr(g)
    return [None, where(c, e, 0.0).node if need[1] else None, where(c, 0.0, e).node if need[2] else None]


def _cast(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    return [graph.cast(g, y.srcs[0].dtype)]


def _nothing(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    return [None] * len(y.srcs)


def _impossible(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    raise GradientError(f"{y.op!r} of {y.dtype} has no gradient: detach() what goes into it")


# ----------------------------------------------------------------------------------------------- movement


def _reshape(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    return [graph.reshape(g, y.srcs[0].shape)]


def _permute(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    assert isinstance(y.arg, AxesArg)
    axes = y.arg.axes
    return [graph.permute(g, tuple(sorted(range(len(axes)), key=axes.__getitem__)))]


def _expand(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    x = y.srcs[0]
    return [
        graph.reduce(Op.ADD, g, [i for i, (m, n) in enumerate(zip(x.shape, y.shape, strict=True)) if m != n])
    ]


def _pad(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    assert isinstance(y.arg, SpanArg)
    return [graph.shrink(g, [(a, n - b) for n, (a, b) in zip(y.shape, y.arg.spans, strict=True)])]


def _shrink(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    assert isinstance(y.arg, SpanArg)
    return [graph.pad(g, [(a, n - b) for n, (a, b) in zip(y.srcs[0].shape, y.arg.spans, strict=True)])]


def _flip(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    assert isinstance(y.arg, AxesArg)
    return [graph.flip(g, y.arg.axes)]


def _window(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    assert isinstance(y.arg, WindowArg)
    return [fold_axis(g, y.srcs[0].shape[y.arg.axis], y.arg)]


# -------------------------------------------------------------------------------- reduce, gather, scatter


def _reduce(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    assert isinstance(y.arg, ReduceArg)
    x = y.srcs[0]
    op, axes = y.arg.op, y.arg.axes

    def over(a: Node) -> Expr:
        return Expr(graph.expand(a, x.shape))

    if op is Op.ADD:
        return [graph.expand(g, x.shape)]
    e = Expr(x)
    if op is Op.MAX:
        most = e.eq(over(y)).cast(x.dtype)
        share = Expr(g) * Expr(graph.reduce(Op.ADD, most.node, axes)).recip()
        return [(over(share.node) * most).node]
    zero = e.eq(0)
    factors = where(zero, 1.0, e)
    others = Expr(graph.reduce(Op.MUL, factors.node, axes))
    zeros = Expr(graph.reduce(Op.ADD, zero.cast(int32).node, axes))
    by_zero = over((Expr(g) * where(zeros.eq(1), others, 0.0)).node)
    by_other = over((Expr(g) * where(zeros.eq(0), others, 0.0)).node) * factors.recip()
    return [where(zero, by_zero, by_other).node]


def _gather(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    x, index = y.srcs
    positions = graph.reshape(index, (index.size,))
    rows = graph.reshape(g, (index.size, *x.shape[1:]))
    return [graph.scatter(full(0.0, x), positions, rows, Op.ADD), None]


def _scatter(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    assert isinstance(y.arg, ScatterArg)
    op = y.arg.op
    x, index, values = y.srcs
    at = graph.gather(g, index)
    if op is Op.ADD:
        return [g, None, at]
    if op is None:
        cleared = graph.scatter(g, index, full(0.0, values))
        order = graph.iota(index.shape[0], int64)
        unset = graph.full(-1, x.shape[:1], int64)
        last = Expr(graph.gather(graph.scatter(unset, index, order), index)).eq(Expr(order))
        return [cleared, None, where(Expr(_rows(last.node, values)), Expr(at), 0.0).node]
    a, v, total = Expr(x), Expr(values), Expr(graph.gather(y, index))
    if op is Op.MAX:
        kept, chosen = a.eq(Expr(y)).cast(x.dtype), v.eq(total).cast(x.dtype)
        share = Expr(g) * Expr(graph.scatter(kept.node, index, chosen.node, Op.ADD)).recip()
        return [(share * kept).node, None, (Expr(graph.gather(share.node, index)) * chosen).node]
    zero_x, zero_v = a.eq(0), v.eq(0)
    a, v = where(zero_x, 1.0, a), where(zero_v, 1.0, v)
    others = Expr(graph.scatter(a.node, index, v.node, Op.MUL))
    zeros = Expr(graph.scatter(zero_x.cast(int32).node, index, zero_v.cast(int32).node, Op.ADD))
    to_zero = (Expr(g) * where(zeros.eq(1), others, 0.0)).node
    to_other = (Expr(g) * where(zeros.eq(0), others, 0.0)).node
    return [
        where(zero_x, Expr(to_zero), Expr(to_other) * a.recip()).node,
        None,
        where(
            zero_v, Expr(graph.gather(to_zero, index)), Expr(graph.gather(to_other, index)) * v.recip()
        ).node,
    ]


def _rows(mask: Node, values: Node) -> Node:
    shape = mask.shape + (1,) * (len(values.shape) - 1)
    return graph.expand(graph.reshape(mask, shape), values.shape)


# ------------------------------------------------------------------------------------------------- memory


def _same(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    return [g]


def _copy(g: Node, y: Node, need: tuple[bool, ...]) -> Parts:
    home = y.srcs[0].device
    return [g if home is None else graph.copy(g, home)]


RULES: dict[AnyOp, Rule] = {
    Op.CONST: _nothing,
    Op.LOAD: _impossible,
    Op.STORE: _impossible,
    Op.CAST: _cast,
    Op.BITCAST: _impossible,
    Op.ADD: lambda g, y, need: [g, g],
    Op.SUB: lambda g, y, need: [g, _neg(g) if need[1] else None],
    Op.MUL: _product,
    Op.NEG: lambda g, y, need: [_neg(g)],
    Op.MAX: _maximum,
    Op.IDIV: _impossible,
    Op.MOD: _impossible,
    Op.RECIP: _recip,
    Op.SQRT: _sqrt,
    Op.EXP2: _exp2,
    Op.LOG2: _log2,
    Op.SIN: _sin,
    Op.CMPLT: _nothing,
    Op.CMPNE: _nothing,
    Op.WHERE: _where,
    Op.AND: _impossible,
    Op.OR: _impossible,
    Op.XOR: _impossible,
    Op.SHL: _impossible,
    Op.SHR: _impossible,
    GraphOp.BUFFER: _nothing,
    GraphOp.IOTA: _nothing,
    GraphOp.PARAMETER: _nothing,
    GraphOp.REDUCE: _reduce,
    GraphOp.RESHAPE: _reshape,
    GraphOp.PERMUTE: _permute,
    GraphOp.EXPAND: _expand,
    GraphOp.PAD: _pad,
    GraphOp.SHRINK: _shrink,
    GraphOp.FLIP: _flip,
    GraphOp.WINDOW: _window,
    GraphOp.GATHER: _gather,
    GraphOp.SCATTER: _scatter,
    GraphOp.CONTIGUOUS: _same,
    GraphOp.COPY: _copy,
    GraphOp.ASSIGN: lambda g, y, need: [None, g],
}
"""Every operation's rule. Integer results have none to apply: the walk stops at them."""
