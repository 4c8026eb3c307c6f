"""What is offered: the entry points of the group ``portwright.devices``, of which nothing is imported here.

Portwright's own ports are found by the very route that a vendor's take. A name is written in any case and
may say more after a colon: ``ACME:board2`` opens ACME with the argument "board2", and ``acme-tools:ACME``
says whose ACME is meant when two distributions offer one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from .allowed import Allowed, plain_name
from .contract import SPOKEN, ContractRange
from .errors import DeviceError
from .installed import Distribution, distributions, entry_points, name_and_version
from .locate import module_file
from .record import dataclass

GROUP = "portwright.devices"
CONTRACT_GROUP = "portwright.contract"
_PACKAGE = __name__.partition(".")[0]
_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_VALUE = re.compile(r"[\w.]+:[\w.]+")


@dataclass(frozen=True)
class Offer:
    """A device that an installed distribution offers; nothing of it is imported yet.

    Attributes:
        name: of the device, in capitals.
        distribution, version: whose it is.
        value: where the port is: "module:class".
        stated: the contract that its distribution states for it; empty when it states none.
        fault: what is wrong with the offer itself; empty when it can be tried.
        denied: what the environment says against it; empty when it may be opened.
    """

    name: str
    distribution: str
    version: str
    value: str
    stated: str = ""
    fault: str = ""
    denied: str = ""

    @property
    def is_ours(self) -> bool:
        """True of the ports that ship with Portwright."""
        return self.value.startswith(f"{_PACKAGE}.")

    @property
    def module(self) -> str:
        """The module that the port is in."""
        return self.value.partition(":")[0]

    @property
    def file(self) -> Path | None:
        """Where that module lies; None when there is none."""
        return None if self.fault else module_file(self.module)

    @property
    def contract(self) -> ContractRange:
        """The versions of the contract that it was written for.

        Raises:
            PortError: when what is stated is no range.
        """
        return SPOKEN if self.is_ours else ContractRange.parse(self.stated)

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})"


@dataclass(frozen=True)
class Wanted:
    """What a name asks for.

    Attributes:
        offer: whose port.
        argument: what stands after the device's name.
        name: the one way to write both.
    """

    offer: Offer
    argument: str | None
    name: str


def offers() -> list[Offer]:
    """Every device that is offered, denied ones too, by name; two distributions may offer one name.

    Raises:
        DeviceError: when ``PORTWRIGHT_PLUGINS`` cannot be read.
    """
    allowed = Allowed.from_environment()
    found: list[Offer] = []
    seen: set[str] = set()
    for distribution in distributions():
        mine = list(_of(distribution))
        if mine and (whose := plain_name(mine[0].distribution)) not in seen:
            seen.add(whose)  # a distribution that is found twice is imported from where it is found first
            found += mine
    allowed.warn_of_unknown(
        [n for o in found if o.is_ours for n in (o.name, o.distribution)],
        [n for o in found if not o.is_ours for n in (o.name, o.distribution)],
    )
    judged = [o if o.is_ours else replace(o, denied=allowed.against(o.name, o.distribution)) for o in found]
    return sorted(judged, key=lambda o: (o.name, o.distribution))


def _of(distribution: Distribution) -> Iterator[Offer]:
    """What one distribution offers. One whose file of entry points is broken spoils no other's."""
    try:
        text = distribution.read_text("entry_points.txt") or ""
        points = entry_points(text) if GROUP in text else []
    except ValueError as e:  # another's file
        if not isinstance(e, UnicodeDecodeError) or GROUP.encode() in e.object:
            whose, version = name_and_version(distribution)
            fault = f"its entry_points.txt cannot be read: {e}"
            yield Offer(whose.upper(), whose, version, value="", fault=fault)
        return
    ports = [p for p in points if p.group == GROUP]
    if not ports:
        return
    whose, version = name_and_version(distribution)
    stated = {p.name.upper(): p.value for p in points if p.group == CONTRACT_GROUP}
    for name in dict.fromkeys(p.name.upper() for p in ports):
        values = [p.value for p in ports if p.name.upper() == name]
        fault = ""
        if len(values) > 1:
            fault = f"{whose} offers {name} twice: {' and '.join(values)}"
        elif _NAME.fullmatch(name) is None:
            fault = f"{name!r} cannot be asked for: a device's name is letters, digits and _"
        elif _VALUE.fullmatch(values[0].partition("[")[0].strip()) is None:
            fault = f"its entry point {values[0]!r} does not say where the port is: module:class"
        value = values[0].partition("[")[0].strip()
        yield Offer(name, whose, version, value, stated.get(name, ""), fault)


def defaults(everything: Iterable[Offer]) -> list[Offer]:
    """Which of Portwright's own ports serve when none is named, in order: ``DEFAULTS`` of their package."""
    ours = {o.name: o for o in everything if o.is_ours}
    packages = dict.fromkeys(o.module.rpartition(".")[0] for o in ours.values() if not o.fault)
    return [ours[name] for p in packages for name in import_module(p).DEFAULTS if name in ours]


def canonical_name(offer: Offer, everything: Iterable[Offer]) -> str:
    """The one name of what is offered: with its distribution only where two offer the same."""
    unique = sum(o.name == offer.name for o in everything if not o.denied or o is offer) == 1
    return offer.name if unique else f"{offer.distribution}:{offer.name}"


def resolve(name: str, known: Iterable[str] = ()) -> Wanted:
    """What ``name`` asks for.

    Args:
        name: as users write it.
        known: other devices that there are, for the message.

    Raises:
        DeviceError: no such device (with those that there are), two of the name, or one that is denied.
    """
    everything = offers()
    if not isinstance(name, str):
        raise DeviceError(
            f"a device called {name!r}: its name is text. {_unknown(str(name), everything, known)}"
        )
    head, _, rest = name.partition(":")
    chosen, _, argument = rest.partition(":")
    whose = plain_name(head)
    named = [o for o in everything if o.name == chosen.upper() and plain_name(o.distribution) == whose]
    if not named:
        chosen, argument = head, rest
        named = [o for o in everything if o.name == head.upper()]
    if not named:
        raise DeviceError(_unknown(name, everything, known))
    allowed = [o for o in named if not o.denied]
    if not allowed:
        raise DeviceError("; ".join(f"{o}: denied: {o.denied}. Change it to open this one" for o in named))
    if len(allowed) > 1:
        ways = " or ".join(f"{o.distribution}:{o.name}" for o in allowed)
        raise DeviceError(
            f"two distributions offer {chosen.upper()}: {', '.join(map(str, allowed))}. "
            f"Say {ways}, or uninstall one"
        )
    canonical = canonical_name(allowed[0], everything)
    return Wanted(allowed[0], argument or None, f"{canonical}:{argument}" if argument else canonical)


def _unknown(name: str, everything: Iterable[Offer], known: Iterable[str]) -> str:
    from difflib import get_close_matches

    names = sorted({o.name for o in everything if not o.denied} | set(known))
    if not names:
        return f"no device {name!r}: none is registered. Install Portwright: pip install -e . in its folder"
    close = get_close_matches(name.partition(":")[0].upper(), names)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    return f"no device {name!r}: there are {', '.join(names)}.{hint} A vendor's comes with its distribution"
