"""Movement as positions: which element of its operand each element of a movement node is.

A position is an index expression for each axis. Reshapes, permutes, pads and their like cost nothing in a
kernel, since each only turns its own position into its operand's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from .graph import AxesArg, GraphOp, Node, Shape, SpanArg, WindowArg
from .index import ZERO, Index, Mask, both, constant, flatten, unflatten
from .node import AnyOp
from .ops import Op

Position = tuple[Index, ...]


def loop_shape(root: Node, reads: Callable[[Node], bool]) -> Shape:
    """The loops that suit ``root``: those of the reduction whose epilogue it is, else its own shape."""
    node, size = root, root.size
    while not (reads(node) and node is not root):
        if node.op is GraphOp.REDUCE:
            return node.shape
        through = isinstance(node.op, Op) or node.op in (
            GraphOp.RESHAPE, GraphOp.CONTIGUOUS, GraphOp.ASSIGN, GraphOp.PARAMETER,
        )  # fmt: skip
        same = [s for s in node.srcs if s.size == size and s.op is not Op.CONST] if through else []
        if node.op is GraphOp.ASSIGN:
            same = same[-1:]
        nested = [s for s in same if s.op is GraphOp.REDUCE or s.op is GraphOp.RESHAPE]
        same = nested or same
        if not same:
            break
        node = same[0]
    return root.shape


@lru_cache(maxsize=1 << 14)
def reshape_position(position: Position, shape: Shape, to: Shape) -> Position:
    """The position of the same element under another shape; axes that stay the same stay as they are."""
    if shape == to:
        return position
    out: list[Index] = []
    i = j = 0
    while i < len(shape) or j < len(to):
        i0, j0, a, b = i, j, 1, 1
        while True:
            if i < len(shape) and (a <= b or j >= len(to)):
                a *= shape[i]
                i += 1
            elif j < len(to):
                b *= to[j]
                j += 1
            if a == b and (i > i0 or i >= len(shape)) and (j > j0 or j >= len(to)):
                break
            if i >= len(shape) and j >= len(to):
                break
        some, target = shape[i0:i], to[j0:j]
        wide = [(p, n) for p, n in zip(position[i0:i], some, strict=True) if n > 1]
        wanted = [n for n in target if n > 1]
        if [n for _, n in wide] == wanted:
            kept = iter(p for p, _ in wide)
            out += [next(kept) if n > 1 else ZERO for n in target]
        else:
            out += unflatten(flatten(position[i0:i], some), target)
    return tuple(out)


def move_position(node: Node, p: Position) -> tuple[Position, Mask]:
    """Where a movement node's element comes from, and the mask outside which it is 0."""
    return _MOVES[node.op](node, node.srcs[0].shape, p)


def _reshape(node: Node, source: Shape, p: Position) -> tuple[Position, Mask]:
    return reshape_position(p, node.shape, source), ()


def _expand(_: Node, source: Shape, p: Position) -> tuple[Position, Mask]:
    return tuple([i if n > 1 else ZERO for i, n in zip(p, source, strict=True)]), ()


def _permute(node: Node, _: Shape, p: Position) -> tuple[Position, Mask]:
    assert isinstance(node.arg, AxesArg)
    out = [ZERO] * len(p)
    for i, a in enumerate(node.arg.axes):
        out[a] = p[i]
    return tuple(out), ()


def _flip(node: Node, source: Shape, p: Position) -> tuple[Position, Mask]:
    assert isinstance(node.arg, AxesArg)
    axes = node.arg.axes
    return tuple(
        [constant(n - 1) - i if a in axes else i for a, (i, n) in enumerate(zip(p, source, strict=True))]
    ), ()


def _shrink(node: Node, _: Shape, p: Position) -> tuple[Position, Mask]:
    assert isinstance(node.arg, SpanArg)
    return tuple([i + a for i, (a, _) in zip(p, node.arg.spans, strict=True)]), ()


def _pad(node: Node, source: Shape, p: Position) -> tuple[Position, Mask]:
    assert isinstance(node.arg, SpanArg)
    spans = node.arg.spans
    moved = tuple([i - a for i, (a, _) in zip(p, spans, strict=True)])
    mask = [
        m for i, n, (a, b) in zip(moved, source, spans, strict=True) if a or b for m in (i, i * -1 + (n - 1))
    ]
    return moved, both(tuple(mask))


def _window(node: Node, _: Shape, p: Position) -> tuple[Position, Mask]:
    arg = node.arg
    assert isinstance(arg, WindowArg)
    inner = list(p[:-1])
    inner[arg.axis] = p[arg.axis] * arg.stride + p[-1] * arg.dilation
    return tuple(inner), ()


_MOVES: dict[AnyOp, Callable[[Node, Shape, Position], tuple[Position, Mask]]] = {
    GraphOp.RESHAPE: _reshape,
    GraphOp.EXPAND: _expand,
    GraphOp.PERMUTE: _permute,
    GraphOp.FLIP: _flip,
    GraphOp.SHRINK: _shrink,
    GraphOp.PAD: _pad,
    GraphOp.WINDOW: _window,
}
"""How each movement turns its own position into its operand's."""
