"""A port under its checker: which ports have one, and the process that it wants to be opened in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from ..core.device import Device
from ..core.errors import DeviceError
from ..core.offers import offers, resolve
from ..core.registry import port_of

VARIANT = "sanitize"
"""What a port under its checker is called, after the colon (``Device.variants``)."""
_COMMAND = (sys.executable, "-m", f"{__package__.partition('.')[0]}.cli.main")


@dataclass(frozen=True)
class Checked:
    """A port that can be opened under a checker.

    Attributes:
        name: that opens it so: "ACME:sanitize".
        environment: what a process must have been started with to open it.
    """

    name: str
    environment: Mapping[str, str]

    @property
    def can_open_here(self) -> bool:
        """Whether this process was started so."""
        return all(os.environ.get(key) == value for key, value in self.environment.items())

    def start_again(self, words: Sequence[str]) -> int:
        """Runs a command line of ``portwright`` in a process that is started so; its exit status."""
        return subprocess.run([*_COMMAND, *words], env={**os.environ, **self.environment}).returncode


def is_asked_for(name: str) -> bool:
    """Whether a device's name says by itself that it is to be opened under its checker."""
    return name.endswith(f":{VARIANT}")


def find(name: str) -> Checked:
    """The port called ``name`` under its checker; nothing is opened.

    Raises:
        DeviceError: when there is no such port, or it has no checker (with Portwright's own that do); or when
            the checker is not installed.
    """
    wanted = resolve(name.removesuffix(f":{VARIANT}"))
    where = "" if wanted.argument else _variant(wanted.name)
    if not where:
        having = [o.name for o in offers() if o.is_ours and _variant(o.name)]
        raise DeviceError(
            f"{name} has no checker to run its kernels under; {', '.join(having) or 'none'} has one"
        )
    module, _, attribute = where.partition(":")
    try:
        port: type[Device] = getattr(import_module(module), attribute)
    except ImportError as e:
        raise DeviceError(f"{wanted.name}'s checker is driven through what does not import: {e}") from e
    return Checked(f"{wanted.name}:{VARIANT}", port.environment())


def _variant(name: str) -> str:
    """Where a port keeps the class that opens it under its checker; "" of one that has none."""
    return port_of(name).variants.get(VARIANT, "")
