"""Which plugins may be opened: the environment variable ``PORTWRIGHT_PLUGINS``, read when it is used.

``acme-tools, ZETA`` allows these and no other; ``-acme`` allows all but that. A name is a device's or a
distribution's. Portwright's own ports are always allowed: ``portwright`` alone leaves every plugin out.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable

from .errors import DeviceError
from .record import dataclass

VARIABLE = "PORTWRIGHT_PLUGINS"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def plain_name(name: str) -> str:
    """A device's or a distribution's name in the one spelling that package indexes compare by."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True)
class Allowed:
    """What the variable says.

    Attributes:
        text: the variable as it is; empty: everything is allowed.
        names: those in it.
        denies: they are left out; else all others are.
    """

    text: str = ""
    names: frozenset[str] = frozenset()
    denies: bool = False

    @classmethod
    def from_environment(cls) -> Allowed:
        """What ``PORTWRIGHT_PLUGINS`` says now.

        Raises:
            DeviceError: when it allows and denies at once, or holds what is no name.
        """
        text = os.environ.get(VARIABLE, "").strip()
        words = [w for w in re.split(r"[\s,]+", text) if w]
        if not words:
            return cls()
        denied = [w.startswith("-") for w in words]
        how = "Write names to allow (acme-tools, ZETA) or names to leave out (-acme-tools, -ZETA)"
        if any(denied) and not all(denied):
            raise DeviceError(f"{VARIABLE} is {text!r}: it both allows and leaves out. {how}, not both")
        wrong = [w for w in words if _NAME.fullmatch(w.removeprefix("-")) is None]
        if wrong:
            raise DeviceError(f"{VARIABLE} is {text!r}: {', '.join(wrong)} is no name. {how}")
        return cls(text, frozenset(plain_name(w.removeprefix("-")) for w in words), denied[0])

    def against(self, device: str, distribution: str) -> str:
        """Why a plugin may not be opened; empty when it may."""
        named = not self.names.isdisjoint((plain_name(device), plain_name(distribution)))
        if not self.text or named != self.denies:
            return ""
        return f"{VARIABLE} is {self.text!r}, which leaves it out"

    def warn_of_unknown(self, ours: Iterable[str], theirs: Iterable[str]) -> None:
        """Warns of names that nothing has, and of leaving out what cannot be.

        Args:
            ours: the devices that ship with Portwright, and its own distribution.
            theirs: those of plugins.
        """
        named = self.names - set(map(plain_name, theirs))
        kept = named & set(map(plain_name, ours))
        faults = [f"no installed device or distribution is called {n}" for n in sorted(named - kept)]
        faults += [f"{n} is Portwright's own and stays" for n in sorted(kept) if self.denies]
        if faults:
            warnings.warn(f"{VARIABLE} is {self.text!r}: {'; '.join(faults)}", RuntimeWarning, stacklevel=4)
