"""Shapes: every movement against NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tensors import on, same

from portwright import Tensor
from portwright.core.errors import ArgumentError, ShapeError

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.fixture(autouse=True)
def _reference() -> Iterator[None]:
    with on("NUMPY"):
        yield


CASES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Any], Any]]] = {
    "reshape": (lambda x: x.reshape(4, -1), lambda x: x.reshape(4, -1)),
    "view": (lambda x: x.view((6, 4)), lambda x: x.reshape(6, 4)),
    "flatten": (lambda x: x.flatten(1), lambda x: x.reshape(2, 12)),
    "unflatten": (lambda x: x.unflatten(2, (2, -1)), lambda x: x.reshape(2, 3, 2, 2)),
    "squeeze": (lambda x: x[:1].squeeze(0), lambda x: x[0]),
    "squeeze all": (lambda x: x[:1, :, :1].squeeze(), lambda x: x[0, :, 0]),
    "unsqueeze": (lambda x: x.unsqueeze(-1), lambda x: x[..., None]),
    "expand": (lambda x: x[:, :1].expand(5, -1, 3, 4), lambda x: np.broadcast_to(x[:, :1], (5, 2, 3, 4))),
    "permute": (lambda x: x.permute(2, 0, -2), lambda x: x.transpose(2, 0, 1)),
    "transpose": (lambda x: x.transpose(0, 2), lambda x: x.swapaxes(0, 2)),
    "T": (lambda x: x.T, lambda x: x.T),
    "movedim": (lambda x: x.movedim(0, -1), lambda x: np.moveaxis(x, 0, -1)),
    "movedim two": (lambda x: x.movedim([0, 1], [1, 2]), lambda x: np.moveaxis(x, [0, 1], [1, 2])),
    "flip": (lambda x: x.flip(0, 2), lambda x: np.flip(x, (0, 2))),
    "shrink": (lambda x: x.shrink([None, (1, 3), (0, 2)]), lambda x: x[:, 1:3, :2]),
    "narrow": (lambda x: x.narrow(2, 1, 2), lambda x: x[:, :, 1:3]),
    "pad flat": (lambda x: x.pad((1, 2, 0, 1)), lambda x: np.pad(x, [(0, 0), (0, 1), (1, 2)])),
    "pad value": (
        lambda x: x.pad([None, (1, 0), (0, 2)], value=7.0),
        lambda x: np.pad(x, [(0, 0), (1, 0), (0, 2)], constant_values=7),
    ),
    "pad cuts": (lambda x: x.pad((-1, 1)), lambda x: np.pad(x[..., 1:], [(0, 0), (0, 0), (0, 1)])),
    "reflect": (lambda x: x.pad((2, 1), "reflect"), lambda x: np.pad(x, [(0, 0), (0, 0), (2, 1)], "reflect")),
    "replicate": (
        lambda x: x.pad((2, 1), "replicate"),
        lambda x: np.pad(x, [(0, 0), (0, 0), (2, 1)], "edge"),
    ),
    "circular": (lambda x: x.pad((2, 1), "circular"), lambda x: np.pad(x, [(0, 0), (0, 0), (2, 1)], "wrap")),
    "repeat": (lambda x: x.repeat(2, 1, 3), lambda x: np.tile(x, (2, 1, 3))),
    "repeat more": (lambda x: x.repeat(2, 1, 1, 1), lambda x: np.tile(x, (2, 1, 1, 1))),
    "interleave": (lambda x: x.repeat_interleave(3, 1), lambda x: np.repeat(x, 3, 1)),
    "interleave each": (lambda x: x.repeat_interleave([2, 0, 1], 1), lambda x: np.repeat(x, [2, 0, 1], 1)),
    "roll": (lambda x: x.roll((1, -2), (0, 2)), lambda x: np.roll(x, (1, -2), (0, 2))),
    "roll flat": (lambda x: x.roll(5), lambda x: np.roll(x, 5)),
    "cat": (lambda x: Tensor.cat([x, x[:, :1]], dim=1), lambda x: np.concatenate([x, x[:, :1]], 1)),
    "cat method": (lambda x: x.cat(x, x, dim=-1), lambda x: np.concatenate([x, x, x], -1)),
    "stack": (lambda x: Tensor.stack([x, x + 1], dim=1), lambda x: np.stack([x, x + 1], 1)),
    "diagonal": (lambda x: x.diagonal(1, 1, 2), lambda x: np.diagonal(x, 1, 1, 2)),
    "diagonal below": (lambda x: x.diagonal(-1, 1, 2), lambda x: np.diagonal(x, -1, 1, 2)),
    "diagonal outside": (lambda x: x.diagonal(9, 1, 2), lambda x: np.diagonal(x, 9, 1, 2)),
    "diag": (lambda x: x[0, 0].diag(1), lambda x: np.diag(x[0, 0], 1)),
    "diag of a matrix": (lambda x: x[0].diag(-1), lambda x: np.diag(x[0], -1)),
    "tril": (lambda x: x.tril(1), lambda x: np.tril(x, 1)),
    "triu": (lambda x: x.triu(-1), lambda x: np.triu(x, -1)),
    "unfold": (
        lambda x: x.unfold(2, 3, 1),
        lambda x: np.lib.stride_tricks.sliding_window_view(x, 3, 2),
    ),
    "rearrange": (lambda x: x.rearrange("a b c -> c (a b)"), lambda x: x.reshape(6, 4).T),
    "rearrange split": (
        lambda x: x.rearrange("... (h w) -> h ... w", h=2),
        lambda x: x.reshape(2, 3, 2, 2).transpose(2, 0, 1, 3),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_movement(name: str) -> None:
    ours, numpys = CASES[name]
    same(ours(Tensor(X)), np.ascontiguousarray(numpys(X)))


def test_pieces() -> None:
    x = Tensor(X)
    for ours, want in (
        (x.split(2, 2), np.split(X, 2, 2)),
        (x.split([1, 3], 2), np.split(X, [1], 2)),
        (x.split(3, 2), [X[..., :3], X[..., 3:]]),
        (x.chunk(3, 2), [X[..., :2], X[..., 2:]]),
        (x.unbind(1), [X[:, i] for i in range(3)]),
    ):
        assert len(ours) == len(want)
        for o, w in zip(ours, want, strict=True):
            same(o, w)


def test_cat_keeps_bits() -> None:
    x = Tensor([-0.0, float("nan")])
    assert np.signbit(Tensor.cat([x, x]).numpy()[[0, 2]]).all()


@pytest.mark.parametrize(
    "bad",
    [
        lambda x: x.permute(0, 0, 1),
        lambda x: x.expand(3, 3, 4),
        lambda x: x.split([1, 1], 2),
        lambda x: x.pad((9, 0), "reflect"),
        lambda x: Tensor.cat([x, x[:, :1]], dim=0),
        lambda x: Tensor.stack([x, x[:, :1]]),
        lambda x: x.unfold(2, 5),
        lambda x: x.rearrange("a b -> b a"),
        lambda x: x.rearrange("a b (c d) -> a b c d"),
    ],
)
def test_what_does_not_fit(bad: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ShapeError):
        bad(Tensor(X))


@pytest.mark.parametrize(
    "pattern", ["a b c", "a (b c -> a b c", "a b c -> a b", "a b ! -> a b", "a a b -> a b"]
)
def test_patterns_that_mean_nothing(pattern: str) -> None:
    with pytest.raises(ArgumentError):
        Tensor(X).rearrange(pattern)
