"""What a port imports: one door to the abstract device, its claims, its language and its errors.

``from portwright.port import Device, Spec`` stays as it is while the modules behind it move. The bases that a
family of ports shares are in ``portwright.devices``.
"""

from __future__ import annotations

from .core.compound import Compound, Dense
from .core.device import (
    Ability,
    Buffer,
    Device,
    Evidence,
    Extra,
    Images,
    ImageView,
    Launch,
    Reach,
    Spec,
)
from .core.dialect import FOLDS, OPERATORS, SHORT, CLike, Dialect, wrapping
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
    named,
    uint8,
    uint16,
    uint32,
    uint64,
)
from .core.errors import (
    CompileError,
    DeviceError,
    LostError,
    NotWrittenError,
    OutOfMemoryError,
    PortwrightError,
)
from .core.not_written import not_written
from .core.ops import ALL_OPS, Op, Tier
from .core.tile import Layout, Tile
from .core.value import Extra as ValueExtra

__all__ = [
    "ALL_OPS",
    "FOLDS",
    "OPERATORS",
    "SHORT",
    "Ability",
    "Buffer",
    "CLike",
    "CompileError",
    "Compound",
    "DType",
    "Dense",
    "Device",
    "DeviceError",
    "Dialect",
    "Evidence",
    "Extra",
    "ImageView",
    "Images",
    "Launch",
    "Layout",
    "LostError",
    "NotWrittenError",
    "Op",
    "OutOfMemoryError",
    "PortwrightError",
    "Reach",
    "Spec",
    "Tier",
    "Tile",
    "ValueExtra",
    "bfloat16",
    "bool_",
    "float8_e4m3fn",
    "float8_e5m2",
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "named",
    "not_written",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "wrapping",
]
