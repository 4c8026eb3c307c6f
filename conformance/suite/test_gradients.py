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
from ...core.errors import JitError
from ...core.evaluate import evaluate
from ...core.jit import jit
from ...core.tensor import Tensor
from ..case import Case
from ..inputs import Array
from ..judge import require
from ..models import MLP, MODELS, OPTIMIZERS, Adam, Model, Momentum, cross_entropy, softmax_gradient

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


def near(title: str, got: Array, wanted: Array, share: float = 2.0**-14) -> None:
    """Within what float32 loses over a few hundred operations, against the largest element."""
    most = share * max(1e-6, float(np.abs(wanted).max()))
    bad = ~(np.abs(got.astype(np.float64) - wanted) <= most)
    require(title, bad, got, wanted, (), f"within {most:.2g}")


def test_mlp(case: Case) -> None:
    """Four steps of gradient descent on two layers, in float32, against NumPy in float64.

    The classes are more than a vector's lanes, and no multiple: no part of a row may be added up twice.
    """
    case.claims(float32)
    x, hot_rows = case.rng.standard_normal((32, 10)), np.eye(21)[case.rng.integers(0, 21, 32)]
    w1, w2 = case.rng.standard_normal((10, 16)) / 3, case.rng.standard_normal((16, 21)) / 4
    b1 = case.rng.standard_normal(16) / 4

    tx, hot = put(case, x), put(case, hot_rows)
    a1, c1, a2 = (v.astype(np.float32).astype(np.float64) for v in (w1, b1, w2))
    x = x.astype(np.float32).astype(np.float64)
    for step in range(4):
        t1, t2, t3 = (put(case, v, requires_grad=True) for v in (a1, c1, a2))
        loss = cross_entropy((tx @ t1 + t2).relu() @ t3, hot)
        loss.backward()
        before = x @ a1 + c1
        hidden = np.maximum(before, 0)
        wanted, dz = softmax_gradient(hidden @ a2, hot_rows)
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
    xs = [case.rng.standard_normal((2, 9, 8)).astype(np.float32) for _ in range(3)]
    got = attention(*(Tensor(x, device=case.name) for x in xs))
    near("attention", case.run(got.node)[0], attention_by_hand(*xs))


# ------------------------------------------------------------------------------------------- trajectories

STEPS = 20
FAR = 2.0**-11
"""How far float32 may be from float64 after so many steps, against the largest element."""


def put(case: Case, x: Array, **options: Any) -> Tensor:
    """An array as float32 on the device."""
    return Tensor(x.astype(np.float32), device=case.name, **options)


def rounded(x: Array) -> Array:
    """As float32 holds it."""
    return x.astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_trajectory(case: Case, model: Callable[[], Model], optimizer: Callable[[], Momentum | Adam]) -> None:
    """Twenty steps of training on batches that change, against the same in float64."""
    case.claims(float32)
    made, mine, right = model(), optimizer(), optimizer()
    exact = [rounded(p) for p in made.start(case.rng)]
    held = [put(case, p) for p in exact]
    for step in range(STEPS):
        x, hot = (rounded(v) for v in made.batch(case.rng))
        leaves = [put(case, p.numpy(), requires_grad=True) for p in held]
        loss = made.loss(put(case, x), put(case, hot), leaves)
        loss.backward()
        wanted, gradients = made.by_hand(x, hot, exact)
        near(f"loss, step {step}", loss.numpy().reshape(1), np.array([wanted]), FAR)
        held = mine.step([p.detach() for p in leaves], [required(p.grad) for p in leaves])
        exact = right.step(exact, gradients)
        for i, (got, meant) in enumerate(zip(held, exact, strict=True)):
            near(f"parameter {i}, step {step}", got.numpy(), meant, FAR)
        for i, (got, meant) in enumerate(zip(mine.state(), right.state(), strict=True)):
            near(f"the optimizer's value {i}, step {step}", got.realize().numpy(), meant, FAR)


def required(gradient: Tensor | None) -> Tensor:
    """A gradient that must be there."""
    assert gradient is not None, "a parameter has no gradient"
    return gradient


