"""The graph's vocabulary: one function for each kind of node, which checks its operands.

Elementwise nodes take operands of one shape: broadcasting is an explicit EXPAND, which the Tensor writes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .dtype import ALL, DType, Scalar, bool_, index_dtype, int32
from .errors import DTypeError, PortwrightError, ShapeError
from .node import (
    MOVEMENT,
    AnyOp,
    AxesArg,
    ConstArg,
    GraphOp,
    Node,
    ReduceArg,
    ScatterArg,
    Shape,
    SpanArg,
    WindowArg,
    intern,
    toposort,
)
from .ops import PRIMITIVES, REDUCIBLE, Op, Result, Rounding, is_supported

if TYPE_CHECKING:
    from .device import Buffer

# ------------------------------------------------------------------------------------------------- leaves


def const(value: Scalar, dtype: DType) -> Node:
    """A scalar (shape ``()``); integers wrap to ``dtype``."""
    value = dtype.cast_scalar(value)
    return intern(Op.CONST, dtype, (), (), ConstArg(value, dtype.text(value)))


def full(value: Scalar, shape: Shape, dtype: DType) -> Node:
    """A constant of any shape."""
    return broadcast_to(const(value, dtype), shape)


def iota(n: int, dtype: DType = int32) -> Node:
    """0 … n-1, of shape ``(n,)``."""
    return intern(GraphOp.IOTA, dtype, (n,), ())


def buffer(storage: Buffer, shape: Shape, dtype: DType) -> Node:
    """A leaf that reads ``storage`` as ``shape`` in row-major order."""
    node = intern(GraphOp.BUFFER, dtype, shape, (), storage)
    node.device, node.storage = storage.device.name, storage
    return node


def parameter(x: Node) -> Node:
    """``x`` under an identity of its own, so that gradients to it are not gradients to its equals."""
    return intern(GraphOp.PARAMETER, x.dtype, x.shape, (x,), _Token())


class _Token:
    """Unlike any other."""

    __slots__ = ()


# -------------------------------------------------------------------------------------------- elementwise


_RESULTS: dict[tuple[Op, int, DType], DType] = {
    (op, row.arity, dtype): bool_ if row.result is Result.BOOL else dtype
    for op, row in PRIMITIVES.items()
    for dtype in ALL
    if row.result is not Result.STATED and is_supported(op, dtype)
}
"""What a primitive of so many operands gives, by the dtype of the last: what is not here is refused."""


def elementwise(op: Op, *srcs: Node) -> Node:
    """A primitive over operands of one shape (not CAST and BITCAST, which name a dtype).

    Raises:
        ShapeError: when the shapes differ.
        DTypeError: when the dtypes differ, or the contract gives ``op`` no meaning on them.
    """
    shape, dtype = srcs[-1].shape, srcs[-1].dtype
    result = _RESULTS.get((op, len(srcs), dtype))
    if result is None:
        raise _refusal(op, srcs)
    for s in srcs:
        if s.shape != shape or (s.dtype is not dtype and (op is not Op.WHERE or s is not srcs[0])):
            raise _refusal(op, srcs)
    if op is Op.WHERE and srcs[0].dtype is not bool_:
        raise _refusal(op, srcs)
    return intern(op, result, shape, srcs)


def free_product(a: Node, b: Node) -> Node:
    """a·b of floats, rounded before it is added to something, or with the sum: as the device likes best.

    Only for what means the same both ways to within its bound; what users write is rounded as they wrote it.
    """
    product = elementwise(Op.MUL, a, b)
    return intern(Op.MUL, product.dtype, product.shape, (a, b), Rounding.FREE)


def _refusal(op: Op, srcs: tuple[Node, ...]) -> PortwrightError:
    """What is wrong with the operands."""
    row = PRIMITIVES[op]
    if len({s.shape for s in srcs}) > 1:
        return ShapeError(f"{row.name} of shapes {', '.join(str(s.shape) for s in srcs)}: they must be equal")
    if len({s.dtype for s in srcs[op is Op.WHERE :]}) > 1 or (op is Op.WHERE and srcs[0].dtype is not bool_):
        return DTypeError(f"{row.name} of {', '.join(s.dtype.name for s in srcs)}: they must be equal")
    if len(srcs) != row.arity:
        return ShapeError(f"{row.name} takes {row.arity} operands, not {len(srcs)}")
    return DTypeError(f"{row.name} has no meaning on {srcs[-1].dtype}: it takes {row.operands.value}")


def cast(x: Node, dtype: DType) -> Node:
    """The same values in another dtype."""
    if x.dtype is dtype:
        return x
    if x.op is Op.CONST and not (x.dtype.is_float and not dtype.is_float):
        arg = x.arg
        assert isinstance(arg, ConstArg)
        return const(arg.value, dtype)
    return intern(Op.CAST, dtype, x.shape, (x,), dtype)


def bitcast(x: Node, dtype: DType) -> Node:
    """The same bits in another dtype of the same width."""
    if x.dtype is dtype:
        return x
    if x.dtype.bits != dtype.bits or x.dtype.is_bool or dtype.is_bool:
        raise DTypeError(
            f"BITCAST of {x.dtype} to {dtype}: the widths must be equal, and neither may be bool"
        )
    return intern(Op.BITCAST, dtype, x.shape, (x,), dtype)


# ----------------------------------------------------------------------------------------------- movement


def reshape(x: Node, shape: Shape) -> Node:
    """The same elements in row-major order under another shape of the same size."""
    if shape == x.shape:
        return x
    if math.prod(shape) != x.size:
        raise ShapeError(f"reshape of {x.shape} ({x.size} elements) to {shape} ({math.prod(shape)} elements)")
    if x.op is GraphOp.RESHAPE and x.storage is None:
        return reshape(x.srcs[0], shape)
    return intern(GraphOp.RESHAPE, x.dtype, shape, (x,))


def permute(x: Node, axes: tuple[int, ...]) -> Node:
    """Axis i of the result is axis ``axes[i]`` of ``x``."""
    if sorted(axes) != list(range(len(x.shape))):
        raise ShapeError(f"permute of {x.shape} by {axes}: each axis must be named once")
    if axes == tuple(range(len(axes))):
        return x
    return intern(GraphOp.PERMUTE, x.dtype, tuple(x.shape[a] for a in axes), (x,), AxesArg(axes))


def expand(x: Node, shape: Shape) -> Node:
    """Axes of size 1 repeated to ``shape``; the rank stays."""
    if shape == x.shape:
        return x
    if len(shape) != len(x.shape) or any(
        s not in (1, t) or t < 0 for s, t in zip(x.shape, shape, strict=True)
    ):
        raise ShapeError(f"expand of {x.shape} to {shape}: only axes of size 1 can be repeated")
    if x.op is GraphOp.EXPAND:
        x = x.srcs[0]
    return intern(GraphOp.EXPAND, x.dtype, shape, (x,))


def broadcast_to(x: Node, shape: Shape) -> Node:
    """``expand`` after adding leading axes."""
    if x.shape == shape:
        return x
    return expand(reshape(x, (1,) * (len(shape) - len(x.shape)) + x.shape), shape)


def pad(x: Node, spans: Sequence[tuple[int, int]]) -> Node:
    """Zeros added before and after each axis."""
    spans = tuple((int(a), int(b)) for a, b in spans)
    if len(spans) != len(x.shape) or any(a < 0 or b < 0 for a, b in spans):
        raise ShapeError(f"pad of {x.shape} by {spans}: one pair of counts, none negative, for each axis")
    if not any(a or b for a, b in spans):
        return x
    shape = tuple(n + a + b for n, (a, b) in zip(x.shape, spans, strict=True))
    return intern(GraphOp.PAD, x.dtype, shape, (x,), SpanArg(spans))


def shrink(x: Node, spans: Sequence[tuple[int, int]]) -> Node:
    """Of each axis, the positions from the first number up to, not including, the second."""
    spans = tuple((int(a), int(b)) for a, b in spans)
    if len(spans) != len(x.shape) or any(
        not 0 <= a <= b <= n for n, (a, b) in zip(x.shape, spans, strict=True)
    ):
        raise ShapeError(f"shrink of {x.shape} to {spans}: each span must lie inside its axis")
    shape = tuple(b - a for a, b in spans)
    if shape == x.shape:
        return x
    return intern(GraphOp.SHRINK, x.dtype, shape, (x,), SpanArg(spans))


def flip(x: Node, axes: Iterable[int]) -> Node:
    """The elements of ``axes`` in reverse order."""
    kept = tuple(sorted({a for a in axes if x.shape[a] > 1}))
    return intern(GraphOp.FLIP, x.dtype, x.shape, (x,), AxesArg(kept)) if kept else x


def window(x: Node, axis: int, size: int, stride: int = 1, dilation: int = 1) -> Node:
    """Windows of ``axis``: element ``o·stride + k·dilation``, o in the axis's place and k last."""
    reach = (size - 1) * dilation + 1
    if size < 1 or stride < 1 or dilation < 1 or reach > x.shape[axis]:
        raise ShapeError(
            f"window of size {size}, stride {stride}, dilation {dilation} over axis {axis} of {x.shape}: "
            f"it reaches over {reach} elements"
        )
    count = (x.shape[axis] - reach) // stride + 1
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :], size)
    return intern(GraphOp.WINDOW, x.dtype, shape, (x,), WindowArg(axis, size, stride, dilation))


