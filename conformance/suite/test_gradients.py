"""Rung 9: gradients against central differences in float64, and steps of small models against NumPy.

On a port without float64, differences would say little: there a gradient in float32 is held against what its
graph means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ...core import engine
from ...core.dtype import float32, float64
from ...core.evaluate import evaluate
from ...core.tensor import Tensor
from ..case import Case
from ..inputs import Array
from ..judge import require

STEP = 2.0**-16
"""Of the central difference: its own error is of the order of STEP²."""
TOLERANCE = 2.0**-24

Function = Callable[..., Tensor]

UNARY: dict[str, Function] = {
    "neg": lambda x: -x,
    "square": lambda x: x * x,
    "cube": lambda x: x**3,
    "reciprocal": lambda x: (x * x + 1).reciprocal(),
    "sqrt": lambda x: (x * x + 1).sqrt(),
    "rsqrt": lambda x: (x * x + 1).rsqrt(),
    "exp2": lambda x: x.exp2(),
    "exp": lambda x: x.exp(),
    "log2": lambda x: (x * x + 0.5).log2(),
    "log": lambda x: (x * x + 0.5).log(),
    "sin": lambda x: x.sin(),
    "cos": lambda x: x.cos(),
    "tanh": lambda x: x.tanh(),
    "sigmoid": lambda x: x.sigmoid(),
    "relu": lambda x: x.relu(),
    "abs": lambda x: x.abs(),
    "where": lambda x: (x < 0.1).where(x * 3, x * x),
    "maximum with a number": lambda x: x.maximum(0.25),
    "minimum with a number": lambda x: x.minimum(0.25),
    "sum": lambda x: x.sum() * x,
    "sum of rows": lambda x: x.sum(1),
    "sum of columns": lambda x: x.sum(0) * 2,
    "mean": lambda x: x.mean(0),
    "max": lambda x: x.max(1),
    "min": lambda x: x.min(0),
    "prod": lambda x: x.prod(1),
    "var": lambda x: x.var(1),
    "softmax": lambda x: x.softmax(1),
    "log softmax": lambda x: x.log_softmax(0),
    "reshape": lambda x: x.reshape(4, 3) * x.reshape(4, 3),
    "transpose": lambda x: x.T * x.reshape(4, 3),
    "flip": lambda x: x.flip(0, 1) * x,
    "pad": lambda x: x.pad(((1, 0), (0, 2))) * 2,
    "shrink": lambda x: x.shrink(((1, 3), (0, 2))) ** 2,
    "expand": lambda x: x.reshape(3, 1, 4).expand(3, 5, 4) * x.sum(),
    "index": lambda x: x[1:, ::2] * x[0, 1],
    "roll": lambda x: x.roll(1, 0) * x,
    "windows": lambda x: x.unfold(1, 2, 1) * 2,
    "shared": lambda x: (x.sin() + x) * x.sin(),
    "detached": lambda x: x * x + (x * 2).detach() * x * 0,
    "cast there and back": lambda x: (x.cast(float64) * 2).cast(float64),
    "contiguous": lambda x: (x * 2).contiguous() * x,
}
BINARY: dict[str, Function] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / (y * y + 1),
    "maximum": lambda x, y: x.maximum(y),
    "minimum": lambda x, y: x.minimum(y),
    "where": lambda x, y: (x < y).where(x, y * 2),
    "broadcast row": lambda x, y: x * y[0],
    "broadcast column": lambda x, y: x[:, :1] + y * y,
    "matmul": lambda x, y: x @ y.T,
    "outer": lambda x, y: x.reshape(3, 4, 1) * y.reshape(3, 1, 4),
    "cat": lambda x, y: x.cat(y, dim=0) ** 2,
    "power": lambda x, y: (x * x + 0.5) ** y,
}


def values(case: Case, n: int) -> list[Array]:
    """So many matrices in float64 whose elements are apart: no kink within a step."""
    made = []
    for _ in range(n):
        apart = (case.rng.permutation(12) + case.rng.uniform(-0.3, 0.3, 12)) / 6 - 0.92
        made.append(apart.reshape(3, 4))
    return made


def check_meaning(case: Case, f: Function, inputs: list[Array]) -> None:
    """The gradient of a weighted sum of what ``f`` gives, in float32, is what its graph means."""
    tensors = [Tensor(x.astype(np.float32), device=case.name, requires_grad=True) for x in inputs]
    out = f(*tensors)
    weights = case.rng.uniform(0.5, 1.5, out.shape).astype(np.float32)
    (out * Tensor(weights, device=case.name)).sum().backward()
    for i, tensor in enumerate(tensors):
        assert tensor.grad is not None, f"operand {i} has no gradient"
        (wanted,) = evaluate([tensor.grad.node], engine.read)
        near(f"gradient by operand {i}", case.run(tensor.grad.node)[0], wanted.astype(np.float64))


def check(case: Case, f: Function, inputs: list[Array]) -> None:
    """The gradient of a weighted sum of what ``f`` gives is its central difference by every element."""
    if float64 not in case.spec.dtypes:
        check_meaning(case, f, inputs)
        return
    tensors = [Tensor(x, device=case.name, requires_grad=True) for x in inputs]
    out = f(*tensors)
    weights = case.rng.uniform(0.5, 1.5, out.shape)
    (out * Tensor(weights, device=case.name)).sum().backward()

    def value(xs: list[Array]) -> float:
        result = f(*(Tensor(x, device=case.name) for x in xs)).numpy()
        return float((result.astype(np.longdouble) * weights).sum())

    for i, (tensor, x) in enumerate(zip(tensors, inputs, strict=True)):
        wanted = np.empty_like(x)
        for at in np.ndindex(x.shape):
            ends = []
            for step in (STEP, -STEP):
                moved = [v.copy() for v in inputs]
                moved[i][at] += step
                ends.append(value(moved))
            wanted[at] = (ends[0] - ends[1]) / (2 * STEP)
        assert tensor.grad is not None, f"operand {i} has no gradient"
        got = case.run(tensor.grad.node)[0]
        most = TOLERANCE * (1 + np.abs(wanted).max())
        require(
            f"gradient by operand {i}",
            ~(np.abs(got - wanted) <= most),
            got,
            wanted,
            (x,),
            f"within {most:.2g}",
        )


@pytest.mark.parametrize("f", UNARY.values(), ids=[n.replace(" ", "_") for n in UNARY])
def test_unary(case: Case, f: Function) -> None:
    """Functions of one matrix."""
    case.claims(float32, *([float64] if f is UNARY["cast there and back"] else []))
    check(case, f, values(case, 1))


@pytest.mark.parametrize("f", BINARY.values(), ids=[n.replace(" ", "_") for n in BINARY])
def test_binary(case: Case, f: Function) -> None:
    """Functions of two."""
    case.claims(float32)
    check(case, f, values(case, 2))


def near(title: str, got: Array, wanted: Array) -> None:
    """Within what float32 loses over a few hundred operations, against the largest element."""
    most = 2.0**-14 * max(1e-6, float(np.abs(wanted).max()))
    bad = ~(np.abs(got.astype(np.float64) - wanted) <= most)
    require(title, bad, got, wanted, (), f"within {most:.2g}")


def softmax_gradient(z: Array, labels: Array) -> tuple[float, Array]:
    """The mean cross-entropy of rows of scores, and its gradient."""
    e = np.exp(z - z.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    picked = p[np.arange(len(labels)), labels]
    hot = np.eye(z.shape[1])[labels]
    return float(-np.log(picked).mean()), (p - hot) / len(labels)


def cross_entropy(z: Tensor, hot: Tensor) -> Tensor:
    """The same, of tensors."""
    return -(z.log_softmax(1) * hot).sum() / hot.shape[0]


def test_mlp(case: Case) -> None:
    """Four steps of gradient descent on two layers, in float32, against NumPy in float64."""
    case.claims(float32)
    x, labels = case.rng.standard_normal((32, 10)), case.rng.integers(0, 5, 32)
    w1, w2 = case.rng.standard_normal((10, 16)) / 3, case.rng.standard_normal((16, 5)) / 4
    b1 = case.rng.standard_normal(16) / 4

    def put(v: Array, **options: Any) -> Tensor:
        return Tensor(v.astype(np.float32), device=case.name, **options)

    tx, hot = put(x), put(np.eye(5)[labels])
    a1, c1, a2 = (v.astype(np.float32).astype(np.float64) for v in (w1, b1, w2))
    x = x.astype(np.float32).astype(np.float64)
    for step in range(4):
        t1, t2, t3 = (put(v, requires_grad=True) for v in (a1, c1, a2))
        loss = cross_entropy((tx @ t1 + t2).relu() @ t3, hot)
        loss.backward()
        before = x @ a1 + c1
        hidden = np.maximum(before, 0)
        wanted, dz = softmax_gradient(hidden @ a2, labels)
        dh = (dz @ a2.T) * (before > 0)
        near(f"loss, step {step}", case.run(loss.node)[0].reshape(1), np.array([wanted]))
        pairs = (("w1", t1, x.T @ dh), ("b1", t2, dh.sum(0)), ("w2", t3, hidden.T @ dz))
        for name, tensor, gradient in pairs:
            assert tensor.grad is not None, f"{name} has no gradient"
            near(f"gradient by {name}, step {step}", case.run(tensor.grad.node)[0], gradient)
        a1, c1, a2 = a1 - 0.5 * (x.T @ dh), c1 - 0.5 * dh.sum(0), a2 - 0.5 * (hidden.T @ dz)
        a1, c1, a2 = (v.astype(np.float32).astype(np.float64) for v in (a1, c1, a2))


def test_convolution(case: Case) -> None:
    """A convolution and the gradients of its sum of squares by image and weights."""
    case.claims(float32)
    x = case.rng.standard_normal((2, 3, 7, 6)).astype(np.float32)
    w = case.rng.standard_normal((4, 3, 3, 3)).astype(np.float32)
    tx, tw = (Tensor(v, device=case.name, requires_grad=True) for v in (x, w))
    out = tx.conv2d(tw, padding=1)
    (out * out).sum().backward()
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    wanted = np.einsum("nchwij,ocij->nohw", windows, w.astype(np.float64))
    near("convolution", case.run(out.node)[0], wanted)
    dw = np.einsum("nchwij,nohw->ocij", windows, 2 * wanted)
    dx = np.zeros_like(padded)
    for i in range(3):
        for j in range(3):
            dx[:, :, i : i + 7, j : j + 6] += np.einsum(
                "nohw,oc->nchw", 2 * wanted, w[:, :, i, j].astype(np.float64)
            )
    assert tw.grad is not None, "the weights have no gradient"
    assert tx.grad is not None, "the image has no gradient"
    near("gradient by the weights", case.run(tw.grad.node)[0], dw)
    near("gradient by the image", case.run(tx.grad.node)[0], dx[:, :, 1:-1, 1:-1])


def test_attention(case: Case) -> None:
    """One head of attention, forward, against NumPy."""
    case.claims(float32)
    q, k, v = (case.rng.standard_normal((2, 9, 8)).astype(np.float32) for _ in range(3))
    tq, tk, tv = (Tensor(a, device=case.name) for a in (q, k, v))
    got = ((tq @ tk.transpose(1, 2)) * 8**-0.5).softmax(2) @ tv
    scores = np.einsum("bik,bjk->bij", q.astype(np.float64), k.astype(np.float64)) * 8**-0.5
    e = np.exp(scores - scores.max(2, keepdims=True))
    near("attention", case.run(got.node)[0], (e / e.sum(2, keepdims=True)) @ v.astype(np.float64))
