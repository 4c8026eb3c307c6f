"""The lazy graph: immutable nodes, interned, so that equal expressions are one object.

A node is a primitive (see ``ops``) or one of a few structural operations: a leaf, a reduction, a movement of
elements (which costs nothing: it vanishes into index expressions), a gather or scatter, or an order to put
something into memory. Every node knows its shape, dtype and device when it is made; wrong input raises there.

Elementwise nodes take operands of one shape: broadcasting is an explicit EXPAND, which the Tensor writes.
``storage`` is the one thing that changes after a node is made: the buffer that holds its value once it has
been computed. The expression stays, so that gradients can still be taken through it.
"""

from __future__ import annotations

import enum
import math
import weakref
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .dtype import DType, Scalar, bool_, index_dtype, int32
from .errors import DeviceError, DTypeError, ShapeError
from .ops import PRIMITIVES, REDUCIBLE, Op, is_supported

if TYPE_CHECKING:
    from .device import Buffer

Shape = tuple[int, ...]


class GraphOp(enum.Enum):
    """What a node may be besides a primitive."""

    BUFFER = "BUFFER"  # a leaf: memory that holds values
    IOTA = "IOTA"  # a leaf: 0, 1, 2 … along one axis
    PARAMETER = "PARAMETER"  # the identity, of a kind of its own: what a gradient is taken to
    REDUCE = "REDUCE"
    RESHAPE = "RESHAPE"
    PERMUTE = "PERMUTE"
    EXPAND = "EXPAND"
    PAD = "PAD"
    SHRINK = "SHRINK"
    FLIP = "FLIP"
    WINDOW = "WINDOW"
    GATHER = "GATHER"
    SCATTER = "SCATTER"
    CONTIGUOUS = "CONTIGUOUS"  # the identity, put into memory
    COPY = "COPY"  # the same values on another device
    ASSIGN = "ASSIGN"  # the second operand's values, in the first operand's memory where that is safe

    def __repr__(self) -> str:
        return self.name

    __hash__ = object.__hash__


MOVEMENT: frozenset[GraphOp] = frozenset(
    {
        GraphOp.RESHAPE,
        GraphOp.PERMUTE,
        GraphOp.EXPAND,
        GraphOp.PAD,
        GraphOp.SHRINK,
        GraphOp.FLIP,
        GraphOp.WINDOW,
    }
)
AnyOp = Op | GraphOp


@dataclass(frozen=True, slots=True)
class ReduceArg:
    """REDUCE: fold ``axes`` with ``op``; the folded axes stay, of size 1."""

    op: Op
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AxesArg:
    """PERMUTE: where each axis comes from. FLIP: which axes run backwards."""

    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SpanArg:
    """PAD: zeros before and after each axis. SHRINK: the first position kept, and the first one not kept."""

    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class WindowArg:
    """WINDOW: positions ``o·stride + k·dilation`` of ``axis``; o takes the axis's place, k (``size``) is last."""

    axis: int
    size: int
    stride: int
    dilation: int


@dataclass(frozen=True, slots=True)
class ConstArg:
    """CONST: the value. Two constants are one when they print alike, so that -0.0 is not 0.0 and NaN is NaN."""

    value: Scalar
    text: str


@dataclass(frozen=True, slots=True)
class ScatterArg:
    """SCATTER: None sets, else folds with this primitive, in the order of the updates."""

    op: Op | None


