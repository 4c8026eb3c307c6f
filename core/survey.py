"""How every device stands that is offered here: what ``portwright devices`` and ``doctor`` show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

from .device import Device, Spec
from .errors import PortError
from .offers import Offer, Wanted, canonical_name, offers
from .opening import OpeningError, State, agreed_contract
from .record import dataclass
from .registry import open_offer, opened
from .trial import Trial, seconds

_AT_ONCE = 16
"""Plugins that are tried at the same time, each in a process of its own."""


@dataclass(frozen=True)
class Status:
    """How a device stands.

    Attributes:
        name, distribution, version: of the offer.
        state: which of the states.
        cause: why it is not ready; empty when it is, or was not tried.
        mend: what to do about it; empty when the cause says so itself.
        spec: what the device can do, when it is ready.
        file: where the port's module lies; empty when there is none.
        needs: the versions of the contract that it was written for, in words.
        contract: the version that it and Portwright speak; None when there is none.
    """

    name: str
    distribution: str
    version: str
    state: State
    cause: str = ""
    mend: str = ""
    spec: Spec | None = None
    file: str = ""
    needs: str = ""
    contract: int | None = None

    def ready(self, device: Device) -> Status:
        """The same, of a device that is open."""
        return replace(self, state=State.READY, cause="", mend="", spec=device.spec, contract=device.contract)

    def failed(self, error: OpeningError) -> Status:
        """The same, of one that did not open."""
        return replace(self, state=error.state, cause=error.cause, mend=error.mend)


def status(*, tries: bool = True) -> Iterator[Status]:
    """Every offered device, in order of their names.

    Each is tried in a process of its own, several at once, for as long as ``PORTWRIGHT_PROBE_SECONDS``
    allows. Those that open there are then opened here, and stay open.

    Args:
        tries: else nothing is imported, and what could be tried is ``State.INSTALLED``.

    Raises:
        DeviceError: when an environment variable cannot be read.
    """
    everything = offers()
    found = [Wanted(o, None, canonical_name(o, everything)) for o in everything]
    standing = [_untried(w) for w in found]
    if not tries:
        yield from standing
        return
    limit = seconds()
    with ExitStack() as stack:
        trials: list[Trial | OpeningError | None] = []
        for i, (wanted, before) in enumerate(zip(found, standing, strict=True)):
            for later in range(len(trials), min(i + _AT_ONCE, len(found))):
                is_tried = bool(limit) and standing[later].state is State.INSTALLED
                trials.append(_begun(everything[later], limit, stack) if is_tried else None)
            yield _tried(wanted, trials[i]) if before.state is State.INSTALLED else before


def _untried(wanted: Wanted) -> Status:
    """How a device stands as far as can be told without importing its port."""
    offer = wanted.offer
    about = Status(
        wanted.name,
        offer.distribution,
        offer.version,
        State.INSTALLED,
        file=str(offer.file or ""),
        needs=_needs(offer),
    )
    if offer.denied:
        return about.failed(OpeningError(State.DENIED, offer.denied, "Change it to open this one"))
    device = opened(wanted.name)
    if device is not None:
        return about.ready(device)
    try:
        return replace(about, contract=agreed_contract(offer))
    except OpeningError as e:
        return about.failed(e)


def _needs(offer: Offer) -> str:
    try:
        return f"{offer.contract}{'' if offer.stated or offer.is_ours else ' (not stated)'}"
    except PortError:
        return offer.stated


def _begun(offer: Offer, limit: float, stack: ExitStack) -> Trial | OpeningError:
    """A trial under way, which ends with the ``stack`` at the latest; or why there is none."""
    try:
        return stack.enter_context(Trial(offer, opens=True, limit=limit))
    except OpeningError as e:
        return e


def _tried(wanted: Wanted, trial: Trial | OpeningError | None) -> Status:
    """How a device stands once its trial is over; without one it is opened here at once."""
    about = _untried(wanted)
    try:
        if isinstance(trial, OpeningError):
            raise trial
        if trial is not None:
            trial.wait()
        return about.ready(open_offer(wanted, is_tried=True))
    except OpeningError as e:
        return about.failed(e)
