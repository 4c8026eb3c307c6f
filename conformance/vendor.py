"""The suite under a vendor's own pytest: ``test_conformance = conformance("ACME")`` is a test for each rung.

The rungs run as ``portwright certify`` runs them, in worker processes, so that a crash or a hang is one
failed case there and one failed test here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ..core.errors import ArgumentError
from ..core.registry import open_device
from .expected import ExpectedFailure, read
from .ladder import Rung
from .outcome import UNCLAIMED, Outcome
from .project import Project, project_of
from .runner import run
from .selection import Selection
from .tiers import SuiteTier

SHOWN = 3
"""Failures of a rung that its test prints whole."""


def conformance(
    device: str, *, expected: Path | None = None, seed: int = 0, jobs: int = 1, tier: str = "standard"
) -> Callable[[Rung], None]:
    """A test function, parametrized by rung.

    Args:
        device: the name that the port is opened by.
        expected: its expected failures; without, the project's ``tests/expected_failures.toml``, if any.
        seed: what the samples depend on.
        jobs: worker processes.
        tier: how much of the suite: "quick", "standard" or "full".

    Raises:
        ArgumentError: when there is no such tier.
    """
    tiers = {t.value: t for t in SuiteTier}
    if tier not in tiers:
        raise ArgumentError(f"no tier {tier!r}: there are {', '.join(tiers)}")

    @pytest.mark.parametrize("rung", list(Rung), ids=lambda r: r.value)
    def test_conformance(rung: Rung) -> None:
        known = expected_of(project_of(type(open_device(device))), expected)
        outcome = run(device, Selection((rung,), tier=tiers[tier], seed=seed), jobs=jobs, expected=known)
        if all(r.outcome == UNCLAIMED for r in outcome.results):
            pytest.skip(f"no case of it is claimed: {outcome.results[0].message}")
        assert outcome.passed, _said(outcome)

    return test_conformance


def expected_of(project: Project | None, stated: Path | None = None) -> tuple[ExpectedFailure, ...]:
    """The expected failures of a port: those of the file that is stated, or else of its project.

    Raises:
        ArgumentError: when the file does not hold expected failures.
    """
    if stated is not None:
        return read(stated)
    found = project.expected_failures if project is not None else None
    return read(found) if found is not None and found.is_file() else ()


def _said(outcome: Outcome) -> str:
    failures = outcome.failures
    lines = [f"{r.outcome} {r.id}\n{r.message}" for r in failures[:SHOWN]]
    if len(failures) > SHOWN:
        lines.append(f"… and {len(failures) - SHOWN} more")
    return "\n\n".join(lines) or "no case of this rung passed"
