"""Activations and losses against their formulas in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tensors import on, same

from portwright import Tensor
from portwright.core.errors import ArgumentError, DTypeError, ShapeError

RNG = np.random.default_rng(0)
Z = np.concatenate([RNG.standard_normal(60) * 4, [0.0, 1, -1, 6, 3, -3, 30, -30]])
erf = np.vectorize(math.erf, otypes=[np.float64])


@pytest.fixture(autouse=True)
def _reference() -> Iterator[None]:
    with on("NUMPY"):
        yield


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def softplus(x: Any) -> Any:
    return np.logaddexp(0, x)


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "celu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "gelu": lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2))),
    "quick_gelu": lambda x: x * sigmoid(1.702 * x),
    "silu": lambda x: x * sigmoid(x),
    "swish": lambda x: x * sigmoid(x),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "sigmoid": sigmoid,
    "logsigmoid": lambda x: -softplus(-x),
    "hardsigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hardswish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "hardtanh": lambda x: np.clip(x, -1, 1),
    "softplus": softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name: str) -> None:
    same(getattr(Tensor(Z), name)(), ACTIVATIONS[name](Z), 1e-8, 1e-15)


def test_gelu_of_float32_is_accurate_on_both_sides() -> None:
    x = np.linspace(-9, 9, 20_001).astype(np.float32)
    wide = x.astype(np.float64)
    exact = wide * 0.5 * np.vectorize(math.erfc)(-wide / math.sqrt(2))
    off = np.abs(Tensor(x).gelu().numpy() - exact)
    assert (off[x > -1] <= 4 * np.spacing(np.abs(exact[x > -1]).astype(np.float32))).all()
    assert (off[x > -6] <= 5e-6 * np.abs(exact[x > -6]) + 1e-30).all()
    assert off[x < -6].max() < 2e-9
    assert np.array_equal(Tensor([-20.0, -1e30, 1e30]).gelu().numpy(), np.float32([0, 0, 1e30]))
    assert np.isnan(Tensor([math.nan]).gelu().item())
    assert Tensor([math.inf]).gelu().item() == math.inf


def test_activations_with_arguments() -> None:
    x = Tensor(Z)
    inner = math.sqrt(2 / math.pi) * (Z + 0.044715 * Z**3)
    same(x.gelu("tanh"), 0.5 * Z * (1 + np.tanh(inner)), 1e-12, 1e-15)
    same(x.softplus(2.0), np.logaddexp(0, 2 * Z) / 2, 1e-8)
    same(x.celu(2.0), np.where(Z > 0, Z, 2 * np.expm1(Z / 2)), 1e-12)
    same(x.softmin(0), np.exp(-Z - (-Z).max()) / np.exp(-Z - (-Z).max()).sum(), 1e-12)
    assert np.isnan(Tensor([float("nan")]).relu().item())


LOGITS = RNG.standard_normal((6, 5)) * 3
TARGET = np.array([0, 4, 2, -100, 1, 1])
WEIGHT = RNG.random(5) + 0.1


def log_softmax(x: Any) -> Any:
    x = x - x.max(1, keepdims=True)
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def crossed(weight: Any, smoothing: float, reduction: str) -> Any:
    logs = log_softmax(LOGITS)
    w = np.ones(5) if weight is None else weight
    rows = []
    for row, t in zip(logs, TARGET, strict=True):
        rows.append(0.0 if t < 0 else -(1 - smoothing) * w[t] * row[t] - smoothing / 5 * (w * row).sum())
    if reduction == "none":
        return np.array(rows)
    total = np.sum(rows)
    return total if reduction == "sum" else total / sum(w[t] for t in TARGET if t >= 0)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy(reduction: str, smoothing: float, weighted: bool) -> None:
    w = Tensor(WEIGHT) if weighted else None
    got = Tensor(LOGITS).cross_entropy(Tensor(TARGET), w, reduction=reduction, label_smoothing=smoothing)
    same(got, crossed(WEIGHT if weighted else None, smoothing, reduction), 1e-10)


def test_other_forms_of_cross_entropy() -> None:
    p = RNG.random((6, 5))
    p /= p.sum(1, keepdims=True)
    logs = log_softmax(LOGITS)
    same(Tensor(LOGITS).cross_entropy(Tensor(p)), -(p * logs).sum(1).mean(), 1e-12)
    kept = TARGET >= 0
    want = -logs[kept, TARGET[kept]].mean()
    same(Tensor(logs).nll_loss(Tensor(TARGET)), want, 1e-12)
    same(Tensor(LOGITS).sparse_categorical_crossentropy(Tensor(TARGET), ignore_index=-100), want, 1e-10)
    image = Tensor(LOGITS.reshape(1, 6, 5).transpose(0, 2, 1))
    same(image.cross_entropy(Tensor(TARGET[None])), want, 1e-10)
    same(Tensor(LOGITS[0]).cross_entropy(Tensor(2)), -logs[0, 2], 1e-12)


def test_binary_losses() -> None:
    t, p = RNG.random((4, 5)), RNG.random((4, 5))
    x = RNG.standard_normal((4, 5)) * 30
    stress = RNG.random(5)
    same(Tensor(p).binary_crossentropy(Tensor(t)), -(t * np.log(p) + (1 - t) * np.log1p(-p)).mean(), 1e-12)
    want = t * softplus(-x) + (1 - t) * softplus(x)
    same(Tensor(x).binary_crossentropy_logits(Tensor(t)), want.mean(), 1e-12)
    want = stress * t * softplus(-x) + (1 - t) * softplus(x)
    same(Tensor(x).binary_crossentropy_logits(Tensor(t), pos_weight=Tensor(stress)), want.mean(), 1e-12)
    certain = Tensor([0.0, 1.0]).binary_crossentropy(Tensor([1.0, 1.0]), reduction="none")
    assert certain.tolist() == [100, 0]


def test_distances() -> None:
    a, b = RNG.standard_normal((2, 3, 4))
    x, y = Tensor(a), Tensor(b)
    d = np.abs(a - b)
    same(x.mse_loss(y), (d**2).mean(), 1e-12)
    same(x.l1_loss(y, "sum"), d.sum(), 1e-12)
    same(x.smooth_l1_loss(y, "none", beta=0.5), np.where(d < 0.5, d * d, d - 0.25), 1e-12)
    p, q = np.exp(log_softmax(a)), log_softmax(b)
    same(Tensor(q).kl_div(Tensor(p), "sum"), (p * (np.log(p) - q)).sum(), 1e-10)
    same(
        Tensor(q).kl_div(Tensor(np.log(p)), "batchmean", log_target=True),
        (p * (np.log(p) - q)).sum() / 3,
        1e-10,
    )


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (lambda x: x.cross_entropy(Tensor([0, 1])), ShapeError),
        (lambda x: x.nll_loss(Tensor([0.0] * 6)), DTypeError),
        (lambda x: x.mse_loss(x, reduction="average"), ArgumentError),
        (lambda x: x.cross_entropy(Tensor(TARGET), label_smoothing=2.0), ArgumentError),
    ],
)
def test_what_has_no_meaning(bad: Callable[[Tensor], Tensor], error: type[Exception]) -> None:
    with pytest.raises(error):
        bad(Tensor(LOGITS))
