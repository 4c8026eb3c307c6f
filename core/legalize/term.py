"""Values written with Python's operators, made only of what a device has.

A ``Term`` is a value of any dtype and the ``Target`` it is for. ``a * b + c`` on terms makes what the device
can compute at once: a primitive that it lacks is built from ones that it has, and a dtype that it does not
compute in is stood in for by others (``form``). So the code of this package reads as mathematics, and what it
makes is legal as it stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import value as val
from ..device import Extra as Offer
from ..device import Spec
from ..dtype import DType, Scalar, bool_, float32, uint8, uint16, uint32, uint64
from ..errors import DeviceError
from ..evaluate import NUMPY_PRIMITIVES
from ..ops import Op
from ..value import Extra, Number, Value, make

if TYPE_CHECKING:
    from .form import Form

_ON_BOOL = {Op.ADD: Op.OR, Op.MAX: Op.OR, Op.MUL: Op.AND, Op.CMPNE: Op.XOR}
_BITS = {8: uint8, 16: uint16, 32: uint32, 64: uint64}


def bits_dtype(dtype: DType) -> DType:
    """The unsigned integer of the same width."""
    return _BITS[dtype.bits]


class Target:
    """A device to make values for.

    Attributes:
        spec: what the device has.
        builder: how a primitive is built that a device lacks for operands of a dtype; None if it can't be.
        fused: it offers FMA.
        divides: it offers DIV.
    """

    def __init__(
        self,
        spec: Spec,
        builder: Callable[[Op, DType], Callable[..., Term] | None],
        forms: Callable[[Target, DType, str], Form],
    ) -> None:
        self.spec, self.builder = spec, builder
        self.fused = Offer.FMA in spec.extras
        self.divides = Offer.DIV in spec.extras
        self._make_form = forms
        self._forms: dict[DType, Form | None] = {}

    def has(self, op: Op, dtype: DType = float32) -> bool:
        """True of a primitive that the device's language has; on bools some are spelled as others."""
        if dtype.is_bool:
            return {op, _ON_BOOL.get(op, op)} <= self.spec.native
        return op in self.spec.native

    def computes(self, dtype: DType) -> bool:
        """True of a dtype that the device's language computes in; every language has conditions."""
        return dtype in self.spec.arithmetic or dtype is bool_

    def form(self, dtype: DType, needed_by: str = "") -> Form | None:
        """How ``dtype`` is stood in for; None where the device computes in it.

        Args:
            dtype: any.
            needed_by: who asks, in words, for the error.

        Raises:
            DeviceError: when it neither computes in it nor can stand in for it.
        """
        if dtype not in self._forms:
            self._forms[dtype] = None if self.computes(dtype) else self._make_form(self, dtype, needed_by)
        return self._forms[dtype]

    def number(self, value: Scalar, dtype: DType) -> Term:
        """A constant."""
        form = self.form(dtype)
        return Term(self, val.number(value, dtype)) if form is None else form.number(value)

    def emit(self, op: Op, *xs: Term) -> Term:
        """A primitive other than CONST, LOAD, STORE, CAST and BITCAST, built if the device lacks it.

        Raises:
            DeviceError: when it lacks too much to build it from.
        """
        dtype = xs[-1].dtype
        form = self.form(dtype)
        if form is not None:
            return form.emit(op, *xs)
        if self.has(op, dtype):
            values = [x.value for x in xs]
            return Term(self, val.where(*values) if op is Op.WHERE else val.primitive(op, *values))
        build = self.builder(op, dtype)
        if build is None:
            raise DeviceError(
                f"{self.spec.name} lacks {op.name}, which can't be built from other primitives: "
                "every device needs it; add it to the Spec's native primitives and to the dialect"
            )
        if dtype.is_float and dtype.bits < 32 and op not in (Op.WHERE, Op.NEG):
            wide = self.emit(op, *(x.to(float32) for x in xs))
            return wide.to(dtype) if wide.dtype.is_float else wide
        return build(*xs)

    def cast(self, x: Term, dtype: DType) -> Term:
        """CAST."""
        if x.dtype is dtype:
            return x
        source, form = self.form(x.dtype), self.form(dtype)
        if source is not None and source.embeds:
            return self.cast(x.parts[0], dtype)
        if form is not None:
            return form.cast_from(x)
        return Term(self, val.cast(x.value, dtype)) if source is None else source.cast_to(x, dtype)

    def bitcast(self, x: Term, dtype: DType) -> Term:
        """BITCAST."""
        if x.dtype is dtype:
            return x
        source, form = self.form(x.dtype), self.form(dtype)
        bits = x if source is None else source.bits(x)
        if form is not None:
            return form.read(bits)
        holder = self.form(bits.dtype)
        return Term(self, val.bitcast(bits.value, dtype)) if holder is None else holder.native(bits, dtype)

    def divide(self, a: Term, b: Term) -> Term:
        """a / b of floats: rounded once where the device offers DIV, else a · RECIP(b)."""
        if self.divides and self.form(a.dtype) is None:
            return Term(self, make(Extra.DIV, a.dtype, (a.value, b.value)))
        return a * b.recip()


