"""Accumulators that are too narrow, and fast-math."""

from __future__ import annotations

import re
from dataclasses import replace

from ...core.device import Device
from ...core.device import Extra as Offer
from ...core.dialect import CLike, Dialect
from ...core.dtype import float32, float64, int32, int64, uint32
from ...core.loops import Body, Stmt, Update
from ...core.ops import Op
from ...core.value import Extra, Value, bitcast, cast, number, primitive
from .means import Misprinting, each, language, spelled, together
from .mutant import Family, Spoil

FAMILY = Family("narrow accumulation and fast-math")
add = FAMILY.add
SUM = (
    "reductions::test_sum_of_many[float32-*] reductions::test_sum[float32] "
    "reductions::test_matmul[float32] reductions::test_sum_of_integers[float32]"
)
WIDE = (
    "reductions::test_sum[float64] reductions::test_sum_of_integers[float64] "
    "reductions::test_matmul[float64] reductions::test_sum_of_many[float64-*]"
)
HALF = (
    "reductions::test_sum_of_many[bfloat16-*] reductions::test_sum[bfloat16] "
    "reductions::test_sum_of_many[float16-*] reductions::test_sum[float16] "
    "reductions::test_matmul[float16] reductions::test_matmul[bfloat16]"
)
FOLDS = re.compile(r"^( *)(?:if \((.*?)\) )?(acc\w*) = (\(\3 \+ .*\));$", re.MULTILINE)


def rounded(type_: str, function: str) -> Spoil:
    """Sums that are kept in ``type_`` pass through a function after each addition."""

    def printed(text: str) -> str:
        kept = set(re.findall(rf"^ *{type_} (acc\w*) =", text, re.MULTILINE))

        def narrow(m: re.Match[str]) -> str:
            if m[3] not in kept:
                return m[0]
            when = f"if ({m[2]}) " if m[2] else ""
            return f"{m[1]}{when}{m[3]} = narrowed{m[4]};"

        return FOLDS.sub(narrow, text)

    def change(c: CLike) -> Dialect:
        return Misprinting(replace(c, prelude=f"{c.prelude.rstrip()}\n{function}\n"), print_as=printed)

    def without_fma(device: Device) -> None:
        device.spec = replace(device.spec, extras=device.spec.extras - {Offer.FMA})

    return together(language(change, vectors=False), without_fma)


def bits(keep: str) -> str:
    """A function that keeps some bits of a float."""
    return (
        "static inline float narrowed(float x) { union { float f; unsigned int u; } v; v.f = x; "
        f"v.u &= {keep}; return v.f; }}"
    )


def operands_of(mask: int) -> Spoil:
    """Factors of a sum of products lose bits, as in a tensor core's narrow mode."""

    def less(x: Value) -> Value:
        return bitcast(primitive(Op.AND, bitcast(x, uint32), number(mask, uint32)), float32)

    def rule(s: Stmt) -> Body | None:
        if not (isinstance(s, Update) and s.op is Op.ADD and s.value.op is Op.MUL):
            return None
        a, b = s.value.srcs
        if a.dtype is not float32 or a.lanes > 1 or b.lanes > 1:
            return None
        return (replace(s, value=primitive(Op.MUL, less(a), less(b))),)

    return each(rule, vectors=False)


def products_rounded(s: Stmt) -> Body | None:
    """Products lose their last eight bits before they are added."""
    if (
        isinstance(s, Update)
        and s.op is Op.ADD
        and s.value.op is Op.MUL
        and s.value.dtype is float32
        and s.value.lanes == 1
    ):
        kept = primitive(Op.AND, bitcast(s.value, uint32), number(0xFFFFFF00, uint32))
        return (replace(s, value=bitcast(kept, float32)),)
    return None


def negligible(s: Stmt) -> Body | None:
    """float64 terms are rounded to float32 before they are added."""
    if (
        isinstance(s, Update)
        and s.op is Op.ADD
        and s.value.dtype is float64
        and s.value.lanes == 1
        and s.value.op is not Extra.FOLD
    ):
        return (replace(s, value=cast(cast(s.value, float32), float64)),)
    return None


