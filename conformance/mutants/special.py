"""NaN, infinities and the sign of zero."""

from __future__ import annotations

from ...core.dtype import float32, float64
from ...core.ops import Op
from .means import columns, spelled
from .mutant import Family

FAMILY = Family("NaN, Inf and signed zero")
add = FAMILY.add


def tried(op: str, more: str = "") -> str:
    """One primitive of float32, alone, with a constant, of views; then programs."""
    return (
        f"primitives::test_*[{op}-float32] primitives::test_one_operand_is_constant[{op}-float32] "
        f"views::test_operands[{op}-float32] {more} fused::* gradients::*"
    )


MAX = "reductions::test_max[float32]"
add(
    "max_drops_nan",
    "MAX drops a NaN",
    spelled(Op.MAX, "({0} > {1} || {1} != {1} ? {0} : {1})", float32),
    tried("MAX", MAX),
)
add(
    "max_keeps_first_nan",
    "MAX of a NaN and a number is the second",
    spelled(Op.MAX, "({0} > {1} ? {0} : {1})", float32),
    tried("MAX", MAX),
)
add(
    "max_keeps_second_nan",
    "MAX of a number and a NaN is the first",
    spelled(Op.MAX, "({0} < {1} ? {1} : {0})", float32),
    tried("MAX", MAX),
)
add(
    "nan_equals_nan",
    "CMPNE of two NaN is false",
    spelled(Op.CMPNE, "({0} < {1} || {0} > {1} || ({0} == {0}) != ({1} == {1}))", float32),
    tried("CMPNE", "casts::*"),
)
add("nan_is_less", "CMPLT with a NaN is true", spelled(Op.CMPLT, "(!({0} >= {1}))", float32), tried("CMPLT"))
add(
    "less_or_equal",
    "CMPLT of equal numbers is true",
    spelled(Op.CMPLT, "({0} <= {1})", float32),
    tried("CMPLT"),
)
add("negates_by_subtraction", "NEG is 0 - x", spelled(Op.NEG, "(0.0f - {0})", float32), tried("NEG"))
add(
    "negates_by_product",
    "NEG of a NaN leaves its sign",
    spelled(Op.NEG, "({0} != {0} ? {0} : -{0})", float32),
    tried("NEG"),
)
add(
    "where_blends",
    "WHERE is a weighted sum of both",
    spelled(Op.WHERE, "({0} * {1} + !{0} * {2})", float32),
    "primitives::test_where[float32] primitives::test_const[float32] "
    "views::test_operands[WHERE-float32] fused::*",
)
add(
    "reciprocal_of_zero",
    "RECIP of -0 is +Inf",
    spelled(Op.RECIP, "({0} == 0 ? 1.0f / 0.0f : WAS)", float32),
    tried("RECIP"),
)
add(
    "root_of_negative",
    "SQRT of a negative number is 0",
    spelled(Op.SQRT, "({0} < 0 ? 0.0f : WAS)", float32),
    tried("SQRT"),
)
add("root_of_negative_zero", "SQRT of -0 is +0", spelled(Op.SQRT, "(WAS + 0.0f)", float32), tried("SQRT"))
add("sums_lose_negative_zero", "-0 + -0 is +0", spelled(Op.ADD, "(WAS + 0.0f)", float32), tried("ADD"))
add(
    "zero_times_anything",
    "0 times Inf or NaN is 0",
    spelled(Op.MUL, "({0} == 0 || {1} == 0 ? 0.0f : WAS)", float32),
    tried("MUL"),
)
add(
    "no_infinity",
    "The constant Inf is the greatest number",
    columns(infinity={float32: "3.4028234e38f"}),
    "primitives::test_const[float32] reductions::test_max[float32] "
    "primitives::test_one_operand_is_constant* reductions::test_nothing* fused::*",
)
add(
    "nan_is_zero",
    "The constant NaN is 0",
    columns(nan={float32: "0.0f"}),
    "primitives::test_const_nan[float32] primitives::test_unary[LOG2-float32] "
    "primitives::test_unary[SIN-float32] fused::* gradients::*",
)
add(
    "no_double_infinity",
    "The constant Inf of float64 is the greatest number",
    columns(infinity={float64: "1.7976931348623157e308"}),
    "primitives::test_const[float64] reductions::test_max[float64] primitives::test_one_operand_is_constant*",
)
add(
    "overflow_stops",
    "Products that overflow are the greatest number",
    spelled(Op.MUL, "(WAS > 3.4028234e38f ? 3.4028234e38f : WAS)", float32),
    tried("MUL"),
)
