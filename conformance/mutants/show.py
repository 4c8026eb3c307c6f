"""The kill matrix, for people: a table for a terminal, and a page in Markdown."""

from __future__ import annotations

import datetime
import platform
from collections import Counter
from collections.abc import Iterator, Sequence

from .. import SUITE_VERSION
from ..ladder import Rung, rung_of
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
    killed = sum(v.is_killed for v in verdicts)
    bases = ", ".join(sorted({v.base for v in verdicts}))
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    yield (
        f"{killed} of {len(verdicts)} mutants in {len(families(verdicts))} families are killed, in "
        f"{seconds:,.0f} s (suite {SUITE_VERSION}, {today}, {platform.machine()}, made from {bases})."
    )
    yield ""
    rungs = [r for r in Rung if any(rung_of(k.case) is r for v in verdicts for k in v.kills)]
    yield "| family | mutants | killed | " + " | ".join(r.value for r in rungs) + " | certificate |"
    yield "|---" * (len(rungs) + 4) + "|"
    for family, found in families(verdicts).items():
        by = Counter(r for v in found for r in {rung_of(k.case) for k in v.kills})
        cells = [str(by[r] or "") for r in rungs]
        seen = sum(bool(v.certificate) for v in found)
        kills = sum(v.is_killed for v in found)
        yield f"| {family} | {len(found)} | {kills} | {' | '.join(cells)} | {seen or ''} |"
    survivors = [v for v in verdicts if not v.is_killed]
    if survivors:
        yield ""
        yield "Not killed by two independent cases:"
        yield ""
        for v in survivors:
            once = f" (one: {v.kills[0].case})" if v.kills else ""
            yield f"- `{v.mutant}`: {v.fault}{once}"
