"""Devices with one fault each: the NUMPY port with a piece replaced, listed under the rung that notices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from portwright.conformance.ladder import Rung
from portwright.core.dtype import DType, bool_, float16, float32, int8
from portwright.core.evaluate import NUMPY_PRIMITIVES, apply
from portwright.core.graph import GraphOp, Node, ReduceArg, WindowArg, toposort
from portwright.core.ops import Op, identity
from portwright.devices.numpy import NumPy

Array = np.ndarray[Any, np.dtype[Any]]
Meaning = Callable[..., Array]


class Mutant(NumPy):
    """NUMPY, open to faults: ``changed`` replaces primitives, ``node`` may replace any node's value."""

    changed: Mapping[Op, Meaning] = {}

    def __init__(self) -> None:
        super().__init__()
        self.spec = replace(self.spec, name="MUTANT")
        self.primitives = {**NUMPY_PRIMITIVES, **self.changed}

    def node(self, node: Node, srcs: Sequence[Array]) -> Array:
        return apply(node, srcs, self.primitives)

    def values(self, roots: Sequence[Node], inputs: Mapping[Node, Array]) -> list[Array]:
        values = dict(inputs)
        for n in toposort(roots, stop=inputs.__contains__):
            if n not in values:
                values[n] = self.node(n, [values[s] for s in n.srcs])
        return [values[r] for r in roots]


@dataclass(frozen=True)
class Fault:
    name: str
    rung: Rung
    make: type[Mutant]


FAULTS: list[Fault] = []


def fault(rung: Rung) -> Callable[[type[Mutant]], type[Mutant]]:
    """Lists a mutant, whose docstring says the fault, under the rung that must fail first."""

    def listed(made: type[Mutant]) -> type[Mutant]:
        FAULTS.append(Fault(made.__name__, rung, made))
        return made

    return listed


def primitive(name: str, op: Op, meaning: Meaning, rung: Rung = Rung.PRIMITIVES) -> None:
    """Lists a mutant that has one primitive wrong."""
    FAULTS.append(Fault(name, rung, type(name, (Mutant,), {"changed": {op: meaning}})))


def right(op: Op, dtype: DType, *xs: Array) -> Array:
    return np.asarray(NUMPY_PRIMITIVES[op](dtype, *xs))


def steps_up(x: Array, n: int) -> Array:
    """``x`` moved by n units in the last place, where it is finite."""
    bits = x.view(f"i{x.dtype.itemsize}") + x.dtype.type(0).view(f"i{x.dtype.itemsize}").dtype.type(n)
    moved = bits.view(x.dtype)
    return np.where(np.isfinite(x.astype(np.float64)) & (x != 0), moved, x)


def on_float32(op: Op, f: Callable[[Array], Array]) -> Meaning:
    def meaning(dtype: DType, *xs: Array) -> Array:
        y = right(op, dtype, *xs)
        return f(y) if dtype is float32 else y

    return meaning


def saturating_sum(dtype: DType, a: Array, b: Array) -> Array:
    if dtype is not int8:
        return right(Op.ADD, dtype, a, b)
    return np.clip(a.astype(np.int64) + b, -128, 127).astype(np.int8)


def with_byte_2(x: Array) -> Array:
    return np.where(x, np.uint8(2), np.uint8(0)).astype(np.uint8).view(np.bool_)


def toward_zero(dtype: DType, x: Array) -> Array:
    y = right(Op.CAST, dtype, x)
    if dtype is not float16 or x.dtype != np.float32:
        return y
    with np.errstate(all="ignore"):
        over = np.abs(y.astype(np.float64)) > np.abs(x.astype(np.float64))
    return np.where(over, np.nextafter(y, np.float16(0)), y)


def to_nearest_integer(dtype: DType, x: Array) -> Array:
    with np.errstate(all="ignore"):
        return right(Op.CAST, dtype, np.rint(x) if dtype.is_int and x.dtype == np.float32 else x)


def quiet_nan_is_false(dtype: DType, x: Array) -> Array:
    y = right(Op.CAST, dtype, x)
    return y & ~np.isnan(x.astype(np.float64)) if dtype is bool_ and x.dtype.kind not in "biu" else y


