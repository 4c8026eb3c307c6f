"""The core of a Tensor: a node of the lazy graph, the device it is computed on, and whether it is
differentiated.

Nothing runs until ``realize``, ``numpy``, ``item``, ``tolist`` or printing. The operations are in the layers
above this one: each file of this package is a class that adds one family and uses only those below it.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from .. import engine, graph
from ..dtype import DType, DTypeLike, as_dtype
from ..errors import ArgumentError, DTypeError, GradientError, ShapeError
from ..graph import GraphOp, Node, Shape
from ..registry import default_device, open_device
from .host import Array, leaf, number, plain

_BUFFER, _PARAMETER = GraphOp.BUFFER, GraphOp.PARAMETER
_leaves: weakref.WeakKeyDictionary[Node, weakref.ref[TensorBase]] = weakref.WeakKeyDictionary()
"""Whose value a PARAMETER is: where backward() leaves its gradient."""
_boundaries: weakref.WeakValueDictionary[Node, Node] = weakref.WeakValueDictionary()
"""A node, and the PARAMETER that detach() put over it: one each, so that equal expressions stay equal."""


def leaf_of(node: Node) -> TensorBase | None:
    """The tensor whose value a PARAMETER is, while it lives."""
    ref = _leaves.get(node)
    return None if ref is None else ref()


class TensorBase:
    """An n-dimensional array of one dtype on one device, computed when it is looked at."""

    __slots__ = ("__weakref__", "_requires_grad", "device", "grad", "node")

    node: Node
    device: str
    grad: Self | None
    _requires_grad: bool

    training: ClassVar[bool] = False
    """Whether dropout drops and batch norm learns: set it for a while with ``Tensor.train()``."""

    def __init__(
        self,
        data: Any,
        dtype: DTypeLike | None = None,
        device: str | None = None,
        requires_grad: bool = False,
    ) -> None:
        """A tensor of the values of a number, a (nested) list, a NumPy array or another tensor.

        Args:
            data: the values. A list of Python ints is int32 (they must fit), of floats float32, of bools
            bool. dtype: of the tensor; by default that of the data.
            device: where it is computed; by default the default device.
            requires_grad: collect the gradient of a loss in ``grad`` when ``backward`` is called on it.

        Raises:
            DTypeError: data that has no dtype here, integers that don't fit.
            ShapeError: a ragged list.
        """
        wanted = None if dtype is None else as_dtype(dtype)
        self.grad = None
        if isinstance(data, TensorBase):
            node = data.detach().node
            self.device = data.device
            if device is not None:
                self.device = open_device(device).name
                node = _moved(node, self.device)
            self.node = node if wanted is None else graph.cast(node, wanted)
        else:
            self.device = default_device() if device is None else open_device(device).name
            self.node = leaf(_without_tensors(data) if _holds_tensors(data) else data, wanted, self.device)
        self._requires_grad = False
        if requires_grad:
            self.requires_grad = True

    # ------------------------------------------------------------------------------------------ making

    @classmethod
    def _of(cls, node: Node, device: str, requires_grad: bool = False) -> Self:
        t = object.__new__(cls)
        t.node, t.device, t._requires_grad, t.grad = node, device, requires_grad, None
        return t

    def _new(self, node: Node) -> Self:
        """A result of ``self`` alone."""
        t = object.__new__(type(self))
        t.node, t.device, t._requires_grad, t.grad = node, self.device, self._requires_grad, None
        return t

    def _with(self, node: Node, *others: TensorBase) -> Self:
        """A result of ``self`` and others."""
        t = object.__new__(type(self))
        t.node, t.grad = node, None
        t.device = node.device or self.device
        t._requires_grad = self._requires_grad or any(o._requires_grad for o in others)
        return t

    def _lift(self, other: Any, dtype: DType | None = None) -> Self:
        """``other`` as a tensor beside this one."""
        if isinstance(other, type(self)):
            return other
        return type(self)(other, dtype=dtype, device=self.device)

    # ------------------------------------------------------------------------------------------ asking

    @property
    def shape(self) -> Shape:
        """Elements along each axis."""
        return self.node.shape

    @property
    def dtype(self) -> DType:
        """The element type."""
        return self.node.dtype

    @property
    def ndim(self) -> int:
        """How many axes."""
        return len(self.node.shape)

    def dim(self) -> int:
        """How many axes."""
        return len(self.node.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the elements along one axis."""
        return self.node.shape if dim is None else self.node.shape[self._axis(dim)]

    def numel(self) -> int:
        """How many elements."""
        return self.node.size

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.node.dtype.itemsize

    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.node.nbytes

    def is_floating_point(self) -> bool:
        """True of the float dtypes."""
        return self.node.dtype.is_float

    def _axis(self, axis: int, rank: int | None = None) -> int:
        n = len(self.node.shape) if rank is None else rank
        if not isinstance(axis, (int, np.integer)) or isinstance(axis, bool):
            raise ArgumentError(f"an axis must be an integer, not {axis!r}")
        if not -n <= axis < n:
            raise ShapeError(f"axis {axis} of a tensor of shape {self.node.shape}: there are {n} axes")
        return int(axis) % n if n else 0

    def _axes(self, axes: int | Iterable[int] | None) -> tuple[int, ...]:
        """``axes`` counted from 0, in order; all of them for None."""
        if axes is None:
            return tuple(range(len(self.node.shape)))
        if not isinstance(axes, Iterable):
            return (self._axis(axes),) if self.node.shape or axes not in (0, -1) else ()
        kept = [self._axis(a) for a in axes]
        if len(set(kept)) != len(kept):
            raise ShapeError(f"axes {tuple(axes)} of shape {self.node.shape}: one is named twice")
        return tuple(sorted(kept))

    # --------------------------------------------------------------------------------------- gradients

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient passes through here.

        Setting it makes the tensor a leaf, whose ``grad`` collects.
        """
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        if flag == self._requires_grad:
            return
        if not flag:
            self.node, self._requires_grad = self.detach().node, False
            return
        if not self.dtype.is_float:
            raise DTypeError(f"requires_grad of {self.dtype}: only floats have gradients")
        self._become_leaf(self.node)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Sets ``requires_grad``."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """True of a tensor that no gradient passes beyond."""
        return not self._requires_grad or self._own_leaf()

    def _own_leaf(self) -> bool:
        return self.node.op is GraphOp.PARAMETER and leaf_of(self.node) is self

    def _become_leaf(self, value: Node) -> None:
        self.node, self._requires_grad = graph.parameter(value), True
        self.node.storage = value.storage
        _leaves[self.node] = weakref.ref(self)

    def detach(self) -> Self:
        """The same values, through which no gradient passes."""
        node = self.node
        if self._requires_grad:
            if self._own_leaf():
                node = node.srcs[0]
            elif node.storage is not None:
                node = graph.buffer(node.storage, node.shape, node.dtype)
            else:
                return self._held()
        return self._of(node, self.device)

    def _held(self) -> Self:
        """The same values as a constant, whatever is differentiated by whatever."""
        over = _boundaries.get(self.node)
        if over is None:
            over = _boundaries[self.node] = graph.parameter(self.node)
        return self._of(over, self.device)

    @property
    def data(self) -> Self:
        """The values without their history: ``detach()``. Setting it gives the tensor other values."""
        return self.detach()

    @data.setter
    def data(self, value: Self) -> None:
        self.assign(value.detach())

    # ---------------------------------------------------------------------------------------- running

    def realize(self, *others: TensorBase) -> Self:
        """Computes this tensor, and ``others`` with it, and keeps the values."""
        realize_all((self, *others))
        return self

    def _value(self) -> Node:
        """The node to compute: below a PARAMETER, except that constants are computed under one of their own.

        A constant is one object wherever it is used, on whatever device; its node must not be given memory.
        """
        node = self.node
        if node.device is not None:
            while node.op is _PARAMETER:
                node = node.srcs[0]
        elif node.op is not GraphOp.PARAMETER and not self._requires_grad:
            node = self.node = graph.parameter(node)
        return node

    def _settle(self, value: Node) -> None:
        """After ``value`` was computed: a leaf that reads the memory takes the place of what nobody needs."""
        node, storage = self.node, value.storage
        assert storage is not None
        with engine.storing:
            node.storage = storage
        if not self._requires_grad:
            if node.op is not _BUFFER:
                self.node = graph.buffer(storage, node.shape, node.dtype)
        elif value.op is not _BUFFER and self._own_leaf():
            self._become_leaf(graph.buffer(storage, node.shape, node.dtype))

    def numpy(self) -> Array:
        """The values in a new NumPy array."""
        realize_all((self,))
        return engine.read(self.node)

    def item(self) -> Any:
        """The only element, as a Python number.

        Raises:
            ShapeError: when there are more, or none.
        """
        if self.node.size != 1:
            raise ShapeError(f"item() of shape {self.node.shape}: there must be one element")
        realize_all((self,))
        return number(engine.read_one(self.node), self.node.dtype)

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return plain(self.numpy(), self.dtype).tolist()

    def kernels(self) -> Any:
        """The kernels that realizing this tensor would run, without running them."""
        return engine.kernels([self._value()], self.device)

    def __repr__(self) -> str:
        text = np.array2string(plain(self.numpy(), self.dtype), separator=", ")
        grad = ", requires_grad=True" if self._requires_grad else ""
        head = "Tensor("
        return f"{head}{text.replace(chr(10), chr(10) + ' ' * len(head))}, {self.dtype}, {self.device}{grad})"

    def __bool__(self) -> bool:
        if self.node.size != 1:
            raise ShapeError(
                f"the truth of a tensor of shape {self.node.shape} is not one: use any() or all()"
            )
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if not self.dtype.is_int:
            raise DTypeError(f"a position must be an integer, not {self.dtype}")
        return int(self.item())

    def __len__(self) -> int:
        if not self.node.shape:
            raise ShapeError("len() of a tensor without axes")
        return self.node.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        out = self.numpy()
        return out if dtype is None else out.astype(dtype)

    def __hash__(self) -> int:
        return id(self)

    # ------------------------------------------------------------------------------------ dtype, device

    def cast(self, dtype: DTypeLike) -> Self:
        """The values in another dtype."""
        to = as_dtype(dtype)
        if to is self.node.dtype:
            return self
        t = self._new(graph.cast(self.node, to))
        t._requires_grad = self._requires_grad and to.is_float
        return t

    def bitcast(self, dtype: DTypeLike) -> Self:
        """The bits read as another dtype of the same width. No gradient passes."""
        return self._of(graph.bitcast(self.detach().node, as_dtype(dtype)), self.device)

    def to(self, device: str | DType) -> Self:
        """The values on another device, or in another dtype."""
        if isinstance(device, DType):
            return self.cast(device)
        name = open_device(device).name
        return self if name == self.device else self._of(_moved(self.node, name), name, self._requires_grad)

    def cpu(self) -> Self:
        """The values on the device called CPU."""
        return self.to("cpu")

    def contiguous(self) -> Self:
        """The values put into memory of their own, in row-major order."""
        return self._new(graph.contiguous(self.node))

    def clone(self) -> Self:
        """A copy with memory of its own, through which gradients pass."""
        return self._new(graph.contiguous(self.node))

    # -------------------------------------------------------------------------------------- assignment

    def assign(self, value: Any) -> Self:
        """Gives this tensor other values: broadcast to its shape, in its dtype, in its memory where that
        is safe.

        A leaf with ``requires_grad`` takes values that need no gradient themselves (as an optimizer's);
        losses computed before keep the old ones.

        Raises:
            GradientError: when a leaf would be given values that depend on tensors with ``requires_grad``.
        """
        other = self._lift(value, self.dtype if isinstance(value, int) else None)
        node = graph.cast(graph.broadcast_to(other.node, self.shape), self.dtype)
        if self._requires_grad and self._own_leaf():
            if other._requires_grad:
                raise GradientError(
                    "assign to a leaf with requires_grad of values that need a gradient: detach() the values"
                )
            self._become_leaf(graph.assign(_memory(self.node.srcs[0]), node))
        else:
            self.node, self._requires_grad = graph.assign(_memory(self.node), node), other._requires_grad
        return self


def realize_all(tensors: Sequence[TensorBase]) -> None:
    """Computes several tensors together, and what was deferred on their devices."""
    by_device: dict[str, list[tuple[TensorBase, Node]]] = {}
    for t in tensors:
        if t.node.op is not _BUFFER:
            value = t._value()
            if value.storage is None:
                by_device.setdefault(value.device or t.device, []).append((t, value))
            else:
                t._settle(value)
    for device, todo in by_device.items():
        if device in _deferred:
            for ref in _deferred.pop(device).values():
                state = ref()
                if state is not None and state.node.storage is None and all(state is not t for t, _ in todo):
                    todo.append((state, state._value()))
        engine.realize([value for _, value in todo], device)
        for t, value in todo:
            t._settle(value)


def _memory(node: Node) -> Node:
    """What stands in the memory that ``node`` is to take: below assignments that were not computed yet."""
    while node.op is GraphOp.ASSIGN and node.storage is None:
        node = node.srcs[0]
    return node


def _moved(node: Node, device: str) -> Node:
    """``node`` on another device; what belongs to none stays."""
    return node if node.device in (None, device) else graph.copy(node, device)


_deferred: dict[str, dict[int, weakref.ref[TensorBase]]] = {}


def defer(tensor: TensorBase) -> None:
    """Has ``tensor`` (a running statistic, the random state) computed with whatever is next on its device."""
    _deferred.setdefault(tensor.device, {})[id(tensor)] = weakref.ref(tensor)


def realize_deferred() -> None:
    """Computes what was deferred, on every device."""
    for refs in list(_deferred.values()):
        realize_all([t for ref in refs.values() if (t := ref()) is not None])


def _holds_tensors(data: Any) -> bool:
    if isinstance(data, TensorBase):
        return True
    return isinstance(data, (list, tuple)) and any(map(_holds_tensors, data))


def _without_tensors(data: Any) -> Any:
    if isinstance(data, TensorBase):
        return data.numpy()
    return [_without_tensors(d) for d in data] if isinstance(data, (list, tuple)) else data


__all__ = ["Array", "TensorBase", "defer", "leaf_of", "realize_all"]
