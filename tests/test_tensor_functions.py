"""Elementary functions: within a few units in the last place, and right at the special values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import mpmath
import numpy as np
import pytest
from tensors import on, ulps

from portwright import Tensor
from portwright.core.reference import round_to

RNG = np.random.default_rng(0)
INF, NAN = math.inf, math.nan


@pytest.fixture(autouse=True)
def _reference() -> Iterator[None]:
    with on("NUMPY"), np.errstate(all="ignore"):
        yield


def spread(low: float, high: float, n: int = 4000) -> Any:
    """Values across a range, and near zero where it is in it."""
    near = RNG.choice([-1.0, 1.0], n) * np.exp(RNG.uniform(-30, np.log(max(abs(low), abs(high))), n))
    values = np.concatenate([RNG.uniform(low, high, n), near[(near >= low) & (near <= high)]])
    return values.astype(np.float32)


sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
erf = np.vectorize(math.erf, otypes=[np.float64])
# name: (NumPy's, range, bound in ulp when the primitives are correctly rounded)
FUNCTIONS: dict[str, tuple[Callable[[Any], Any], float, float, float]] = {
    "exp": (np.exp, -104, 89, 1.5),
    "exp2": (np.exp2, -150, 128, 0.51),
    "expm1": (np.expm1, -104, 89, 2.5),
    "log": (np.log, 0, 1e6, 1.5),
    "log2": (np.log2, 0, 1e6, 0.51),
    "log10": (np.log10, 0, 1e6, 2),
    "log1p": (np.log1p, -1, 1e6, 4),
    "sigmoid": (sigmoid, -87, 100, 3),
    "tanh": (np.tanh, -12, 12, 2),
    "sinh": (np.sinh, -89.4, 89.4, 3),
    "cosh": (np.cosh, -89.4, 89.4, 2),
    "asinh": (np.arcsinh, -1e6, 1e6, 5),
    "acosh": (np.arccosh, 1, 1e6, 4),
    "atanh": (np.arctanh, -1, 1, 5),
    "erf": (erf, -5, 5, 3),
    "sin": (np.sin, -4000, 4000, 0.51),
    "cos": (np.cos, -100, 100, 2),
    "tan": (np.tan, -100, 100, 4),
    "atan": (np.arctan, -100, 100, 3.5),
    "asin": (np.arcsin, -1, 1, 3),
    "acos": (np.arccos, -1, 1, 2),
    "sqrt": (np.sqrt, 0, 1e30, 0.51),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 1e-30, 1e30, 1.5),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_accuracy_in_float32(name: str) -> None:
    f, low, high, bound = FUNCTIONS[name]
    x = spread(low, high)
    off = ulps(getattr(Tensor(x), name)().numpy(), f(x.astype(np.float64)))
    assert off.max() <= bound, f"{off.max():.2f} ulp at {x[off.argmax()]!r}"


@pytest.mark.parametrize(
    "name", ["exp", "expm1", "log1p", "tanh", "erf", "cos", "atan", "asin", "sinh", "acosh"]
)
def test_accuracy_in_float64(name: str) -> None:
    _, low, high, bound = FUNCTIONS[name]
    x = spread(low, high, 60).astype(np.float64)
    exact = getattr(mpmath, name)
    with mpmath.workdps(40):
        want = np.array([mpmath.mpf(exact(mpmath.mpf(float(v)))) for v in x], object)
        got = getattr(Tensor(x), name)().numpy()
        off = [
            abs(mpmath.mpf(float(g)) - w) / mpmath.mpf(np.spacing(abs(float(w)) or 1e-300))
            for g, w in zip(got, want, strict=True)
        ]
    assert max(off) <= bound + 1


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "erf", "sigmoid", "cos", "expm1"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_round_a_float32_result(name: str, dtype: str) -> None:
    f, low, high, _ = FUNCTIONS[name]
    x = Tensor(spread(max(low, -9), min(high, 9), 300)).cast(dtype)
    got = getattr(x, name)()
    want = round_to(f(x.numpy().astype(np.float64)), got.dtype).astype(np.float64)
    values = got.numpy().astype(np.float64)
    close = np.abs(values - want) <= np.abs(want) * 2.0**-7 * (1 if dtype == "bfloat16" else 2**-3)
    assert (close | (values == want) | (np.isnan(values) & np.isnan(want))).all()


SPECIAL = {
    "exp": {INF: INF, -INF: 0, 0: 1, 1000: INF, -1000: 0, 88.72: None},
    "expm1": {INF: INF, -INF: -1, -0.0: -0.0},
    "log": {INF: INF, -0.0: -INF, -1: NAN, 1: 0},
    "log1p": {INF: INF, -1: -INF, -2: NAN, 0: 0, 3e38: None},
    "sigmoid": {INF: 1, -INF: 0, 0: 0.5},
    "tanh": {INF: 1, -INF: -1, -0.0: -0.0},
    "sinh": {INF: INF, -INF: -INF, -0.0: -0.0},
    "cosh": {INF: INF, -INF: INF, 0: 1},
    "asinh": {INF: INF, -INF: -INF, -0.0: -0.0, 3e38: None},
    "acosh": {INF: INF, 1: 0, 0.5: NAN, -3e38: NAN, -INF: NAN},
    "atanh": {1: INF, -1: -INF, 2: NAN, -0.0: -0.0},
    "erf": {INF: 1, -INF: -1, -0.0: -0.0},
    "atan": {INF: math.pi / 2, -INF: -math.pi / 2, -0.0: -0.0, 1e38: math.pi / 2},
    "asin": {1: math.pi / 2, -1: -math.pi / 2, 1.5: NAN, -0.0: -0.0},
    "acos": {1: 0, -1: math.pi, 1.5: NAN, 0: math.pi / 2},
    "sin": {INF: NAN, -0.0: -0.0},
    "cos": {INF: NAN, 0: 1},
    "floor": {INF: INF, -0.0: -0.0, -0.5: -1, 1e30: 1e30},
    "ceil": {-INF: -INF, -0.5: -0.0, 0.5: 1},
    "trunc": {-0.5: -0.0, -1.5: -1, 1e9: 1e9},
    "round": {0.5: 0, 1.5: 2, 2.5: 2, -0.5: -0.0, 8388607.5: 8388608, 2147483648.0: 2147483648.0},
}


@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name: str) -> None:
    for x, want in {**SPECIAL[name], NAN: NAN}.items():
        got = float(getattr(Tensor([x], dtype="float32"), name)().numpy()[0])
        if want is None:
            exact = FUNCTIONS[name][0](np.float64(np.float32(x)))
            assert ulps(np.array([got], np.float32), np.array([exact])).max() <= FUNCTIONS[name][3], (name, x)
        elif math.isnan(want):
            assert math.isnan(got), (name, x, got)
        else:
            assert got == np.float32(want), (name, x, got)
            assert math.copysign(1, got) == math.copysign(1, want), (name, x, got)


def test_rounding_is_exact_over_the_range() -> None:
    x = np.concatenate([spread(-1e7, 1e7), np.arange(-20, 20, 0.25, dtype=np.float32)])
    for name in ("floor", "ceil", "trunc", "round"):
        np.testing.assert_array_equal(getattr(Tensor(x), name)().numpy(), getattr(np, name)(x))
    np.testing.assert_allclose(Tensor([1.2345, -1.2355]).round(2).numpy(), [1.23, -1.24], 1e-6)
    np.testing.assert_allclose(Tensor([1.75, -1.75]).frac().numpy(), [0.75, -0.75])


def test_cos_is_accurate_beside_its_zeros() -> None:
    zeros = ((np.arange(1, 400) - 0.5) * math.pi).astype(np.float32)
    assert ulps(Tensor(zeros).cos().numpy(), np.cos(zeros.astype(np.float64))).max() <= 4


def test_powers_are_accurate_however_large() -> None:
    n = 20000
    x = np.exp(RNG.uniform(-20, 20, n)).astype(np.float32)
    x[: n // 2] = RNG.uniform(0.6, 1.6, n // 2)  # the logarithm's error is largest beside √½ and √2
    y = (RNG.uniform(-120, 127, n) / np.log2(x)).astype(np.float32)
    x[: n // 4] = (1 + RNG.uniform(-1e-3, 1e-3, n // 4)).astype(np.float32)
    y[: n // 4] = RNG.uniform(-5e4, 5e4, n // 4).astype(np.float32)
    # what was once wrong by 6.5 ulp
    x[:3], y[:3] = (1.3816205, 1.4047228, 1.4251095), (263.70428, -240.78172, -205.491)
    want = np.power(x.astype(np.longdouble), y.astype(np.longdouble)).astype(np.float64)
    assert ulps((Tensor(x) ** Tensor(y)).numpy(), want).max() <= 2


def test_powers_of_doubles_are_accurate_however_large() -> None:
    n = 20000
    x = np.exp(RNG.uniform(-200, 200, n))
    x[: n // 2] = RNG.uniform(0.6, 1.6, n // 2)
    y = RNG.uniform(-1000, 1020, n) / np.log2(x)
    want = np.power(x.astype(np.longdouble), y.astype(np.longdouble))
    got = (Tensor(x) ** Tensor(y)).numpy()
    assert (np.abs(got - want) / np.spacing(want.astype(np.float64))).max() <= 2


def test_special_powers_are_cs() -> None:
    values = np.array(
        [0, -0.0, 1, -1, 2, -2, 0.5, -0.5, INF, -INF, NAN, 3, -3, 1e30, -1e30, 16777217.0], np.float32
    )
    a, b = (v.ravel() for v in np.meshgrid(values, values))
    got, want = (
        (Tensor(a) ** Tensor(b)).numpy(),
        np.power(a.astype(np.float64), b.astype(np.float64)).astype(np.float32),
    )
    np.testing.assert_allclose(got, want, 3e-7)
    zero = want == 0
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]))


def test_angles_of_points() -> None:
    values = np.array([0.0, -0.0, 1, -1, 1e-30, 1e30, -1e30, INF, -INF, NAN, 3, -0.7], np.float32)
    y, x = (v.ravel() for v in np.meshgrid(values, values))
    want = np.arctan2(y.astype(np.float64), x.astype(np.float64))
    got = Tensor(y).atan2(Tensor(x)).numpy()
    assert ulps(got, want).max() <= 4
    np.testing.assert_array_equal(np.signbit(got[want == 0]), np.signbit(want[want == 0]))


def test_logaddexp() -> None:
    a = np.array([0.0, 1000, -1000, -INF, INF, -INF, 3], np.float32)
    b = np.array([0.0, 1001, -1000, -INF, INF, 2, -4], np.float32)
    np.testing.assert_allclose(Tensor(a).logaddexp(Tensor(b)).numpy(), np.logaddexp(a, b), 1e-6)


def test_integers_become_floats() -> None:
    assert Tensor([1, 2]).exp().dtype.name == "float32"
    assert Tensor([1, 2]).floor().dtype.name == "int32"
