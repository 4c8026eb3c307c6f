"""What is measured: inputs drawn afresh, what is right in float64, and the least bytes and operations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .training import cnn_losses, mlp_losses

Array = np.ndarray[Any, np.dtype[Any]]
Inputs = Mapping[str, Any]
Random = np.random.Generator

EPSILON = 2.0**-24
"""Half an ulp of 1 in float32: what one rounding may cost."""
STEPS_CHECKED = 4
"""Of a training loop, how many losses from the first on are compared."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What is right, in part of a result.

    Attributes:
        shape: of the whole result.
        at: which elements are looked at, as an index.
        values: those, in float64.
        allowed: how far off each may be; broadcasts with ``values``.
    """

    shape: tuple[int, ...]
    at: Any
    values: Array
    allowed: Array | float

    def error(self, result: Array) -> float:
        """The largest error as a share of what is allowed: right up to 1, infinite of a wrong shape."""
        if result.shape != self.shape:
            return math.inf
        off = np.abs(result[self.at].astype(np.float64) - self.values) / self.allowed
        return float(np.max(np.where(np.isnan(off), math.inf, off)))


@dataclass(frozen=True, slots=True)
class Workload:
    """One thing to compute.

    Attributes:
        name: what it is called in tables.
        kind: which expression a peer computes.
        says: the expression and its sizes.
        make: draws inputs.
        expect: what is right of these inputs; draws where it looks.
        nbytes: the least that must be moved; 0 where that says nothing.
        flops: the least arithmetic; 0 where that says nothing.
        calls: how many calls one run makes; times are given for one.
    """

    name: str
    kind: str
    says: str
    make: Callable[[Random], Inputs]
    expect: Callable[[Inputs, Random], Expected]
    nbytes: int = 0
    flops: int = 0
    calls: int = 1


def some(n: int, count: int, random: Random) -> Array:
    """Positions below n to look at: the first, the last and ``count`` more."""
    return np.unique(np.concatenate([[0, n - 1], random.integers(0, n, count)]))


def normal(random: Random, *shape: int) -> Array:
    """Standard normal float32."""
    return random.standard_normal(shape, dtype=np.float32)


def positive(random: Random, *shape: int) -> Array:
    """Uniform float32 in [0, 1): sums of them have no cancellation."""
    return random.random(shape, dtype=np.float32)


# ------------------------------------------------------------------------------------------------ elementwise


def axpb64(v: Inputs, x: Array) -> Array:
    return np.asarray(x * v["a"] + v["b"])


def gelu64(v: Inputs, x: Array) -> Array:
    u = axpb64(v, x)
    return np.asarray(0.5 * u * (1 + np.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3))))


def chain64(v: Inputs, x: Array) -> Array:
    a, b = v["a"], v["b"]
    return np.asarray(np.maximum((x * a + b) * (x - b), a) * b - np.abs(x))


def elementwise(kind: str, name: str, says: str, n: int, exact: Callable[[Inputs, Array], Array]) -> Workload:
    """float32 in, float32 out."""

    def make(random: Random) -> Inputs:
        return {"x": normal(random, n), "a": 1.5, "b": 0.25}

    def expect(v: Inputs, random: Random) -> Expected:
        at = some(n, 200_000, random)
        x = v["x"][at].astype(np.float64)
        values = exact(v, x)
        return Expected((n,), at, values, 32 * EPSILON * (1 + np.abs(x)) ** 2)

    return Workload(name, kind, says, make, expect, nbytes=8 * n)


# ------------------------------------------------------------------------------------------------- reductions


def reduction(kind: str, name: str, says: str, shape: tuple[int, ...], axis: int | None) -> Workload:
    """Sums of positive numbers."""

    def make(random: Random) -> Inputs:
        return {"x": positive(random, *shape)}

    def expect(v: Inputs, random: Random) -> Expected:
        values = np.asarray(v["x"].sum(axis=axis, dtype=np.float64))
        terms = v["x"].size // values.size
        return Expected(values.shape, ..., values, min(1e-4, terms * EPSILON) * np.abs(values))

    return Workload(name, kind, says, make, expect, nbytes=4 * math.prod(shape))


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def softmax(rows: int, columns: int) -> Workload:
    """Over rows."""

    def expect(v: Inputs, random: Random) -> Expected:
        at = some(rows, 62, random)
        values = _softmax(v["x"][at].astype(np.float64))
        return Expected((rows, columns), at, values, 1e-5 * values)

    return Workload(
        f"softmax_{rows}", "softmax", f"softmax of the rows of {rows}x{columns}",
        lambda r: {"x": normal(r, rows, columns)}, expect, nbytes=8 * rows * columns,
    )  # fmt: skip


def layernorm(rows: int, columns: int) -> Workload:
    """Over rows, with weight and bias."""

    def make(random: Random) -> Inputs:
        return {
            "x": normal(random, rows, columns),
            "g": normal(random, columns),
            "b": normal(random, columns),
        }

    def expect(v: Inputs, random: Random) -> Expected:
        at = some(rows, 62, random)
        x = v["x"][at].astype(np.float64)
        values = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * v["g"] + v["b"]
        return Expected((rows, columns), at, values, 1e-5 * (1 + np.abs(values)))

    return Workload(
        f"layernorm_{rows}", "layernorm", f"layer norm of the rows of {rows}x{columns}, weight and bias",
        make, expect, nbytes=8 * rows * columns,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------- products


def product_of(a: Array, b: Array, terms: int) -> tuple[Array, Array]:
    """a @ b in float64, and how far off float32 may be: the classical bound."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return a @ b, terms * EPSILON * (np.abs(a) @ np.abs(b))


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of a product: its results' rows and columns, and the terms of each sum."""

    rows: int
    terms: int
    columns: int

    def __str__(self) -> str:
        return f"{self.rows}x{self.terms} by {self.terms}x{self.columns}"


