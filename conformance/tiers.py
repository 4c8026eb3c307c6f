"""How much of the suite is asked: quick, standard or full, as a choice among cases of one set of names.

A case has the same name, the same seed and the same operands in every tier that has it, so that what a tier
finds can be run again in another. ``QUICK`` is the whole rule of what the quick tier keeps.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping

from ..core.dtype import as_dtype, bool_, float16, float32, int8, int32, int64, uint8
from ..core.ops import Op, is_supported


class SuiteTier(enum.Enum):
    """A share of the suite: what it is called on the command line and in a certificate."""

    QUICK = "quick"
    STANDARD = "standard"
    FULL = "full"

    @property
    def shows(self) -> str:
        """What it is for."""
        return _SHOWS[self]


_SHOWS = {
    SuiteTier.QUICK: "a sample of the cases, for every change",
    SuiteTier.STANDARD: "the suite",
    SuiteTier.FULL: "the suite, and every float32 through each unary primitive and cast",
}

Rule = Callable[[list[str]], bool]
"""Whether a case is kept, by its parameters: those of "test_cast[int8-bool]" are "int8" and "bool"."""


def some(*names: str) -> Rule:
    """Kept when one of its parameters is one of these."""
    kept = frozenset(names)
    return lambda parameters: not kept.isdisjoint(parameters)


def _crosses(parameters: list[str]) -> bool:
    """Casts to and from float32, between the corners, of 64 bits, and such as may round twice."""
    source, target = (as_dtype(name) for name in parameters)
    pair = {source, target}
    rounds_twice = target.is_float and source.bits >= 32  # through a float between them
    return float32 in pair or pair <= _CORNERS or source.bits == target.bits == 64 or rounds_twice


def _is_from_or_to_unsigned(parameters: list[str]) -> bool:
    """Bits taken for those of another kind: one side is unsigned."""
    return any(dtype.is_int and not dtype.is_signed for dtype in map(as_dtype, parameters))


def _once(parameters: list[str]) -> bool:
    """A primitive on float32, and on an integer where it takes no float."""
    op, dtype = Op[parameters[0]], as_dtype(parameters[1])
    return dtype is float32 or not is_supported(op, float32)


def _once_and_the_ends(parameters: list[str]) -> bool:
    """As ``_once``, and what integers take on those of a byte and of eight too."""
    return _once(parameters) or parameters[1] in ("int8", "int64")


_CORNERS = frozenset({bool_, int8, uint8, int32, int64, float16})
_EACH_WIDTH = ("bool", "int8", "int32", "uint64", "float16", "float32")

QUICK: Mapping[str, Rule] = {
    "primitives::test_unary": some("int8", "int16", "uint16", "int32", "float16", "float32", "float64"),
    "primitives::test_subnormals": some("float32", "float64"),
    "primitives::test_binary": some(
        "bool", "int8", "uint8", "int32", "int64", "float16", "float32", "float64"
    ),
    "primitives::test_one_operand_is_constant": some("int32", "uint32", "float32"),
    "primitives::test_widths": some("bool", "float32"),
    "primitives::test_const": some("bool", "int8", "int32", "float32"),
    "primitives::test_where": some(*_EACH_WIDTH),
    "primitives::test_load_store": some(*_EACH_WIDTH),
    "primitives::test_sizes": some("uint8", "float32"),
    "casts::test_cast": _crosses,
    "casts::test_views": some("bool", "int8", "uint8", "int32", "float32", "float64"),
    "casts::test_bitcast": _is_from_or_to_unsigned,
    "views::test_single": some("vector", "cube"),
    "views::test_every_dtype": some(*_EACH_WIDTH),
    "views::test_rank": some("0", "1", "4", "8"),
    "views::test_random": some("0"),
    "views::test_operands": _once_and_the_ends,
    "reductions::test_sum_of_integers": some("float32"),
    "reductions::test_nothing": some("bool", "int32", "float32"),
    "reductions::test_integers_wrap": some("int8", "int32"),
    "reductions::test_exact_products": some("float16", "float32", "int32", "uint8"),
    "reductions::test_max_of_lowest": some("bool", "int8", "int32", "uint32", "float16", "float32"),
    "reductions::test_integer_sums_of_columns": some("int8", "int32", "uint64"),
    "reductions::test_max_of_neighbours": some("int8", "int32", "uint64"),
    "reductions::test_max": some("float32"),
    "reductions::test_axes": some("ADD"),
    "reductions::test_sum": some("float16", "float32", "float64"),
    "reductions::test_sum_of_many": some("1000"),
    "reductions::test_product": some("float16", "float32"),
    "reductions::test_matmul_of_integers": some("int32", "float32"),
    "reductions::test_matmul_around_tiles": some("float32"),
    "reductions::test_powers_of_two": lambda parameters: parameters == ["float32", "ADD"],
    "reductions::test_matmul": some("float32"),
    "fused::test_random": lambda p: (
        p[-1] == "0" and p[:-1] in (["float32"], ["float16"], ["int32"], ["mixed"])
    ),
    "fused::test_named": some("(33, 129)"),
    "gradients::test_unary": some(
        *("reciprocal", "exp2", "log2", "where", "sum_of_rows", "max", "softmax"),
        *("pad", "shrink", "expand", "windows"),
    ),
    "speed::test_limit": some("copy", "read", "launch", "float32"),
    "speed::test_kernel": some("softmax", "matmul_512", "conv2d"),
    "gradients::test_binary": some("mul", "div", "maximum", "matmul", "cat"),
    "gradients::test_trajectory": lambda parameters: parameters == ["cnn", "momentum"],
    "stress::test_no_room_within": some("1"),
}
"""What the quick tier keeps of a test function; of one that is not named here, every case.

Left out are dtypes that are computed as others are, further draws of random programs, and second shapes. What
stays has each test function, each primitive on a bool, an integer and a float where it takes them, casts
between kinds and widths, and each program that has a name.
"""

ONLY_FULL = frozenset({"primitives::test_sweep", "casts::test_sweep"})
"""Test functions that the full tier alone has."""


def function_of(case: str) -> str:
    """ "casts::test_cast" of "casts::test_cast[int8-bool]"."""
    return case.partition("[")[0]


def offers(tier: SuiteTier, function: str) -> bool:
    """Whether a tier has cases of a test function."""
    return tier is SuiteTier.FULL or function not in ONLY_FULL


def keeps(tier: SuiteTier, case: str) -> bool:
    """Whether a case of the suite is one of a tier's."""
    function, _, parameters = case.partition("[")
    if not offers(tier, function):
        return False
    rule = QUICK.get(function) if tier is SuiteTier.QUICK else None
    return rule is None or rule(parameters.removesuffix("]").split("-"))
