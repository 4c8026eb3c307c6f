"""Climbing the ladder: the cases are run by pytest, in a worker of their own, and their outcomes gathered."""

from __future__ import annotations

import contextlib
import datetime
import io
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ..core import registry
from ..core.device import Device
from ..core.errors import PortwrightError
from .case import PATIENCE
from .expected import ExpectedFailure
from .ladder import SUITE, Rung, again, rung_of
from .outcome import CRASHED, EXPECTED, FAILED, FAULTS, HUNG, PASSED, UNCLAIMED, CaseResult, Outcome
from .plugin import RECORD, TIMING, case_id
from .selection import Selection
from .teach import ALIKE
from .tell import SCRIPT, refuge_of

PLUGIN = "portwright.conformance.plugin"
DEFAULT_LIMIT = 120.0
MOST_WORDS = 30
MOST_CRASHES = 50
"""Workers that may die before the rest of the cases are given up."""
MOST_FAILED = 20
"""Cases of a rung that may fail before the rest of it is left, in a climb that stops."""
MOST_LAST_WORDS = 16
"""Lines that are kept of what a device says when it ends a worker."""
_OUTER_CALLER = re.compile(r"\s*#([2-9]|\d\d+) ")
"""A line of a stack that is far from the kernel: Python's own."""
NOT_NEEDED = (
    "cacheprovider",
    "faulthandler",
    "unraisableexception",
    "threadexception",
    "warnings",
    "doctest",
    "unittest",
)
"""Plugins of pytest that leave files, fill the terminal, or look for what the suite has none of."""


class SuiteError(PortwrightError, RuntimeError):
    """The suite could not run: nothing was learned about the port."""


Watcher = Callable[[Outcome, CaseResult | None], None]


class Recorder:
    """The pytest plugin on the side that reports: gathers cases and outcomes, and tells who watches."""

    def __init__(
        self,
        outcome: Outcome,
        limit: float,
        watch: Watcher | None,
        last_words: Path,
        expected: Sequence[ExpectedFailure],
    ) -> None:
        self.outcome = outcome
        self.expected = expected
        self.limit = limit
        self.watch = watch
        self.last_words = last_words
        self.patience = PATIENCE
        self.errors: list[str] = []
        self.interrupted = False
        self._known = set(outcome.cases)
        self._started: dict[str, float] = {}

    def select(self, case: str) -> None:
        """A case that is to be run, or that a result is known of."""
        if case not in self._known:
            self._known.add(case)
            self.outcome.cases.append(case)

    def _collected(self, nodeids: Sequence[str]) -> None:
        for nodeid in nodeids:
            self.select(case_id(nodeid))
        if self.watch is not None:
            self.watch(self.outcome, None)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """What a worker found."""
        self._collected(ids)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """What was found without workers."""
        self._collected([item.nodeid for item in session.items])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file of the suite that cannot be read is the suite's fault."""
        if report.failed:
            self.errors.append(report.longreprtext)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Told apart: somebody's ctrl-C, and pytest's own end after too many crashes."""
        self.interrupted = type(excinfo.value) is KeyboardInterrupt

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        """The clock of a case, for telling a hang from a crash."""
        self._started[nodeid] = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of a case: its call, or a setup or teardown that did not pass."""
        if report.when != "call" and report.passed:
            return
        if "::" not in report.nodeid:
            return
        ran = time.monotonic() - self._started.get(report.nodeid, time.monotonic())
        crashed = str(report.when) == "???"  # xdist's report of a worker that died
        kept = self._kept(report) if crashed else ""
        outcome = PASSED
        if report.skipped:
            outcome = UNCLAIMED
        elif kept:
            outcome = FAILED
        elif crashed:
            outcome = HUNG if ran >= self.limit else CRASHED
        elif report.failed:
            outcome = HUNG if "Timeout" in report.longreprtext and ran >= self.limit else FAILED
        properties = dict(report.user_properties)
        records, timing = properties.get(RECORD, ()), properties.get(TIMING)
        result = CaseResult(
            case_id(report.nodeid),
            outcome,
            round(report.duration if not crashed else ran, 4),
            self._message(report, outcome, kept),
            tuple(records) if isinstance(records, (list, tuple)) else (),
            str(properties.get(ALIKE, "")),
            dict(timing) if isinstance(timing, dict) else None,
            str(properties.get(SCRIPT, "")),
        )
        result = as_expected(result, self.expected, datetime.date.today())
        self.outcome.results.append(result)
        if self.watch is not None:
            self.watch(self.outcome, result)

    def _message(self, report: pytest.TestReport, outcome: str, kept: str) -> str:
        if outcome == PASSED:
            return ""
        if outcome == UNCLAIMED:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            return reason.removeprefix("Skipped: ")
        if outcome == FAILED and not kept:
            lines = report.longreprtext.splitlines()
            return "\n".join(line for line in lines if not line.startswith("[gw"))  # which worker is no news
        what = {
            FAILED: f"{kept}\n  the process ended when a smaller program was tried",
            CRASHED: "the process that ran the case died: a kernel or the driver crashed",
            HUNG: f"the case ran past its limit of {self.limit:g} s",
        }[outcome]
        seed = self.outcome.selection.seed
        command = again(self.outcome.device, case_id(report.nodeid), seed)
        said = "".join(f"    {line}\n" for line in self._said_by(report))
        return f"{what}\n{said}  seed       {seed}\n  again      {command}"

    def _kept(self, report: pytest.TestReport) -> str:
        """What a worker that died had already found, when it died of looking further."""
        worker = getattr(report, "node", None)
        if worker is None:
            return ""
        path = refuge_of(self.last_words, worker.gateway.id)
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def _said_by(self, report: pytest.TestReport) -> list[str]:
        """What the device wrote before it ended the worker that ran a case."""
        worker = getattr(report, "node", None)  # xdist's; none of a case that ran in this process
        if worker is None:
            return []
        said = [p.read_text(errors="replace") for p in sorted(self.last_words.glob(f"{worker.gateway.id}.*"))]
        lines = [line.rstrip() for line in "\n".join(said).splitlines() if line.strip("= \n")]
        return [line for line in lines if not _OUTER_CALLER.match(line)][:MOST_LAST_WORDS]


