"""What came of a climb: a result for each case, and how each rung stands."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from .ladder import Rung, rung_of
from .selection import Selection

PASSED, FAILED, CRASHED, HUNG, UNCLAIMED = "passed", "failed", "crashed", "hung", "unclaimed"
EXPECTED = "expected"
"""Failed, crashed or hung as the port's expected failures say."""
NOT_REACHED = "not reached"
"""Selected, and did not run: what a certificate says of a case without a result."""
FAULTS = frozenset({FAILED, CRASHED, HUNG})


@dataclass(frozen=True)
class CaseResult:
    """What came of one case.

    Attributes:
        id: "primitives::test_unary[SIN-float32]".
        outcome: passed, failed, crashed (took its process down), hung (ran past the limit), expected (to
            fail, as it did) or unclaimed.
        seconds: how long it took.
        message: why it failed, or what is not claimed.
        accuracy: ``judge.Accuracy`` records.
        alike: what it has in common with others that failed for the same reason; "" where none is known.
        timing: the ``speed.Timing`` of a case that took one.
        script: a program that shows the failure; "" where running the case again is the shortest.
    """

    id: str
    outcome: str
    seconds: float
    message: str = ""
    accuracy: tuple[dict[str, Any], ...] = ()
    alike: str = ""
    timing: dict[str, Any] | None = None
    script: str = ""

    @classmethod
    def read(cls, document: dict[str, Any]) -> CaseResult:
        """The result that ``dataclasses.asdict`` and JSON made ``document`` of."""
        result = cls(**document)
        return replace(result, accuracy=tuple(result.accuracy))

    @property
    def rung(self) -> Rung:
        """Where it belongs."""
        return rung_of(self.id)


@dataclass(frozen=True)
class RungSummary:
    """How a rung stands.

    Attributes:
        rung: which.
        cases: how many were selected; 0 of a rung that was never reached.
        passed, failed, expected, unclaimed: how many did what.
        worst_ulp: the greatest distance from an exact result that was measured, if any was.
    """

    rung: Rung
    cases: int
    passed: int
    failed: int
    expected: int
    unclaimed: int
    worst_ulp: float | None

    @property
    def not_reached(self) -> int:
        """Cases that were selected and did not run."""
        return self.cases - self.passed - self.failed - self.expected - self.unclaimed

    @property
    def reached(self) -> bool:
        """Whether any case of it ran."""
        return self.not_reached < self.cases

    @property
    def holds(self) -> bool:
        """Whether all of it ran, and nothing failed that was not expected to."""
        return bool(self.cases) and not self.failed and not self.not_reached


@dataclass
class Outcome:
    """A climb.

    Attributes:
        device: which one.
        selection: what was asked for.
        cases: the ids of all that were selected, in order.
        results: of the cases that ran.
        seconds: wall time.
        machines: those that cases ran on, each once, as certificates say them; none where that was this one.
    """

    device: str
    selection: Selection
    cases: list[str] = field(default_factory=list)
    results: list[CaseResult] = field(default_factory=list)
    seconds: float = 0.0
    machines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """True when every case that the tier has of every rung was run."""
        asked = self.selection
        return asked.has_whole_rungs and asked.rungs == tuple(Rung) and self.reached == set(Rung)

    @property
    def reached(self) -> set[Rung]:
        """The rungs of which some case ran."""
        return {r.rung for r in self.results}

    @property
    def failures(self) -> list[CaseResult]:
        """The cases that did not do what the port claims."""
        return [r for r in self.results if r.outcome in FAULTS]

    @property
    def passed(self) -> bool:
        """True when every claimed case that was selected passed."""
        return (
            any(r.outcome == PASSED for r in self.results)
            and not self.failures
            and len(self.results) == len(self.cases)
        )

    @property
    def expected(self) -> list[CaseResult]:
        """The cases that failed as the port's expected failures say."""
        return [r for r in self.results if r.outcome == EXPECTED]

    @property
    def verdict(self) -> str:
        """ "passed", "failed", or "conditional": passed but for failures that are expected."""
        if not self.passed:
            return FAILED
        return "conditional" if self.expected else PASSED

    def summary(self) -> list[RungSummary]:
        """How each rung that was asked for stands, in order."""
        found = Counter(rung_of(c) for c in self.cases)
        rows = []
        for rung in self.selection.rungs:
            results = [r for r in self.results if r.rung is rung]
            outcomes = Counter(r.outcome for r in results)
            ulps = [a["ulp"] for r in results for a in r.accuracy]
            rows.append(
                RungSummary(
                    rung,
                    found[rung],
                    outcomes[PASSED],
                    sum(outcomes[o] for o in FAULTS),
                    outcomes[EXPECTED],
                    outcomes[UNCLAIMED],
                    max(ulps, default=None),
                )
            )
        return rows
