"""What a primitive gives at the edges: small tables, computed by the contract's own NumPy reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..conformance.inputs import guarded
from ..core import dtype as dt
from ..core.dtype import DType
from ..core.ops import Op, Operands, Primitive

Array = np.ndarray[Any, np.dtype[Any]]

NEVER_SENT, ANYTHING, EITHER_ZERO = "·", "any", "±0"
_NEAR = 16
"""How far from an end of an integer's range a number is still told by that end."""


@dataclass(frozen=True)
class Grid:
    """A table of results.

    Attributes:
        title: what is computed, on which dtype.
        corner: what the rows and columns are.
        columns: the head of each.
        rows: the operand, and the result in each column.
    """

    title: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def grids(p: Primitive, dtype: DType | None = None) -> Iterator[Grid]:
    """The tables of a primitive, on ``dtype`` or on the usual ones; none of the memory group."""
    if p.reference is None:
        return
    if p.op is Op.CAST:
        yield from _casts(p, dtype)
    elif p.op is Op.BITCAST:
        yield from (_bits(p, d) for d in _chosen(p, dtype, (dt.float32, dt.int32)))
    elif p.op is Op.WHERE:
        yield from (_choice(p, d) for d in _chosen(p, dtype, (dt.float32,)))
    elif p.arity == 1:
        floats = (dt.float16, dt.bfloat16, dt.float32, dt.float64)
        kinds: Sequence[tuple[DType, ...]] = (
            ((dtype,),) if dtype else (floats, (dt.int8, dt.int32, dt.uint32))
        )
        for kind in kinds:
            if p.operands.accepts(kind[0]):
                yield _unary(p, kind)
    else:
        yield from (_binary(p, d) for d in _chosen(p, dtype, (dt.float32, dt.int32, dt.bool_)))


def legend(dtypes: Sequence[DType]) -> str:
    """What the words in the tables stand for."""
    parts = ["tiny: the least subnormal"] if any(d.is_float for d in dtypes) else []
    for d in dtypes:
        if d.is_float:
            parts.append(f"{d}: max {d.finite_max:.4g}, tiny {_least(d):.4g}")
        elif d.is_int:
            parts.append(f"{d}: min {d.min}, max {d.max}")
    return "; ".join(parts)


def _chosen(p: Primitive, dtype: DType | None, usual: Sequence[DType]) -> list[DType]:
    return [dtype] if dtype is not None else [d for d in usual if p.operands.accepts(d)]


def _compute(p: Primitive, result: DType, *operands: Array) -> Array:
    assert p.reference is not None
    return np.asarray(p.reference(result, *operands)).astype(result.numpy, copy=False)


def _least(dtype: DType) -> float:
    return dtype.smallest_normal * dtype.eps


def edges(dtype: DType) -> Array:
    """The values that tell ports apart."""
    if dtype.is_bool:
        return np.array([False, True])
    if dtype.is_int:
        near = (int(dtype.min), -7, -1, 0, 1, 3, int(dtype.max))
        return np.array([v for v in dict.fromkeys(near) if v >= dtype.min], dtype.numpy)
    inf = [float("inf")] if dtype.has_infinity else []
    values = [float("nan"), *(-x for x in inf), -1.0, -0.0, 0.0, _least(dtype), 1.0, dtype.finite_max, *inf]
    return _floats(values, dtype)


def _floats(values: Sequence[float], dtype: DType) -> Array:
    with np.errstate(all="ignore"):
        return np.array(values, np.float64 if dtype.is_in_numpy else np.float32).astype(dtype.numpy)


def label(value: Any, dtype: DType) -> str:
    """A value in few letters: by its name, where it has one."""
    if dtype.is_bool:
        return str(int(value))
    if dtype.is_int:
        number = int(value)
        for name, end in (("min", int(dtype.min)), ("max", int(dtype.max))):
            away = number - end
            if end and abs(away) < _NEAR and dtype.bits > 8:
                return f"{name}{away:+d}" if away else name
        return str(number)
    number_ = float(value)
    if number_ != number_:
        return "nan"
    sign = "-" if np.signbit(np.float64(number_)) else ""
    named = {0.0: f"{sign or '+'}0", dtype.finite_max: f"{sign}max", _least(dtype): f"{sign}tiny"}
    return named.get(abs(number_), f"{number_:.4g}")


def _unary(p: Primitive, dtypes: Sequence[DType]) -> Grid:
    columns = []
    for d in dtypes:
        if d.is_float:
            more = _floats([0.5, 2.0, 10.0], d)
            x = np.concatenate([edges(d), more, -more])
        else:
            x = edges(d)
        columns.append({label(a, d): label(r, d) for a, r in zip(x, _compute(p, d, x), strict=True)})
    rows = dict.fromkeys(k for c in columns for k in sorted(c, key=_place))
    return Grid(
        f"{p.name}(a)", "a", tuple(d.name for d in dtypes),
        tuple((a, tuple(c.get(a, "") for c in columns)) for a in rows),
    )  # fmt: skip


