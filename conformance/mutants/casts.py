"""Casts and rounding."""

from __future__ import annotations

from collections.abc import Callable

from ...core.dtype import (
    DType,
    bool_,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from ...core.ops import Op
from ...core.value import Number, Value, bitcast, cast, number, primitive, where
from .means import ValueRule, each_value, spelled
from .mutant import Family

FAMILY = Family("casts and rounding")
add = FAMILY.add
SECOND = "fused::test_random* reductions::test_max* primitives::*"


def casting(source: DType, target: DType, other: Callable[[Value], Value]) -> ValueRule:
    """A cast of one pair is something else."""

    def rule(v: Value, srcs: tuple[Value, ...]) -> Value | None:
        return other(srcs[0]) if v.op is Op.CAST and (srcs[0].dtype, v.dtype) == (source, target) else None

    return rule


def through(middle: DType, target: DType) -> Callable[[Value], Value]:
    """By way of a third dtype."""
    return lambda x: cast(cast(x, middle), target)


def toward_zero(x: Value) -> Value:
    """float64 to float32, less the bits that are too many."""
    kept = primitive(Op.AND, bitcast(x, uint64), number(-1 << 29 & (1 << 64) - 1, uint64))
    return cast(bitcast(kept, float64), float32)


def constant(old: int, new: int) -> ValueRule:
    """A constant of what casts of narrow floats are made of is another."""

    def rule(v: Value, srcs: tuple[Value, ...]) -> Value | None:
        is_it = isinstance(v.arg, Number) and v.dtype.is_int and v.arg.value == old
        return number(new, v.dtype) if is_it else None

    return rule


def is_not_zero_by_order(x: Value) -> Value:
    """x < 0 or 0 < x, which no NaN is."""
    zero = number(0, x.dtype)
    return primitive(Op.OR, primitive(Op.CMPLT, x, zero), primitive(Op.CMPLT, zero, x))


def quiet(v: Value, srcs: tuple[Value, ...]) -> Value | None:
    """Bits that are a NaN are the NaN."""
    if v.op is not Op.BITCAST or v.dtype is not float32 or isinstance(srcs[0].arg, Number):
        return None
    x = bitcast(srcs[0], float32)
    return where(primitive(Op.CMPNE, x, x), number(float("nan"), float32), x)


def pair(a: object, b: object, then: str = "") -> str:
    """The case of one pair first, then what else may show it."""
    return f"casts::test_cast[{a}-{b}] casts::test_views[{a}] {then} {SECOND} casts::*"


add(
    "cast_to_nearest",
    "CAST to int32 rounds to nearest",
    spelled(Op.CAST, "(({T})({0} + ({0} < 0 ? -0.5 : 0.5)))", int32),
    pair("float32", "int32", "fused::test_random[mixed-*"),
)
add(
    "cast_rounds_down",
    "CAST to int32 rounds down",
    spelled(Op.CAST, "(WAS - (WAS > {0}))", int32),
    pair("float32", "int32", "fused::test_random[mixed-*"),
)
add(
    "cast_saturates",
    "CAST of a wider integer to int8 stops at its range",
    spelled(Op.CAST, "({0} > 127 ? 127 : {0} < -128 ? -128 : WAS)", int8),
    pair("int32", "int8", "fused::test_random[int8-*"),
)
add(
    "sign_lost",
    "int8 is widened without its sign",
    each_value(casting(int8, int32, through(uint8, int32))),
    pair("int8", "int32", "fused::test_random[int8-*"),
)
add(
    "sign_invented",
    "uint8 is widened with a sign",
    each_value(casting(uint8, int32, through(int8, int32))),
    pair("uint8", "int32", "fused::test_random[mixed-*"),
)
add(
    "words_through_float64",
    "int64 becomes float32 by way of float64, rounded twice",
    each_value(casting(int64, float32, through(float64, float32))),
    pair("int64", "float32"),
)
add(
    "unsigned_words_as_signed",
    "uint64 becomes float64 as int64",
    each_value(casting(uint64, float64, through(int64, float64))),
    pair("uint64", "float64"),
)
add(
    "double_toward_zero",
    "float64 becomes float32 toward zero",
    each_value(casting(float64, float32, toward_zero)),
    pair("float64", "float32", "fused::test_random[float64-*"),
)
add(
    "half_rounds_half_up",
    "Casts to bfloat16 round halves away from even",
    each_value(constant(0x7FFF, 0x8000)),
    pair(
        "float32", "bfloat16", "primitives::test_binary[ADD-bfloat16] primitives::test_binary[MUL-bfloat16]"
    ),
)
add(
    "half_has_no_infinity",
    "The infinity of float16 is its greatest number",
    each_value(constant(0x7C00, 0x7BFF)),
    pair("float32", "float16", "primitives::test_binary[ADD-float16] primitives::test_binary[MUL-float16]"),
)
add(
    "small_is_false",
    "CAST of float32 to bool goes by way of int32",
    each_value(
        lambda v, s: (
            primitive(Op.CMPNE, cast(s[0], int32), number(0, int32))
            if v.op is Op.CAST and v.dtype is bool_ and s[0].dtype is float32
            else None
        )
    ),
    pair("float32", "bool", "fused::test_random[float32-bool-*"),
)
add(
    "nan_is_false",
    "CAST of NaN to bool is false",
    each_value(
        lambda v, s: (
            is_not_zero_by_order(s[0])
            if v.op is Op.CAST and v.dtype is bool_ and s[0].dtype is float32
            else None
        )
    ),
    pair("float32", "bool"),
)
add(
    "true_is_minus_one",
    "CAST of true to int32 is -1",
    each_value(casting(bool_, int32, lambda x: primitive(Op.NEG, cast(x, int32)))),
    pair("bool", "int32", "fused::test_random[int32-*"),
)
add(
    "bits_lose_payload",
    "BITCAST to float32 gives every NaN the same payload",
    each_value(quiet),
    "casts::test_bitcast[int32-float32] casts::test_bitcast[uint32-float32] casts::test_bitcast_views[uint32]"
    f" primitives::test_load_store* {SECOND}",
)
add(
    "narrowed_by_a_bit",
    "CAST to int16 keeps fifteen bits",
    each_value(casting(int32, int16, lambda x: cast(primitive(Op.AND, x, number(0x7FFF, int32)), int16))),
    pair("int32", "int16"),
)
add(
    "wide_unsigned_stops",
    "CAST of float32 to uint32 goes by way of int32",
    each_value(casting(float32, uint32, through(int32, uint32))),
    pair("float32", "uint32"),
)
add(
    "unsigned_of_negative",
    "CAST of int16 to uint16 keeps the magnitude",
    each_value(
        casting(
            int16,
            uint16,
            lambda x: cast(where(primitive(Op.CMPLT, x, number(0, int16)), primitive(Op.NEG, x), x), uint16),
        )
    ),
    pair("int16", "uint16"),
)