def saturating(dtype: DType, x: Array) -> Array:
    if dtype.is_int and x.dtype.kind in "iu":
        low, high = (
            max(int(dtype.min), int(np.iinfo(x.dtype).min)),
            min(int(dtype.max), int(np.iinfo(x.dtype).max)),
        )
        x = np.clip(x, x.dtype.type(low), x.dtype.type(high))
    return right(Op.CAST, dtype, x)


def through_float32(dtype: DType, x: Array) -> Array:
    with np.errstate(all="ignore"):
        middle = x.astype(np.float32) if x.dtype == np.int32 and dtype.name == "bfloat16" else x
    return right(Op.CAST, dtype, middle)


def blended(dtype: DType, c: Array, a: Array, b: Array) -> Array:
    with np.errstate(all="ignore"):
        return c * a + (1 - c) * b if dtype is float32 else right(Op.WHERE, dtype, c, a, b)


def flush(y: Array) -> Array:
    return np.where(np.abs(y) < float32.smallest_normal, y * 0, y)


def sine_of_few_digits(dtype: DType, x: Array) -> Array:
    with np.errstate(all="ignore"):
        return right(Op.SIN, dtype, np.fmod(x, np.float32(2 * np.pi)) if dtype is float32 else x)


def logical_shift(dtype: DType, a: Array, b: Array) -> Array:
    unsigned = f"u{a.dtype.itemsize}"
    return (a.view(unsigned) >> b.view(unsigned)).view(a.dtype)


def plain_nan(dtype: DType, x: Array) -> Array:
    y = right(Op.BITCAST, dtype, x)
    return np.where(np.isnan(y), y.dtype.type(np.nan), y) if dtype is float32 else y


