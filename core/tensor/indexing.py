"""x[…] and x[…] = v, by NumPy's rules.

Integers, slices with any step, None and Ellipsis only move elements. Integer arrays gather; bool masks are
looked at at once, because how much they select decides the shape. Positions given in Python or NumPy are
checked at once; those in a tensor are not known before it is computed: outside, they read 0 and write
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import field
from types import EllipsisType
from typing import Any, Self

import numpy as np

from .. import graph
from ..dtype import bool_, int32, int64
from ..elementary.basic import Expr, where
from ..errors import GradientError, IndexingError, ShapeError
from ..graph import Node, Shape
from ..ops import Op
from ..record import dataclass
from .base import Array, TensorBase
from .elementwise import broadcast_shape
from .random import Random


@dataclass
class _Parsed:
    """An index, sorted: first the movement, then what gathers.

    Attributes:
        steps: for each axis of the tensor: the slice kept.
        shape: after the movement, with new axes and without the axes of integers.
        arrays: the axis of ``shape`` that each index array chooses from, and the array.
        together: whether the arrays stand side by side, so that their axes stay in place.
    """

    steps: list[slice] = field(default_factory=list)
    shape: list[int] = field(default_factory=list)
    arrays: list[tuple[int, Any]] = field(default_factory=list)
    together: bool = True


def _sized(s: slice, n: int) -> int:
    return len(range(*s.indices(n)))


def _listed(index: Any) -> Any:
    """One entry of an index: lists become arrays, bool tensors become host masks."""
    if isinstance(index, (list, tuple)):
        array = np.array([i.item() if isinstance(i, TensorBase) and not i.shape else i for i in index])
        return array if array.size else array.astype(np.int64)
    if isinstance(index, TensorBase):
        return index.numpy() if index.dtype.is_bool else index
    return index


def _kind(index: Any) -> str:
    if isinstance(index, (bool, np.bool_)):
        raise IndexingError("an index of True or False: give a mask, or an integer")
    if isinstance(index, (int, np.integer)):
        return "int"
    if isinstance(index, slice):
        return "slice"
    if index is None:
        return "new"
    if isinstance(index, EllipsisType):
        return "rest"
    if isinstance(index, np.ndarray) and index.dtype.kind in "iub":
        return "array"
    if isinstance(index, TensorBase) and index.dtype.is_int:
        return "array"
    what = index.dtype if isinstance(index, (np.ndarray, TensorBase)) else type(index).__name__
    raise IndexingError(
        f"an index of {what}: integers, slices, None, ..., and arrays of integers or bools select"
    )


def _parse(index: Any, shape: Shape) -> _Parsed:
    entries = [_listed(i) for i in (index if isinstance(index, tuple) else (index,))]
    kinds = [_kind(i) for i in entries]
    gathers = "array" in kinds
    used = sum(
        e.ndim
        if k == "array" and isinstance(e, np.ndarray) and e.dtype.kind == "b"
        else k in ("int", "slice", "array")
        for e, k in zip(entries, kinds, strict=True)
    )
    if kinds.count("rest") > 1:
        raise IndexingError("an index with two ellipses: which axes each stands for is not known")
    if used > len(shape):
        raise IndexingError(f"an index of {used} axes into shape {shape}: there are {len(shape)}")
    if "rest" not in kinds:
        entries, kinds = [*entries, ...], [*kinds, "rest"]
    p = _Parsed()
    axis, last_array = 0, None
    for position, (entry, kind) in enumerate(zip(entries, kinds, strict=True)):
        if kind == "rest":
            for _ in range(len(shape) - used):
                p.steps.append(slice(None))
                p.shape.append(shape[axis])
                axis += 1
        elif kind == "new":
            p.shape.append(1)
        elif kind == "slice":
            p.steps.append(_checked_slice(entry))
            p.shape.append(_sized(entry, shape[axis]))
            axis += 1
        elif kind == "int" and not gathers:
            at = _checked_position(int(entry), axis, shape)
            p.steps.append(slice(at, at + 1))
            axis += 1
        else:
            if last_array is not None and last_array != position - 1:
                p.together = False
            last_array = position
            for one in _positions(entry, kind, axis, shape):
                p.arrays.append((len(p.shape), one))
                p.steps.append(slice(None))
                p.shape.append(shape[axis])
                axis += 1
    return p


def _checked_slice(s: slice) -> slice:
    for bound in (s.start, s.stop, s.step):
        if not (bound is None or isinstance(bound, (int, np.integer, TensorBase))):
            raise IndexingError(f"a slice by {bound!r}: its bounds and its step must be integers")
    if s.step == 0:
        raise IndexingError("a slice with step 0: it never moves on")
    return s


def _checked_position(i: int, axis: int, shape: Shape) -> int:
    if not -shape[axis] <= i < shape[axis]:
        raise IndexingError(f"index {i} on axis {axis} of shape {shape}: it holds {shape[axis]} elements")
    return i % shape[axis]


def _positions(entry: Any, kind: str, axis: int, shape: Shape) -> list[Any]:
    """The integer arrays that an entry stands for: a mask gives one for each of its axes."""
    if kind == "int":
        return [np.array(_checked_position(int(entry), axis, shape))]
    if isinstance(entry, TensorBase):
        return [entry]
    if entry.dtype.kind == "b":
        if entry.shape != shape[axis : axis + entry.ndim]:
            raise IndexingError(
                f"a mask of shape {entry.shape} on axis {axis} of shape {shape}: sizes must be equal"
            )
        return list(np.nonzero(entry))
    n = shape[axis]
    if entry.size and not (-n <= entry.min() and entry.max() < n):
        raise IndexingError(
            f"indices from {entry.min()} to {entry.max()} on axis {axis} of shape {shape}: "
            f"it holds {n} elements"
        )
    return [np.where(entry < 0, entry + n, entry) if entry.dtype.kind == "i" else entry]


def strided(x: Node, axis: int, s: slice) -> Node:
    """One axis sliced."""
    n = x.shape[axis]
    start, stop, step = s.indices(n)
    count = len(range(start, stop, step))
    if count == 0:
        return graph.shrink(x, [(0, 0) if i == axis else (0, m) for i, m in enumerate(x.shape)])
    low, high = min(start, start + (count - 1) * step), max(start, start + (count - 1) * step)
    x = graph.shrink(x, [(low, high + 1) if i == axis else (0, m) for i, m in enumerate(x.shape)])
    if abs(step) > 1:
        w = graph.window(x, axis, 1, abs(step))
        x = graph.reshape(w, w.shape[:-1])
    return graph.flip(x, [axis]) if step < 0 else x


def _placed(v: Node, axis: int, s: slice, n: int) -> Node:
    """The inverse of ``strided``: an axis's elements at their positions of n, zeros elsewhere."""
    start, stop, step = s.indices(n)
    count = len(range(start, stop, step))
    if step < 0:
        v = graph.flip(v, [axis])
    low = min(start, start + (count - 1) * step)
    by = abs(step)
    if by > 1 and count > 1:
        before, after = v.shape[:axis], v.shape[axis + 1 :]
        apart = graph.reshape(v, (*before, count, 1, *after))
        apart = graph.pad(apart, [(0, by - 1) if i == axis + 1 else (0, 0) for i in range(len(apart.shape))])
        v = graph.reshape(apart, (*before, count * by, *after))
        keep = (count - 1) * by + 1
        v = graph.shrink(v, [(0, keep) if i == axis else (0, m) for i, m in enumerate(v.shape)])
    span = v.shape[axis]
    return graph.pad(v, [(low, n - low - span) if i == axis else (0, 0) for i in range(len(v.shape))])


