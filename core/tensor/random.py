"""Random numbers by counting: the same on every device, and new at each replay of a captured function.

Number i of a draw is a function of (seed, counter + i) alone: Threefry-2x32 with 20 rounds (Salmon, Moraes,
Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011), computed in uint32 by the primitives.
Seed and counter are four words on the device, which every draw reads and moves on; they are realized with
whatever is realized next there.
"""

from __future__ import annotations

import math
from typing import Any, Self

from .. import graph
from ..dtype import DType, DTypeLike, as_dtype, default_float, float32, float64, index_dtype, uint32, uint64
from ..elementary.basic import Expr, full, where
from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph import GraphOp, Shape
from ..ops import Op
from ..registry import default_device, open_device
from .base import TensorBase, defer, realize_all
from .create import shape_of
from .scan import Scan

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_WORDS = 4  # the seed's two, the counter's low and high

_seed = 0
states: dict[str, TensorBase] = {}
"""By device: seed and counter."""


def _rotated(x: Expr, by: int) -> Expr:
    return (x << by) | (x >> (32 - by))


def threefry(key: tuple[Expr, Expr], counter: tuple[Expr, Expr]) -> tuple[Expr, Expr]:
    """Two random words of uint32 for each counter."""
    keys = (*key, key[0] ^ key[1] ^ _PARITY)
    x, y = counter[0] + keys[0], counter[1] + keys[1]
    for group in range(5):
        for by in _ROTATIONS[group % 2]:
            x = x + y
            y = _rotated(y, by) ^ x
        x = x + keys[(group + 1) % 3]
        y = y + keys[(group + 2) % 3] + (group + 1)
    return x, y


