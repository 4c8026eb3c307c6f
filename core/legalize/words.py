"""int64 and uint64 on a device that lacks them: two uint32, the lower first, in registers and in memory."""

from __future__ import annotations

from ..dtype import DType, Kind, Scalar, bool_, float32, int32, uint32
from ..errors import DeviceError
from ..ops import Op
from ..value import Value
from .form import Form, Storage
from .term import Term, high_product

_WORD = 0xFFFFFFFF


class Words(Form):
    """Two uint32."""

    kin = (uint32, uint32)

    @property
    def signed(self) -> bool:
        """Whether the upper word's first bit is a sign."""
        return self.dtype.kind is Kind.INT

    def number(self, value: Scalar) -> Term:
        """A constant."""
        bits = int(self.dtype.cast_scalar(value)) & (1 << 64) - 1
        return self.term(self.target.number(bits & _WORD, uint32), self.target.number(bits >> 32, uint32))

    def known(self, x: Term) -> int | None:
        """Of two constants."""
        low, high = (p.known for p in x.parts)
        return None if low is None or high is None else int(self.dtype.cast_scalar(high << 32 | low))

    # ------------------------------------------------------------------------------------------ primitives

    def emit(self, op: Op, *xs: Term) -> Term:
        """The primitive on words."""
        a, b = xs[0], xs[-1]
        if op is Op.WHERE:
            return self.term(*(a.choose(p, q) for p, q in zip(xs[1].parts, b.parts, strict=True)))
        if op in _BITWISE:
            each = _BITWISE[op]
            return self.term(*(each(p, q) for p, q in zip(a.parts, b.parts, strict=True)))
        if op is Op.NEG:
            return a.number(0) - a
        if op is Op.MAX:
            return (a < b).choose(b, a)
        if op in _ON_WORDS:
            return _ON_WORDS[op](self, a, b)
        build = self.target.builder(op, self.dtype)
        assert build is not None, op
        return build(a, b)

    def _add(self, a: Term, b: Term) -> Term:
        (a_low, a_high), (b_low, b_high) = a.parts, b.parts
        low = a_low + b_low
        return self.term(low, a_high + b_high + (low < a_low).to(uint32))

    def _sub(self, a: Term, b: Term) -> Term:
        (a_low, a_high), (b_low, b_high) = a.parts, b.parts
        return self.term(a_low - b_low, a_high - b_high - (a_low < b_low).to(uint32))

    def _mul(self, a: Term, b: Term) -> Term:
        (a_low, a_high), (b_low, b_high) = a.parts, b.parts
        return self.term(a_low * b_low, high_product(a_low, b_low) + a_low * b_high + a_high * b_low)

    def _cmplt(self, a: Term, b: Term) -> Term:
        (a_low, a_high), (b_low, b_high) = a.parts, b.parts
        if self.signed:
            a_high, b_high = a_high.read_as(int32), b_high.read_as(int32)
        return a_high.differs(b_high).choose(a_high < b_high, a_low < b_low)

    def _cmpne(self, a: Term, b: Term) -> Term:
        (a_low, a_high), (b_low, b_high) = a.parts, b.parts
        return a_low.differs(b_low) | a_high.differs(b_high)

    def _shl(self, a: Term, b: Term) -> Term:
        low, high = a.parts
        n = b.parts[0]
        within = n & 31
        across = (low >> 1) >> ((n ^ 31) & 31)  # what leaves the lower word, of which nothing when n is 0
        near = self.term(low << within, (high << within) | across)
        far = self.term(low.number(0), low << within)
        return _far(n).choose(far, near)

    def _shr(self, a: Term, b: Term) -> Term:
        low, high = a.parts
        n = b.parts[0]
        within = n & 31
        across = (high << 1) << ((n ^ 31) & 31)
        top = (high.read_as(int32) >> within.read_as(int32)).bits if self.signed else high >> within
        fill = (high.read_as(int32) >> 31).bits if self.signed else high.number(0)
        near = self.term((low >> within) | across, top)
        return _far(n).choose(self.term(top, fill), near)

    # ------------------------------------------------------------------------------------------ conversions

    def cast_from(self, x: Term) -> Term:
        """CAST to two words: truncated, and negated where a float or signed number is negative."""
        if x.dtype.bits == 64 and not x.dtype.is_float:
            return self.read(x)
        if x.dtype.is_float:
            x = x.to(float32) if x.dtype.bits < 32 else x
            negative = x < 0.0
            size = negative.choose(-x, x)
            upper = (size * 2.0**-32).to(uint32)
            lower = (size - upper.to(x.dtype) * 2.0**32).to(uint32)
            whole = self.term(lower, upper)
            return negative.choose(-whole, whole)
        if x.dtype.kind is Kind.INT:
            wide = x.to(int32)
            return self.term(wide.bits, (wide >> 31).bits)
        low = x.to(uint32)
        return self.term(low, low.number(0))

    def cast_to(self, x: Term, dtype: DType) -> Term:
        """CAST: rounded once to a float, else the low bits."""
        low, high = x.parts
        if dtype is bool_:
            return (low | high).to(bool_)
        if dtype.is_float:
            negative = high.read_as(int32) < 0 if self.signed else low.target.number(False, bool_)
            size = _float(negative.choose(-x, x), dtype)
            return negative.choose(-size, size)
        return self.native(x, dtype) if dtype.bits == 64 else low.to(dtype)

    def bits(self, x: Term) -> Term:
        """The same words."""
        return x

    def read(self, bits: Term) -> Term:
        """The same words, or a 64-bit integer of the device's own taken apart."""
        if self.target.form(bits.dtype) is not None:
            return self.term(*bits.parts)
        if bits.dtype.is_float:
            raise DeviceError(
                f"{self.target.spec.name} computes in {bits.dtype} but not in uint64, which its bits are: "
                "add uint64 to the Spec's arithmetic dtypes"
            )
        return self.term(bits.to(uint32), (bits >> 32).to(uint32))

    def native(self, x: Term, dtype: DType) -> Term:
        """A 64-bit integer of the device's own, put together."""
        low, high = (p.to(dtype) for p in x.parts)
        return (high << 32) | low

    # ------------------------------------------------------------------------------------------ memory

    def storage(self) -> Storage:
        """Twice as many words."""
        word = self.target.form(uint32)
        return Storage(uint32 if word is None else word.storage().dtype, 2)

    def load(self, words: tuple[Value, ...]) -> Term:
        """The lower word first."""
        word = self.target.form(uint32)
        return self.term(*(Term(self.target, w) if word is None else word.load((w,)) for w in words))

    def store(self, x: Term) -> tuple[Value, ...]:
        """The lower word first."""
        return tuple(x.values())


