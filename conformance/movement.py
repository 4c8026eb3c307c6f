"""Random movement: reshapes, permutes, expands, pads, shrinks, flips and windows, one after another."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..core import graph
from ..core.graph import Node, Shape
from .inputs import Rng

MOST_AXES = 8
MOST_ELEMENTS = 1 << 14


def random_shape(rng: Rng, axes: int, most: int = 1 << 10) -> Shape:
    """A shape of so many axes, small enough; now and then an axis of 1."""
    shape: list[int] = []
    for _ in range(axes):
        room = most // max(1, math.prod(shape))
        shape.append(int(rng.integers(1, max(2, min(room, 9) + 1))))
    return tuple(int(n) for n in rng.permutation(shape)) if shape else ()


def move(rng: Rng, x: Node) -> Node:
    """``x`` under one movement that suits its shape."""
    return _MOVES[int(rng.integers(0, len(_MOVES)))](rng, x)


def moves(rng: Rng, x: Node, n: int) -> Node:
    """``x`` under ``n`` movements."""
    for _ in range(n):
        x = move(rng, x)
    return x


def reshaped(rng: Rng, x: Node) -> Node:
    """Factors regrouped into other axes, or an axis of 1 put somewhere."""
    if not x.size:
        return x
    factors: list[int] = []
    for n in x.shape:
        while n > 1:
            d = next(p for p in range(2, n + 1) if n % p == 0)
            factors.append(d)
            n //= d
    axes = int(rng.integers(1, 6))
    shape = [1] * axes
    for f in factors:
        shape[int(rng.integers(0, axes))] *= f
    return graph.reshape(x, tuple(shape))


def permuted(rng: Rng, x: Node) -> Node:
    """Axes in another order."""
    return graph.permute(x, tuple(int(a) for a in rng.permutation(len(x.shape))))


def expanded(rng: Rng, x: Node) -> Node:
    """A new axis, repeated: stride 0."""
    times = int(rng.integers(2, 5))
    if len(x.shape) >= MOST_AXES or x.size * times > MOST_ELEMENTS:
        return x
    at = int(rng.integers(0, len(x.shape) + 1))
    thin = graph.reshape(x, (*x.shape[:at], 1, *x.shape[at:]))
    return graph.expand(thin, (*x.shape[:at], times, *x.shape[at:]))


def padded(rng: Rng, x: Node) -> Node:
    """Zeros around."""
    spans = [(int(a), int(b)) for a, b in rng.integers(0, 3, (len(x.shape), 2))]
    if math.prod(n + a + b for n, (a, b) in zip(x.shape, spans, strict=True)) > MOST_ELEMENTS:
        return x
    return graph.pad(x, spans)


def shrunk(rng: Rng, x: Node) -> Node:
    """A part, never empty."""
    spans = []
    for n in x.shape:
        a = int(rng.integers(0, max(1, n // 2)))
        spans.append((a, int(rng.integers(a + 1, n + 1)) if n > a else n))
    return graph.shrink(x, spans)


def flipped(rng: Rng, x: Node) -> Node:
    """Some axes backwards."""
    return graph.flip(x, [a for a in range(len(x.shape)) if rng.integers(0, 2)])


def windowed(rng: Rng, x: Node) -> Node:
    """Windows of an axis, with a stride and a dilation."""
    if not x.shape or len(x.shape) >= MOST_AXES:
        return x
    axis = int(rng.integers(0, len(x.shape)))
    size, stride, dilation = (int(v) for v in rng.integers(1, 4, 3))
    if (size - 1) * dilation + 1 > x.shape[axis] or x.size * size > MOST_ELEMENTS:
        return x
    return graph.window(x, axis, size, stride, dilation)


_MOVES: tuple[Callable[[Rng, Node], Node], ...] = (
    reshaped,
    permuted,
    expanded,
    padded,
    shrunk,
    flipped,
    windowed,
)
