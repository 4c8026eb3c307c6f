"""The kill matrix, for people: a table for a terminal, and a page in Markdown."""

from __future__ import annotations

import datetime
import platform
from collections import Counter
from collections.abc import Iterator, Sequence

from .. import SUITE_VERSION
from ..ladder import Rung, rung_of
from ..tiers import SuiteTier
from .alarms import Climb
from .hunt import Verdict


def families(verdicts: Sequence[Verdict]) -> dict[str, list[Verdict]]:
    """The verdicts of each family, in order."""
    found: dict[str, list[Verdict]] = {}
    for v in verdicts:
        found.setdefault(v.family, []).append(v)
    return found


def line(v: Verdict) -> str:
    """One mutant on one line."""
    word = "killed  " if v.is_killed else "SURVIVES"
    by = "; ".join(
        [
            *(k.case + ("" if k.outcome == "failed" else f" ({k.outcome})") for k in v.kills),
            *v.certificate[:2],
        ]
    )
    return f"{word} {v.mutant}: {by or v.error or 'nothing noticed it'}"


def markdown(verdicts: Sequence[Verdict], seconds: float) -> str:
    """The matrix: a row for each family, a column for each rung, and who survives."""
    return "\n".join(_lines(verdicts, seconds)) + "\n"


def _lines(verdicts: Sequence[Verdict], seconds: float) -> Iterator[str]:
    killed, quick = sum(v.is_killed for v in verdicts), sum(v.is_killed_by_quick for v in verdicts)
    bases = ", ".join(sorted({v.base for v in verdicts}))
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    share = 100 * quick / max(1, len(verdicts))
    yield (
        f"{killed} of {len(verdicts)} mutants in {len(families(verdicts))} families are killed, {quick} "
        f"({share:.0f} %) by cases of the quick tier alone, in {seconds:,.0f} s "
        f"(suite {SUITE_VERSION}, {today}, {platform.machine()}, made from {bases})."
    )
    yield ""
    rungs = [r for r in Rung if any(rung_of(k.case) is r for v in verdicts for k in v.kills)]
    yield (
        "| family | mutants | killed | by quick | " + " | ".join(r.value for r in rungs) + " | certificate |"
    )
    yield "|---" * (len(rungs) + 5) + "|"
    for family, found in families(verdicts).items():
        by = Counter(r for v in found for r in {rung_of(k.case) for k in v.kills})
        cells = [str(by[r] or "") for r in rungs]
        seen = sum(bool(v.certificate) for v in found)
        kills, fast = sum(v.is_killed for v in found), sum(v.is_killed_by_quick for v in found)
        yield f"| {family} | {len(found)} | {kills} | {fast} | {' | '.join(cells)} | {seen or ''} |"
    survivors = [v for v in verdicts if not v.is_killed]
    if survivors:
        yield ""
        yield "Not killed by two independent cases:"
        yield ""
        for v in survivors:
            once = f" (one: {v.kills[0].case})" if v.kills else ""
            yield f"- `{v.mutant}`: {v.fault}{once}"


def alarms(climbs: Sequence[Climb], tier: SuiteTier) -> str:
    """The climbs on good devices as Markdown: a row for each device."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    rows = [
        f"{sum(bool(c.failed) for c in climbs)} of {len(climbs)} climbs on good devices raised a false alarm "
        f"(suite {SUITE_VERSION}, {tier.value}, {today}, {platform.machine()}).",
        "",
        "| good device | seeds | cases of each | passed | unclaimed | failed | minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    by_device: dict[str, list[Climb]] = {}
    for c in climbs:
        by_device.setdefault(c.device, []).append(c)
    for device, found in by_device.items():
        failed, passed = sum(len(c.failed) for c in found), sum(c.passed for c in found)
        rest = sum(c.cases for c in found) - passed - failed
        minutes = f"{sum(c.seconds for c in found) / 60:.1f}"
        cells = (device, len(found), f"{found[0].cases:,}", f"{passed:,}", f"{rest:,}", failed, minutes)
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows) + "\n"
