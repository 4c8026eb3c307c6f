"""The workloads' training loops in NumPy, derivatives by hand: float32 a peer, float64 the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def cross_entropy(z: Array, y: Array) -> tuple[Array, Array]:
    """The mean loss of scores, and its gradient by them."""
    rows = np.arange(len(y))
    z = z - z.max(1, keepdims=True)
    e = np.exp(z)
    s = e.sum(1, keepdims=True)
    loss = -(z[rows, y] - np.log(s[:, 0])).mean()
    p = e / s
    p[rows, y] -= 1
    return loss, p / z.dtype.type(len(y))


def mlp_losses(v: Mapping[str, Any], dtype: Any) -> Iterator[Array]:
    """The loss of each step of SGD on a perceptron of two layers, for ever."""
    x, y, lr = v["x"].astype(dtype), v["y"], dtype(v["lr"])
    w1, b1, w2, b2 = (v[k].astype(dtype) for k in ("w1", "b1", "w2", "b2"))
    while True:
        h = x @ w1 + b1
        r = np.maximum(h, 0)
        loss, p = cross_entropy(r @ w2 + b2, y)
        d = (p @ w2.T) * (h > 0)
        w2, b2 = w2 - lr * (r.T @ p), b2 - lr * p.sum(0)
        w1, b1 = w1 - lr * (x.T @ d), b1 - lr * d.sum(0)
        yield loss


class Adam:
    """Kingma and Ba's optimizer, with the constants that everybody uses."""

    def __init__(self, lr: float) -> None:
        self.lr, self.t = lr, 0
        self.moments: dict[str, tuple[Array, Array]] = {}

    def step(self, values: dict[str, Array], gradients: Mapping[str, Array]) -> None:
        self.t += 1
        for name, g in gradients.items():
            m, s = self.moments.get(name) or (np.zeros_like(g), np.zeros_like(g))
            of = g.dtype.type
            m, s = of(0.9) * m + of(0.1) * g, of(0.999) * s + of(0.001) * g * g
            self.moments[name] = m, s
            size = np.sqrt(s / of(1 - 0.999**self.t)) + of(1e-8)
            values[name] = values[name] - of(self.lr / (1 - 0.9**self.t)) * m / size


def _windows(x: Array) -> Array:
    """(N, C, H, W), padded by 1, to (N, H, W, C*9): what each position of a 3 x 3 convolution reads."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    w = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3)).transpose(0, 2, 3, 1, 4, 5)
    return np.ascontiguousarray(w).reshape(*w.shape[:3], -1)


def _conv(windows: Array, w: Array, b: Array) -> Array:
    return np.ascontiguousarray((windows @ w.reshape(len(w), -1).T + b).transpose(0, 3, 1, 2))


def _conv_back(windows: Array, w: Array, d: Array) -> tuple[Array, Array, Array]:
    """The gradients by a convolution's weight, bias and input, from that by its output."""
    rows = d.transpose(0, 2, 3, 1).reshape(-1, len(w))
    by_weight = (rows.T @ windows.reshape(-1, windows.shape[-1])).reshape(w.shape)
    turned = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    return by_weight, rows.sum(0), _conv(_windows(d), turned, np.zeros(len(turned), w.dtype))


def _pool(x: Array) -> tuple[Array, Array]:
    """The largest of each 2 x 2, and which it was, as a mask."""
    n, c, h, w = x.shape
    tiles = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4)
    first = tiles.argmax(-1)
    return tiles.max(-1), np.arange(4) == first[..., None]


def _pool_back(d: Array, mask: Array) -> Array:
    n, c, h, w = d.shape
    spread = (d[..., None] * mask).reshape(n, c, h, w, 2, 2).transpose(0, 1, 2, 4, 3, 5)
    return np.ascontiguousarray(spread).reshape(n, c, 2 * h, 2 * w)


def cnn_losses(v: Mapping[str, Any], dtype: Any) -> Iterator[Array]:
    """The loss of each step of Adam on two convolutions, each with a pool after it, and a linear layer."""
    x, y = v["x"].astype(dtype), v["y"]
    p = {k: v[k].astype(dtype) for k in ("w1", "b1", "w2", "b2", "w3", "b3")}
    adam = Adam(v["lr"])
    windows1 = _windows(x)
    while True:
        h1 = _conv(windows1, p["w1"], p["b1"])
        pooled1, mask1 = _pool(np.maximum(h1, 0))
        windows2 = _windows(pooled1)
        h2 = _conv(windows2, p["w2"], p["b2"])
        pooled2, mask2 = _pool(np.maximum(h2, 0))
        flat = pooled2.reshape(len(x), -1)
        loss, d = cross_entropy(flat @ p["w3"].T + p["b3"], y)
        g = {"w3": d.T @ flat, "b3": d.sum(0)}
        d2 = _pool_back((d @ p["w3"]).reshape(pooled2.shape), mask2) * (h2 > 0)
        g["w2"], g["b2"], d1 = _conv_back(windows2, p["w2"], d2)
        g["w1"], g["b1"], _ = _conv_back(windows1, p["w1"], _pool_back(d1, mask1) * (h1 > 0))
        adam.step(p, g)
        yield loss
