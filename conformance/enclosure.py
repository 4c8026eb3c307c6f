"""Between what and what the values of a graph may lie: interval arithmetic with the contract's own bounds.

A port may fuse a product into a sum, keep a half-precision chain in float32 or fold in another order: each
step still lies within its bound of the exact result of *some* operands in the intervals before it. So an
array that leaves its interval is wrong, whatever was fused. Integers and bools are points unless a float
decided them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.device import Spec
from ..core.dtype import DType, bool_, float64
from ..core.errors import KernelError
from ..core.evaluate import NUMPY_PRIMITIVES, apply, fold, move
from ..core.graph import MOVEMENT, GraphOp, Node, ReduceArg, toposort
from ..core.ops import PRIMITIVES, ROUNDED, Op
from ..core.reference import round_to
from .exact import spacing
from .gates import gamma
from .judge import require, require_form

Array = np.ndarray[Any, np.dtype[Any]]
Read = Callable[[Node], Array]


@dataclass(frozen=True)
class Interval:
    """Elementwise bounds, both included: of a float node in a wider type, else in its own."""

    low: Array
    high: Array

    @property
    def is_point(self) -> bool:
        """True when every element can be one value only."""
        return bool((self.low == self.high).all())

    @property
    def is_finite(self) -> bool:
        """True when every element is bounded."""
        return bool((np.isfinite(self.low) & np.isfinite(self.high)).all())

    def excludes(self, got: Array) -> Array:
        """Which elements of an array lie outside; an unbounded interval excludes nothing, NaN neither."""
        value = got.astype(self.low.dtype)
        unbounded = (
            np.isneginf(self.low) & np.isposinf(self.high) if self.low.dtype.kind == "f" else np.False_
        )
        return np.asarray(~(((value >= self.low) & (value <= self.high)) | unbounded))


class Enclosure:
    """Intervals of the nodes of a graph, each computed once.

    Args:
        read: the array of a node that has storage.
        spec: the port's claims: accuracy tier and subnormals.
    """

    def __init__(self, read: Read, spec: Spec) -> None:
        self.read = read
        self.spec = spec
        self._known: dict[Node, Interval] = {}

    def of(self, root: Node) -> Interval:
        """The interval of a node."""
        with np.errstate(all="ignore"):
            for node in toposort([root], stop=lambda n: n in self._known or n.storage is not None):
                if node not in self._known:
                    self._known[node] = self._leaf(node) if node.storage is not None else self._step(node)
        return self._known[root]

    def hold(self, node: Node, got: Array) -> None:
        """Nothing when an array lies where the node's may.

        Raises:
            Mismatch: with the first element that does not.
        """
        interval = self.of(node)
        wanted = np.broadcast_to(interval.low, node.shape).astype(node.dtype.numpy)
        title = f"{node.op!r} {node.dtype}"
        require_form(title, got, wanted)
        width = 0.0 if interval.is_point else float(np.max(interval.high - interval.low))
        rule = f"in their intervals, at most {width:.3g} wide" if width else "equal"
        require(title, interval.excludes(got), got, wanted, (), rule)

    def _leaf(self, node: Node) -> Interval:
        value = _wide(self.read(node).reshape(node.shape), node.dtype)
        return self._flushed(Interval(value, value), node.dtype)

    def _step(self, node: Node) -> Interval:
        xs = [self._known[s] for s in node.srcs]
        if node.op in MOVEMENT:
            return Interval(move(node, xs[0].low), move(node, xs[0].high))
        if node.op in (GraphOp.CONTIGUOUS, GraphOp.PARAMETER):
            return xs[0]
        if node.op is GraphOp.REDUCE:
            return self._reduce(node, xs[0])
        if node.op in (Op.CONST, GraphOp.IOTA):
            value = _wide(apply(node, []), node.dtype)
            return self._flushed(Interval(value, value), node.dtype)
        if not isinstance(node.op, Op):
            raise KernelError(f"no interval is known for {node.op!r}")
        floats = node.dtype.is_float or any(s.dtype.is_float for s in node.srcs)
        if node.op is Op.WHERE:
            return _choose(*xs)
        if floats:
            return self._float(node.op, node, xs)
        if all(x.is_point for x in xs):
            value = np.asarray(NUMPY_PRIMITIVES[node.op](node.dtype, *(x.low for x in xs)))
            return Interval(value, value)
        return _anything(node)

    def _float(self, op: Op, node: Node, xs: list[Interval]) -> Interval:
        dtype = node.dtype
        if op in (Op.CMPLT, Op.CMPNE):
            return _compare(op, xs[0], xs[1])
        if op is Op.CAST:
            return self._cast(node, xs[0])
        if op is Op.NEG:
            return Interval(-xs[0].high, -xs[0].low)
        if op is Op.MAX:
            return Interval(np.maximum(xs[0].low, xs[1].low), np.maximum(xs[0].high, xs[1].high))
        if op in (Op.ADD, Op.SUB, Op.MUL):
            f = {Op.ADD: np.add, Op.SUB: np.subtract, Op.MUL: np.multiply}[op]
            ends = [f(a, b) for a in (xs[0].low, xs[0].high) for b in (xs[1].low, xs[1].high)]
        elif op is Op.SIN:
            middle, reach = (xs[0].low + xs[0].high) / 2, (xs[0].high - xs[0].low) / 2
            ends = [np.maximum(np.sin(middle) - reach, -1.0), np.minimum(np.sin(middle) + reach, 1.0)]
        elif op is Op.RECIP:
            ends = [1 / xs[0].low, 1 / xs[0].high]
            across = (xs[0].low <= 0) & (xs[0].high >= 0)
            ends = [np.where(across, -np.inf, ends[0]), np.where(across, np.inf, ends[1])]
        elif op in (Op.SQRT, Op.EXP2, Op.LOG2):
            g = {Op.SQRT: np.sqrt, Op.EXP2: np.exp2, Op.LOG2: np.log2}[op]
            ends = [g(xs[0].low), g(xs[0].high)]
        else:
            return _anything(node)
        bound = PRIMITIVES[op].bound(dtype, self.spec.tier)
        size = np.maximum(np.abs(xs[0].low), np.abs(xs[0].high))
        return self._rounded(
            _hull(ends), dtype, bound.ulp + bound.slope * size, bound == ROUNDED, bound.absolute
        )

    def _rounded(
        self, x: Interval, dtype: DType, ulp: Array | float, correctly: bool, absolute: float = 0.0
    ) -> Interval:
        """``x`` widened by what rounding to ``dtype`` may do; not rounding at all is allowed too."""
        if correctly:
            low, high = (_wide(round_to(v, dtype), dtype) for v in (x.low, x.high))
        else:
            low = x.low - np.maximum(ulp * spacing(dtype, x.low), absolute)
            high = x.high + np.maximum(ulp * spacing(dtype, x.high), absolute)
        widened = Interval(np.minimum(low, x.low), np.maximum(high, x.high))
        return self._flushed(_unbounded_where_lost(widened, dtype), dtype)

    def _flushed(self, x: Interval, dtype: DType) -> Interval:
        if not (self.spec.flushes_subnormals and dtype.is_float):
            return x
        low = np.where((x.low > 0) & (x.low < dtype.smallest_normal), 0.0, x.low)
        high = np.where((x.high < 0) & (x.high > -dtype.smallest_normal), 0.0, x.high)
        return Interval(low, high)

    def _cast(self, node: Node, x: Interval) -> Interval:
        source, target = node.srcs[0].dtype, node.dtype
        if target.is_float:
            return self._rounded(Interval(_wide(x.low, target), _wide(x.high, target)), target, 0.5, True)
        if target is bool_:
            some = (x.low > 0) | (x.high < 0)
            none = (x.low == 0) & (x.high == 0)
            return Interval(some, ~none)
        low, high = np.trunc(x.low), np.trunc(x.high)
        fits = (low >= float(target.min)) & (high <= float(target.max)) & source.is_float
        if not fits.all():
            return _anything(node)
        return Interval(low.astype(target.numpy), high.astype(target.numpy))

    def _reduce(self, node: Node, x: Interval) -> Interval:
        arg, dtype = node.arg, node.dtype
        assert isinstance(arg, ReduceArg)
        if not dtype.is_float:
            if not x.is_point and arg.op is not Op.MAX:
                return _anything(node)
            ends = [fold(arg.op, v, arg.axes, dtype, NUMPY_PRIMITIVES) for v in (x.low, x.high)]
            return Interval(*ends)
        if arg.op is Op.MAX:
            return Interval(x.low.max(arg.axes, keepdims=True), x.high.max(arg.axes, keepdims=True))
        if arg.op is not Op.ADD:
            return _anything(node)
        n = node.srcs[0].size // max(1, node.size)
        size = np.maximum(np.abs(x.low), np.abs(x.high)).sum(arg.axes, keepdims=True)
        low, high = x.low.sum(arg.axes, keepdims=True), x.high.sum(arg.axes, keepdims=True)
        slack = gamma(n, dtype) * size
        return self._rounded(Interval(low - slack, high + slack), dtype, 0.5, False)


def _wide(x: Array, dtype: DType) -> Array:
    """Floats in a type of more digits than ``dtype`` has; anything else as it is."""
    if not dtype.is_float:
        return x
    return x.astype(np.longdouble if dtype is float64 else np.float64)


def _hull(ends: list[Array]) -> Interval:
    return Interval(np.minimum.reduce(ends), np.maximum.reduce(ends))


def _unbounded_where_lost(x: Interval, dtype: DType) -> Interval:
    """Where a bound is NaN or beyond the dtype's range, the element may be anything."""
    top = float(dtype.finite_max)
    lost = np.isnan(x.low) | np.isnan(x.high) | (x.low < -top) | (x.high > top)
    return Interval(np.where(lost, -np.inf, x.low), np.where(lost, np.inf, x.high))


def _anything(node: Node) -> Interval:
    """Every value of the node's dtype."""
    dtype = (
        np.longdouble if node.dtype is float64 else np.float64 if node.dtype.is_float else node.dtype.numpy
    )
    return Interval(np.full(node.shape, node.dtype.min, dtype), np.full(node.shape, node.dtype.max, dtype))


def _compare(op: Op, a: Interval, b: Interval) -> Interval:
    apart = (a.high < b.low) | (a.low > b.high)
    if op is Op.CMPLT:
        return Interval(a.high < b.low, a.low < b.high)
    same = (a.low == a.high) & (b.low == b.high) & (a.low == b.low)
    return Interval(apart, ~same)


def _choose(c: Interval, a: Interval, b: Interval) -> Interval:
    """Where the condition is sure, the one chosen; elsewhere either."""
    low = np.where(c.low, a.low, np.where(c.high, np.minimum(a.low, b.low), b.low))
    high = np.where(c.low, a.high, np.where(c.high, np.maximum(a.high, b.high), b.high))
    return Interval(low, high)