class Indexing(Random):
    """Reading and writing by position."""

    __slots__ = ()

    def _index(self, index: Any, n: int, count: int) -> tuple[Node, Node | None]:
        """Positions from 0 in the dtype that ``count`` elements need, and where they are inside (None:
        all).
        """
        to = int32 if count < 2**31 else int64
        if not isinstance(index, TensorBase):
            return type(self)(np.asarray(index), dtype=to, device=self.device).node, None
        i = Expr(graph.cast(index.node, to if index.dtype.bits <= 32 else int64))
        if index.dtype.is_signed:
            i = where(i < 0, i + n, i)
        inside = (i < n) & ~(i < 0)
        return graph.cast(i.node, to), inside.node

    def _gathered(self, x: Node, arrays: Sequence[tuple[int, Any]], together: bool) -> Node:
        """``x`` at index arrays, each on an axis of its own."""
        axes = [a for a, _ in arrays]
        sizes = [x.shape[a] for a in axes]
        rest = [a for a in range(len(x.shape)) if a not in axes]
        found = [self._index(i, n, math.prod(sizes)) for (_, i), n in zip(arrays, sizes, strict=True)]
        common: Shape = ()
        try:
            for node, _ in found:
                common = broadcast_shape(common, node.shape)
        except ShapeError as e:
            shapes = ", ".join(str(node.shape) for node, _ in found)
            raise IndexingError(f"index arrays of shapes {shapes} do not broadcast") from e
        linear: Expr | None = None
        inside: Expr | None = None
        for (node, ok), n in zip(found, sizes, strict=True):
            one = Expr(graph.broadcast_to(node, common))
            linear = one if linear is None else linear * n + one
            if ok is not None:
                within = Expr(graph.broadcast_to(ok, common))
                inside = within if inside is None else inside & within
        assert linear is not None
        if inside is not None:
            linear = where(inside, linear, -1)
        rows = graph.reshape(
            graph.permute(x, (*axes, *rest)), (math.prod(sizes), *(x.shape[a] for a in rest))
        )
        out = graph.gather(rows, linear.node)
        if not together or not common:
            return out
        first, k = sum(a < axes[0] for a in rest), len(common)
        order = (*range(k, k + first), *range(k), *range(k + first, len(out.shape)))
        return graph.permute(out, order)

    def __getitem__(self, index: Any) -> Self:
        p = _parse(index, self.shape)
        node = self.node
        for axis, s in enumerate(p.steps):
            if s != slice(None):
                node = strided(node, axis, s)
        node = graph.reshape(node, tuple(p.shape))
        return self._new(self._gathered(node, p.arrays, p.together) if p.arrays else node)

    def __setitem__(self, index: Any, value: Any) -> None:
        if self._requires_grad and self._own_leaf():
            raise GradientError(
                "assignment into a leaf with requires_grad: detach() it first, or assign() a whole new value"
            )
        other = self._lift(value, self.dtype if isinstance(value, int) else None)
        given = graph.cast(other.node, self.dtype)
        p = _parse(index, self.shape)
        node = self._scattered(index, given) if p.arrays else self._covered(p, given)
        self._requires_grad = self._requires_grad or other._requires_grad
        self.node = graph.assign(self.node, node)

    def _fitted(self, value: Node, shape: Shape) -> Node:
        while len(value.shape) > len(shape) and value.shape[0] == 1:
            value = graph.reshape(value, value.shape[1:])
        try:
            fits = broadcast_shape(value.shape, shape) == shape
        except ShapeError:
            fits = False
        if not fits:
            raise ShapeError(
                f"assignment of shape {value.shape} to elements of shape {shape}: it must broadcast"
            )
        return graph.broadcast_to(value, shape)

    def _covered(self, p: _Parsed, value: Node) -> Node:
        """self, with ``value`` where the slices lie."""
        counts = tuple([_sized(s, n) for s, n in zip(p.steps, self.shape, strict=True)])
        placed = graph.reshape(self._fitted(value, tuple(p.shape)), counts)
        if 0 in counts:
            return self.node
        covered = graph.full(True, counts, bool_)
        for axis, (s, n) in enumerate(zip(p.steps, self.shape, strict=True)):
            placed, covered = _placed(placed, axis, s, n), _placed(covered, axis, s, n)
        if counts == self.shape:
            return placed
        return graph.elementwise(Op.WHERE, covered, placed, self.node)

    def _scattered(self, index: Any, value: Node) -> Node:
        """self, with ``value`` at the positions that the index selects from a tensor of positions."""
        n = self.node.size
        to = int32 if n < 2**31 else int64
        counted = (Expr(graph.iota(n, to)) + 1).node
        positions = self._of(graph.reshape(counted, self.shape), self.device)[index].node
        fitted = self._fitted(value, positions.shape)
        if not positions.size:
            return self.node
        flat = Expr(graph.reshape(positions, (positions.size,))) - 1
        values = graph.reshape(fitted, (positions.size,))
        return graph.reshape(graph.scatter(graph.reshape(self.node, (n,)), flat.node, values), self.shape)

    def masked_select(self, mask: Self) -> Self:
        """The elements where ``mask`` is true, as a vector; it is computed at once."""
        shape = broadcast_shape(self.shape, mask.shape)
        return self.expand(shape)[mask.expand(shape)]

    def nonzero(self) -> Self:
        """The positions (int64, one row each) of what is not zero; it is computed at once."""
        return type(self)(np.argwhere(self._host_mask()).astype(np.int64), device=self.device)

    def _host_mask(self) -> Array:
        return self.cast(bool_).numpy()

    def take(self, index: Any) -> Self:
        """Elements by position in the flattened tensor."""
        return self.flatten()[self._as_index(index)]

    def _as_index(self, index: Any) -> Any:
        return np.asarray(index) if isinstance(index, (list, tuple)) else index


__all__ = ["Indexing", "strided"]
