"""Programs whose text shows all that a kernel language is asked to say, for compilers that run nothing.

Each is a name and the nodes to realize; ``texts`` gives the kernels' sources, nothing compiled or run.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import support as t

from portwright.core import dtype as dt
from portwright.core import engine, graph
from portwright.core.device import Device
from portwright.core.dtype import DType
from portwright.core.graph import Node
from portwright.core.ops import PRIMITIVES, Op

SIZES = (37, 1 << 18)
"""Elements one by one, and enough of them for vectors."""
GROUPS = ("elementwise", "casts", "views", "reductions", "products")
_DIVIDE = (Op.IDIV, Op.MOD)
_SHIFT = (Op.SHL, Op.SHR)
_MEMORY = (Op.CONST, Op.LOAD, Op.STORE, Op.CAST, Op.BITCAST)


def texts(device: Device, dtype: DType, group: str) -> Iterator[str]:
    """The sources of one group of programs on one dtype."""
    for roots in globals()[f"_{group}"](device.name, dtype):
        yield from (kernel.source for kernel in engine.kernels(roots, device.name))


def _leaf(device: str, dtype: DType, *shape: int, seed: int = 0) -> Node:
    return t.place(np.random.default_rng(seed).integers(0, 2, shape), device, dtype)


def _elementwise(device: str, dtype: DType) -> Iterator[list[Node]]:
    for n in SIZES:
        x, y = _leaf(device, dtype, n), _leaf(device, dtype, n, seed=1)
        less = t.op(Op.CMPLT, x, y)
        roots = [less, t.op(Op.WHERE, less, x, y)]
        for op, row in PRIMITIVES.items():
            if op in _MEMORY or op is Op.WHERE or not row.operands.accepts(dtype):
                continue
            if row.arity == 1:
                roots.append(t.op(op, x))
            elif op in _DIVIDE:
                roots.append(t.op(op, x, t.op(Op.OR, y, 1)))
            elif op in _SHIFT:
                roots.append(t.op(op, x, t.op(Op.AND, y, 7)))
            else:
                roots.append(t.op(op, x, y))
        yield roots
        if not dtype.is_bool:
            special = [float("inf"), float("nan")] if dtype.is_float else [int(dtype.min), int(dtype.max)]
            yield [t.op(Op.WHERE, less, x, number) for number in special]
        if dtype.is_float:
            yield [t.op(Op.MUL, x, t.op(Op.RECIP, y)), t.add(t.mul(x, y), 1.0)]


def _casts(device: str, dtype: DType) -> Iterator[list[Node]]:
    for n in SIZES:
        x = _leaf(device, dtype, n)
        yield [graph.cast(x, to) for to in dt.ALL if to is not dtype and _holds(device, to)]
        same = [d for d in dt.ALL if d.bits == dtype.bits and d is not dtype and _holds(device, d)]
        if not dtype.is_bool and same:
            yield [graph.bitcast(x, d) for d in same if not d.is_bool]


def _holds(device: str, dtype: DType) -> bool:
    return dtype in t.device(device).spec.dtypes


def _views(device: str, dtype: DType) -> Iterator[list[Node]]:
    x = _leaf(device, dtype, 64, 64)
    turned = graph.permute(x, (1, 0))
    yield [graph.contiguous(turned)]
    yield [t.op(Op.CMPNE, graph.flip(x, (0, 1)), turned)]
    yield [graph.contiguous(graph.pad(x, ((1, 2), (3, 1))))]
    yield [graph.contiguous(graph.shrink(x, ((5, 60), (7, 61))))]
    yield [graph.contiguous(graph.reshape(graph.permute(graph.reshape(x, (8, 8, 64)), (2, 0, 1)), (512, 8)))]


def _reductions(device: str, dtype: DType) -> Iterator[list[Node]]:
    few, many = _leaf(device, dtype, 3, 700), _leaf(device, dtype, 50_000, 5)
    for op in (Op.ADD, Op.MUL, Op.MAX):
        yield [t.total(few, 1, op)]
        yield [t.total(many, 1, op)]
    if dtype.is_float:
        yield [t.softmax(_leaf(device, dtype, 7, 300))]
        yield [t.layernorm(_leaf(device, dtype, 7, 300))]


def _products(device: str, dtype: DType) -> Iterator[list[Node]]:
    yield [t.matmul(_leaf(device, dtype, 33, 17), _leaf(device, dtype, 17, 9))]
    yield [t.matmul(_leaf(device, dtype, 512, 64), _leaf(device, dtype, 64, 512))]
    wide = 2**31 + 8  # positions that 32 bits do not hold
    row = graph.expand(_leaf(device, dtype, 1, 1), (2, wide // 2))
    yield [t.total(graph.reshape(row, (wide,)), 0, Op.MAX)]
