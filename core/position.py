"""Movement as positions: which element of its operand each element of a movement node is.

A position is an index expression for each axis. Reshapes, permutes, pads and their like cost nothing in a
kernel, since each only turns its own position into its operand's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from .graph import AxesArg, GraphOp, Node, Shape, SpanArg, WindowArg
from .index import ZERO, Index, Mask, both, constant, flatten, unflatten
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
    op, arg, source = node.op, node.arg, node.srcs[0].shape
    if op is GraphOp.RESHAPE:
        return reshape_position(p, node.shape, source), ()
    if op is GraphOp.EXPAND:
        return tuple(i if n > 1 else ZERO for i, n in zip(p, source, strict=True)), ()
    if op is GraphOp.PERMUTE:
        assert isinstance(arg, AxesArg)
        out = [ZERO] * len(p)
        for i, a in enumerate(arg.axes):
            out[a] = p[i]
        return tuple(out), ()
    if op is GraphOp.FLIP:
        assert isinstance(arg, AxesArg)
        return tuple(
            constant(n - 1) - i if a in arg.axes else i
            for a, (i, n) in enumerate(zip(p, source, strict=True))
        ), ()
    if op is GraphOp.SHRINK:
        assert isinstance(arg, SpanArg)
        return tuple(i + a for i, (a, _) in zip(p, arg.spans, strict=True)), ()
    if op is GraphOp.PAD:
        assert isinstance(arg, SpanArg)
        moved = tuple(i - a for i, (a, _) in zip(p, arg.spans, strict=True))
        mask = [
            m
            for i, n, (a, b) in zip(moved, source, arg.spans, strict=True)
            if a or b
            for m in (i, i * -1 + (n - 1))
        ]
        return moved, both(tuple(mask))
    assert op is GraphOp.WINDOW
    assert isinstance(arg, WindowArg)
    inner = list(p[:-1])
    inner[arg.axis] = p[arg.axis] * arg.stride + p[-1] * arg.dilation
    return tuple(inner), ()
