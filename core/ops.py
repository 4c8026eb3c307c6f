"""The contract, version 1: one table of the 25 primitives.

A port is right or wrong by this table and never merely different. Documentation, conformance, dialects,
legalization and the reference port all read it; nothing else says what a primitive means.

The accuracy figures are in units in the last place (ulp) of the correctly rounded result. The tiers ``full``
and ``strict`` are Portwright's own; ``relaxed`` follows the relaxed-math table of the OpenCL C 3.0
specification (section 7.4, "Relative error as ulps"). The NumPy meaning of each row is in ``reference``.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

import numpy as np

from . import reference
from .dtype import DType, Kind
from .record import dataclass

CONTRACT_VERSION = 1
OLDEST_CONTRACT = 1
"""Ports that were written for this version still work, and for every one after it."""

Array = np.ndarray[Any, np.dtype[Any]]


class Rounding(enum.Enum):
    """What a MUL may leave to the device, as the ``arg`` of its node or value; of others it is None."""

    FREE = "free"
    """Whether the product is rounded before it is added to something: it costs nothing where there is FMA."""


class Op(enum.Enum):
    """The 25 primitives."""

    CONST = "CONST"
    LOAD = "LOAD"
    STORE = "STORE"
    CAST = "CAST"
    BITCAST = "BITCAST"
    ADD = "ADD"
    SUB = "SUB"
    MUL = "MUL"
    NEG = "NEG"
    MAX = "MAX"
    IDIV = "IDIV"
    MOD = "MOD"
    RECIP = "RECIP"
    SQRT = "SQRT"
    EXP2 = "EXP2"
    LOG2 = "LOG2"
    SIN = "SIN"
    CMPLT = "CMPLT"
    CMPNE = "CMPNE"
    WHERE = "WHERE"
    AND = "AND"
    OR = "OR"
    XOR = "XOR"
    SHL = "SHL"
    SHR = "SHR"

    def __repr__(self) -> str:
        return self.name

    __hash__ = object.__hash__  # members are singletons; Enum's own hash is a Python call


class Group(enum.Enum):
    """The rows of the table, by what they are for."""

    MEMORY = "memory"
    CONVERT = "convert"
    ARITHMETIC = "arithmetic"
    TRANSCENDENTAL = "transcendental"
    COMPARE = "compare, choose"
    BITS = "bits"


class Operands(enum.Enum):
    """Which dtypes a primitive takes."""

    ANY = "any dtype"
    NUMBER = "integers and floats"
    INTEGER = "integers"
    INTEGER_OR_BOOL = "integers and bool"
    FLOAT = "floats"

    def accepts(self, dtype: DType) -> bool:
        """True when the primitive has a meaning for ``dtype``."""
        if self is Operands.ANY:
            return True
        if self is Operands.NUMBER:
            return not dtype.is_bool
        if self is Operands.INTEGER:
            return dtype.is_int
        if self is Operands.INTEGER_OR_BOOL:
            return dtype.is_int or dtype.is_bool
        return dtype.is_float


class Result(enum.Enum):
    """Which dtype a primitive gives."""

    SAME = "the operands' dtype"
    BOOL = "bool"
    STATED = "the dtype that it names"
    SECOND = "the dtype of the second and third operand"


class Tier(enum.Enum):
    """How accurate a port claims to be."""

    STRICT = "strict"
    FULL = "full"
    RELAXED = "relaxed"


@dataclass(frozen=True)
class Bound:
    """How far a result may lie from the exact one: ``ulp + slope * |x|`` ulp, or else ``absolute``."""

    ulp: float
    absolute: float = 0.0
    slope: float = 0.0

    def __str__(self) -> str:
        text = f"{self.ulp:g} ulp"
        if self.slope:
            text = f"{self.ulp:g} + {self.slope:g}·|x| ulp"
        return text + (f" or {self.absolute:.3g} absolute" if self.absolute else "")


EXACT = Bound(0.0)
ROUNDED = Bound(0.5)


@dataclass(frozen=True)
class Primitive:
    """One row of the contract.

    Attributes:
        op: the primitive.
        group: what it is for.
        arity: how many values it takes.
        operands: the dtypes it takes (of CAST and BITCAST: from and to; of WHERE: of the choices).
        result: the dtype it gives.
        meaning: what it computes, in words, exact.
        special: what it does with NaN, infinities, signed zero and the edges of the integers.
        reference: the NumPy meaning, ``f(dtype, *operands)``, rounded once; None of the memory group.
        bounds: {(tier, dtype name): Bound} where it is not exact or correctly rounded.
        core_guards: what core never sends, so that a port need not think of it.
    """

    op: Op
    group: Group
    arity: int
    operands: Operands
    result: Result
    meaning: str
    special: str = ""
    reference: Callable[..., Array] | None = None
    bounds: Mapping[tuple[Tier, str], Bound] = field(default_factory=dict)
    core_guards: str = ""

    @property
    def name(self) -> str:
        """The primitive's name, in capitals."""
        return self.op.name

    def bound(self, dtype: DType, tier: Tier = Tier.FULL) -> Bound:
        """How far a result of ``dtype`` may lie from the exact one on a port of ``tier``."""
        if not dtype.is_float or self.group in (Group.MEMORY, Group.COMPARE, Group.BITS):
            return EXACT
        if self.op in (Op.NEG, Op.MAX, Op.BITCAST):
            return EXACT
        return self.bounds.get((tier, dtype.name)) or self.bounds.get((Tier.FULL, dtype.name), ROUNDED)

    def result_dtype(self, *operands: DType, stated: DType | None = None) -> DType:
        """The dtype given for operands of these dtypes; ``stated`` is what CAST and BITCAST name."""
        if self.result is Result.BOOL:
            from .dtype import bool_

            return bool_
        if self.result is Result.STATED:
            assert stated is not None
            return stated
        return operands[1] if self.result is Result.SECOND else operands[0]


