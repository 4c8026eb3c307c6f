"""The programs that models are made of, by name: each takes a matrix and gives what it makes of it."""

from __future__ import annotations

from collections.abc import Callable

from ..core import graph
from ..core.graph import Node
from ..core.ops import Op


def add(a: Node, b: Node) -> Node:
    """a + b, of any shapes that broadcast by expanding axes of 1."""
    return meet(Op.ADD, a, b)


def mul(a: Node, b: Node) -> Node:
    """a · b."""
    return meet(Op.MUL, a, b)


def sub(a: Node, b: Node) -> Node:
    """a - b."""
    return meet(Op.SUB, a, b)


def meet(op: Op, a: Node, b: Node) -> Node:
    """A primitive of two values of one rank."""
    shape = tuple(max(m, n) for m, n in zip(a.shape, b.shape, strict=True))
    return graph.elementwise(op, graph.expand(a, shape), graph.expand(b, shape))


def number(value: float, like: Node) -> Node:
    """A constant of the rank and dtype of another value."""
    return graph.full(value, (1,) * len(like.shape), like.dtype)


def softmax(x: Node) -> Node:
    """Over the last axis, in base 2."""
    last = (len(x.shape) - 1,)
    e = graph.elementwise(Op.EXP2, sub(x, graph.reduce(Op.MAX, x, last)))
    return mul(e, graph.elementwise(Op.RECIP, graph.reduce(Op.ADD, e, last)))


def layernorm(x: Node) -> Node:
    """Over the last axis."""
    last = (len(x.shape) - 1,)
    share = number(1 / x.shape[-1], x)
    centred = sub(x, mul(graph.reduce(Op.ADD, x, last), share))
    variance = mul(graph.reduce(Op.ADD, mul(centred, centred), last), share)
    deviation = graph.elementwise(Op.SQRT, add(variance, number(2.0**-10, x)))
    return mul(centred, graph.elementwise(Op.RECIP, deviation))


def chain(x: Node) -> Node:
    """Sixty elementwise steps."""
    for i in range(30):
        x = add(mul(x, number(0.5, x)), number(i / 8, x))
        if i % 10 == 9:
            x = graph.elementwise(Op.SIN, x)
    return x


def outer_sum(x: Node) -> Node:
    """The product of a matrix with its transpose, as expand, multiply, fold: no cube is stored."""
    n, k = x.shape
    left, right = graph.reshape(x, (n, 1, k)), graph.reshape(x, (1, n, k))
    return graph.reduce(Op.ADD, mul(left, right), (2,))


def epilogue(x: Node) -> Node:
    """A fold, then work on what it gave."""
    s = outer_sum(x)
    return meet(Op.MAX, add(mul(s, number(0.25, s)), number(1.0, s)), number(0.0, s))


def fold_of_fold(x: Node) -> Node:
    """One axis folded, then the other, then used by the first input."""
    rows = graph.reduce(Op.ADD, x, (1,))
    return add(x, graph.reduce(Op.MAX, rows, (0,)))


def running_sum(x: Node) -> Node:
    """Sums of all that came before, as a fold over windows of a padded array."""
    n = x.shape[1]
    windows = graph.window(graph.pad(x, ((0, 0), (n - 1, 0))), 1, n)
    return graph.reshape(graph.reduce(Op.ADD, windows, (2,)), x.shape)


def convolution(x: Node) -> Node:
    """Three-wide windows along both axes, times weights that are a part of the input."""
    windows = graph.window(graph.window(graph.pad(x, ((1, 1), (1, 1))), 0, 3), 1, 3)
    weights = graph.reshape(graph.shrink(x, ((0, 3), (0, 3))), (1, 1, 3, 3))
    return graph.reduce(Op.ADD, mul(windows, weights), (2, 3))


def chosen_by_sum(x: Node) -> Node:
    """Sums over windows, of which a fold takes those that differ from the middle."""
    windows = graph.window(graph.pad(x, ((0, 0), (1, 1))), 1, 3)
    sums = graph.reshape(graph.reduce(Op.ADD, windows, (2,)), x.shape)
    zero = graph.full(0.0, x.shape, x.dtype)
    below = graph.elementwise(Op.CMPLT, graph.full(3.0, x.shape, x.dtype), sums)
    return graph.reduce(Op.ADD, graph.elementwise(Op.WHERE, below, sums, zero), (0,))


def to_and_fro(x: Node) -> Node:
    """Folded along one axis, spread, folded along the other, spread, folded along both, spread."""
    centred = sub(x, mul(graph.reduce(Op.ADD, x, (1,)), number(1 / x.shape[1], x)))
    scaled = mul(centred, graph.reduce(Op.MAX, centred, (0,)))
    return add(x, mul(graph.reduce(Op.ADD, scaled, (0, 1)), number(2.0**-12, x)))


NAMED: dict[str, Callable[[Node], Node]] = {
    f.__name__: f
    for f in (
        softmax,
        layernorm,
        chain,
        outer_sum,
        epilogue,
        fold_of_fold,
        running_sum,
        convolution,
        chosen_by_sum,
        to_and_fro,
    )
}
