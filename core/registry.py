"""Which devices there are: entry points of the group ``portwright.devices``, imported only when chosen.

Portwright's own ports are found by the very route that a vendor's take. A name is written in any case and
may say more after a colon: ``ACME:board2`` opens ACME with the argument "board2", and ``acme-tools:ACME``
says whose ACME is meant when two distributions offer one. A port that fails harms no other.
"""

from __future__ import annotations

import enum
import inspect
import os
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from . import trace
from .device import Device, Spec, check_port
from .errors import DeviceError, PortError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "portwright.devices"
_PACKAGE = __name__.partition(".")[0]

_lock = threading.RLock()
_opened: dict[str, Device] = {}
_default: str | None = None


class State(enum.Enum):
    """How a device fared when it was asked to open."""

    READY = "ready"
    CANNOT_OPEN = "cannot open"
    IMPORT_FAILED = "import failed"
    INCOMPATIBLE = "incompatible"


@dataclass(frozen=True)
class Offer:
    """A device that an installed distribution offers; nothing of it is imported yet."""

    name: str
    distribution: str
    version: str
    point: EntryPoint

    @property
    def is_ours(self) -> bool:
        """True of the ports that ship with Portwright."""
        return self.point.value.startswith(f"{_PACKAGE}.")

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})"


@dataclass(frozen=True)
class Status:
    """What became of opening a device.

    Attributes:
        name, distribution, version: of the offer.
        state: ready, or which way it failed.
        cause: why it failed; empty when it is ready.
        mend: what to do about it; empty when the cause says so itself.
        spec: what the device can do, when it is ready.
    """

    name: str
    distribution: str
    version: str
    state: State
    cause: str = ""
    mend: str = ""
    spec: Spec | None = None


class _OpenError(Exception):
    """One step of opening failed; the cause and what to do about it."""

    def __init__(self, state: State, cause: str, mend: str = "") -> None:
        super().__init__(cause)
        self.state, self.cause, self.mend = state, cause, mend


def offers() -> list[Offer]:
    """Every device that is offered, by name; two distributions may offer one name."""
    from importlib.metadata import entry_points  # slow to import, and not needed before a device is

    found = [
        Offer(p.name.upper(), p.dist.name if p.dist else "unknown", p.dist.version if p.dist else "?", p)
        for p in entry_points(group=GROUP)
    ]
    return sorted(found, key=lambda o: (o.name, o.distribution))


def open_device(name: str) -> Device:
    """The device called ``name``: opened the first time, the same object ever after, from any thread.

    Raises:
        DeviceError: no such device (with those that there are), two of the name, or one that does not open.
    """
    device = _opened.get(name)
    if device is not None:
        return device
    with _lock:
        offer, argument, canonical = _resolve(name)
        device = _opened.get(canonical)
        if device is None:
            try:
                device = _open(offer, argument)
            except _OpenError as e:
                kind = PortError if e.state is State.INCOMPATIBLE else DeviceError
                raise kind(f"{offer}: {e.state.value}: {e.cause}{f'. {e.mend}' if e.mend else ''}") from e
            device.opened_as = canonical
            trace.opened(device)
        _opened[canonical] = _opened[name] = device
        return device


def adopt(device: Device) -> Device:
    """Makes a device that was opened by hand known under its name, in place of one that had it before.

    Raises:
        PortError: when it contradicts itself.
    """
    check_port(type(device), device.spec)
    with _lock:
        for name in [n for n, d in _opened.items() if d.name == device.name]:
            del _opened[name]
        _opened[device.name] = device
    return device


def default_device() -> str:
    """The name of the device that tensors are made on when none is named.

    What ``set_default`` said; else ``PORTWRIGHT_DEVICE``; else the first of Portwright's own ports that
    opens, by ``default_rank``, with a line on stderr about each that was passed over.

    Raises:
        DeviceError: when the one that was named does not open, or none does.
    """
    global _default
    if _default is None:
        with _lock:
            stated = os.environ.get("PORTWRIGHT_DEVICE", "").strip()
            try:
                _default = open_device(stated).name if stated else _first_that_opens()
            except DeviceError as e:
                if stated:
                    raise DeviceError(f"PORTWRIGHT_DEVICE is {stated!r}: {e}") from e
                raise
    return _default


def set_default(name: str | None) -> None:
    """Makes ``name`` the default device from now on; None goes back to what the environment says.

    Raises:
        DeviceError: when it does not open; the default stays.
    """
    global _default
    _default = None if name is None else open_device(name).name


def status() -> Iterator[Status]:
    """Tries every offered device, one after another; those that open stay open."""
    everything = offers()
    for offer in everything:
        yield _try(offer, _canonical(offer, everything))


def _try(offer: Offer, name: str) -> Status:
    about = (name, offer.distribution, offer.version)
    with _lock:
        device = _opened.get(name)
        if device is None:
            try:
                device = _open(offer, None)
            except _OpenError as e:
                return Status(*about, e.state, e.cause, e.mend)
            device.opened_as = name
            _opened[name] = device
    return Status(*about, State.READY, spec=device.spec)


def _canonical(offer: Offer, everything: list[Offer]) -> str:
    """The one name of what is offered: with its distribution only where two offer the same."""
    unique = sum(o.name == offer.name for o in everything) == 1
    return offer.name if unique else f"{offer.distribution}:{offer.name}"


