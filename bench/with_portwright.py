"""Portwright on its default device."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from portwright import Device, Tensor, jit, nn

from .peers import Latest, Losses, Task
from .transformer import Functions, scores
from .workloads import REPEATS, STEPS_CHECKED, Inputs


def bcastmm(a: Tensor, b: Tensor) -> Tensor:
    n = a.shape[0]
    return (a.reshape(n, 1, n) * b.T.reshape(1, n, n)).sum(axis=2)


def tiny_add(x: Tensor, y: Tensor) -> Tensor:
    for _ in range(REPEATS):
        x = x + y
    return x


GPT2 = Functions(
    layernorm=lambda x, g, b: x.layernorm(x.shape[-1:], g, b, 1e-5),
    gelu=lambda x: x.gelu("tanh"),
    attend=lambda q, k, v: q.scaled_dot_product_attention(k, v, is_causal=True),
    swap=lambda x: x.transpose(0, 1),
)


def gradient(g: Tensor, x: Tensor, w: Tensor, stride: int, by: int) -> Tensor:
    """Of a convolution, by x (0) or w (1)."""
    x, w = x.detach(), w.detach()
    x.requires_grad = w.requires_grad = True
    return x.conv2d(w, padding=w.shape[-1] // 2, stride=stride).gradient((x, w)[by], gradient=g)[0]


EXPRESSIONS: dict[str, Callable[..., Tensor]] = {
    "chain": lambda x, a, b: ((x * a + b) * (x - b)).maximum(a) * b - x.abs(),
    "axpb": lambda x, a, b: x * a + b,
    "gelu": lambda x, a, b: (x * a + b).gelu("tanh"),
    "sum": lambda x: x.sum(),
    "rowsum": lambda x: x.sum(1),
    "colsum": lambda x: x.sum(0),
    "softmax": lambda x: x.softmax(-1),
    "layernorm": lambda x, g, b: x.layernorm(x.shape[1:], g, b, 1e-5),
    "matmul": lambda a, b: a @ b,
    "matmul_nt": lambda a, b: a @ b.T,
    "matmul_tn": lambda a, b: a.T @ b,
    "matmul_tt": lambda a, b: a.T @ b.T,
    "matmul_batch": lambda a, b: a @ b,
    "bcastmm": bcastmm,
    "gemv": lambda x, w: x @ w,
    "gemvt": lambda x, w: w @ x,
    "conv2d": lambda x, w: x.conv2d(w, padding=w.shape[-1] // 2),
    "conv2d_s2": lambda x, w: x.conv2d(w, padding=w.shape[-1] // 2, stride=2),
    "conv2d_last": lambda x, w: x.permute(0, 3, 1, 2).conv2d(w, padding=w.shape[-1] // 2).permute(0, 2, 3, 1),
    "conv2d_by_input": partial(gradient, stride=1, by=0),
    "conv2d_by_input_s2": partial(gradient, stride=2, by=0),
    "conv2d_by_weight": partial(gradient, stride=1, by=1),
    "conv2d_by_weight_s2": partial(gradient, stride=2, by=1),
    "attention": lambda q, k, v: q.scaled_dot_product_attention(k, v),
    "transadd": lambda x, y: x.T + y,
    "gather": lambda t, i: t[i],
    "gpt2": partial(scores, GPT2),
    "tiny_fused": tiny_add,
}


def prepare(kind: str, inputs: Inputs) -> Task | None:
    """Portwright's way to compute this."""
    t = {k: Tensor(v).realize() if isinstance(v, np.ndarray) else v for k, v in inputs.items()}
    device = Device()
    if kind in ("mlp_train", "digits_train", "gpt2_train"):
        loop = Losses(_training(kind, inputs, t), STEPS_CHECKED)
        return Task(loop.run, lambda: np.array(loop.first), warm_up=STEPS_CHECKED)
    if kind == "tiny_eager":
        # every sum is of other memory than the last, so none is found among the values that are alive
        expression = _repeat(lambda x, y: (x + y).realize())
    elif kind == "tiny_jit":
        expression = _repeat(jit(lambda x, y: x * y + y))
    elif kind in EXPRESSIONS:
        lazy = EXPRESSIONS[kind]
        if not lazy(**t).kernels():
            raise RuntimeError(f"{kind} would run no kernel: nothing is measured")
        expression = jit(lazy)
    else:
        return None

    def compute() -> Tensor:
        out = expression(**t)
        device.synchronize()
        return out

    latest = Latest(compute, lambda x: x.numpy())
    return Task(latest.run, latest.result, warm_up=3)


def _repeat(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def many(x: Tensor, y: Tensor) -> Tensor:
        for _ in range(REPEATS):
            x = f(x, y)
        return x

    return many


def _training(kind: str, inputs: Inputs, t: dict[str, Any]) -> Callable[[], float]:
    """A step from a batch in NumPy to its loss as a number."""
    p = {k: Tensor(inputs[k], requires_grad=True) for k in t if k not in ("x", "y", "lr", "heads")}
    optimizer: nn.optim.Optimizer
    if kind == "mlp_train":
        optimizer = nn.optim.SGD(p.values(), lr=inputs["lr"])

        def forward(x: Tensor) -> Tensor:
            return (x @ p["w1"] + p["b1"]).relu() @ p["w2"] + p["b2"]
    elif kind == "gpt2_train":
        optimizer = nn.optim.SGD(p.values(), lr=inputs["lr"])
        forward = partial(scores, GPT2, inputs["heads"], **p)
    else:
        optimizer = nn.optim.Adam(p.values(), lr=inputs["lr"])

        def forward(x: Tensor) -> Tensor:
            x = x.conv2d(p["w1"], p["b1"], padding=1).relu().max_pool2d(2)
            x = x.conv2d(p["w2"], p["b2"], padding=1).relu().max_pool2d(2)
            return x.flatten(1).linear(p["w3"], p["b3"])

    @jit
    def train(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = forward(x).cross_entropy(y)
        loss.backward()
        optimizer.step(loss)
        return loss

    return lambda: float(train(Tensor(inputs["x"]), Tensor(inputs["y"])).item())
