"""NumPy, as its users write it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .peers import Latest, Losses, Task
from .training import cnn_losses, mlp_losses
from .transformer import NUMPY, scores
from .transformer_training import gpt2_losses
from .workloads import REPEATS, STEPS_CHECKED, Array, Inputs

f4 = np.float32


def chain(x: Array, a: float, b: float) -> Array:
    return np.asarray(np.maximum((x * f4(a) + f4(b)) * (x - f4(b)), f4(a)) * f4(b) - np.abs(x))


def gelu(x: Array, a: float, b: float) -> Array:
    u = x * f4(a) + f4(b)
    return f4(0.5) * u * (1 + np.tanh(f4(math.sqrt(2 / math.pi)) * (u + f4(0.044715) * u * u * u)))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def layernorm(x: Array, g: Array, b: Array) -> Array:
    away = x - x.mean(1, keepdims=True)
    return np.asarray(away / np.sqrt((away * away).mean(1, keepdims=True) + f4(1e-5)) * g + b)


def bcastmm(a: Array, b: Array) -> Array:
    n = len(a)
    return np.asarray((a.reshape(n, 1, n) * b.T.reshape(1, n, n)).sum(2))


def conv2d(x: Array, w: Array, stride: int = 1) -> Array:
    n, c, h, width = x.shape
    side = w.shape[-1]
    pad = side // 2
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (2, 3)).transpose(
        0, 1, 4, 5, 2, 3
    )[..., ::stride, ::stride]
    return (w.reshape(len(w), -1) @ np.ascontiguousarray(windows).reshape(n, c * side * side, -1)).reshape(
        n, -1, -(-h // stride), -(-width // stride)
    )


def gradient(g: Array, x: Array, w: Array, stride: int, by: int) -> Array:
    """Of a convolution, by x (0) or w (1): a product of matrices for each place in the window."""
    side, results = w.shape[-1], g.shape[-1]
    pad = side // 2
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    pixels, weights = np.zeros_like(padded), np.empty_like(w)
    for i in range(side):
        for j in range(side):
            at = (..., *(slice(n, n + stride * (results - 1) + 1, stride) for n in (i, j)))
            if by == 0:
                pixels[at] += np.tensordot(w[:, :, i, j], g, (0, 1)).swapaxes(0, 1)
            else:
                weights[:, :, i, j] = np.tensordot(g, padded[at], ((0, 2, 3), (0, 2, 3)))
    return weights if by else np.asarray(pixels[..., pad : pad + x.shape[2], pad : pad + x.shape[3]])


def tiny_add(x: Array, y: Array) -> Array:
    for _ in range(REPEATS):
        x = x + y
    return x


def tiny_jit(x: Array, y: Array) -> Array:
    for _ in range(REPEATS):
        x = x * y + y
    return x


EXPRESSIONS: dict[str, Callable[..., Any]] = {
    "chain": chain,
    "axpb": lambda x, a, b: x * f4(a) + f4(b),
    "gelu": gelu,
    "sum": lambda x: x.sum(),
    "rowsum": lambda x: x.sum(axis=1),
    "colsum": lambda x: x.sum(axis=0),
    "softmax": softmax,
    "layernorm": layernorm,
    "matmul": lambda a, b: a @ b,
    "matmul_nt": lambda a, b: a @ b.T,
    "matmul_tn": lambda a, b: a.T @ b,
    "matmul_tt": lambda a, b: a.T @ b.T,
    "matmul_batch": lambda a, b: a @ b,
    "bcastmm": bcastmm,
    "gemv": lambda x, w: x @ w,
    "gemvt": lambda x, w: w @ x,
    "conv2d": conv2d,
    "conv2d_s2": partial(conv2d, stride=2),
    "conv2d_by_input": partial(gradient, stride=1, by=0),
    "conv2d_by_input_s2": partial(gradient, stride=2, by=0),
    "conv2d_by_weight": partial(gradient, stride=1, by=1),
    "conv2d_by_weight_s2": partial(gradient, stride=2, by=1),
    "conv2d_last": lambda x, w: conv2d(x.transpose(0, 3, 1, 2), w).transpose(0, 2, 3, 1),
    "attention": lambda q, k, v: softmax(q @ k.swapaxes(-1, -2) / f4(math.sqrt(q.shape[-1]))) @ v,
    "transadd": lambda x, y: x.T + y,
    "gather": lambda t, i: t[i],
    "tiny_eager": tiny_add,
    "tiny_jit": tiny_jit,
    "gpt2": partial(scores, NUMPY),
    "tiny_fused": tiny_add,
}
TRAINING = {"mlp_train": mlp_losses, "digits_train": cnn_losses, "gpt2_train": gpt2_losses}


def prepare(kind: str, inputs: Inputs) -> Task | None:
    """NumPy's way to compute this."""
    if kind in TRAINING:
        losses = TRAINING[kind](inputs, f4)
        loop = Losses(lambda: next(losses), STEPS_CHECKED)
        return Task(loop.run, lambda: np.array(loop.first), warm_up=STEPS_CHECKED)
    if kind not in EXPRESSIONS:
        return None
    latest = Latest(lambda: EXPRESSIONS[kind](**inputs), np.asarray)
    return Task(latest.run, latest.result)
