"""Primitives of a device that computes the graph itself: inaccurate, or wrong for some operands."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.dtype import float16, float32
from ...core.graph import GraphOp, Node, ReduceArg, WindowArg
from ...core.ops import Op
from .mutant import Base, Family
from .walk import Array, folding, node, one_after_another, primitive, right

FAMILY = Family("accuracy and dispatch", Base.DISPATCH)
add = FAMILY.add


def steps(x: Array, n: int) -> Array:
    """``x`` moved by n units in the last place, where it is a number other than 0."""
    whole = np.dtype(f"i{x.dtype.itemsize}")
    with np.errstate(all="ignore"):
        moved = (x.view(whole) + whole.type(n)).view(x.dtype)
        return np.where(np.isfinite(x.astype(np.float64)) & (x != 0), moved, x)


def off(op: Op, n: int) -> Any:
    """A primitive of float32 that is n units off."""

    def meaning(dtype: Any, *xs: Array) -> Array:
        y = right(op, dtype, *xs)
        return steps(y, n) if dtype is float32 else y

    return primitive(op, meaning)


def narrow_sine(dtype: Any, x: Array) -> Array:
    """The operand is reduced by a 2π of float32."""
    with np.errstate(all="ignore"):
        return right(Op.SIN, dtype, np.fmod(x, np.float32(2 * np.pi)) if dtype is float32 else x)


def small_sine_only(dtype: Any, x: Array) -> Array:
    """Beyond 2^15 it is 0."""
    y = right(Op.SIN, dtype, x)
    return np.where(np.abs(x) > 32768, y * 0, y) if dtype is float32 else y


def exp2_clamps(dtype: Any, x: Array) -> Array:
    """Great operands give the greatest number."""
    y = right(Op.EXP2, dtype, x)
    return (
        np.where(np.isposinf(y) & np.isfinite(x), np.float32(np.finfo(np.float32).max), y)
        if dtype is float32
        else y
    )


def exp2_ends(dtype: Any, x: Array) -> Array:
    """Results below the normal range are 0."""
    y = right(Op.EXP2, dtype, x)
    return np.where(y < dtype.smallest_normal, y * 0, y) if dtype is float32 else y


def log2_of_subnormals(dtype: Any, x: Array) -> Array:
    """The logarithm of a subnormal is that of the least normal number."""
    return (
        right(
            Op.LOG2,
            dtype,
            np.where((x > 0) & (x < dtype.smallest_normal), dtype.numpy.type(dtype.smallest_normal), x),
        )
        if dtype is float32
        else right(Op.LOG2, dtype, x)
    )


def log2_near_one(dtype: Any, x: Array) -> Array:
    """Near 1 all digits are lost."""
    y = right(Op.LOG2, dtype, x)
    return np.where(np.abs(x - 1) < 1e-3, np.round(y, 6), y).astype(x.dtype) if dtype is float32 else y


def half_toward_zero(dtype: Any, x: Array) -> Array:
    """float32 to float16 is rounded toward zero."""
    y = right(Op.CAST, dtype, x)
    if dtype is not float16 or x.dtype != np.float32:
        return y
    with np.errstate(all="ignore"):
        over = np.abs(y.astype(np.float64)) > np.abs(x.astype(np.float64))
    return np.where(over, np.nextafter(y, np.float16(0)), y)


def through_float32(dtype: Any, x: Array) -> Array:
    """int32 to bfloat16 by way of float32, rounded twice."""
    with np.errstate(all="ignore"):
        return right(
            Op.CAST, dtype, x.astype(np.float32) if x.dtype == np.int32 and dtype.name == "bfloat16" else x
        )


def without_dilation(n: Node, srcs: Any) -> Array | None:
    """Windows have no gaps."""
    arg = n.arg
    if not isinstance(arg, WindowArg) or arg.dilation == 1:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(srcs[0], arg.size, arg.axis)
    return windows[tuple(slice(0, m) for m in n.shape)]


def six_axes(n: Node, srcs: Any) -> Array | None:
    """Of more than six axes the last two are taken in the wrong order."""
    if n.op is not GraphOp.PERMUTE or len(n.shape) <= 6:
        return None
    from ...core.evaluate import apply

    return apply(n, srcs).swapaxes(-1, -2).reshape(n.shape)


def edge_padding(n: Node, srcs: Any) -> Array | None:
    """What is added at the end of a row is its last element."""
    if n.op is not GraphOp.PAD or len(n.shape) != 1 or not srcs[0].size:
        return None
    from ...core.evaluate import apply

    made = apply(n, srcs).copy()
    made[-1] = srcs[0].flat[-1]
    return made


def half_sums(rows: Array, arg: ReduceArg, dtype: Any) -> Array | None:
    """Sums are kept in their own dtype, one element after another."""
    return one_after_another(rows, arg, dtype) if dtype.is_float and dtype.bits == 16 else None


def pairs_lost(rows: Array, arg: ReduceArg, dtype: Any) -> Array | None:
    """Long folds are of whole vectors of eight."""
    return one_after_another(rows[: len(rows) // 8 * 8], arg, dtype) if len(rows) > 100 else None


def scatter_sets(n: Node, srcs: Any) -> Array | None:
    """Of updates to one row only the last one counts."""
    from ...core.evaluate import apply
    from ...core.graph import ScatterArg

    if n.op is not GraphOp.SCATTER or not isinstance(n.arg, ScatterArg) or n.arg.op is None:
        return None
    kept = srcs[1].copy()
    for i in range(kept.size):
        if kept.flat[i] in kept.flat[i + 1 :]:
            kept.flat[i] = -1
    return apply(n, [srcs[0], kept, srcs[2]])


def gather_wraps(n: Node, srcs: Any) -> Array | None:
    """A negative position counts from the end."""
    from ...core.evaluate import apply

    if n.op is not GraphOp.GATHER:
        return None
    index = srcs[1]
    return apply(n, [srcs[0], np.where((index < 0) & (index >= -len(srcs[0])), index + len(srcs[0]), index)])


def tried(op: str) -> str:
    """One primitive of float32."""
    return (
        f"primitives::test_*[{op}-float32] primitives::test_subnormals[{op}-float32] "
        f"views::test_operands[{op}-float32] "
        f"primitives::test_one_operand_is_constant[{op}-float32] fused::test_named* gradients::* fused::*"
    )


add("reciprocal_4_units", "RECIP is four units off", off(Op.RECIP, 4), tried("RECIP"))
add("root_4_units", "SQRT is four units off", off(Op.SQRT, 4), tried("SQRT"))
add("exp2_4_units", "EXP2 is four units off", off(Op.EXP2, 4), tried("EXP2"))
add("log2_4_units", "LOG2 is four units off", off(Op.LOG2, 4), tried("LOG2"))
add("sine_6_units", "SIN is six units off", off(Op.SIN, 6), tried("SIN"))
add("sum_1_unit", "ADD is one unit off", off(Op.ADD, 1), tried("ADD"))
add(
    "narrow_sine",
    "SIN reduces its operand by a 2π of few digits",
    primitive(Op.SIN, narrow_sine),
    tried("SIN"),
)
add("small_sine_only", "SIN beyond 2¹⁵ is 0", primitive(Op.SIN, small_sine_only), tried("SIN"))
add(
    "exp2_clamps",
    "EXP2 that overflows is the greatest number",
    primitive(Op.EXP2, exp2_clamps),
    tried("EXP2"),
)
add("exp2_ends", "EXP2 flushes subnormals", primitive(Op.EXP2, exp2_ends), tried("EXP2"))
add(
    "log2_of_subnormals",
    "LOG2 of a subnormal is that of the least normal number",
    primitive(Op.LOG2, log2_of_subnormals),
    tried("LOG2"),
)
add("log2_near_one", "LOG2 near 1 has six digits", primitive(Op.LOG2, log2_near_one), tried("LOG2"))
add(
    "half_toward_zero",
    "Casts to float16 are rounded toward zero",
    primitive(Op.CAST, half_toward_zero),
    "casts::test_cast[float32-float16] casts::test_views[float32] fused::*",
)
add(
    "bfloat16_by_float32",
    "Casts from int32 to bfloat16 are rounded twice",
    primitive(Op.CAST, through_float32),
    "casts::test_cast[int32-bfloat16] casts::test_views[int32] fused::*",
)
add(
    "windows_without_gaps",
    "Windows have no gaps",
    node(without_dilation),
    "views::test_single* views::test_composed* views::test_random*",
)
add(
    "six_axes_at_most",
    "Of more than six axes the last two are exchanged",
    node(six_axes),
    "views::test_rank* views::test_seven* views::test_random* views::*",
)
add(
    "edges_repeat",
    "Padding behind a row repeats its last element",
    node(edge_padding),
    "primitives::test_load_store[float32] views::test_single[vector]",
)
add(
    "half_sums",
    "Sums of 16-bit floats are kept in 16 bits",
    folding(half_sums),
    "reductions::test_sum_of_many[bfloat16-1000] reductions::test_matmul_of_many[bfloat16]",
)
add(
    "folds_in_eights",
    "Long folds leave out what is left after vectors of eight",
    folding(pairs_lost),
    "reductions::test_sum_of_integers[float32] reductions::test_sum[float32]",
)
add(
    "scatter_keeps_the_last",
    "Of several updates to one row the last one counts",
    node(scatter_sets),
    "views::test_scatter* gradients::* views::test_scattered*",
)
add(
    "gather_wraps",
    "Negative positions of GATHER count from the end",
    node(gather_wraps),
    "views::test_gather views::test_gathered* gradients::* fused::*",
)
