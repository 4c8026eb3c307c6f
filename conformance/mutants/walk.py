"""Faults of a device that computes the graph itself: its walk with a primitive or a node's value replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...core.device import Buffer, Device
from ...core.evaluate import NUMPY_PRIMITIVES, apply
from ...core.graph import Node, ReduceArg, toposort
from ...core.ops import Op, identity
from .means import put
from .mutant import Spoil

Array = np.ndarray[Any, np.dtype[Any]]
Meaning = Callable[..., Array]
Values = Callable[[Node, Sequence[Array]], Array]
NodeRule = Callable[[Node, Sequence[Array]], Array | None]
RootRule = Callable[[Node, Sequence[Node], Array], Array]


def primitive(op: Op, meaning: Meaning) -> Spoil:
    """One primitive means something else."""
    return walking(lambda node, srcs: apply(node, srcs, {**NUMPY_PRIMITIVES, op: meaning}))


def right(op: Op, dtype: Any, *xs: Array) -> Array:
    """What a primitive means by the contract."""
    return np.asarray(NUMPY_PRIMITIVES[op](dtype, *xs))


def node(rule: NodeRule) -> Spoil:
    """Some nodes have another value; None: the right one."""

    def value(n: Node, srcs: Sequence[Array]) -> Array:
        made = rule(n, srcs)
        return apply(n, srcs) if made is None else made

    return walking(value)


def folding(fold: Callable[[Array, ReduceArg, Any], Array | None]) -> Spoil:
    """Folds go another way: ``fold`` gets the operand, its folded axis first; None: the right way."""

    def rule(n: Node, srcs: Sequence[Array]) -> Array | None:
        arg = n.arg
        if not isinstance(arg, ReduceArg):
            return None
        x = srcs[0]
        kept = [a for a in range(x.ndim) if a not in arg.axes]
        rows = x.transpose(*arg.axes, *kept).reshape(-1, *(x.shape[a] for a in kept))
        made = fold(rows, arg, n.dtype)
        return None if made is None else np.asarray(made).reshape(n.shape).astype(n.dtype.numpy)

    return node(rule)


def one_after_another(rows: Array, arg: ReduceArg, dtype: Any, start: Any = None) -> Array:
    """A fold in the dtype itself, from the first row to the last."""
    made = np.full(rows.shape[1:], identity(arg.op, dtype) if start is None else start, dtype.numpy)
    for row in rows:
        made = right(arg.op, dtype, made, row)
    return made


def whole(spoil_root: RootRule) -> Spoil:
    """A fault that depends on all that is computed in one piece: ``f(root, what it is made of, value)``."""

    def spoil(device: Device) -> None:
        def after(root: Node, given: Mapping[Node, Array], value: Array) -> Array:
            return spoil_root(root, toposort([root], stop=given.__contains__), value)

        put(device, "compute", Walk(apply, after))

    return spoil


def walking(value: Values) -> Spoil:
    """Every node's value is as ``value`` says."""
    return lambda device: put(device, "compute", Walk(value))


class Walk:
    """``Computes.compute`` by a walk of our own."""

    def __init__(self, value: Values, after: Callable[..., Array] | None = None) -> None:
        self.value, self.after = value, after

    def __call__(
        self, roots: Sequence[Node], inputs: Mapping[Node, Buffer], outputs: Sequence[Buffer]
    ) -> None:
        """As ``Computes.compute``."""
        given = {n: _held(n, b) for n, b in inputs.items()}
        values = dict(given)
        for n in toposort(roots, stop=given.__contains__):
            if n not in values:
                values[n] = self.value(n, [values[s] for s in n.srcs])
        for root, buffer in zip(roots, outputs, strict=True):
            made = values[root] if self.after is None else self.after(root, given, values[root])
            whole_row = np.ascontiguousarray(made, root.dtype.numpy).reshape(-1)
            buffer.write(memoryview(whole_row.view(np.uint8)))


def _held(n: Node, buffer: Buffer) -> Array:
    """A leaf's values."""
    raw = np.empty(n.nbytes, np.uint8)
    buffer.read(memoryview(raw))
    return raw.view(n.dtype.numpy).reshape(n.shape)