primitive("floor_division", Op.IDIV, lambda d, a, b: a // b)
primitive("floored_remainder", Op.MOD, lambda d, a, b: a % b)
primitive("max_drops_nan", Op.MAX, lambda d, a, b: np.fmax(a, b) if d.is_float else right(Op.MAX, d, a, b))
primitive("bool_is_2", Op.CMPLT, lambda d, a, b: with_byte_2(right(Op.CMPLT, d, a, b)))
primitive("nan_equals_nan", Op.CMPNE, lambda d, a, b: right(Op.CMPNE, d, a, b) & ((a == a) | (b == b)))
primitive(
    "reciprocal_4_ulp",
    Op.RECIP,
    lambda d, a: steps_up(right(Op.RECIP, d, a), 4) if d is float32 else right(Op.RECIP, d, a),
)
primitive(
    "exp2_4_ulp",
    Op.EXP2,
    lambda d, a: steps_up(right(Op.EXP2, d, a), 4) if d is float32 else right(Op.EXP2, d, a),
)
primitive(
    "sum_1_ulp",
    Op.ADD,
    lambda d, a, b: steps_up(right(Op.ADD, d, a, b), 1) if d is float32 else right(Op.ADD, d, a, b),
)
primitive("negates_by_subtraction", Op.NEG, lambda d, a: right(Op.SUB, d, np.zeros_like(a), a))
primitive("flushes_unclaimed", Op.MUL, on_float32(Op.MUL, flush))
primitive("sine_of_few_digits", Op.SIN, sine_of_few_digits)
primitive("where_blends", Op.WHERE, blended)
primitive("logical_shift", Op.SHR, logical_shift)
primitive(
    "saturating_sum",
    Op.ADD,
    lambda d, a, b: (
        np.clip(a.astype(np.int64) + b, -128, 127).astype(np.int8)
        if d.name == "int8"
        else right(Op.ADD, d, a, b)
    ),
)
primitive("cast_toward_zero", Op.CAST, toward_zero, Rung.CASTS)
primitive("cast_to_nearest_integer", Op.CAST, to_nearest_integer, Rung.CASTS)
primitive("nan_casts_to_false", Op.CAST, quiet_nan_is_false, Rung.CASTS)
primitive("cast_saturates", Op.CAST, saturating, Rung.CASTS)
primitive("cast_rounds_twice", Op.CAST, through_float32, Rung.CASTS)
primitive("bitcast_loses_payload", Op.BITCAST, plain_nan, Rung.CASTS)


@fault(Rung.OPEN)
class SaysNoDriver(Mutant):
    """A certificate from it could not say what was measured."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = replace(self.spec, driver={})


@fault(Rung.MEMORY)
class Misaligned(Mutant):
    """Buffers start anywhere."""

    def alloc(self, nbytes: int) -> Array:
        return super().alloc(nbytes + 8)[8:]


@fault(Rung.MEMORY)
class Overlapping(Mutant):
    """Small buffers come out of one block, a byte too close."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.next = NumPy.alloc(self, 1 << 24), 0

    def alloc(self, nbytes: int) -> Array:
        if nbytes > 8192 or self.next + nbytes > self.block.size:
            return super().alloc(nbytes)
        made = self.block[self.next : self.next + nbytes]
        self.next += max(64, (nbytes - 1) // 64 * 64)
        return made


@fault(Rung.MEMORY)
class LosesTheLastByte(Mutant):
    """Long copies are of whole words only."""

    def copy_in(self, handle: Array, data: memoryview) -> None:
        super().copy_in(handle, data[: data.nbytes & ~1] if data.nbytes > 1000 else data)


@fault(Rung.COPY)
class ClearsTheRest(Mutant):
    """copy_in writes beyond what it was given."""

    def copy_in(self, handle: Array, data: memoryview) -> None:
        super().copy_in(handle, data)
        handle[data.nbytes :] = 0


@fault(Rung.COPY)
class ReadsOnce(Mutant):
    """copy_out uses a buffer up."""

    def __init__(self) -> None:
        super().__init__()
        self.read: dict[int, int] = {}

    def copy_out(self, data: memoryview, handle: Array) -> None:
        super().copy_out(data, handle)
        if data.nbytes == 4097:
            self.read[id(handle)] = self.read.get(id(handle), 0) + 1
            if self.read[id(handle)] == 2:
                handle[:] = 0


@fault(Rung.PRIMITIVES)
class MultipliesByShift(Mutant):
    """A product with a constant is taken for a shift: wrong unless that is a power of two."""

    def node(self, node: Node, srcs: Sequence[Array]) -> Array:
        if node.op is Op.MUL and node.dtype.is_int and node.srcs[1].op is GraphOp.EXPAND:
            k = int(srcs[1].flat[0])
            if k > 2:
                return srcs[0] << node.dtype.numpy.type(k.bit_length() - 1)
        return super().node(node, srcs)


@fault(Rung.PRIMITIVES)
class DropsTails(Mutant):
    """Elementwise kernels compute whole vectors of 16 only, of long arrays."""

    def node(self, node: Node, srcs: Sequence[Array]) -> Array:
        made = super().node(node, srcs)
        if node.op in (Op.ADD, Op.XOR) and made.ndim == 1 and made.size > 1000:
            made = made.copy()
            made[made.size // 16 * 16 :] = 0
        return made


@fault(Rung.PRIMITIVES)
class PadsWithTheEdge(Mutant):
    """A guarded load reads its neighbour."""

    def node(self, node: Node, srcs: Sequence[Array]) -> Array:
        made = super().node(node, srcs)
        if node.op is GraphOp.PAD and srcs[0].size and made.ndim == 1:
            made = made.copy()
            made[-1] = srcs[0].flat[-1]
        return made


@fault(Rung.VIEWS)
class ForgetsDilation(Mutant):
    """Windows have no gaps."""

    def node(self, node: Node, srcs: Sequence[Array]) -> Array:
        arg = node.arg
        if isinstance(arg, WindowArg) and arg.dilation > 1:
            windows = np.lib.stride_tricks.sliding_window_view(srcs[0], arg.size, arg.axis)
            return windows[tuple(slice(0, n) for n in node.shape)]
        return super().node(node, srcs)


@fault(Rung.VIEWS)
class SixAxesAtMost(Mutant):
    """Of more axes the last two are taken in the wrong order."""

    def node(self, node: Node, srcs: Sequence[Array]) -> Array:
        made = super().node(node, srcs)
        if node.op is GraphOp.PERMUTE and made.ndim > 6:
            return made.swapaxes(-1, -2).reshape(made.shape)
        return made


class Folds(Mutant):
    """A mutant that folds in its own way."""

    def fold(self, x: Array, arg: ReduceArg, dtype: DType) -> Array:
        """``x`` with the folded axis first."""
        raise NotImplementedError

    def node(self, node: Node, srcs: Sequence[Array]) -> Array:
        arg = node.arg
        if not isinstance(arg, ReduceArg):
            return super().node(node, srcs)
        x = srcs[0]
        kept = [a for a in range(x.ndim) if a not in arg.axes]
        flat = x.transpose(*arg.axes, *kept).reshape(-1, *(x.shape[a] for a in kept))
        return np.asarray(self.fold(flat, arg, node.dtype)).reshape(node.shape).astype(node.dtype.numpy)

    def start(self, x: Array, arg: ReduceArg, dtype: DType) -> Array:
        return np.full(x.shape[1:], identity(arg.op, dtype), dtype.numpy)


@fault(Rung.REDUCTIONS)
class FoldsWithoutTail(Folds):
    """Only whole vectors of eight are folded, of long axes."""

    def fold(self, x: Array, arg: ReduceArg, dtype: DType) -> Array:
        made = self.start(x, arg, dtype)
        for row in x[: len(x) // 8 * 8] if len(x) > 500 else x:
            made = self.primitives[arg.op](dtype, made, row)
        return made


@fault(Rung.REDUCTIONS)
class MaxStartsAtZero(Folds):
    """The accumulator of MAX is 0 before the first element."""

    def start(self, x: Array, arg: ReduceArg, dtype: DType) -> Array:
        return super().start(x, arg, dtype) if arg.op is not Op.MAX else np.zeros(x.shape[1:], dtype.numpy)

    def fold(self, x: Array, arg: ReduceArg, dtype: DType) -> Array:
        made = self.start(x, arg, dtype)
        for row in x:
            made = self.primitives[arg.op](dtype, made, row)
        return made


@fault(Rung.REDUCTIONS)
class HalfAccumulator(Folds):
    """Half-precision sums are kept in half precision, one element after another."""

    def fold(self, x: Array, arg: ReduceArg, dtype: DType) -> Array:
        made = self.start(x, arg, dtype)
        for row in x:
            made = self.primitives[arg.op](dtype, made, row)
        return made


@fault(Rung.REDUCTIONS)
class Float32Sums(Folds):
    """float64 and wide integers are summed in float32."""

    def fold(self, x: Array, arg: ReduceArg, dtype: DType) -> Array:
        if arg.op is Op.ADD and dtype.bits >= 32:
            with np.errstate(all="ignore"):
                return x.astype(np.float32).sum(0, dtype=np.float32)
        return np.asarray(apply_fold(x, arg, dtype))


def apply_fold(x: Array, arg: ReduceArg, dtype: DType) -> Array:
    made = np.full(x.shape[1:], identity(arg.op, dtype), dtype.numpy)
    for row in x:
        made = NUMPY_PRIMITIVES[arg.op](dtype, made, row)
    return made


class Whole(Mutant):
    """A mutant whose fault depends on the whole piece that is computed."""

    def spoil(self, node: Node, order: list[Node], value: Array) -> Array:
        raise NotImplementedError

    def values(self, roots: Sequence[Node], inputs: Mapping[Node, Array]) -> list[Array]:
        made = super().values(roots, inputs)
        orders = [toposort([r], stop=inputs.__contains__) for r in roots]
        return [self.spoil(r, o, v) for r, o, v in zip(roots, orders, made, strict=True)]


@fault(Rung.FUSED)
class SpoilsLongPrograms(Whole):
    """Runs out of registers, and the last element is lost."""

    def spoil(self, node: Node, order: list[Node], value: Array) -> Array:
        arithmetic = [n for n in order if n.op in (Op.ADD, Op.MUL, Op.SUB)]
        if len(arithmetic) > 3 and value.size > 2 and node.dtype is float32:
            value = value.copy()
            value.flat[-1] = value.flat[0] + 1
        return value


@fault(Rung.FUSED)
class ReusesTooEarly(Whole):
    """A value that is used on both sides of a fold is taken from before it."""

    def spoil(self, node: Node, order: list[Node], value: Array) -> Array:
        folds = [n for n in order if n.op is GraphOp.REDUCE]
        return value * np.float32(1.001) if len(folds) > 1 and node.dtype is float32 else value
