"""Floats of 16 and 8 bits on a device that does not compute in them.

In memory such a number is its bits. In a register it is the float32 of the same value: every primitive is
computed in float32 and its result rounded back in place, which rounds once in effect (24 bits are enough for
twice the 11 of float16 and two more), so that a fused kernel gives what separate ones would. Storing then
only repacks bits.
"""

from __future__ import annotations

import math

import numpy as np

from .. import reference
from ..dtype import DType, Scalar, bfloat16, bool_, float32, float64, uint32
from ..ops import Op
from ..value import Value
from .form import Form, Storage
from .term import Target, Term, bits_dtype, pattern

_SIGN = 0x80000000
_EXPONENT = 0x7F800000
_QUIET = 0x7FC00000
_KEEPS = frozenset({Op.WHERE, Op.NEG, Op.MAX})
"""Primitives whose result is one of their operands, or its negative: there is nothing to round."""


class Unrounded(Term):
    """A narrow float that is still to be rounded: in a register one way, to be stored another."""

    __slots__ = ("_rounded", "exact")

    def __init__(self, target: Target, dtype: DType, exact: Term) -> None:
        super().__init__(target, None, dtype)
        self.exact = exact
        self._rounded: tuple[Term, ...] = ()

    @property
    def parts(self) -> tuple[Term, ...]:
        """The float32 that it is rounded to."""
        if not self._rounded:
            self._rounded = (round_to(self.exact, self.dtype),)
        return self._rounded


class Loaded(Term):
    """A narrow float whose bits are known."""

    __slots__ = ("_unpacked", "stored")

    def __init__(self, target: Target, dtype: DType, stored: Term) -> None:
        super().__init__(target, None, dtype)
        self.stored = stored
        self._unpacked: tuple[Term, ...] = ()

    @property
    def parts(self) -> tuple[Term, ...]:
        """The float32 that they mean."""
        if not self._unpacked:
            self._unpacked = (unpack(self.stored, self.dtype),)
        return self._unpacked


class Narrow(Form):
    """A float32 of the same value."""

    kin = (float32,)

    @property
    def embeds(self) -> bool:
        """It does."""
        return True

    def number(self, value: Scalar) -> Term:
        """A constant, rounded."""
        rounded = reference.cast(self.dtype, np.array(value, np.float64))
        return self.term(self.target.number(float(rounded), float32))

    def emit(self, op: Op, *xs: Term) -> Term:
        """The primitive on float32, to be rounded."""
        got = self.target.emit(op, *(x if x.dtype is bool_ else x.parts[0] for x in xs))
        if got.dtype is bool_:
            return got
        return self.term(got) if op in _KEEPS else self.rounded(got)

    def rounded(self, exact: Term) -> Term:
        """A float32 that is to be rounded."""
        return Unrounded(self.target, self.dtype, exact)

    def cast_from(self, x: Term) -> Term:
        """CAST, rounded once."""
        return self.rounded(_cast_unrounded(x, self.dtype))

    def bits(self, x: Term) -> Term:
        """BITCAST to unsigned."""
        if isinstance(x, Loaded):
            return x.stored
        if isinstance(x, Unrounded):
            return pack_rounded(x.exact, self.dtype)
        return pack(x.parts[0], self.dtype)

    def read(self, bits: Term) -> Term:
        """BITCAST from unsigned."""
        return Loaded(self.target, self.dtype, bits.bits)

    def folds(self, op: Op) -> bool:
        """A fold may round as it likes within its bound."""
        return self.target.has(op)

    def storage(self) -> Storage:
        """Unsigned, of the same width."""
        return Storage(bits_dtype(self.dtype))

    def load(self, words: tuple[Value, ...]) -> Term:
        """The bits, where they are wanted as a value."""
        bits = bits_dtype(self.dtype)
        form = self.target.form(bits)
        return self.read(Term(self.target, words[0]) if form is None else form.load(words))

    def store(self, x: Term) -> tuple[Value, ...]:
        """The bits."""
        bits = self.bits(x)
        form = self.target.form(bits.dtype)
        return (bits.value,) if form is None else form.store(bits)


# ---------------------------------------------------------------------------------------------- in registers


def round_to(x: Term, dtype: DType) -> Term:
    """A float32 rounded to the nearest value of ``dtype``, to even, and still a float32."""
    if dtype is bfloat16:
        bits = x.bits
        nearest = (bits + (((bits >> 16) & 1) + 0x7FFF)) & 0xFFFF0000
        quiet = bits | 0x00400000  # a NaN must not lose what makes it one
        return x.differs(x).choose(quiet, nearest).read_as(float32)
    size = x.magnitude()
    large = _unit(size, dtype)
    rounded = (size + large) - large
    # beyond the last value that rounds to a finite one: infinity if there is one, or the NaN that it is
    rounded = (size < _beyond(dtype)).choose(rounded, size * math.inf if dtype.has_infinity else math.nan)
    return (rounded.bits | (x.bits & _SIGN)).read_as(float32)


def _beyond(dtype: DType) -> float:
    """The least float32 that does not round to a finite value of ``dtype``."""
    greatest = float(dtype.finite_max)
    tie = np.float32(greatest + math.ldexp(0.5, math.frexp(greatest)[1] - 1 - dtype.mantissa))
    # with infinity above, the tie goes there; without, the greatest number is the even one
    return float(tie if dtype.has_infinity else np.nextafter(tie, np.float32(math.inf)))


