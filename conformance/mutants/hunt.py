"""The suite on one mutant: the likeliest cases first, until two independent ones have failed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ...core import registry
from ...core.device import Device
from .. import certificate, compare, runner
from ..ladder import Rung, rung_of
from ..outcome import FAULTS, Outcome
from ..plugin import case_id
from ..selection import Selection
from ..tiers import SuiteTier, keeps
from .bases import open_new, spoiled
from .mutant import Mutant, Seen

ENOUGH = 2
"""Functions of the suite that must fail."""
PATIENCE = 5.0
"""Seconds to make a failure smaller: of many mutants, few are looked at."""
Tell = Callable[["str | Kill"], None]


@dataclass(frozen=True)
class Kill:
    """A case that failed: its name, the outcome, and the first lines that it says."""

    case: str
    outcome: str
    said: str

    @property
    def function(self) -> str:
        """ "primitives::test_binary": kills by one function are not independent."""
        return function_of(self.case)


@dataclass
class Verdict:
    """What came of a mutant.

    Attributes:
        mutant, family, fault, base: which, and which good device it was made from.
        kills: one of each function that failed.
        cases: how many were run.
        seconds: how long that took.
        error: why nothing could be learned, or "".
        certificate: what the certificate says against it, where that is what must notice.
    """

    mutant: str
    family: str
    fault: str
    base: str
    kills: list[Kill] = field(default_factory=list)
    cases: int = 0
    seconds: float = 0.0
    error: str = ""
    certificate: list[str] = field(default_factory=list)

    @property
    def is_killed(self) -> bool:
        """Whether it was noticed twice, or once by a certificate that is read."""
        return len({k.function for k in self.kills}) >= ENOUGH or bool(self.certificate)

    @property
    def is_killed_by_quick(self) -> bool:
        """Whether the cases of the quick tier are enough."""
        quick = {k.function for k in self.kills if keeps(SuiteTier.QUICK, k.case)}
        return len(quick) >= ENOUGH or bool(self.certificate)

    def as_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self), "killed": self.is_killed}


def function_of(case: str) -> str:
    """A case's name less what it is called with."""
    return case.partition("[")[0]


def matches(pattern: str, case: str) -> bool:
    """Whether a pattern, in which only "*" is special, is of a case."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), case) is not None


class Hunter(runner.Recorder):
    """Chooses the cases, in the order of their patterns, and stops when enough have failed.

    Attributes:
        verdict: where it is kept.
        over: cases that are not run: they ended a process before.
    """

    def __init__(
        self,
        outcome: Outcome,
        limit: float,
        verdict: Verdict,
        patterns: Sequence[str],
        over: frozenset[str],
        tell: Tell,
    ) -> None:
        super().__init__(outcome, limit, None, Path(), ())
        self.patience = PATIENCE
        self.verdict, self.patterns, self.over, self.tell = verdict, patterns, over, tell

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Cases of the first pattern first; in a greater tier none that the quick one had before."""
        placed = []
        for item in items:
            case = case_id(item.nodeid)
            at = next((i for i, p in enumerate(self.patterns) if matches(p, case)), None)
            again = self.outcome.selection.tier is not SuiteTier.QUICK and keeps(SuiteTier.QUICK, case)
            if at is not None and case not in self.over and not again:
                placed.append((at, item))
        placed.sort(key=lambda p: p[0])
        items[:] = [item for _, item in placed]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        """Skips what would tell nothing new: cases of a function that has failed, or all when enough have.

        They pass through pytest like any other, which else would not see where one file ends.
        """
        case = case_id(item.nodeid)
        killers = {k.function for k in self.verdict.kills} | {function_of(c) for c in self.over}
        if len(killers) >= ENOUGH or function_of(case) in killers:
            item.add_marker(pytest.mark.skip(reason="it would tell nothing new"))
            return
        self.verdict.cases += 1
        self.tell(case)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """What failed is a kill."""
        before = len(self.outcome.results)
        super().pytest_runtest_logreport(report)
        for result in self.outcome.results[before:]:
            if result.outcome in FAULTS:
                kill = Kill(result.id, result.outcome, first_words(result.message))
                self.verdict.kills.append(kill)
                self.tell(kill)


def first_words(message: str) -> str:
    """Of a failure, what fits beside others."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[0][:160] if lines else ""


def hunt(
    mutant: Mutant,
    base: str,
    *,
    seed: int = 0,
    limit: float = 60.0,
    whole: bool = False,
    over: Sequence[str] = (),
    tell: Tell = lambda case: None,
) -> Verdict:
    """Runs the suite on a mutant, in this process.

    Args:
        mutant: which.
        base: the good device that it is made from.
        seed: what the samples depend on.
        limit: seconds that a case may take.
        whole: where the likely cases do not suffice, run all others too.
        over: cases that are not run, since they ended a process.
        tell: called with each case before it is run, and with each kill.

    The cases of the quick tier come first, so that the verdict says whether they are enough.
    """
    verdict = Verdict(mutant.name, mutant.family, mutant.fault, base)
    if mutant.seen is Seen.CERTIFICATE:
        verdict.certificate = differences(mutant, base, seed)
        return verdict
    device = registry.adopt(spoiled(mutant, base), another=lambda: spoiled(mutant, base))
    everything = tuple(f"{r.value}::*" for r in Rung)
    for tier in (SuiteTier.QUICK, SuiteTier.STANDARD):
        for patterns in (mutant.tried, everything) if whole else (mutant.tried,):
            climb(device, patterns, tier, verdict, seed, limit, frozenset(over), tell)
            if verdict.is_killed:
                return verdict
    return verdict


def climb(
    device: Device,
    patterns: Sequence[str],
    tier: SuiteTier,
    verdict: Verdict,
    seed: int,
    limit: float,
    over: frozenset[str],
    tell: Tell,
) -> None:
    """One session over the rungs that the patterns name, of the cases of a tier."""
    rungs = tuple(r for r in Rung if any(p.startswith(f"{r.value}::") for p in patterns))
    outcome = Outcome(device.name, Selection(rungs, tier=tier, seed=seed))
    runner.session(Hunter(outcome, limit, verdict, patterns, over, tell))


def differences(mutant: Mutant, base: str, seed: int) -> list[str]:
    """What ``portwright compare`` says is lost from the good device's certificate to the mutant's.

    Of the two lowest rungs that the mutant's cases are of: claims do not need more.
    """
    documents = []
    selection = Selection(tuple(dict.fromkeys(map(rung_of, mutant.tried))), "every_bit or limits", seed=seed)
    for device in (open_new(base), spoiled(mutant, base)):
        documents.append(certificate.build(runner.run(device, selection), device))
    found = compare.compare(documents[0], documents[1])
    lost = [f"{c.what}: {c.old} → {c.new}" for c in found.lost]
    skipped = [f"{len(found.new_skips)} cases are not claimed any more"] if found.new_skips else []
    return [*lost, *skipped]
