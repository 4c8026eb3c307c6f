"""Small models and the ways to train them, written twice: of tensors, and in NumPy's float64 by hand.

What is smooth is chosen (tanh, no maximum), so that float32 and float64 stay together over many steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from ..core.tensor import Tensor
from .inputs import Array, Rng

V = TypeVar("V", Tensor, Array)
"""A value on either side."""
KINDS = 3


class Model(ABC):
    """A classifier, and its mean cross-entropy."""

    @abstractmethod
    def start(self, rng: Rng) -> list[Array]:
        """The parameters to begin with."""

    @abstractmethod
    def batch(self, rng: Rng) -> tuple[Array, Array]:
        """Examples, and for each a row with a 1 at its kind."""

    @abstractmethod
    def scores(self, x: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        """A row of scores for each example."""

    @abstractmethod
    def by_hand(self, x: Array, hot: Array, parameters: Sequence[Array]) -> tuple[float, list[Array]]:
        """The loss and its gradient by each parameter, in float64."""

    def loss(self, x: Tensor, hot: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        """The mean cross-entropy."""
        return cross_entropy(self.scores(x, parameters), hot)


class MLP(Model):
    """Two layers."""

    def start(self, rng: Rng) -> list[Array]:
        """Weights, a bias, weights."""
        return [
            rng.standard_normal((10, 16)) / 3,
            rng.standard_normal(16) / 4,
            rng.standard_normal((16, KINDS)) / 4,
        ]

    def batch(self, rng: Rng) -> tuple[Array, Array]:
        """Rows of numbers."""
        return rng.standard_normal((32, 10)), np.eye(KINDS)[rng.integers(0, KINDS, 32)]

    def scores(self, x: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        """Linear, tanh, linear."""
        w, b, out = parameters
        return (x @ w + b).tanh() @ out

    def by_hand(self, x: Array, hot: Array, parameters: Sequence[Array]) -> tuple[float, list[Array]]:
        """As derived on paper."""
        w, b, out = parameters
        hidden = np.tanh(x @ w + b)
        loss, dz = softmax_gradient(hidden @ out, hot)
        dy = (dz @ out.T) * (1 - hidden * hidden)
        return loss, [x.T @ dy, dy.sum(0), hidden.T @ dz]


class CNN(Model):
    """A convolution, a mean over its image, a layer."""

    def start(self, rng: Rng) -> list[Array]:
        """The kernels of the convolution, and weights."""
        return [rng.standard_normal((4, 2, 3, 3)) / 3, rng.standard_normal((4, KINDS))]

    def batch(self, rng: Rng) -> tuple[Array, Array]:
        """Images of two channels."""
        return rng.standard_normal((6, 2, 7, 6)), np.eye(KINDS)[rng.integers(0, KINDS, 6)]

    def scores(self, x: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        """Convolution, tanh, mean, linear."""
        w, out = parameters
        return x.conv2d(w, padding=1).tanh().mean((2, 3)) @ out

    def by_hand(self, x: Array, hot: Array, parameters: Sequence[Array]) -> tuple[float, list[Array]]:
        """As derived on paper."""
        w, out = parameters
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
        y = np.tanh(np.einsum("nchwij,ocij->nohw", windows, w))
        means = y.mean((2, 3))
        loss, dz = softmax_gradient(means @ out, hot)
        spread = (dz @ out.T)[:, :, None, None] / (y.shape[2] * y.shape[3])
        dw = np.einsum("nchwij,nohw->ocij", windows, spread * (1 - y * y))
        return loss, [dw, means.T @ dz]


@dataclass
class Momentum:
    """Gradient descent with momentum; the same steps of tensors and of arrays.

    Attributes:
        speed: of each parameter; none before the first step.
    """

    speed: list[Any] = field(default_factory=list)

    def step(self, parameters: Sequence[V], gradients: Sequence[V]) -> list[V]:
        """The parameters after one more step."""
        before = self.speed or [g * 0.0 for g in gradients]
        self.speed = [v * 0.875 + g for v, g in zip(before, gradients, strict=True)]
        return [p - v * 0.125 for p, v in zip(parameters, self.speed, strict=True)]

    def state(self) -> list[Any]:
        """What the next step depends on, besides the parameters."""
        return self.speed


@dataclass
class Adam:
    """Adam, likewise. Nothing in it is a number that changes: the kernels of one step are those of the next.

    Attributes:
        mean, square: of each parameter's gradients; none before the first step.
        first, second: how much of either is left of what it began with, which the first steps make up for.
    """

    mean: list[Any] = field(default_factory=list)
    square: list[Any] = field(default_factory=list)
    first: list[Any] = field(default_factory=list)
    second: list[Any] = field(default_factory=list)

    def step(self, parameters: Sequence[V], gradients: Sequence[V]) -> list[V]:
        """The parameters after one more step."""
        if not self.mean:
            self.mean, self.square = ([g * 0.0 for g in gradients] for _ in range(2))
            self.first, self.second = ([g * 0.0 + 1.0 for g in gradients] for _ in range(2))
        self.mean = [m * 0.875 + g * 0.125 for m, g in zip(self.mean, gradients, strict=True)]
        self.square = [s * 0.984375 + g * g * 0.015625 for s, g in zip(self.square, gradients, strict=True)]
        self.first, self.second = [f * 0.875 for f in self.first], [s * 0.984375 for s in self.second]
        scale = [root(s / (1.0 - f)) + 2.0**-10 for s, f in zip(self.square, self.second, strict=True)]
        rate = [0.03125 / (1.0 - f) for f in self.first]
        return [p - m * r / s for p, m, r, s in zip(parameters, self.mean, rate, scale, strict=True)]

    def state(self) -> list[Any]:
        """What the next step depends on, besides the parameters."""
        return [*self.mean, *self.square, *self.first, *self.second]


MODELS: dict[str, Callable[[], Model]] = {"mlp": MLP, "cnn": CNN}
OPTIMIZERS: dict[str, Callable[[], Momentum | Adam]] = {"momentum": Momentum, "adam": Adam}


def root(x: V) -> V:
    """The square root."""
    return x.sqrt() if isinstance(x, Tensor) else np.sqrt(x)


def softmax_gradient(z: Array, hot: Array) -> tuple[float, Array]:
    """The mean cross-entropy of rows of scores, and its gradient."""
    e = np.exp(z - z.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    return float(-np.log((p * hot).sum(1)).mean()), (p - hot) / len(hot)


def cross_entropy(z: Tensor, hot: Tensor) -> Tensor:
    """The same, of tensors."""
    return -(z.log_softmax(1) * hot).sum() / hot.shape[0]