# ------------------------------------------------------------------------------------ reduce, gather, scatter


def reduce(op: Op, x: Node, axes: Iterable[int]) -> Node:
    """``axes`` folded with ``op`` in the dtype of ``x``; they stay, of size 1."""
    kept = tuple(sorted(set(axes)))
    if op not in REDUCIBLE:
        raise DTypeError(f"REDUCE with {op!r}: only {', '.join(sorted(o.name for o in REDUCIBLE))} can fold")
    if not all(0 <= a < len(x.shape) for a in kept):
        raise ShapeError(f"REDUCE over axes {kept} of {x.shape}: no such axis")
    if all(x.shape[a] == 1 for a in kept):
        return x
    shape = tuple(1 if i in kept else n for i, n in enumerate(x.shape))
    return intern(GraphOp.REDUCE, x.dtype, shape, (x,), ReduceArg(op, kept))


def gather(x: Node, index: Node) -> Node:
    """Rows of ``x`` by position: shape ``index.shape + x.shape[1:]``; a position outside gives zeros."""
    if not index.dtype.is_int:
        raise DTypeError(f"GATHER by {index.dtype}: positions must be integers")
    if not x.shape:
        raise ShapeError("GATHER from a scalar: there is no axis to choose from")
    return intern(GraphOp.GATHER, x.dtype, index.shape + x.shape[1:], (x, index))


