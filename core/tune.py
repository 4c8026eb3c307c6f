"""The search: a kernel scheduled in other ways, each candidate measured beside the heuristic's choice.

In: a kernel through its stages, and its device. Out: the answers (``core/decisions.py``) that serve it best,
which are the heuristic's own unless others are surely faster. One answer is changed at a time, starting from
the best so far. Candidates
run in a process of their own (``tune_worker``), which may crash or hang without harm; what computes other
values than the heuristic's kernel is out, however fast it is.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import field
from statistics import quantiles
from typing import Any

from . import python_process
from .compiler import compile_all
from .decisions import USUAL, Stated
from .device import Device
from .errors import CompileError, DeviceError
from .loops import Acc, Body, Loop
from .pipeline import Stages, rescheduled
from .record import dataclass
from .tuned import SEARCH, answers_of, keep
from .work import iterations, weight

SURELY = 0.97
"""The share of the heuristic's time that a candidate may take in three turns of four to be kept."""
START = 30.0
"""Seconds for the process to start, open the device and run the heuristic's kernel once."""
LIMIT = 5.0
"""Seconds for one candidate, beside those that it needs to run a few times as slowly as the heuristic's."""
SLOWER = 10
"""Runs of the heuristic's kernel that a candidate may take besides."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One that was tried.

    Attributes:
        answers: what it was scheduled by.
        ratios: its time ÷ the heuristic's, turn by turn; empty when it was refused.
        fault: why it was refused; "" of one that computes the same.
    """

    answers: Stated
    ratios: tuple[float, ...] = ()
    fault: str = ""

    @property
    def ratio(self) -> float:
        """Three turns of four were at most this; infinite when it was refused."""
        if self.fault or not self.ratios:
            return float("inf")
        return self.ratios[0] if len(self.ratios) == 1 else quantiles(self.ratios, n=4, method="inclusive")[2]


@dataclass(slots=True)
class Tuning:
    """What came of one kernel's search.

    Attributes:
        name: of the kernel as the heuristic has it.
        best: the answers that serve it best.
        ratio: its time with these ÷ the heuristic's.
        tried: every candidate, in order.
    """

    name: str
    best: Stated
    ratio: float = 1.0
    tried: list[Candidate] = field(default_factory=list)


def tune(
    stages: Stages, device: Device, until: float, says: Callable[[Tuning], None] = lambda t: None
) -> Tuning:
    """Searches for the schedule that serves a kernel best, and keeps them for the next time it is planned.

    Args:
        stages: the kernel.
        until: the time, by ``time.monotonic``, at which to be done with what was found by then.
        says: told after each candidate.

    Raises:
        DeviceError: when the heuristic's own kernel does not run apart.
    """
    usual = rescheduled(stages, device, USUAL)
    out = Tuning(usual.name, USUAL)
    seen = {_text(usual, usual)}
    found_before = answers_of(device, usual.source)
    wanted = [found_before, *USUAL.variants(usual.scheduled.decisions)]
    worker = _Worker(device, usual)
    try:
        while wanted and time.monotonic() < until:
            before = out.best
            for candidate in _made(usual, wanted, device, seen):
                if time.monotonic() >= until:
                    break
                found = candidate if isinstance(candidate, Candidate) else worker.measure(candidate)
                out.tried.append(found)
                if found.ratio < SURELY * out.ratio:
                    out.best, out.ratio = found.answers, found.ratio
                says(out)
            made = rescheduled(usual, device, out.best).scheduled.decisions
            wanted = list(out.best.variants(made)) if out.best != before else []
    finally:
        worker.close()
    if out.tried:
        keep(device, usual.source, out.best)
    return out


def state(stages: Stages, device: Device, answers: Stated) -> Tuning:
    """Measures the schedule that these answers give, and keeps it if it computes the same, slow or not.

    Raises:
        DeviceError: when the heuristic's own kernel does not run apart.
    """
    usual = rescheduled(stages, device, USUAL)
    worker = _Worker(device, usual)
    try:
        made = _made(usual, [answers], device, {_text(usual, usual)})
        tried = [c if isinstance(c, Candidate) else worker.measure(c) for c in made]
    finally:
        worker.close()
    if any(c.fault for c in tried):
        return Tuning(usual.name, USUAL, tried=tried)
    keep(device, usual.source, answers)
    return Tuning(usual.name, answers, tried[0].ratio if tried else 1.0, tried)


LEAST = 1 << 16
"""Operations and bytes of a kernel below which another schedule saves nothing that is seen."""