class Term:
    """A value for a target. Python numbers beside it take its dtype.

    Attributes:
        target: what it is made for.
        dtype: the value's.
        parts: what stands for it, of a dtype that the device does not compute in; else itself.
    """

    __slots__ = ("_dtype", "_parts", "_value", "target")

    def __init__(
        self,
        target: Target,
        value: Value | None,
        dtype: DType | None = None,
        parts: tuple[Term, ...] = (),
    ) -> None:
        self.target, self._value, self._dtype, self._parts = target, value, dtype, parts

    @property
    def dtype(self) -> DType:
        """The value's."""
        if self._dtype is not None:
            return self._dtype
        assert self._value is not None
        return self._value.dtype

    @property
    def parts(self) -> tuple[Term, ...]:
        """What stands for it."""
        return self._parts or (self,)

    @property
    def value(self) -> Value:
        """The value itself, of a dtype that the device computes in."""
        assert self._value is not None, self.dtype
        return self._value

    def values(self) -> Iterator[Value]:
        """The values of its registers."""
        if self._value is not None:
            yield self._value
        else:
            for p in self.parts:
                yield from p.values()

    @property
    def known(self) -> int | None:
        """The number that an integer or bool term is, if it is a constant."""
        v = self._value
        if v is None:
            form = self.target.form(self.dtype)
            return form.known(self) if form is not None else None
        if v.op is Op.CONST and not v.dtype.is_float:
            assert isinstance(v.arg, Number)
            return int(v.arg.value)
        return None

    def number(self, value: Scalar) -> Term:
        """A constant of this term's dtype."""
        return self.target.number(value, self.dtype)

    def of(self, other: Term | Scalar) -> Term:
        """``other`` as a term, a number as a constant of this term's dtype."""
        return other if isinstance(other, Term) else self.number(other)

    def _emit(self, op: Op, other: Term | Scalar) -> Term:
        y = self.of(other)
        short = None if self.dtype.is_float else _shortcut(op, self, y)
        return self.target.emit(op, self, y) if short is None else short

    def __add__(self, other: Term | Scalar) -> Term:
        return self._emit(Op.ADD, other)

    def __sub__(self, other: Term | Scalar) -> Term:
        return self._emit(Op.SUB, other)

    def __rsub__(self, other: Scalar) -> Term:
        return self.number(other) - self

    def __mul__(self, other: Term | Scalar) -> Term:
        return self._emit(Op.MUL, other)

    def __truediv__(self, other: Term) -> Term:
        return self.target.divide(self, other)

    def __neg__(self) -> Term:
        return self.target.emit(Op.NEG, self)

    def __and__(self, other: Term | Scalar) -> Term:
        return self._emit(Op.AND, other)

    def __or__(self, other: Term | Scalar) -> Term:
        return self._emit(Op.OR, other)

    def __xor__(self, other: Term | Scalar) -> Term:
        return self._emit(Op.XOR, other)

    def __lshift__(self, other: Term | Scalar) -> Term:
        return self._emit(Op.SHL, other)

    def __rshift__(self, other: Term | Scalar) -> Term:
        return self._emit(Op.SHR, other)

    def __lt__(self, other: Term | Scalar) -> Term:
        return self._emit(Op.CMPLT, other)

    def __gt__(self, other: Term | Scalar) -> Term:
        return self.of(other) < self

    def differs(self, other: Term | Scalar) -> Term:
        """CMPNE."""
        return self._emit(Op.CMPNE, other)

    def choose(self, a: Term | Scalar, b: Term | Scalar) -> Term:
        """``a`` where this bool is true, else ``b``; one of them is a term."""
        like = a if isinstance(a, Term) else b
        assert isinstance(like, Term)
        assert self.dtype is bool_
        if self.known is not None:
            return like.of(a if self.known else b)
        return self.target.emit(Op.WHERE, self, like.of(a), like.of(b))

    def recip(self) -> Term:
        """RECIP."""
        return self.target.emit(Op.RECIP, self)

    def to(self, dtype: DType) -> Term:
        """CAST."""
        known = self.known
        if known is not None and not dtype.is_float and dtype.bits:
            return self.target.number(known, dtype)
        return self.target.cast(self, dtype)

    def read_as(self, dtype: DType) -> Term:
        """BITCAST."""
        known = self.known
        if known is not None and not dtype.is_float and not self.dtype.is_bool:
            return self.target.number(known, dtype)
        return self.target.bitcast(self, dtype)

    @property
    def bits(self) -> Term:
        """BITCAST to the unsigned integer of the same width."""
        return self.read_as(bits_dtype(self.dtype))

    def times_plus(self, b: Term | Scalar, c: Term | Scalar) -> Term:
        """self · b + c, rounded once where the device offers FMA, else twice."""
        if self.target.fused and self.target.form(self.dtype) is None:
            operands = (self.value, self.of(b).value, self.of(c).value)
            return Term(self.target, make(Extra.FMA, self.dtype, operands))
        return self * b + c

    def magnitude(self) -> Term:
        """A float without its sign."""
        return (self.bits & (sign_bit(self.dtype) - 1)).read_as(self.dtype)