class Node:
    """One value of the graph. Made by the functions of this module, never directly.

    Attributes:
        op: a primitive or a GraphOp.
        dtype, shape: of the value.
        srcs: the nodes that it is computed from.
        arg: what else says what it is (one of the Arg classes, a Buffer, a DType, or None).
        device: the name of the device where it is computed; None when any will do (constants).
        storage: the buffer that holds the value, once it is realized.
        made_at: the user's source line, when debugging asked for it.
    """

    __slots__ = ("__weakref__", "arg", "device", "dtype", "made_at", "op", "shape", "srcs", "storage")

    op: AnyOp
    dtype: DType
    shape: Shape
    srcs: tuple[Node, ...]
    arg: Hashable
    device: str | None
    storage: Buffer | None
    made_at: str | None

    @property
    def size(self) -> int:
        """How many elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.dtype.itemsize

    def __repr__(self) -> str:
        arg = "" if self.arg is None else f" {self.arg}"
        return f"<{self.op!r} {self.dtype} {list(self.shape)}{arg}>"


_interned: weakref.WeakValueDictionary[tuple[Hashable, ...], Node] = weakref.WeakValueDictionary()
locate: Callable[[], str | None] | None = None
"""Gives the user's source line for ``made_at``; installed by ``trace`` while debugging, else None."""


def _node(op: AnyOp, dtype: DType, shape: Shape, srcs: tuple[Node, ...], arg: Hashable = None) -> Node:
    key = (op, dtype, shape, srcs, arg)
    found = _interned.get(key)
    if found is not None:
        return found
    device = None
    for s in srcs:
        if s.device is not None and s.device != device:
            if device is not None:
                raise DeviceError(
                    f"{op!r} of values on {device} and {s.device}: move one of them, as in x.to({device!r})"
                )
            device = s.device
    node = object.__new__(Node)
    node.op, node.dtype, node.shape, node.srcs, node.arg, node.device = op, dtype, shape, srcs, arg, device
    node.storage = None
    node.made_at = locate() if locate is not None else None
    _interned[key] = node
    return node


# ------------------------------------------------------------------------------------------------- leaves


def const(value: Scalar, dtype: DType) -> Node:
    """A scalar (shape ``()``); integers wrap to ``dtype``."""
    value = dtype.cast_scalar(value)
    return _node(Op.CONST, dtype, (), (), ConstArg(value, repr(value)))


def full(value: Scalar, shape: Shape, dtype: DType) -> Node:
    """A constant of any shape."""
    return broadcast_to(const(value, dtype), shape)


def iota(n: int, dtype: DType = int32) -> Node:
    """0 … n-1, of shape ``(n,)``."""
    return _node(GraphOp.IOTA, dtype, (n,), ())


def buffer(storage: Buffer, shape: Shape, dtype: DType) -> Node:
    """A leaf that reads ``storage`` as ``shape`` in row-major order."""
    node = _node(GraphOp.BUFFER, dtype, shape, (), storage)
    node.device, node.storage = storage.device.name, storage
    return node


def parameter(x: Node) -> Node:
    """``x`` under an identity of its own, so that gradients to it are not gradients to its equals."""
    return _node(GraphOp.PARAMETER, x.dtype, x.shape, (x,), _Token())


class _Token:
    """Unlike any other."""

    __slots__ = ()


# -------------------------------------------------------------------------------------------- elementwise


def elementwise(op: Op, *srcs: Node) -> Node:
    """A primitive over operands of one shape (not CAST and BITCAST, which name a dtype).

    Raises:
        ShapeError: when the shapes differ.
        DTypeError: when the dtypes differ, or the contract gives ``op`` no meaning on them.
    """
    row = PRIMITIVES[op]
    values = srcs[1:] if op is Op.WHERE else srcs
    first = values[0]
    for s in srcs:
        if s.shape != first.shape:
            raise ShapeError(f"{row.name} of shapes {', '.join(str(x.shape) for x in srcs)}: they must be equal")
    if any(v.dtype is not first.dtype for v in values) or (op is Op.WHERE and srcs[0].dtype is not bool_):
        raise DTypeError(f"{row.name} of {', '.join(x.dtype.name for x in srcs)}: they must be equal")
    if not is_supported(op, first.dtype):
        raise DTypeError(f"{row.name} has no meaning on {first.dtype}: it takes {row.operands.value}")
    if len(srcs) != row.arity:
        raise ShapeError(f"{row.name} takes {row.arity} operands, not {len(srcs)}")
    return _node(op, row.result_dtype(*(s.dtype for s in srcs)), first.shape, srcs)


