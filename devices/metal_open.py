"""Metal through pyobjc: the framework, a device, and what the device says of itself."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from ..core.errors import DriverMissingError, NoDeviceError
from ..core.record import dataclass
from .metal_spec import Facts

BFLOAT_SINCE = 14
"""The macOS whose compiler has bfloat (Metal 3.1)."""


@dataclass(frozen=True)
class Framework:
    """What the port calls; tests put fakes in their places.

    Attributes:
        metal: the module ``Metal`` of pyobjc, with its constants.
        pool: makes an autorelease pool: what Objective-C hands out inside is let go at its end.
        device: an ``MTLDevice``.
        system: the version of macOS, as a tuple: (14, 5).
    """

    metal: Any
    pool: Callable[[], AbstractContextManager[Any]]
    device: Any
    system: tuple[int, ...]


def open_framework() -> Framework:
    """The framework with the system's own choice of device.

    Raises:
        DriverMissingError: not a Mac, or pyobjc is missing: what mends it.
        NoDeviceError: macOS offers none.
    """
    if sys.platform != "darwin":
        raise DriverMissingError(f"Metal is macOS's own, and this is {platform.system()}", "It takes a Mac")
    try:
        import Metal
        import objc
    except ImportError as e:
        raise DriverMissingError(
            f"Metal cannot be reached from Python: {e}", "pip install 'portwright[metal]'"
        ) from e
    system = tuple(int(n) for n in platform.mac_ver()[0].split(".") if n.isdecimal())
    with objc.autorelease_pool():
        device = Metal.MTLCreateSystemDefaultDevice()
    if device is None:
        raise NoDeviceError(
            "macOS offers no Metal device: this Mac has no GPU that Metal supports, or the session has no "
            "access to it, as in some virtual machines"
        )
    return Framework(Metal, objc.autorelease_pool, device, system)


def facts_of(framework: Framework) -> Facts:
    """What the device says of itself."""
    metal, device = framework.metal, framework.device
    with framework.pool():
        return Facts(
            block=int(device.maxThreadsPerThreadgroup().width),
            shared_bytes=int(device.maxThreadgroupMemoryLength()),
            total_bytes=int(device.recommendedMaxWorkingSetSize()),
            bfloat=framework.system >= (BFLOAT_SINCE,) and device.supportsFamily_(metal.MTLGPUFamilyMetal3),
            matrices=bool(device.supportsFamily_(metal.MTLGPUFamilyApple7)),
        )


def describe(framework: Framework) -> dict[str, str]:
    """For certificates: what the device was reached through."""
    with framework.pool():
        name = str(framework.device.name())
    return {"device": name, "system": f"macOS {'.'.join(map(str, framework.system))}", "math": "safe"}
