"""False alarms: the suite on good devices, over many seeds, of which none may fail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ...core.device import Device
from .. import runner
from ..selection import Selection
from .bases import that_run_here
from .good import VARIANTS, find, opened


@dataclass(frozen=True)
class Alarm:
    """A case that failed on a good device, which is the suite's fault or the device's.

    Attributes:
        case: its id.
        outcome: "failed", "crashed" or another that is none of the good ones.
        said: the first line of why.
    """

    case: str
    outcome: str
    said: str

    def __str__(self) -> str:
        return f"{self.case} {self.outcome}: {self.said}"


@dataclass(frozen=True)
class Climb:
    """One climb on a good device.

    Attributes:
        device, seed: of what.
        cases, passed: how many.
        failed: those that did.
        seconds: how long it took.
    """

    device: str
    seed: int
    cases: int
    passed: int
    failed: tuple[Alarm, ...]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    def line(self) -> str:
        """On one line."""
        said = f"FALSE ALARMS {'; '.join(map(str, self.failed))}" if self.failed else "none failed"
        return (
            f"{self.device} seed {self.seed}: {self.passed} of {self.cases} passed, {said}, "
            f"{self.seconds:.1f} s"
        )


EVERY = "all"
"""Stands for every good device that opens here, and every variant of one."""


def good_devices(names: Sequence[str]) -> list[str]:
    """``names``, in which ``EVERY`` is replaced by what it stands for."""
    every = [*that_run_here(), *(v.name for v in VARIANTS)] if EVERY in names else []
    return list(dict.fromkeys(n for name in names for n in (every if name == EVERY else [name])))


def false_alarms_of(
    device: str, selection: Selection, seeds: Iterable[int], *, jobs: int, limit: float
) -> Iterator[Climb]:
    """A climb for each seed: of a device, or of one of the ``good.VARIANTS``, which is run in this process.

    Args:
        device: a name.
        selection: which cases; its own seed makes no difference.
        seeds: those instead.
        jobs, limit: as in ``runner.run``.

    Raises:
        DeviceError: when the device does not open.
    """
    variant = find(device)
    chosen: str | Device = device if variant is None else opened(variant)
    for seed in seeds:
        outcome = runner.run(chosen, replace(selection, seed=seed), jobs=jobs, limit=limit)
        passed = sum(r.outcome == "passed" for r in outcome.results)
        failed = tuple(Alarm(r.id, r.outcome, r.message.partition("\n")[0]) for r in outcome.failures)
        yield Climb(device, seed, len(outcome.cases), passed, failed, outcome.seconds)
