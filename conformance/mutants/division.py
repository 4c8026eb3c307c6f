"""Integer division, remainders and shifts."""

from __future__ import annotations

from ...core.dtype import int8, int16, int32, int64, uint8, uint32, uint64
from ...core.ops import Op
from ...core.value import Number, Value, number, primitive
from .means import each_value, named, spelled
from .mutant import Family

FAMILY = Family("integer division and shifts")
add = FAMILY.add
_SIGNED = (int8, int16, int32, int64)


def known(v: Value) -> int | None:
    """A constant integer operand."""
    return int(v.arg.value) if isinstance(v.arg, Number) and v.dtype.is_int else None


def divides_by_shift(v: Value, srcs: tuple[Value, ...]) -> Value | None:
    """x / 2^k as x >> k."""
    k = known(srcs[1]) if v.op is Op.IDIV else None
    if k is None or k < 2 or k & (k - 1):
        return None
    return primitive(Op.SHR, srcs[0], number(k.bit_length() - 1, v.dtype))


def remainder_by_mask(v: Value, srcs: tuple[Value, ...]) -> Value | None:
    """x % k as x & (k - 1)."""
    k = known(srcs[1]) if v.op is Op.MOD else None
    return primitive(Op.AND, srcs[0], number(k - 1, v.dtype)) if k is not None and k > 1 else None


def multiplies_by_shift(v: Value, srcs: tuple[Value, ...]) -> Value | None:
    """x · k as x << the bits of k."""
    if v.op is not Op.MUL:
        return None
    for k, x in ((known(srcs[1]), srcs[0]), (known(srcs[0]), srcs[1])):
        if k is not None and k > 2:
            return primitive(Op.SHL, x, number(k.bit_length() - 1, v.dtype))
    return None


IDIV = "primitives::test_binary[IDIV-* primitives::test_one_operand_is_constant[IDIV-* views::*IDIV*"
MOD = "primitives::test_binary[MOD-* primitives::test_one_operand_is_constant[MOD-* views::*MOD*"
SHL = "primitives::test_binary[SHL-* primitives::test_one_operand_is_constant[SHL-* views::*SHL*"
SHR = "primitives::test_binary[SHR-* primitives::test_one_operand_is_constant[SHR-* views::*SHR*"


def of(dtype: object, patterns: str) -> str:
    """The same cases of one dtype first."""
    return f"{patterns.replace('-*', f'-{dtype}]')} {patterns}"


add(
    "floor_division",
    "IDIV rounds down",
    spelled(Op.IDIV, "(WAS - (({0} % {1} != 0) && (({0} < 0) != ({1} < 0))))", *_SIGNED),
    of(int32, IDIV),
)
add(
    "floored_remainder",
    "MOD has the divisor's sign",
    spelled(Op.MOD, "(WAS + ((WAS != 0 && ((WAS < 0) != ({1} < 0))) ? {1} : 0))", *_SIGNED),
    of(int32, MOD),
)
add(
    "nearest_division", "IDIV rounds to nearest", spelled(Op.IDIV, "(({0} + {1} / 2) / {1})"), of(int32, IDIV)
)
add(
    "float_division",
    "int32 is divided in float32",
    spelled(Op.IDIV, "(({T})((float){0} / (float){1}))", int32),
    of(int32, IDIV),
)
add(
    "remainder_of_magnitude",
    "MOD of a negative number is that of its magnitude",
    spelled(Op.MOD, "(({0} < 0 ? -{0} : {0}) % {1})", *_SIGNED),
    of(int32, MOD),
)
add(
    "logical_shift",
    "SHR of a signed number shifts zeros in",
    named(Op.SHR, "(({T})((U){0} >> {1}))", (int32, uint32), (int64, uint64), (int8, uint8)),
    of(int32, SHR),
)
add(
    "shift_rounds_to_zero",
    "SHR of a signed number divides by a power of two",
    spelled(Op.SHR, "({0} / (({T})1 << {1}))", int8, int16, int32),
    of(int32, SHR),
)
add(
    "shift_of_a_word",
    "64-bit shifts look at five bits of the amount",
    spelled(Op.SHL, "({0} << ({1} & 31))", int64, uint64),
    of(int64, SHL),
)
add(
    "shift_of_a_byte",
    "SHR of a byte shifts by seven at most, less one",
    spelled(Op.SHR, "({0} >> ({1} == 7 ? 6 : {1}))", int8, uint8),
    of(uint8, SHR),
)
add(
    "signed_division_of_bytes",
    "uint8 is divided as int8",
    named(Op.IDIV, "((U){0} / (U){1})", (uint8, int8)),
    of(uint8, IDIV),
)
add(
    "signed_remainder_of_words",
    "uint64 is taken for int64 by MOD",
    named(Op.MOD, "({1} == ({T})-1 ? {0} : ({T})((U){0} % (U){1}))", (uint64, int64)),
    of(uint64, MOD),
)
add(
    "divides_by_shift",
    "IDIV by a constant power of two is a shift",
    each_value(divides_by_shift),
    f"{of(int32, IDIV)} fused::test_integer_constants*",
)
add(
    "remainder_by_mask",
    "MOD by a constant is a mask",
    each_value(remainder_by_mask),
    f"{of(int32, MOD)} fused::test_integer_constants*",
)
add(
    "multiplies_by_shift",
    "MUL by a constant is a shift by its highest bit",
    each_value(multiplies_by_shift),
    "primitives::test_one_operand_is_constant[MUL-int32] fused::test_integer_constants*",
)