def cube(n: int) -> Sizes:
    """Of square matrices."""
    return Sizes(n, n, n)


def matmul(kind: str, name: str, says: str, n: Sizes) -> Workload:
    """a @ b; of the kind ``matmul_nt`` with b transposed, of ``matmul_tn`` with a, of ``matmul_tt`` both."""
    left = (n.terms, n.rows) if kind in ("matmul_tn", "matmul_tt") else (n.rows, n.terms)
    right = (n.columns, n.terms) if kind in ("matmul_nt", "matmul_tt") else (n.terms, n.columns)

    def expect(v: Inputs, random: Random) -> Expected:
        at = some(n.rows, 62, random)
        a = v["a"].T if kind in ("matmul_tn", "matmul_tt") else v["a"]
        b = v["b"].T if kind in ("matmul_nt", "matmul_tt") else v["b"]
        return Expected((n.rows, n.columns), at, *product_of(a[at], b, n.terms))

    return Workload(
        name, kind, says, lambda r: {"a": normal(r, *left), "b": normal(r, *right)}, expect,
        nbytes=4 * (n.rows * n.terms + n.terms * n.columns + n.rows * n.columns),
        flops=2 * n.rows * n.terms * n.columns,
    )  # fmt: skip


def batched_matmul(name: str, batch: int, n: Sizes) -> Workload:
    """As many products a @ b."""

    def expect(v: Inputs, random: Random) -> Expected:
        at = some(batch, 2, random)
        return Expected((batch, n.rows, n.columns), at, *product_of(v["a"][at], v["b"][at], n.terms))

    return Workload(
        name, "matmul_batch", f"a @ b, {batch} times {n}",
        lambda r: {"a": normal(r, batch, n.rows, n.terms), "b": normal(r, batch, n.terms, n.columns)}, expect,
        nbytes=4 * batch * (n.rows * n.terms + n.terms * n.columns + n.rows * n.columns),
        flops=2 * batch * n.rows * n.terms * n.columns,
    )  # fmt: skip


def gemv(kind: str, name: str, says: str, terms: int, results: int) -> Workload:
    """A matrix and a vector: x @ w, and of the kind ``gemvt`` w @ x."""
    shape = (results, terms) if kind == "gemvt" else (terms, results)

    def expect(v: Inputs, random: Random) -> Expected:
        w = v["w"].T if kind == "gemvt" else v["w"]
        return Expected((results,), ..., *product_of(v["x"], w, terms))

    return Workload(
        name, kind, says, lambda r: {"x": normal(r, terms), "w": normal(r, *shape)}, expect,
        nbytes=4 * terms * results, flops=2 * terms * results,
    )  # fmt: skip


