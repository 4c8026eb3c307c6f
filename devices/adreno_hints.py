"""Hints that Qualcomm's driver takes when a context is made, each where its extension is there.

The numbers are those of ``CL/cl_ext_qcom.h``; what they do, the guide says in 9.1.1 and 9.1.2.
"""

from __future__ import annotations

import os
from typing import Any

from ..core.errors import DeviceError
from ..core.record import dataclass
from .opencl_facts import extensions
from .opencl_queue import Hint


@dataclass(frozen=True)
class _Knob:
    """An extension's property, the end of the variable that sets it, its levels, and what is usual."""

    extension: str
    property: int
    end: str
    levels: dict[str, int]
    usual: str


_KNOBS = (
    _Knob(
        "cl_qcom_perf_hint", 0x40C2, "PERF",
        {"high": 0x40C3, "normal": 0x40C4, "low": 0x40C5}, "high",
    ),
    _Knob(
        "cl_qcom_priority_hint", 0x40C9, "PRIORITY",
        {"high": 0x40CA, "normal": 0x40CB, "low": 0x40CC}, "normal",
    ),
)  # fmt: skip


def hints_for(name: str, device: Any) -> list[Hint]:
    """The hints that a device takes, as the environment sets them for the port called ``name``.

    Raises:
        DeviceError: when a variable names no level.
    """
    offered, hints = extensions(device), []
    for knob in _KNOBS:
        variable = f"PORTWRIGHT_{name}_{knob.end}"
        level = os.environ.get(variable, "").strip().lower() or knob.usual
        if level not in knob.levels:
            raise DeviceError(f"{variable} is {level!r}: set it to {', '.join(knob.levels)}, or unset it")
        if knob.extension in offered:
            hints.append(Hint(knob.property, knob.levels[level], f"{knob.extension} {level}"))
    return hints
