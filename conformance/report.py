"""A climb for people: a bar while it runs, then what failed and a table by rung."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ..core.device import Reach
from ..core.dtype import ALL
from .certificate import timings
from .outcome import CaseResult, Outcome, RungSummary
from .roofline import jobs
from .runner import Watcher
from .speed import by_name
from .speed import said as words
from .subject import Document
from .teach import WRITE
from .tiers import SuiteTier

MOST_FAILURES = 10


@contextmanager
def progress(device: str) -> Iterator[Watcher]:
    """A bar on standard error that the runner moves; silent where that is no terminal."""
    console = Console(file=sys.stderr)  # this one, whatever stderr is made to be while cases run
    bar = Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not console.is_terminal,
    )
    task = bar.add_task(device, total=None, failed="")

    def watch(outcome: Outcome, newest: CaseResult | None) -> None:
        failures = len(outcome.failures)
        bar.update(
            task,
            total=len(outcome.cases),
            completed=len(outcome.results),
            description=device if newest is None else f"{device} {newest.rung.value}",
            failed=Text(f"{failures} failed", style="red") if failures else "",
            refresh=True,
        )

    with bar:
        yield watch


def show(outcome: Outcome, said: Document, console: Console) -> None:
    """Prints the failures, the table, what of the contract is native, and the verdict.

    What fails for one reason is printed once; of a climb that stops, the first such reason alone.

    Args:
        outcome: the climb.
        said: what the certificate says of the device: ``Subject.said``.
        console: where.
    """
    most = 1 if outcome.selection.stop else MOST_FAILURES
    groups = _alike(outcome.failures)
    for results in groups[:most]:
        first = results[0]
        console.print(Text(f"{first.outcome.upper()} {first.id}", style="bold red"))
        console.print(Text(first.message), soft_wrap=True)  # paths and commands stay whole
        if len(results) > 1:
            console.print(Text(f"  and {len(results) - 1} more cases fail for the same reason"))
        console.print()
    hidden = sum(map(len, groups[most:]))
    if hidden:
        console.print(Text(f"… and {hidden} more cases that failed; the certificate lists them\n"))
    console.print(table(outcome))
    console.print(Text(coverage(said)))
    checker = said["spec"]["checker"]
    if checker is not None:
        console.print(Text(f"watched by {checker['tool']}: {checker['finds']}"))
    if "schedules" in said:
        console.print(Text(f"the schedules of kernels were drawn by chance, by seed {said['schedules']}"))
    for line in speed_lines(outcome):
        console.print(Text(line))
    console.print(verdict(outcome))


def _alike(failures: Sequence[CaseResult]) -> list[list[CaseResult]]:
    """Failures by what they have in common, in the order in which they came; the shortest first of each."""
    groups: dict[str, list[CaseResult]] = {}
    for result in failures:
        groups.setdefault(result.alike or result.id, []).append(result)
    return [sorted(group, key=lambda r: len(r.message)) for group in groups.values()]


def advice(outcome: Outcome) -> Text:
    """What to do next, after a climb that stops at the first rung that wants work."""
    name, asked = outcome.device, outcome.selection.tier
    tier = "" if asked is SuiteTier.STANDARD else f" --tier {asked.value}"
    if outcome.failures:
        first = _alike(outcome.failures)[0][0]
        todo = first.alike if first.alike.startswith(WRITE) else f"mend {first.id}"
        said = f"{todo}, then: portwright certify {name} --next{tier}"
    elif outcome.complete and asked is SuiteTier.QUICK:
        said = f"the whole suite: portwright certify {name} --next"
    elif outcome.complete:
        said = f"keep the certificate: portwright certify {name} -o {name.replace(':', '-').lower()}.json"
    else:
        said = f"the rest of the ladder: portwright certify {name} --next{tier}"
    return Text(f"next: {said}", style="bold")


def table(outcome: Outcome) -> Table:
    """One row a rung."""
    made = Table(box=None, pad_edge=False)
    made.add_column("rung")
    headings = ["cases", "passed", "failed", "unclaimed", "worst ulp"]
    if outcome.expected:
        headings.insert(3, "expected")
    for heading in headings:
        made.add_column(heading, justify="right")
    made.add_column("")
    for row in outcome.summary():
        ulp = "" if row.worst_ulp is None else f"{row.worst_ulp:.3f}"
        expected = [row.expected] if outcome.expected else []
        cells = [str(n) for n in (row.cases, row.passed, row.failed, *expected, row.unclaimed)]
        made.add_row(row.rung.value, *cells, ulp, _state(row))
    return made


def coverage(said: Document) -> str:
    """What of the contract a device has itself, and what is built of that or runs on the host."""
    spec, primitives = said["spec"], said["primitives"]
    rest = "host" if spec["reach"] == Reach.DISPATCH.value else "legalized"
    part = f" ({len(spec['native_on'])} of them on some dtypes)" if spec["native_on"] else ""
    own, held = len(spec["arithmetic"]), len(spec["dtypes"])
    return (
        f"primitives: native {primitives['native']}/{primitives['total']}{part}, "
        f"{rest} {primitives['legalized'] + primitives['host']}/{primitives['total']}; "
        f"dtypes: native {own}/{len(ALL)}, {rest} {held - own}/{len(ALL)}"
    )


def speed_lines(outcome: Outcome) -> list[str]:
    """The device's limits, and the kernels by their share of what these allow."""
    speed = by_name(timings(outcome))
    lines = words(speed)
    shares = [f"{job.name} {job.share}" for job in jobs(speed) if job.share]
    if shares:
        lines.append(f"share of that: {', '.join(shares)}")
    return [f"speed: {line}" for line in lines]


def verdict(outcome: Outcome) -> Text:
    """One line: did it pass, and what to do next."""
    rows = outcome.summary()
    passed, cases = sum(r.passed for r in rows), sum(r.cases for r in rows)
    said = f"{outcome.device}: {passed:,} of {cases:,} cases passed in {outcome.seconds:.1f} s"
    if outcome.passed:
        tier = outcome.selection.tier
        less = [] if tier is SuiteTier.STANDARD else [f"the {tier.value} tier"]
        less += [] if outcome.complete else ["a part of the ladder"]
        part = f" ({', '.join(less)})" if less else ""
        if outcome.expected:
            but = f" but for {len(outcome.expected)} expected failures"
            return Text(f"{said}: certified{but}{part}", style="bold yellow")
        return Text(f"{said}: certified{part}", style="bold green")
    rung = next((r.rung for r in rows if r.failed), None)
    first = (
        f"; the first failing rung is {rung.value}: {rung.shows}" if rung else "; not every case could be run"
    )
    return Text(f"{said}{first}", style="bold red")


def _state(row: RungSummary) -> Text:
    if not row.reached:
        return Text("not reached", style="dim")
    if not row.holds:
        return Text("failed", style="red")
    if row.expected:
        return Text("as expected", style="yellow")
    return Text("passed", style="green") if row.passed else Text("unclaimed", style="dim")
