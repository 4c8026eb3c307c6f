"""Which devices there are and which are open: each is opened once, and none harms another by failing.

``offers`` says what is offered, ``opening`` opens one, ``trial`` tries one apart from this process, and
``survey`` tries all.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from . import trace
from .device import Device
from .errors import DeviceError
from .offers import Offer, Wanted, canonical_name, defaults, offers, resolve
from .opening import OpeningError, agreed_contract, load_port, open_port
from .port_check import check_port

_lock = threading.Lock()
_opening: dict[str, threading.RLock] = {}
"""A lock for each device that was asked for: one that is slow to open keeps nobody from another."""
_default_lock = threading.RLock()
_opened: dict[str, Device] = {}
_default: str | None = None
_numbers = count(2)
Another = Callable[[], Device]
"""Opens one more device of a kind."""
_another: dict[str, Another] = {}
"""How one more is opened of a kind that was opened by hand, by name."""


def open_device(name: str) -> Device:
    """The device called ``name``: opened the first time, the same object ever after, from any thread.

    A plugin is first imported in a process of its own, unless that was seen to go well before.

    Raises:
        DeviceError: no such device (with those that there are), two of the name, one that is denied, or one
            that does not open. ``DriverMissingError``, ``NoDeviceError`` and ``PortError`` where that is why.
    """
    device = _opened.get(name)
    if device is not None:
        return device
    wanted = resolve(name, _known())
    try:
        device = open_offer(wanted)
    except OpeningError as e:
        raise e.told_of(wanted.offer) from e
    _opened[name] = device
    return device


def open_offer(wanted: Wanted, *, is_tried: bool = False) -> Device:
    """What was asked for, opened if it is not yet.

    Args:
        wanted: of which port.
        is_tried: it is known to open in a process of its own.

    Raises:
        OpeningError: when it does not open.
    """
    with _lock:
        lock = _opening.setdefault(wanted.name, threading.RLock())
    with lock:
        device = _opened.get(wanted.name)
        if device is None:
            agreed_contract(wanted.offer)  # before anything of it is imported
            if not is_tried:
                _vouch_for(wanted.offer)
            device = open_port(wanted.offer, wanted.argument)
            device.opened_as = wanted.name
            _opened[wanted.name] = device
            trace.opened(device)
        return device


def opened(name: str) -> Device | None:
    """The device that is open under this very name."""
    return _opened.get(name)


def _known() -> list[str]:
    """The names of those that are open."""
    return [d.name for d in list(_opened.values())]


def _vouch_for(offer: Offer) -> None:
    if not offer.is_ours:
        from .trial import vouch_for  # a process is slow to start, and so are the modules that do it

        vouch_for(offer)


def port_of(name: str) -> type[Device]:
    """The class of the port called ``name``, or of its variant of that name; nothing is opened.

    Raises:
        DeviceError: as ``open_device``.
    """
    wanted = resolve(name, _known())
    offer = wanted.offer
    try:
        agreed_contract(offer)
        _vouch_for(offer)
        return load_port(offer, wanted.argument)
    except OpeningError as e:
        raise e.told_of(offer) from e


def offer_of(device: Device) -> Offer | None:
    """Whose port an opened device is; None of one that was made by hand."""
    if device.opened_as is not None:
        try:
            return resolve(device.opened_as).offer
        except DeviceError:  # it was named by hand, and no distribution offers it
            return None
    port = f"{type(device).__module__}:{type(device).__qualname__}"
    return next((o for o in offers() if o.value == port), None)


def adopt(device: Device, another: Another | None = None) -> Device:
    """Makes a device that was opened by hand known under its name, in place of one that had it before.

    Args:
        device: which.
        another: opens one more of its kind; None: this is the only one.

    Raises:
        PortError: when it contradicts itself.
    """
    check_port(type(device), device.spec)
    with _lock:
        for name in [n for n, d in _opened.items() if d.name == device.name]:
            del _opened[name]
        _opened[device.name] = device
        _another.pop(device.name, None)
        if another is not None:
            _another[device.name] = another
    return device


@contextmanager
def adopted(device: Device) -> Iterator[None]:
    """``adopt`` for a while: whoever had the name before has it again afterwards. One that has it keeps it.

    Raises:
        PortError: as ``adopt``.
    """
    if _opened.get(device.name) is device:
        yield
        return
    with _lock:
        before = {name: d for name, d in _opened.items() if d.name == device.name}
        another = _another.get(device.name)
    adopt(device)
    try:
        yield
    finally:
        with _lock:
            for name in [n for n, d in _opened.items() if d is device]:
                del _opened[name]
            _opened.update(before)
            if another is not None:
                _another[device.name] = another


def open_another(name: str) -> Device | None:
    """One more device of the kind of an open one, known by a name of its own: "ACME#2".

    None of one that was opened by hand by who did not say how another is. ``closing.close`` closes it.

    Raises:
        DeviceError: when it does not open; a board may be one program's at a time.
    """
    first = open_device(name)
    by_hand = _another.get(first.name)
    if by_hand is not None:
        made = by_hand()
    elif first.opened_as is None:
        return None
    else:
        wanted = resolve(first.opened_as, _known())
        try:
            made = open_port(wanted.offer, wanted.argument)
        except OpeningError as e:
            raise e.told_of(wanted.offer) from e
    made.opened_as = f"{first.name}#{next(_numbers)}"
    with _lock:
        _opened[made.name] = made
    return made


def forget(device: Device) -> None:
    """No name is a device's any more: who asks for it next opens it anew."""
    with _lock:
        for name in [n for n, d in _opened.items() if d is device]:
            del _opened[name]
        _another.pop(device.name, None)


def default_device() -> str:
    """The name of the device that tensors are made on when none is named.

    What ``set_default`` said; else ``PORTWRIGHT_DEVICE``; else the first of Portwright's own ``defaults``
    that opens, with a line on stderr about each that was passed over.

    Raises:
        DeviceError: when the one that was named does not open, or none does.
    """
    global _default
    if _default is None:
        with _default_lock:
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


def _first_that_opens() -> str:
    """The default among Portwright's own ports."""
    faults: list[str] = []
    everything = offers()
    for offer in defaults(everything):
        try:
            chosen = open_device(canonical_name(offer, everything)).name
        except DeviceError as e:
            faults.append(str(e))
            continue
        for fault in faults:
            print(f"portwright: {fault}. Using {chosen}", file=sys.stderr)
        return chosen
    raise DeviceError(
        "no device opens: " + ("; ".join(faults) or "none is registered. Install Portwright anew")
    )


class Devices:
    """The devices as users meet them, under the name ``portwright.Device``.

    ``Device("ACME")`` opens one, ``Device.close("ACME")`` closes it; ``Device.default`` is the name of the
    one that tensors are made on, to read and to set; ``list(Device)`` names what is offered and not denied,
    and imports none of it. Ports extend ``portwright.core.device.Device``.
    """

    def __call__(self, name: str | None = None) -> Device:
        """The device called ``name``, or the default one, opened once."""
        return open_device(default_device() if name is None else name)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({o.name for o in offers() if not o.denied}))

    def close(self, name: str) -> None:
        """Closes a device, if it is open: see ``closing.close``.

        Raises:
            DeviceError: when there is no such device.
        """
        from .closing import close  # which reaches the engine

        device = opened(name) or opened(resolve(name, _known()).name)
        if device is not None:
            close(device)

    @property
    def default(self) -> str:
        """See ``default_device`` and ``set_default``."""
        return default_device()

    @default.setter
    def default(self, name: str | None) -> None:
        set_default(name)


devices = Devices()
