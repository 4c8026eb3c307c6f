"""Products, einsum, factorizations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tensors import on, same

from portwright import Tensor
from portwright.core.errors import ArgumentError, GradientError, ShapeError

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _reference() -> Iterator[None]:
    with on("NUMPY"):
        yield


def r(*shape: int) -> Any:
    return RNG.standard_normal(shape)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 4), (4, 5)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((4,), (4,)),
        ((3, 4), (4,)),
        ((4,), (2, 4, 3)),
        ((2, 0), (0, 3)),
    ],
)
def test_matmul(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, y = r(*a), r(*b)
    same(Tensor(x) @ Tensor(y), x @ y, 1e-12)


def test_matmul_of_other_dtypes() -> None:
    i = RNG.integers(-9, 9, (3, 4)).astype(np.int32)
    same(Tensor(i) @ Tensor(i.T), i @ i.T)
    h = Tensor(np.full((1, 4096), 1.001), dtype="float16")
    exact = float((h.numpy().astype(np.float64) ** 2).sum())
    assert abs((h @ h.T).item() - exact) <= 2  # half an ulp of float16 there: summed in float32
    assert (Tensor([[1, 2]]) @ Tensor([[0.5], [1.0]])).dtype.name == "float32"


@pytest.mark.parametrize(("a", "b"), [((3, 4), (3, 4)), ((4,), (3,)), ((2, 3, 4), (3, 4, 5)), ((), (3,))])
def test_products_that_do_not_fit(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError):
        Tensor.zeros(a) @ Tensor.zeros(b)


def test_named_products() -> None:
    a, b, c = r(2, 3, 4), r(2, 4, 5), r(3, 5)
    same(Tensor(a).bmm(Tensor(b)), a @ b, 1e-12)
    same(Tensor(c).addmm(Tensor(a[0]), Tensor(b[0]), beta=2, alpha=3), 2 * c + 3 * a[0] @ b[0], 1e-12)
    same(Tensor(c[0]).outer(Tensor(c[1])), np.outer(c[0], c[1]))
    same(Tensor(c[0]).dot(Tensor(c[1])), np.dot(c[0], c[1]), 1e-12)
    same(Tensor(a).linear(Tensor(b[0].T), Tensor(c[0])), a @ b[0] + c[0], 1e-12)


@pytest.mark.parametrize(
    ("formula", "shapes"),
    [
        ("ij,jk->ik", [(3, 4), (4, 5)]),
        ("bij,bjk", [(2, 3, 4), (2, 4, 5)]),
        ("ii->i", [(4, 4)]),
        ("ii", [(4, 4)]),
        ("ijk->k", [(2, 3, 4)]),
        ("i,j->ji", [(3,), (4,)]),
        ("...ij,...jk->...ik", [(2, 3, 4), (4, 5)]),
        ("bhid,bhjd,bhje->bhie", [(2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 6)]),
        ("ab,b,b->a", [(3, 4), (4,), (4,)]),
    ],
)
def test_einsum(formula: str, shapes: list[tuple[int, ...]]) -> None:
    arrays = [r(*s) for s in shapes]
    same(Tensor.einsum(formula, *map(Tensor, arrays)), np.einsum(formula, *arrays), 1e-12)


def test_einsum_that_means_nothing() -> None:
    x = Tensor.zeros(3, 4)
    with pytest.raises(ArgumentError):
        Tensor.einsum("ij,jk->ik", x)
    with pytest.raises(ArgumentError):
        Tensor.einsum("ij->ik", x)
    with pytest.raises(ShapeError):
        Tensor.einsum("ijk->i", x)
    with pytest.raises(ShapeError):
        Tensor.einsum("ij,ij->i", x, Tensor.zeros(3, 5))


def test_systems() -> None:
    a = r(2, 4, 4)
    a[0, 0, 0] = 0  # needs an exchange of rows
    b = r(2, 4, 3)
    same(Tensor(a).solve(Tensor(b)), np.linalg.solve(a, b), 1e-9, 1e-9)
    same(Tensor(a[1]).solve(Tensor(b[1, :, 0])), np.linalg.solve(a[1], b[1, :, 0]), 1e-9, 1e-9)
    same(Tensor(a).inverse(), np.linalg.inv(a), 1e-9, 1e-9)
    with pytest.raises(ShapeError):
        Tensor.zeros(3, 4).inverse()


def test_cholesky() -> None:
    a = r(2, 4, 4)
    a = a @ a.transpose(0, 2, 1) + np.eye(4)
    same(Tensor(a).cholesky(), np.linalg.cholesky(a), 1e-10, 1e-12)
    same(Tensor(a).cholesky(upper=True), np.linalg.cholesky(a).transpose(0, 2, 1), 1e-10, 1e-12)


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (1, 1), (2, 4, 3)])
def test_factors_multiply_to_the_matrix(shape: tuple[int, ...]) -> None:
    a = r(*shape)
    for mode in ("reduced", "complete"):
        q, upper = (t.numpy() for t in Tensor(a).qr(mode))
        np.testing.assert_allclose(q @ upper, a, 1e-10, 1e-10)
        np.testing.assert_allclose(
            q.swapaxes(-1, -2) @ q, np.eye(q.shape[-1]) + 0 * q[..., :1, :1], 1e-10, 1e-10
        )
        np.testing.assert_array_equal(upper, np.triu(upper))


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4)])
@pytest.mark.parametrize("full", [False, True])
def test_svd(shape: tuple[int, ...], full: bool) -> None:
    a = r(*shape)
    u, s, vh = (t.numpy() for t in Tensor(a).svd(full))
    wu, ws, wv = np.linalg.svd(a, full)
    assert (u.shape, vh.shape) == (wu.shape, wv.shape)
    np.testing.assert_allclose(s, ws, 1e-9)
    k = len(s)
    np.testing.assert_allclose(u[:, :k] * s @ vh[:k], a, 1e-9, 1e-9)
    np.testing.assert_allclose(u.T @ u, np.eye(u.shape[1]), 1e-9, 1e-9)


def test_svd_says_that_it_has_no_gradient() -> None:
    with pytest.raises(GradientError, match="detach"):
        Tensor.ones(2, 2, requires_grad=True).svd()