def _resolve(name: str) -> tuple[Offer, str | None, str]:
    """What ``name`` asks for: the offer, the argument after it, and the one way to write both."""
    everything = offers()
    if not isinstance(name, str):
        raise DeviceError(f"a device called {name!r}: its name is text. {_unknown(str(name), everything)}")
    head, _, rest = name.partition(":")
    chosen, _, argument = rest.partition(":")
    named = [o for o in everything if o.name == chosen.upper() and _same(o.distribution, head)]
    if not named:
        chosen, argument = head, rest
        named = [o for o in everything if o.name == head.upper()]
    if not named:
        raise DeviceError(_unknown(name, everything))
    if len(named) > 1:
        ways = " or ".join(f"{o.distribution}:{o.name}" for o in named)
        raise DeviceError(
            f"two distributions offer {chosen.upper()}: {', '.join(map(str, named))}. "
            f"Say {ways}, or uninstall one"
        )
    canonical = _canonical(named[0], everything)
    return named[0], argument or None, f"{canonical}:{argument}" if argument else canonical


def _same(distribution: str, other: str) -> bool:
    """Whether two names of a distribution are one, as package indexes see it."""
    return re.sub(r"[-_.]+", "-", distribution).lower() == re.sub(r"[-_.]+", "-", other).lower()


def _unknown(name: str, everything: list[Offer]) -> str:
    from difflib import get_close_matches

    names = sorted({o.name for o in everything} | {d.name for d in _opened.values()})
    if not names:
        return f"no device {name!r}: none is registered. Install Portwright: pip install -e . in its folder"
    close = get_close_matches(name.partition(":")[0].upper(), names)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    return f"no device {name!r}: there are {', '.join(names)}.{hint} A vendor's comes with its distribution"


def _load(offer: Offer) -> type[Device]:
    mend = f"Try pip install --upgrade {offer.distribution}; pip uninstall {offer.distribution} removes it"
    try:
        port = offer.point.load()
    except (Exception, SystemExit) as e:  # another's code: whatever it raises is its failure alone
        raise _OpenError(State.IMPORT_FAILED, f"{type(e).__name__}: {e}", mend) from e
    if not (isinstance(port, type) and issubclass(port, Device)):
        raise _OpenError(State.INCOMPATIBLE, f"{offer.point.value} is not a subclass of Device", mend)
    return port


def _variant(port: type[Device], argument: str) -> type[Device]:
    """The class that ``port`` names for what stands after the colon."""
    module, _, name = port.variants[argument].partition(":")
    try:
        found = getattr(import_module(module), name)
    except (Exception, SystemExit) as e:  # as in _load
        raise _OpenError(State.IMPORT_FAILED, f"{type(e).__name__}: {e}") from e
    if not (isinstance(found, type) and issubclass(found, Device)):
        raise _OpenError(State.INCOMPATIBLE, f"{port.variants[argument]} is not a subclass of Device")
    return found


def _open(offer: Offer, argument: str | None) -> Device:
    port = _load(offer)
    if argument is not None and argument in port.variants:
        port, argument = _variant(port, argument), None
    if argument is not None and not inspect.signature(port).parameters:
        raise _OpenError(State.CANNOT_OPEN, f"it takes nothing after the colon, not {argument!r}")
    missing = sorted(port.__abstractmethods__)
    if missing:
        raise _OpenError(State.INCOMPATIBLE, f"missing {', '.join(missing)}")
    try:
        device = port() if argument is None else port(argument)  # type: ignore[call-arg]
    except DeviceError as e:
        raise _OpenError(State.CANNOT_OPEN, str(e)) from e
    except (Exception, SystemExit) as e:  # as in _load
        raise _OpenError(State.CANNOT_OPEN, f"{type(e).__name__}: {e}") from e
    try:
        check_port(port, device.spec)
    except (PortError, AttributeError) as e:  # AttributeError: it set no spec
        raise _OpenError(State.INCOMPATIBLE, str(e)) from e
    return device


def _first_that_opens() -> str:
    """The default among Portwright's own ports."""
    ranked: list[tuple[int, str]] = []
    faults: list[str] = []
    for offer in offers():
        if offer.is_ours:
            try:
                rank = _load(offer).default_rank
            except _OpenError as e:
                faults.append(f"{offer}: {e.cause}")
                continue
            if rank is not None:
                ranked.append((rank, offer.name))
    for _, name in sorted(ranked):
        try:
            chosen = open_device(name).name
        except DeviceError as e:
            faults.append(str(e))
            continue
        for fault in faults:
            print(f"portwright: {fault}. Using {chosen}", file=sys.stderr)
        return chosen
    raise DeviceError("no device opens: " + ("; ".join(faults) or _unknown("", [])))


class Devices:
    """The devices as users meet them, under the name ``portwright.Device``.

    ``Device("ACME")`` opens one; ``Device.default`` is the name of the one that tensors are made on, to read
    and to set; ``list(Device)`` names what is offered. Ports extend ``portwright.core.device.Device``.
    """

    def __call__(self, name: str | None = None) -> Device:
        """The device called ``name``, or the default one, opened once."""
        return open_device(default_device() if name is None else name)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({o.name for o in offers()}))

    @property
    def default(self) -> str:
        """See ``default_device`` and ``set_default``."""
        return default_device()

    @default.setter
    def default(self, name: str | None) -> None:
        set_default(name)


def port_class(name: str) -> type[Device]:
    """The class of the port called ``name`` (of a variant, where the colon names one): imported, not opened.

    Raises:
        DeviceError: no such port (with those that there are), two of the name, or one that is not imported.
    """
    offer, argument, _ = _resolve(name)
    try:
        port = _load(offer)
        return port if argument is None or argument not in port.variants else _variant(port, argument)
    except _OpenError as e:
        raise DeviceError(f"{offer}: {e.state.value}: {e.cause}{f'. {e.mend}' if e.mend else ''}") from e


devices = Devices()
