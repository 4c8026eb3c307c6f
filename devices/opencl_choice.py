"""Which OpenCL device is opened: the one that is asked for, or the best by what each says of itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..core.errors import DeviceError, DriverMissingError, NoDeviceError
from ..core.record import dataclass

_MEND = "pip install 'portwright[pocl]' brings pyopencl and PoCL, a driver for processors"
_EMULATORS = ("oclgrind", "fpga emulation")
"""Platforms, by a part of their names, that check or imitate a device: taken when there is nothing else."""
_TYPES = ("GPU", "ACCELERATOR", "CPU")


@dataclass(frozen=True)
class Candidate:
    """A device of one of the installed drivers.

    Attributes:
        place: the platform's and the device's number, as drivers list them.
        platform, device: pyopencl's.
        kind: "GPU", "ACCELERATOR" or "CPU".
    """

    place: tuple[int, int]
    platform: Any
    device: Any
    kind: str

    @property
    def names(self) -> tuple[str, str]:
        """What the platform and the device call themselves."""
        return self.platform.name.strip(), self.device.name.strip()

    def is_of(self, part: str) -> bool:
        """Whether the platform or the device, or the vendor of either, has this part in its name."""
        if not part:
            return True
        vendors = (self.platform.vendor, self.device.vendor)
        return any(part.lower() in name.lower() for name in (*self.names, *vendors))

    @property
    def imitates(self) -> bool:
        """Whether it checks or imitates a device, and is none."""
        return any(e in name.lower() for e in _EMULATORS for name in self.names)

    def __str__(self) -> str:
        (i, j), (platform, device) = self.place, self.names
        return f"{i}:{j} {device} ({self.kind}, {platform}, {self.device.driver_version})"

    def faults(self) -> list[str]:
        """Why Portwright cannot use it."""
        d = self.device
        found = {
            "is not available": not d.available,
            "has no compiler": not d.compiler_available,
            "is big-endian": not d.endian_little,
            "has the embedded profile, whose arithmetic is not IEEE 754's": d.profile != "FULL_PROFILE",
            "speaks a version before OpenCL 1.2": _numbers(d.version)[:2] < [1, 2],
        }
        return [fault for fault, holds in found.items() if holds]

    def rank(self) -> tuple[object, ...]:
        """Greater is better: a driver before an imitation, a GPU first, memory of its own, newer, larger."""
        d = self.device
        return (
            not self.imitates, -_TYPES.index(self.kind), not d.host_unified_memory, _numbers(d.version)[:2],
            _numbers(d.driver_version), d.global_mem_size, self.names,
        )  # fmt: skip


def _numbers(text: str) -> list[int]:
    """The first dotted number in a version: "3.0-rc2" gives [3, 0]."""
    found = re.search(r"\d+(?:\.\d+)*", text)
    return [int(n) for n in found[0].split(".")] if found else []


def candidates(name: str) -> list[Candidate]:
    """Every device of every driver, as the drivers list them.

    Args:
        name: of the port that asks, for messages.

    Raises:
        DriverMissingError: without pyopencl, or when it finds no driver.
        NoDeviceError: when the drivers list no device.
    """
    try:
        import pyopencl as cl
    except ImportError as e:
        raise DriverMissingError(
            f"{name} is reached through pyopencl, which does not import: {e}", _MEND
        ) from e
    found = []
    try:
        platforms = cl.get_platforms()
        for i, platform in enumerate(platforms):
            for j, device in enumerate(_devices(platform)):
                kind = next((t for t in _TYPES if device.type & getattr(cl.device_type, t)), "ACCELERATOR")
                found.append(Candidate((i, j), platform, device, kind))
    except cl.Error as e:
        raise DriverMissingError(f"{name}: no OpenCL driver answers: {e}", _MEND) from e
    if not found:
        missing = NoDeviceError if platforms else DriverMissingError
        raise missing(f"{name}: the OpenCL drivers that are installed list no device", _MEND)
    return found


def _devices(platform: Any) -> Sequence[Any]:
    """A platform's devices; one that has none says so by an error."""
    import pyopencl as cl

    try:
        devices: Sequence[Any] = platform.get_devices()
    except cl.RuntimeError as e:
        if e.code != cl.status_code.DEVICE_NOT_FOUND:
            raise
        return []
    return devices


def choose(name: str, wanted: str | None, among: Sequence[Candidate] = (), of: str = "") -> Candidate:
    """The best of the usable devices that are wanted.

    Args:
        name: of the port that asks, for messages.
        wanted: ``platform:device``, each a number as listed or a part of a name, in any case; either may be
            empty or left out. None: any ``of`` the port's own.
        among: the devices that come into question; none: all that there are.
        of: a part of the name of its own devices, of their platform or of their vendor; empty: all are.

    Raises:
        DriverMissingError: without a driver.
        NoDeviceError: when nothing is what is wanted, or nothing wanted can be used: with everything that
            there is, and why not.
    """
    there = among or candidates(name)
    asked = [c for c in there if (c.is_of(of) if wanted is None else _is(c, wanted))]
    listed = "; ".join(map(str, there))
    if not asked and wanted is None:
        other = ":".join(map(str, max(there, key=Candidate.rank).place))
        raise DeviceError(
            f"{name}: no OpenCL platform, device or vendor is called {of!r}: install the chip's driver. "
            f"There are {listed}. {name}:{other} runs its kernels there, which a certificate calls emulated"
        )
    if not asked:
        raise NoDeviceError(f"{name}: no OpenCL device is {wanted!r}. There are {listed}")
    usable = [c for c in asked if not c.faults()]
    if not usable:
        faults = "; ".join(f"{c} {', '.join(c.faults())}" for c in asked)
        raise NoDeviceError(f"{name}: no OpenCL device can be used: {faults}", _MEND)
    return max(usable, key=Candidate.rank)


def _is(candidate: Candidate, wanted: str) -> bool:
    parts = wanted.split(":")
    if len(parts) > 2:
        raise DeviceError(f"an OpenCL device is asked for as platform:device, not {wanted!r}")
    return all(
        int(part) == place if part.isdecimal() else part.lower() in name.lower()
        for part, place, name in zip(map(str.strip, parts), candidate.place, candidate.names, strict=False)
    )