def _bounds(
    full: float, strict: float, f16: float, f64: float, relaxed: Bound
) -> dict[tuple[Tier, str], Bound]:
    return {
        (Tier.FULL, "float32"): Bound(full),
        (Tier.STRICT, "float32"): Bound(strict),
        (Tier.RELAXED, "float32"): relaxed,
        (Tier.FULL, "float16"): Bound(f16),
        (Tier.FULL, "bfloat16"): Bound(f16),
        (Tier.FULL, "float64"): Bound(f64),
    }


_SHIFT_GUARD = "core sends amounts from 0 to the width less one"

_ROWS: tuple[Primitive, ...] = (
    Primitive(
        Op.CONST, Group.MEMORY, 0, Operands.ANY, Result.STATED,
        "A value known when the kernel is made, the same for every element.",
        "NaN, the infinities, -0.0 and both ends of the integers are constants like any other.",
    ),
    Primitive(
        Op.LOAD, Group.MEMORY, 1, Operands.ANY, Result.STATED,
        "The element of a buffer at a computed position. A guarded load whose guard is false reads nothing "
        "and gives 0.",
        "Bits are kept, NaN payloads too. A bool is a byte: 0 or 1.",
        core_guards="core sends positions inside the buffer, or a guard",
    ),
    Primitive(
        Op.STORE, Group.MEMORY, 2, Operands.ANY, Result.SAME,
        "Writes one element of a buffer and no byte beside it. A bool is stored as the byte 0 or 1.",
        "Bits are kept, NaN payloads too.",
        core_guards="core stores to a position at most once in a kernel, unless in order",
    ),
    Primitive(
        Op.CAST, Group.CONVERT, 1, Operands.ANY, Result.STATED,
        "The same value in another dtype. Float to float rounds to nearest, ties to even; float to integer "
        "truncates toward zero; integer to integer keeps the low bits; integer to float rounds to nearest "
        "even.",
        "Anything nonzero, NaN too, casts to bool as 1. Float overflow gives infinity. Float to integer out "
        "of range or NaN gives an unspecified value and never a trap.",
        reference.cast,
    ),
    Primitive(
        Op.BITCAST, Group.CONVERT, 1, Operands.ANY, Result.STATED,
        "The same bits read as another dtype of the same width.",
        "Not defined to or from bool. NaN payloads are kept.",
        reference.bitcast,
    ),
    Primitive(
        Op.ADD, Group.ARITHMETIC, 2, Operands.ANY, Result.SAME,
        "a + b. Integers wrap; bool is logical or.",
        "IEEE 754: inf - inf is NaN, x + -x is +0.",
        reference.add,
    ),
    Primitive(
        Op.SUB, Group.ARITHMETIC, 2, Operands.NUMBER, Result.SAME,
        "a - b. Integers wrap.", "IEEE 754.", reference.sub,
    ),
    Primitive(
        Op.MUL, Group.ARITHMETIC, 2, Operands.ANY, Result.SAME,
        "a · b. Integers wrap; bool is logical and.", "IEEE 754: 0 · inf is NaN.", reference.mul,
    ),
    Primitive(
        Op.NEG, Group.ARITHMETIC, 1, Operands.NUMBER, Result.SAME,
        "-a. Integers wrap: the least signed value is its own negative.",
        "Flips the sign bit of a float, of zero and NaN too.", reference.neg,
    ),
    Primitive(
        Op.MAX, Group.ARITHMETIC, 2, Operands.ANY, Result.SAME,
        "The greater of a and b; bool is logical or.",
        "NaN if either is NaN. Of +0 and -0 either may come.", reference.maximum,
    ),
    Primitive(
        Op.IDIV, Group.ARITHMETIC, 2, Operands.INTEGER, Result.SAME,
        "a / b truncated toward zero, as C does.", "", reference.idiv,
        core_guards="core sends no zero divisor and no least value over -1",
    ),
    Primitive(
        Op.MOD, Group.ARITHMETIC, 2, Operands.INTEGER, Result.SAME,
        "a - b · IDIV(a, b): the remainder takes the sign of a, as in C.", "", reference.mod,
        core_guards="core sends no zero divisor and no least value over -1",
    ),
    Primitive(
        Op.RECIP, Group.ARITHMETIC, 1, Operands.FLOAT, Result.SAME,
        "1 / a.", "1/±0 is ±inf, 1/±inf is ±0.", reference.recip,
        _bounds(2.5, 1, 1, 0.5, Bound(2.5)),
    ),
    Primitive(
        Op.SQRT, Group.TRANSCENDENTAL, 1, Operands.FLOAT, Result.SAME,
        "The square root of a.", "sqrt(-0) is -0; of anything less, NaN.", reference.sqrt,
        _bounds(3, 0.5, 1.5, 0.5, Bound(4)),
    ),
    Primitive(
        Op.EXP2, Group.TRANSCENDENTAL, 1, Operands.FLOAT, Result.SAME,
        "2 to the power a.",
        "exp2(-inf) is +0, exp2(inf) is inf; overflow gives inf, underflow subnormals and 0.",
        reference.exp2, _bounds(3, 2, 2, 3, Bound(3, slope=2.0)),
    ),
    Primitive(
        Op.LOG2, Group.TRANSCENDENTAL, 1, Operands.FLOAT, Result.SAME,
        "The logarithm of a to base 2.", "log2(±0) is -inf, log2(inf) is inf; of anything less than 0, NaN.",
        reference.log2, _bounds(3, 1, 2, 3, Bound(3, absolute=2.0**-22)),
    ),
    Primitive(
        Op.SIN, Group.TRANSCENDENTAL, 1, Operands.FLOAT, Result.SAME,
        "The sine of a radians, over the whole range.", "sin(±inf) is NaN, sin(-0) is -0.",
        reference.sin, _bounds(4, 2, 2, 4, Bound(4, absolute=2.0**-11)),
    ),
    Primitive(
        Op.CMPLT, Group.COMPARE, 2, Operands.ANY, Result.BOOL,
        "a < b.", "False if either is NaN; -0 is not less than +0.", reference.cmplt,
    ),
    Primitive(
        Op.CMPNE, Group.COMPARE, 2, Operands.ANY, Result.BOOL,
        "a differs from b.", "True if either is NaN; +0 and -0 do not differ.", reference.cmpne,
    ),
    Primitive(
        Op.WHERE, Group.COMPARE, 3, Operands.ANY, Result.SECOND,
        "The second operand where the first (a bool) is true, else the third.",
        "Never a blend of both: a NaN or infinity that is not chosen leaves no trace. Bits are kept.",
        reference.where,
    ),
    Primitive(
        Op.AND, Group.BITS, 2, Operands.INTEGER_OR_BOOL, Result.SAME, "Bitwise a and b.", "", reference.and_,
    ),
    Primitive(
        Op.OR, Group.BITS, 2, Operands.INTEGER_OR_BOOL, Result.SAME, "Bitwise a or b.", "", reference.or_,
    ),
    Primitive(
        Op.XOR, Group.BITS, 2, Operands.INTEGER_OR_BOOL, Result.SAME,
        "Bitwise exclusive or.", "", reference.xor,
    ),
    Primitive(
        Op.SHL, Group.BITS, 2, Operands.INTEGER, Result.SAME,
        "a shifted left by b bits; bits shifted out are lost.", "", reference.shl, core_guards=_SHIFT_GUARD,
    ),
    Primitive(
        Op.SHR, Group.BITS, 2, Operands.INTEGER, Result.SAME,
        "a shifted right by b bits: arithmetic on signed (rounds down), logical on unsigned.", "",
        reference.shr, core_guards=_SHIFT_GUARD,
    ),
)  # fmt: skip

PRIMITIVES: Mapping[Op, Primitive] = {row.op: row for row in _ROWS}
"""The contract: every primitive's row."""

ALL_OPS: frozenset[Op] = frozenset(Op)
REDUCIBLE: frozenset[Op] = frozenset({Op.ADD, Op.MUL, Op.MAX})
"""The primitives that a REDUCE may fold with: associative and commutative up to rounding."""


def identity(op: Op, dtype: DType) -> bool | int | float:
    """The value that ``op`` leaves everything else unchanged with, of a reducible ``op``."""
    if op is Op.ADD:
        return dtype.cast_scalar(0)
    if op is Op.MUL:
        return dtype.cast_scalar(1)
    return dtype.min


def is_supported(op: Op, dtype: DType) -> bool:
    """True when the contract gives ``op`` a meaning on operands of ``dtype``."""
    return PRIMITIVES[op].operands.accepts(dtype) and not (op is Op.BITCAST and dtype.kind is Kind.BOOL)
