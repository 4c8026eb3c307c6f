"""A device that flushes subnormals: what its primitives compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from portwright.core.dtype import DType
from portwright.core.evaluate import NUMPY_PRIMITIVES
from portwright.core.ops import Op

Array = np.ndarray[Any, np.dtype[Any]]


def flush(x: Array) -> Array:
    """Float subnormals as zeros."""
    if x.dtype.kind != "f":
        return x
    return np.where(np.abs(x) < np.finfo(x.dtype).smallest_normal, np.copysign(x.dtype.type(0), x), x)


def flushing(primitive: Callable[..., Array]) -> Callable[..., Array]:
    """The primitive of a device that takes subnormals for zeros and gives none."""

    def compute(dtype: DType, *operands: Array) -> Array:
        with np.errstate(all="ignore"):
            return flush(np.asarray(primitive(dtype, *map(flush, operands))))

    return compute


FLUSHING = {op: f if op in (Op.WHERE, Op.BITCAST) else flushing(f) for op, f in NUMPY_PRIMITIVES.items()}
