"""Times to test with, made up where only their form matters."""

from __future__ import annotations

from typing import Any

from portwright.conformance.ladder import rung_of
from portwright.conformance.outcome import CaseResult


def timing(seconds: float = 1e-3, *, bytes: int = 8_000_000, flops: int = 4_000_000) -> dict[str, Any]:
    """A record of a job that took about so long."""
    return {
        "clock": "host",
        "runs": 9,
        "best_seconds": 0.9 * seconds,
        "median_seconds": seconds,
        "p90_seconds": 1.1 * seconds,
        "bytes": bytes,
        "flops": flops,
    }


def passed(case: str) -> CaseResult:
    """That a case passed; one of the rung of speed with times."""
    return CaseResult(case, "passed", 0.0, timing=timing() if rung_of(case).is_alone else None)
