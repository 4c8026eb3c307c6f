"""The graph, executed node by node in NumPy: what an expression means.

In: nodes, and a function that gives the array of a BUFFER. Out: one array for each node, of its shape and
dtype. It fuses nothing and schedules nothing; every other way of running a graph is right when it agrees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .dtype import DType, wide
from .errors import KernelError
from .graph import (
    AxesArg,
    ConstArg,
    GraphOp,
    Node,
    ReduceArg,
    ScatterArg,
    SpanArg,
    WindowArg,
    toposort,
)
from .ops import PRIMITIVES, Op, identity
from .record import dataclass

Array = np.ndarray[Any, np.dtype[Any]]
Primitives = Mapping[Op, Callable[..., Array]]

NUMPY_PRIMITIVES: Primitives = {
    op: row.reference for op, row in PRIMITIVES.items() if row.reference is not None
}
"""The contract's own NumPy meanings."""


def evaluate(
    roots: Sequence[Node],
    read: Callable[[Node], Array],
    primitives: Primitives = NUMPY_PRIMITIVES,
    given: Callable[[Node], bool] = lambda n: n.storage is not None,
) -> list[Array]:
    """The values of ``roots``.

    Args:
        roots: what to compute.
        read: the array of a node that is given (of the node's size and dtype).
        primitives: what computes each elementwise primitive: ``f(result dtype, *operands)``.
        given: which nodes are read and not computed: those that have storage.
    """
    order = toposort(roots, stop=given)
    known = {n for n in order if given(n)}
    uses: dict[Node, int] = {}
    for node in order:
        for s in node.srcs if node not in known else ():
            uses[s] = uses.get(s, 0) + 1
    keep = set(roots)
    values: dict[Node, Array] = {}
    for node in order:
        if node in known:
            values[node] = read(node).reshape(node.shape)
            continue
        values[node] = apply(node, [values[s] for s in node.srcs], primitives)
        for s in node.srcs:  # drop what nobody needs any more
            uses[s] -= 1
            if not uses[s] and s not in keep:
                values.pop(s, None)
    return [values[r] for r in roots]


@dataclass(frozen=True, slots=True)
class PrimitiveCall:
    """One primitive that ``evaluate`` has computed: on what, and what comes.

    Attributes:
        op: the primitive.
        dtype: of the result.
        takes: the shape of the operands.
        gives: the shape of the result; smaller where axes are folded with it.
    """

    op: Op
    dtype: DType
    takes: tuple[int, ...]
    gives: tuple[int, ...]


def primitive_calls(roots: Sequence[Node], given: Callable[[Node], bool]) -> list[PrimitiveCall]:
    """The primitives that ``evaluate`` would have computed, in order; a fold counts once."""
    out: list[PrimitiveCall] = []
    for node in toposort(roots, stop=given):
        arg = node.arg
        if given(node) or node.op is Op.CONST:
            continue
        if isinstance(node.op, Op):
            out.append(PrimitiveCall(node.op, node.dtype, node.shape, node.shape))
        elif isinstance(arg, ReduceArg):
            before, inner = node.srcs[0].shape, wide(node.dtype)
            steps = [PrimitiveCall(arg.op, inner, before, node.shape)]
            if inner is not node.dtype:
                first = PrimitiveCall(Op.CAST, inner, before, before)
                steps = [first, *steps, PrimitiveCall(Op.CAST, node.dtype, node.shape, node.shape)]
            out += steps
        elif isinstance(arg, ScatterArg) and arg.op is not None:
            out.append(PrimitiveCall(arg.op, node.dtype, node.srcs[2].shape, node.shape))
    return out