def can_be_tuned(stages: Stages, device: Device) -> bool:
    """Whether there are decisions to make, and the kernel runs by itself."""
    return bool(stages.scheduled.decisions) and not stages.images


def tune_aloud(stages: Stages, device: Device, seconds: float) -> None:
    """``tune``, of a kernel that is worth it, with a word on stderr before and after."""
    if not can_be_tuned(stages, device) or weight(stages.fresh) < LEAST:
        return
    print(f"portwright: tuning {stages.name} on {device.name}, {seconds:g} s at most", file=sys.stderr)
    try:
        found = tune(stages, device, time.monotonic() + seconds)
    except DeviceError as e:
        print(f"portwright: {e}. It stays as it is", file=sys.stderr)
        return
    better = f"{1 / found.ratio:.2f} times as fast by {found.best}" if found.ratio < 1 else "best as it is"
    print(f"portwright: {stages.name}: {better} ({len(found.tried)} tried)", file=sys.stderr)


@dataclass(frozen=True, slots=True)
class _Compiled:
    answers: Stated
    stages: Stages


def _text(stages: Stages, usual: Stages) -> str:
    """A kernel's text under the usual one's name: answers that make no difference make the same."""
    return stages.source.replace(stages.name, usual.name)


def _made(
    usual: Stages, wanted: Sequence[Stated], device: Device, seen: set[str]
) -> list[_Compiled | Candidate]:
    """The kernels by these answers that were not seen yet, compiled side by side, or why one is none."""
    fresh: list[_Compiled] = []
    for answers in wanted:
        stages = rescheduled(usual, device, answers)
        if _text(stages, usual) not in seen:
            seen.add(_text(stages, usual))
            fresh.append(_Compiled(answers, stages))
    try:
        compile_all(device, [c.stages for c in fresh])
    except CompileError:
        return [_alone(c, device) for c in fresh]
    return list(fresh)


def _alone(candidate: _Compiled, device: Device) -> _Compiled | Candidate:
    try:
        compile_all(device, [candidate.stages])
    except CompileError as e:
        return Candidate(candidate.answers, fault=f"does not compile: {e}")
    return candidate


class _Worker:
    """The process that runs candidates. One that dies or hangs is started again for the next."""

    def __init__(self, device: Device, usual: Stages) -> None:
        self._device, self._usual = device, usual
        self._seconds = 0.0  # of the heuristic's kernel
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()

    def measure(self, candidate: _Compiled) -> Candidate:
        if self._process is None:
            self._start()
        limit = LIMIT + SLOWER * self._seconds
        answer = self._ask(order(candidate.stages), limit)
        if answer is None:
            self.close()
            return Candidate(candidate.answers, fault=f"crashed, or took more than {limit:.0f} s")
        return Candidate(candidate.answers, tuple(answer["ratios"]), answer["fault"])

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self) -> None:
        self._process = subprocess.Popen(
            python_process.command(f"{__package__}.tune_worker", self._device.name),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**python_process.environment(), SEARCH: "0"},
        )  # fmt: skip
        self._answers = queue.SimpleQueue()
        threading.Thread(target=self._hear, args=(self._process, self._answers), daemon=True).start()
        answer = self._ask(order(self._usual) | {"terms": terms(self._usual.fresh.body)}, START)
        if answer is None:
            self.close()
            name, device = self._usual.name, self._device.name
            raise DeviceError(f"{name} does not run in a process of its own on {device}")
        self._seconds = answer["seconds"]

    @staticmethod
    def _hear(process: subprocess.Popen[str], answers: queue.SimpleQueue[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            answers.put(line)
        answers.put("")

    def _ask(self, order: dict[str, Any], limit: float) -> dict[str, Any] | None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=limit)
        except (BrokenPipeError, queue.Empty):
            return None
        answer: dict[str, Any] | None = json.loads(line) if line else None
        return answer


def order(stages: Stages) -> dict[str, Any]:
    """What the process must know to launch a kernel."""
    params: Sequence[Any] = [(p.dtype.name, p.size, p.written) for p in stages.final.params]
    return {
        "name": stages.name, "source": stages.source, "grid": stages.grid, "block": stages.block,
        "params": params,
    }  # fmt: skip


def terms(body: Body) -> int:
    """How many numbers are folded into one, at most: the loops beside an accumulator are its reduction's."""
    loops = [s for s in body if isinstance(s, Loop)]
    folds = any(isinstance(s, Acc) for s in body)
    return max([1, *(iterations(s) for s in loops if folds), *(terms(s.body) for s in loops)])