def attention(batch: int, heads: int, length: int, width: int, name: str = "attention") -> Workload:
    """Scaled dot product attention, forward, no mask."""
    shape = (batch, heads, length, width)

    def expect(v: Inputs, random: Random) -> Expected:
        q, k, w = (v[name][-1].astype(np.float64) for name in "qkv")
        values = _softmax(q @ k.swapaxes(-1, -2) / math.sqrt(width)) @ w
        return Expected(shape, batch - 1, values, 2e-5)

    return Workload(
        name, "attention", f"attention, B{batch} H{heads} T{length} D{width}",
        lambda r: {name: normal(r, *shape) for name in "qkv"}, expect,
        nbytes=16 * math.prod(shape), flops=4 * batch * heads * length**2 * width,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------- movement


def transadd(rows: int, columns: int) -> Workload:
    """A transpose that is read once."""

    def expect(v: Inputs, random: Random) -> Expected:
        at = some(rows, 62, random)
        values = v["x"][:, at].T.astype(np.float64) + v["y"][at]
        return Expected((rows, columns), at, values, EPSILON * (1 + np.abs(values)))

    return Workload(
        f"transadd_{rows}", "transadd", f"x.T + y of {rows}x{columns}",
        lambda r: {"x": normal(r, columns, rows), "y": normal(r, rows, columns)}, expect,
        nbytes=12 * rows * columns,
    )  # fmt: skip


def gather(rows: int, width: int, picks: int) -> Workload:
    """Rows of a table."""

    def make(random: Random) -> Inputs:
        return {"t": normal(random, rows, width), "i": random.integers(0, rows, picks).astype(np.int32)}

    def expect(v: Inputs, random: Random) -> Expected:
        at = some(picks, 2000, random)
        return Expected((picks, width), at, v["t"][v["i"][at]].astype(np.float64), EPSILON)

    return Workload(
        f"gather_{rows // 1000}k", "gather", f"table[{rows}, {width}][{picks} positions]", make, expect,
        nbytes=8 * picks * width,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------- training


def mlp_train() -> Workload:
    """The steps of a perceptron; the result is the first losses."""

    def make(random: Random) -> Inputs:
        return {
            "x": normal(random, 512, 784), "y": random.integers(0, 10, 512).astype(np.int32),
            "w1": normal(random, 784, 512) * np.float32(0.03), "b1": np.zeros(512, np.float32),
            "w2": normal(random, 512, 10) * np.float32(0.04), "b2": np.zeros(10, np.float32), "lr": 0.01,
        }  # fmt: skip

    def expect(v: Inputs, random: Random) -> Expected:
        losses = mlp_losses(v, np.float64)
        values = np.array([next(losses) for _ in range(STEPS_CHECKED)])
        return Expected((STEPS_CHECKED,), ..., values, 1e-4)

    return Workload(
        "mlp_train", "mlp_train", "784-512-10 perceptron, batch 512: a step of SGD", make, expect,
        flops=4 * 512 * 784 * 512 + 6 * 512 * 512 * 10,
    )  # fmt: skip


def digits_train() -> Workload:
    """The steps of the convolutional net of examples/digits.py; the result is the first losses."""

    def make(random: Random) -> Inputs:
        def uniform(*shape: int) -> Array:
            bound = math.prod(shape[1:]) ** -0.5
            return random.uniform(-bound, bound, shape).astype(np.float32)

        return {
            "x": positive(random, 64, 1, 8, 8), "y": random.integers(0, 10, 64).astype(np.int32),
            "w1": uniform(16, 1, 3, 3), "b1": np.zeros(16, np.float32),
            "w2": uniform(32, 16, 3, 3), "b2": np.zeros(32, np.float32),
            "w3": uniform(10, 128), "b3": np.zeros(10, np.float32), "lr": 0.008,
        }  # fmt: skip

    def expect(v: Inputs, random: Random) -> Expected:
        losses = cnn_losses(v, np.float64)
        values = np.array([next(losses) for _ in range(STEPS_CHECKED)])
        return Expected((STEPS_CHECKED,), ..., values, 1e-3)

    return Workload(
        "digits_train", "digits_train", "the net of examples/digits.py, batch 64: a step of Adam",
        make, expect,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------- tiny

REPEATS = 1000


def tiny(kind: str, name: str, says: str, calls: int, factor: float) -> Workload:
    """x = x*factor' + y a thousand times on ten numbers: what a call costs that computes next to nothing."""

    def make(random: Random) -> Inputs:
        return {"x": np.zeros(10, np.float32), "y": positive(random, 10) * np.float32(0.5)}

    def expect(v: Inputs, random: Random) -> Expected:
        y = v["y"].astype(np.float64)
        values = y / (1 - y) if kind == "tiny_jit" else REPEATS * y
        return Expected((10,), ..., values, factor * (EPSILON + np.abs(values)))

    return Workload(name, kind, says, make, expect, calls=calls)
