"""The journal of a run: each finished case as a line on disk, so that a run that was cut short can go on.

One file for each device and selection, in the cache folder. Its first line says which run it is and all that
a certificate says of it once for all cases: port, Portwright, driver, compiler, claims, machine. Results are
taken over only where all of that is the same, so that no certificate mixes what two drivers did. The boards
of a cluster may be on several machines: a line names each when its first result comes. The last line of a run
that was killed may be torn: what follows the last whole line does not count.
"""

from __future__ import annotations

import datetime
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from ..core.cache import cache_folder
from ..core.cache import digest as name_of
from .certificate import Document, canonical
from .expected import ExpectedFailure
from .outcome import FAULTS, CaseResult, Outcome
from .runner import Watcher
from .selection import Selection
from .subject import Subject, differences
from .tiers import SuiteTier

FORMAT = 2
MOST_KEPT = 16
"""Journals of a device that are kept; the oldest go."""
SYNC = 1.0
"""Seconds of results that a power cut may cost."""


@dataclass(frozen=True)
class LastRun:
    """What a journal tells of the last run of a device.

    Attributes:
        started: when, in UTC.
        tier, seed: what it was of.
        cases: how many have a result.
        failed: those that did not do what the port claims, and such as were run again and not reached.
    """

    started: str
    tier: SuiteTier
    seed: int
    cases: int
    failed: frozenset[str]


@dataclass(frozen=True)
class _Kept:
    """A journal as it was read: up to its last whole line."""

    header: Document
    results: tuple[CaseResult, ...]
    machines: tuple[Document, ...]
    seconds: float
    finished: bool
    length: int


