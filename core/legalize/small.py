"""Integers of 8 and 16 bits on a device that only moves them: an int32 of the same value in a register.

What can leave the range is brought back into it at once, so that a fused kernel gives what separate ones
would. In memory they are unsigned bytes and half words, which are loaded, converted and stored, no more.
"""

from __future__ import annotations

from .. import value as val
from ..dtype import DType, Kind, Scalar, bool_, int32
from ..ops import Op
from ..value import Value
from .form import Form, Storage
from .term import Term, bits_dtype

_LEAVE = frozenset({Op.ADD, Op.SUB, Op.MUL, Op.NEG, Op.SHL})


class Small(Form):
    """An int32 of the same value."""

    kin = (int32,)

    @property
    def embeds(self) -> bool:
        """It does."""
        return True

    def number(self, value: Scalar) -> Term:
        """A constant."""
        return self.term(self.target.number(self.dtype.cast_scalar(value), int32))

    def known(self, x: Term) -> int | None:
        """The int32."""
        return x.parts[0].known

    def emit(self, op: Op, *xs: Term) -> Term:
        """The primitive on int32, brought back into range."""
        got = self.target.emit(op, *(x if x.dtype is bool_ else x.parts[0] for x in xs))
        if got.dtype is bool_:
            return got
        return self.wrapped(got) if op in _LEAVE else self.term(got)

    def wrapped(self, x: Term) -> Term:
        """The low bits of an int32."""
        mask = (1 << self.dtype.bits) - 1
        low = x & mask
        if self.dtype.kind is Kind.UINT:
            return self.term(low)
        sign = 1 << (self.dtype.bits - 1)
        return self.term((low ^ sign) - sign)

    def cast_from(self, x: Term) -> Term:
        """CAST, by way of int32."""
        return self.wrapped(x.to(int32))

    def bits(self, x: Term) -> Term:
        """BITCAST to unsigned: the low bits."""
        return x.parts[0].to(bits_dtype(self.dtype)) if self.dtype.kind is Kind.INT else x

    def read(self, bits: Term) -> Term:
        """BITCAST: from a float of the device's own, by way of what memory holds."""
        if bits.dtype.is_float:
            return self.load((val.bitcast(bits.value, self.storage().dtype),))
        return self.wrapped(bits.to(int32))

    def native(self, x: Term, dtype: DType) -> Term:
        """BITCAST to a dtype of the device's own, likewise."""
        return Term(self.target, val.bitcast(self.store(x)[0], dtype))

    def folds(self, op: Op) -> bool:
        """True: ``register`` brings back into range."""
        return self.target.has(op)

    def register(self, name: str) -> Term:
        """An accumulator may have left the range."""
        return self.wrapped(super().register(name).parts[0])

    def storage(self) -> Storage:
        """Unsigned, of the same width."""
        return Storage(bits_dtype(self.dtype))

    def load(self, words: tuple[Value, ...]) -> Term:
        """Converted to int32."""
        wide = Term(self.target, val.cast(words[0], int32))
        return self.term(wide) if self.dtype.kind is Kind.UINT else self.wrapped(wide)

    def store(self, x: Term) -> tuple[Value, ...]:
        """Converted from int32."""
        return (val.cast(x.parts[0].value, self.storage().dtype),)
