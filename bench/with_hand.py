"""Kernels written by hand in C, of the sizes that suit them: what a generator should come to write.

They are no part of this repository: ``BENCH_HAND`` names the C file, or it lies beside the checkout, in
``shared/bench/c``.
"""

from __future__ import annotations

import ctypes
import math
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from portwright.devices.toolchain import find_toolchain

from .limits import aligned
from .peers import Task, cores
from .workloads import Array, Inputs

FLAGS = (
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-ffp-contract=fast",
    "-shared",
    "-fPIC",
    "-pthread",
    "-w",
)
BESIDE = Path(__file__).resolve().parents[2] / "shared" / "bench" / "c" / "ideal.c"
LARGE = 4 << 20
"""Results of more are stored past the caches."""


def source() -> Path | None:
    """The C file, where there is one."""
    path = Path(os.environ.get("BENCH_HAND") or BESIDE)
    return path if path.is_file() else None


@cache
def _library() -> ctypes.CDLL:
    path = source()
    assert path is not None
    text = path.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "hand.so")
        library.write_bytes(find_toolchain().compile(text, [*FLAGS, "-I", str(path.parent)]))
        return ctypes.CDLL(str(library))


def prepare(kind: str, inputs: Inputs) -> Task | None:
    """The kernel, on copies of the inputs; None where it suits no such sizes."""
    if source() is None:
        return None
    t = {k: aligned(v) for k, v in inputs.items() if isinstance(v, np.ndarray)}
    maker = KINDS.get(kind)
    made = maker(t, inputs) if maker and all(s % 16 == 0 for s in _sizes(kind, t)) else None
    return None if made is None else Task(*made)


def _sizes(kind: str, t: dict[str, Array]) -> list[int]:
    """The extents that must suit the kernels' tiles."""
    if kind == "conv2d":
        return [t["x"].shape[1], t["w"].shape[0], 0 if t["w"].shape[2:] == (3, 3) else 1]
    return [s for k, x in t.items() if k != "i" for s in x.shape[-2:]]


Made = tuple[Callable[[], object], Callable[[], Array]]


def _call(name: str, out: Array, *arguments: Any) -> Made:
    """A call with its result first, and the number of threads last."""
    kinds = {int: ctypes.c_size_t, float: ctypes.c_float}
    given = [
        ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else kinds.get(type(a), lambda x: x)(a)
        for a in arguments
    ]
    function = getattr(_library(), name)
    first, threads = ctypes.c_void_p(out.ctypes.data), ctypes.c_int(cores())
    keep = (out, arguments)
    return lambda: (function(first, *given, threads), keep), lambda: out


def _new(*shape: int) -> Array:
    return aligned(np.zeros(shape, np.float32))


def _work(name: str, *sizes: int) -> Array:
    """Scratch memory of as many floats as a kernel wants."""
    asked = getattr(_library(), name)
    asked.restype = ctypes.c_size_t
    return _new(int(asked(*sizes, cores())))


def _streams(out: Array) -> ctypes.c_int:
    return ctypes.c_int(out.size > LARGE)


def _elementwise(name: str) -> Callable[[dict[str, Array], Inputs], Made]:
    def make(t: dict[str, Array], v: Inputs) -> Made:
        out = _new(*t["x"].shape)
        return _call(name, out, t["x"], t["x"].size, float(v["a"]), float(v["b"]), _streams(out))

    return make


def _sum(t: dict[str, Array], v: Inputs) -> Made:
    function, out = _library().c_sum, np.zeros((), np.float32)
    function.restype = ctypes.c_float
    x, n, threads = ctypes.c_void_p(t["x"].ctypes.data), ctypes.c_size_t(t["x"].size), ctypes.c_int(cores())

    def run() -> object:
        out[...] = function(x, n, threads)
        return t

    return run, lambda: out


def _softmax(t: dict[str, Array], v: Inputs) -> Made:
    out = _new(*t["x"].shape)
    return _call("c_softmax", out, t["x"], *t["x"].shape, _streams(out))


def _layernorm(t: dict[str, Array], v: Inputs) -> Made:
    out = _new(*t["x"].shape)
    return _call("c_layernorm", out, t["x"], t["g"], t["b"], *t["x"].shape, 1e-5, _streams(out))


def _matmul(t: dict[str, Array], v: Inputs) -> Made:
    m, k = t["a"].shape
    n = t["b"].shape[1]
    work = _new(max(m, k, n) * (n + 16) + 2 * 600 * 600)
    blocks = (ctypes.c_int(144), ctypes.c_int(256))
    return _call("c_matmul", _new(m, n), t["a"], t["b"], *map(ctypes.c_int, (m, n, k)), *blocks, work)


def _vector(name: str) -> Callable[[dict[str, Array], Inputs], Made]:
    def make(t: dict[str, Array], v: Inputs) -> Made:
        out = _new(t["w"].shape[0 if name == "c_gemvt" else 1])
        return _call(name, out, t["x"], t["w"], *map(ctypes.c_int, t["w"].shape))

    return make


def _conv2d(t: dict[str, Array], v: Inputs) -> Made:
    (n, c, h, w), k = t["x"].shape, t["w"].shape[0]
    work = _work("c_conv_work", c, h, w, k)
    return _call("c_conv3x3", _new(n, k, h, w), t["x"], t["w"], *map(ctypes.c_int, (n, c, h, w, k)), work)


def _attention(t: dict[str, Array], v: Inputs) -> Made:
    *heads, length, width = t["q"].shape
    sizes = map(ctypes.c_int, (math.prod(heads), length, width))
    work = _work("c_attn_work", length, width)
    return _call("c_attention", _new(*t["q"].shape), t["q"], t["k"], t["v"], *sizes, work)


def _transadd(t: dict[str, Array], v: Inputs) -> Made | None:
    n, m = t["x"].shape
    return _call("c_transadd", _new(n, n), t["x"], t["y"], n) if n == m and n % 64 == 0 else None


def _gather(t: dict[str, Array], v: Inputs) -> Made:
    at = aligned(v["i"].astype(np.int64))
    width = t["t"].shape[1]
    return _call("c_gather", _new(len(at), width), t["t"], at, len(at), width)


KINDS: dict[str, Callable[[dict[str, Array], Inputs], Made | None]] = {
    "axpb": _elementwise("c_axpb"),
    "gelu": _elementwise("c_gelu"),
    "sum": _sum,
    "rowsum": lambda t, v: _call("c_rowsum", _new(len(t["x"])), t["x"], *t["x"].shape),
    "colsum": lambda t, v: _call("c_colsum", _new(t["x"].shape[1]), t["x"], *t["x"].shape),
    "softmax": _softmax,
    "layernorm": _layernorm,
    "matmul": _matmul,
    "bcastmm": _matmul,
    "gemv": _vector("c_gemv"),
    "gemvt": _vector("c_gemvt"),
    "conv2d": _conv2d,
    "attention": _attention,
    "transadd": _transadd,
    "gather": _gather,
}
