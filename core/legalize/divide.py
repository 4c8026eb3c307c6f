"""IDIV and MOD: by a constant through the upper word of a product, else by estimates in floats."""

from __future__ import annotations

from ..dtype import DType, Kind, float32, uint32, uint64
from ..ops import Op
from .term import Term, bits_dtype, high_product


def idiv(a: Term, b: Term) -> Term:
    """IDIV: of the sizes, as unsigned numbers, with the sign put back."""
    if a.dtype.kind is Kind.UINT:
        return by_constant(a, b.known) if b.known else _estimated(a, b)
    if b.known:
        quotient = by_constant(_size(a), abs(b.known)).read_as(a.dtype)
        return ((a < 0) if b.known > 0 else (a.number(0) < a)).choose(-quotient, quotient)
    quotient = _estimated(_size(a), _size(b)).read_as(a.dtype)
    return ((a < 0) ^ (b < 0)).choose(-quotient, quotient)


def mod(a: Term, b: Term) -> Term:
    """MOD: what IDIV leaves."""
    return a - b * a.target.emit(Op.IDIV, a, b)


def _size(a: Term) -> Term:
    """|a| as an unsigned number, of the least value too."""
    return (a < 0).choose(-a, a).read_as(bits_dtype(a.dtype))


def magic(divisor: int, bits: int) -> tuple[int, int, bool]:
    """How to divide unsigned numbers of ``bits`` bits by a constant.

    With (m, s, wide) the quotient of n is the upper word of n·m shifted right by s; where ``wide``, m has one
    bit more than a word, and only its low word is given.

    Granlund and Montgomery, "Division by Invariant Integers using Multiplication" (PLDI 1994), theorem 4.2:
    any m with 2^(bits+s) ≤ m·divisor ≤ 2^(bits+s) + 2^s will do; the one of the fewest bits is taken.

    Args:
        divisor: greater than 1, and no power of two.
        bits: of a word.
    """
    shift = (divisor - 1).bit_length()
    low = (1 << (bits + shift)) // divisor
    high = ((1 << (bits + shift)) + (1 << shift)) // divisor
    while shift and low // 2 < high // 2:
        low, high, shift = low // 2, high // 2, shift - 1
    return high & ((1 << bits) - 1), shift, high >> bits == 1


def by_constant(a: Term, divisor: int) -> Term:
    """An unsigned number over a positive constant."""
    bits = a.dtype.bits
    if divisor & (divisor - 1) == 0:
        return a >> (divisor.bit_length() - 1)
    m, shift, wide = magic(divisor, bits)
    if bits < 32:  # a word holds the whole product
        product = a.to(uint32)
        whole = ((product * m) >> bits) + (product if wide else 0)
        return (whole >> shift).to(a.dtype)
    upper = _upper_word(a, a.number(m))
    if not wide:
        return upper >> shift
    return (((a - upper) >> 1) + upper) >> (shift - 1)


def _upper_word(a: Term, b: Term) -> Term:
    wide: DType = uint64
    if a.dtype is uint32 and a.target.computes(wide):
        return ((a.to(wide) * b.to(wide)) >> 32).to(uint32)
    return high_product(a, b)


_LESS = 1 - 2.0**-20
"""Keeps an estimate below the quotient, whatever RECIP (2.5 ulp), two casts and two products do to it."""


def _estimated(a: Term, b: Term) -> Term:
    """Unsigned a / b: estimates of 19 bits each, never too great, until at most one divisor is left."""
    if a.dtype.bits < 32:
        return _estimated(a.to(uint32), b.to(uint32)).to(a.dtype)
    inverse = b.to(float32).recip() * _LESS
    quotient, rest = a.number(0), a
    for _ in range(-(-a.dtype.bits // 19)):
        estimate = (rest.to(float32) * inverse).to(a.dtype)
        quotient, rest = quotient + estimate, rest - estimate * b
    return (rest < b).choose(quotient, quotient + 1)
