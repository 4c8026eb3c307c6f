"""Portwright: bring a new accelerator up.

A lazy, fusing tensor engine over an abstract device with 25 primitive operations, and a suite that certifies
each port of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .core.dtype import (
    DType,
    bfloat16,
    bool_,
    float8_e4m3fn,
    float8_e5m2,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from .core.errors import PortwrightError
from .core.tensor import Tensor

if TYPE_CHECKING:
    from . import nn
    from .core import dtype as dtypes
    from .core.jit import jit
    from .core.registry import devices as Device
    from .core.trace import debug

__version__ = "0.1.0"

_LAZY = {
    "Device": ("core.registry", "devices"),
    "debug": ("core.trace", "debug"),
    "dtypes": ("core.dtype", None),
    "jit": ("core.jit", "jit"),
    "nn": ("nn", None),
}
"""Public names that are imported when they are first used: where from, and what (None: the module itself)."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'portwright' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _LAZY[name]
    found = import_module(f".{module}", __name__)
    value = found if attribute is None else getattr(found, attribute)
    globals()[name] = value
    return value


__all__ = [
    "DType",
    "Device",
    "PortwrightError",
    "Tensor",
    "bfloat16",
    "bool_",
    "debug",
    "dtypes",
    "float8_e4m3fn",
    "float8_e5m2",
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "jit",
    "nn",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]
