"""The boards of a cluster: Dask workers that hold a device, found, asked what they are, and alike.

In: a scheduler's address, and the name of a device. A worker holds the device ACME where its resources say so
(``dask worker ... --resources "ACME=1"``). Out: one ``Subject`` that a certificate can speak of: port,
Portwright, claims, driver and compiler are the same on every board; machines may differ. The device need not
be on the machine that asks. Dask is imported only here and on the workers, when it is asked for
(``pip install 'portwright[cluster]'``).
"""

from __future__ import annotations

import json
import logging
import queue
import re
import uuid
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..core.errors import ArgumentError, DeviceError
from ..core.offers import resolve
from . import board
from .board import Answer, PieceLostError, Task
from .certificate import canonical
from .runner import SuiteError
from .subject import Subject, differences, portwright

if TYPE_CHECKING:
    from distributed import Client, Future

INSTALL = "pip install 'portwright[cluster]'"
PATIENCE = 5.0
"""Seconds for a scheduler to answer."""
LOOK = 1.0
"""Seconds between two looks at which workers there are."""
_CALL = f"__import__('importlib').import_module({board.__name__!r}).{board.answer.__name__}(task)"
"""What is sent to workers. Text, since a worker that cannot import a function that it is sent breaks by that,
and the scheduler needs no Portwright."""
_CASES_COME_OF = ("suite", "version", "content")
"""What of Portwright the machine that asks must share: one may be a checkout and the other installed."""
_ADDRESS = re.compile(r"(?:(?:tcp|tls)://)?\S+:\d{1,5}")
_TALKS = ("distributed", "distributed.client", "tornado", "tornado.application")
"""Loggers that print what is in our errors."""
_SHOWN = 3
"""Boards that an error names."""


class ClusterError(SuiteError):
    """The cluster cannot run cases, or no longer can: what is done stands."""