def run(
    device: str | Device,
    selection: Selection,
    *,
    jobs: int = 1,
    limit: float = DEFAULT_LIMIT,
    watch: Watcher | None = None,
    expected: Sequence[ExpectedFailure] = (),
    done: Sequence[CaseResult] = (),
) -> Outcome:
    """Climbs the ladder.

    Args:
        device: a name; or an opened device, which is then run in this process, known by its name meanwhile.
        selection: which cases.
        jobs: processes that run cases; 0 runs them in this one, where a crash is the end of everything.
        limit: seconds that a case may take.
        watch: called with the outcome so far and the newest result (None when cases were found).
        expected: the failures that the port is known for.
        done: results that are known already: cases of the selection that are not run again.

    Raises:
        DeviceError: when there is no such device, or it does not open.
        SuiteError: when the cases could not be run, with pytest's own words.
    """
    if isinstance(device, Device):
        with registry.adopted(device):
            return run(device.name, selection, jobs=0, limit=limit, watch=watch, expected=expected, done=done)
    outcome = Outcome(registry.open_device(device).name, selection)
    start = time.monotonic()
    chosen = collect(selection) if done or selection.only is not None else None
    for group in selection.groups:
        workers = min(jobs, 1) if group[0].is_alone else jobs
        with tempfile.TemporaryDirectory(prefix="portwright-") as folder:
            recorder = Recorder(outcome, limit, watch, Path(folder), expected)
            if chosen is None:
                _run(recorder, group, workers)
            else:
                _run_rest(recorder, group, workers, [c for c in chosen if rung_of(c) in group], done)
        if outcome.failures and selection.stop:
            break
    return settled(outcome, start)


def settled(outcome: Outcome, start: float) -> Outcome:
    """A climb that came to its end: its results in the order of its cases, and how long it took.

    Args:
        outcome: what came of it.
        start: when it began, by ``time.monotonic``.

    Raises:
        SuiteError: when it had no cases.
    """
    place = {case: i for i, case in enumerate(outcome.cases)}
    outcome.results.sort(key=lambda r: place[r.id])  # whichever worker was first, and in whichever run
    outcome.seconds = round(time.monotonic() - start, 3)
    if not outcome.cases:
        asked = outcome.selection
        which = "" if asked.only is None else f" of the {len(asked.only)} that were named"
        what = f"matches -k {asked.keyword!r}" if asked.keyword else "is"
        rungs = ", ".join(r.value for r in asked.rungs)
        raise SuiteError(f"no case{which} {what} in {rungs} of the {asked.tier.value} tier")
    return outcome


def collect(selection: Selection) -> list[str]:
    """The names of the cases that are selected, in order; none is run and no device opened.

    Raises:
        SuiteError: when the cases could not be read, or ``keyword`` is no expression.
    """
    outcome, only = Outcome("", selection), selection.only
    _run(Recorder(outcome, DEFAULT_LIMIT, None, Path(), ()), selection.rungs, jobs=0, dry=True)
    return [case for case in outcome.cases if only is None or case in only]


