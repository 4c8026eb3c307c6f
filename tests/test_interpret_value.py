"""The meaning of value expressions: FMA and DIV are rounded once, whatever the operands."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from portwright.core import value as val
from portwright.core.dtype import DType, bfloat16, float16, float32, float64
from portwright.core.interpret_value import divide, evaluate_value, fma
from portwright.core.ops import Op

Array = np.ndarray[Any, np.dtype[Any]]


def operands(dtype: DType, count: int) -> list[Array]:
    """Triples with every kind of cancellation, and some near overflow and among the subnormals."""
    rng = np.random.default_rng(7)
    spread = 8 if dtype is float16 else 60
    a, b = (
        np.ldexp(rng.uniform(-1, 1, count), rng.integers(-spread, spread, count)).astype(dtype.numpy)
        for _ in range(2)
    )
    product = a.astype(np.float64) * b.astype(np.float64)
    factor = np.array([-1.0, -1.0, -0.5, 2.0**-11, 2.0**-25, -(2.0**-54), 1.0])[np.arange(count) % 7]
    with np.errstate(all="ignore"):
        c = (product * factor).astype(dtype.numpy)
        scale = dtype.numpy.type(dtype.smallest_normal)
        a[::5], c[::5] = a[::5] * scale, c[::5] * scale
    return [a, b, c]


def is_nearest(got: float, exact: Fraction, dtype: DType) -> bool:
    """Whether no other number of the dtype is nearer to ``exact``, and of two as near, ``got`` is even."""
    x = dtype.numpy.type(got)
    if not np.isfinite(x):
        return abs(exact) >= Fraction(float(dtype.finite_max))
    off = abs(Fraction(float(x)) - exact)
    for toward in (np.inf, -np.inf):
        other = np.nextafter(x, dtype.numpy.type(toward))
        if not np.isfinite(other):
            continue
        apart = abs(Fraction(float(other)) - exact)
        odd = int(np.array(x).view(f"u{x.itemsize}")) & 1
        if apart < off or (apart == off and odd and apart):
            return False
    return True


@pytest.mark.parametrize("dtype", [float16, bfloat16, float32, float64], ids=str)
def test_fma_is_rounded_once(dtype: DType) -> None:
    a, b, c = operands(dtype, 3000)
    got = fma(dtype, a, b, c)
    for x, y, z, r in zip(*(v.astype(np.float64).tolist() for v in (a, b, c, got)), strict=True):
        if all(np.isfinite((x, y, z))):
            assert is_nearest(r, Fraction(x) * Fraction(y) + Fraction(z), dtype), (x.hex(), y.hex(), z.hex())


@pytest.mark.parametrize("dtype", [float16, bfloat16, float32, float64], ids=str)
def test_division_is_rounded_once(dtype: DType) -> None:
    a, b, _ = operands(dtype, 3000)
    got = divide(dtype, a, b)
    for x, y, r in zip(*(v.astype(np.float64).tolist() for v in (a, b, got)), strict=True):
        if np.isfinite(x) and y and np.isfinite(y):
            assert is_nearest(r, Fraction(x) / Fraction(y), dtype), (x.hex(), y.hex())


def test_fma_of_infinities_and_nan() -> None:
    inf, nan = np.inf, np.nan
    a = np.array([inf, inf, 0.0, 1.0, nan, 1e308, -1e308])
    b = np.array([1.0, 0.0, inf, 1.0, 1.0, 1e308, 1e308])
    c = np.array([-inf, 1.0, 1.0, inf, 1.0, -inf, 1.0])
    np.testing.assert_array_equal(fma(float64, a, b, c), [nan, nan, nan, inf, nan, -inf, -inf])


def test_lanes() -> None:
    x = val.ref("x", float32, 4)
    s = val.ref("s", float32)
    arrays = {"x": np.arange(4, dtype=np.float32), "s": np.float32(10)}
    folded = val.make(val.Extra.FOLD, float32, (val.primitive(Op.ADD, x, s),), Op.ADD, 1)
    steps = val.make(val.Extra.LANES, float32, (), 3, 4)
    third = val.make(val.Extra.LANE, float32, (x,), 2, 1)
    spread = val.make(val.Extra.SPLAT, float32, (s,), None, 4)
    got = evaluate_value([folded, steps, third, spread], lambda v: np.asarray(arrays[str(v.arg)]))
    assert got[0] == 46
    assert got[1].tolist() == [0, 3, 6, 9]
    assert got[2] == 2
    assert got[3].tolist() == [10, 10, 10, 10]
