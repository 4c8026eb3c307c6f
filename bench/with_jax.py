"""JAX, compiled."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .peers import Latest, Losses, Task
from .transformer import Functions, scores
from .workloads import REPEATS, STEPS_CHECKED, Inputs


def layernorm(x: Any, g: Any, b: Any) -> Any:
    away = x - x.mean(1, keepdims=True)
    return away * jax.lax.rsqrt((away * away).mean(1, keepdims=True) + 1e-5) * g + b


def bcastmm(a: Any, b: Any) -> Any:
    n = len(a)
    return (a.reshape(n, 1, n) * b.T.reshape(1, n, n)).sum(2)


def tiny_add(x: Any, y: Any) -> Any:
    for _ in range(REPEATS):
        x = x + y
    return x


def attend(q: Any, k: Any, v: Any) -> Any:
    s = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])
    return jax.nn.softmax(jnp.where(jnp.tri(s.shape[-1], dtype=bool), s, -jnp.inf), -1) @ v


GPT2 = Functions(layernorm, partial(jax.nn.gelu, approximate=True), attend, lambda x: x.swapaxes(0, 1))


def gradient(g: Any, x: Any, w: Any, stride: int, by: int) -> Any:
    """Of a convolution, by x (0) or w (1)."""
    pad = w.shape[-1] // 2
    conv = lambda x, w: jax.lax.conv_general_dilated(x, w, (stride, stride), [(pad, pad)] * 2)  # noqa: E731
    return jax.vjp(conv, x, w)[1](g)[by]


EXPRESSIONS: dict[str, Callable[..., Any]] = {
    "chain": lambda x, a, b: jnp.maximum((x * a + b) * (x - b), a) * b - jnp.abs(x),
    "axpb": lambda x, a, b: x * a + b,
    "gelu": lambda x, a, b: jax.nn.gelu(x * a + b, approximate=True),
    "sum": lambda x: x.sum(),
    "rowsum": lambda x: x.sum(1),
    "colsum": lambda x: x.sum(0),
    "softmax": lambda x: jax.nn.softmax(x, -1),
    "layernorm": layernorm,
    "matmul": lambda a, b: a @ b,
    "matmul_nt": lambda a, b: a @ b.T,
    "matmul_tn": lambda a, b: a.T @ b,
    "matmul_tt": lambda a, b: a.T @ b.T,
    "matmul_batch": lambda a, b: a @ b,
    "bcastmm": bcastmm,
    "gemv": lambda x, w: x @ w,
    "gemvt": lambda x, w: w @ x,
    "conv2d": lambda x, w: jax.lax.conv(x, w, (1, 1), "SAME"),
    "conv2d_s2": lambda x, w: jax.lax.conv_general_dilated(x, w, (2, 2), [(w.shape[-1] // 2,) * 2] * 2),
    "conv2d_last": lambda x, w: jax.lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "OIHW", "NHWC")
    ),
    "conv2d_by_input": partial(gradient, stride=1, by=0),
    "conv2d_by_input_s2": partial(gradient, stride=2, by=0),
    "conv2d_by_weight": partial(gradient, stride=1, by=1),
    "conv2d_by_weight_s2": partial(gradient, stride=2, by=1),
    "attention": lambda q, k, v: jax.nn.softmax(q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1]), -1) @ v,
    "transadd": lambda x, y: x.T + y,
    "gather": lambda t, i: t[i],
    "gpt2": partial(scores, GPT2),
    "tiny_fused": tiny_add,
}


def prepare(kind: str, inputs: Inputs) -> Task | None:
    """JAX's way to compute this."""
    t = {k: jnp.asarray(v) if isinstance(v, np.ndarray) else v for k, v in inputs.items()}
    if kind in ("mlp_train", "gpt2_train"):
        loop = Losses(_training(kind, inputs, t), STEPS_CHECKED)
        return Task(loop.run, lambda: np.array(loop.first), warm_up=STEPS_CHECKED)
    if kind == "tiny_eager":
        expression = _repeat(lambda x, y: x + y)
    elif kind == "tiny_jit":
        expression = _repeat(jax.jit(lambda x, y: x * y + y))
    elif kind in EXPRESSIONS:
        numbers = tuple(k for k, v in t.items() if isinstance(v, float | int))
        expression = jax.jit(EXPRESSIONS[kind], static_argnames=numbers)
    else:
        return None
    latest = Latest(lambda: expression(**t).block_until_ready(), np.asarray)
    return Task(latest.run, latest.result)


def _repeat(f: Callable[..., Any]) -> Callable[..., Any]:
    def many(x: Any, y: Any) -> Any:
        for _ in range(REPEATS):
            x = f(x, y)
        return x

    return many


def _training(kind: str, inputs: Inputs, t: dict[str, Any]) -> Callable[[], float]:
    """A step from a batch in NumPy to its loss as a number."""
    p = {k: t[k] for k in t if k not in ("x", "y", "lr", "heads")}

    def loss_of(p: dict[str, Any], x: Any, y: Any) -> Any:
        if kind == "gpt2_train":
            z = scores(GPT2, inputs["heads"], x, **p)
        else:
            z = jax.nn.relu(x @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]
        return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1).mean()

    @jax.jit
    def train(p: dict[str, Any], x: Any, y: Any) -> Any:
        loss, g = jax.value_and_grad(loss_of)(p, x, y)
        return loss, {k: p[k] - inputs["lr"] * g[k] for k in p}

    def step() -> float:
        nonlocal p
        loss, p = train(p, inputs["x"], inputs["y"])
        return float(loss)

    return step
