"""PyTorch, eager or through torch.compile."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .peers import Latest, Losses, Task, cores
from .transformer import Functions, scores
from .workloads import REPEATS, STEPS_CHECKED, Array, Inputs

Tensor = torch.Tensor


def bcastmm(a: Tensor, b: Tensor) -> Tensor:
    n = len(a)
    return (a.reshape(n, 1, n) * b.T.reshape(1, n, n)).sum(2)


def tiny_add(x: Tensor, y: Tensor) -> Tensor:
    for _ in range(REPEATS):
        x = x + y
    return x


GPT2 = Functions(
    layernorm=lambda x, g, b: F.layer_norm(x, x.shape[-1:], g, b, 1e-5),
    gelu=lambda x: F.gelu(x, approximate="tanh"),
    attend=lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    swap=lambda x: x.transpose(0, 1),
)


def gradient(g: Tensor, x: Tensor, w: Tensor, stride: int, by: int) -> Tensor:
    """Of a convolution, by x (0) or w (1)."""
    pad, asked = w.shape[-1] // 2, [by == 0, by == 1, False]
    of = torch.ops.aten.convolution_backward
    found: Tensor = of(g, x, w, None, [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], 1, asked)[by]
    return found


EXPRESSIONS: dict[str, Callable[..., Tensor]] = {
    "chain": lambda x, a, b: torch.clamp((x * a + b) * (x - b), min=a) * b - x.abs(),
    "axpb": lambda x, a, b: x * a + b,
    "gelu": lambda x, a, b: F.gelu(x * a + b, approximate="tanh"),
    "sum": lambda x: x.sum(),
    "rowsum": lambda x: x.sum(1),
    "colsum": lambda x: x.sum(0),
    "softmax": lambda x: torch.softmax(x, -1),
    "layernorm": lambda x, g, b: F.layer_norm(x, x.shape[1:], g, b, 1e-5),
    "matmul": lambda a, b: a @ b,
    "matmul_nt": lambda a, b: a @ b.T,
    "matmul_tn": lambda a, b: a.T @ b,
    "matmul_tt": lambda a, b: a.T @ b.T,
    "matmul_batch": lambda a, b: a @ b,
    "bcastmm": bcastmm,
    "gemv": lambda x, w: x @ w,
    "gemvt": lambda x, w: w @ x,
    "conv2d": lambda x, w: F.conv2d(x, w, padding=w.shape[-1] // 2),
    "conv2d_s2": lambda x, w: F.conv2d(x, w, padding=w.shape[-1] // 2, stride=2),
    "conv2d_last": lambda x, w: F.conv2d(
        x.permute(0, 3, 1, 2), w.contiguous(memory_format=torch.channels_last), padding=w.shape[-1] // 2
    ).permute(0, 2, 3, 1),
    "conv2d_by_input": partial(gradient, stride=1, by=0),
    "conv2d_by_input_s2": partial(gradient, stride=2, by=0),
    "conv2d_by_weight": partial(gradient, stride=1, by=1),
    "conv2d_by_weight_s2": partial(gradient, stride=2, by=1),
    "attention": lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
    "transadd": lambda x, y: x.T + y,
    "gather": lambda t, i: F.embedding(i, t),
    "gpt2": partial(scores, GPT2),
    "tiny_fused": tiny_add,
}


def numpy_of(x: Tensor) -> Array:
    return x.detach().numpy()


def prepare(kind: str, inputs: Inputs, compiled: bool = False) -> Task | None:
    """PyTorch's way to compute this."""
    torch.set_num_threads(cores())
    compile_: Callable[..., Any] = torch.compile if compiled else lambda f: f
    if compiled:
        torch._dynamo.reset()
    t = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in inputs.items()}
    if kind in ("mlp_train", "digits_train", "gpt2_train"):
        loop = Losses(_training(kind, inputs, t, compile_), STEPS_CHECKED)
        return Task(loop.run, lambda: np.array(loop.first), warm_up=STEPS_CHECKED)
    if kind in ("tiny_eager", "tiny_jit"):
        if kind == "tiny_eager" and compiled:
            return None
        f = compile_((lambda x, y: x * y + y) if kind == "tiny_jit" else (lambda x, y: x + y))
        expression = _repeat(f)
    elif kind in EXPRESSIONS:
        expression = compile_(EXPRESSIONS[kind])
    else:
        return None

    @torch.no_grad()
    def compute() -> Tensor:
        return expression(**t)

    latest = Latest(compute, numpy_of)
    return Task(latest.run, latest.result)


def _repeat(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def many(x: Tensor, y: Tensor) -> Tensor:
        for _ in range(REPEATS):
            x = f(x, y)
        return x

    return many


def _training(
    kind: str, inputs: Inputs, t: dict[str, Any], compile_: Callable[..., Any]
) -> Callable[[], float]:
    """A step from a batch in NumPy to its loss as a number."""
    names = [k for k in t if k not in ("x", "y", "lr", "heads")]
    p = {k: t[k].clone().requires_grad_() for k in names}
    optimizer: Any
    if kind == "mlp_train":
        optimizer = torch.optim.SGD(p.values(), lr=inputs["lr"])

        def forward(x: Tensor, y: Tensor, p: dict[str, Tensor]) -> Tensor:
            return F.cross_entropy(torch.relu(x @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"], y)
    elif kind == "gpt2_train":
        optimizer = torch.optim.SGD(p.values(), lr=inputs["lr"])

        def forward(x: Tensor, y: Tensor, p: dict[str, Tensor]) -> Tensor:
            return F.cross_entropy(scores(GPT2, inputs["heads"], x, **p), y)
    else:
        optimizer = torch.optim.Adam(p.values(), lr=inputs["lr"])

        def forward(x: Tensor, y: Tensor, p: dict[str, Tensor]) -> Tensor:
            x = F.max_pool2d(torch.relu(F.conv2d(x, p["w1"], p["b1"], padding=1)), 2)
            x = F.max_pool2d(torch.relu(F.conv2d(x, p["w2"], p["b2"], padding=1)), 2)
            return F.cross_entropy(F.linear(x.flatten(1), p["w3"], p["b3"]), y)

    forward = compile_(forward)

    def step() -> float:
        x, y = torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["y"]).long()
        optimizer.zero_grad()
        loss = forward(x, y, p)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
