"""Random numbers: the published generator, the same on every device, distributed as they say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tensors import on

from portwright import Tensor
from portwright.core import graph
from portwright.core.dtype import uint32
from portwright.core.elementary.basic import Expr
from portwright.core.errors import ArgumentError, DTypeError, ShapeError
from portwright.core.evaluate import evaluate
from portwright.core.tensor.random import threefry


@pytest.fixture(autouse=True)
def _reference() -> Iterator[None]:
    with on("NUMPY"):
        yield


@pytest.mark.parametrize(
    ("counter", "key", "want"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_the_generator_gives_its_published_vectors(counter: Any, key: Any, want: Any) -> None:
    def word(value: int) -> Expr:
        return Expr(graph.full(value, (1,), uint32))

    words = threefry((word(key[0]), word(key[1])), (word(counter[0]), word(counter[1])))
    got = evaluate([w.node for w in words], lambda n: np.empty(0))
    assert tuple(int(g[0]) for g in got) == want


def draws() -> list[Any]:
    Tensor.manual_seed(7)
    return [
        t.numpy()
        for t in (
            Tensor.rand(3, 4), Tensor.randn(5), Tensor.randint(-5, 5, (6,)), Tensor.rand(3, dtype="float64"),
            Tensor.rand(3, dtype="float16"), Tensor.randperm(9),
        )
    ]  # fmt: skip


def test_a_seed_starts_the_same_numbers_again() -> None:
    for a, b in zip(draws(), draws(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_draws_are_one_stream_whatever_is_computed_first() -> None:
    Tensor.manual_seed(1)
    whole = Tensor.rand(10).numpy()
    Tensor.manual_seed(1)
    a, b = Tensor.rand(4), Tensor.rand(6)
    b.realize()
    np.testing.assert_array_equal(np.concatenate([a.numpy(), b.numpy()]), whole)
    assert not np.array_equal(Tensor.rand(10).numpy(), whole)


def test_the_counter_carries() -> None:
    from portwright.core.tensor.random import states

    Tensor.manual_seed(0)
    Tensor.rand(1).realize()
    state = states[Tensor(0).device]
    state.assign(Tensor([0, 0, 2**32 - 2, 5], dtype="uint32")).realize()
    first = Tensor.rand(4).numpy()
    assert state.tolist() == [0, 0, 2, 6]
    state.assign(Tensor([0, 0, 0, 6], dtype="uint32")).realize()
    np.testing.assert_array_equal(Tensor.rand(2).numpy(), first[2:])


def test_uniform_numbers() -> None:
    for dtype in ("float32", "float64", "float16", "bfloat16"):
        u = Tensor.rand(20000, dtype=dtype).numpy().astype(np.float64)
        assert u.min() >= 0
        assert u.max() < 1
        assert abs(u.mean() - 0.5) < 0.01
        assert abs(u.var() - 1 / 12) < 0.002
    v = Tensor.uniform(5000, low=-3, high=2).numpy()
    assert -3 <= v.min() < -2.9
    assert 1.9 < v.max() < 2


def test_normal_numbers() -> None:
    for dtype in ("float32", "float64"):
        z = Tensor.randn(40000, dtype=dtype).numpy().astype(np.float64)
        assert abs(z.mean()) < 0.02
        assert abs(z.std() - 1) < 0.015
        assert abs((z**3).mean()) < 0.06
        assert abs((z**4).mean() - 3) < 0.15
        assert np.isfinite(z).all()
    assert abs(Tensor.normal(5000, mean=3, std=0.1).numpy().mean() - 3) < 0.01


def test_integers() -> None:
    counts = np.bincount(Tensor.randint(0, 7, (14000,)).numpy())
    assert len(counts) == 7
    assert abs(counts - 2000).max() < 200
    assert Tensor.randint(5, (3,)).dtype.name == "int64"
    wide = Tensor.randint(-(2**63), 2**63 - 1, (1000,)).numpy()
    assert (wide < 0).any()
    assert (wide > 0).any()
    assert set(Tensor.randint(250, 256, (200,), dtype="uint8").tolist()) <= set(range(250, 256))


def test_orders_and_choices() -> None:
    order = Tensor.randperm(100).numpy()
    np.testing.assert_array_equal(np.sort(order), np.arange(100))
    assert (order != np.arange(100)).any()
    p = Tensor([0.1, 0.0, 0.6, 0.3])
    share = np.bincount(p.multinomial(10000, replacement=True).numpy(), minlength=4) / 10000
    np.testing.assert_allclose(share, [0.1, 0, 0.6, 0.3], atol=0.02)
    for row in p.expand(50, 4).multinomial(3).tolist():
        assert sorted(row) == [0, 2, 3]


def test_starting_values_of_weights() -> None:
    assert np.abs(Tensor.scaled_uniform(10, 10).numpy()).max() <= 0.1
    assert np.abs(Tensor.glorot_uniform(20, 30).numpy()).max() <= (6 / 50) ** 0.5
    assert np.abs(Tensor.kaiming_uniform(20, 30, 3, 3).numpy()).max() <= (6 / 270) ** 0.5
    assert abs(Tensor.kaiming_normal(100, 50).numpy().std() - 0.2) < 0.01
    x = Tensor.zeros(3, 4, dtype="float64")
    assert (x.rand_like().shape, x.randn_like().dtype.name, x.randint_like(3).shape) == (
        (3, 4),
        "float64",
        (3, 4),
    )


@pytest.mark.parametrize(
    "name", ["uniform", "normal", "scaled_uniform", "glorot_uniform", "kaiming_uniform", "kaiming_normal"]
)
def test_draws_like_another_tensor(name: str) -> None:
    x = Tensor.zeros(3, 4, dtype="float64")
    Tensor.manual_seed(5)
    like = getattr(x, f"{name}_like")()
    Tensor.manual_seed(5)
    np.testing.assert_array_equal(like.numpy(), getattr(Tensor, name)(3, 4, dtype="float64").numpy())


def test_what_can_not_be_drawn() -> None:
    with pytest.raises(ArgumentError):
        Tensor.randint(5, 5, (2,))
    with pytest.raises(DTypeError):
        Tensor.randint(0, 300, (2,), dtype="uint8")
    with pytest.raises(DTypeError):
        Tensor.rand(3, dtype="int32")
    with pytest.raises(ArgumentError):
        Tensor([0.5, 0.5]).multinomial(3)
    with pytest.raises(ShapeError):
        Tensor.kaiming_uniform(5)
