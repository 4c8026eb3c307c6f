"""tinygrad through its JIT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tinygrad import Context, Device, Tensor, TinyJit
from tinygrad.nn.optim import SGD, Adam

from .peers import Latest, Losses, Task
from .workloads import REPEATS, STEPS_CHECKED, Inputs


def bcastmm(a: Tensor, b: Tensor) -> Tensor:
    n = a.shape[0]
    return (a.reshape(n, 1, n) * b.T.reshape(1, n, n)).sum(2)


def tiny_add(x: Tensor, y: Tensor) -> Tensor:
    for _ in range(REPEATS):
        x = x + y
    return x


EXPRESSIONS: dict[str, Callable[..., Tensor]] = {
    "chain": lambda x, a, b: ((x * a + b) * (x - b)).maximum(a) * b - x.abs(),
    "axpb": lambda x, a, b: x * a + b,
    "gelu": lambda x, a, b: (x * a + b).gelu(),
    "sum": lambda x: x.sum(),
    "rowsum": lambda x: x.sum(1),
    "colsum": lambda x: x.sum(0),
    "softmax": lambda x: x.softmax(-1),
    "layernorm": lambda x, g, b: x.layernorm(-1, 1e-5) * g + b,
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
    "attention": lambda q, k, v: q.scaled_dot_product_attention(k, v),
    "transadd": lambda x, y: x.T + y,
    "gather": lambda t, i: t[i],
    "tiny_fused": tiny_add,
}


def prepare(kind: str, inputs: Inputs) -> Task | None:
    """tinygrad's way to compute this."""
    device = Device[Device.DEFAULT]
    t = {k: Tensor(v).realize() if isinstance(v, np.ndarray) else v for k, v in inputs.items()}
    if kind in ("mlp_train", "digits_train"):
        loop = Losses(_training(kind, inputs, t), STEPS_CHECKED)
        return Task(loop.run, lambda: np.array(loop.first), warm_up=STEPS_CHECKED)
    arrays = {k: v for k, v in t.items() if isinstance(v, Tensor)}
    numbers = {k: v for k, v in t.items() if k not in arrays}
    if kind == "tiny_eager":
        expression = _repeat(lambda x, y: (x + y).realize())
    elif kind == "tiny_jit":
        # what a jit gives is overwritten by its next call and may not be passed to it: two take turns
        expression = _repeat(*(TinyJit(lambda x, y: (x * y + y).realize()) for _ in range(2)))
    elif kind in EXPRESSIONS:
        lazy = EXPRESSIONS[kind]
        expression = TinyJit(lambda **arrays: lazy(**arrays, **numbers).realize())
    else:
        return None

    def compute() -> Tensor:
        out = expression(**arrays)
        device.synchronize()
        return out

    latest = Latest(compute, lambda x: x.numpy())
    return Task(latest.run, latest.result, warm_up=3)


def _repeat(*turns: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def many(x: Tensor, y: Tensor) -> Tensor:
        for i in range(REPEATS):
            x = turns[i % len(turns)](x, y)
        return x

    return many


def _training(kind: str, inputs: Inputs, t: dict[str, Any]) -> Callable[[], float]:
    """A step from a batch in NumPy to its loss as a number."""
    p = {k: t[k] for k in t if k[0] in "wb"}
    for parameter in p.values():
        parameter.requires_grad = True
    if kind == "mlp_train":
        optimizer = SGD(list(p.values()), lr=inputs["lr"])

        def forward(x: Tensor) -> Tensor:
            return (x @ p["w1"] + p["b1"]).relu() @ p["w2"] + p["b2"]
    else:
        optimizer = Adam(list(p.values()), lr=inputs["lr"])

        def forward(x: Tensor) -> Tensor:
            x = x.conv2d(p["w1"], p["b1"], padding=1).relu().max_pool2d((2, 2))
            x = x.conv2d(p["w2"], p["b2"], padding=1).relu().max_pool2d((2, 2))
            return x.flatten(1).linear(p["w3"].T, p["b3"])

    @TinyJit
    def train(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = forward(x).sparse_categorical_crossentropy(y)
        loss.backward()
        return loss.realize(*optimizer.schedule_step())

    def step() -> float:
        with Context(TRAINING=1):
            return float(train(Tensor(inputs["x"]).realize(), Tensor(inputs["y"]).realize()).item())

    return step
