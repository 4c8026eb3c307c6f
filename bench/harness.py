"""Takes the times: each peer in a process of its own, in short bursts, in turns.

Between its bursts a process is stopped, so that no pool of threads spins beside another's turn. Bursts during
which something else used the machine are taken again; when none was quiet, all are used and the row says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from .peers import PEERS, Peer
from .workloads import Workload

FOREIGN = 0.15
"""How many cores others may use during a burst that counts."""
LONGEST = 180.0
"""Seconds that a peer may take to make a workload ready or to run a burst."""
PATIENCE = 20.0
"""Seconds after which a workload's bursts are taken as they come: none is waited for or taken again."""
QUIET = 1.5
"""Seconds to wait at most before a burst for the machine to be idle."""
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Burst:
    """One turn of one peer.

    Attributes:
        turn: bursts of the same turn follow each other.
        times: seconds of each run.
        foreign: how many cores others used meanwhile; 0 where the system does not say.
    """

    turn: int
    times: list[float]
    foreign: float

    @property
    def quiet(self) -> bool:
        """Whether nobody else used the machine."""
        return self.foreign <= FOREIGN


@dataclass(slots=True)
class Outcome:
    """How one peer did on one workload.

    Attributes:
        fault: why there are no times, or why they don't count; "" when all is well.
        first: seconds from inputs to the first result: compilation and all.
        error: the largest error as a share of what is allowed.
    """

    fault: str = ""
    first: float = 0.0
    error: float = 0.0
    bursts: list[Burst] = field(default_factory=list)

    @property
    def counted(self) -> list[Burst]:
        """The quiet bursts, or all when none was."""
        return [b for b in self.bursts if b.quiet] or self.bursts


@dataclass(slots=True)
class Row:
    """One workload with everybody's outcome, by the peer's name."""

    workload: str
    outcomes: dict[str, Outcome]


class Process:
    """A peer's process. One that dies or hangs is started again for the next workload."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._running: subprocess.Popen[str] | None = None

    def ask(self, **order: Any) -> dict[str, Any]:
        """Sends an order and waits for its answer, {"failed": …} when there is none."""
        process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        self.wake()
        try:
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                ready = selector.select(LONGEST)
            line = process.stdout.readline() if ready else ""
        except BrokenPipeError:
            ready, line = [], ""
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        code = process.poll()
        self.close()
        return {"failed": f"died, exit {code}" if ready else f"no answer in {LONGEST:.0f} s"}

    def seconds_used(self) -> float:
        """Of the processor, by this process; 0 where the system does not say."""
        if self._running is None:
            return 0.0
        try:
            fields = Path(f"/proc/{self._running.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """Holds every thread of the process."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Lets it go on."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Ends the process."""
        if self._running is not None:
            self._signal(signal.SIGKILL)
            self._running.wait()
            self._running = None

    def _start(self) -> subprocess.Popen[str]:
        if self._running is None or self._running.poll() is not None:
            self._running = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.worker", self.peer.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=ROOT,
                env={**os.environ, **self.peer.environment},
                start_new_session=True,
            )
        return self._running

    def _signal(self, number: int) -> None:
        if self._running is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._running.pid, number)


def busy() -> float | None:
    """Seconds of processor that the whole machine has used, what its host took included; None: unknown."""
    try:
        line = Path("/proc/stat").read_text().splitlines()[0]
    except OSError:
        return None
    user, nice, system, _, _, irq, soft, stolen = (int(x) for x in line.split()[1:9])
    return (user + nice + system + irq + soft + stolen) / os.sysconf("SC_CLK_TCK")


def wait_for_quiet(until: float) -> None:
    """Returns when the machine is idle, or after ``QUIET`` seconds, or at this time."""
    end = min(until, time.monotonic() + QUIET)
    while time.monotonic() < end:
        before = busy()
        time.sleep(0.2)
        after = busy()
        if before is None or after is None or (after - before) / 0.2 < 2 * FOREIGN:
            return


def take_burst(process: Process, turn: int, seconds: float) -> Burst | str:
    """One burst, or why there is none."""
    process.wake()
    time.sleep(0.02)
    others, own, start = busy(), process.seconds_used(), time.perf_counter()
    answer = process.ask(do="burst", seconds=seconds)
    wall = time.perf_counter() - start
    after, own_after = busy(), process.seconds_used()
    process.stop()
    if "failed" in answer:
        return str(answer["failed"])
    foreign = 0.0
    if others is not None and after is not None and own_after:
        foreign = max(0.0, ((after - others) - (own_after - own)) / wall)
    return Burst(turn, answer["times"], foreign)


Says = Callable[[str], None]


def measure(
    workload: Workload,
    processes: Sequence[Process],
    seed: int,
    rounds: int = 5,
    seconds: float = 0.3,
    patience: float = PATIENCE,
    says: Says = lambda line: None,
) -> Row:
    """Everybody's times on one workload.

    Args:
        processes: the peers.
        seed: of the inputs, the same for all.
        rounds: quiet bursts wanted of each; twice as many are tried at most.
        seconds: of a burst.
        patience: for so many seconds the machine's peace is waited for, and bursts are taken again.
        says: told what happens.
    """
    outcomes: dict[str, Outcome] = {}
    ready: list[Process] = []
    for process in processes:
        peer = process.peer
        if peer.only and workload.kind not in peer.only:
            continue
        answer = process.ask(do="prepare", workload=workload.name, seed=seed)
        process.stop()
        if "not" in answer:
            continue
        outcome = outcomes[peer.name] = Outcome(answer.get("failed", ""), answer.get("first", 0.0))
        if not outcome.fault:
            _judge(outcome, answer["error"])
        says(f"  {peer.name}: {outcome.fault or f'ready, first result after {outcome.first:.2f} s'}")
        if not outcome.fault:
            ready.append(process)
    until = time.monotonic() + patience
    for turn in range(2 * rounds):
        if turn >= rounds and time.monotonic() > until:
            break
        lacking = [p for p in ready if sum(b.quiet for b in outcomes[p.peer.name].bursts) < rounds]
        order = list(ready) if turn < rounds else lacking
        random.Random(turn).shuffle(order)
        for process in order:
            outcome = outcomes[process.peer.name]
            wait_for_quiet(until)
            burst = take_burst(process, turn, seconds)
            if isinstance(burst, str):
                outcome.fault = burst
                ready.remove(process)
            else:
                outcome.bursts.append(burst)
    for process in ready:
        answer = process.ask(do="check")
        process.stop()
        outcome = outcomes[process.peer.name]
        outcome.fault = answer.get("failed", "")
        if not outcome.fault:
            _judge(outcome, answer["error"])
    return Row(workload.name, outcomes)


def _judge(outcome: Outcome, error: float) -> None:
    outcome.error = max(outcome.error, error)
    if not error <= 1:
        outcome.fault = f"WRONG: {error:.3g} times the error that is allowed"


def per_call(outcome: Outcome, workload: Workload) -> list[float]:
    """Seconds of a call: the median of each burst that counts."""
    return [median(b.times) / workload.calls for b in outcome.counted]


def present(names: Sequence[str]) -> tuple[list[Peer], dict[str, str]]:
    """The peers among ``names`` that can take part, and why the others cannot."""
    absent = {name: reason for name in names if (reason := PEERS[name].missing())}
    return [PEERS[name] for name in names if name not in absent], absent
