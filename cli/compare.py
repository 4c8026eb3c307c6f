"""``portwright compare``: what became better and worse from one certificate to another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

from .screen import console, foreign, plain, write_json

if TYPE_CHECKING:
    from ..conformance.compare import CaseChange, Change, Comparison, Drift, Pace

MOST = 20
"""Lines of one group."""


@click.command()
@click.argument("old", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("new", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--factor",
    default=1.5,
    show_default=True,
    type=click.FloatRange(1.0),
    help="Say when results lie this many times further from exact, or nearer.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
def compare(old: Path, new: Path, factor: float, as_json: bool) -> int:
    """Say what changed from the certificate OLD to the certificate NEW.

    Exit status: 1 when a case that passed does not any more, or a claim is lost or weaker; 2 when one cannot
    be read or was changed; else 0. Whether a certificate can be trusted is for portwright verify.
    """
    from ..conformance.compare import compare as differences
    from ..conformance.form import read

    before, now = read(old), read(new)
    found = differences(before, now, factor)
    if as_json:
        write_json({"worse": found.worse, **plain(found)})
        return 1 if found.worse else 0
    out = console()
    if not found.same_port:
        ports = " and ".join(d["port"]["opened_as"] for d in (before, now))
        out.print(Text(f"These are of different ports: {foreign(ports)}.", style="yellow"))
    for title, style, lines in _groups(found):
        _print(out, title, style, lines)
    if found.paces:
        _print(out, _paces_title(found), "cyan", [_pace(p) for p in _flagged_first(found.paces)])
    old_s, new_s = found.seconds["total"]
    out.print(Text(f"seconds: {old_s:,.1f} before, {new_s:,.1f} now"))
    if found.worse:
        said = f"worse: {len(found.regressions)} regressions, {len(found.lost)} lost claims"
        out.print(Text(said, style="bold red"))
    else:
        out.print(Text("no regression, no claim lost", style="bold green"))
    return 1 if found.worse else 0


def _groups(found: Comparison) -> Iterator[tuple[str, str, Sequence[str]]]:
    yield "regressions: passed before", "bold red", [_case(c) for c in found.regressions]
    yield "lost claims", "bold red", [_change(c) for c in found.lost]
    yield "failures of what did not pass before either", "red", [_case(c) for c in found.new_failures]
    yield "new skips", "yellow", list(_by_reason(found.new_skips))
    yield "cases no longer asked", "yellow", list(_by_rung(found.gone))
    yield "further from exact", "yellow", [_drift(d) for d in found.further]
    yield "fixes", "green", [_case(c) for c in found.fixes]
    yield "new claims", "green", [_change(c) for c in found.gained]
    yield "nearer to exact", "green", [_drift(d) for d in found.nearer]
    yield "circumstances", "cyan", [_change(c) for c in found.circumstances]


def _print(out: Console, title: str, style: str, lines: Sequence[str]) -> None:
    if not lines:
        return
    out.print(Text(f"{title} ({len(lines)})", style=style))
    for line in lines[:MOST]:
        out.print(Text(f"  {foreign(line)}"))
    if len(lines) > MOST:
        out.print(Text(f"  … and {len(lines) - MOST} more; --json lists all"))


def _case(change: CaseChange) -> str:
    why = change.reason.strip().partition("\n")[0]
    return f"{change.case}: {change.old} → {change.new}" + (f": {why}" if why else "")


def _paces_title(found: Comparison) -> str:
    but = f", not comparable: {', '.join(found.moved)} differ" if found.moved else ""
    return f"speed, by medians{but}"


def _flagged_first(paces: Iterable[Pace]) -> list[Pace]:
    return sorted(paces, key=lambda p: (not p.verdict, p.name))


def _pace(pace: Pace) -> str:
    from ..conformance.speed import scaled

    said = (
        f"{pace.name.partition('[')[2].removesuffix(']')}: {scaled(pace.old, 's')} → {scaled(pace.new, 's')}"
    )
    beyond = f", {pace.verdict}" if pace.verdict else ""
    return f"{said}, {pace.ratio:.2f} times{beyond}"


def _by_reason(changes: Iterable[CaseChange]) -> Iterator[str]:
    reasons = Counter(c.reason.strip().partition("\n")[0] for c in changes)
    yield from (f"{n:,} × {reason}" for reason, n in reasons.most_common())


def _by_rung(cases: Sequence[str]) -> Iterator[str]:
    rungs = Counter(name.partition("::")[0] for name in cases)
    for rung, n in rungs.items():
        yield f"{n:,} of {rung}, such as {next(c for c in cases if c.startswith(f'{rung}::'))}"


def _change(change: Change) -> str:
    if {change.old, change.new} == {"claimed", "absent"}:
        return change.what
    return f"{change.what}: {change.old} → {change.new}"


def _drift(drift: Drift) -> str:
    ratio = f", {drift.new / drift.old:.2g} times" if drift.old else ""
    return f"{drift.op} {drift.dtype}, {drift.figure}: {drift.old:.4g} → {drift.new:.4g} ulp{ratio}"
