"""What the cases are fed: special values, whole sweeps, and seeded samples that favour the hard places."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..core.dtype import DType
from ..core.ops import Op

Array = np.ndarray[Any, np.dtype[Any]]
Rng = np.random.Generator


def from_bits(bits: Array, dtype: DType) -> Array:
    """Unsigned integers as the elements that have these bits (a bool is true when its bits are odd)."""
    if dtype.is_bool:
        return (bits & 1).astype(np.bool_)
    return bits.astype(f"u{dtype.itemsize}").view(dtype.numpy)


def to_bits(x: Array) -> Array:
    """The bits of each element, as unsigned integers."""
    return np.ascontiguousarray(x).view(f"u{x.dtype.itemsize}").reshape(x.shape)


def as_floats(values: list[float], dtype: DType) -> Array:
    """Values rounded to a float dtype; those beyond its range become infinite."""
    with np.errstate(all="ignore"):
        wide = np.array(values, np.float64)
        narrow = wide if dtype.is_in_numpy else wide.astype(np.float32)
        return narrow.astype(dtype.numpy)


def specials(dtype: DType) -> Array:
    """The values at which things go wrong."""
    if dtype.is_bool:
        return np.array([False, True])
    if dtype.is_int:
        low, high = int(dtype.min), int(dtype.max)
        near = [
            0,
            1,
            2,
            3,
            5,
            7,
            10,
            100,
            low,
            low + 1,
            low + 2,
            high,
            high - 1,
            high - 2,
            high // 2,
            high // 3,
        ]
        near += [(1 << k) + d for k in range(2, dtype.bits, max(1, dtype.bits // 8)) for d in (-1, 0, 1)]
        near += [-v for v in near]
        return np.array(sorted({v for v in near if low <= v <= high}), dtype.numpy)
    top, tiny = float(dtype.finite_max), dtype.smallest_normal
    least = tiny * dtype.eps
    values = [
        0.0,
        least,
        3 * least,
        tiny / 2,
        tiny - least,
        tiny,
        tiny * (1 + dtype.eps),
        dtype.eps,
        dtype.eps / 2,
    ]
    values += [
        0.1,
        1 / 3,
        0.5 - dtype.eps / 4,
        0.5,
        1 - dtype.eps / 2,
        1.0,
        1 + dtype.eps,
        1.5,
        2.0,
        2.5,
        3.0,
    ]
    values += [math.pi / 2, math.pi, 10.0, 100.5, 2.0**dtype.mantissa, 2.0 ** (dtype.mantissa + 1) - 1]
    values += [math.sqrt(top), top / 2, top * (1 - dtype.eps), top, math.inf]
    values += [-v for v in values] + [math.nan]
    return as_floats(values, dtype)


def samples(dtype: DType, rng: Rng, n: int) -> Array:
    """``n`` elements: of floats half over all bit patterns, half of a size that arithmetic keeps finite."""
    if dtype.is_bool:
        return rng.integers(0, 2, n).astype(np.bool_)
    bits = rng.integers(0, 1 << 32, 2 * n, dtype=np.uint64)
    bits = bits[:n] << np.uint64(32) | bits[n:]
    any_bits = from_bits(bits & np.uint64((1 << dtype.bits) - 1), dtype)
    if dtype.is_int:
        # as many small numbers as large ones, so that products and quotients are not all alike
        shift = rng.integers(0, dtype.bits, n).astype(dtype.numpy)
        return np.where(rng.integers(0, 2, n) == 0, any_bits, any_bits >> shift).astype(dtype.numpy)
    tame = as_floats(list(rng.standard_normal(n) * 2.0 ** rng.integers(-8, 9, n)), dtype)
    return np.where(rng.integers(0, 2, n) == 0, any_bits, tame)


def powers(dtype: DType) -> Array:
    """Every power of two of a float dtype, subnormal ones too, with the neighbours of each."""
    bias = (1 << (dtype.exponent - 1)) - 1
    exact = as_floats([math.ldexp(1.0, k) for k in range(1 - bias - dtype.mantissa, bias + 1)], dtype)
    bits = to_bits(exact)
    around = np.concatenate([bits - bits.dtype.type(1), bits, bits + bits.dtype.type(1)])
    return from_bits(np.concatenate([around, around | bits.dtype.type(1 << (dtype.bits - 1))]), dtype)


def sweep(dtype: DType) -> Array:
    """Every element of a dtype of at most 16 bits."""
    return from_bits(np.arange(2 if dtype.is_bool else 1 << dtype.bits, dtype=np.uint32), dtype)


SLICES = 256
"""Of the elements of a 32-bit dtype: each holds those whose highest byte is one value."""
_PART = 1 << 20
"""Elements that are tried at a time: exact values of more would take a gigabyte."""


def slice_of(dtype: DType, high: int) -> Iterator[Array]:
    """The elements of a 32-bit dtype whose highest byte is ``high``, a part at a time."""
    first = high << 24
    for start in range(first, first + (1 << 24), _PART):
        yield from_bits(np.arange(start, start + _PART, dtype=np.uint32), dtype)


def small_integers(dtype: DType, rng: Rng, shape: tuple[int, ...], most: int) -> Array:
    """Whole numbers so small that every partial sum or product is a value of ``dtype``."""
    low = -most if dtype.is_signed else 0
    return rng.integers(low, most + 1, shape).astype(dtype.numpy)


def unary(op: Op, dtype: DType, rng: Rng, n: int = 4096) -> Array:
    """Operands of a unary primitive: all of them where that is few enough."""
    if dtype.bits <= 16:
        return sweep(dtype)
    parts = [specials(dtype), samples(dtype, rng, n)]
    if dtype.is_float:
        parts.append(powers(dtype))
        parts += [as_floats(list(hard(rng)), dtype) for hard in _HARD.get(op, ())]
    return np.concatenate(parts)


def binary(op: Op, dtype: DType, rng: Rng, n: int = 4096) -> tuple[Array, Array]:
    """Operands of a binary primitive: special × special and samples, or every pair of an 8-bit dtype."""
    if dtype.bits == 8:
        every = sweep(dtype)
        a, b = (x.ravel() for x in np.meshgrid(every, every, indexing="ij"))
    else:
        a, b = (x.ravel() for x in np.meshgrid(specials(dtype), specials(dtype), indexing="ij"))
        a, b = (np.concatenate([x, samples(dtype, rng, n)]) for x in (a, b))
        if dtype.is_float:
            close = _neighbours(a, rng)
            a, b = np.concatenate([a, a]), np.concatenate([b, close])
    return guarded(op, dtype, a, b)


def guarded(op: Op, dtype: DType, a: Array, b: Array) -> tuple[Array, Array]:
    """The operands with those replaced that core never sends: see ``Primitive.core_guards``."""
    if op in (Op.IDIV, Op.MOD):
        b = np.where(b == 0, dtype.numpy.type(3), b)
        if dtype.is_signed:
            b = np.where((a == dtype.min) & (b == -1), dtype.numpy.type(3), b)
    if op in (Op.SHL, Op.SHR):
        b = (b.astype(np.uint64) % np.uint64(dtype.bits)).astype(dtype.numpy)
    return a, b


def _neighbours(a: Array, rng: Rng) -> Array:
    """Of each element one that is a few steps away, or its negative: cancellation and ties."""
    bits = to_bits(a)
    step = rng.integers(0, 4, a.shape).astype(bits.dtype)
    sign = (rng.integers(0, 2, a.shape).astype(bits.dtype)) << bits.dtype.type(8 * a.dtype.itemsize - 1)
    return np.asarray(((bits + step) ^ sign).view(a.dtype))


def _near_integers(rng: Rng) -> Array:
    k = np.concatenate([np.arange(-1080.0, 1030.0), rng.integers(-152, 130, 512).astype(np.float64)])
    return np.concatenate([k, k + 0.5, k * (1 + 2.0**-23), k * (1 - 2.0**-24)])


def _near_one(rng: Rng) -> Array:
    return 1 + rng.standard_normal(2048) * 2.0 ** rng.integers(-52, -1, 2048)


def _near_half_pi(rng: Rng) -> Array:
    k = np.concatenate([np.arange(-200.0, 201.0), np.round(2.0 ** rng.uniform(8, 40, 512))])
    x = k * (math.pi / 2)
    return np.concatenate([x, np.nextafter(x, math.inf), x + 2.0**-20, rng.uniform(-20, 20, 1024)])


_HARD: dict[Op, tuple[Callable[[Rng], Array], ...]] = {
    Op.EXP2: (_near_integers,),
    Op.LOG2: (_near_one,),
    Op.SIN: (_near_half_pi,),
}
