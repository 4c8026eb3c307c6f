"""``portwright certify``: the conformance suite on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..conformance.ladder import Rung
from ..conformance.tiers import SuiteTier
from ..core.errors import ArgumentError, DeviceError
from ..core.tuned import SCHEDULES, drawing
from .screen import ask_passphrase, console, working, write_json

if TYPE_CHECKING:
    from ..conformance.expected import ExpectedFailure
    from ..conformance.journal import Journal, LastRun
    from ..conformance.outcome import CaseResult, Outcome
    from ..conformance.project import Project, Ticks
    from ..conformance.selection import Selection
    from ..conformance.subject import Document, Subject


@click.command()
@click.argument("device")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the certificate here."
)
@click.option(
    "--rung", "rungs", multiple=True, type=click.Choice([r.value for r in Rung]), help="Only this rung."
)
@click.option("-k", "keyword", default="", metavar="EXPR", help="Only cases whose names match, as in pytest.")
@click.option(
    "--tier",
    "share",
    type=click.Choice([t.value for t in SuiteTier]),
    help="How much of the suite: quick (a minute), standard, or full (hours).  [default: standard]",
)
@click.option("--seed", type=int, help="What the samples and random programs depend on.  [default: 0]")
@click.option("--next", "stop", is_flag=True, help="Stop after the first rung that fails.")
@click.option("--resume", is_flag=True, help="Go on with the same run that was cut short.")
@click.option("--last-failed", is_flag=True, help="Only cases that failed in the last run of DEVICE.")
@click.option("--jobs", type=click.IntRange(0), help="Worker processes; 0: in this one.  [default: 1]")
@click.option(
    "--cluster", "scheduler", metavar="ADDRESS", help="Run on the boards of this Dask scheduler's workers."
)
@click.option(
    "--limit", default=120.0, show_default=True, type=click.FloatRange(0.1), help="Seconds for one case."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Write the certificate to standard output, for programs."
)
@click.option(
    "--schedules",
    type=click.IntRange(0),
    metavar="SEED",
    help="Draw the schedule of each kernel by chance, by this seed: tiles, lanes, copies, what is staged.",
)
@click.option(
    "--sanitize", is_flag=True, help="Run the kernels under the port's checker: slow, and sees more."
)
@click.option(
    "--expect",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Expected failures (TOML); without, those of the port's own project.",
)
@click.option(
    "--sign",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Sign the certificate with this private Ed25519 key (PEM or OpenSSH).",
)
@click.option("--badge", type=click.Path(path_type=Path, dir_okay=False), help="Write a badge (SVG) here.")
@click.option(
    "--report",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write certificate, page, badge, JUnit XML and a script for each failure into this folder.",
)
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write JUnit XML here.")
@click.pass_obj
def certify(words: Sequence[str], /, **options: Any) -> int:
    """Run the conformance suite on DEVICE, and say what was seen.

    Exit status: 0 when every case that the port claims passed, 1 when one failed, 2 when it could not run.
    """
    from ..conformance import certificate, checked, journal
    from ..conformance import folder as reports
    from ..conformance.signing import private_key
    from ..conformance.vendor import expected_of

    asked = _Asked(**options)
    _check(asked)
    click.get_current_context().with_resource(drawing(asked.schedules))
    if asked.is_watched:
        watched = checked.find(asked.device)
        if not watched.can_open_here:
            return watched.start_again(words)
        asked = replace(asked, device=watched.name)
    key = asked.sign
    signer = private_key(key, lambda: ask_passphrase(key)) if key is not None else None
    with _place(asked.device, asked.scheduler, asked.jobs) as place:
        if asked.folder is not None:
            reports.prepare(asked.folder)
        expected = expected_of(place.project, asked.expect)
        selection = _selection(asked, place.subject.device)
        kept = journal.open_journal(
            place.subject,
            selection,
            boards=asked.scheduler is not None,
            limit=asked.limit,
            expected=expected,
            resume=asked.resume,
        )
        for line in filter(None, (kept.said, kept.fault)):
            click.echo(line, err=True)
        could_write = not kept.fault

        def sealed(outcome: Outcome) -> Document:
            document = certificate.build(outcome, place.subject)
            return signer.sign(document) if signer is not None else document

        outcome = _climb(asked, place, selection, expected, kept, sealed)
    ticks = place.project.tick(outcome) if place.project is not None else None
    document = sealed(outcome)
    _write(asked, outcome, document)
    if asked.stop or len(outcome.results) == len(outcome.cases):
        kept.finish()  # now that what came of it is written
    if could_write and kept.fault:
        click.echo(kept.fault, err=True)
    if asked.as_json:
        write_json(document)
    else:
        _show(asked, place, outcome, document, ticks)
    return 0 if outcome.passed else 1


@dataclass(frozen=True)
class _Asked:
    """What the command line says: the argument and the options, each under its name there."""

    device: str
    output: Path | None
    rungs: tuple[str, ...]
    keyword: str
    share: str | None
    seed: int | None
    stop: bool
    resume: bool
    last_failed: bool
    jobs: int | None
    scheduler: str | None
    limit: float
    as_json: bool
    schedules: int | None
    sanitize: bool
    expect: Path | None
    sign: Path | None
    badge: Path | None
    junit: Path | None
    folder: Path | None

    @property
    def is_watched(self) -> bool:
        """Whether kernels are run under the port's checker."""
        from ..conformance.checked import is_asked_for

        return self.sanitize or is_asked_for(self.device)


