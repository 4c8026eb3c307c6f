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
from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING

from .dtype import DType, Scalar
from .errors import DeviceError
from .ops import Op
from .record import dataclass

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
    COMPOUND = "COMPOUND"  # what a device offers besides primitives: only plans hold it, no user's graph does
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
    """WINDOW: positions ``o·stride + k·dilation`` of ``axis``; o takes its place, k (``size``) is last."""

    axis: int
    size: int
    stride: int
    dilation: int


@dataclass(frozen=True, slots=True)
class ConstArg:
    """CONST: the value. Two constants are one when they print alike: -0.0 is not 0.0, and NaN is NaN."""

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


class _Ref(weakref.ref[Node]):
    """A reference that knows under which key it is kept."""

    __slots__ = ("key",)
    key: tuple[Hashable, ...]


_living: dict[tuple[Hashable, ...], _Ref] = {}
"""Every node by its parts. A plain dict of references: each operation that is written asks here first."""


def _forget(ref: weakref.ref[Node]) -> None:
    assert isinstance(ref, _Ref)
    if _living.get(ref.key) is ref:
        _living.pop(ref.key, None)  # another thread may have been here since


locate: Callable[[], str | None] | None = None
"""Gives the user's source line for ``made_at``; installed by ``trace`` while debugging, else None."""


def intern(op: AnyOp, dtype: DType, shape: Shape, srcs: tuple[Node, ...], arg: Hashable = None) -> Node:
    """The node with these parts: one object for equal parts, made when there is none yet."""
    key = (op, dtype, shape, srcs, arg)
    held = _living.get(key)
    if held is not None:
        found = held()
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
    _living[key] = ref = _Ref(node, _forget)
    ref.key = key
    return node


def toposort(roots: Iterable[Node], stop: Callable[[Node], bool] | None = None) -> list[Node]:
    """Every node that ``roots`` need, operands before users; below a node that ``stop`` accepts, nothing.

    Iterative, so that a chain of any length can be walked.
    """
    order: list[Node] = []
    done: set[Node] = set()
    for root in roots:
        stack = [root]
        while stack:
            node = stack[-1]
            if node not in done:
                if node.srcs and (stop is None or not stop(node)):
                    ahead = [s for s in node.srcs if s not in done]
                    if ahead:
                        stack += ahead[::-1]
                        continue
                done.add(node)
                order.append(node)
            stack.pop()
    return order
