"""Overflow, and integers that are too narrow for what they hold."""

from __future__ import annotations

from ...core.dtype import int8, int16, int32, int64, uint8, uint16, uint32, uint64
from ...core.ops import Op
from .means import columns, named, spelled, text
from .mutant import Family

FAMILY = Family("overflow and index width")
add = FAMILY.add


def tried(op: str, dtype: object, more: str = "") -> str:
    """One primitive of one dtype, then with a constant, of views, then what folds or mixes it."""
    return (
        f"primitives::test_*[{op}-{dtype}] primitives::test_one_operand_is_constant[{op}-{dtype}] "
        f"views::test_operands[{op}-{dtype}] {more} fused::*"
    )


def index(type_: str) -> str:
    """The position of a load through a narrower integer."""
    return rf"\1[({type_})(\2)]"


LOADS = r"\b(in\d+)\[([^\]]+)\]"
LARGE = "views::test_large* reductions::test_sum_of_many* reductions::* views::*"
add(
    "bytes_saturate",
    "Sums of int8 stop at its range",
    spelled(Op.ADD, "({0} + {1} > 127 ? 127 : {0} + {1} < -128 ? -128 : {0} + {1})", int8),
    tried("ADD", "int8", "reductions::test_integers_wrap[int8-ADD]"),
)
add(
    "unsigned_saturate",
    "Differences of uint8 stop at 0",
    spelled(Op.SUB, "({0} < {1} ? 0 : {0} - {1})", uint8),
    tried("SUB", "uint8"),
)
add(
    "words_saturate",
    "Sums of int32 stop at its range",
    spelled(
        Op.ADD,
        "({1} > 0 && {0} > 2147483647 - {1} ? 2147483647 : {1} < 0 && {0} < -2147483647 - {1} ? "
        "-2147483647 : WAS)",
        int32,
    ),
    tried("ADD", "int32", "reductions::test_integers_wrap[int32-ADD]"),
)
add(
    "negation_saturates",
    "NEG of the least int8 is the greatest",
    spelled(Op.NEG, "({0} == -128 ? 127 : -{0})", int8),
    tried("NEG", "int8"),
)
add(
    "products_of_half",
    "Products of int16 keep fifteen bits",
    spelled(Op.MUL, "(({0} * {1}) & 0x7fff)", int16),
    tried("MUL", "int16", "reductions::test_integers_wrap[int16-MUL]"),
)
add(
    "long_products",
    "Products of int64 are of 32 bits",
    named(Op.MUL, "(({T})((U){0} * (U){1}))", (int64, int32), (uint64, uint32)),
    tried("MUL", "int64", "reductions::test_integers_wrap[int64-MUL]"),
)
add(
    "long_sums_in_double",
    "Sums of int64 are made in float64",
    spelled(Op.ADD, "(({T})((double){0} + (double){1}))", int64),
    tried("ADD", "int64", "reductions::test_integers_wrap[int64-ADD]"),
)
add(
    "products_in_float",
    "Products of int32 are made in float32",
    spelled(Op.MUL, "(({T})((float){0} * (float){1}))", int32),
    tried("MUL", "int32", "reductions::test_integers_wrap[int32-MUL]"),
)
add(
    "unsigned_compared_as_signed",
    "uint32 is compared as int32",
    named(Op.CMPLT, "((U){0} < (U){1})", (uint32, int32)),
    tried("CMPLT", "uint32"),
)
add(
    "long_compared_by_low_word",
    "int64 is compared by its low word",
    named(Op.CMPLT, "((U){0} < (U){1})", (int64, uint32)),
    tried("CMPLT", "int64"),
)
add(
    "long_differs_by_low_word",
    "CMPNE of uint64 looks at its low word",
    named(Op.CMPNE, "((U){0} != (U){1})", (uint64, uint32)),
    tried("CMPNE", "uint64", "casts::test_cast[uint64-bool]"),
)
add(
    "long_maximum_in_double",
    "MAX of int64 compares in float64",
    spelled(Op.MAX, "((double){0} > (double){1} ? {0} : {1})", int64),
    tried("MAX", "int64", "reductions::test_max_of_neighbours[int64]"),
)
add(
    "long_constants",
    "Constants of int64 are of 32 bits",
    columns(number={int64: "((int){0}ll)"}),
    "primitives::test_const[int64] primitives::test_one_operand_is_constant[*-int64] fused::*",
)
add(
    "unsigned_constants",
    "Constants of uint16 are of fifteen bits",
    columns(number={uint16: "({0} & 0x7fff)"}),
    "primitives::test_const[uint16] primitives::test_one_operand_is_constant[*-uint16] fused::*",
)
add(
    "positions_of_8_bits",
    "Positions of loads are of eight bits",
    text(LOADS, index("unsigned char"), vectors=False),
    "primitives::test_load_store[float32] views::test_single[matrix]",
)
add(
    "positions_of_15_bits",
    "Positions of loads are of sixteen bits with a sign",
    text(LOADS, index("short"), vectors=False),
    f"casts::test_cast[int16-int32] primitives::test_load_store[int16] {LARGE}",
)
add(
    "positions_of_16_bits",
    "Positions of loads are of sixteen bits",
    text(LOADS, index("unsigned short"), vectors=False),
    LARGE,
)