def _check(asked: _Asked) -> None:
    """Refuses what cannot be written, and options that contradict each other.

    Raises:
        ArgumentError: what is wrong, and what to say instead.
    """
    for path in (asked.output, asked.badge, asked.junit):
        if path is not None and not path.absolute().parent.is_dir():
            raise ArgumentError(f"cannot write {path}: there is no folder {path.absolute().parent}")
    if asked.sign is not None and asked.output is None and asked.folder is None and not asked.as_json:
        raise ArgumentError("--sign signs the certificate, which is kept nowhere: say -o FILE, or --json")
    if asked.last_failed and asked.resume:
        raise ArgumentError(
            "--last-failed runs again what failed, --resume what did not run: say one of them"
        )
    if asked.last_failed and (asked.output or asked.badge or asked.as_json or asked.folder):
        raise ArgumentError("--last-failed makes no certificate: leave out -o, --badge, --report and --json")
    if asked.scheduler is not None and asked.jobs is not None:
        raise ArgumentError(
            "--jobs is of this machine: on a cluster a worker takes as many pieces at once as its resources "
            "and threads say"
        )
    if asked.scheduler is not None and asked.schedules is not None:
        raise ArgumentError(
            f"--schedules is of this machine: leave out --cluster, or set {SCHEDULES} where its workers start"
        )
    if asked.scheduler is not None and asked.is_watched:
        raise ArgumentError(
            "a port's checker runs on this machine: leave out --cluster, or what asks for the checker"
        )


def _selection(asked: _Asked, device: str) -> Selection:
    """Which cases; of those that failed last, tier and seed are that run's where the command line has none.

    Raises:
        ArgumentError: when none failed, or no run of the device is known.
    """
    from ..conformance.selection import Selection

    last = _last(device) if asked.last_failed else None
    return Selection(
        rungs=tuple(r for r in Rung if not asked.rungs or r.value in asked.rungs),
        keyword=asked.keyword,
        tier=SuiteTier(asked.share) if asked.share else last.tier if last else SuiteTier.STANDARD,
        seed=asked.seed if asked.seed is not None else last.seed if last else 0,
        only=last.failed if last else None,
        stop=asked.stop,
    )


