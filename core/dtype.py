"""The element types, their ranges, and how two of them promote.

Promotion follows the Python array API standard (2023.12, "Type promotion rules"): within the integers and
within the floats, the smallest type that holds both; a Python scalar takes the tensor's type when its kind
fits. Where the standard leaves a mix undefined, an integer or bool meets a float and becomes that float, as
in PyTorch; float16 with bfloat16 gives float32, which holds both; uint64 with a signed integer is refused,
since no integer type holds both. The 8-bit floats, which the standard does not have, are named and rounded as
in ``ml_dtypes``: every wider float holds both, but neither the other, and that mix is refused, as it is by
``ml_dtypes``, JAX and PyTorch.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from functools import cached_property, lru_cache
from typing import Any

import ml_dtypes
import numpy as np

from .errors import DTypeError
from .record import dataclass

Scalar = bool | int | float


class Kind(enum.Enum):
    """What the bits of an element mean."""

    BOOL = "bool"
    INT = "int"
    UINT = "uint"
    FLOAT = "float"


@dataclass(frozen=True, eq=False)
class DType:
    """One element type. The instances of this module are the only ones: compare them with ``is``.

    Attributes:
        name: as in NumPy and the array API ("float32").
        kind: bool, signed, unsigned or float.
        bits: the width in memory; a bool is stored as one byte.
        exponent: bits of the exponent (floats; 0 otherwise).
        mantissa: stored bits of the significand (floats; 0 otherwise).
        has_infinity: whether a float has infinities; one that has none spends their bits on more numbers,
            keeps one NaN of each sign, and what is beyond its greatest number becomes NaN.
    """

    name: str
    kind: Kind
    bits: int
    exponent: int = 0
    mantissa: int = 0
    has_infinity: bool = True

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return (as_dtype, (self.name,))

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.bits // 8

    @property
    def is_float(self) -> bool:
        """True of the floats, of every width."""
        return self.kind is Kind.FLOAT

    @property
    def is_int(self) -> bool:
        """True of the signed and unsigned integers, not of bool."""
        return self.kind in (Kind.INT, Kind.UINT)

    @property
    def is_bool(self) -> bool:
        """True of bool."""
        return self.kind is Kind.BOOL

    @property
    def is_signed(self) -> bool:
        """True of the signed integers and the floats."""
        return self.kind in (Kind.INT, Kind.FLOAT)

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy dtype with the same bits, from ``ml_dtypes`` where NumPy itself has none."""
        return np.dtype(self.name if self.is_in_numpy else getattr(ml_dtypes, self.name))

    @property
    def is_in_numpy(self) -> bool:
        """False of bfloat16 and the 8-bit floats, which ``ml_dtypes`` adds."""
        return not (self.is_float and (self.bits == 8 or (self.exponent == 8 and self.bits == 16)))

    @cached_property
    def min(self) -> Scalar:
        """The least value: -inf of a float that has infinities."""
        if self.is_float:
            return float("-inf") if self.has_infinity else -self.finite_max
        if self.is_bool:
            return False
        return -(1 << (self.bits - 1)) if self.kind is Kind.INT else 0

    @cached_property
    def max(self) -> Scalar:
        """The greatest value: inf of a float that has infinities."""
        if self.is_float:
            return float("inf") if self.has_infinity else self.finite_max
        if self.is_bool:
            return True
        return (1 << (self.bits - 1)) - 1 if self.kind is Kind.INT else (1 << self.bits) - 1

    @cached_property
    def finite_max(self) -> Scalar:
        """The greatest finite value."""
        if not self.is_float:
            return self.max
        bias = (1 << (self.exponent - 1)) - 1
        if not self.has_infinity:
            return float((2 - 2.0 ** (1 - self.mantissa)) * 2.0 ** (bias + 1))
        return float((2 - 2.0**-self.mantissa) * 2.0**bias)

    @cached_property
    def smallest_normal(self) -> float:
        """The least positive normal value of a float."""
        return float(2.0 ** (2 - (1 << (self.exponent - 1))))

    @cached_property
    def eps(self) -> float:
        """The distance from 1 to the next greater value of a float."""
        return float(2.0**-self.mantissa)

    def cast_scalar(self, value: Scalar) -> Scalar:
        """The Python value that this type holds for ``value``: integers wrap, floats are rounded.

        Raises:
            DTypeError: for an integer beyond every float, in a float type.
        """
        if self.is_bool:
            return bool(value)
        if self.is_float:
            try:
                return self._rounded(float(value))
            except OverflowError as e:
                raise DTypeError(
                    f"an integer of {int(value).bit_length()} bits does not fit {self}, which ends at "
                    f"{self.finite_max:.5g}"
                ) from e
        if isinstance(value, float):
            if value != value or value in (float("inf"), float("-inf")):
                return 0
            value = int(value)
        wrapped = int(value) & ((1 << self.bits) - 1)
        return wrapped - (1 << self.bits) if self.kind is Kind.INT and wrapped >> (self.bits - 1) else wrapped

    def text(self, value: Scalar) -> str:
        """A value of this type in as few digits as tell it from the others."""
        narrow = self.is_float and self.bits < 64 and not float(value).is_integer()
        return str(self.numpy.type(value)) if narrow else repr(value)

    def _rounded(self, value: float) -> float:
        """The nearest value of a float type, ties to even; infinity beyond the greatest."""
        beyond = math.copysign(math.inf, value) if self.has_infinity else math.nan
        if self.bits == 64 or not math.isfinite(value):
            return value if self.has_infinity else math.nan
        if value.is_integer() and abs(value) <= 1 << self.mantissa:
            return value
        binade = max(math.frexp(value)[1] - 1, 2 - (1 << (self.exponent - 1)))
        unit = math.ldexp(1.0, binade - self.mantissa)
        near = math.copysign(round(value / unit) * unit, value)
        return near if abs(near) <= self.finite_max else beyond


