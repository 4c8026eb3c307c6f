"""Strided views of a device's memory: what a call of a vendor's library works on.

Movement is a view and costs nothing. Whether a view of the wanted shape exists is decided here; where none
does, the functions give None, and somebody must copy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..core.device import Buffer
from ..core.dtype import DType
from ..core.graph import AxesArg, GraphOp, Node, SpanArg, WindowArg
from ..core.record import dataclass

Array = np.ndarray[Any, np.dtype[Any]]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Strided:
    """Elements of a buffer. The one at (i, j, …) is element ``offset + i·strides[0] + j·strides[1] + …``.

    Attributes:
        buffer: the memory; ``handle`` is the port's own handle of it.
        dtype: of the elements.
        shape: how many there are on each axis.
        strides: how far apart they are on each axis, in elements: 0 repeats, less than 0 walks backwards.
        offset: the first one's place in the buffer, in elements.
    """

    buffer: Buffer
    dtype: DType
    shape: Shape
    strides: Shape
    offset: int = 0

    @property
    def handle(self) -> Any:
        """What the port's ``alloc`` gave for the memory."""
        return self.buffer.handle

    @property
    def size(self) -> int:
        """How many elements."""
        return math.prod(self.shape)

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements lie in a row, the last axis' side by side."""
        return not self.size or self.runs() in ([], [Run(self.size, 1)])

    def runs(self) -> list[Run]:
        """The axes, outermost first: those of one element left out, and those that walk on as one merged."""
        out: list[Run] = []
        for n, stride in zip(self.shape, self.strides, strict=True):
            if n == 1:
                continue
            if out and out[-1].stride == n * stride:
                out[-1] = Run(out[-1].extent * n, stride)
            else:
                out.append(Run(n, stride))
        return out

    def part(self, axis: int, begin: int, end: int) -> Strided:
        """The elements from ``begin`` to before ``end`` of one axis."""
        shape = (*self.shape[:axis], end - begin, *self.shape[axis + 1 :])
        return replace(self, shape=shape, offset=self.offset + begin * self.strides[axis])

    def reshaped(self, shape: Shape) -> Strided | None:
        """The elements in the same order in another shape; None where no strides give that."""
        if not self.size:
            return replace(self, shape=shape, strides=(0,) * len(shape))
        runs = self.runs()
        strides: list[int] = []
        for n in reversed(shape):
            if n == 1:
                strides.append(0)
                continue
            if runs[-1].extent % n:
                return None
            last = runs.pop()
            strides.append(last.stride)
            if last.extent > n:
                runs.append(Run(last.extent // n, last.stride * n))
        return replace(self, shape=shape, strides=tuple(reversed(strides)))

    def array(self, memory: Array) -> Array:
        """The elements as a view of host bytes that stand for the buffer's."""
        if not self.size:
            return np.empty(self.shape, self.dtype.numpy)
        nbytes = self.dtype.itemsize
        steps = [s * nbytes for s in self.strides]
        bits = np.dtype(f"u{nbytes}")  # NumPy makes no such view of dtypes that are not its own
        view = np.ndarray(self.shape, bits, memory.data, self.offset * nbytes, steps)
        return view.view(self.dtype.numpy)

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


@dataclass(frozen=True, slots=True)
class Run:
    """Elements at equal distances: how many, and how far apart."""

    extent: int
    stride: int


def whole(buffer: Buffer, dtype: DType, shape: Shape) -> Strided:
    """A buffer's elements in a row."""
    strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    return Strided(buffer, dtype, shape, strides)


def walked_together(views: Sequence[Strided]) -> list[Strided]:
    """Views of one shape, of at least one element, with as few axes as walk them all; at least one."""
    merged: list[int] = []  # extents, and for each the stride of each view
    strides: list[list[int]] = []
    for axis, n in enumerate(views[0].shape):
        if n == 1:
            continue
        here = [v.strides[axis] for v in views]
        if merged and strides[-1] == [n * s for s in here]:
            merged[-1], strides[-1] = merged[-1] * n, here
        else:
            merged.append(n)
            strides.append(here)
    if not merged:
        merged, strides = [1], [[1] * len(views)]
    return [
        replace(v, shape=tuple(merged), strides=tuple(each[i] for each in strides))
        for i, v in enumerate(views)
    ]


def moved(node: Node, x: Strided) -> Strided | None:
    """The value of a movement node as a view of its operand; None where it has none (PAD, some RESHAPE)."""
    arg = node.arg
    if node.op is GraphOp.RESHAPE:
        return x.reshaped(node.shape)
    if node.op is GraphOp.EXPAND:
        strides = tuple(s if n == m else 0 for s, n, m in zip(x.strides, x.shape, node.shape, strict=True))
        return replace(x, shape=node.shape, strides=strides)
    if isinstance(arg, AxesArg) and node.op is GraphOp.PERMUTE:
        return replace(x, shape=node.shape, strides=tuple(x.strides[a] for a in arg.axes))
    if isinstance(arg, AxesArg):  # FLIP
        back = [a for a in arg.axes if x.shape[a]]
        offset = x.offset + sum((x.shape[a] - 1) * x.strides[a] for a in back)
        return replace(
            x, strides=tuple(-s if a in back else s for a, s in enumerate(x.strides)), offset=offset
        )
    if isinstance(arg, SpanArg) and node.op is GraphOp.SHRINK:
        offset = x.offset + sum(begin * s for (begin, _), s in zip(arg.spans, x.strides, strict=True))
        return replace(x, shape=node.shape, offset=offset)
    if isinstance(arg, WindowArg):
        step = x.strides[arg.axis]
        strides = (*x.strides[: arg.axis], step * arg.stride, *x.strides[arg.axis + 1 :], step * arg.dilation)
        return replace(x, shape=node.shape, strides=strides)
    return None
