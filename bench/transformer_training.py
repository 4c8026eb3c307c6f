"""GPT-2's training loop in NumPy, derivatives by hand: float32 a peer, float64 the reference."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .training import cross_entropy
from .workloads import Array

EPSILON = 1e-5
CURVE = 0.044715
"""Of gelu by tanh."""


def gpt2_losses(v: Mapping[str, Any], dtype: Any) -> Iterator[Array]:
    """The loss of each step of SGD on the whole model, for ever.

    Args:
        v: ``x``, tokens; ``y``, those that come after each; ``heads``, ``lr`` and the parameters.
        dtype: what it is computed in.
    """
    p = {k: w.astype(dtype) for k, w in v.items() if k not in ("x", "y", "heads", "lr")}
    while True:
        loss, gradients = _step(p, v["x"], v["y"], v["heads"])
        for name, g in gradients.items():
            p[name] = p[name] - dtype(v["lr"]) * g
        yield loss


def _step(p: dict[str, Array], ids: Array, y: Array, heads: int) -> tuple[Array, dict[str, Array]]:
    layers = sum(name.startswith("w1_") for name in p)
    x = p["wte"][ids] + p["wpe"]
    kept = []
    for i in range(layers):
        x, held = _layer(x, p, i, heads)
        kept.append(held)
    last, final = _normal(x, p["gf"], p["hf"])
    loss, d = cross_entropy(last @ p["wte"].T, y)
    g: dict[str, Array] = {"wte": d.T @ last}
    d, g["gf"], g["hf"] = _normal_back(d @ p["wte"], final, p["gf"])
    for i in reversed(range(layers)):
        d = _layer_back(d, p, i, heads, kept[i], g)
    g["wpe"] = d
    np.add.at(g["wte"], ids, d)
    return loss, g


def _normal(x: Array, scale: Array, shift: Array) -> tuple[Array, tuple[Array, Array]]:
    away = x - x.mean(-1, keepdims=True)
    by = 1 / np.sqrt((away * away).mean(-1, keepdims=True) + x.dtype.type(EPSILON))
    return away * by * scale + shift, (away * by, by)


def _normal_back(d: Array, kept: tuple[Array, Array], scale: Array) -> tuple[Array, Array, Array]:
    """The gradients by what is normalized, its scale and its shift."""
    unit, by = kept
    e = d * scale
    e = by * (e - e.mean(-1, keepdims=True) - unit * (e * unit).mean(-1, keepdims=True))
    return e, (d * unit).sum(0), d.sum(0)


def _layer(x: Array, p: dict[str, Array], i: int, heads: int) -> tuple[Array, tuple[Any, ...]]:
    a, first = _normal(x, p[f"g1_{i}"], p[f"h1_{i}"])
    parts = np.split(a @ p[f"w1_{i}"] + p[f"b1_{i}"], 3, axis=1)
    q, k, v = (z.reshape(len(x), heads, -1).swapaxes(0, 1) for z in parts)
    s = q @ k.swapaxes(1, 2) / x.dtype.type(math.sqrt(q.shape[-1]))
    s = np.where(np.tri(len(x), dtype=bool), s, -np.inf)
    e = np.exp(s - s.max(-1, keepdims=True))
    weights = e / e.sum(-1, keepdims=True)
    seen = (weights @ v).swapaxes(0, 1).reshape(x.shape)
    x = x + seen @ p[f"w2_{i}"] + p[f"b2_{i}"]
    b, second = _normal(x, p[f"g2_{i}"], p[f"h2_{i}"])
    u = b @ p[f"w3_{i}"] + p[f"b3_{i}"]
    t = np.tanh(x.dtype.type(math.sqrt(2 / math.pi)) * (u + x.dtype.type(CURVE) * u**3))
    hidden = u * (1 + t) / 2
    return x + hidden @ p[f"w4_{i}"] + p[f"b4_{i}"], (
        a,
        first,
        q,
        k,
        v,
        weights,
        seen,
        b,
        second,
        u,
        t,
        hidden,
    )


def _layer_back(
    d: Array, p: dict[str, Array], i: int, heads: int, kept: tuple[Any, ...], g: dict[str, Array]
) -> Array:
    """The gradient by what a layer was given; those by its parameters go into ``g``."""
    a, first, q, k, v, weights, seen, b, second, u, t, hidden = kept
    of = d.dtype.type
    g[f"w4_{i}"], g[f"b4_{i}"] = hidden.T @ d, d.sum(0)
    slope = (1 + t) / 2 + u * (1 - t * t) / 2 * of(math.sqrt(2 / math.pi)) * (1 + of(3 * CURVE) * u * u)
    du = (d @ p[f"w4_{i}"].T) * slope
    g[f"w3_{i}"], g[f"b3_{i}"] = b.T @ du, du.sum(0)
    e, g[f"g2_{i}"], g[f"h2_{i}"] = _normal_back(du @ p[f"w3_{i}"].T, second, p[f"g2_{i}"])
    d = d + e
    g[f"w2_{i}"], g[f"b2_{i}"] = seen.T @ d, d.sum(0)
    do = (d @ p[f"w2_{i}"].T).reshape(len(d), heads, -1).swapaxes(0, 1)
    dw = do @ v.swapaxes(1, 2)
    ds = weights * (dw - (dw * weights).sum(-1, keepdims=True)) / of(math.sqrt(q.shape[-1]))
    by = (ds @ k, ds.swapaxes(1, 2) @ q, weights.swapaxes(1, 2) @ do)
    dy = np.concatenate([z.swapaxes(0, 1).reshape(d.shape) for z in by], axis=1)
    g[f"w1_{i}"], g[f"b1_{i}"] = a.T @ dy, dy.sum(0)
    e, g[f"g1_{i}"], g[f"h1_{i}"] = _normal_back(dy @ p[f"w1_{i}"].T, first, p[f"g1_{i}"])
    return d + e
