"""The arithmetic, compare and bit primitives, each from a few others.

What every device must have is what is missing here: CONST, LOAD, STORE, CAST, BITCAST, ADD, MUL and CMPLT,
and two of AND, OR and XOR unless it has SUB.
"""

from __future__ import annotations

from ..dtype import DType, Kind
from ..errors import DeviceError
from ..ops import Op
from .term import Term, bits_dtype, pattern, sign_bit


def sub(a: Term, b: Term) -> Term:
    """SUB: a + (-b)."""
    return a + -b


def neg(a: Term) -> Term:
    """NEG: the sign bit of a float flipped; of an integer, its complement and one."""
    if a.dtype.is_float:
        if a.target.has(Op.XOR):
            return (a.bits ^ sign_bit(a.dtype)).read_as(a.dtype)
        return a * -1.0
    return a * (-1 if a.dtype.is_signed else int(a.dtype.max))


def maximum(a: Term, b: Term) -> Term:
    """MAX: b where it is greater or NaN, else a, NaN or not."""
    if a.dtype.is_bool:
        return a | b
    chosen = (a < b).choose(b, a)
    return b.differs(b).choose(b, chosen) if a.dtype.is_float else chosen


def cmpne(a: Term, b: Term) -> Term:
    """CMPNE: less or greater, or NaN by its bits."""
    apart = (a < b) | (a > b)
    return apart | _is_nan(a) | _is_nan(b) if a.dtype.is_float else apart


def _is_nan(a: Term) -> Term:
    return (a.bits & (sign_bit(a.dtype) - 1)) > pattern(float("inf"), a.dtype)


def where(c: Term, a: Term, b: Term) -> Term:
    """WHERE: the bits of one under a mask of ones, of the other under its complement."""
    if a.dtype.is_bool:
        return (c & a) | ((c ^ True) & b)
    bits = bits_dtype(a.dtype)
    mask = c.to(bits) * bits.max
    return ((a.bits & mask) | (b.bits & (mask ^ bits.max))).read_as(a.dtype)


def and_(a: Term, b: Term) -> Term:
    """AND, from OR or XOR: a + b is (a or b) + (a and b)."""
    if a.dtype.is_bool:
        return a * b
    _needs(a, Op.AND, Op.OR)
    return a + b - (a | b)


def or_(a: Term, b: Term) -> Term:
    """OR, from AND."""
    if a.dtype.is_bool:
        return a + b
    _needs(a, Op.OR, Op.AND)
    return a + b - (a & b)


def xor(a: Term, b: Term) -> Term:
    """XOR, from OR and AND."""
    if a.dtype.is_bool:
        return a.differs(b)
    return (a | b) - (a & b)


def _needs(a: Term, op: Op, other: Op) -> None:
    if not a.target.has(other):
        raise DeviceError(
            f"{a.target.spec.name} lacks {op.name} and {other.name}; one of them is needed: "
            "add it to the Spec's native primitives and to the dialect"
        )


def shl(a: Term, b: Term) -> Term:
    """SHL: times a power of two."""
    return a * _power_of_two(b, a.dtype)


def shr(a: Term, b: Term) -> Term:
    """SHR: over a power of two; a negative number through its complement, which rounds down."""
    bits = bits_dtype(a.dtype)
    power = _power_of_two(b, bits)
    if a.dtype.kind is Kind.UINT:
        return _emit(Op.IDIV, a, power)
    negative = a < 0
    size = negative.choose(a ^ -1, a).read_as(bits)
    shifted = _emit(Op.IDIV, size, power).read_as(a.dtype)
    return negative.choose(shifted ^ -1, shifted)


def _power_of_two(b: Term, dtype: DType) -> Term:
    power = b.to(dtype).number(1)
    for i in range(dtype.bits.bit_length() - 1):
        factor = (b & (1 << i)).differs(0).choose(power.number(1 << (1 << i)), 1)
        power = factor if i == 0 else power * factor
    return power


def idiv(a: Term, b: Term) -> Term:
    """IDIV: long division, a bit at a time."""
    if a.dtype.kind is Kind.UINT:
        return _divide(a, b)
    bits = bits_dtype(a.dtype)
    left, right = a < 0, b < 0
    quotient = _divide(left.choose(-a, a).read_as(bits), right.choose(-b, b).read_as(bits)).read_as(a.dtype)
    return (left ^ right).choose(-quotient, quotient)


def _divide(a: Term, b: Term) -> Term:
    rest, quotient = a.number(0), a.number(0)
    for i in reversed(range(a.dtype.bits)):
        carry = (rest & sign_bit(a.dtype)).differs(0)  # the rest, doubled, may need one bit more
        rest = rest + rest + (a & (1 << i)).differs(0).choose(a.number(1), 0)
        short = (rest < b) & (carry ^ True)
        rest = short.choose(rest, rest - b)
        quotient = short.choose(quotient, quotient | (1 << i))
    return quotient


def mod(a: Term, b: Term) -> Term:
    """MOD: what IDIV leaves."""
    return a - b * _emit(Op.IDIV, a, b)


def _emit(op: Op, a: Term, b: Term) -> Term:
    return Term(a.target, a.target.emit(op, a.value, b.value))
