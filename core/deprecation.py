"""What a port may still use and should not: named, with what takes its place, before it goes.

A row of ``DEPRECATED`` warns for two minor versions, whenever a port that uses the thing is opened. From then
on such a port is incompatible, in the same words.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import MISSING, fields

from .device import Device, Spec
from .record import dataclass

WARNED_FOR = 2
"""Minor versions, the first that warns included."""


@dataclass(frozen=True)
class Deprecation:
    """Something that is on its way out.

    Attributes:
        what: a method that ports override ("synchronize"), or a field that they claim by ("Spec.block").
        since: the version of Portwright that warned first: "0.3".
        instead: what to use.
    """

    what: str
    since: str
    instead: str

    @property
    def gone(self) -> tuple[int, int]:
        """The version without it: after "0.3" it is 0.5."""
        major, minor = _minor(self.since)
        return major, minor + WARNED_FOR

    def is_used(self, port: type[Device], spec: Spec) -> bool:
        """Whether a port does it by itself, or claims by it."""
        field = self.what.removeprefix("Spec.")
        if field != self.what:
            default = {f.name: f.default for f in fields(Spec)}.get(field, MISSING)
            return getattr(spec, field, default) != default
        return any(self.what in vars(c) for c in port.__mro__ if c not in Device.__mro__)

    def __str__(self) -> str:
        return f"it uses {self.what}, deprecated since {self.since}: use {self.instead}"


DEPRECATED: tuple[Deprecation, ...] = ()
"""Everything that is on its way out; today nothing."""


def _minor(version: str) -> tuple[int, int]:
    """(0, 3) of "0.3.1rc2"."""
    major, minor, *_ = (*version.split("."), "0")
    return int(major), int(minor)


def refused(
    whose: str,
    port: type[Device],
    spec: Spec,
    table: Sequence[Deprecation] | None = None,
    version: str | None = None,
) -> list[str]:
    """What a port uses that is gone; a warning for what it uses that will go.

    Args:
        whose: the plugin, its distribution and version, for the warning.
        port, spec: what is looked at.
        table: in place of ``DEPRECATED``.
        version: of Portwright, in place of the one that is installed.
    """
    used = [d for d in (DEPRECATED if table is None else table) if d.is_used(port, spec)]
    if not used:
        return []
    now = _minor(version or _installed())
    for d in used:
        if now < d.gone:
            warnings.warn(
                f"{whose}: {d}. It goes with Portwright {d.gone[0]}.{d.gone[1]}", FutureWarning, stacklevel=3
            )
    return [f"{d}. It went with Portwright {d.gone[0]}.{d.gone[1]}" for d in used if now >= d.gone]


def _installed() -> str:
    from importlib.metadata import version

    return version(__name__.partition(".")[0])
