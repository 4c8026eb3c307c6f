"""``portwright certify``: the conformance suite on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..conformance.ladder import Rung
from ..conformance.tiers import SuiteTier
from ..core.errors import ArgumentError, DeviceError
from .screen import ask_passphrase, console, working, write_json

if TYPE_CHECKING:
    from ..conformance.journal import LastRun
    from ..conformance.outcome import CaseResult, Outcome
    from ..conformance.project import Project
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
def certify(
    words: Sequence[str],
    device: str,
    output: Path | None,
    rungs: tuple[str, ...],
    keyword: str,
    share: str | None,
    seed: int | None,
    stop: bool,
    resume: bool,
    last_failed: bool,
    jobs: int | None,
    scheduler: str | None,
    limit: float,
    as_json: bool,
    sanitize: bool,
    expect: Path | None,
    sign: Path | None,
    badge: Path | None,
    junit: Path | None,
    folder: Path | None,
) -> int:
    """Run the conformance suite on DEVICE, and say what was seen.

    Exit status: 0 when every case that the port claims passed, 1 when one failed, 2 when it could not run.
    """
    from ..conformance import badge as picture
    from ..conformance import certificate, checked, journal, report
    from ..conformance import folder as reports
    from ..conformance import junit as xml
    from ..conformance.cluster import ClusterError
    from ..conformance.selection import Selection
    from ..conformance.signing import private_key
    from ..conformance.vendor import expected_of

    for path in (output, badge, junit):
        if path is not None and not path.absolute().parent.is_dir():
            raise ArgumentError(f"cannot write {path}: there is no folder {path.absolute().parent}")
    if sign is not None and output is None and folder is None and not as_json:
        raise ArgumentError("--sign signs the certificate, which is kept nowhere: say -o FILE, or --json")
    if last_failed and resume:
        raise ArgumentError(
            "--last-failed runs again what failed, --resume what did not run: say one of them"
        )
    if last_failed and (output or badge or as_json or folder):
        raise ArgumentError("--last-failed makes no certificate: leave out -o, --badge, --report and --json")
    if scheduler is not None and jobs is not None:
        raise ArgumentError(
            "--jobs is of this machine: on a cluster a worker takes as many pieces at once as its resources "
            "and threads say"
        )
    if scheduler is not None and (sanitize or checked.is_asked_for(device)):
        raise ArgumentError(
            "a port's checker runs on this machine: leave out --cluster, or what asks for the checker"
        )
    if sanitize or checked.is_asked_for(device):
        watched = checked.find(device)
        if not watched.can_open_here:
            return watched.start_again(words)
        device = watched.name
    signer = private_key(sign, lambda: ask_passphrase(sign)) if sign is not None else None
    with _place(device, scheduler, jobs) as place:
        name = place.subject.device
        if folder is not None:
            reports.prepare(folder)
        expected = expected_of(place.project, expect)
        chosen = tuple(r for r in Rung if not rungs or r.value in rungs)
        last = _last(name) if last_failed else None
        tier = SuiteTier(share) if share else last.tier if last else SuiteTier.STANDARD
        seed = seed if seed is not None else last.seed if last else 0
        selection = Selection(chosen, keyword, tier, seed, last.failed if last else None, stop)
        kept = journal.open_journal(
            place.subject,
            selection,
            boards=scheduler is not None,
            limit=limit,
            expected=expected,
            resume=resume,
        )
        for line in filter(None, (kept.said, kept.fault)):
            click.echo(line, err=True)
        could_write = not kept.fault
        so_far: list[Outcome] = []

        def sealed(outcome: Outcome) -> Document:
            document = certificate.build(outcome, place.subject)
            return signer.sign(document) if signer is not None else document

        def seen(outcome: Outcome, newest: CaseResult | None) -> None:
            so_far[:] = [outcome]
            shown(outcome, newest)

        with report.progress(name) as shown:
            try:
                outcome = place.climb(
                    selection,
                    limit=limit,
                    watch=kept.watching(seen),
                    expected=expected,
                    done=kept.taken,
                )
            except (KeyboardInterrupt, ClusterError):
                if folder is not None and so_far:
                    so_far[0].seconds = round(sum(r.seconds for r in so_far[0].results), 3)
                    reports.write(folder, so_far[0], sealed(so_far[0]))
                    click.echo(f"report, as far as it came: {folder / reports.PAGE}", err=True)
                if not kept.fault:
                    click.echo("what is done is kept: the same command with --resume goes on", err=True)
                raise
    outcome.machines = kept.machines
    outcome.seconds = round(outcome.seconds + kept.seconds, 3)
    project = place.project
    ticks = project.tick(outcome) if project is not None else None
    document = sealed(outcome)
    if output is not None:
        certificate.save(document, output)
    if badge is not None:
        picture.save(document, badge)
    if junit is not None:
        xml.write(outcome, junit)
    if folder is not None:
        reports.write(folder, outcome, document)
    if stop or len(outcome.results) == len(outcome.cases):
        kept.finish()  # now that what came of it is written
    if could_write and kept.fault:
        click.echo(kept.fault, err=True)
    if as_json:
        write_json(document)
    else:
        out = console()
        report.show(outcome, place.subject.said, out)
        if project is not None and ticks is not None:
            out.print(f"{project.checklist.name}: {ticks.done} of {ticks.boxes} ticked")
        if output is not None:
            out.print(f"certificate: {output}, sha256 {document['sha256']}")
        if folder is not None:
            out.print(f"report: {folder / reports.PAGE}")
        if signer is not None:
            out.print(f"signed by {signer.public}")
        if stop:
            out.print(report.advice(outcome))
    return 0 if outcome.passed else 1


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