def as_expected(result: CaseResult, expected: Sequence[ExpectedFailure], today: datetime.date) -> CaseResult:
    """A result in the light of the expected failures: expected, failed since it passed, or as it was."""
    entry = next((e for e in expected if e.covers(result.id)), None)
    if entry is None or result.outcome == UNCLAIMED:
        return result
    if result.outcome == PASSED:
        said = f"it passes, and is expected to fail ({entry.reason}): take {entry.cases!r} out of the list"
        return replace(result, outcome=FAILED, message=said)
    assert result.outcome in FAULTS
    if entry.is_over(today):
        over = f"  expected   until {entry.expires} only: {entry.reason}"
        return replace(result, message=f"{result.message}\n{over}")
    return replace(result, outcome=EXPECTED, message=f"{entry.reason} (until {entry.expires})")


def _run_rest(
    recorder: Recorder, rungs: Sequence[Rung], jobs: int, cases: Sequence[str], done: Sequence[CaseResult]
) -> None:
    """Of the cases of these rungs, takes over what is done and runs the others."""
    known = {r.id: r for r in done}
    for case in cases:
        recorder.select(case)
    recorder.outcome.results += [known[case] for case in cases if case in known]
    rest = [case for case in cases if case not in known]
    if rest:
        only = recorder.last_words / "cases"
        only.write_text("\n".join(rest), encoding="utf-8")
        _run(recorder, rungs, jobs, only)


def session(recorder: Recorder) -> None:
    """One session of pytest in this process, of cases that the recorder may choose and put in order."""
    _run(recorder, recorder.outcome.selection.rungs, jobs=0)


def _run(
    recorder: Recorder, rungs: Sequence[Rung], jobs: int, only: Path | None = None, dry: bool = False
) -> None:
    """One session of pytest, of the cases that the file ``only`` names, or of all; ``dry`` runs none."""
    device, asked, limit = recorder.outcome.device, recorder.outcome.selection, recorder.limit
    arguments = [
        *(str(r.path) for r in rungs),
        f"--rootdir={SUITE.parent}",
        f"-c{SUITE / 'pytest.ini'}",
        f"--confcutdir={SUITE}",
        "--import-mode=importlib",
        "--noconftest",
        *(f"-pno:{name}" for name in NOT_NEEDED),
        "-ppytest_timeout",
        f"-p{PLUGIN}",
        f"--device-under-test={device}",
        f"--seed={asked.seed}",
        f"--tier={asked.tier.value}",
        f"--timeout={limit:g}",
        f"--patience={recorder.patience:g}",
        "--tb=short",
    ]
    if asked.stop:
        arguments += [f"--maxfail={MOST_FAILED}"]
    if asked.keyword:
        arguments.append(f"-k{asked.keyword}")  # in one piece: a certificate's keyword is never an option
    if only is not None:
        arguments.append(f"--only={only}")
    if dry:
        arguments.append("--collect-only")
    if jobs:
        arguments += [
            "-pxdist.plugin",
            f"-n{jobs}",
            f"--max-worker-restart={MOST_CRASHES}",
            "--timeout-method=thread",
            f"--last-words={recorder.last_words}",
            f"--basetemp={recorder.last_words / 'pytest'}",  # else one stays, and a user's own makes room
        ]
    else:
        arguments += ["--timeout-method=signal"]
    said = io.StringIO()
    with _own_environment(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = pytest.main(arguments, plugins=[recorder])
    if recorder.interrupted:
        raise KeyboardInterrupt
    ran = (
        pytest.ExitCode.OK,
        pytest.ExitCode.TESTS_FAILED,
        pytest.ExitCode.NO_TESTS_COLLECTED,
        pytest.ExitCode.INTERRUPTED,
    )
    if recorder.errors or status not in ran:
        words = "\n".join(recorder.errors or said.getvalue().strip().splitlines()[-MOST_WORDS:])
        raise SuiteError(f"the suite did not run ({pytest.ExitCode(status).name.lower()}): {words}")


@contextlib.contextmanager
def _own_environment() -> Iterator[None]:
    """Without the settings that a user keeps for pytest: they are not part of the suite."""
    ours = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    removed = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST")
    before = {name: os.environ.get(name) for name in (*ours, *removed)}
    here = Path.cwd()
    try:
        for name in removed:
            os.environ.pop(name, None)
        os.environ.update(ours)
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        os.chdir(here)