def _place(name: str) -> float:
    """Where a label stands in a column: by value, NaN first."""
    known = {"nan": float("-inf"), "-inf": -1e300, "-0": -1e-300, "+0": 0.0, "tiny": 1e-300, "-max": -1e299,
             "max": 1e299, "inf": 1e300, "min": -1e299}  # fmt: skip
    return known[name] if name in known else float(name.replace("min", "-1e299").replace("max", "1e299"))


def _binary(p: Primitive, d: DType) -> Grid:
    a, b = edges(d), edges(d)
    if p.op in (Op.SHL, Op.SHR):
        b = np.array([0, 1, 3, d.bits - 1], d.numpy)
    if p.op in (Op.IDIV, Op.MOD):
        b = b[b != 0]
    x, y = (g.ravel() for g in np.meshgrid(a, b, indexing="ij"))
    sent = [np.asarray(s == o) for s, o in zip(guarded(p.op, d, x, y), (x, y), strict=True)]
    fine = (sent[0] & sent[1]) | d.is_float
    result = p.result_dtype(d, d)
    got = _compute(p, result, *(np.where(fine, v, d.numpy.type(1)) for v in (x, y)))
    cells = [
        NEVER_SENT if not f else EITHER_ZERO if _is_either_zero(p, d, i, j) else label(r, result)
        for f, i, j, r in zip(fine, x, y, got, strict=True)
    ]
    rows = tuple(
        (label(v, d), tuple(cells[i * len(b) : (i + 1) * len(b)])) for i, v in enumerate(a)
    )  # fmt: skip
    return Grid(f"{p.name}(a, b) of {d}", "a \\ b", tuple(label(v, d) for v in b), rows)


def _is_either_zero(p: Primitive, d: DType, a: Any, b: Any) -> bool:
    """Whether the contract leaves the sign of a zero open, as it does of MAX(+0, -0)."""
    return p.op is Op.MAX and d.is_float and a == 0 == b and bool(np.signbit(a) != np.signbit(b))


def _choice(p: Primitive, d: DType) -> Grid:
    ends = edges(d)
    pairs = [(x, y) for x, y in zip(ends, ends[::-1], strict=True) if label(x, d) != label(y, d)]
    c = np.array([False, True])
    rows = []
    for x, y in pairs:
        a, b = (np.array([v, v], d.numpy) for v in (x, y))
        got = _compute(p, d, c, a, b)
        rows.append((f"{label(x, d)}, {label(y, d)}", tuple(label(r, d) for r in got)))
    return Grid(f"{p.name}(c, a, b) of {d}", "a, b \\ c", ("0", "1"), tuple(rows))


def _bits(p: Primitive, d: DType) -> Grid:
    x = edges(d)
    to = {8: dt.uint8, 16: dt.uint16, 32: dt.uint32, 64: dt.uint64}[d.bits]
    got = _compute(p, to, x)
    rows = tuple(
        (label(a, d), (f"0x{int(r):0{d.bits // 4}x}",)) for a, r in zip(x, got, strict=True)
    )  # fmt: skip
    return Grid(f"{p.name}(a) from {d}", "a", (to.name,), rows)


def _casts(p: Primitive, dtype: DType | None) -> Iterator[Grid]:
    if dtype is None or dtype.is_float:
        source = dtype or dt.float32
        values = [float("nan"), -float("inf"), -1.5, -0.0, _least(source), 0.5, 1.5, 2.5, 300.0, 1e9]
        x = _floats([*values, float(source.finite_max), float("inf")], source)
        yield _cast(p, source, x, (dt.bool_, dt.uint8, dt.int32, dt.float16, dt.bfloat16, dt.float64))
    if dtype is None or not dtype.is_float:
        source = dtype or dt.int32
        x = edges(source)
        if source.is_int and source.bits >= 32:
            x = np.concatenate([x, np.array([2**24 + 1], source.numpy)])
        yield _cast(p, source, x, (dt.bool_, dt.int8, dt.uint8, dt.uint32, dt.float16, dt.float32))


def _cast(p: Primitive, source: DType, x: Array, to: Sequence[DType]) -> Grid:
    columns = []
    for d in (d for d in to if d is not source):
        got = _compute(p, d, x)
        columns.append(
            (d, [ANYTHING if _is_open(a, source, d) else label(r, d) for a, r in zip(x, got, strict=True)])
        )
    rows = tuple((label(a, source), tuple(c[i] for _, c in columns)) for i, a in enumerate(x))
    return Grid(f"{p.name}(a) from {source}", "a \\ to", tuple(d.name for d, _ in columns), rows)


def _is_open(value: Any, source: DType, to: DType) -> bool:
    """Whether the contract leaves the result of a cast open: a float beyond an integer's range, or NaN."""
    if not (source.is_float and to.is_int):
        return False
    number = float(value)
    return not (np.isfinite(number) and to.min <= int(number) <= to.max)


__all__ = ["ANYTHING", "EITHER_ZERO", "NEVER_SENT", "Grid", "Operands", "grids", "legend"]