bool_ = DType("bool", Kind.BOOL, 8)
int8 = DType("int8", Kind.INT, 8)
int16 = DType("int16", Kind.INT, 16)
int32 = DType("int32", Kind.INT, 32)
int64 = DType("int64", Kind.INT, 64)
uint8 = DType("uint8", Kind.UINT, 8)
uint16 = DType("uint16", Kind.UINT, 16)
uint32 = DType("uint32", Kind.UINT, 32)
uint64 = DType("uint64", Kind.UINT, 64)
float8_e4m3fn = DType("float8_e4m3fn", Kind.FLOAT, 8, 4, 3, has_infinity=False)
float8_e5m2 = DType("float8_e5m2", Kind.FLOAT, 8, 5, 2)
float16 = DType("float16", Kind.FLOAT, 16, 5, 10)
bfloat16 = DType("bfloat16", Kind.FLOAT, 16, 8, 7)
float32 = DType("float32", Kind.FLOAT, 32, 8, 23)
float64 = DType("float64", Kind.FLOAT, 64, 11, 52)

FLOAT8S: frozenset[DType] = frozenset({float8_e4m3fn, float8_e5m2})
"""The 8-bit floats: numbers to store, which no language here computes in."""
FLOATS: tuple[DType, ...] = (float8_e4m3fn, float8_e5m2, float16, bfloat16, float32, float64)
INTS: tuple[DType, ...] = (int8, int16, int32, int64, uint8, uint16, uint32, uint64)
ALL: tuple[DType, ...] = (bool_, *INTS, *FLOATS)

default_float = float32
default_int = int32
index_dtype = int64
"""What positions are counted in when a tensor holds them (argmax, sort)."""

_BY_NAME: dict[str, DType] = {d.name: d for d in ALL}
_ALIASES: dict[str, DType] = {
    "bool_": bool_,
    "half": float16,
    "float": float32,
    "double": float64,
    "int": int32,
    "long": int64,
}
DTypeLike = DType | str | type | np.dtype[Any]


def as_dtype(value: DTypeLike) -> DType:
    """The DType meant by a DType, a name ("float32"), a NumPy dtype or a Python type.

    Raises:
        DTypeError: for anything else, with the names that exist.
    """
    if isinstance(value, DType):
        return value
    if value is bool:
        return bool_
    if value is int:
        return default_int
    if value is float:
        return default_float
    name = value if isinstance(value, str) else ""
    if not name:
        try:
            name = "None" if value is None else np.dtype(value).name
        except TypeError:
            name = str(value)
    found = _BY_NAME.get(name) or _ALIASES.get(name)
    if found is None:
        raise DTypeError(f"no dtype {name!r}; there are {', '.join(_BY_NAME)}")
    return found


def named(*names: str) -> frozenset[DType]:
    """The dtypes of these names; several may stand in one text: ``named("bool int32", "half")``.

    Raises:
        DTypeError: for a name that is none, with those that exist.
    """
    return frozenset(as_dtype(name) for text in names for name in text.split())


@lru_cache(maxsize=1024)
def promote(a: DType, b: DType) -> DType:
    """The type in which ``a`` and ``b`` meet. Commutative and associative where it is defined.

    Raises:
        DTypeError: for uint64 with a signed integer, which no integer type holds, and for one 8-bit float
            with the other.
    """
    if a is b:
        return a
    if a.is_bool:
        return b
    if b.is_bool:
        return a
    if a.is_float or b.is_float:
        if not (a.is_float and b.is_float):
            return a if a.is_float else b
        if a.bits == b.bits == 8:
            raise DTypeError(
                f"{a} and {b} do not promote: neither holds the other. "
                "Cast them to one that does, as in x.cast('float16')"
            )
        if a.bits == b.bits:
            return float32
        return a if a.bits > b.bits else b
    if a.kind is b.kind:
        return a if a.bits > b.bits else b
    signed, unsigned = (a, b) if a.kind is Kind.INT else (b, a)
    if signed.bits > unsigned.bits:
        return signed
    if unsigned.bits == 64:
        raise DTypeError(
            f"{a} and {b} do not promote: no integer type holds both. "
            f"Cast one of them, as in x.cast('{signed}')"
        )
    return _BY_NAME[f"int{unsigned.bits * 2}"]


def wide(dtype: DType) -> DType:
    """What a reduction of ``dtype`` folds in: float32 for narrower floats, rounded once at the end."""
    return float32 if dtype.is_float and dtype.bits < 32 else dtype


def promote_all(dtypes: Iterable[DType]) -> DType:
    """``promote`` over several."""
    it = iter(dtypes)
    out = next(it)
    for d in it:
        out = promote(out, d)
    return out


def scalar_dtype(value: Scalar, beside: DType | None = None) -> DType:
    """The type of a Python scalar: ``beside`` when its kind fits there, else the default of its kind."""
    if isinstance(value, bool):
        return beside or bool_
    if isinstance(value, int):
        return beside if beside is not None and not beside.is_bool else default_int
    return beside if beside is not None and beside.is_float else default_float