_BITWISE = {Op.AND: Term.__and__, Op.OR: Term.__or__, Op.XOR: Term.__xor__}
_ON_WORDS = {
    Op.ADD: Words._add,
    Op.SUB: Words._sub,
    Op.MUL: Words._mul,
    Op.CMPLT: Words._cmplt,
    Op.CMPNE: Words._cmpne,
    Op.SHL: Words._shl,
    Op.SHR: Words._shr,
}


def _far(n: Term) -> Term:
    """Whether a shift is by a whole word or more."""
    return (n & 32).differs(0)


def _float(x: Term, dtype: DType) -> Term:
    """An unsigned number of two words as a float, rounded once."""
    low, high = x.parts
    if dtype.mantissa > 32:  # both words are exact, and so is all but their sum
        return high.to(dtype) * 2.0**32 + low.to(dtype)
    # moved up until the upper word alone has more bits than the float, and one more for whatever is below
    scale = low.target.number(2.0**32, float32)
    for step in (16, 8, 4):
        short = high < (1 << (32 - step))
        low, high = (
            short.choose(low << step, low),
            short.choose((high << step) | (low >> (32 - step)), high),
        )
        scale = short.choose(scale * 2.0**-step, scale)
    first_low, first_high = x.parts
    sticky = high | low.differs(0).to(uint32)
    if dtype.bits < 32:  # as many bits as float32 holds, so that rounding it again is right
        kept = sticky & ~0xFF & _WORD
        sticky = kept | ((sticky & 0xFF).differs(0).to(uint32) << 8)
    large = (sticky.to(float32) * scale).to(dtype)
    return first_high.differs(0).choose(large, first_low.to(dtype))