def apply(node: Node, srcs: Sequence[Array], primitives: Primitives = NUMPY_PRIMITIVES) -> Array:
    """The value of one node from those of its operands."""
    dtype, op, arg = node.dtype, node.op, node.arg
    if isinstance(op, Op):
        if op is Op.CONST:
            assert isinstance(arg, ConstArg)
            return np.array(arg.value).astype(dtype.numpy)
        return np.asarray(primitives[op](dtype, *srcs)).astype(dtype.numpy, copy=False)
    if op is GraphOp.IOTA:
        return np.arange(node.shape[0]).astype(dtype.numpy)
    x = srcs[0]
    if op in (GraphOp.PARAMETER, GraphOp.COPY):
        return x
    if op is GraphOp.CONTIGUOUS:
        return np.ascontiguousarray(x).reshape(node.shape)
    if op is GraphOp.ASSIGN:
        return srcs[1]
    if op is GraphOp.REDUCE:
        assert isinstance(arg, ReduceArg)
        return fold(arg.op, x, arg.axes, dtype, primitives)
    if op is GraphOp.GATHER:
        return _gather(x, srcs[1], node)
    if op is GraphOp.SCATTER:
        assert isinstance(arg, ScatterArg)
        return _scatter(x, srcs[1], srcs[2], arg, dtype, primitives)
    return move(node, x)


def move(node: Node, x: Array) -> Array:
    """A movement node's value: a view of ``x`` where NumPy can."""
    op, arg = node.op, node.arg
    if op is GraphOp.RESHAPE:
        return x.reshape(node.shape)
    if op is GraphOp.EXPAND:
        return np.broadcast_to(x, node.shape)
    if op is GraphOp.PERMUTE:
        assert isinstance(arg, AxesArg)
        return x.transpose(arg.axes)
    if op is GraphOp.FLIP:
        assert isinstance(arg, AxesArg)
        return np.flip(x, arg.axes)
    if op is GraphOp.PAD:
        assert isinstance(arg, SpanArg)
        return np.pad(x, arg.spans)
    if op is GraphOp.SHRINK:
        assert isinstance(arg, SpanArg)
        return x[tuple(slice(a, b) for a, b in arg.spans)]
    if op is GraphOp.WINDOW:
        assert isinstance(arg, WindowArg)
        reach = (arg.size - 1) * arg.dilation + 1
        # NumPy makes no such view of dtypes that are not its own
        bits = x if x.dtype.isbuiltin == 1 else x.view(f"u{x.dtype.itemsize}")
        windows = np.lib.stride_tricks.sliding_window_view(bits, reach, arg.axis).view(x.dtype)
        steps = [slice(None)] * windows.ndim
        steps[arg.axis], steps[-1] = slice(None, None, arg.stride), slice(None, None, arg.dilation)
        return windows[tuple(steps)]
    raise KernelError(f"{op!r} has no value of its own")


def fold(op: Op, x: Array, axes: tuple[int, ...], dtype: DType, primitives: Primitives) -> Array:
    """``axes`` of ``x`` folded with ``op``, by halves: each half's sum is as exact as a tree's.

    Floats narrower than float32 are folded in float32 and rounded once.
    """
    if wide(dtype) is not dtype:
        folded = fold(op, primitives[Op.CAST](wide(dtype), x), axes, wide(dtype), primitives)
        return np.asarray(primitives[Op.CAST](dtype, folded))
    f = primitives[op]
    kept = [a for a in range(x.ndim) if a not in axes]
    shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    if not x.size:
        return np.full(shape, identity(op, dtype), dtype.numpy)
    flat = x.transpose(*axes, *kept).reshape(-1, *(x.shape[a] for a in kept))
    while flat.shape[0] > 1:
        half = flat.shape[0] // 2
        folded = np.asarray(f(dtype, flat[:half], flat[half : 2 * half]))
        flat = np.concatenate([folded, flat[2 * half :]]) if flat.shape[0] % 2 else folded
    out: Array = flat[0].reshape(shape)
    return out


def _gather(x: Array, index: Array, node: Node) -> Array:
    n = x.shape[0]
    inside = (index >= 0) & (index < n)
    if not n:
        return np.zeros(node.shape, x.dtype)
    rows = x[np.where(inside, index, 0).astype(np.int64)]
    mask = inside.reshape(inside.shape + (1,) * (rows.ndim - inside.ndim))
    return np.where(mask, rows, np.zeros((), x.dtype)).reshape(node.shape)


def _scatter(
    x: Array, index: Array, values: Array, arg: ScatterArg, dtype: DType, primitives: Primitives
) -> Array:
    out = np.array(x)
    for i, row in enumerate(index.tolist()):
        if 0 <= row < out.shape[0]:
            out[row] = values[i] if arg.op is None else primitives[arg.op](dtype, out[row], values[i])
    return out
