"""The good devices that faults are put into, found by what their Specs say."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from ...core.device import Device, Evidence, Reach, Spec
from ...core.dialect import CLike
from ...core.errors import DeviceError
from ...core.offers import defaults, offers, resolve
from ...core.opening import OpeningError, load_port, open_port
from .means import put
from .mutant import Base, Mutant

_CHECKED = "sanitize"
"""A variant that is a port under a checker: no other device."""
_MEANT = {
    Base.KERNELS: "is driven by a kernel language of the C family",
    Base.BLOCKS: "has blocks of threads and is emulated",
    Base.DISPATCH: "computes the graph itself",
}


def base_name(base: Base, chosen: str | None = None) -> str:
    """Which device a kind of faults is put into.

    Args:
        base: the kind.
        chosen: the device that ``--base`` named: it is taken where it is of the kind.

    Raises:
        DeviceError: when there is none.
    """
    if chosen is not None and serves(open_new(chosen), base):
        return chosen
    for name in _candidates(base):
        try:
            device = open_new(name)
        except DeviceError:  # it does not open here; another may serve
            continue
        if serves(device, base):
            return name
    raise DeviceError(f"no device that {_MEANT[base]} opens here: name one by --base")


def serves(device: Device, base: Base) -> bool:
    """Whether a device is of a kind."""
    spec: Spec = device.spec
    if base is Base.DISPATCH:
        return spec.reach is Reach.DISPATCH
    if spec.reach is not Reach.KERNELS or not isinstance(device.dialect, CLike):
        return False
    if spec.evidence is Evidence.COMPILED:
        return False
    return base is Base.KERNELS or (spec.max_block > 1 and spec.evidence is Evidence.EMULATED)


def open_new(name: str) -> Device:
    """A device opened anew, for one fault; the registry does not know of it.

    Raises:
        DeviceError: when it does not open.
    """
    wanted = resolve(name)
    try:
        return open_port(wanted.offer, wanted.argument)
    except OpeningError as e:
        raise e.told_of(wanted.offer) from e


def spoiled(mutant: Mutant, name: str) -> Device:
    """A mutant, opened: the good device ``name`` with the fault, called by the mutant's name."""
    from dataclasses import replace

    device = open_new(name)
    device.spec = replace(device.spec, name=mutant.name.upper())
    key = device.compiler_key()
    mutant.spoil(device)
    if "compile" in vars(device):  # what it makes of a text must never be found by a good device
        own = f"{key} of {mutant.name} in process {os.getpid()}, at {time.time_ns()}"
        put(device, "compiler_key", lambda: own)
    return device


def that_run_here() -> list[str]:
    """Every port of ours, and every variant of one, that opens here and runs what it is given."""
    names = [*_candidates(Base.KERNELS), *_candidates(Base.BLOCKS)]
    return [name for name in names if _runs(name)]


def _runs(name: str) -> bool:
    try:
        return open_new(name).spec.evidence is not Evidence.COMPILED
    except DeviceError:
        return False


def _candidates(base: Base) -> Iterator[str]:
    """Names to try, best first: the default ports, or the variants of ours."""
    everything = offers()
    if base is not Base.BLOCKS:
        yield from (o.name for o in defaults(everything))
        return
    for offer in everything:
        if not offer.is_ours or offer.denied:
            continue
        try:
            port = load_port(offer)
        except OpeningError:  # what it needs is not installed
            continue
        yield from (f"{offer.name}:{v}" for v in port.variants if v != _CHECKED)