def cast(x: Node, dtype: DType) -> Node:
    """The same values in another dtype."""
    if x.dtype is dtype:
        return x
    if x.op is Op.CONST and not (x.dtype.is_float and not dtype.is_float):
        arg = x.arg
        assert isinstance(arg, ConstArg)
        return const(arg.value, dtype)
    return _node(Op.CAST, dtype, x.shape, (x,), dtype)


def bitcast(x: Node, dtype: DType) -> Node:
    """The same bits in another dtype of the same width."""
    if x.dtype is dtype:
        return x
    if x.dtype.bits != dtype.bits or x.dtype.is_bool or dtype.is_bool:
        raise DTypeError(f"BITCAST of {x.dtype} to {dtype}: the widths must be equal, and neither may be bool")
    return _node(Op.BITCAST, dtype, x.shape, (x,), dtype)


# ----------------------------------------------------------------------------------------------- movement


def reshape(x: Node, shape: Shape) -> Node:
    """The same elements in row-major order under another shape of the same size."""
    if shape == x.shape:
        return x
    if math.prod(shape) != x.size:
        raise ShapeError(f"reshape of {x.shape} ({x.size} elements) to {shape} ({math.prod(shape)} elements)")
    if x.op is GraphOp.RESHAPE and x.storage is None:
        return reshape(x.srcs[0], shape)
    return _node(GraphOp.RESHAPE, x.dtype, shape, (x,))


def permute(x: Node, axes: tuple[int, ...]) -> Node:
    """Axis i of the result is axis ``axes[i]`` of ``x``."""
    if sorted(axes) != list(range(len(x.shape))):
        raise ShapeError(f"permute of {x.shape} by {axes}: each axis must be named once")
    if axes == tuple(range(len(axes))):
        return x
    return _node(GraphOp.PERMUTE, x.dtype, tuple(x.shape[a] for a in axes), (x,), AxesArg(axes))


def expand(x: Node, shape: Shape) -> Node:
    """Axes of size 1 repeated to ``shape``; the rank stays."""
    if shape == x.shape:
        return x
    if len(shape) != len(x.shape) or any(s not in (1, t) for s, t in zip(x.shape, shape, strict=True)):
        raise ShapeError(f"expand of {x.shape} to {shape}: only axes of size 1 can be repeated")
    if x.op is GraphOp.EXPAND:
        x = x.srcs[0]
    return _node(GraphOp.EXPAND, x.dtype, shape, (x,))


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
    return _node(GraphOp.PAD, x.dtype, shape, (x,), SpanArg(spans))


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
    return _node(GraphOp.SHRINK, x.dtype, shape, (x,), SpanArg(spans))


def flip(x: Node, axes: Iterable[int]) -> Node:
    """The elements of ``axes`` in reverse order."""
    kept = tuple(sorted({a for a in axes if x.shape[a] > 1}))
    return _node(GraphOp.FLIP, x.dtype, x.shape, (x,), AxesArg(kept)) if kept else x


def window(x: Node, axis: int, size: int, stride: int = 1, dilation: int = 1) -> Node:
    """Windows of ``axis``: element ``o·stride + k·dilation``, with o in the axis's place and k as a new last axis."""
    reach = (size - 1) * dilation + 1
    if size < 1 or stride < 1 or dilation < 1 or reach > x.shape[axis]:
        raise ShapeError(
            f"window of size {size}, stride {stride}, dilation {dilation} over axis {axis} of {x.shape}: "
            f"it reaches over {reach} elements"
        )
    count = (x.shape[axis] - reach) // stride + 1
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :], size)
    return _node(GraphOp.WINDOW, x.dtype, shape, (x,), WindowArg(axis, size, stride, dilation))


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
    return _node(GraphOp.REDUCE, x.dtype, shape, (x,), ReduceArg(op, kept))