def scatter(x: Node, index: Node, values: Node, op: Op | None = None) -> Node:
    """``x`` with row ``index[i]`` set to (or folded by ``op`` with) ``values[i]``, in order of i.

    ``index`` has shape ``(m,)``, ``values`` has ``(m, *x.shape[1:])``. Positions outside change nothing.
    """
    if not index.dtype.is_int or len(index.shape) != 1:
        raise DTypeError(
            f"SCATTER by {index.dtype} of shape {index.shape}: positions must be one axis of integers"
        )
    if values.shape != index.shape + x.shape[1:] or values.dtype is not x.dtype:
        raise ShapeError(
            f"SCATTER of {values.dtype} {values.shape} into {x.dtype} {x.shape} at {index.shape[0]} "
            f"positions: it wants {x.dtype} {index.shape + x.shape[1:]}"
        )
    if op is not None and op not in REDUCIBLE:
        raise DTypeError(f"SCATTER with {op!r}: only {', '.join(sorted(o.name for o in REDUCIBLE))} can fold")
    return intern(GraphOp.SCATTER, x.dtype, x.shape, (x, index, values), ScatterArg(op))


# ------------------------------------------------------------------------------------------------- memory


def contiguous(x: Node) -> Node:
    """``x`` put into memory of its own."""
    if x.op in (GraphOp.CONTIGUOUS, GraphOp.BUFFER):
        return x
    return intern(GraphOp.CONTIGUOUS, x.dtype, x.shape, (x,))


def copy(x: Node, device: str) -> Node:
    """``x`` on another device."""
    if x.device == device:
        return x
    node = intern(GraphOp.COPY, x.dtype, x.shape, (x,), device)
    node.device = device
    return node


def assign(target: Node, value: Node) -> Node:
    """``value``, to be put into the memory of ``target`` where nothing else still reads it."""
    if target.shape != value.shape or target.dtype is not value.dtype:
        raise ShapeError(
            f"assign of {value.dtype} {value.shape} to {target.dtype} {target.shape}: they must be equal"
        )
    return intern(GraphOp.ASSIGN, target.dtype, target.shape, (target, value))


def with_srcs(node: Node, srcs: tuple[Node, ...]) -> Node:
    """The same operation on other operands of the same shapes and dtypes."""
    new = intern(node.op, node.dtype, node.shape, srcs, node.arg)
    if node.op is GraphOp.COPY:
        new.device = node.device
    new.made_at = new.made_at or node.made_at
    return new


__all__ = [
    "MOVEMENT", "AnyOp", "AxesArg", "ConstArg", "GraphOp", "Node", "ReduceArg", "ScatterArg", "Shape",
    "SpanArg", "WindowArg", "assign", "bitcast", "broadcast_to", "buffer", "cast", "const", "contiguous",
    "copy", "elementwise", "expand", "flip", "full", "gather", "index_dtype", "iota", "pad", "parameter",
    "permute", "reduce", "reshape", "scatter", "shrink", "toposort", "window", "with_srcs",
]  # fmt: skip
