"""Reading and writing by position: hundreds of indices against NumPy, and those that must be refused."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tensors import on, same

from portwright import Tensor
from portwright.core.errors import ArgumentError, DTypeError, GradientError, IndexingError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 5, 6)).astype(np.float32)
PARTS: list[Any] = [
    0, -1, 2, slice(None), slice(1, 3), slice(None, None, 2), slice(None, None, -1), slice(4, 0, -2),
    slice(3, 3), slice(-2, None), None, ..., [0, 2], [1], np.array([[1, 0], [3, 2]]), np.array(-2),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _reference() -> Iterator[None]:
    with on("NUMPY"):
        yield


def indices(seed: int, count: int) -> Iterator[tuple[Any, ...]]:
    pick = random.Random(seed)
    while count:
        index = tuple(pick.choice(PARTS) for _ in range(pick.randint(1, 4)))
        if sum(i is ... for i in index) < 2:
            try:
                X[index]
            except IndexError:
                continue
            count -= 1
            yield index


@pytest.mark.parametrize("seed", range(4))
def test_reading_is_numpys(seed: int) -> None:
    x = Tensor(X)
    for index in indices(seed, 60):
        got = x[index].numpy()
        assert got.shape == X[index].shape, index
        np.testing.assert_array_equal(got, X[index], err_msg=str(index))


@pytest.mark.parametrize("seed", range(2))
def test_writing_is_numpys(seed: int) -> None:
    for index in indices(100 + seed, 40):
        want = X.copy()
        value = RNG.standard_normal(want[index].shape).astype(np.float32)
        want[index] = value
        x = Tensor(X)
        x[index] = Tensor(value)
        np.testing.assert_array_equal(x.numpy(), want, err_msg=str(index))


def test_writing_broadcasts_and_casts() -> None:
    x = Tensor(X)
    x[1:3, 0] = 7
    x[0, :, ::2] = [1, 2, 3]
    want = X.copy()
    want[1:3, 0] = 7
    want[0, :, ::2] = [1, 2, 3]
    same(x, want)
    with pytest.raises(ShapeError, match="broadcast"):
        x[0] = Tensor.zeros(4)


def test_masks() -> None:
    m = X > 0
    same(Tensor(X)[Tensor(X) > 0], X[m])
    same(Tensor(X)[:, m[0]], X[:, m[0]])
    same(Tensor(X)[m[:, 0, 0]], X[m[:, 0, 0]])
    same(Tensor(X).masked_select(Tensor(m)), X[m])
    same(Tensor(m).nonzero(), np.argwhere(m))
    x = Tensor(X)
    x[x > 0] = 0.0
    same(x, np.minimum(X, 0))


def test_tensors_as_positions() -> None:
    i = Tensor([0, -1, 2])
    same(Tensor(X)[i], X[[0, -1, 2]])
    same(Tensor(X)[1, :, i], X[1][:, [0, -1, 2]].T)
    assert Tensor(X)[Tensor([9])].numpy().any() == np.False_  # outside: zeros
    assert Tensor([1, 2, 3])[Tensor(1)].item() == 2


def test_writing_at_a_position_outside_changes_nothing() -> None:
    x = Tensor([1.0, 2.0])
    x[Tensor([5])] = 9.0
    assert x.tolist() == [1, 2]


def test_of_equal_positions_the_last_wins() -> None:
    x = Tensor.zeros(3)
    x[[1, 1, 2]] = Tensor([1.0, 2.0, 3.0])
    assert x.tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    "bad",
    [
        4, -5, (0, 5), [0, 4], np.array([-5]), (0, 0, 0, 0), "x", 1.5, np.array([0.5]), True,
        slice(None, None, 0), (..., ...), np.zeros((3, 5), bool), ([0, 1], [0, 1, 2]),
    ],
    ids=str,
)  # fmt: skip
def test_what_selects_nothing_is_refused_at_once(bad: Any) -> None:
    with pytest.raises(IndexingError):
        Tensor(X)[bad]


def test_a_leaf_is_not_written_into() -> None:
    w = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(GradientError):
        w[0] = 1.0


def test_gather_and_its_kin() -> None:
    g = RNG.integers(0, 5, (4, 2, 6))
    same(Tensor(X).gather(1, Tensor(g)), np.take_along_axis(X, g, 1))
    same(Tensor(X).take_along_axis(Tensor(g[:, :, :1]), 1), np.take_along_axis(X, g[:, :, :1], 1))
    same(Tensor(X).index_select(2, [5, 0]), X[:, :, [5, 0]])
    same(Tensor(X).take([[0, 119], [-1, 7]]), X.take([[0, 119], [-1, 7]]))
    with pytest.raises(ShapeError):
        Tensor(X).gather(1, Tensor(g[0]))
    with pytest.raises(DTypeError):
        Tensor(X).gather(1, Tensor(X))


def test_scatter() -> None:
    x, index = np.zeros((3, 5), np.float32), np.array([[0, 1, 2, 0], [2, 0, 0, 1]])
    src = np.arange(1, 11, dtype=np.float32).reshape(2, 5)
    want = x.copy()
    for i in range(2):
        for j in range(4):
            want[index[i, j], j] = src[i, j]
    same(Tensor(x).scatter(0, Tensor(index), Tensor(src)), want)
    for i in range(2):
        for j in range(4):
            x[index[i, j], j] += src[i, j]
    same(Tensor.zeros(3, 5).scatter_add(0, Tensor(index), Tensor(src)), x)
    same(Tensor.ones(3, 5).scatter(0, Tensor(index), 2.0, reduce="multiply").sum(), np.float32(15 + 8))
    with pytest.raises(ArgumentError):
        Tensor(x).scatter(0, Tensor(index), Tensor(src), reduce="max")


FOLDS: dict[str, Callable[[list[float]], float]] = {
    "sum": sum, "prod": lambda v: float(np.prod(v)), "mean": lambda v: sum(v) / len(v),
    "amax": max, "amin": min,
}  # fmt: skip


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("name", FOLDS)
def test_scatter_reduce(name: str, include: bool) -> None:
    x, src = RNG.standard_normal((2, 4)), RNG.standard_normal((2, 6))
    index = np.array([[0, 0, 1, 1, 1, 3], [2, 2, 2, 2, 2, 2]])
    want = x.copy()
    for r in range(2):
        for c in range(4):
            placed = [src[r, k] for k in range(6) if index[r, k] == c]
            if placed:
                want[r, c] = FOLDS[name]([x[r, c], *placed] if include else placed)
    same(Tensor(x).scatter_reduce(1, Tensor(index), Tensor(src), name, include), want, 1e-12)


SORTABLE = [np.float32, np.float64, np.float16, np.int8, np.int64, np.uint8, np.uint32, np.uint64, np.bool_]


@pytest.mark.parametrize("n", [1, 2, 5, 200, 300])
@pytest.mark.parametrize("dtype", SORTABLE)
def test_sorting_is_stable(n: int, dtype: Any) -> None:
    x = (RNG.standard_normal((2, n)) * 10).astype(dtype)
    order = np.argsort(x, 1, kind="stable")
    values, at = Tensor(x).sort()
    same(at, order)
    same(values, np.take_along_axis(x, order, 1))


def test_sorting_down_and_with_nan_and_zeros() -> None:
    x = np.array([2.0, np.nan, -0.0, 0.0, -np.inf, np.inf, -np.nan, 2.0], np.float32)
    assert Tensor(x).argsort().tolist() == [4, 2, 3, 0, 7, 5, 1, 6]
    assert Tensor(x).argsort(descending=True).tolist() == [1, 6, 5, 0, 7, 2, 3, 4]
    same(Tensor(X).sort(1, descending=True)[0], -np.sort(-X, 1))


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8"])
@pytest.mark.parametrize(("n", "k"), [(4, 1), (37, 3), (64, 8), (300, 5), (513, 64), (20, 5), (20, 6)])
def test_some_are_picked_in_order_and_equal_ones_as_they_stand(dtype: str, n: int, k: int) -> None:
    x = np.random.default_rng(n).integers(0, n // 3 + 2, (3, n)).astype(dtype)  # many are equal
    for largest in (False, True):
        order = np.argsort(-x.astype(np.int64) if largest else x, 1, kind="stable")[:, :k]
        values, at = Tensor(x).topk(k, 1, largest=largest)
        same(at, order)
        same(values, np.take_along_axis(x, order, 1))
        values, at = Tensor(x.T).topk(k, 0, largest=largest)
        same(at, order.T)


def test_picked_numbers_put_nan_first_and_have_gradients() -> None:
    x = np.arange(40, dtype=np.float32)
    x[7] = np.nan
    leaf = Tensor(x, requires_grad=True)
    values, at = leaf.topk(3)
    same(at, np.array([7, 39, 38]))
    values.sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.numpy().nonzero()[0].tolist() == [7, 38, 39]


def test_topk() -> None:
    values, at = Tensor(X).topk(2, 1)
    same(values, -np.sort(-X, 1)[:, :2])
    same(at, np.argsort(-X, 1, kind="stable")[:, :2])
    same(Tensor(X).topk(3, 0, largest=False)[0], np.sort(X, 0)[:3])
    with pytest.raises(ArgumentError):
        Tensor(X).topk(7)
