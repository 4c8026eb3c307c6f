"""A port that offers compounds: the CPU, whose products are computed by NumPy on its own memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from portwright.core import dtype as dt
from portwright.core.compound import Compound, Dense
from portwright.core.device import Device, Spec
from portwright.devices.cpu import CPU
from portwright.devices.numpy import NumPy

Array = np.ndarray[Any, np.dtype[Any]]
FLOATS = frozenset({dt.float32, dt.float64, dt.float16, dt.int32})


def seen(device: Device, x: Dense) -> Array:
    """An operand's own memory, as NumPy sees it."""
    memory = device.host_view(x.handle, x.nbytes)  # type: ignore[attr-defined]
    return np.frombuffer(memory, x.dtype.numpy, x.size).reshape(x.shape)


def wide(x: Array) -> Array:
    return x.astype(np.float32) if x.dtype == np.float16 else x


def by(f: Callable[..., Array]) -> Callable[..., None]:
    """What runs a compound by a function of arrays, and counts."""

    def run(device: Any, out: Dense, *operands: Dense) -> None:
        result = f(*[seen(device, x) for x in operands])
        seen(device, out)[...] = result.astype(out.dtype.numpy)
        device.ran += 1

    return run


def attend(q: Array, k: Array, v: Array) -> Array:
    scores = np.einsum("bid,bjd->bij", q, k) / np.sqrt(q.shape[-1])
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True) @ v)


def convolve(x: Array, w: Array) -> Array:
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, w.shape[2:], (2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, w)


MATMUL = Compound(
    "matmul", lambda a, b: a @ b, by(lambda a, b: wide(a) @ wide(b)), FLOATS, (((3, 5), (5, 7)),)
)
LINEAR = Compound(
    "linear", lambda x, w: x.linear(w), by(lambda x, w: wide(x) @ wide(w).T), FLOATS, (((3, 5), (7, 5)),)
)
OUTER = Compound(
    "of_rows", lambda a, b: a.T @ b, by(lambda a, b: wide(a).T @ wide(b)), FLOATS, (((5, 3), (5, 7)),)
)
BATCHED = Compound(
    "batched", lambda a, b: a @ b, by(lambda a, b: wide(a) @ wide(b)), FLOATS, (((2, 3, 5), (2, 5, 7)),)
)
ATTENTION = Compound(
    "attention",
    lambda q, k, v: q.scaled_dot_product_attention(k, v),
    by(attend),
    frozenset({dt.float32}),
    (((2, 5, 4), (2, 7, 4), (2, 7, 6)),),
)
CONVOLUTION = Compound(
    "convolution",
    lambda x, w: x.conv2d(w, padding=1),
    by(convolve),
    frozenset({dt.float32}),
    (((2, 3, 6, 7), (4, 3, 3, 3)),),
)
ALL = (ATTENTION, CONVOLUTION, LINEAR, MATMUL, OUTER, BATCHED)


def offering(spec: Spec, *compounds: Compound, name: str = "LIBRARY") -> Spec:
    return replace(spec, name=name, compounds=compounds or ALL)


class Library(CPU):
    """The CPU with a library of products."""

    def __init__(self, *compounds: Compound) -> None:
        super().__init__()
        self.spec = offering(self.spec, *compounds)
        self.ran = 0


class Table(NumPy):
    """A port without a compiler, with the same library."""

    def __init__(self, *compounds: Compound) -> None:
        super().__init__()
        self.spec = offering(self.spec, *compounds, name="TABLE")
        self.ran = 0
