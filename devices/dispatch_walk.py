"""The walk of an unfused graph: each node by a call of the port's table, as a view, or on the host.

In: a device with a table, and the memory of the leaves. Out: the memory of the roots is filled. Movement is a
view; a node's memory goes back when nobody needs it any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..core.device import Ability, Buffer
from ..core.dtype import DType, Scalar, wide
from ..core.errors import DeviceError, NotWrittenError, OutOfMemoryError
from ..core.evaluate import apply
from ..core.graph import MOVEMENT, ConstArg, GraphOp, Node, ReduceArg, ScatterArg, SpanArg, toposort
from ..core.ops import Op, identity
from .strided import Shape, Strided, moved, walked_together, whole

if TYPE_CHECKING:
    from .dispatch import Dispatch, Native

Array = np.ndarray[Any, np.dtype[Any]]


_IDENTITIES = frozenset({GraphOp.PARAMETER, GraphOp.COPY, GraphOp.CONTIGUOUS, GraphOp.ASSIGN})
"""The operations whose value is their last operand's."""


class Walk:
    """One piece of a graph being computed.

    Args:
        device: whose table and memory.
        inputs: the leaves, and where their values are.
    """

    def __init__(self, device: Dispatch, inputs: Mapping[Node, Buffer]) -> None:
        self.device, self.inputs = device, inputs
        self.homes: dict[Node, Buffer] = {}

    def run(self, roots: Sequence[Node], outputs: Sequence[Buffer]) -> None:
        """Computes ``roots`` into ``outputs``."""
        homes = dict(zip(roots, outputs, strict=True))
        self.homes = homes | {n: homes[r] for r in roots if (n := self.same_memory(r, homes)) not in homes}
        order = toposort(roots, stop=self.inputs.__contains__)
        uses: dict[Node, int] = dict.fromkeys(roots, 1)
        for node in order:
            for s in node.srcs if node not in self.inputs else ():
                uses[s] = uses.get(s, 0) + 1
        values: dict[Node, Strided] = {}
        for node in order:
            if node in self.inputs:
                values[node] = whole(self.inputs[node], node.dtype, node.shape)
                continue
            values[node] = self.value(node, [values[s] for s in node.srcs])
            for s in node.srcs:
                uses[s] -= 1
                if not uses[s]:
                    del values[s]
        for root, home in homes.items():
            if values[root].buffer is not home:
                self.load(values[root], home)

    def same_memory(self, root: Node, homes: Mapping[Node, Buffer]) -> Node:
        """The node whose value lies in memory as that of ``root`` does, so that it may be computed there."""
        node = root
        while node.op is GraphOp.RESHAPE or node.op in _IDENTITIES:
            below = node.srcs[-1]
            if below in self.inputs or below in homes:
                break
            node = below
        return node

    def value(self, node: Node, srcs: Sequence[Strided]) -> Strided:
        """A node's value from those of its operands."""
        op, arg = node.op, node.arg
        if op in _IDENTITIES:
            return srcs[-1]
        if not node.size:
            return self.room(node.dtype, node.shape)
        if isinstance(arg, ConstArg):  # one element in memory; it is repeated by strides
            fill = self.device.row(Op.CONST, node.dtype, ())
            return self.host(node, srcs, Op.CONST) if fill is None else self.fill(fill, node, arg.value)
        if isinstance(op, Op):
            row = self.device.row(op, node.dtype, [s.dtype for s in srcs])
            return self.host(node, srcs, op) if row is None else self.call(op, row, node.dtype, srcs, node)
        if isinstance(arg, ReduceArg):
            return self.reduce(node, arg, srcs[0])
        if isinstance(arg, ScatterArg):
            return self.host(node, srcs, Op.STORE)
        if op is GraphOp.PAD and isinstance(arg, SpanArg):
            return self.pad(node, arg, srcs[0])
        if op in MOVEMENT:
            view = moved(node, srcs[0])
            if view is None:
                view = self.load(srcs[0]).reshaped(node.shape)
                assert view is not None  # elements in a row take every shape
            return view
        return self.host(node, srcs, Op.CONST if op is GraphOp.IOTA else Op.LOAD)

    # ------------------------------------------------------------------------------- beyond one primitive

    def fill(self, row: Native, node: Node, value: Scalar) -> Strided:
        """The memory of a node, each element ``value``."""
        out = self.room(node.dtype, node.shape, node)
        self.invoke(Op.CONST, row, out, (), value)
        return out

    def load(self, x: Strided, home: Buffer | None = None) -> Strided:
        """A copy whose elements lie in a row, in memory that is given or new."""
        out = whole(home or Buffer(self.device, x.size * x.dtype.itemsize), x.dtype, x.shape)
        row = self.device.row(Op.LOAD, x.dtype, [x.dtype])
        if row is not None:
            self.invoke(Op.LOAD, row, out, (x,))
        else:
            self.device.calls.host[Op.LOAD] += 1
            self.write(out, self.read([x])[0])
        return out

    def pad(self, node: Node, arg: SpanArg, x: Strided) -> Strided:
        """Zeros with the operand stored among them."""
        fill = self.device.row(Op.CONST, node.dtype, ())
        store = self.device.row(Op.STORE, node.dtype, [node.dtype])
        if fill is None or store is None:
            return self.host(node, [x], Op.STORE)
        out = self.fill(fill, node, node.dtype.cast_scalar(0))
        if x.size:
            begins = sum(before * s for (before, _), s in zip(arg.spans, out.strides, strict=True))
            middle = replace(out, shape=x.shape, offset=begins)
            self.invoke(Op.STORE, store, middle, (x if x.is_contiguous else self.load(x),))
        return out

    def reduce(self, node: Node, arg: ReduceArg, x: Strided) -> Strided:
        """The folded axes of ``x``, by halves; narrow floats in float32, rounded once."""
        dtype, inner = node.dtype, wide(node.dtype)
        row = self.device.row(arg.op, inner, [inner, inner])
        up = self.device.row(Op.CAST, inner, [dtype])
        down = self.device.row(Op.CAST, dtype, [inner])
        narrow = inner is not dtype
        if row is None or (narrow and (up is None or down is None)):
            return self.host(node, [x], arg.op)
        if not x.size:
            fill = self.device.row(Op.CONST, dtype, ())
            start = identity(arg.op, dtype)
            return self.host(node, [x], arg.op) if fill is None else self.fill(fill, node, start)
        if narrow and up is not None and down is not None:
            folded = self.fold(arg.op, row, self.call(Op.CAST, up, inner, [x]), arg.axes, None)
            return self.call(Op.CAST, down, dtype, [folded], node)
        return self.fold(arg.op, row, x, arg.axes, node)

    def fold(self, op: Op, row: Native, x: Strided, axes: Sequence[int], node: Node | None) -> Strided:
        """``axes`` folded one after another, each by halves; rows that are left over are folded in last."""
        for axis in axes:
            later = any(x.shape[a] > 1 for a in axes[axes.index(axis) + 1 :])
            left: list[Strided] = []
            while x.shape[axis] > 1 or left:
                n = x.shape[axis]
                half = n // 2
                if n == 1:
                    pair = [x, left.pop()]
                else:
                    pair = [x.part(axis, 0, half), x.part(axis, half, 2 * half)]
                    left += [x.part(axis, n - 1, n)] if n % 2 else []
                last = half <= 1 and not left and not later
                x = self.call(op, row, x.dtype, pair, node if last else None)
        return x

    # --------------------------------------------------------------------------------------- on the device

    def room(self, dtype: DType, shape: Shape, node: Node | None = None) -> Strided:
        """Memory for a value: a root's own where ``node`` is one."""
        size = int(np.prod(shape, dtype=np.int64))
        home = self.homes.get(node) if node is not None else None
        return whole(home or Buffer(self.device, size * dtype.itemsize), dtype, shape)

    def call(
        self, op: Op, row: Native, dtype: DType, operands: Sequence[Strided], node: Node | None = None
    ) -> Strided:
        """A primitive of operands of one shape, computed by the chip into a root's memory or new."""
        if row.contiguous:
            operands = [x if x.is_contiguous else self.load(x) for x in operands]
        out = self.room(dtype, operands[0].shape, node)
        self.invoke(op, row, out, operands)
        return out

    def invoke(self, op: Op, row: Native, out: Strided, operands: Sequence[Strided], *more: Scalar) -> None:
        """One call of the table.

        Raises:
            DeviceError: when it raises, or returns something that nobody looked at.
        """
        views = walked_together([out, *operands])
        self.device.calls.native[op] += 1
        try:
            said = cast(Callable[..., object], row.call)(*views, *more)
        except (NotWrittenError, OutOfMemoryError):
            raise
        except Exception as e:  # the vendor's code: whatever it raises
            raise DeviceError(f"{self._about(op, out, operands)} failed: {type(e).__name__}: {e}") from e
        if said is not None:
            raise DeviceError(
                f"{self._about(op, out, operands)} returned {said!r}: a call returns None, and raises when "
                "the chip says that it failed. Look at what the library returns"
            )

    def _about(self, op: Op, out: Strided, operands: Sequence[Strided]) -> str:
        taken = ", ".join(str(x) for x in operands)
        return f"{self.device.name}: {op.name} of {taken or 'a number'} to {out}"

    # ----------------------------------------------------------------------------------------- on the host

    def host(self, node: Node, srcs: Sequence[Strided], op: Op) -> Strided:
        """A node by the contract's own meaning: its operands out, its value in. Counted as ``op``."""
        self.device.calls.host[op] += 1
        out = self.room(node.dtype, node.shape, node)
        try:
            with np.errstate(all="ignore"):
                self.write(out, apply(node, self.read(srcs)))
        except OutOfMemoryError:
            raise
        except MemoryError as e:
            raise OutOfMemoryError(
                f"the host, which computes {node.op.name} for {self.device.name}, has no room for "
                f"{node.dtype}{list(node.shape)}: {e}. Use smaller tensors"
            ) from e
        return out

    def read(self, views: Sequence[Strided]) -> list[Array]:
        """Values as arrays; each buffer is copied out once, or seen in place."""
        held: dict[Buffer, Array] = {}
        for x in views:
            if x.buffer not in held:
                held[x.buffer] = self.memory(x.buffer)
        return [x.array(held[x.buffer]) for x in views]

    def memory(self, buffer: Buffer) -> Array:
        """A buffer's bytes on the host."""
        if Ability.HOST_VIEW in self.device.spec.abilities:
            self.device.synchronize()
            return np.frombuffer(self.device.host_view(buffer.handle, buffer.nbytes), np.uint8)
        out = np.empty(buffer.nbytes, np.uint8)
        buffer.read(memoryview(out))
        return out

    def write(self, out: Strided, value: Array) -> None:
        """Fills the memory of a whole value."""
        row = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        out.buffer.write(memoryview(row))