class Random(Scan):
    """rand to multinomial."""

    __slots__ = ()

    @classmethod
    def manual_seed(cls, seed: int) -> None:
        """Starts the random numbers anew, on every device. Without it the seed is 0."""
        global _seed
        try:
            _seed = int(seed)
        except ValueError as e:
            raise ArgumentError(f"a seed of {seed!r}: give an integer") from e
        _seed &= 2**64 - 1
        for device, state in states.items():
            state.assign(cls(_fresh(), dtype=uint32, device=device))
            realize_all((state,))

    @classmethod
    def _words(cls, shape: Shape, device: str) -> tuple[Expr, Expr]:
        """Two random words for each element, flat; the counter moves on."""
        n = max(1, math.prod(shape))
        if n >= 2**32:
            raise ShapeError(f"a draw of {n} random numbers: at most 2^32 - 1 at once")
        state = states.get(device)
        if state is None:
            state = states[device] = cls(_fresh(), dtype=uint32, device=device)
        now = state.node.srcs[1] if state.node.op is GraphOp.ASSIGN else state.node

        def word(i: int) -> Expr:
            return Expr(graph.shrink(now, [(i, i + 1)]))

        def spread(e: Expr) -> Expr:
            return Expr(graph.expand(e.node, (n,)))

        low = spread(word(2)) + Expr(graph.iota(n, uint32))
        high = spread(word(3)) + (low < spread(word(2))).cast(uint32)
        words = threefry((spread(word(0)), spread(word(1))), (low, high))
        i = Expr(graph.iota(_WORDS, uint32))
        moved = word(2) + n
        carried = Expr(graph.expand((word(3) + (moved < word(2)).cast(uint32)).node, (_WORDS,)))
        after = where(i.eq(2), Expr(graph.expand(moved.node, (_WORDS,))), where(i.eq(3), carried, Expr(now)))
        base = state.node.srcs[0] if state.node.op is GraphOp.ASSIGN else state.node
        state.node = graph.assign(base, after.node)
        defer(state)
        return words

    @classmethod
    def _drawn(cls, e: Expr, shape: Shape, dtype: DType, device: str, requires_grad: bool) -> Self:
        flat = graph.cast(e.node, dtype)
        return cls._make(
            graph.reshape(graph.shrink(flat, [(0, math.prod(shape))]), shape), device, requires_grad
        )

    @classmethod
    def _unit(cls, words: tuple[Expr, Expr], dtype: DType) -> Expr:
        """Uniform in [0, 1): as many bits as the dtype holds, so that no rounding gives 1."""
        if dtype is float64:
            bits = (words[0] >> 5).cast(uint64) << 26 | (words[1] >> 6).cast(uint64)
            return bits.cast(float64) * 2.0**-53
        kept = dtype.mantissa + 1
        return (words[0] >> (32 - kept)).cast(float32) * 2.0**-kept

    @classmethod
    def rand(
        cls,
        *size: Any,
        dtype: DTypeLike | None = None,
        device: str | None = None,
        requires_grad: bool = False,
    ) -> Self:
        """Uniform in [0, 1)."""
        to, place = _float_of(dtype), _place(device)
        shape = shape_of(*size)
        return cls._drawn(cls._unit(cls._words(shape, place), to), shape, to, place, requires_grad)

    @classmethod
    def randn(
        cls,
        *size: Any,
        dtype: DTypeLike | None = None,
        device: str | None = None,
        requires_grad: bool = False,
    ) -> Self:
        """Normal with mean 0 and variance 1 (Box and Muller 1958)."""
        to, place = _float_of(dtype), _place(device)
        shape = shape_of(*size)
        a, b = cls._words(shape, place)
        wide = to if to.bits >= 32 else float32
        scale = 2.0**-32 if wide is float64 else 2.0**-24
        drop = 0 if wide is float64 else 8
        u = ((a >> drop).cast(wide) + 1.0) * scale if drop else (a.cast(wide) + 1.0) * scale  # in (0, 1]
        v = (b >> drop).cast(wide) * (scale * 2 * math.pi)
        radius = (u.log2() * (-2 * math.log(2))).max(0.0).sqrt()
        return cls._drawn(radius * v.sin(), shape, to, place, requires_grad)

    @classmethod
    def randint(
        cls,
        low: int,
        high: int | None = None,
        size: Any = (),
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> Self:
        """Integers from ``low`` (0 when one bound is given) up to, not including, ``high``; int64 unless
        named.
        """
        if isinstance(high, (tuple, list)):
            high, size = None, high
        if high is None:
            low, high = 0, low
        to = as_dtype(dtype or index_dtype)
        if high <= low:
            raise ArgumentError(f"randint from {low} to {high}: there is no integer between")
        if not (to.is_int and to.min <= low and high - 1 <= to.max):
            raise DTypeError(f"randint from {low} to {high} does not fit {to}")
        shape, place = shape_of(size), _place(device)
        a, b = cls._words(shape, place)
        wide = a.cast(uint64) << 32 | b.cast(uint64)
        span = high - low
        if span < 2**64:
            wide = Expr(graph.elementwise(Op.MOD, wide.node, full(span, wide.node)))
        out = wide.cast(to) if to is not uint64 else wide
        return cls._drawn(out + to.cast_scalar(low), shape, to, place, False)

    @classmethod
    def uniform(
        cls,
        *size: Any,
        low: float = 0.0,
        high: float = 1.0,
        dtype: DTypeLike | None = None,
        device: str | None = None,
        requires_grad: bool = False,
    ) -> Self:
        """Uniform in [low, high)."""
        out = cls.rand(*size, dtype=dtype, device=device).mul(high - low).add(low)
        return out.requires_grad_(requires_grad)

    @classmethod
    def normal(
        cls,
        *size: Any,
        mean: float = 0.0,
        std: float = 1.0,
        dtype: DTypeLike | None = None,
        device: str | None = None,
        requires_grad: bool = False,
    ) -> Self:
        """Normal with a mean and standard deviation."""
        return cls.randn(*size, dtype=dtype, device=device).mul(std).add(mean).requires_grad_(requires_grad)

    @classmethod
    def scaled_uniform(cls, *size: Any, **named: Any) -> Self:
        """Uniform in ±1/sqrt(number of elements)."""
        bound = math.prod(shape_of(*size)) ** -0.5
        return cls.uniform(*size, low=-bound, high=bound, **named)

    @classmethod
    def glorot_uniform(cls, *size: Any, **named: Any) -> Self:
        """Uniform in ±sqrt(6 / (fan in + fan out)) (Glorot and Bengio 2010)."""
        into, out = _fans(shape_of(*size))
        bound = math.sqrt(6 / (into + out))
        return cls.uniform(*size, low=-bound, high=bound, **named)

    @classmethod
    def kaiming_uniform(cls, *size: Any, a: float = 0.0, **named: Any) -> Self:
        """Uniform in ±sqrt(6 / ((1 + a²)·fan in)) (He et al. 2015), ``a`` the slope of leaky relu."""
        bound = math.sqrt(6 / ((1 + a * a) * _fans(shape_of(*size))[0]))
        return cls.uniform(*size, low=-bound, high=bound, **named)

    @classmethod
    def kaiming_normal(cls, *size: Any, a: float = 0.0, **named: Any) -> Self:
        """Normal of standard deviation sqrt(2 / ((1 + a²)·fan in)) (He et al. 2015)."""
        std = math.sqrt(2 / ((1 + a * a) * _fans(shape_of(*size))[0]))
        return cls.normal(*size, std=std, **named)

    def rand_like(self, **named: Any) -> Self:
        """``rand`` of this shape, dtype and device."""
        return self.rand(self.shape, **{"dtype": self.dtype, "device": self.device, **named})

    def randn_like(self, **named: Any) -> Self:
        """``randn`` of this shape, dtype and device."""
        return self.randn(self.shape, **{"dtype": self.dtype, "device": self.device, **named})

    def randint_like(self, low: int, high: int | None = None, **named: Any) -> Self:
        """``randint`` of this shape, dtype and device."""
        dtype = named.pop("dtype", self.dtype)
        return self.randint(low, high, self.shape, **{"device": self.device, **named}).cast(dtype)


def _place(device: str | None) -> str:
    return default_device() if device is None else open_device(device).name


def _fresh() -> list[int]:
    return [_seed & 0xFFFFFFFF, _seed >> 32, 0, 0]


def _float_of(dtype: DTypeLike | None) -> DType:
    to = as_dtype(dtype or default_float)
    if not to.is_float:
        raise DTypeError(f"random numbers in {to}: name a float, or use randint")
    return to


def _fans(shape: Shape) -> tuple[int, int]:
    """Inputs and outputs of a weight of shape (out, in, *kernel)."""
    if len(shape) < 2:
        raise ShapeError(f"a weight of shape {shape}: it needs an axis for outputs and one for inputs")
    kernel = math.prod(shape[2:])
    return max(1, shape[1] * kernel), max(1, shape[0] * kernel)
