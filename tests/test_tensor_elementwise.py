"""Arithmetic, comparison and bits against NumPy, on the values where they are easily wrong."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tensors import on, same

from portwright import Tensor
from portwright.core.errors import ArgumentError, DTypeError

INF, NAN = float("inf"), float("nan")
FLOATS = np.array([0.0, -0.0, 1.0, -1.5, 2.5, -3.5, 1e30, -1e-30, INF, -INF, NAN], np.float32)
INTS = {
    dtype: np.array(
        [0, 1, 2, 3, 7, np.iinfo(dtype).max, np.iinfo(dtype).min, *([-1, -3, -7] if signed else [5])], dtype
    )
    for dtype, signed in (
        (np.int8, True),
        (np.int32, True),
        (np.int64, True),
        (np.uint8, False),
        (np.uint64, False),
    )
}


@pytest.fixture(autouse=True)
def _reference() -> Iterator[None]:
    with on("NUMPY"), np.errstate(all="ignore"):
        yield


def table(values: Any) -> tuple[Any, Any]:
    a, b = np.meshgrid(values, values)
    return a.ravel(), b.ravel()


@pytest.mark.parametrize("op", [operator.add, operator.sub, operator.mul])
@pytest.mark.parametrize("values", [FLOATS, *INTS.values()], ids=lambda v: v.dtype.name)
def test_arithmetic(op: Callable[[Any, Any], Any], values: Any) -> None:
    a, b = table(values)
    same(op(Tensor(a), Tensor(b)), op(a, b))


@pytest.mark.parametrize("values", [FLOATS, *INTS.values()], ids=lambda v: v.dtype.name)
@pytest.mark.parametrize("name", ["lt", "gt", "le", "ge", "eq", "ne"])
def test_comparison(name: str, values: Any) -> None:
    a, b = table(values)
    same(getattr(Tensor(a), name)(Tensor(b)), getattr(operator, name)(a, b))


@pytest.mark.parametrize("values", INTS.values(), ids=lambda v: v.dtype.name)
def test_integer_division_rounds_as_asked_and_by_zero_gives_zero(values: Any) -> None:
    a, b = table(values)
    safe = np.where(b == 0, 1, b)
    floor, mod = np.where(b == 0, 0, a // safe), np.where(b == 0, 0, a % safe)
    same(Tensor(a) // Tensor(b), floor.astype(a.dtype))
    same(Tensor(a) % Tensor(b), mod.astype(a.dtype))
    same(Tensor(a).fmod(Tensor(b)), np.where(b == 0, 0, np.fmod(a, safe)).astype(a.dtype))
    exact = [
        int(x) // int(y) if int(x) % int(y) == 0 or (x < 0) == (y < 0) else -(-int(x) // int(y))
        for x, y in zip(a, safe, strict=True)
    ]
    wrapped = np.array([e if y else 0 for e, y in zip(exact, b, strict=True)], object)
    bits = 8 * a.dtype.itemsize
    wanted = (
        np.array([(int(w) & (2**bits - 1)) for w in wrapped], np.uint64)
        .astype(f"u{a.dtype.itemsize}")
        .view(a.dtype)
    )
    same(Tensor(a).div(Tensor(b), rounding_mode="trunc"), wanted)


def test_division_by_a_constant_needs_no_guard_and_is_the_same() -> None:
    a = INTS[np.int32]
    same(Tensor(a) // 3, a // np.int32(3))
    same(Tensor(a) % -4, a % np.int32(-4))
    assert (Tensor([7]) // 0).tolist() == [0]
    assert (7 // Tensor([2, 0])).tolist() == [3, 0]
    assert (7 % Tensor([4, 0])).tolist() == [3, 0]


def test_float_division() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 200)).astype(np.float32)
    same(Tensor(a) / Tensor(b), a / b, 2e-7)
    same(Tensor([7, -7]) / 2, np.array([3.5, -3.5], np.float32))
    same(1 / Tensor([4.0]), np.array([0.25], np.float32))
    x = np.array([6.0, -6.0, 7.5, -7.5, 1e6, 0.3], np.float32)
    y = np.array([3.0, 3.0, -2.0, -2.0, 3.0, 0.1], np.float32)
    same(Tensor(x) // Tensor(y), np.floor_divide(x, y))
    same(Tensor(x) % Tensor(y), np.remainder(x, y))
    same(Tensor(x).fmod(Tensor(y)), np.fmod(x, y))


def test_float_remainders_are_exact_and_their_specials_are_cs() -> None:
    rng = np.random.default_rng(1)
    a = (rng.standard_normal(500) * 10 ** rng.uniform(-2, 5, 500)).astype(np.float32)
    b = rng.standard_normal(500).astype(np.float32)
    same(Tensor(a).fmod(Tensor(b)), np.fmod(a, b))
    same(Tensor(a) % Tensor(b), np.remainder(a, b), 1e-7, 1e-7)
    s, t = table(FLOATS[[0, 2, 3, 8, 9, 10]])
    same(Tensor(s).fmod(Tensor(t)), np.fmod(s, t))
    same(Tensor(s) % Tensor(t), np.remainder(s, t))


@pytest.mark.parametrize("values", INTS.values(), ids=lambda v: v.dtype.name)
def test_shifts_by_any_amount(values: Any) -> None:
    width = 8 * values.dtype.itemsize
    amounts = np.array([0, 1, width - 1, width, width + 1, *([-1] if values.dtype.kind == "i" else [])])
    for n in amounts:
        left = [(int(v) << int(n)) if 0 <= n < width else 0 for v in values]
        right = [(int(v) >> int(n)) if 0 <= n < width else (-1 if v < 0 else 0) for v in values]
        wanted = np.array([v & (2**width - 1) for v in left], np.uint64).astype(f"u{values.dtype.itemsize}")
        count = Tensor(np.full(values.shape, n).astype(values.dtype))
        same(Tensor(values) << count, wanted.view(values.dtype))
        same(Tensor(values) >> count, np.array(right, values.dtype))
    assert (Tensor([1]) << 33).tolist() == [0]


@pytest.mark.parametrize("values", [FLOATS, *INTS.values()], ids=lambda v: v.dtype.name)
def test_extremes(values: Any) -> None:
    a, b = table(values)
    same(Tensor(a).maximum(Tensor(b)), np.maximum(a, b))
    same(Tensor(a).minimum(Tensor(b)), np.minimum(a, b))
    same(abs(Tensor(values)), np.abs(values))
    same(Tensor(values).sign(), np.where(np.isnan(values), 0, np.sign(values)).astype(values.dtype))


def test_signs_of_zero_and_nan() -> None:
    assert np.signbit(Tensor([-0.0]).abs().numpy()).tolist() == [False]
    assert np.signbit((-Tensor([0.0])).numpy()).tolist() == [True]
    a, b = table(FLOATS)
    got = Tensor(a).copysign(Tensor(b)).numpy()
    np.testing.assert_array_equal(np.signbit(got), np.signbit(b))


def test_clip() -> None:
    same(Tensor(FLOATS).clip(-1, 2), np.clip(FLOATS, np.float32(-1), np.float32(2)))
    same(Tensor([1, 5, 9]).clip(max=6), np.array([1, 5, 6], np.int32))
    same(Tensor([1.0, 5.0]).clamp(Tensor([2.0, 2.0]), Tensor([3.0, 3.0])), np.array([2, 3], np.float32))
    with pytest.raises(ArgumentError):
        Tensor([1.0]).clip()


def test_bits() -> None:
    a, b = table(INTS[np.int32])
    x, y = Tensor(a), Tensor(b)
    same(x & y, a & b)
    same(x | y, a | b)
    same(x ^ y, a ^ b)
    same(~x, ~a)
    same(~Tensor(INTS[np.uint8]), ~INTS[np.uint8])
    same(~Tensor([True, False]), np.array([False, True]))
    same(Tensor([True, True]) ^ Tensor([True, False]), np.array([False, True]))
    with pytest.raises(DTypeError):
        ~Tensor([1.0])


def test_logic_and_what_is_special() -> None:
    a, b = table(FLOATS)
    x, y = Tensor(a), Tensor(b)
    same(x.logical_and(y), np.logical_and(a, b))
    same(x.logical_or(y), np.logical_or(a, b))
    same(x.logical_xor(y), np.logical_xor(a, b))
    same(x.logical_not(), np.logical_not(a))
    same(x.isnan(), np.isnan(a))
    same(x.isinf(), np.isinf(a))
    same(x.isfinite(), np.isfinite(a))
    same(x.isclose(y), np.isclose(a, b))
    same(x.isclose(y, equal_nan=True), np.isclose(a, b, equal_nan=True))


def test_where_takes_the_condition_first_and_leaves_no_trace_of_the_other() -> None:
    c = Tensor([True, False])
    same(Tensor.where(c, Tensor([1.0, NAN]), Tensor([INF, 2.0])), np.array([1, 2], np.float32))
    same(c.where(1, 2.5), np.array([1, 2.5], np.float32))
    same(c.where(Tensor([1], dtype="uint8"), 0), np.array([1, 0], np.uint8))
    same(Tensor([1.0, 2.0]).masked_fill(c, -INF), np.array([-INF, 2], np.float32))
    with pytest.raises(DTypeError, match="condition"):
        Tensor([1.0]).where(c, 0.0)


def test_lerp_and_scaled_sums() -> None:
    a, b = Tensor([1.0, 2.0]), Tensor([3.0, 6.0])
    same(a.lerp(b, 0.25), np.array([1.5, 3], np.float32))
    same(a.add(b, alpha=2), np.array([7, 14], np.float32))
    same(a.sub(b, alpha=2), np.array([-5, -10], np.float32))


def test_powers() -> None:
    x = np.array([0.0, -2.0, 3.0, 0.5], np.float32)
    for n in (0, 1, 2, 3, 4, -1, -2, 7):
        same(Tensor(x) ** n, x ** np.float32(n), 3e-7)
    same(Tensor([2, -3, 0]) ** 5, np.array([32, -243, 0], np.int32))
    same(
        Tensor([2, -3, 0, 1, -1, -1, 2]) ** Tensor([3, 3, 0, -2, -3, -2, -1]),
        np.array([8, -27, 1, 1, -1, 1, 0], np.int32),
    )
    same(2 ** Tensor([0, 3, 31]), np.array([1, 8, -(2**31)], np.int32))
    same(Tensor([3], dtype="uint8") ** Tensor([7], dtype="uint8"), np.array([3**7 % 256], np.uint8))
    with pytest.raises(ArgumentError, match="negative"):
        Tensor([2]) ** -1