def words_halved(s: Stmt) -> Body | None:
    """int64 terms pass through int32 before they are added."""
    if isinstance(s, Update) and s.op is Op.ADD and s.value.dtype is int64:
        return (replace(s, value=cast(cast(s.value, int32), int64)),)
    return None


def op(name: str, more: str = "") -> str:
    """One primitive of float32 alone, with a constant, of views."""
    return (
        f"primitives::test_*[{name}-float32] primitives::test_one_operand_is_constant[{name}-float32] "
        f"views::test_operands[{name}-float32] {more} fused::* gradients::*"
    )


add("sums_of_16_bits", "float32 sums keep sixteen bits", rounded("float", bits("0xffff0000u")), SUM)
add("sums_of_24_bits", "float32 sums lose eight bits", rounded("float", bits("0xffffff00u")), SUM)
add("sums_lose_two_bits", "float32 sums lose two bits", rounded("float", bits("0xfffffffcu")), SUM)
add(
    "doubles_in_float",
    "float64 sums are kept in float32",
    rounded("double", "static inline double narrowed(double x) { return (float)x; }"),
    WIDE,
)
add(
    "long_sums_of_32_bits",
    "int64 terms are added as int32",
    each(words_halved, vectors=False),
    "reductions::test_integers_wrap[int64-ADD] reductions::test_integer_sums_of_columns[int64]",
)
add(
    "integer_sums_in_float",
    "int32 sums are kept in float32",
    rounded("int32_t", "static inline int32_t narrowed(int32_t x) { return (int32_t)(float)x; }"),
    "reductions::test_integers_wrap[int32-ADD] reductions::test_integer_sums_of_columns[int32]",
)
add("doubles_added_as_floats", "float64 terms are added as float32", each(negligible, vectors=False), WIDE)
add(
    "factors_of_8_bits",
    "Factors of a sum of products keep eight bits",
    operands_of(0xFFFF0000),
    "reductions::test_matmul[float32] fused::test_named*",
)
add(
    "factors_of_11_bits",
    "Factors of a sum of products keep eleven bits",
    operands_of(0xFFFFE000),
    "reductions::test_matmul[float32] fused::test_named*",
)
add(
    "products_of_16_bits",
    "Products lose eight bits before they are added",
    each(products_rounded, vectors=False),
    "reductions::test_matmul[float32] fused::test_named*",
)
add(
    "fast_math",
    "The compiler may take liberties with floats",
    language(lambda c: replace(c, prelude=f'#pragma GCC optimize ("fast-math")\n{c.prelude}'), vectors=False),
    "primitives::test_binary[CMPNE-float32] reductions::test_max[float32] "
    "primitives::test_unary[NEG-float32] primitives::* fused::*",
)
add(
    "quick_reciprocal",
    "RECIP is some four units off",
    spelled(Op.RECIP, "(WAS * 1.0000005f)", float32),
    op("RECIP"),
)
add("quick_root", "SQRT is some five units off", spelled(Op.SQRT, "(WAS * 1.0000006f)", float32), op("SQRT"))
add("sums_up", "Sums are a unit too great", spelled(Op.ADD, "(WAS * 1.0000001f)", float32), op("ADD"))
add(
    "products_down",
    "Products are rounded toward zero",
    spelled(Op.MUL, "(WAS * 0.99999994f)", float32),
    op("MUL"),
)
add(
    "differences_by_parts",
    "Differences go by way of half their size",
    spelled(Op.SUB, "(({0} * 0.5f - {1} * 0.5f) * 2.0f)", float32),
    op("SUB"),
)
add(
    "double_products_in_float",
    "Products of float64 are made in float32",
    spelled(Op.MUL, "(({T})((float){0} * (float){1}))", float64),
    "primitives::test_binary[MUL-float64] "
    "primitives::test_one_operand_is_constant[MUL-float64] reductions::test_product[float64]",
)
add(
    "double_roots_in_float",
    "SQRT of float64 is made in float32",
    spelled(Op.SQRT, "(({T})(float)(WAS))", float64),
    "primitives::test_unary[SQRT-float64] views::test_operands[SQRT-float64] fused::*",
)
