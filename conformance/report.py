"""A climb for people: a bar while it runs, then what failed and a table by rung."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ..core.device import Reach, Spec
from ..core.dtype import ALL
from ..core.ops import ALL_OPS
from .outcome import CaseResult, Outcome, RungSummary
from .runner import Watcher

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


def show(outcome: Outcome, spec: Spec, console: Console) -> None:
    """Prints the failures, the table, what of the contract is native, and the verdict."""
    for result in outcome.failures[:MOST_FAILURES]:
        console.print(Text(f"{result.outcome.upper()} {result.id}", style="bold red"))
        console.print(Text(result.message + "\n"))
    hidden = len(outcome.failures) - MOST_FAILURES
    if hidden > 0:
        console.print(Text(f"… and {hidden} more that failed; the certificate lists them\n"))
    console.print(table(outcome))
    console.print(Text(coverage(spec)))
    if spec.checker is not None:
        console.print(Text(f"watched by {spec.checker.tool}: {spec.checker.finds}"))
    console.print(verdict(outcome))


def table(outcome: Outcome) -> Table:
    """One row a rung."""
    made = Table(box=None, pad_edge=False)
    made.add_column("rung")
    for heading in ("cases", "passed", "failed", "unclaimed", "worst ulp"):
        made.add_column(heading, justify="right")
    made.add_column("")
    for row in outcome.summary():
        ulp = "" if row.worst_ulp is None else f"{row.worst_ulp:.3f}"
        cells = [str(n) for n in (row.cases, row.passed, row.failed, row.unclaimed)]
        made.add_row(row.rung.value, *cells, ulp, _state(row))
    return made


def coverage(spec: Spec) -> str:
    """What of the contract the device has itself, and what is built of that or runs on the host."""
    total = len(ALL_OPS)
    rest = "host" if spec.reach is Reach.DISPATCH else "legalized"
    part = f" ({len(spec.native_on)} of them on some dtypes)" if spec.native_on else ""
    own, held = len(spec.arithmetic), len(spec.dtypes)
    return (
        f"primitives: native {len(spec.native)}/{total}{part}, "
        f"{rest} {len(spec.legalized | spec.on_host)}/{total}; "
        f"dtypes: native {own}/{len(ALL)}, {rest} {held - own}/{len(ALL)}"
    )


def verdict(outcome: Outcome) -> Text:
    """One line: did it pass, and what to do next."""
    rows = outcome.summary()
    passed, cases = sum(r.passed for r in rows), sum(r.cases for r in rows)
    said = f"{outcome.device}: {passed:,} of {cases:,} cases passed in {outcome.seconds:.1f} s"
    if outcome.passed:
        part = "" if outcome.complete else " (a part of the ladder)"
        return Text(f"{said}: certified{part}", style="bold green")
    rung = next((r.rung for r in rows if r.failed), None)
    first = (
        f"; the first failing rung is {rung.value}: {rung.shows}" if rung else "; not every case could be run"
    )
    return Text(f"{said}{first}", style="bold red")


def _state(row: RungSummary) -> Text:
    if not row.cases or row.not_reached == row.cases:
        return Text("not reached", style="dim")
    if row.failed or row.not_reached:
        return Text("failed", style="red")
    return Text("passed", style="green") if row.passed else Text("unclaimed", style="dim")
