"""float16 and bfloat16 on a device that does not compute in them.

In memory such a number is its 16 bits. In a register it is the float32 of the same value: every primitive is
computed in float32 and its result rounded back in place, which rounds once in effect (24 bits are enough for
twice the 11 of float16 and two more), so that a fused kernel gives what separate ones would. Storing then
only repacks bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .. import reference
from ..dtype import DType, float16, float32, float64, uint16, uint32
from ..ops import Op
from ..value import Extra, Number, Value, bitcast, cast, make, number
from .quotient import quotient
from .term import Target, Term

_SIGN = 0x80000000
_EXPONENT = 0x7F800000
_KEEPS = frozenset({Op.WHERE, Op.NEG, Op.MAX, Extra.SPLAT, Extra.LANE})
"""Primitives whose result is one of their operands, or its negative: there is nothing to round."""


def lower(
    target: Target, old: Value, srcs: tuple[Value, ...], held: frozenset[DType], memo: Mapping[Value, Value]
) -> Value:
    """``old``, which gives or takes a dtype of ``held``, lowered.

    Args:
        target: what to lower for.
        old: the value.
        srcs: its operands, lowered.
        held: the dtypes that the device holds and does not compute in.
        memo: what every value below ``old`` was lowered to.
    """
    if old.op is Op.BITCAST:
        bits = _stored(target, old.srcs[0], held, memo)
        return unpack(Term(target, bits), old.dtype).value if old.dtype in held else bitcast(bits, old.dtype)
    if old.dtype not in held:
        if old.op is Op.CAST:
            return cast(srcs[0], old.dtype)
        assert isinstance(old.op, Op)
        return target.emit(old.op, *srcs)
    if old.op is Op.CONST:
        assert isinstance(old.arg, Number)
        return number(float(reference.cast(old.dtype, np.array(old.arg.value, np.float64))), float32)
    if old.op is Op.LOAD:
        return unpack(Term(target, _stored(target, old, held, memo)), old.dtype).value
    if _is_rounded(old):
        return round_to(Term(target, _unrounded(target, old, srcs, memo)), old.dtype).value
    return (
        target.emit(old.op, *srcs)
        if isinstance(old.op, Op)
        else make(old.op, float32, srcs, old.arg, old.lanes)
    )


def _is_rounded(old: Value) -> bool:
    """Whether the primitive gives a value that its dtype need not hold, before rounding."""
    return bool(old.srcs) and old.op not in _KEEPS


def _unrounded(target: Target, old: Value, srcs: tuple[Value, ...], memo: Mapping[Value, Value]) -> Value:
    """What ``old`` computes, in float32, with all that rounding it to its dtype depends on."""
    if old.op is Op.CAST:
        return _cast_unrounded(Term(target, srcs[0]), old.dtype).value
    division = quotient(target, old, srcs, memo)
    if division is not None:
        return division
    if isinstance(old.op, Op):
        return target.emit(old.op, *srcs)
    if old.op is Extra.DIV:
        return target.divide(*srcs)
    if old.op is Extra.FMA:
        a, b, c = (Term(target, s) for s in srcs)
        return a.times_plus(b, c).value
    return make(old.op, float32, srcs, old.arg, old.lanes)


def _stored(target: Target, old: Value, held: frozenset[DType], memo: Mapping[Value, Value]) -> Value:
    """The bits of ``old``: as memory holds them, of a dtype of ``held``."""
    if old.dtype not in held:
        return bitcast(memo[old], uint16)
    if old.op is Op.LOAD:
        return make(Op.LOAD, uint16, (), old.arg, old.lanes)
    if old.op is Op.BITCAST:
        return _stored(target, old.srcs[0], held, memo)
    if _is_rounded(old):
        wide = _unrounded(target, old, tuple([memo[s] for s in old.srcs]), memo)
        return pack_rounded(Term(target, wide), old.dtype).value
    return pack(Term(target, memo[old]), old.dtype).value


# ---------------------------------------------------------------------------------------------- in registers


def round_to(x: Term, dtype: DType) -> Term:
    """A float32 rounded to the nearest value of ``dtype``, to even, and still a float32."""
    if dtype is float16:
        return _round_to_half(x)
    bits = x.bits
    nearest = (bits + (((bits >> 16) & 1) + 0x7FFF)) & 0xFFFF0000
    quiet = bits | 0x00400000  # a NaN must not lose what makes it one
    return x.differs(x).choose(quiet, nearest).read_as(float32)


def _round_to_half(x: Term) -> Term:
    size = x.magnitude()
    large = _half_unit(size)
    rounded = (size + large) - large
    # beyond the last value that rounds to a finite one: infinity, or the NaN that it is
    rounded = (size < 65520.0).choose(rounded, size * math.inf)
    return (rounded.bits | (x.bits & _SIGN)).read_as(float32)


def _half_unit(size: Term) -> Term:
    """A power of two whose last bit in float32 is the last bit of ``size`` in float16."""
    large = (size.bits & _EXPONENT) + (13 << 23)
    return (large < 0x3F000000).choose(0x3F000000, large).read_as(float32)


def _cast_unrounded(x: Term, dtype: DType) -> Term:
    """A CAST to ``dtype`` as a float32 in which nothing is lost that rounding to ``dtype`` depends on."""
    if x.dtype is float64:
        return _round_to_odd(x)
    if x.dtype.is_int and x.dtype.bits > 16:
        return (_clamp(x) if dtype is float16 else _sticky(x)).to(float32)
    return x.to(float32)


def _round_to_odd(x: Term) -> Term:
    """A float64 as float32, its last bit 1 where that is inexact, so that rounding it again is right."""
    near = x.to(float32)
    back = near.to(float64)
    bits = near.bits
    toward_zero = (x.magnitude() < back.magnitude()).choose(bits - 1, bits)
    return x.differs(back).choose(toward_zero | 1, bits).read_as(float32)


def _clamp(x: Term) -> Term:
    """An integer, cut to where float16 is infinite anyway and float32 still exact."""
    edge = 1 << 17
    x = (x > edge).choose(edge, x)
    return (x < -edge).choose(-edge, x) if x.dtype.is_signed else x


def _sticky(x: Term) -> Term:
    """An integer that float32 holds and bfloat16 rounds alike: one bit says whether any below was set."""
    size = x ^ (x >> (x.dtype.bits - 1)) if x.dtype.is_signed else x
    result = x
    for digits, drop in ((24, 15), (39, 30), (54, 45)):
        if digits < x.dtype.bits:
            below = x & ((1 << drop) - 1)
            kept = x ^ below
            marked = below.differs(0).choose(kept | (1 << drop), kept)
            result = (size > (1 << digits) - 1).choose(marked, result)
    return result


# ------------------------------------------------------------------------------------------ to and from bits


def unpack(x: Term, dtype: DType) -> Term:
    """The float32 of the same value as the 16 bits ``x``, NaN payloads kept."""
    wide = x.to(uint32)
    if dtype is not float16:
        return (wide << 16).read_as(float32)
    size = (wide & 0x7FFF) << 13
    sign = (wide & 0x8000) << 16
    if x.target.spec.flushes_subnormals:  # a float16 subnormal must not pass through a float32 one
        value = size + (112 << 23)
        small = (value + (1 << 23)).read_as(float32) - 2.0**-14
        value = (size < (1 << 23)).choose(small.bits, value)
    else:
        value = (size.read_as(float32) * 2.0**112).bits
    value = (size < (31 << 23)).choose(value, size | _EXPONENT)
    return (value | sign).read_as(float32)


def pack(x: Term, dtype: DType) -> Term:
    """The 16 bits of a float32 that ``dtype`` holds exactly, NaN payloads kept."""
    bits = x.bits
    if dtype is not float16:
        return (bits >> 16).to(uint16)
    size = x.magnitude()
    size_bits = size.bits
    if x.target.spec.flushes_subnormals:
        small = (size + 0.5).bits - 0x3F000000
        value = (size < 2.0**-14).choose(small, (size_bits >> 13) - (112 << 10))
    else:
        value = (size * 2.0**-112).bits >> 13
    special = ((size_bits >> 13) & 0x3FF) | 0x7C00
    value = (size < 65536.0).choose(value, special)
    return (value | ((bits >> 16) & 0x8000)).to(uint16)


def pack_rounded(x: Term, dtype: DType) -> Term:
    """The 16 bits of a float32 rounded to ``dtype``: ``round_to`` and ``pack`` in fewer steps."""
    bits = x.bits
    if dtype is not float16:
        nearest = (bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16
        return x.differs(x).choose((bits >> 16) | 0x40, nearest).to(uint16)
    size = x.magnitude()
    large = _half_unit(size)
    # the sum less the large number, as bits, is the significand; the large number knows the exponent
    value = ((large.bits - 0x3F000000) >> 13) + ((size + large).bits - large.bits)
    value = (size < 65520.0).choose(value, x.differs(x).choose(x.bits.number(0x7E00), 0x7C00))
    return (value | ((bits >> 16) & 0x8000)).to(uint16)
