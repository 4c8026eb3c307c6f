"""What a search found to run best, kept on disk: knobs, by the kernel as the heuristic has it and the driver.

The kernel's text says all that the heuristic read from the Spec. Nothing is found of a kernel that was never
tuned, nor while ``PORTWRIGHT_TUNED`` is 0; then the device's own stand. ``TUNE=1`` asks for a search of each
kernel that is planned and was not searched for before.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields

from .cache import compile_cache, digest
from .device import Device
from .errors import ArgumentError
from .knobs import Knobs

VARIABLE = "PORTWRIGHT_TUNED"
SEARCH = "TUNE"
SECONDS = 10.0
"""For the search of one kernel, unless more or less is asked for."""


def knobs_of(device: Device, source: str) -> Knobs:
    """The knobs to schedule a kernel by.

    Args:
        source: the kernel, as scheduled by the heuristic.
    """
    if device.spec.warp > 1 or os.environ.get(VARIABLE) == "0":
        return device.spec.knobs  # blocks of threads have no knobs
    kept = compile_cache().get(_key(device, source))
    return device.spec.knobs if kept is None else Knobs(**json.loads(kept))


def seconds_to_search(device: Device, source: str) -> float:
    """For how long to search for a kernel's knobs before it is used; 0: it is used as it is.

    Args:
        source: the kernel, as scheduled by the heuristic.

    Raises:
        ArgumentError: when ``TUNE`` is no number.
    """
    stated = os.environ.get(SEARCH, "").strip()
    if stated in ("", "0") or device.spec.warp > 1 or os.environ.get(VARIABLE) == "0":
        return 0.0
    try:
        seconds = SECONDS if stated == "1" else float(stated)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise ArgumentError(f"TUNE is {stated!r}: set it to 1, or to the seconds that each kernel may take")
    return seconds if compile_cache().get(_key(device, source)) is None else 0.0


def keep(device: Device, source: str, knobs: Knobs) -> None:
    """Has the kernel scheduled by these knobs from now on."""
    compile_cache().put(_key(device, source), json.dumps(asdict(knobs)).encode())


def _key(device: Device, source: str) -> str:
    knobs = ",".join(f.name for f in fields(Knobs))  # what another version kept is not found
    return digest("tuned", knobs, device.compiler_key(), source)
