"""From an offer to an opened device: import the port, look at it, open it, look again.

Each step that fails says which state that leaves the device in, why, and what to do. Nothing here knows of
other devices, or of processes: ``trial`` runs the same steps apart from this process.
"""

from __future__ import annotations

import enum
import inspect
from importlib import import_module
from types import TracebackType

from .contract import SPOKEN, negotiate
from .device import Device
from .errors import CannotOpenError, DeviceError, DriverMissingError, NoDeviceError, PortError
from .offers import Offer
from .port_check import check_port, class_faults

_MOST = 600
"""Characters of a cause that another's code gives."""
_CHECKED = "sanitize"
"""The variant that is the port itself under a checker: it opens where the port does."""


class State(enum.Enum):
    """How a device stands."""

    INSTALLED = "installed"  # offered, and not tried
    READY = "ready"
    INCOMPATIBLE = "incompatible"
    IMPORT_FAILED = "import failed"
    DRIVER_MISSING = "driver missing"
    NO_DEVICE = "no device"
    DENIED = "denied"
    CANNOT_OPEN = "cannot open"


_ERRORS: dict[State, type[CannotOpenError]] = {
    State.DRIVER_MISSING: DriverMissingError,
    State.NO_DEVICE: NoDeviceError,
}


class OpeningError(Exception):
    """One step of opening failed.

    Attributes:
        state: which that leaves the device in.
        cause: why, on one line.
        mend: what to do about it; empty when the cause says so itself.
    """

    def __init__(self, state: State, cause: str, mend: str = "") -> None:
        super().__init__(cause)
        self.state, self.cause, self.mend = state, cause, mend

    def told_of(self, offer: Offer) -> DeviceError:
        """The error that users meet."""
        file = str(offer.file or "")
        file = "" if offer.is_ours or not file or file in self.cause else f" ({file})"
        cause = f"{offer}: {self.state.value}: {self.cause}{file}"
        if self.state is State.INCOMPATIBLE:
            return PortError(f"{cause}. {self.mend}" if self.mend else cause)
        return _ERRORS.get(self.state, CannotOpenError)(cause, self.mend)


