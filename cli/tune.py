"""``portwright tune``: a script is run, then each of its kernels is measured under other schedules."""

from __future__ import annotations

import os
import runpy
import sys
import time
import traceback
from math import prod

import click
from rich.table import Table

from ..core import engine
from ..core.decisions import USUAL, Stated
from ..core.device import Device
from ..core.errors import DeviceError
from ..core.pipeline import Stages, rescheduled
from ..core.tune import Tuning, can_be_tuned, state
from ..core.tune import tune as search
from ..core.work import weight
from .screen import console, working


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--seconds", default=120.0, show_default=True, type=click.FloatRange(1), help="For the whole search."
)
@click.option("--kernel", "name", default="", metavar="TEXT", help="Only kernels with this in their name.")
@click.option(
    "--answers",
    metavar="TEXT",
    help="No search: keep this schedule, such as 'rows of i0: 6, vectors of i1: 1', if it is right.",
)
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def tune(seconds: float, name: str, answers: str | None, script: str, arguments: tuple[str, ...]) -> int:
    """Search for the fastest schedules of the kernels that SCRIPT runs, and keep them.

    SCRIPT is run first, with its ARGUMENTS, as Python would. Then its kernels, those with the most work
    first, are each scheduled in other ways. These run in a process of their own beside the usual way, on
    numbers drawn by chance. What computes anything else is refused; what is surely faster is used from then
    on (PORTWRIGHT_TUNED=0 does without). What is kept lies in the compile cache.

    DEBUG=3 prints the decisions of each kernel's schedule. --answers states some of them, for the kernels
    that --kernel names; 'as it is' goes back to the usual ones.
    """
    stated = Stated.parse(answers) if answers is not None else None
    _run(script, arguments)
    kernels = [(d, s) for d, s in engine.planned() if name in s.name and can_be_tuned(s, d)]
    kernels.sort(key=lambda found: -weight(found[1].fresh))
    screen = console()
    if not kernels:
        screen.print("No kernel ran that can be tuned: there was none, or there is but one way to run them.")
        return 1
    count = "1 kernel" if len(kernels) == 1 else f"{len(kernels)} kernels"
    screen.print(count if stated is not None else f"{count}, {seconds:.0f} s at most")
    end = time.monotonic() + seconds
    if stated is not None:
        done = [_stated(s, d, stated) for d, s in kernels]
    else:
        found = (_tuned(s, d, end, len(kernels) - i) for i, (d, s) in enumerate(kernels))
        done = [t for t in found if t is not None]
    if done:
        screen.print(_table(done))
    if len(done) < len(kernels):
        screen.print(f"There was no time for {len(kernels) - len(done)} of them: give more by --seconds.")
    return 0


def _run(script: str, arguments: tuple[str, ...]) -> None:
    """As ``python SCRIPT ARGUMENTS``; its leaving by sys.exit ends the script alone."""
    before, path = sys.argv, list(sys.path)
    sys.argv = [script, *arguments]
    sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as e:
        if e.code not in (None, 0):
            raise click.ClickException(f"{script} ended with {e.code}: nothing is tuned") from None
    except Exception as e:
        traceback.print_exc()
        raise click.ClickException(f"{script} raised {type(e).__name__}: nothing is tuned") from None
    finally:
        sys.argv, sys.path[:] = before, path


def _tuned(stages: Stages, device: Device, end: float, left: int) -> Tuning | None:
    """One kernel, in its share of the time that is left, a larger one for those that come first."""
    now = time.monotonic()
    if now >= end:
        return None
    until = now + min(end - now, 3 * (end - now) / (left + 2))
    try:
        with working(f"{stages.name} on {device.name}"):
            return search(stages, device, until)
    except DeviceError as e:
        click.echo(f"{e}: it stays as it is", err=True)
        return Tuning(stages.name, USUAL)


def _stated(stages: Stages, device: Device, answers: Stated) -> Tuning:
    """One kernel by the schedule that is asked for; why not, where it computes anything else."""
    unknown = {a.what for a in answers.answers} - {
        d.what for d in rescheduled(stages, device, answers).scheduled.decisions
    }
    for what in sorted(unknown):
        click.echo(f"{stages.name}: nobody asks for {what!r}", err=True)
    with working(f"{stages.name} on {device.name}"):
        made = state(stages, device, answers)
    for candidate in made.tried:
        if candidate.fault:
            click.echo(f"{stages.name}: {candidate.fault}: it stays as it is", err=True)
    return made


def _table(done: list[Tuning]) -> Table:
    table = Table("kernel", "tried", "refused", "best", "times as fast", box=None, pad_edge=False)
    for t in done:
        refused = sum(bool(c.fault) for c in t.tried)
        table.add_row(t.name, str(len(t.tried)), str(refused), str(t.best), f"{1 / t.ratio:.2f}")
    mean = prod(1 / t.ratio for t in done) ** (1 / len(done))
    table.add_section()
    table.add_row("geometric mean", "", "", "", f"{mean:.2f}")
    return table
