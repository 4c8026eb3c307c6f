"""Closing a device: what core keeps for it goes, it gives everything back, and its name opens another.

In: an open device, whose tensors nobody uses any more. Out: no plan, no program and no name is its own.
"""

from __future__ import annotations

from . import compiler, engine, registry
from .device import Device


def forget_kernels(device: Device) -> None:
    """What is realized on it next is planned anew; kernels come from the cache folder, or are compiled."""
    engine.forget(device)
    compiler.forget(device)


def close(device: Device) -> None:
    """Closes a device. Whoever asks for it by name next opens it anew.

    Buffers that are still there are lost with it: using one is a fault of the caller's.
    """
    registry.forget(device)
    forget_kernels(device)
    device.close()
