"""Whether a port is whole and takes the calls that core makes: every fault at once, before any kernel."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from .device import Ability, Clocks, Computes, Device, HostViews, Kills, LastWords, Reach, Replays, Spec
from .errors import PortError

_CALLED = (
    "alloc", "free", "copy_in", "copy_out", "synchronize", "compile", "load", "launch", "compiler_key",
    "close",
)  # fmt: skip
KERNEL_METHODS = ("compile", "load", "launch")
"""What a port that is reached through a kernel language must have, besides what every port must."""
_ABILITIES: dict[Ability, type] = {
    Ability.REPLAY: Replays,
    Ability.HOST_VIEW: HostViews,
    Ability.CLOCK: Clocks,
    Ability.LAST_WORDS: LastWords,
    Ability.KILL: Kills,
}


def class_faults(port: type[Device]) -> list[str]:
    """What is wrong with a port before it is opened: methods that are missing, or take other calls.

    Of one that states its Spec in its class, and has such faults, everything that ``check_port`` finds.
    """
    missing = sorted(port.__abstractmethods__)
    faults = [f"missing {', '.join(missing)}"] if missing else []
    faults += [f for name in _CALLED if name not in missing for f in _call_fault(port, Device, name)]
    spec = getattr(port, "spec", None)
    return faults + (_spec_faults(port, spec) if faults and isinstance(spec, Spec) else [])


def check_port(port: type[Device], spec: Spec) -> None:
    """Every way in which a port contradicts itself, all at once.

    Raises:
        PortError: "ACME: missing launch; claims float16 but its dialect names no half type".
    """
    faults = [f for name in _CALLED for f in _call_fault(port, Device, name)] + _spec_faults(port, spec)
    if faults:
        raise PortError(f"{spec.name}: {'; '.join(faults)}")


def _spec_faults(port: type[Device], spec: Spec) -> list[str]:
    from .compound import compound_faults  # which read Specs
    from .legalize.floor import floor_faults
    from .tile import tile_faults

    faults: list[str] = []
    if spec.reach is Reach.KERNELS:
        missing = [m for m in KERNEL_METHODS if getattr(port, m) is getattr(Device, m)]
        if missing:
            faults.append(f"missing {', '.join(missing)}")
        if port.dialect is None:
            faults.append("is driven by a kernel language but names no dialect")
        else:
            faults += port.dialect.faults(spec)
    elif getattr(port, "compute", None) is None:
        faults.append("missing compute")
    else:
        faults += _call_fault(port, Computes, "compute")
    for ability, protocol in _ABILITIES.items():
        if ability in spec.abilities:
            methods = [m for m in vars(protocol) if not m.startswith("_")]
            absent = [m for m in methods if getattr(port, m, None) is None]
            if absent:
                faults.append(f"claims {ability.value} but is missing {', '.join(absent)}")
            faults += [f for m in methods if m not in absent for f in _call_fault(port, protocol, m)]
    faults += port.faults(spec)
    faults += floor_faults(spec)
    faults += tile_faults(spec)
    faults += compound_faults(spec)
    if spec.arithmetic - spec.dtypes:
        odd = ", ".join(sorted(d.name for d in spec.arithmetic - spec.dtypes))
        faults.append(f"computes in {odd}, which it does not claim to hold")
    return faults


def _call_fault(port: type[Device], meant: type, name: str) -> Iterator[str]:
    """What is wrong with a method, held against the call that ``meant`` gives it."""
    written = inspect.getattr_static(port, name)
    if written is inspect.getattr_static(meant, name):
        return
    wanted = list(inspect.signature(getattr(meant, name)).parameters)[1:]
    function = getattr(port, name)
    if not callable(function):
        yield f"{name} is no method: core calls {name}({', '.join(wanted)})"
        return
    bound = isinstance(written, staticmethod | classmethod)  # then nothing stands before the arguments
    try:
        taken = inspect.signature(function)
    except (TypeError, ValueError):  # a compiled function that does not tell
        return
    try:
        taken.bind(*([] if bound else [None]), *wanted)
    except TypeError:
        named = [p.replace(annotation=p.empty) for p in taken.parameters.values()]
        shown = taken.replace(parameters=named, return_annotation=taken.empty)
        yield f"{name} takes {shown}, core calls {name}({', '.join(wanted)})"
