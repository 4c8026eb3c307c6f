"""Subnormals: flushed against the device's word, or kept against it."""

from __future__ import annotations

from ...core.dtype import float32, float64
from ...core.ops import Op
from ...core.value import Value, cast, number, primitive, where
from .casts import casting
from .means import claims, each_value, spelled
from .mutant import Family

FAMILY = Family("subnormals")
add = FAMILY.add
LEAST = "1.17549435e-38f"


def flushing(op: Op) -> str:
    """A result below the normal range is a zero."""
    return f"(WAS < {LEAST} && WAS > -{LEAST} ? WAS * 0.0f : WAS)"


def tried(op: str, more: str = "") -> str:
    """One primitive alone, then of views."""
    return (
        f"primitives::test_subnormals[{op}-float32] primitives::test_*[{op}-float32] "
        f"primitives::test_one_operand_is_constant[{op}-float32] "
        f"views::test_operands[{op}-float32] {more} fused::*"
    )


add(
    "flushes_products",
    "Products of float32 are flushed",
    spelled(Op.MUL, flushing(Op.MUL), float32),
    tried("MUL"),
)
add("flushes_sums", "Sums of float32 are flushed", spelled(Op.ADD, flushing(Op.ADD), float32), tried("ADD"))
add(
    "flushes_differences",
    "Differences of float32 are flushed",
    spelled(Op.SUB, flushing(Op.SUB), float32),
    tried("SUB"),
)
add(
    "flushes_negation",
    "NEG flushes float32",
    spelled(Op.NEG, "({0} < 1.17549435e-38f && {0} > -1.17549435e-38f ? WAS * 0.0f : WAS)", float32),
    tried("NEG"),
)
add(
    "flushes_maxima",
    "MAX flushes float32",
    spelled(Op.MAX, flushing(Op.MAX), float32),
    tried("MAX", "reductions::test_max[float32]"),
)
add(
    "compares_flushed",
    "CMPLT takes subnormals of float32 for zeros",
    spelled(Op.CMPLT, f"({{0}} - {{1}} < 0 && ({{0}} < -{LEAST} || {{1}} > {LEAST}))", float32),
    tried("CMPLT"),
)
add(
    "reciprocals_flushed",
    "RECIP of float32 is flushed",
    spelled(Op.RECIP, flushing(Op.RECIP), float32),
    tried("RECIP", "primitives::test_unary[RECIP-float32] views::test_operands[RECIP-float32]"),
)
add(
    "roots_flushed",
    "SQRT takes a subnormal of float32 for zero",
    spelled(Op.SQRT, f"({{0}} < {LEAST} ? {{0}} * 0.0f : WAS)", float32),
    tried("SQRT", "views::*SQRT*"),
)
add(
    "double_flushed",
    "Products of float64 are flushed",
    spelled(
        Op.MUL, "(WAS < 2.2250738585072014e-308 && WAS > -2.2250738585072014e-308 ? WAS * 0.0 : WAS)", float64
    ),
    "primitives::test_subnormals[MUL-float64] primitives::test_binary[MUL-float64] "
    "primitives::test_one_operand_is_constant[MUL-float64] fused::*",
)


def flushed(x: Value) -> Value:
    """float64 to float32, or to zero below the normal range."""
    least = number(2.0**-126, float64)
    small = primitive(Op.AND, primitive(Op.CMPLT, x, least), primitive(Op.CMPLT, primitive(Op.NEG, x), least))
    return where(small, number(0.0, float32), cast(x, float32))


add(
    "casts_flush",
    "Casts from float64 to float32 are flushed",
    each_value(casting(float64, float32, flushed)),
    "casts::test_cast[float64-float32] casts::test_views[float64] fused::*",
)
add(
    "deep_subnormals_lost",
    "Products of float32 below a quarter of the least normal number are zeros",
    spelled(Op.MUL, "(WAS < 2.9e-39f && WAS > -2.9e-39f ? WAS * 0.0f : WAS)", float32),
    tried("MUL"),
)
add(
    "double_differences_flushed",
    "Subnormal differences of float64 are flushed",
    spelled(
        Op.SUB, "(WAS < 2.2250738585072014e-308 && WAS > -2.2250738585072014e-308 ? WAS * 0.0 : WAS)", float64
    ),
    "primitives::test_subnormals[SUB-float64] primitives::test_binary[SUB-float64] "
    "primitives::test_one_operand_is_constant[SUB-float64] fused::*",
)
add(
    "claims_to_flush",
    "It says that it flushes subnormals, and keeps them",
    claims(flushes_subnormals=True),
    tried("ADD"),
)