class Journal:
    """The journal of a run that is under way.

    Attributes:
        taken: the results of the run that was cut short and goes on; none of a new one.
        machines: those of a cluster that they come from.
        seconds: how long that had run.
        said: what became of an earlier journal, in a line; "" where there is nothing to say.
        fault: why nothing is kept, in a line; "" while all is.
    """

    def __init__(
        self,
        path: Path,
        header: Document,
        taken: Sequence[CaseResult],
        machines: Sequence[Document],
        seconds: float,
        said: str,
    ) -> None:
        self.taken = tuple(taken)
        self.machines = list(machines)
        self.seconds = seconds
        self.said = said
        self.fault = ""
        self._path = path
        self._header = header
        self._start = time.monotonic()
        self._synced = self._start
        self._file: BinaryIO | None = None

    def open(self, length: int) -> None:
        """Goes on behind the first ``length`` bytes of what is there; 0: begins anew."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if length:
                os.truncate(self._path, length)
            else:
                beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
                beside.write_bytes(_line(self._header))
                beside.replace(self._path)
            self._file = self._path.open("ab")
        except OSError as e:
            self._give_up(e)

    def keep(self, result: CaseResult) -> None:
        """Writes a result."""
        seconds = round(self.seconds + time.monotonic() - self._start, 3)
        self._write({"case": asdict(result), "seconds": seconds})

    def watching(self, watch: Watcher) -> Watcher:
        """One who keeps each result, and then has ``watch`` see it."""

        def both(outcome: Outcome, newest: CaseResult | None) -> None:
            for machine in [m for m in outcome.machines if m not in self.machines]:
                self.machines.append(machine)
                self._write({"machine": machine})
            if newest is not None:
                self.keep(newest)
            watch(outcome, newest)

        return both

    def finish(self) -> None:
        """Closes it: the run came to its end, and there is nothing to go on with. Others are less needed."""
        self._write({"finished": True})
        if self._file is not None:
            self._file.close()
            self._file = None
            _tidy(self._header["device"], self._path)

    def _write(self, line: Document) -> None:
        if self._file is None:
            return
        try:
            self._file.write(_line(line))
            self._file.flush()
            if time.monotonic() - self._synced > SYNC:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as e:
            self._give_up(e)

    def _give_up(self, cause: OSError) -> None:
        self._file = None
        self.fault = f"no journal is kept, for --resume and --last-failed: {self._path}: {cause.strerror}"


def open_journal(
    subject: Subject,
    selection: Selection,
    *,
    boards: bool = False,
    limit: float,
    expected: Sequence[ExpectedFailure] = (),
    resume: bool = False,
) -> Journal:
    """The journal of a run that begins, or goes on where one like it was cut short.

    Args:
        subject: what is certified: on this machine, or on the boards of a cluster.
        selection: what is run. A climb that stops at a rung has the journal of the one that does not.
        boards: whether a cluster's boards run it, on whichever machines they are.
        limit, expected: as in ``runner.run``: other ones would have given other results.
        resume: whether to take over what such a run has done.
    """
    which = _which(selection, boards)
    path = _folder() / f"{_device_key(subject.device)}-{name_of(canonical(which))[:16]}.jsonl"
    kept = _read(path)
    header = _header(subject, which, limit, expected)
    taken: tuple[CaseResult, ...] = ()
    machines: tuple[Document, ...] = ()
    seconds, length = 0.0, 0
    if kept is None or kept.finished:
        said = "no run of this selection was cut short: all of it is run" if resume else ""
    elif not resume:
        said = (
            f"the run of {kept.header['started']}, cut short after {len(kept.results):,} cases, is given up"
        )
    else:
        differs = list(differences(kept.header["once"], header["once"], "changed"))
        if differs:
            said = f"the journal of {kept.header['started']} is void, and all is run: {'; '.join(differs)}"
        else:
            taken, machines, seconds, length = kept.results, kept.machines, kept.seconds, kept.length
            said = f"{len(taken):,} cases are taken over from the run of {kept.header['started']}"
    journal = Journal(path, header, taken, machines, seconds, said)
    journal.open(length)
    return journal


def last_run(device: str) -> LastRun | None:
    """What the newest journal of a device that holds a result tells; None where there is none."""
    for path in reversed(_journals(device)):
        kept = _read(path)
        if kept is None or not kept.results:
            continue
        selection = kept.header["selection"]
        failed = {r.id for r in kept.results if r.outcome in FAULTS}
        if selection["only"] is not None and not kept.finished:
            failed |= set(selection["only"]) - {r.id for r in kept.results}
        return LastRun(
            kept.header["started"],
            SuiteTier(selection["tier"]),
            selection["seed"],
            len(kept.results),
            frozenset(failed),
        )
    return None


def _folder() -> Path:
    return cache_folder() / "journals"


def _device_key(device: str) -> str:
    return name_of(device)[:16]


def _journals(device: str) -> list[Path]:
    """Those of a device, the oldest first."""
    found = []
    for path in _folder().glob(f"{_device_key(device)}-*.jsonl"):
        try:
            found.append((path.stat().st_mtime_ns, path))
        except OSError:
            continue  # another process was quicker
    return [path for _, path in sorted(found)]


def _tidy(device: str, kept: Path) -> None:
    """Removes what the run that ended makes useless: finished journals, and the oldest of too many."""
    others = [path for path in _journals(device) if path != kept]
    finished = [path for path in others if (read := _read(path)) is None or read.finished]
    unfinished = [path for path in others if path not in finished]
    for path in finished + unfinished[: max(0, len(unfinished) - MOST_KEPT)]:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            return  # a folder that cannot be written shows itself when a journal is opened


def _which(selection: Selection, boards: bool) -> Document:
    """Which run a journal is of, with the device's name: what the first line says of the selection."""
    return {
        "tier": selection.tier.value,
        "seed": selection.seed,
        "rungs": [r.value for r in selection.rungs],
        "keyword": selection.keyword,
        "only": None if selection.only is None else sorted(selection.only),
        "boards": boards,
    }


def _header(subject: Subject, which: Document, limit: float, expected: Sequence[ExpectedFailure]) -> Document:
    """The first line."""
    today = datetime.date.today()
    return {
        "journal": FORMAT,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": subject.device,
        "selection": which,
        "once": {
            **(subject.common if which["boards"] else subject.whole),
            "limit": str(limit),
            "expected failures": [[e.cases, e.reason, str(e.expires), e.is_over(today)] for e in expected],
        },
    }


def _line(document: Document) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _read(path: Path) -> _Kept | None:
    """A journal up to its last whole line; None where there is none, or none of this form."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    header: Document | None = None
    results: dict[str, CaseResult] = {}
    machines: list[Document] = []
    seconds, finished, length = 0.0, False, 0
    for line in data.splitlines(keepends=True):
        try:
            document = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            document = None
        if not isinstance(document, dict):
            break  # torn by a crash or a power cut: this line and what follows it
        if header is None:
            if document.get("journal") != FORMAT:
                return None
            header = document
        elif "case" in document:
            result = CaseResult.read(document["case"])
            results[result.id] = result
            seconds = document["seconds"]
        elif "machine" in document:
            machines.append(document["machine"])
        else:
            finished = True
        length += len(line)
    if header is None:
        return None
    return _Kept(header, tuple(results.values()), tuple(machines), seconds, finished, length)
