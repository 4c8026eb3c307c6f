"""Which devices there are: found by entry point (group ``portwright.devices``), imported when chosen."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import entry_points

from .device import Device
from .errors import DeviceError

GROUP = "portwright.devices"


@lru_cache(maxsize=None)
def open_device(name: str) -> Device:
    """The device called ``name``, opened once."""
    for point in entry_points(group=GROUP):
        if point.name == name:
            device: Device = point.load()()
            return device
    raise DeviceError(f"no device {name!r}")


def default_device() -> str:
    """The name of the device that tensors are made on when none is named."""
    return "NUMPY"
