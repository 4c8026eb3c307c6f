"""How long a simulator may take: what the user said, else what the port says."""

from __future__ import annotations

import os

from ..core.errors import DeviceError

VARIABLE = "PORTWRIGHT_SIM_SECONDS"


def sim_seconds(default: float) -> float:
    """Seconds that one request or launch may take: ``PORTWRIGHT_SIM_SECONDS``, else ``default``.

    Raises:
        DeviceError: when the variable is no positive number of seconds.
    """
    stated = os.environ.get(VARIABLE, "").strip()
    if not stated:
        return default
    if not stated.isdecimal() or int(stated) < 1:
        raise DeviceError(f"{VARIABLE} is {stated!r}: set it to a number of seconds, or unset it")
    return int(stated)
