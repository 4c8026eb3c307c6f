"""Reductions and scans against NumPy, with the accumulators and dtypes that are promised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tensors import on, same

from portwright import Tensor
from portwright.core.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4, 5)).astype(np.float32)


@pytest.fixture(autouse=True)
def _reference() -> Iterator[None]:
    with on("NUMPY"):
        yield


SAME_NAME = ["sum", "prod", "max", "min", "mean"]


@pytest.mark.parametrize("dim", [None, 0, -1, (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("name", SAME_NAME)
@pytest.mark.parametrize("keep", [False, True])
def test_folds(name: str, dim: Any, keep: bool) -> None:
    same(getattr(Tensor(X), name)(dim, keep), getattr(X, name)(axis=dim, keepdims=keep), 1e-5, 1e-6)


@pytest.mark.parametrize("dim", [None, 1, (0, 2)])
def test_spread(dim: Any) -> None:
    x = Tensor(X)
    same(x.var(dim), X.var(dim, ddof=1), 1e-5)
    same(x.std(dim, correction=0), X.std(dim), 1e-5)
    v, m = x.var_mean(dim)
    same(v, X.var(dim, ddof=1), 1e-5)
    same(m, X.mean(dim), 1e-5, 1e-7)
    s, _ = x.std_mean(dim)
    same(s, X.std(dim, ddof=1), 1e-5)


def test_variance_of_values_far_from_zero() -> None:
    x = (X + 1000).astype(np.float32)
    same(Tensor(x).var(), np.float32(x.astype(np.float64).var(ddof=1)), 1e-5)


@pytest.mark.parametrize(
    ("dtype", "total"),
    [
        ("bool", "int64"),
        ("int8", "int64"),
        ("int32", "int64"),
        ("uint8", "uint64"),
        ("uint32", "uint64"),
        ("float16", "float16"),
    ],
)
def test_totals_are_wide(dtype: str, total: str) -> None:
    x = Tensor([100, 100, 100]).cast(dtype)
    assert x.sum().dtype.name == total
    assert x.prod().dtype.name == total
    assert x.cumsum().dtype.name == total
    if dtype != "bool":
        assert x.sum().item() == 300


def test_half_sums_accumulate_in_float32() -> None:
    x = Tensor.ones(4096, dtype="float16") * 1.001
    exact = float(x.numpy().astype(np.float64).sum())
    assert abs(x.sum().item() - exact) <= 2
    assert abs(x.mean().item() - 1.001) <= 1e-3
    assert Tensor.full((5000,), 1.0, dtype="bfloat16").sum().item() == 4992  # 5000, rounded once


def test_nothing_to_reduce() -> None:
    x = Tensor.zeros(0, 3)
    assert x.sum(0).tolist() == [0, 0, 0]
    assert x.prod(0).tolist() == [1, 1, 1]
    assert not x.any().item()
    assert x.all().item()
    assert np.isnan(x.mean().item())
    with pytest.raises(ShapeError, match="nothing to choose"):
        x.max(0)
    with pytest.raises(ShapeError, match="nothing to choose"):
        x.argmin(0)


def test_extremes_of_every_kind() -> None:
    for dtype in (np.int8, np.uint8, np.int64, np.uint64, np.bool_):
        x = (
            RNG.integers(0, 2, (4, 6)).astype(dtype)
            if dtype is np.bool_
            else RNG.integers(0, 100, (4, 6)).astype(dtype)
        )
        same(Tensor(x).min(1), x.min(1))
        same(Tensor(x).max(1), x.max(1))
    nan = Tensor([1.0, float("nan"), 3.0])
    assert np.isnan(nan.max().item())
    assert np.isnan(nan.min().item())
    assert nan.argmax().item() == 1
    assert nan.argmin().item() == 1


def test_positions_are_the_first() -> None:
    x = np.array([[3, 1, 3], [0, 0, 2]], np.int32)
    same(Tensor(x).argmax(1), x.argmax(1))
    same(Tensor(x).argmin(1, keepdim=True), x.argmin(1)[:, None])
    same(Tensor(x).argmax(), x.argmax())
    same(Tensor(X).argmax(1), X.argmax(1))
    assert Tensor(5).argmax().item() == 0


def test_truth() -> None:
    x = np.array([[0, 2, 0], [1, 1, 3]], np.int32)
    same(Tensor(x).any(0), x.any(0))
    same(Tensor(x).all(0), x.all(0))
    same(Tensor(x).count_nonzero(), np.int64(4))


def test_logsumexp_neither_overflows_nor_loses() -> None:
    x = np.array([[1000.0, 1001], [-1000, -1002], [-np.inf, -np.inf], [np.inf, 0]], np.float32)
    want = np.logaddexp(x[:, 0].astype(np.float64), x[:, 1]).astype(np.float32)
    same(Tensor(x).logsumexp(1), want, 1e-6)


@pytest.mark.parametrize("p", ["fro", 1, 3, 0, float("inf"), -float("inf")])
def test_norms(p: Any) -> None:
    want = np.linalg.norm(X[0], 2 if p == "fro" else p, axis=1)
    same(Tensor(X[0]).norm(p, 1), want.astype(np.float32), 1e-5)


def test_normalize() -> None:
    x = Tensor(X[0]).normalize()
    np.testing.assert_allclose(x.norm(dim=1).numpy(), 1, 1e-6)
    assert Tensor.zeros(2, 3).normalize().tolist() == [[0] * 3] * 2
    with pytest.raises(ArgumentError):
        x.norm("nuc")


@pytest.mark.parametrize("n", [0, 1, 2, 63, 64, 65, 300, 5000])
def test_scans_of_any_length(n: int) -> None:
    x = RNG.standard_normal((2, n)).astype(np.float32)
    t = Tensor(x)
    wide = x.astype(np.float64)
    same(t.cumsum(1), wide.cumsum(1).astype(np.float32), 1e-5, 1e-4)
    if n and n <= 300:
        same((t * 0.1 + 1).cumprod(1), (wide * 0.1 + 1).cumprod(1).astype(np.float32), 1e-4)
        same(t.logcumsumexp(1), np.logaddexp.accumulate(wide, 1).astype(np.float32), 1e-5, 1e-5)
        values, at = t.cummax(1)
        same(values, np.maximum.accumulate(x, 1))
        same(t.gather(1, at), np.maximum.accumulate(x, 1))


def test_scans_along_any_axis_and_of_integers() -> None:
    same(Tensor(X).cumsum(0), X.cumsum(0), 1e-5, 1e-6)
    i = RNG.integers(-5, 5, (4, 70)).astype(np.int32)
    same(Tensor(i).cumsum(1), i.cumsum(1, dtype=np.int64))
    values, at = Tensor(i).cummin(1)
    same(values, np.minimum.accumulate(i, 1))
    latest = [max(k for k in range(j + 1) if row[k] == row[: j + 1].min()) for row in i for j in range(70)]
    same(at, np.array(latest).reshape(4, 70))


SOFT: dict[str, Callable[[Any], Any]] = {
    "softmax": lambda x: (
        np.exp(x - x.max(1, keepdims=True)) / np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True)
    ),
    "log_softmax": lambda x: (
        x - x.max(1, keepdims=True) - np.log(np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True))
    ),
}


@pytest.mark.parametrize("name", SOFT)
def test_softmax(name: str) -> None:
    x = np.concatenate(
        [X[0] * 20, np.array([[-np.inf, 0, 1, 2, -np.inf], [1000, 999, 0, -1000, 5]], np.float32)]
    )
    with np.errstate(all="ignore"):
        want = SOFT[name](x.astype(np.float64)).astype(np.float32)
        # a logarithm of nearly 1 is known to half a unit in the last place of 1
        same(getattr(Tensor(x), name)(1), want, 2e-6, 1e-7 * (name == "log_softmax"))
    assert getattr(Tensor(3.0), name)(0).item() == (1 if name == "softmax" else 0)
    assert getattr(Tensor(x).half(), name)(1).dtype.name == "float16"
