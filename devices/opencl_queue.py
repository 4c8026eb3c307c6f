"""The queue that everything goes through, in order, and the context behind it."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import pyopencl as cl

from ..core.errors import DeviceError
from ..core.record import dataclass
from .opencl_choice import Candidate
from .opencl_errors import driver_errors

_PLATFORM = 0x1084  # CL_CONTEXT_PLATFORM


@dataclass(frozen=True)
class Hint:
    """A property of a context that an extension defines.

    Attributes:
        property, value: as the extension numbers them.
        said_by: what set it, for messages.
    """

    property: int
    value: int
    said_by: str


def open_queue(name: str, chosen: Candidate, hints: Sequence[Hint] = ()) -> Any:
    """A queue of a device, in a context of its own, whose kernels are timed.

    Args:
        name: the port's, for messages.
        chosen: the device.
        hints: of the context.

    Raises:
        DeviceError: when the driver refuses.
    """
    with driver_errors(name, f"open {chosen}"):
        context = _hinted(name, chosen, hints) if hints else cl.Context([chosen.device])
        return cl.CommandQueue(context, chosen.device, cl.command_queue_properties.PROFILING_ENABLE)


def _hinted(name: str, chosen: Candidate, hints: Sequence[Hint]) -> Any:
    """A context with properties that pyopencl does not know: made by the loader that pyopencl has loaded."""
    create = ctypes.CDLL(cl._cl.__file__).clCreateContext
    create.restype = ctypes.c_void_p
    pairs = [(_PLATFORM, chosen.platform.int_ptr), *((h.property, h.value) for h in hints)]
    numbers = [n for pair in pairs for n in pair]
    properties = (ctypes.c_ssize_t * (len(numbers) + 1))(*numbers, 0)
    devices = (ctypes.c_void_p * 1)(chosen.device.int_ptr)
    error = ctypes.c_int()
    context = create(properties, 1, devices, None, None, ctypes.byref(error))
    if not context:
        said = ", ".join(h.said_by for h in hints)
        raise DeviceError(f"{name} cannot open {chosen}: its driver refuses {said} (error {error.value})")
    return cl.Context.from_int_ptr(context, retain=False)
