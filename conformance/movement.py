"""Random movement: reshapes, permutes, expands, pads, shrinks, flips and windows, one after another."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from ..core import graph
from ..core.graph import Node, Shape
from .choices import Choices

MOST_AXES = 8
MOST_ELEMENTS = 1 << 14


def random_shape(choices: Choices, axes: int, most: int = 1 << 10) -> Shape:
    """A shape of so many axes, small enough; now and then an axis of 1."""
    shape: list[int] = []
    while len(shape) < MOST_AXES and choices.more(len(shape) < axes):
        room = most // max(1, math.prod(shape))
        shape.append(choices.integer(1, max(1, min(room, 9))))
    return tuple(shape[i] for i in choices.order(len(shape)))


def move(choices: Choices, x: Node) -> Node:
    """``x`` under one movement that suits its shape."""
    return _MOVES[choices.integer(0, len(_MOVES) - 1)](choices, x)


def moves(choices: Choices, x: Node, n: int) -> Node:
    """``x`` under ``n`` movements."""
    made = 0
    while choices.more(made < n):
        x = choices.piece(partial(move, x=x))
        made += 1
    return x


def reshaped(choices: Choices, x: Node) -> Node:
    """Factors regrouped into other axes, or an axis of 1 put somewhere."""
    if not x.size:
        return x
    factors: list[int] = []
    for n in x.shape:
        while n > 1:
            d = next(p for p in range(2, n + 1) if n % p == 0)
            factors.append(d)
            n //= d
    axes = choices.integer(1, 5)
    shape = [1] * axes
    for f in factors:
        shape[choices.integer(0, axes - 1)] *= f
    return graph.reshape(x, tuple(shape))


def permuted(choices: Choices, x: Node) -> Node:
    """Axes in another order."""
    return graph.permute(x, tuple(choices.order(len(x.shape))))


def expanded(choices: Choices, x: Node) -> Node:
    """A new axis, repeated: stride 0."""
    times = choices.integer(2, 4)
    if len(x.shape) >= MOST_AXES or x.size * times > MOST_ELEMENTS:
        return x
    at = choices.integer(0, len(x.shape))
    thin = graph.reshape(x, (*x.shape[:at], 1, *x.shape[at:]))
    return graph.expand(thin, (*x.shape[:at], times, *x.shape[at:]))


def padded(choices: Choices, x: Node) -> Node:
    """Zeros around."""
    spans = [(choices.integer(0, 2), choices.integer(0, 2)) for _ in x.shape]
    if math.prod(n + a + b for n, (a, b) in zip(x.shape, spans, strict=True)) > MOST_ELEMENTS:
        return x
    return graph.pad(x, spans)


def shrunk(choices: Choices, x: Node) -> Node:
    """A part, never empty."""
    spans = []
    for n in x.shape:
        a = choices.integer(0, max(1, n // 2) - 1)
        spans.append((a, choices.integer(a + 1, n) if n > a else n))
    return graph.shrink(x, spans)


def flipped(choices: Choices, x: Node) -> Node:
    """Some axes backwards."""
    return graph.flip(x, [a for a in range(len(x.shape)) if choices.chance(0.5)])


def windowed(choices: Choices, x: Node) -> Node:
    """Windows of an axis, with a stride and a dilation."""
    if not x.shape or len(x.shape) >= MOST_AXES:
        return x
    axis = choices.integer(0, len(x.shape) - 1)
    size, stride, dilation = (choices.integer(1, 3) for _ in range(3))
    if (size - 1) * dilation + 1 > x.shape[axis] or x.size * size > MOST_ELEMENTS:
        return x
    return graph.window(x, axis, size, stride, dilation)


_MOVES: tuple[Callable[[Choices, Node], Node], ...] = (
    reshaped,
    permuted,
    expanded,
    padded,
    shrunk,
    flipped,
    windowed,
)