class Cluster:
    """A scheduler that answers, and the workers of it that hold a device.

    Attributes:
        address: the scheduler's.
        device: the name to open the device by.
        resource: what workers that hold it call it.
        left: workers that held it and are gone.
    """

    def __init__(self, client: Client, address: str, device: str) -> None:
        self.address = address
        self.device = device
        self.resource = _resource(device)
        self.left: list[str] = []
        self._client = client
        self._there: set[str] = set()
        self._done: queue.SimpleQueue[Future] = queue.SimpleQueue()

    def slots(self) -> dict[str, int]:
        """The workers that hold the device now, and how many pieces each takes at once.

        Raises:
            ClusterError: when the scheduler is gone.
        """
        held = {
            worker: min(about["nthreads"], int(about["resources"].get(self.resource, 0)))
            for worker, about in self._workers().items()
        }
        slots = {worker: number for worker, number in held.items() if number > 0}
        self.left += sorted(self._there - slots.keys())
        self._there = set(slots)
        return slots

    def none_here(self) -> ClusterError:
        """What is wrong where no worker holds the device."""
        workers = self._workers().values()
        held = sorted({f"{name}={number:g}" for w in workers for name, number in w["resources"].items()})
        there = (
            f"its workers ({len(workers)}) hold {', '.join(held) or 'nothing'}" if workers else "it has none"
        )
        return ClusterError(
            f"no worker of {self.address} holds {self.resource}: {there}. Start one beside the board: "
            f'dask worker {self.address} --nthreads 1 --resources "{self.resource}=1"'
        )

    def submit(self, task: Task, worker: str | None = None) -> Future:
        """Has a board run a task; that of one worker, where it is named."""
        future = self._client.submit(
            eval,
            _CALL,
            {"task": task.as_text()},
            key=f"portwright-{uuid.uuid4().hex}",
            resources={self.resource: 1},
            workers=[worker] if worker else None,
            retries=1,
        )
        future.add_done_callback(self._done.put)
        return future

    def next_done(self) -> Future | None:
        """A task that came to its end, in whichever way; None where none has for ``LOOK`` seconds."""
        try:
            return self._done.get(timeout=LOOK)
        except queue.Empty:
            return None

    def answer_of(self, future: Future, who: str = "a worker") -> Answer:
        """What a board said.

        Args:
            future: of a task that came to its end.
            who: the worker that ran it, where that is known.

        Raises:
            PieceLostError: when every worker or process that ran the task was lost.
            ClusterError: when it could not be run at all.
        """
        from distributed import KilledWorker

        if future.status == "finished":
            return Answer(**json.loads(future.result()))
        if future.status != "error":
            raise self._gone()
        error = future.exception()
        if isinstance(error, KilledWorker):
            raise PieceLostError("every worker that ran it was lost") from error
        if isinstance(error, PieceLostError):
            raise error
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ClusterError(
            f"{who} cannot run what it is asked: {said}. It needs this Portwright: {INSTALL}"
        ) from error

    def cancel(self, futures: list[Future]) -> None:
        """Ends tasks, under way or not."""
        if futures and self._client.status == "running":
            self._client.cancel(futures, force=True)

    def subject(self) -> Subject:
        """What the boards are; each is asked, and opens its device.

        Raises:
            ClusterError: when there is none; one does not open; they are not alike; or the Portwright of this
                machine, which knows the cases, is not theirs. Which, and what differs.
        """
        asked = {self.submit(Task(self.device), worker): worker for worker in self.slots()}
        if not asked:
            raise self.none_here()
        seen: dict[str, Subject] = {}
        try:
            while asked:
                future = self.next_done()
                if future in asked:
                    worker = asked.pop(future)
                    seen[worker] = self._said(future, worker)
                there = self.slots()
                asked = {f: worker for f, worker in asked.items() if worker in there}
        finally:
            self.cancel(list(asked))
        if not seen:
            raise self.none_here()
        return self._alike(seen)

    def _said(self, future: Future, worker: str) -> Subject:
        try:
            said = self.answer_of(future, worker)
        except PieceLostError as e:
            raise ClusterError(f"the board of {worker} does not open: {e}") from e
        if said.subject is None:
            raise ClusterError(f"the board of {worker}: {said.error}")
        return Subject(**said.subject)

    def _alike(self, seen: Mapping[str, Subject]) -> Subject:
        """The one subject that all are."""
        common = {worker: canonical(subject.common) for worker, subject in sorted(seen.items())}
        usual, _ = Counter(common.values()).most_common(1)[0]
        first = next(worker for worker, text in common.items() if text == usual)
        odd = [worker for worker, text in common.items() if text != usual]
        if odd:
            raise self.differs(first, seen[first].common, {w: seen[w].common for w in odd})
        theirs, ours = ({k: p[k] for k in _CASES_COME_OF} for p in (seen[first].portwright, portwright()))
        how = "; ".join(differences(theirs, ours, "differs"))
        if how:
            raise ClusterError(
                f"this machine's Portwright is not that of {first}: {how}. Install the same on both"
            )
        return seen[first]

    def differs(
        self, first: str, agreed: Mapping[str, Any], odd: Mapping[str, Mapping[str, Any]]
    ) -> ClusterError:
        """What is wrong where boards are not alike.

        Args:
            first: one that is as the others are.
            agreed: what it is: ``Subject.common``.
            odd: those that are not, and what they are.
        """
        how = [f"{w}: {'; '.join(differences(agreed, found, 'differs'))}" for w, found in odd.items()]
        more = f", and {len(how) - _SHOWN} more" if len(how) > _SHOWN else ""
        return ClusterError(
            f"a certificate speaks of boards that are alike, and these are not as {first}: "
            f"{', '.join(how[:_SHOWN])}{more}. Make them so, or stop their workers"
        )

    def _workers(self) -> Mapping[str, Mapping[str, Any]]:
        try:
            info = self._client.scheduler_info(n_workers=-1)
        except OSError as e:
            raise self._gone() from e
        if self._client.status != "running":
            raise self._gone()
        workers: Mapping[str, Mapping[str, Any]] = info["workers"]
        return workers

    def _gone(self) -> ClusterError:
        return ClusterError(f"the scheduler at {self.address} is gone")


@contextmanager
def connected(address: str, device: str) -> Iterator[Cluster]:
    """A cluster, until the block ends.

    Raises:
        ArgumentError: when the address cannot be one, or Dask is not installed.
        ClusterError: when no scheduler answers there.
    """
    if _ADDRESS.fullmatch(address) is None:
        raise ArgumentError(
            f"{address!r} is no scheduler's address: write tcp://HOST:PORT, or tls://HOST:PORT"
        )
    try:
        from distributed import Client
    except ImportError as e:
        raise ArgumentError(
            f"--cluster works through Dask's distributed, which does not import ({e}): {INSTALL}"
        ) from e
    for name in _TALKS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    for handler in logging.getLogger("distributed").handlers:  # of its other parts, by their own levels
        handler.setLevel(logging.CRITICAL + 1)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # that versions differ: what matters of that is held against each other
        try:
            client = Client(address, timeout=PATIENCE, set_as_default=False)
        except OSError as e:
            raise ClusterError(
                f"no Dask scheduler answers at {address} within {PATIENCE:g} s: {e}. "
                "Start one: dask scheduler, which prints its address"
            ) from e
    try:
        yield Cluster(client, address, device)
    finally:
        client.close(timeout=PATIENCE)


def _resource(device: str) -> str:
    """What the resources of a Dask worker call a device: its name, without what it is opened with."""
    try:
        return resolve(device).offer.name
    except DeviceError:  # it need not be known on the machine that asks
        return device.partition(":")[0].upper()
