"""Movement: other shapes and orders of the same elements. It costs nothing until somebody looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

from .. import graph
from ..dtype import Scalar, bool_, promote_all, scalar_dtype
from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph import Node
from ..ops import Op
from .create import Create, integers


def join(nodes: Sequence[Node], axis: int) -> Node:
    """Nodes of one dtype, which agree in all axes but ``axis``, one after another."""
    total = sum(n.shape[axis] for n in nodes)
    out: Node | None = None
    at = 0
    for n in nodes:
        size = n.shape[axis]
        spans = [(0, 0)] * len(n.shape)
        spans[axis] = (at, total - at - size)
        at += size
        if size == 0 and total:
            continue
        part = graph.pad(n, spans)
        # chosen, not added: adding the zeros around would turn -0.0 to 0.0
        out = part if out is None else _either(out, part, axis, at - size)
    assert out is not None
    return out


def _either(a: Node, b: Node, axis: int, start: int) -> Node:
    n = a.shape[axis]
    shape = tuple(n if i == axis else 1 for i in range(len(a.shape)))
    position = graph.expand(graph.reshape(graph.iota(n), shape), a.shape)
    return graph.elementwise(
        Op.WHERE, graph.elementwise(Op.CMPLT, position, graph.full(start, a.shape, position.dtype)), a, b
    )


class Movement(Create):
    """Shape."""

    __slots__ = ()

    def reshape(self, *shape: Any) -> Self:
        """The same elements in row-major order under another shape; one axis may be -1: what is left."""
        if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
            shape = tuple(shape[0])
        if any(s is None for s in shape):
            shape = tuple(self.shape[i] if s is None else s for i, s in enumerate(shape))
        if any(type(s) is not int for s in shape):
            shape = integers(shape)
        if -1 in shape:
            rest = math.prod(s for s in shape if s != -1)
            if shape.count(-1) > 1 or not rest or self.node.size % rest:
                raise ShapeError(
                    f"reshape of {self.shape} ({self.node.size} elements) to {shape}: nothing fits -1"
                )
            shape = tuple(self.node.size // rest if s == -1 else s for s in shape)
        if any(s < 0 for s in shape):
            raise ShapeError(f"reshape of {self.shape} to {shape}: only one axis may be -1")
        return self._new(graph.reshape(self.node, shape))

    view = reshape

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Self:
        """The axes from ``start_dim`` to ``end_dim`` (both included) made one."""
        if not self.shape:
            return self.reshape(1)
        a, b = self._axis(start_dim), self._axis(end_dim)
        if b < a:
            raise ShapeError(f"flatten of {self.shape} from axis {a} to {b}: the first lies after the last")
        s = self.shape
        return self._new(graph.reshape(self.node, (*s[:a], math.prod(s[a : b + 1]), *s[b + 1 :])))

    def unflatten(self, dim: int, sizes: Sequence[int]) -> Self:
        """Axis ``dim`` split into axes of ``sizes``; one may be -1."""
        d = self._axis(dim)
        sizes = list(sizes)
        if -1 in sizes:
            rest = math.prod(s for s in sizes if s != -1)
            if sizes.count(-1) > 1 or not rest or self.shape[d] % rest:
                raise ShapeError(
                    f"unflatten of axis {d} of {self.shape} into {tuple(sizes)}: nothing fits -1"
                )
            sizes[sizes.index(-1)] = self.shape[d] // rest
        return self._new(graph.reshape(self.node, (*self.shape[:d], *sizes, *self.shape[d + 1 :])))

    def squeeze(self, dim: int | Sequence[int] | None = None) -> Self:
        """Without the axes of size 1 (those named, or all of them)."""
        axes = self._axes(dim)
        shape = tuple(n for i, n in enumerate(self.shape) if n != 1 or i not in axes)
        return self._new(graph.reshape(self.node, shape))

    def unsqueeze(self, dim: int) -> Self:
        """With a new axis of size 1 at ``dim``."""
        d = self._axis(dim, self.ndim + 1)
        return self._new(graph.reshape(self.node, (*self.shape[:d], 1, *self.shape[d:])))

    def expand(self, *shape: Any) -> Self:
        """Axes of size 1 repeated, and new leading axes; -1 keeps an axis as it is."""
        if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
            shape = tuple(shape[0])
        shape = integers(shape)
        missing = len(shape) - self.ndim
        if missing < 0:
            raise ShapeError(f"expand of {self.shape} to {shape}: there are fewer axes")
        old = (1,) * missing + self.shape
        return self._new(
            graph.broadcast_to(self.node, tuple(o if s == -1 else s for s, o in zip(shape, old, strict=True)))
        )

    broadcast_to = expand

    def expand_as(self, other: Self) -> Self:
        """Expanded to the shape of ``other``."""
        return self.expand(other.shape)

    def permute(self, *dims: Any) -> Self:
        """The axes in another order: axis i of the result is axis ``dims[i]``."""
        if len(dims) == 1 and isinstance(dims[0], (tuple, list)):
            dims = tuple(dims[0])
        if len(dims) != self.ndim:
            raise ShapeError(f"permute of {self.shape} by {dims}: each axis must be named once")
        return self._new(graph.permute(self.node, tuple([self._axis(d) for d in dims])))

    def transpose(self, dim0: int = -2, dim1: int = -1) -> Self:
        """Two axes swapped (the last two by default)."""
        a, b = self._axis(dim0), self._axis(dim1)
        order = list(range(self.ndim))
        order[a], order[b] = b, a
        return self._new(graph.permute(self.node, tuple(order)))

    @property
    def T(self) -> Self:
        """The axes in reverse order."""
        return self._new(graph.permute(self.node, tuple(range(self.ndim))[::-1]))

    @property
    def mT(self) -> Self:
        """The last two axes swapped."""
        return self.transpose(-2, -1)

    def movedim(self, source: int | Sequence[int], destination: int | Sequence[int]) -> Self:
        """The axes ``source`` moved to the places ``destination``; the others keep their order."""
        froms = [self._axis(a) for a in ([source] if isinstance(source, int) else source)]
        tos = [self._axis(a) for a in ([destination] if isinstance(destination, int) else destination)]
        if len(froms) != len(tos) or len(set(froms)) != len(froms) or len(set(tos)) != len(tos):
            raise ArgumentError(f"movedim from {source} to {destination}: one place for each axis")
        rest = iter([a for a in range(self.ndim) if a not in froms])
        placed = dict(zip(tos, froms, strict=True))
        return self.permute([placed[i] if i in placed else next(rest) for i in range(self.ndim)])

    def flip(self, *dims: Any) -> Self:
        """The elements of the axes ``dims`` in reverse order."""
        if len(dims) == 1 and isinstance(dims[0], (tuple, list)):
            dims = tuple(dims[0])
        return self._new(graph.flip(self.node, self._axes(dims)))

    def shrink(self, spans: Sequence[tuple[int, int] | None]) -> Self:
        """Of each axis the positions from the first number up to, not including, the second (None: all)."""
        if len(spans) != self.ndim:
            raise ShapeError(f"shrink of {self.shape} to {tuple(spans)}: one span for each axis")
        return self._new(
            graph.shrink(
                self.node, [(0, n) if s is None else s for s, n in zip(spans, self.shape, strict=True)]
            )
        )

    def narrow(self, dim: int, start: int, length: int) -> Self:
        """``length`` positions of axis ``dim`` from ``start``."""
        d = self._axis(dim)
        return self.shrink([(start, start + length) if i == d else None for i in range(self.ndim)])

    def pad(
        self, pad: Sequence[int | tuple[int, int] | None], mode: str = "constant", value: Scalar = 0
    ) -> Self:
        """Elements added around: counts as PyTorch's (last axis first, before and after) or a pair for
        each axis.

        Args:
            pad: ``(left, right, top, bottom, …)``, or one ``(before, after)`` or None for each axis, first
                axis first. Negative counts cut.
            mode: "constant", "reflect", "replicate" or "circular".
            value: of the added elements, when constant.
        """
        spans = self._spans(pad)
        if mode != "constant":
            return self._pad_by_copies(spans, mode)
        cut = [(max(0, -a), n + min(0, b)) for n, (a, b) in zip(self.shape, spans, strict=True)]
        if any(b < a for a, b in cut):
            raise ShapeError(f"pad of {self.shape} by {tuple(spans)}: it cuts more than there is")
        grown = [(max(0, a), max(0, b)) for a, b in spans]
        x = graph.shrink(self.node, cut)
        if value == 0 or not any(a or b for a, b in grown):
            return self._new(graph.pad(x, grown))
        if not (scalar_dtype(value, x.dtype) is x.dtype or x.dtype.is_bool) or (
            x.dtype.is_int and not x.dtype.min <= value <= x.dtype.max
        ):
            raise DTypeError(f"pad of {x.dtype} with {value}, which it does not hold: cast the tensor first")
        inside = graph.pad(graph.full(True, x.shape, bool_), grown)
        fill = graph.full(value, inside.shape, x.dtype)
        return self._new(graph.elementwise(Op.WHERE, inside, graph.pad(x, grown), fill))

    def _spans(self, pad: Sequence[Any]) -> list[tuple[int, int]]:
        if all(isinstance(p, int) for p in pad):
            if len(pad) % 2 or len(pad) > 2 * self.ndim:
                raise ShapeError(
                    f"pad of {self.shape} by {tuple(pad)}: two counts for each axis, last axis first"
                )
            pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
            return [(0, 0)] * (self.ndim - len(pairs)) + pairs[::-1]
        if len(pad) != self.ndim:
            raise ShapeError(f"pad of {self.shape} by {tuple(pad)}: one pair for each axis")
        counts = [integers(p or (0, 0)) for p in pad]
        return [(c[0], c[1]) for c in counts]

    def _pad_by_copies(self, spans: Sequence[tuple[int, int]], mode: str) -> Self:
        x = self._new(self.node)
        for axis, (a, b) in enumerate(spans):
            n = x.shape[axis]
            if not (a or b):
                continue
            if mode == "reflect" and max(a, b) < n:
                before, after = x._span(axis, 1, a + 1).flip(axis), x._span(axis, n - 1 - b, n - 1).flip(axis)
            elif mode == "replicate" and n:
                grow = [-1] * x.ndim
                grow[axis] = a
                before = x._span(axis, 0, 1).expand(grow)
                grow[axis] = b
                after = x._span(axis, n - 1, n).expand(grow)
            elif mode == "circular" and max(a, b) <= n:
                before, after = x._span(axis, n - a, n), x._span(axis, 0, b)
            elif mode in ("reflect", "replicate", "circular"):
                raise ShapeError(
                    f"{mode} pad of axis {axis} of {x.shape} by {(a, b)}: there is too little to copy"
                )
            else:
                raise ArgumentError(f"no pad mode {mode!r}: constant, reflect, replicate or circular")
            x = _cat([t for t in (before, x, after) if t.shape[axis]], axis)
        return x

    def _span(self, axis: int, start: int, stop: int) -> Self:
        return self._new(
            graph.shrink(
                self.node, [(start, stop) if i == axis else (0, n) for i, n in enumerate(self.shape)]
            )
        )

    def cat(self, *others: Any, dim: int = 0) -> Self:
        """Tensors one after another along ``dim``: ``Tensor.cat([a, b])`` or ``a.cat(b)``. Dtypes promote."""
        tensors, dim = _listed(self, others, dim)
        out: Self = _cat(tensors, dim)
        return out

    def stack(self, *others: Any, dim: int = 0) -> Self:
        """Tensors of one shape along a new axis ``dim``."""
        tensors, dim = _listed(self, others, dim)
        if not tensors:
            raise ArgumentError("stack of no tensors")
        for t in tensors:
            if t.shape != tensors[0].shape:
                raise ShapeError(
                    f"stack of shapes {', '.join(str(t.shape) for t in tensors)}: they must be equal"
                )
        out: Self = _cat([t.unsqueeze(dim) for t in tensors], dim)
        return out

    def repeat(self, *repeats: Any) -> Self:
        """Copies side by side: ``repeats[i]`` of them along axis i; more numbers than axes add leading
        ones.
        """
        if len(repeats) == 1 and isinstance(repeats[0], (tuple, list)):
            repeats = tuple(repeats[0])
        missing = len(repeats) - self.ndim
        if missing < 0 or any(r < 0 for r in repeats):
            raise ShapeError(f"repeat of {self.shape} by {repeats}: a count, not negative, for each axis")
        old = (1,) * missing + self.shape
        apart = self.reshape([d for n in old for d in (1, n)])
        out = apart.expand([d for r, n in zip(repeats, old, strict=True) for d in (r, n)])
        return out.reshape([r * n for r, n in zip(repeats, old, strict=True)])

    def roll(self, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Self:
        """Elements moved on by ``shifts`` along ``dims``; what leaves at the end enters at the start."""
        if dims is None:
            if not isinstance(shifts, int):
                raise ArgumentError("roll by several shifts: name as many axes")
            return self.flatten().roll(shifts, 0).reshape(self.shape)
        by = [shifts] if isinstance(shifts, int) else list(shifts)
        axes = [dims] if isinstance(dims, int) else list(dims)
        if len(by) != len(axes):
            raise ArgumentError(f"roll by {shifts} along {dims}: one shift for each axis")
        x = self._new(self.node)
        for s, a in zip(by, axes, strict=True):
            axis = x._axis(a)
            n = x.shape[axis]
            if n and s % n:
                x = _cat([x._span(axis, n - s % n, n), x._span(axis, 0, n - s % n)], axis)
        return x

    def split(self, split_size_or_sections: int | Sequence[int], dim: int = 0) -> list[Self]:
        """Pieces of one size (the last may be less), or of the sizes given, along ``dim``."""
        d = self._axis(dim)
        n = self.shape[d]
        if isinstance(split_size_or_sections, int):
            size = split_size_or_sections
            if size < 1:
                raise ArgumentError(f"split into pieces of {size}: the size must be positive")
            sizes = [min(size, n - i) for i in range(0, n, size)] or [0]
        else:
            sizes = list(split_size_or_sections)
            if sum(sizes) != n or any(s < 0 for s in sizes):
                raise ShapeError(f"split of axis {d} of {self.shape} into {sizes}: they must add up to {n}")
        out, at = [], 0
        for s in sizes:
            out.append(self._span(d, at, at + s))
            at += s
        return out

    def chunk(self, chunks: int, dim: int = 0) -> list[Self]:
        """At most ``chunks`` pieces of one size, the last may be less."""
        if chunks < 1:
            raise ArgumentError(f"chunk into {chunks}: there must be one piece at least")
        return self.split(max(1, -(-self.shape[self._axis(dim)] // chunks)), dim)

    def unbind(self, dim: int = 0) -> list[Self]:
        """The slices along ``dim``, without that axis."""
        d = self._axis(dim)
        shape = self.shape[:d] + self.shape[d + 1 :]
        return [self._span(d, i, i + 1).reshape(shape) for i in range(self.shape[d])]

    def unfold(self, dim: int, size: int, step: int = 1) -> Self:
        """Windows of ``size`` elements of axis ``dim``, each ``step`` after the last, as a new last axis."""
        return self._new(graph.window(self.node, self._axis(dim), size, step))

    def diagonal(self, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Self:
        """The elements where the positions on ``dim1`` and ``dim2`` differ by ``offset``, as the last
        axis.
        """
        a, b = self._axis(dim1), self._axis(dim2)
        if a == b:
            raise ShapeError(f"diagonal of {self.shape} over axis {a} twice: name two axes")
        x = self.permute([i for i in range(self.ndim) if i not in (a, b)] + [a, b])
        rows, cols = x.shape[-2:]
        lead = x.shape[:-2]
        top, left = max(0, -offset), max(0, offset)
        n = max(0, min(rows - top, cols - left))
        if n == 0:
            return self._new(
                graph.shrink(graph.reshape(x.node, (*lead, rows * cols)), [*((0, s) for s in lead), (0, 0)])
            )
        spans = [(0, s) for s in lead]
        square = graph.shrink(x.node, [*spans, (top, top + n), (left, left + n)])
        flat = graph.pad(graph.reshape(square, (*lead, n * n)), [(0, 0)] * len(lead) + [(0, n)])
        column = graph.shrink(graph.reshape(flat, (*lead, n, n + 1)), [*spans, (0, n), (0, 1)])
        return self._new(graph.reshape(column, (*lead, n)))

    def diag(self, diagonal: int = 0) -> Self:
        """A vector's square matrix with it on the diagonal, or a matrix's diagonal."""
        if self.ndim == 2:
            return self.diagonal(diagonal)
        if self.ndim != 1:
            raise ShapeError(f"diag of {self.shape}: give a vector or a matrix")
        n = self.shape[0]
        wide = graph.pad(graph.reshape(self.node, (n, 1)), [(0, 0), (0, n)])
        flat = graph.shrink(graph.reshape(wide, (n * (n + 1),)), [(0, n * n)])
        k = abs(diagonal)
        around = [(k, 0), (0, k)] if diagonal < 0 else [(0, k), (k, 0)]
        return self._new(graph.pad(graph.reshape(flat, (n, n)), around))

    def rearrange(self, pattern: str, **sizes: int) -> Self:
        """Axes named, split, joined and reordered, in einops syntax: ``x.rearrange("b (h d) -> b h d",
        h=8)``.
        """
        from .rearrange import plan

        p = plan(pattern, self.shape, sizes)
        return self._new(graph.reshape(graph.permute(graph.reshape(self.node, p.split), p.order), p.joined))


def _listed(first: Any, others: Sequence[Any], dim: int) -> tuple[list[Any], int]:
    """The tensors, and the axis, of a call through an instance or through the class, with a list or
    without.
    """
    tensors = list(first) if isinstance(first, (list, tuple)) else [first]
    for o in others:
        if isinstance(o, int):
            dim = o
        elif isinstance(o, (list, tuple)):
            tensors.extend(o)
        else:
            tensors.append(o)
    return tensors, dim


def _cat(tensors: Sequence[Any], dim: int) -> Any:
    if not tensors:
        raise ArgumentError("cat of no tensors")
    first = tensors[0]
    d = first._axis(dim)
    dtype = promote_all(t.dtype for t in tensors)
    for t in tensors:
        if t.ndim != first.ndim or any(
            a != b for i, (a, b) in enumerate(zip(t.shape, first.shape, strict=True)) if i != d
        ):
            raise ShapeError(
                f"cat along axis {d} of shapes {', '.join(str(t.shape) for t in tensors)}: "
                "other axes must be equal"
            )
    if len(tensors) == 1:
        return first._new(first.node)
    return first._with(join([graph.cast(t.node, dtype) for t in tensors], d), *tensors[1:])
