"""False alarms: the suite on good devices, over many seeds, of which none may fail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from .. import runner


@dataclass(frozen=True)
class Climb:
    """One climb on a good device.

    Attributes:
        device, seed: of what.
        cases, passed: how many.
        failed: those that did, which is the suite's fault or the device's.
        seconds: how long it took.
    """

    device: str
    seed: int
    cases: int
    passed: int
    failed: tuple[str, ...]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    def line(self) -> str:
        """On one line."""
        said = f"FAILED {', '.join(self.failed)}" if self.failed else "none failed"
        return (
            f"{self.device} seed {self.seed}: {self.passed} of {self.cases} passed, {said}, "
            f"{self.seconds:.1f} s"
        )


def false_alarms_of(
    device: str, seeds: Iterable[int], keyword: str, jobs: int, limit: float
) -> Iterator[Climb]:
    """A climb for each seed.

    Raises:
        DeviceError: when the device does not open.
    """
    for seed in seeds:
        outcome = runner.run(device, keyword=keyword, seed=seed, jobs=jobs, limit=limit)
        passed = sum(r.outcome == "passed" for r in outcome.results)
        failed = tuple(r.id for r in outcome.failures)
        yield Climb(device, seed, len(outcome.cases), passed, failed, outcome.seconds)