def one_line(text: str) -> str:
    """Another's words, however many."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST else f"{line[: _MOST - 1]}…"


def mend_of(offer: Offer) -> str:
    """What to do about a port that is itself at fault."""
    if offer.is_ours:
        return f"Install {offer.distribution} anew"
    return (
        f"Mend it, or pip install --upgrade {offer.distribution}; "
        f"PORTWRIGHT_PLUGINS=-{offer.distribution} leaves it out"
    )


def agreed_contract(offer: Offer) -> int:
    """The version of the contract that an offer and Portwright both speak; nothing is imported.

    Raises:
        OpeningError: when there is none, or the offer itself is at fault.
    """
    if offer.fault:
        raise OpeningError(State.INCOMPATIBLE, offer.fault, mend_of(offer))
    try:
        needed = offer.contract
    except PortError as e:
        raise OpeningError(State.INCOMPATIBLE, str(e), mend_of(offer)) from e
    version = negotiate(needed)
    if version is None:
        older = needed.newest < SPOKEN.oldest
        raise OpeningError(
            State.INCOMPATIBLE,
            f"this plugin needs contract {needed}; this Portwright speaks {SPOKEN}",
            f"pip install --upgrade {offer.distribution if older else 'portwright'}",
        )
    return version


def load_port(offer: Offer, argument: str | None = None) -> type[Device]:
    """The port's class, or that of the variant which ``argument`` names, imported.

    Raises:
        OpeningError: when it does not import, or is no port.
    """
    port = _class_at(offer, offer.value)
    if argument is None or argument not in port.variants:
        return port
    return _class_at(offer, port.variants[argument])


def open_port(offer: Offer, argument: str | None) -> Device:
    """The device, opened.

    Args:
        offer: whose.
        argument: what stands after the device's name, if anything.

    Raises:
        OpeningError: from whichever step fails.
    """
    version = agreed_contract(offer)
    port = load_port(offer)
    others = _others(offer, port)
    if argument is not None and argument in port.variants:
        port, argument, others = _class_at(offer, port.variants[argument]), None, ""
    if argument is not None and not inspect.signature(port).parameters:
        raise OpeningError(State.CANNOT_OPEN, f"it takes nothing after the colon, not {argument!r}")
    faults = class_faults(port)
    if faults:
        raise OpeningError(State.INCOMPATIBLE, "; ".join(faults), mend_of(offer))
    try:
        device = port() if argument is None else port(argument)  # type: ignore[call-arg]
    except Exception as e:  # another's code: whatever it raises is its failure alone
        raise _why_not(offer, e, others) from e
    except SystemExit as e:
        raise OpeningError(State.CANNOT_OPEN, _said(e), mend_of(offer)) from e
    try:
        check_port(port, device.spec)
    except (PortError, AttributeError) as e:  # AttributeError: it set no spec
        raise OpeningError(State.INCOMPATIBLE, one_line(str(e)), mend_of(offer)) from e
    from . import deprecation  # which needs no place among what ``import portwright`` brings

    gone = deprecation.refused(str(offer), port, device.spec)
    if gone:
        raise OpeningError(State.INCOMPATIBLE, "; ".join(gone), mend_of(offer))
    device.contract = version
    return device


def _class_at(offer: Offer, place: str) -> type[Device]:
    """The port that "module:class" names."""
    module, _, path = place.partition(":")
    try:
        found: object = import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (Exception, SystemExit) as e:  # another's code: whatever it raises is its failure alone
        raise OpeningError(State.IMPORT_FAILED, _said(e), mend_of(offer)) from e
    if not (isinstance(found, type) and issubclass(found, Device)):
        raise OpeningError(State.INCOMPATIBLE, f"{place} is not a subclass of Device", mend_of(offer))
    return found


def _why_not(offer: Offer, error: Exception, others: str) -> OpeningError:
    """What a port said by what it raised while it opened."""
    if isinstance(error, CannotOpenError):
        state, usual = State.CANNOT_OPEN, ""
        if isinstance(error, DriverMissingError):
            state, usual = State.DRIVER_MISSING, f"Install what {offer.name} is reached through"
        elif isinstance(error, NoDeviceError):
            state, usual = State.NO_DEVICE, "Attach the device, or give this process access to it"
        return OpeningError(state, one_line(error.cause), _sentences(error.mend or usual, others))
    if isinstance(error, PortError):
        return OpeningError(State.INCOMPATIBLE, one_line(str(error)), mend_of(offer))
    if isinstance(error, DeviceError):
        return OpeningError(State.CANNOT_OPEN, one_line(str(error)), others)
    return OpeningError(State.CANNOT_OPEN, _said(error), _sentences(mend_of(offer), others))


def _others(offer: Offer, port: type[Device]) -> str:
    """The devices of a port's name that are reached in another way."""
    names = [f"{offer.name}:{v}" for v in port.variants if v != _CHECKED]
    *most, last = names or [""]
    return f"{', '.join(most)} or {last} may open here" if most else f"{last} may open here" if last else ""


def _sentences(*texts: str) -> str:
    return ". ".join(filter(None, texts))


def _said(error: BaseException) -> str:
    """An error of another's code, with where it was raised."""
    where = _raised_at(error.__traceback__)
    return one_line(f"{type(error).__name__}: {error}") + (f" ({where})" if where else "")


def _raised_at(trail: TracebackType | None) -> str:
    """The file and line that raised, of those that are neither ours nor Python's machinery of import."""
    import traceback  # only of what fails

    frames = [
        f for f in traceback.extract_tb(trail) if not f.filename.startswith("<") and f.filename != __file__
    ]
    frames = [f for f in frames if f.filename != import_module.__code__.co_filename]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
