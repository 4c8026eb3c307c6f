"""uint32 on a device that only has int32: the same bits."""

from __future__ import annotations

from ..dtype import DType, Scalar, bool_, float32, int32
from ..ops import Op
from ..value import Value
from .form import Form, Storage
from .simple import float_power
from .term import Term

_SIGN = -(1 << 31)


class Unsigned(Form):
    """An int32 of the same bits."""

    kin = (int32,)

    def number(self, value: Scalar) -> Term:
        """A constant."""
        return self.term(self.target.number(value, int32))

    def known(self, x: Term) -> int | None:
        """The int32 without a sign."""
        known = x.parts[0].known
        return None if known is None else known & 0xFFFFFFFF

    def emit(self, op: Op, *xs: Term) -> Term:
        """The same on int32, unless it asks for the order, shifts right or divides."""
        if op is Op.CMPLT:
            a, b = xs
            return (a.parts[0] + _SIGN) < (b.parts[0] + _SIGN)
        if op is Op.MAX:
            a, b = xs
            return (a < b).choose(b, a)
        if op is Op.SHR:
            return self._shifted(*xs)
        if op in (Op.IDIV, Op.MOD):
            build = self.target.builder(op, self.dtype)
            assert build is not None
            return build(*xs)
        got = self.target.emit(op, *(x if x.dtype is bool_ else x.parts[0] for x in xs))
        return got if got.dtype is bool_ else self.term(got)

    def _shifted(self, a: Term, b: Term) -> Term:
        """SHR: the sign moved down as well, and taken away."""
        x, n = a.parts[0], b.parts[0]
        if not self.target.has(Op.SHR):
            top = (x < 0).choose(float_power(31 - n, 1).to(int32), 0)
            return self.term((n > 0).choose(((x & 0x7FFFFFFF) >> n) + top, x))
        copies = (x.number(_SIGN) >> n) << 1
        return self.term((x >> n) & (x.number(-1) - copies))

    def cast_from(self, x: Term) -> Term:
        """CAST: of a float its upper half below, since int32 ends there."""
        if self.target.form(x.dtype) is not None:
            return x.parts[0]  # the low word of two
        if not x.dtype.is_float:
            return self.term(x.to(int32))
        x = x.to(float32) if x.dtype.bits < 32 else x
        fits = x < 2.0**31
        below = fits.choose(x, x - 2.0**31).to(int32)
        return self.term(fits.choose(below, below + _SIGN))

    def cast_to(self, x: Term, dtype: DType) -> Term:
        """CAST: to a float by halves where the sign bit is set, the bit that is lost kept in the next."""
        bits = x.parts[0]
        if dtype.is_float:
            half = ((x >> 1) | (x & 1)).parts[0].to(dtype)
            return (bits < 0).choose(half + half, bits.to(dtype))
        if dtype.bits == 64:
            return bits.to(dtype) & 0xFFFFFFFF
        return bits.to(dtype)

    def bits(self, x: Term) -> Term:
        """Itself."""
        return x

    def read(self, bits: Term) -> Term:
        """BITCAST from int32 or float32."""
        return self.term(bits.read_as(int32))

    def native(self, x: Term, dtype: DType) -> Term:
        """BITCAST to int32 or float32."""
        return x.parts[0].read_as(dtype)

    def folds(self, op: Op) -> bool:
        """Sums and products wrap alike."""
        return op is not Op.MAX and self.target.has(op)

    def storage(self) -> Storage:
        """int32."""
        return Storage(int32)

    def load(self, words: tuple[Value, ...]) -> Term:
        """As it is."""
        return self.term(Term(self.target, words[0]))

    def store(self, x: Term) -> tuple[Value, ...]:
        """As it is."""
        return (x.parts[0].value,)
