"""A climb on the boards of a cluster: cases are cut into pieces, and a board that is free takes the next.

In and out as ``runner.run``: the results are those that one machine would have given. A piece whose worker is
lost goes to another. One that takes down each worker that it is given to is asked case by case, and the case
that does is crashed.
"""

from __future__ import annotations

import datetime
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .board import Answer, PieceLostError, Task
from .cluster import LOOK, Cluster, ClusterError
from .expected import ExpectedFailure
from .ladder import again, rung_of
from .outcome import CRASHED, HUNG, CaseResult, Outcome
from .runner import DEFAULT_LIMIT, MOST_CRASHES, MOST_FAILED, Watcher, as_expected, collect, settled
from .selection import Selection
from .subject import Subject

if TYPE_CHECKING:
    from distributed import Future

FEWEST, MOST = 16, 64
"""Cases of a piece: so many that starting a process is little of its time, so few that losing it is."""
ABSENT = 20.0
"""Seconds without a board until the climb is given up: a nanny starts a worker that crashed again."""


def climb(
    cluster: Cluster,
    subject: Subject,
    selection: Selection,
    *,
    limit: float = DEFAULT_LIMIT,
    watch: Watcher | None = None,
    expected: Sequence[ExpectedFailure] = (),
    done: Sequence[CaseResult] = (),
) -> Outcome:
    """Climbs the ladder, on every board that there is.

    Args:
        cluster: where.
        subject: what its boards are.
        selection, limit, watch, expected, done: as in ``runner.run``.

    Raises:
        ClusterError: when boards or scheduler are lost, or a worker came that is not as the others are.
        SuiteError: when the cases could not be run.
    """
    start = time.monotonic()
    outcome = Outcome(subject.device, selection)
    task = Task(cluster.device, (), selection.seed, selection.tier.value, limit, subject.common)
    chosen = collect(selection)
    known = {r.id: r for r in done}
    for group in selection.groups:
        cases = [case for case in chosen if rung_of(case) in group]
        outcome.cases += cases
        outcome.results += [known[case] for case in cases if case in known]
        if watch is not None:
            watch(outcome, None)
        shards = _Shards(cluster, task, outcome, watch, expected, whole=group[0].is_alone)
        shards.run([case for case in cases if case not in known])
        if outcome.failures and selection.stop:
            break
    return settled(outcome, start)


class _Shards:
    """Cases that are to be run, and those that are under way."""

    def __init__(
        self,
        cluster: Cluster,
        task: Task,
        outcome: Outcome,
        watch: Watcher | None,
        expected: Sequence[ExpectedFailure],
        whole: bool,
    ) -> None:
        self._whole = whole  # one piece, on one board: nothing of it may run beside the rest
        self._cluster = cluster
        self._task = task
        self._outcome = outcome
        self._watch = watch
        self._expected = expected
        self._waiting: deque[str] = deque()
        self._alone: deque[str] = deque()
        self._under_way: dict[Future, tuple[str, ...]] = {}
        self._slots = 0
        self._looked = float("-inf")
        self._seen = time.monotonic()

    def run(self, cases: Sequence[str]) -> None:
        """Has all of them run; what is under way when that fails is ended."""
        self._waiting.extend(cases)
        try:
            while self._waiting or self._alone or self._under_way:
                self._look()
                self._hand_out()
                future = self._cluster.next_done()
                if future in self._under_way:
                    self._take(self._under_way.pop(future), future)
        finally:
            self._cluster.cancel(list(self._under_way))

    def _look(self) -> None:
        """Which boards there are: workers come and go."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return
        self._looked, self._slots = now, sum(self._cluster.slots().values())
        if self._slots:
            self._seen = now
        elif now - self._seen > ABSENT:
            raise ClusterError(
                f"every worker of {self._cluster.address} that held {self._cluster.resource} is gone "
                f"({', '.join(self._cluster.left)}), and none came back in {ABSENT:g} s"
            )

    def _hand_out(self) -> None:
        """A piece for each board that has none: what took workers down comes last."""
        while (self._waiting or self._alone) and len(self._under_way) < self._slots:
            piece = self._cut() if self._waiting else (self._alone.popleft(),)
            self._under_way[self._cluster.submit(replace(self._task, cases=piece))] = piece

    def _cut(self) -> tuple[str, ...]:
        """The next piece: fewer cases towards the end, so that no board waits long for another."""
        left = len(self._waiting)
        if self._whole:
            return tuple(self._waiting.popleft() for _ in range(left))
        share = left // (2 * self._slots)
        return tuple(self._waiting.popleft() for _ in range(min(left, MOST, max(FEWEST, share))))

    def _take(self, piece: tuple[str, ...], future: Future) -> None:
        """What came of a piece."""
        try:
            answer = self._cluster.answer_of(future)
        except PieceLostError as e:
            if len(piece) > 1:
                self._alone.extend(piece)
            else:
                self._add(CaseResult(piece[0], CRASHED, 0.0, self._crashed(piece[0], e)))
            return
        self._check(answer)
        for result in answer.results:
            self._add(CaseResult.read(result))

    def _check(self, answer: Answer) -> None:
        """A board whose results count: it ran them, and is as the others are."""
        if answer.subject is None or answer.error:
            raise ClusterError(f"the board of {answer.worker}: {answer.error}")
        found = Subject(**answer.subject)
        agreed = self._task.agreed
        if agreed != found.common:
            assert agreed is not None
            raise self._cluster.differs("the first", agreed, {answer.worker: found.common})
        if found.machine not in self._outcome.machines:
            self._outcome.machines.append(found.machine)

    def _add(self, result: CaseResult) -> None:
        """A result; after too many of a kind the rest is left."""
        outcome = self._outcome
        result = as_expected(result, self._expected, datetime.date.today())
        outcome.results.append(result)
        if self._watch is not None:
            self._watch(outcome, result)
        crashes = sum(r.outcome in (CRASHED, HUNG) for r in outcome.results)
        if crashes > MOST_CRASHES or (outcome.selection.stop and len(outcome.failures) >= MOST_FAILED):
            self._waiting.clear()
            self._alone.clear()

    def _crashed(self, case: str, lost: PieceLostError) -> str:
        seed = self._outcome.selection.seed
        command = again(self._outcome.device, case, seed)
        what = f"the case took down what ran it, each time: {lost}"
        return f"{what}\n  seed       {seed}\n  again      {command}"
