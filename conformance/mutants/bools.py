"""Bools that are stored as something else than 0 or 1."""

from __future__ import annotations

from ...core.dtype import bool_, int8, uint8
from ...core.ops import Op
from ...core.value import Value, cast, number, primitive
from .means import each_value, spelled, text
from .mutant import Family

FAMILY = Family("bool stores")
add = FAMILY.add
ALL = "primitives::*bool* views::* reductions::test_bools* fused::*"


def low_bit(v: Value, srcs: tuple[Value, ...]) -> Value | None:
    """A cast of an integer to bool is its last bit."""
    if v.op is not Op.CAST or v.dtype is not bool_ or srcs[0].dtype not in (int8, uint8):
        return None
    return cast(primitive(Op.AND, srcs[0], number(1, srcs[0].dtype)), bool_)


add(
    "true_is_2",
    "CMPLT stores 2 for true",
    spelled(Op.CMPLT, "(WAS * 2)"),
    "primitives::test_binary[CMPLT-float32] "
    "primitives::test_one_operand_is_constant[CMPLT-float32] "
    "views::test_operands[CMPLT-float32]",
)
add(
    "true_is_255",
    "CMPNE stores 255 for true",
    spelled(Op.CMPNE, "(WAS ? 255 : 0)"),
    "primitives::test_binary[CMPNE-float32] casts::test_cast[float32-bool] views::test_operands[CMPNE-int32]",
)
add(
    "masks_are_stored",
    "A vector of bools is stored as its mask",
    text(r"= \(-", "= ("),
    "primitives::test_binary[CMPLT-float32] casts::test_cast[float32-bool] "
    "views::test_operands[CMPLT-float32] primitives::*",
)
add(
    "or_adds",
    "OR of bools adds them",
    spelled(Op.OR, "({0} + {1})", bool_),
    "primitives::test_binary[OR-bool] primitives::test_one_operand_is_constant[OR-bool] "
    "primitives::test_binary[ADD-bool] reductions::test_bools[ADD]",
)
add(
    "xor_subtracts",
    "XOR of bools subtracts them",
    spelled(Op.XOR, "({0} - {1})", bool_),
    "primitives::test_binary[XOR-bool] primitives::test_binary[CMPNE-bool] "
    "primitives::test_one_operand_is_constant[XOR-bool] primitives::test_sizes[bool]",
)
add(
    "and_is_first",
    "AND of bools is the first",
    spelled(Op.AND, "({0})", bool_),
    "primitives::test_binary[AND-bool] primitives::test_binary[MUL-bool] "
    "primitives::test_one_operand_is_constant[AND-bool] reductions::test_bools[MUL]",
)
add(
    "last_bit_is_truth",
    "CAST of an 8-bit integer to bool keeps its last bit",
    each_value(low_bit),
    "casts::test_cast[int8-bool] casts::test_cast[uint8-bool] casts::test_views[int8] fused::*",
)
add(
    "bytes_are_bools",
    "CAST to bool of a byte stores the byte",
    text(r"\((in\d+\[[^\]]*\]) != 0\)", r"\1", vectors=False),
    "casts::test_cast[uint8-bool] casts::test_views[uint8] fused::*",
)
add(
    "less_or_equal_of_bools",
    "CMPLT of equal bools is true",
    spelled(Op.CMPLT, "(!{0} | {1})", bool_),
    "primitives::test_binary[CMPLT-bool] primitives::test_one_operand_is_constant[CMPLT-bool] fused::*",
)
add(
    "any_is_the_last",
    "The fold of any takes the last",
    spelled(Op.OR, "({1})", bool_),
    "reductions::test_bools[ADD] reductions::test_bools[MAX] primitives::test_binary[OR-bool]",
)
