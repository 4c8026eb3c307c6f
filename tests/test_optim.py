"""Optimizers, step by step against their formulas in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tensors import on

from portwright import Tensor
from portwright.core import engine
from portwright.core.errors import ArgumentError
from portwright.core.graph import GraphOp
from portwright.nn.optim import SGD, Adam, AdamW, Optimizer

RNG = np.random.default_rng(0)
STEPS = 6


@pytest.fixture(autouse=True)
def _reference() -> Iterator[None]:
    with on("NUMPY"):
        yield


def sgd(
    w: Any, grads: Any, lr: float, momentum: float = 0, weight_decay: float = 0, nesterov: bool = False
) -> Any:
    v = np.zeros_like(w)
    for g in grads:
        g = g(w) + weight_decay * w
        v = momentum * v + g
        w = w - lr * (g + momentum * v if nesterov else v)
    return w


def adam(w: Any, grads: Any, lr: float, weight_decay: float = 0, decoupled: bool = False) -> Any:
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(grads, 1):
        g = g(w) + (0 if decoupled else weight_decay * w)
        w = w * (1 - lr * weight_decay) if decoupled else w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return w


CASES: list[tuple[type[Optimizer], dict[str, Any], Callable[..., Any], dict[str, Any]]] = [
    (SGD, {"lr": 0.1}, sgd, {}),
    (SGD, {"lr": 0.1, "momentum": 0.9}, sgd, {}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, sgd, {}),
    (Adam, {"lr": 0.05}, adam, {}),
    (Adam, {"lr": 0.05, "weight_decay": 0.2}, adam, {}),
    (AdamW, {"lr": 0.05, "weight_decay": 0.2}, adam, {"decoupled": True}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0].__name__}-{'-'.join(c[1])}")
def test_steps(case: Any) -> None:
    kind, settings, formula, more = case
    rng = np.random.default_rng(0)
    w, targets = rng.standard_normal((4, 3)), rng.standard_normal((STEPS, 4, 3))
    p = Tensor(w, requires_grad=True)
    opt = kind([p], **settings)
    for t in targets:
        opt.zero_grad()
        ((p - Tensor(t)) ** 2).sum().backward()
        opt.step()
    want = formula(w, [lambda x, t=t: 2 * (x - t) for t in targets], **settings, **more)
    # The learning rate is held in float32: each step, of about lr, is off by half an ulp of itself.
    np.testing.assert_allclose(p.numpy(), want, 1e-6, STEPS * settings["lr"] * 2.0**-24)


def test_one_realize_a_step_and_nothing_piles_up(monkeypatch: pytest.MonkeyPatch) -> None:
    params = [Tensor(RNG.standard_normal(3), requires_grad=True) for _ in range(4)]
    opt = Adam(params)
    calls = []
    real = engine.realize

    def counted(nodes: Any, device: str) -> None:
        calls.append(len(nodes))
        real(nodes, device)

    monkeypatch.setattr(engine, "realize", counted)
    for _ in range(3):
        opt.zero_grad()
        loss = sum(((p * p).sum() for p in params), Tensor(0.0, dtype="float64"))
        loss.backward()
        opt.step(loss)
        loss.item()
    assert len(calls) == 3
    assert all(p.node.srcs[0].op is GraphOp.BUFFER for p in params)
    assert all(t.node.op is GraphOp.BUFFER for t in (*opt.mean, *opt.square, opt.steps))


def test_the_learning_rate_can_change() -> None:
    p = Tensor([1.0], requires_grad=True)
    opt = SGD([p], lr=0.5)
    for lr, want in ((0.5, 0.0), (0.25, -0.5)):
        opt.lr = lr
        opt.zero_grad()
        (p * 2).sum().backward()
        opt.step()
        assert p.item() == want


def test_parameters_without_gradients_stay() -> None:
    a, b = Tensor([1.0], requires_grad=True), Tensor([1.0], requires_grad=True)
    opt = SGD([a, b, a], lr=1.0)
    (a * 3).sum().backward()
    opt.step()
    assert (a.item(), b.item()) == (-2, 1)


def test_half_precision_parameters_keep_their_dtype() -> None:
    p = Tensor([1.0], dtype="float16", requires_grad=True)
    opt = AdamW([p], lr=0.1)
    (p * 2).sum().backward()
    opt.step()
    assert p.dtype.name == "float16"
    assert opt.mean[0].dtype.name == "float32"


@pytest.mark.parametrize(
    "bad",
    [
        lambda p: SGD([]),
        lambda p: SGD([p.detach()]),
        lambda p: SGD([p * 2]),
        lambda p: SGD([p], lr=-1.0),
        lambda p: SGD([p], nesterov=True),
        lambda p: Adam([p], betas=(0.9, 1.0)),
    ],
)
def test_what_can_not_be_optimized(bad: Callable[[Tensor], Optimizer]) -> None:
    with pytest.raises(ArgumentError):
        bad(Tensor([1.0], requires_grad=True))
