"""How many kernels what users write becomes: each count is the most that it may be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from portwright import Tensor


def some(*shape: int) -> Tensor:
    values = np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)
    return Tensor(values).realize()


X, Y, V = some(48, 40), some(40, 56), some(56)
IMAGES, FILTERS, CHANNELS = some(4, 8, 10, 10), some(6, 8, 3, 3), some(8)
LABELS = Tensor(np.arange(48) % 40)
POSITIONS = Tensor(np.arange(20) % 7)


@pytest.mark.parametrize(
    ("most", "expression"),
    [
        (1, lambda: X.softmax(-1)),
        (1, lambda: X.log_softmax(-1)),
        (1, lambda: X.logsumexp(-1)),
        (1, lambda: X.layernorm()),
        (1, lambda: X.var(1)),
        (1, lambda: X.std(1)),
        (1, lambda: X.mean(1)),
        (1, lambda: X - X.mean(1, keepdim=True)),
        (1, lambda: X - X.max(0, keepdim=True)),
        (1, lambda: X.gelu().sigmoid().tanh().exp()),
        (1, lambda: (X.relu() * 2).sum()),
        (1, lambda: X.square().sum(1).sqrt()),
        (1, lambda: X.T.contiguous()),
        (1, lambda: X.flip(0).pad((1, 2, 0, 1)) + 1),
        (1, lambda: (X @ Y + V).relu()),
        (1, lambda: X.linear(Y.T, V)),
        (1, lambda: IMAGES.conv2d(FILTERS)),
        (1, lambda: IMAGES.max_pool2d(2)),
        (1, lambda: IMAGES.avg_pool2d(2).relu()),
        (1, lambda: IMAGES.mean((0, 2, 3))),
        (1, lambda: X[POSITIONS] * 2),
        (1, lambda: X.argmax(1)),
        (1, lambda: (X > 0).where(X.clip(-1, 1), X * 2)),
        (2, lambda: (X @ Y).softmax(-1)),
        (2, lambda: (X @ Y) @ Y.T),
        (2, lambda: X.cross_entropy(LABELS)),
        (3, lambda: IMAGES.batchnorm(CHANNELS, CHANNELS, IMAGES.mean((0, 2, 3)),
                                     (IMAGES.var((0, 2, 3)) + 1e-5).rsqrt())),
    ],
)  # fmt: skip
def test_kernels_of(most: int, expression: Callable[[], Tensor]):
    assert 1 <= len(expression().kernels()) <= most


@pytest.mark.parametrize("n", [8, 256])
def test_the_seed_is_one_kernel(n):
    a, b = some(n, n), some(n, n)
    (kernel,) = (a.reshape(n, 1, n) * b.T.reshape(1, n, n)).sum(axis=2).kernels()
    assert kernel.nbytes <= 3 * n * n * 4
    assert kernel.flops == 2 * n**3


@pytest.mark.parametrize("length", [1, 10, 1000, 10_000])
def test_a_chain_is_one_kernel(length):
    y = X
    for n in range(length):
        y = y * 1.5 if n % 2 else y + float(n % 7)
    assert len(y.kernels()) == 1


def test_a_step_of_training_runs_few_kernels():
    """Forward, loss and gradients of a two-layer network."""
    w1, w2 = (some(40, 32), some(32, 10))
    for w in (w1, w2):
        w.requires_grad_()
    labels = Tensor(np.arange(48) % 10)
    loss = ((X @ w1).relu() @ w2).cross_entropy(labels)
    loss.backward()
    assert w1.grad is not None
    assert w2.grad is not None
    assert len(w1.grad.kernels()) <= 5
    assert len(w2.grad.kernels()) <= 4


def test_a_realized_tensor_has_none():
    y = (X + 1).realize()
    assert y.kernels() == []
    assert len((y * 2).kernels()) == 1
