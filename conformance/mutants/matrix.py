"""Many mutants, in processes of their own: who is killed, by what, and who survives."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

from ...core import python_process
from ..outcome import CRASHED, HUNG
from .bases import base_name
from .hunt import ENOUGH, Kill, Verdict
from .mutant import Base, Mutant
from .worker import Task

GRACE = 15.0
"""Seconds that a case may take beyond its limit, or a process to tidy up, before the process is ended."""
FIRST = 120.0
"""Seconds until the first case must have begun."""
MOST_DEATHS = 6
"""Processes that one mutant may end."""
MOST_SECONDS = 300.0
"""That a mutant may take in all."""
Done = Callable[[Verdict], None]


@dataclass(frozen=True)
class Survey:
    """How mutants are hunted.

    Attributes:
        seed: what the samples depend on.
        limit: seconds that a case may take.
        whole: where the likely cases do not suffice, whether all others are run.
        jobs: processes side by side.
        seconds: that a mutant may take in all.
    """

    seed: int = 0
    limit: float = 60.0
    whole: bool = False
    jobs: int = 1
    seconds: float = MOST_SECONDS


def survey(
    mutants: Sequence[Mutant], how: Survey, base: str | None = None, done: Done = lambda v: None
) -> list[Verdict]:
    """The verdict on each mutant, in order.

    Raises:
        DeviceError: when there is no good device of a kind that is needed.
    """
    names = {kind: base_name(kind, base) for kind in sorted({m.base for m in mutants}, key=lambda b: b.value)}
    free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
    workers = [_Worker() for _ in range(max(1, how.jobs))]
    for w in workers:
        free.put(w)

    def one(m: Mutant) -> Verdict:
        worker = free.get()
        try:
            verdict = worker.hunt(m, names, how)
        finally:
            free.put(worker)
        done(verdict)
        return verdict

    try:
        with ThreadPoolExecutor(len(workers)) as pool:
            return list(pool.map(one, mutants))
    finally:
        for w in workers:
            w.close()


class _Worker:
    """A process, started when it is needed and again when it ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def hunt(self, m: Mutant, names: dict[Base, str], how: Survey) -> Verdict:
        """One mutant; a case that ends the process, or does not end, is a kill, and the rest goes on."""
        start = time.monotonic()
        task = Task(m.name, names[m.base], how.seed, how.limit, how.whole, ())
        kills: list[Kill] = []
        cases = 0
        while True:
            answer = self._ask(task, how, start, kills)
            cases += answer.cases
            if answer.verdict is not None:
                verdict = answer.verdict
                verdict.kills = kills
                break
            verdict = Verdict(m.name, m.family, m.fault, task.base)
            verdict.kills = kills
            if answer.last:
                kills.append(Kill(answer.last, answer.how, "the process that ran the case ended"))
                verdict.kills = kills
            else:
                verdict.error = answer.why
            enough = len({k.function for k in kills}) >= ENOUGH
            if (
                enough
                or not answer.last
                or len(kills) >= MOST_DEATHS
                or time.monotonic() - start > how.seconds
            ):
                break
            task = replace(task, over=tuple(k.case for k in kills))
        verdict.cases, verdict.seconds = max(cases, verdict.cases), round(time.monotonic() - start, 2)
        return verdict

    def _ask(self, task: Task, how: Survey, start: float, kills: list[Kill]) -> _Answer:
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(task.line())
        process.stdin.flush()
        last, cases = "", 0
        while True:
            patience = how.limit + GRACE if last else FIRST
            patience = min(patience, max(1.0, how.seconds - (time.monotonic() - start)))
            try:
                line = self._lines.get(timeout=patience)
            except queue.Empty:
                self.end()
                if time.monotonic() - start >= how.seconds:
                    return _Answer(None, "", HUNG, cases, f"not noticed within {how.seconds:g} s")
                return _Answer(None, last, HUNG, cases)
            if not line:
                self.end()
                return _Answer(None, last, CRASHED, cases)
            said = json.loads(line)
            if "case" in said:
                last, cases = said["case"], cases + 1
            elif "kill" in said:
                kills.append(Kill(**said["kill"]))
            else:
                return _Answer(_verdict(said["verdict"]), last, "", cases)

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._lines = queue.Queue()
            self._process = subprocess.Popen(
                python_process.command(f"{__package__}.worker"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=python_process.environment(),
                text=True,
            )
            threading.Thread(target=_pump, args=(self._process.stdout, self._lines), daemon=True).start()
        return self._process

    def close(self) -> None:
        """Has the process, if there is one, tidy up and end: there are no more orders."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE)
        self.end()

    def end(self) -> None:
        """Ends the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@dataclass(frozen=True)
class _Answer:
    """What a process said: a verdict, or the case in which it ended and how."""

    verdict: Verdict | None
    last: str
    how: str
    cases: int
    why: str = "its process ended before any case was run"


def _pump(lines: Iterable[str] | None, into: queue.Queue[str]) -> None:
    for line in lines or ():
        into.put(line)
    into.put("")


def _verdict(document: dict[str, object]) -> Verdict:
    fields = {k: v for k, v in document.items() if k not in ("killed", "kills")}
    kills = document["kills"]
    assert isinstance(kills, list)
    return Verdict(**fields, kills=[Kill(**k) for k in kills])  # type: ignore[arg-type]
