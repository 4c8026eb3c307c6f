"""Accumulators that are not initialised, or wrongly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...core.dtype import Scalar
from ...core.loops import Acc, Body, Loop, Stmt, Update
from ...core.ops import Op
from ...core.value import Extra, Value, make, number
from .means import each, every_body
from .mutant import Family

FAMILY = Family("uninitialised or wrongly initialised accumulators")
add = FAMILY.add
SUMS = (
    "reductions::test_sum_of_integers[float32] reductions::test_axes[last-ADD] "
    "reductions::test_matmul_of_integers[float32]"
)
INTS = (
    "reductions::test_integers_wrap[int32-{0}] reductions::test_integers_wrap[uint8-{0}] "
    "reductions::test_exact_products[int32] reductions::test_max_of_lowest[int32] "
    "reductions::test_matmul_of_integers[int32] fused::*"
)
MAXS = (
    "reductions::test_max[float32] reductions::test_max_of_lowest[float32] "
    "reductions::test_axes[last-MAX] fused::test_named[softmax* fused::*"
)


def starting(op: Op, is_float: bool, start: Scalar) -> Callable[[Stmt], Body | None]:
    """Accumulators of one operation are updated once before the first element."""

    def rule(s: Stmt) -> Body | None:
        if isinstance(s, Acc) and s.op is op and s.dtype.is_float is is_float and not s.dtype.is_bool:
            one = number(start, s.dtype)
            v: Value = one if s.lanes == 1 else make(Extra.SPLAT, s.dtype, (one,), None, s.lanes)
            return (s, Update(s.name, op, v))
        return None

    return rule


def bool_start(s: Stmt) -> Body | None:
    """The fold of any begins with true."""
    if isinstance(s, Acc) and s.dtype.is_bool and s.op is not Op.MUL and s.lanes == 1:
        return (s, Update(s.name, s.op, number(True, s.dtype)))
    return None


def kept_over_rows(body: Body) -> Body:
    """Accumulators of a loop's body stand before the loop: they keep what they held."""
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, Loop):
            accs = tuple(a for a in s.body if isinstance(a, Acc))
            out += [*accs, replace(s, body=tuple(a for a in s.body if not isinstance(a, Acc)))]
        else:
            out.append(s)
    return tuple(out)


def first_twice(body: Body) -> Body:
    """The first vector or element of a loop is folded a second time: its loop runs on one step before."""
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, Loop) and all(isinstance(u, Update) for u in s.body):
            out.append(replace(s, extent=1))
        out.append(s)
    return tuple(out)


def scalar_only(s: Stmt) -> Body | None:
    """The accumulator that lanes are folded into begins with 1."""
    if isinstance(s, Acc) and s.op is Op.ADD and s.lanes == 1 and s.dtype.is_float:
        return (s, Update(s.name, s.op, number(1.0, s.dtype)))
    return None


def lanes_only(s: Stmt) -> Body | None:
    """The first lane of a vector accumulator begins with 1, by a vector of one 1."""
    if isinstance(s, Acc) and s.op is Op.ADD and s.lanes > 1 and s.dtype.is_float:
        one = number(1.0, s.dtype)
        return (s, Update(s.name, s.op, make(Extra.SPLAT, s.dtype, (one,), None, s.lanes)))
    return None


add("sums_start_at_1", "Sums of floats begin with 1", each(starting(Op.ADD, True, 1.0)), SUMS)
add("scalar_sums_start_at_1", "Sums begin with 1 where they are no vectors", each(scalar_only), SUMS)
add("vector_sums_start_at_1", "Every lane of a vector sum begins with 1", each(lanes_only), SUMS)
add(
    "integer_sums_start_at_1",
    "Sums of integers begin with 1",
    each(starting(Op.ADD, False, 1)),
    INTS.format("ADD"),
)
add(
    "products_start_at_0",
    "Products of floats begin with 0",
    each(starting(Op.MUL, True, 0.0)),
    "reductions::test_product[float32] reductions::test_exact_products[float32]",
)
add(
    "products_start_at_minus_1",
    "Products of floats begin with -1",
    each(starting(Op.MUL, True, -1.0)),
    "reductions::test_product[float32] reductions::test_exact_products[float32]",
)
add(
    "integer_products_start_at_3",
    "Products of integers begin with 3",
    each(starting(Op.MUL, False, 3)),
    INTS.format("MUL"),
)
add("max_starts_at_zero", "MAX of floats begins with 0", each(starting(Op.MAX, True, 0.0)), MAXS)
add(
    "max_starts_at_tiny",
    "MAX of floats begins with the least positive normal number",
    each(starting(Op.MAX, True, 2.0**-126)),
    MAXS,
)
add(
    "max_starts_at_lowest",
    "MAX of floats begins with the lowest number, not with -Inf",
    each(starting(Op.MAX, True, -3.3e38)),
    MAXS,
)
add(
    "integer_max_starts_at_0",
    "MAX of integers begins with 0",
    each(starting(Op.MAX, False, 0)),
    INTS.format("MAX"),
)
add(
    "any_starts_true",
    "The fold of any begins with true",
    each(bool_start),
    "reductions::test_bools[ADD] reductions::test_max_of_lowest[bool] reductions::test_bools[MAX]",
)
add("kept_over_rows", "Accumulators are not reset from row to row", every_body(kept_over_rows), SUMS)
add("first_step_twice", "The first step of a fold is made twice", every_body(first_twice), SUMS)
