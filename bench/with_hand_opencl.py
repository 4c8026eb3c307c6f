"""Kernels written by hand in OpenCL: what the generator should come to write for such a device.

They are no part of this repository: ``BENCH_HAND_OPENCL`` names a Python file that holds them, or it lies
beside the checkout, in ``shared/bench``. The file has a function of a workload's name, its inputs and a word
of the platform's version, which gives one that runs it and one that fetches its result.
"""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .peers import Task
from .workloads import Array, Inputs

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "bench" / "bench_peers.py"
ANY = ""
"""A word that the version of each platform holds."""
NAMES = {
    "axpb": "axpb_64m", "gelu": "gelu", "sum": "sum_64m", "rowsum": "rowsum_8192", "colsum": "colsum_8192",
    "matmul": "matmul",
}  # fmt: skip
"""What each kind is called there."""


def source() -> Path | None:
    """The file, where there is one."""
    path = Path(os.environ.get("BENCH_HAND_OPENCL") or BESIDE)
    return path if path.is_file() else None


@cache
def _kernels(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("kernels_by_hand", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _fits(kind: str, x: Array, others: list[Array]) -> bool:
    """Whether the kernels suit such sizes."""
    if kind == "matmul":
        return len(set(x.shape)) == 1 and len(x) % 16 == 0 and others[0].shape == x.shape
    return x.shape == (8192, 8192) if x.ndim == 2 else x.size % (1 << 15) == 0


def prepare(kind: str, inputs: Inputs) -> Task | None:
    """The kernels, on copies of the inputs; None where they suit no such sizes."""
    path, (first, *others) = source(), [v for v in inputs.values() if isinstance(v, np.ndarray)]
    if path is None or kind not in NAMES or not _fits(kind, first, others):
        return None
    run, result = _kernels(path)._pocl(NAMES[kind], {**inputs, "n": len(first)}, ANY)
    return Task(run, (lambda: result().reshape(())) if kind == "sum" else result)
