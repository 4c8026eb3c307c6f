"""A Spec that claims less: a port masked down towards the floor, to show that the rest can be built.

A port that takes ``without=SIN,IDIV,int64`` after the colon hands it to ``without``. What is named is a
primitive, a dtype (held still, but computed in no more; where nothing stands in for it, not held either), an
extra, ``vectors``, or ``floor``: everything that can be built.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .device import Extra, Spec
from .dtype import ALL, DType, bool_, float64
from .errors import DeviceError
from .legalize.floor import FLOOR, FLOOR_DTYPES, MUST_COMPUTE
from .ops import Op

PREFIX = "without="
_FLOOR = ("vectors", *(e.value for e in Extra), *(op.name for op in Op if op not in FLOOR | {Op.AND}))


def without(spec: Spec, argument: str | None) -> Spec:
    """``spec`` less what ``argument`` names, separated by commas; as it is without an argument.

    Raises:
        DeviceError: for an argument that is no such list, with what may be named.
    """
    if argument is None:
        return spec
    if not argument.startswith(PREFIX):
        raise DeviceError(f"{spec.name} takes {PREFIX} and a list after the colon, not {argument!r}")
    names = [n.strip() for n in argument.removeprefix(PREFIX).split(",")]
    for name in _expanded(names):
        spec = _less(spec, name)
    return spec


def _expanded(names: Iterable[str]) -> list[str]:
    """``floor`` as all that it stands for."""
    kept = FLOOR_DTYPES | {bool_}
    floor = [*_FLOOR, *(d.name for d in ALL if d not in kept)]
    return [n for name in names for n in (floor if name == "floor" else [name])]


def _less(spec: Spec, name: str) -> Spec:
    op = Op.__members__.get(name.upper())
    if op is not None:
        return replace(spec, native=spec.native - {op})
    dtype = next((d for d in ALL if name in (d.name, f"{d.name}_")), None)
    if dtype is not None:
        return _without_dtype(spec, dtype)
    if name == "vectors":
        return replace(spec, vector_bytes=0)
    extra = next((e for e in Extra if e.value == name.lower()), None)
    if extra is not None:
        return replace(spec, extras=spec.extras - {extra})
    raise DeviceError(
        f"{spec.name} without {name!r}: that is no primitive, dtype or extra, nor 'vectors' or 'floor'"
    )


def _without_dtype(spec: Spec, dtype: DType) -> Spec:
    gone = {dtype} & MUST_COMPUTE
    if dtype.is_int and dtype.bits == 64 and not dtype.is_signed:
        gone = {float64}  # whose bits it is
    return replace(spec, arithmetic=spec.arithmetic - {dtype} - gone, dtypes=spec.dtypes - gone)