def _climb(
    asked: _Asked,
    place: _Place,
    selection: Selection,
    expected: Sequence[ExpectedFailure],
    kept: Journal,
    sealed: Callable[[Outcome], Document],
) -> Outcome:
    """Runs the cases that the journal does not have. Of a run that is cut short, the report is written.

    Raises:
        KeyboardInterrupt: when somebody ends it.
        ClusterError: when the boards or their scheduler are lost.
        SuiteError: when the cases could not be run.
    """
    from ..conformance import folder as reports
    from ..conformance import report
    from ..conformance.cluster import ClusterError

    so_far: list[Outcome] = []

    def seen(outcome: Outcome, newest: CaseResult | None) -> None:
        so_far[:] = [outcome]
        shown(outcome, newest)

    with report.progress(place.subject.device) as shown:
        try:
            outcome = place.climb(
                selection,
                limit=asked.limit,
                watch=kept.watching(seen),
                expected=expected,
                done=kept.taken,
            )
        except (KeyboardInterrupt, ClusterError):
            if asked.folder is not None and so_far:
                so_far[0].seconds = round(sum(r.seconds for r in so_far[0].results), 3)
                reports.write(asked.folder, so_far[0], sealed(so_far[0]))
                click.echo(f"report, as far as it came: {asked.folder / reports.PAGE}", err=True)
            if not kept.fault:
                click.echo("what is done is kept: the same command with --resume goes on", err=True)
            raise
    outcome.machines = kept.machines
    outcome.seconds = round(outcome.seconds + kept.seconds, 3)
    return outcome


def _write(asked: _Asked, outcome: Outcome, document: Document) -> None:
    """Certificate, badge, JUnit XML and report, each where it is wanted."""
    from ..conformance import badge, certificate, folder, junit

    if asked.output is not None:
        certificate.save(document, asked.output)
    if asked.badge is not None:
        badge.save(document, asked.badge)
    if asked.junit is not None:
        junit.write(outcome, asked.junit)
    if asked.folder is not None:
        folder.write(asked.folder, outcome, document)


def _show(asked: _Asked, place: _Place, outcome: Outcome, document: Document, ticks: Ticks | None) -> None:
    """The table for people, and where everything is."""
    from ..conformance import folder, report

    out = console()
    report.show(outcome, place.subject.said, out)
    if place.project is not None and ticks is not None:
        out.print(f"{place.project.checklist.name}: {ticks.done} of {ticks.boxes} ticked")
    if asked.output is not None:
        out.print(f"certificate: {asked.output}, sha256 {document['sha256']}")
    if asked.folder is not None:
        out.print(f"report: {asked.folder / folder.PAGE}")
    if asked.sign is not None:
        out.print(f"signed by {document['signature']['public_key']}")
    if asked.stop:
        out.print(report.advice(outcome))


@dataclass(frozen=True)
class _Place:
    """Where cases run: on this machine, or on the boards of a cluster.

    Attributes:
        subject: what is certified there.
        project: that of its port, where it is on this machine.
        climb: ``runner.run``, or what stands for it there.
    """

    subject: Subject
    project: Project | None
    climb: Callable[..., Outcome]


@contextmanager
def _place(device: str, scheduler: str | None, jobs: int | None) -> Iterator[_Place]:
    from ..conformance import runner
    from ..conformance.project import project_of
    from ..conformance.subject import subject_of
    from ..core.registry import open_device, port_of

    if scheduler is None:
        opened = open_device(device)
        climb = partial(runner.run, opened.name, jobs=1 if jobs is None else jobs)
        yield _Place(subject_of(opened), project_of(type(opened)), climb)
        return
    from ..conformance import cluster, shards

    with ExitStack() as stack:
        with working(f"looking for {scheduler}"):
            found = stack.enter_context(cluster.connected(scheduler, device))
            workers = len(found.slots())
        click.echo(
            f"{scheduler}: {workers} worker{'' if workers == 1 else 's'} with {found.resource}", err=True
        )
        with working("asking each what its board is"):
            subject = found.subject()
        try:
            project = project_of(port_of(device))
        except DeviceError:  # the port need not be on this machine
            project = None
        yield _Place(subject, project, partial(shards.climb, found, subject))
        if found.left:
            click.echo(f"workers that left: {', '.join(found.left)}; others ran their cases", err=True)


def _last(device: str) -> LastRun:
    """The last run of a device, of which some cases failed."""
    from ..conformance.journal import last_run

    last = last_run(device)
    if last is None:
        raise ArgumentError(f"no run of {device} is known here: portwright certify {device}")
    if not last.failed:
        raise ArgumentError(f"none of the {last.cases:,} cases of the last run of {device} failed")
    return last
