"""The arithmetic, compare and bit primitives, each from a few others of the floor (``floor``)."""

from __future__ import annotations

from ..dtype import DType, Kind, bool_, float32, int32
from ..errors import DeviceError
from ..ops import Op
from .term import Term, bits_dtype, pattern, sign_bit


def sub(a: Term, b: Term) -> Term:
    """SUB: a + (-b)."""
    return a + -b


def neg(a: Term) -> Term:
    """NEG: the sign bit of a float flipped; of an integer, times -1."""
    if a.dtype.is_float:
        if a.target.has(Op.XOR):
            return (a.bits ^ sign_bit(a.dtype)).read_as(a.dtype)
        return (a.bits + sign_bit(a.dtype)).read_as(a.dtype)
    return a * a.dtype.cast_scalar(-1)


def maximum(a: Term, b: Term) -> Term:
    """MAX: b where it is greater or NaN, else a, NaN or not."""
    chosen = (a < b).choose(b, a)
    return b.differs(b).choose(b, chosen) if a.dtype.is_float else chosen


def cmpne(a: Term, b: Term) -> Term:
    """CMPNE: less or greater, or NaN by its bits."""
    if not a.dtype.is_float:
        return (a < b) | (a > b)
    if a.value is b.value:
        return _is_nan(a)
    return (a < b) | (a > b) | _is_nan(a) | _is_nan(b)


def _is_nan(a: Term) -> Term:
    return (a.bits & (sign_bit(a.dtype) - 1)) > pattern(float("inf"), a.dtype)


def where(c: Term, a: Term, b: Term) -> Term:
    """WHERE: as bits, b and once or not at all what a differs from it by, in wrapping arithmetic."""
    x, y = a.bits, b.bits
    return (y + c.to(x.dtype) * (x - y)).read_as(a.dtype)


def and_(a: Term, b: Term) -> Term:
    """AND, from OR: a + b is (a or b) + (a and b)."""
    if not a.target.has(Op.OR):
        raise DeviceError(
            f"{a.target.spec.name} lacks AND and OR; one of them is needed: "
            "add it to the Spec's native primitives and to the dialect"
        )
    return a + b - (a | b)


def or_(a: Term, b: Term) -> Term:
    """OR, from AND."""
    return a + b - (a & b)


def xor(a: Term, b: Term) -> Term:
    """XOR, from OR and AND."""
    return (a | b) - (a & b)


# ------------------------------------------------------------------------------------------------ conditions


def any_of(a: Term, b: Term) -> Term:
    """OR, ADD and MAX of bools, as integers where there is no OR."""
    if a.target.has(Op.OR):
        return a | b
    return (a.to(int32) + b.to(int32)).to(bool_)


def all_of(a: Term, b: Term) -> Term:
    """AND and MUL of bools, as integers where there is no AND."""
    if a.target.has(Op.AND):
        return a & b
    return (a.to(int32) * b.to(int32)).to(bool_)


def unequal(a: Term, b: Term) -> Term:
    """XOR and CMPNE of bools: one is less than the other."""
    if a.target.has(Op.XOR):
        return a ^ b
    return (a < b) | (b < a)


def choice(c: Term, a: Term, b: Term) -> Term:
    """WHERE of bools."""
    return (c & a) | ((c < True) & b)


# ------------------------------------------------------------------------------------------------ shifts


def shl(a: Term, b: Term) -> Term:
    """SHL: times a power of two."""
    bits = bits_dtype(a.dtype)
    return (a.bits * _power_of_two(b, bits)).read_as(a.dtype)


def _power_of_two(b: Term, dtype: DType) -> Term:
    if b.known is not None:
        return b.target.number(1 << b.known, dtype)
    return float_power(b, 1).to(dtype)


def float_power(b: Term, sign: int) -> Term:
    """2^b or 2^-b as a float32: a number that is all exponent."""
    if b.known is not None:
        return b.target.number(2.0 ** (sign * b.known), float32)
    unit = b.target.number(sign << float32.mantissa, int32)
    return (b.to(int32) * unit + pattern(1.0, float32)).read_as(float32)


def shr(a: Term, b: Term) -> Term:
    """SHR: over a power of two; a negative number through its complement, which rounds down.

    Without IDIV, 16 bits at a time: such a piece is a float32, over a power of two it is one as well, and
    what is cut off where each becomes an integer are the bits that are shifted out.
    """
    bits = bits_dtype(a.dtype)
    if a.dtype.kind is not Kind.UINT:
        negative = a < 0
        size = negative.choose(a.number(-1) - a, a)
        if a.target.computes(bits):
            shifted = (size.bits >> b.to(bits)).read_as(a.dtype)
        else:
            shifted = _by_pieces(size, b)
        return negative.choose(a.number(-1) - shifted, shifted)
    if a.target.has(Op.IDIV):
        return a.target.emit(Op.IDIV, a, _power_of_two(b, bits))
    return _by_pieces(a, b)


def _by_pieces(a: Term, b: Term) -> Term:
    """A number that is not negative, shifted right."""
    scale = float_power(b, -1)
    total = a.number(0)
    for low in range(0, a.dtype.bits, 16):
        piece = a & (0xFFFF << low) % (1 << a.dtype.bits)
        total = total + (piece.to(float32) * scale).to(a.dtype)
    return total
