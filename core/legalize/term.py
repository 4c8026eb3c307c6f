"""Values written with Python's operators, made only of what a device has.

A ``Term`` is a value and the ``Target`` it is for. ``a * b + c`` on terms makes the same values as calling
``primitive``, except that a primitive which the device lacks is built from ones that it has, at once. So the
code of this package reads as mathematics, and what it makes is legal as it stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..device import Extra as Offer
from ..device import Spec
from ..dtype import DType, Scalar, bfloat16, bool_, float16, float32, uint8, uint16, uint32, uint64
from ..errors import DeviceError
from ..ops import Op
from ..value import Extra, Value, bitcast, cast, make, number, primitive, where

_BITS = {8: uint8, 16: uint16, 32: uint32, 64: uint64}


def bits_dtype(dtype: DType) -> DType:
    """The unsigned integer of the same width."""
    return _BITS[dtype.bits]


class Target:
    """A device to make values for.

    Attributes:
        spec: what the device has.
        builders: how each primitive that a device may lack is built.
        fused: it offers FMA.
        divides: it offers DIV.
    """

    def __init__(self, spec: Spec, builders: Mapping[Op, Callable[..., Term]]) -> None:
        self.spec, self.builders = spec, builders
        self.fused = Offer.FMA in spec.extras
        self.divides = Offer.DIV in spec.extras

    def has(self, op: Op) -> bool:
        """True of a primitive that the device's language has."""
        return op in self.spec.native

    def require(self, dtype: DType) -> None:
        """Makes sure that the device computes in ``dtype``.

        Raises:
            DeviceError: when it doesn't.
        """
        if dtype not in self.spec.arithmetic and dtype is not bool_:
            raise DeviceError(
                f"{self.spec.name} does not compute in {dtype}, which is needed here: cast to another dtype, "
                "or add it to the Spec's arithmetic dtypes if the device's language has it"
            )

    def emit(self, op: Op, *srcs: Value) -> Value:
        """A primitive other than CONST, LOAD, STORE, CAST and BITCAST, built if the device lacks it.

        Raises:
            DeviceError: when it lacks too much to build it from.
        """
        self.require(srcs[-1].dtype)
        if op in self.spec.native:
            return where(*srcs) if op is Op.WHERE else primitive(op, *srcs)
        build = self.builders.get(op)
        if build is None:
            raise DeviceError(
                f"{self.spec.name} lacks {op.name}, which can't be built from other primitives: "
                "every device needs it; add it to the Spec's native primitives and to the dialect"
            )
        if srcs[-1].dtype in (float16, bfloat16) and op not in (Op.WHERE, Op.NEG):
            wide = self.emit(op, *(cast(s, float32) for s in srcs))
            return cast(wide, srcs[-1].dtype) if wide.dtype.is_float else wide
        return build(*(Term(self, s) for s in srcs)).value

    def divide(self, a: Value, b: Value) -> Value:
        """a / b of floats: rounded once where the device offers DIV, else a · RECIP(b)."""
        if self.divides:
            return make(Extra.DIV, a.dtype, (a, b))
        return self.emit(Op.MUL, a, self.emit(Op.RECIP, b))


class Term:
    """A value for a target. Python numbers beside it take its dtype."""

    __slots__ = ("target", "value")

    def __init__(self, target: Target, value: Value) -> None:
        self.target, self.value = target, value

    @property
    def dtype(self) -> DType:
        """The value's."""
        return self.value.dtype

    def number(self, value: Scalar) -> Term:
        """A constant of this term's dtype."""
        return Term(self.target, number(value, self.dtype))

    def of(self, other: Term | Scalar) -> Value:
        """``other`` as a value, a number as a constant of this term's dtype."""
        return other.value if isinstance(other, Term) else number(other, self.dtype)

    def _emit(self, op: Op, *operands: Term | Scalar) -> Term:
        return Term(self.target, self.target.emit(op, self.value, *(self.of(x) for x in operands)))

    def __add__(self, other: Term | Scalar) -> Term:
        return self._emit(Op.ADD, other)

    def __sub__(self, other: Term | Scalar) -> Term:
        return self._emit(Op.SUB, other)

    def __rsub__(self, other: Scalar) -> Term:
        return self.number(other) - self

    def __mul__(self, other: Term | Scalar) -> Term:
        return self._emit(Op.MUL, other)

    def __truediv__(self, other: Term) -> Term:
        return Term(self.target, self.target.divide(self.value, other.value))

    def __neg__(self) -> Term:
        return self._emit(Op.NEG)

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
        return Term(self.target, self.target.emit(Op.CMPLT, self.of(other), self.value))

    def differs(self, other: Term | Scalar) -> Term:
        """CMPNE."""
        return self._emit(Op.CMPNE, other)

    def choose(self, a: Term | Scalar, b: Term | Scalar) -> Term:
        """``a`` where this bool is true, else ``b``; one of them is a term."""
        known = a if isinstance(a, Term) else b
        assert isinstance(known, Term)
        assert self.dtype is bool_
        return Term(self.target, self.target.emit(Op.WHERE, self.value, known.of(a), known.of(b)))

    def recip(self) -> Term:
        """RECIP."""
        return self._emit(Op.RECIP)

    def to(self, dtype: DType) -> Term:
        """CAST."""
        return Term(self.target, cast(self.value, dtype))

    def read_as(self, dtype: DType) -> Term:
        """BITCAST."""
        return Term(self.target, bitcast(self.value, dtype))

    @property
    def bits(self) -> Term:
        """BITCAST to the unsigned integer of the same width."""
        return self.read_as(bits_dtype(self.dtype))

    def times_plus(self, b: Term | Scalar, c: Term | Scalar) -> Term:
        """self · b + c, rounded once where the device offers FMA, else twice."""
        if self.target.fused:
            return Term(self.target, make(Extra.FMA, self.dtype, (self.value, self.of(b), self.of(c))))
        return self * b + c

    def magnitude(self) -> Term:
        """A float without its sign."""
        return (self.bits & (sign_bit(self.dtype) - 1)).read_as(self.dtype)


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