def gather(x: Node, index: Node) -> Node:
    """Rows of ``x`` by position: shape ``index.shape + x.shape[1:]``; a position outside gives zeros."""
    if not index.dtype.is_int:
        raise DTypeError(f"GATHER by {index.dtype}: positions must be integers")
    if not x.shape:
        raise ShapeError("GATHER from a scalar: there is no axis to choose from")
    return _node(GraphOp.GATHER, x.dtype, index.shape + x.shape[1:], (x, index))


def scatter(x: Node, index: Node, values: Node, op: Op | None = None) -> Node:
    """``x`` with row ``index[i]`` set to (or folded by ``op`` with) ``values[i]``, in order of i.

    ``index`` has shape ``(m,)``, ``values`` has ``(m, *x.shape[1:])``. Positions outside change nothing.
    """
    if not index.dtype.is_int or len(index.shape) != 1:
        raise DTypeError(f"SCATTER by {index.dtype} of shape {index.shape}: positions must be one axis of integers")
    if values.shape != index.shape + x.shape[1:] or values.dtype is not x.dtype:
        raise ShapeError(
            f"SCATTER of {values.dtype} {values.shape} into {x.dtype} {x.shape} at {index.shape[0]} positions: "
            f"it wants {x.dtype} {index.shape + x.shape[1:]}"
        )
    if op is not None and op not in REDUCIBLE:
        raise DTypeError(f"SCATTER with {op!r}: only {', '.join(sorted(o.name for o in REDUCIBLE))} can fold")
    return _node(GraphOp.SCATTER, x.dtype, x.shape, (x, index, values), ScatterArg(op))


# ------------------------------------------------------------------------------------------------- memory


def contiguous(x: Node) -> Node:
    """``x`` put into memory of its own."""
    if x.op in (GraphOp.CONTIGUOUS, GraphOp.BUFFER):
        return x
    return _node(GraphOp.CONTIGUOUS, x.dtype, x.shape, (x,))


def copy(x: Node, device: str) -> Node:
    """``x`` on another device."""
    if x.device == device:
        return x
    node = _node(GraphOp.COPY, x.dtype, x.shape, (x,), device)
    node.device = device
    return node


def assign(target: Node, value: Node) -> Node:
    """``value``, to be put into the memory of ``target`` where nothing else still reads it."""
    if target.shape != value.shape or target.dtype is not value.dtype:
        raise ShapeError(
            f"assign of {value.dtype} {value.shape} to {target.dtype} {target.shape}: they must be equal"
        )
    return _node(GraphOp.ASSIGN, target.dtype, target.shape, (target, value))


# ------------------------------------------------------------------------------------------------- walking


def with_srcs(node: Node, srcs: tuple[Node, ...]) -> Node:
    """The same operation on other operands of the same shapes and dtypes."""
    new = _node(node.op, node.dtype, node.shape, srcs, node.arg)
    if node.op is GraphOp.COPY:
        new.device = node.device
    new.made_at = new.made_at or node.made_at
    return new


def toposort(roots: Iterable[Node], stop: Callable[[Node], bool] | None = None) -> list[Node]:
    """Every node that ``roots`` need, operands before users; below a node that ``stop`` accepts, nothing.

    Iterative, so that a chain of any length can be walked.
    """
    order: list[Node] = []
    done: set[Node] = set()
    for root in roots:
        stack: list[tuple[Node, bool]] = [(root, False)]
        while stack:
            node, ready = stack.pop()
            if ready:
                order.append(node)
            elif node not in done:
                done.add(node)
                stack.append((node, True))
                if stop is None or not stop(node):
                    stack.extend((s, False) for s in reversed(node.srcs) if s not in done)
    return order


__all__ = [
    "MOVEMENT", "AnyOp", "AxesArg", "ConstArg", "GraphOp", "Node", "ReduceArg", "ScatterArg", "Shape", "SpanArg",
    "WindowArg", "assign", "bitcast", "broadcast_to", "buffer", "cast", "const", "contiguous", "copy",
    "elementwise", "expand", "flip", "full", "gather", "index_dtype", "iota", "pad", "parameter", "permute",
    "reduce", "reshape", "scatter", "shrink", "toposort", "window", "with_srcs",
]  # fmt: skip