# ------------------------------------------------------------------------------------------------ replays


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One head."""
    return ((q @ k.transpose(1, 2)) * 8**-0.5).softmax(2) @ v


def attention_by_hand(q: Array, k: Array, v: Array) -> Array:
    """The same, in float64."""
    scores = np.einsum("bik,bjk->bij", q.astype(np.float64), k.astype(np.float64)) * 8**-0.5
    e = np.exp(scores - scores.max(2, keepdims=True))
    given: Array = (e / e.sum(2, keepdims=True)) @ v.astype(np.float64)
    return given


def test_replays(case: Case) -> None:
    """A captured function of inputs that change, in buffers new and old; what it gave before stays."""
    case.claims(float32)
    replayed, kept = jit(attention), list[tuple[Tensor, Array]]()
    sets = [[case.rng.standard_normal((2, 9, 8)) for _ in range(3)] for _ in range(3)]
    placed = [[put(case, x) for x in xs] for xs in sets]
    for turn, i in enumerate((0, 0, 1, 2, 0, 2, 1, 1, 0)):
        again = turn % 2  # the tensors of an earlier turn, or new ones
        given = replayed(*(placed[i] if again else [put(case, x) for x in sets[i]]))
        kept.append((given, attention_by_hand(*(rounded(x) for x in sets[i]))))
        near(f"attention, call {turn}", given.numpy(), kept[-1][1])
    for turn, (given, wanted) in enumerate(kept):
        near(f"attention, call {turn}, after {len(kept)}", given.numpy(), wanted)


def test_replays_one_shape(case: Case) -> None:
    """What was captured refuses inputs of another shape and goes on; captured anew, it takes them."""
    case.claims(float32)
    replayed = jit(attention)
    xs, ys = ([case.rng.standard_normal((2, n, 8)) for _ in range(3)] for n in (9, 5))

    def call(arrays: list[Array], title: str) -> None:
        got = replayed(*(put(case, x) for x in arrays)).numpy()
        near(title, got, attention_by_hand(*(rounded(x) for x in arrays)))

    for turn in range(3):
        call(xs, f"attention of 9 rows, call {turn}")
    with pytest.raises(JitError):
        replayed(*(put(case, y) for y in ys))
    call(xs, "attention of 9 rows, after 5 were refused")
    replayed.reset()
    for turn in range(3):
        call(ys, f"attention of 5 rows, call {turn}")


class Trained:
    """Parameters and an optimizer's state, stepped by a captured method.

    Args:
        case: on whose device.
        parameters: to begin with.
    """

    def __init__(self, case: Case, parameters: list[Array]) -> None:
        self.parameters = [put(case, p) for p in parameters]
        self.speeds = [put(case, p * 0) for p in parameters]

    @jit
    def step(self, x: Tensor, hot: Tensor) -> Tensor:
        """One step of gradient descent with momentum; the loss before it."""
        leaves = [p.detach().requires_grad_() for p in self.parameters]
        loss = MLP().loss(x, hot, leaves)
        loss.backward()
        optimizer = Momentum(list(self.speeds))
        after = optimizer.step([p.detach() for p in leaves], [required(p.grad) for p in leaves])
        for p, v, new, speed in zip(self.parameters, self.speeds, after, optimizer.speed, strict=True):
            p.assign(new)
            v.assign(speed)
        return loss.detach()


def test_replays_with_state(case: Case) -> None:
    """A captured step of training, of which parameters and momentum go from call to call."""
    case.claims(float32)
    model, right = MLP(), Momentum()
    exact = [rounded(p) for p in model.start(case.rng)]
    mine = Trained(case, exact)
    for step in range(12):
        x, hot = (rounded(v) for v in model.batch(case.rng))
        loss = mine.step(put(case, x), put(case, hot))
        wanted, gradients = model.by_hand(x, hot, exact)
        near(f"loss, step {step}", loss.numpy().reshape(1), np.array([wanted]), FAR)
        exact = right.step(exact, gradients)
        for i, (got, meant) in enumerate(zip(mine.parameters, exact, strict=True)):
            near(f"parameter {i}, step {step}", got.numpy(), meant, FAR)