def _drop(dtype: DType) -> int:
    """How many bits of float32's significand ``dtype`` lacks."""
    return float32.mantissa - dtype.mantissa


def _least_unit(dtype: DType) -> int:
    """The bits of a float32 whose last bit is the least subnormal of ``dtype``."""
    return pattern(dtype.smallest_normal * dtype.eps * 2.0**float32.mantissa, float32)


def _unit(size: Term, dtype: DType) -> Term:
    """A power of two whose last bit in float32 is the last bit of ``size`` in ``dtype``."""
    large = (size.bits & _EXPONENT) + (_drop(dtype) << float32.mantissa)
    least = _least_unit(dtype)
    return (large < least).choose(least, large).read_as(float32)


def _cast_unrounded(x: Term, dtype: DType) -> Term:
    """A CAST to ``dtype`` as a float32 in which nothing is lost that rounding to ``dtype`` depends on."""
    if x.dtype is float64:
        return _round_to_odd(x)
    if x.dtype.is_int and x.dtype.bits > 16:
        return (_sticky(x) if dtype is bfloat16 else _clamp(x)).to(float32)
    return x.to(float32)


def _round_to_odd(x: Term) -> Term:
    """A float64 as float32, its last bit 1 where that is inexact, so that rounding it again is right."""
    near = x.to(float32)
    back = near.to(float64)
    bits = near.bits
    toward_zero = (x.magnitude() < back.magnitude()).choose(bits - 1, bits)
    return x.differs(back).choose(toward_zero | 1, bits).read_as(float32)


def _clamp(x: Term) -> Term:
    """An integer, cut to where floats of few exponent bits are infinite anyway and float32 still exact."""
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
    """The float32 of the same value as the bits ``x``, NaN payloads kept where there are any."""
    wide = x.to(uint32)
    if dtype is bfloat16:
        return (wide << 16).read_as(float32)
    drop, top = _drop(dtype), 32 - dtype.bits
    size = (wide & ((1 << (dtype.bits - 1)) - 1)) << drop
    sign = (wide & (1 << (dtype.bits - 1))) << top
    up = _bias(float32) - _bias(dtype)
    if x.target.spec.flushes_subnormals:  # a subnormal must not pass through one of float32
        value = size + (up << 23)
        small = (value + (1 << 23)).read_as(float32) - dtype.smallest_normal
        value = (size < (1 << 23)).choose(small.bits, value)
    else:
        value = (size.read_as(float32) * 2.0**up).bits
    if dtype.has_infinity:
        value = (size < ((1 << dtype.exponent) - 1 << 23)).choose(value, size | _EXPONENT)
    else:
        value = (size < ((1 << (dtype.bits - 1)) - 1 << drop)).choose(value, _QUIET)
    return (value | sign).read_as(float32)


def pack(x: Term, dtype: DType) -> Term:
    """The bits of a float32 that ``dtype`` holds exactly, NaN payloads kept where there are any."""
    bits, narrow = x.bits, bits_dtype(dtype)
    if dtype is bfloat16:
        return (bits >> 16).to(narrow)
    drop, down = _drop(dtype), _bias(float32) - _bias(dtype)
    size = x.magnitude()
    size_bits = size.bits
    if x.target.spec.flushes_subnormals:
        least = pattern(1.0, float32) + ((1 - _bias(dtype) - dtype.mantissa + 23) << 23)
        small = (size + float(np.uint32(least).view(np.float32))).bits - least
        value = (size < dtype.smallest_normal).choose(small, (size_bits >> drop) - (down << dtype.mantissa))
    else:
        value = (size * 2.0**-down).bits >> drop
    if dtype.has_infinity:
        special = ((size_bits >> drop) & ((1 << dtype.mantissa) - 1)) | _special(dtype)
    else:
        special = size_bits.number(_special(dtype))
    value = (size < 2.0 ** (_bias(dtype) + (1 if dtype.has_infinity else 2))).choose(value, special)
    return (value | ((bits >> (32 - dtype.bits)) & (1 << (dtype.bits - 1)))).to(narrow)


def pack_rounded(x: Term, dtype: DType) -> Term:
    """The bits of a float32 rounded to ``dtype``: ``round_to`` and ``pack`` in fewer steps."""
    bits, narrow = x.bits, bits_dtype(dtype)
    if dtype is bfloat16:
        nearest = (bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16
        return x.differs(x).choose((bits >> 16) | 0x40, nearest).to(narrow)
    drop = _drop(dtype)
    size = x.magnitude()
    large = _unit(size, dtype)
    # the sum less the large number, as bits, is the significand; the large number knows the exponent
    value = ((large.bits - _least_unit(dtype)) >> drop) + ((size + large).bits - large.bits)
    special = bits.number(_special(dtype))
    if dtype.has_infinity:
        special = x.differs(x).choose(special | (1 << (dtype.mantissa - 1)), special)
    value = (size < _beyond(dtype)).choose(value, special)
    return (value | ((bits >> (32 - dtype.bits)) & (1 << (dtype.bits - 1)))).to(narrow)


def _bias(dtype: DType) -> int:
    return (1 << (dtype.exponent - 1)) - 1


def _special(dtype: DType) -> int:
    """The bits of infinity, or of the one NaN of a dtype that has no infinity."""
    ones = (1 << dtype.exponent) - 1 << dtype.mantissa
    return ones if dtype.has_infinity else (1 << (dtype.bits - 1)) - 1