def _shortcut(op: Op, a: Term, b: Term) -> Term | None:
    """What an integer operation with constants is: a constant, or the other operand."""
    x, y = a.known, b.known
    if x is not None and y is not None and op not in (Op.IDIV, Op.MOD):
        row = NUMPY_PRIMITIVES[op]
        dtype = bool_ if op in (Op.CMPLT, Op.CMPNE) else a.dtype
        got = row(dtype, np.array(x, a.dtype.numpy), np.array(y, b.dtype.numpy))
        return a.target.number(got.item(), dtype)
    if a.dtype.is_bool:
        return None
    ones = a.dtype.cast_scalar(-1)
    if y == 0 and op in (Op.ADD, Op.SUB, Op.OR, Op.XOR, Op.SHL, Op.SHR):
        return a
    if x == 0 and op in (Op.ADD, Op.OR, Op.XOR):
        return b
    if 0 in (x, y) and op in (Op.MUL, Op.AND):
        return a.number(0)
    if (y == 1 and op is Op.MUL) or (y == ones and op is Op.AND):
        return a
    if (x == 1 and op is Op.MUL) or (x == ones and op is Op.AND):
        return b
    return None


def sign_bit(dtype: DType) -> int:
    """The bit that holds the sign."""
    return 1 << (dtype.bits - 1)


def pattern(value: float, dtype: DType) -> int:
    """The bits of ``value`` in ``dtype``."""
    return int(np.array(value).astype(dtype.numpy).view(bits_dtype(dtype).numpy))


def horner(x: Term, coefficients: Sequence[float]) -> Term:
    """Σ coefficients[i] · x^i."""
    *rest, last = coefficients
    total = x.number(last)
    for c in reversed(rest):
        total = total.times_plus(x, c)
    return total


def from_hex(numbers: str) -> tuple[float, ...]:
    """Floats written in hexadecimal, which says each of their bits."""
    return tuple(float.fromhex(n) for n in numbers.split())


def product(x: Term, c: float) -> tuple[Term, Term]:
    """x·c as a sum of two terms, the second much smaller."""
    if x.target.fused:
        head = x * c
        return head, x.times_plus(c, -head)
    dtype = x.dtype
    low_bits = (dtype.mantissa + 2) // 2  # halves of so few bits that their product is exact
    upper = (x.bits & ~((1 << low_bits) - 1) % (1 << dtype.bits)).read_as(dtype)
    mantissa, exponent = math.frexp(c)
    scale = 2.0 ** (dtype.mantissa + 1 - low_bits)
    c_upper = math.ldexp(math.floor(mantissa * scale) / scale, exponent)
    return upper * c_upper, (x - upper) * c + upper * (c - c_upper)


def high_product(a: Term, b: Term) -> Term:
    """The upper word of a·b of unsigned words, by half words."""
    half = a.dtype.bits // 2
    mask = (1 << half) - 1
    a_low, a_high, b_low, b_high = a & mask, a >> half, b & mask, b >> half
    first = a_low * b_high + ((a_low * b_low) >> half)
    second = a_high * b_low + (first & mask)
    return a_high * b_high + (first >> half) + (second >> half)
