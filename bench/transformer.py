"""GPT-2 small, forward, as every peer computes it: the model is said once, for whoever brings four functions.

Weights are drawn; layers and sizes are those of Radford et al., Language Models are Unsupervised Multitask
Learners (2019): 12 layers, width 768, 12 heads, 50,257 tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .workloads import STEPS_CHECKED, Array, Expected, Inputs, Random, Workload, normal


@dataclass(frozen=True, slots=True)
class Transformer:
    """Its sizes: tokens in all, tokens read, layers, width, heads."""

    tokens: int
    length: int
    layers: int
    width: int
    heads: int


@dataclass(frozen=True, slots=True)
class Functions:
    """What a peer brings.

    Attributes:
        layernorm: of x, weight and bias, over the last axis.
        gelu: by tanh.
        attend: of q, k and v (heads, length, width), causally.
        swap: the first two axes.
    """

    layernorm: Callable[[Any, Any, Any], Any]
    gelu: Callable[[Any], Any]
    attend: Callable[[Any, Any, Any], Any]
    swap: Callable[[Any], Any]


def shapes(n: Transformer) -> dict[str, tuple[int, ...]]:
    """Of every parameter."""
    d = n.width
    out: dict[str, tuple[int, ...]] = {"wte": (n.tokens, d), "wpe": (n.length, d), "gf": (d,), "hf": (d,)}
    layer = {
        "g1": (d,), "h1": (d,), "w1": (d, 3 * d), "b1": (3 * d,), "w2": (d, d), "b2": (d,),
        "g2": (d,), "h2": (d,), "w3": (d, 4 * d), "b3": (4 * d,), "w4": (4 * d, d), "b4": (d,),
    }  # fmt: skip
    return out | {f"{name}_{i}": shape for i in range(n.layers) for name, shape in layer.items()}


def scores(f: Functions, heads: int, ids: Any, **p: Any) -> Any:
    """Of every token after each that was read, (length, tokens)."""
    x = p["wte"][ids] + p["wpe"]
    length, width = x.shape
    for i in range(sum(name.startswith("w1_") for name in p)):
        q = {name.partition("_")[0]: value for name, value in p.items() if name.endswith(f"_{i}")}
        y = f.layernorm(x, q["g1"], q["h1"]) @ q["w1"] + q["b1"]
        parts = [y[:, j * width : (j + 1) * width].reshape(length, heads, -1) for j in range(3)]
        seen = f.swap(f.attend(*(f.swap(z) for z in parts))).reshape(length, width)
        x = x + seen @ q["w2"] + q["b2"]
        y = f.layernorm(x, q["g2"], q["h2"]) @ q["w3"] + q["b3"]
        x = x + f.gelu(y) @ q["w4"] + q["b4"]
    return f.layernorm(x, p["gf"], p["hf"]) @ p["wte"].T


def _layernorm(x: Array, g: Array, b: Array) -> Array:
    away = x - x.mean(-1, keepdims=True)
    return np.asarray(away / np.sqrt((away * away).mean(-1, keepdims=True) + x.dtype.type(1e-5)) * g + b)


def _gelu(x: Array) -> Array:
    c = x.dtype.type(math.sqrt(2 / math.pi))
    return np.asarray(x * (1 + np.tanh(c * (x + x.dtype.type(0.044715) * x * x * x))) / 2)


def _attend(q: Array, k: Array, v: Array) -> Array:
    s = q @ k.swapaxes(-1, -2) / q.dtype.type(math.sqrt(q.shape[-1]))
    s = np.where(np.tri(s.shape[-1], dtype=bool), s, -np.inf)
    e = np.exp(s - s.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True) @ v)


NUMPY = Functions(_layernorm, _gelu, _attend, lambda x: x.swapaxes(0, 1))
"""In the dtype of what it is given: float32 a peer, float64 the reference."""


def _drawn(n: Transformer, random: Random) -> Inputs:
    """The model's parameters, as they are before training."""
    return {
        key: normal(random, *shape) * np.float32(0.02) + np.float32(key[0] == "g")
        for key, shape in shapes(n).items()
    }


def _work(n: Transformer) -> tuple[int, int]:
    """Parameters that are multiplied by, and operations of a forward pass."""
    weights = sum(math.prod(shape) for key, shape in shapes(n).items() if key[0] == "w" and key != "wpe")
    return weights, 2 * n.length * weights + 4 * n.layers * n.length**2 * n.width


def gpt2(n: Transformer, name: str) -> Workload:
    """The scores of every token after each of a text."""

    def make(random: Random) -> Inputs:
        ids = random.integers(0, n.tokens, n.length).astype(np.int32)
        return {"ids": ids, "heads": n.heads, **_drawn(n, random)}

    def expect(v: Inputs, random: Random) -> Expected:
        wide = {k: x.astype(np.float64) if k != "ids" else x for k, x in v.items() if k != "heads"}
        values = scores(NUMPY, n.heads, **wide)
        return Expected((n.length, n.tokens), ..., values, 1e-4)

    weights, flops = _work(n)
    return Workload(
        name, "gpt2", f"{n.layers} layers of width {n.width}, {n.heads} heads, {n.length} tokens",
        make, expect, nbytes=4 * weights, flops=flops,
    )  # fmt: skip


def gpt2_train(n: Transformer, name: str) -> Workload:
    """A step of SGD on all of it; the result is the first losses."""

    def make(random: Random) -> Inputs:
        x, y = random.integers(0, n.tokens, (2, n.length)).astype(np.int32)
        return {"x": x, "y": y, "heads": n.heads, "lr": 0.05, **_drawn(n, random)}

    def expect(v: Inputs, random: Random) -> Expected:
        from .transformer_training import gpt2_losses

        losses = gpt2_losses(v, np.float64)
        values = np.array([next(losses) for _ in range(STEPS_CHECKED)])
        return Expected((STEPS_CHECKED,), ..., values, 1e-3)

    weights, flops = _work(n)
    return Workload(
        name, "gpt2_train", f"{n.layers} layers of width {n.width}, {n.length} tokens: a step of SGD",
        make, expect, nbytes=12 * weights, flops=3 * flops,
    )  # fmt: skip
