"""The process of one peer: told over a pipe, a JSON line at a time, what to make ready, run and check.

    {"do": "prepare", "workload": NAME, "seed": N}    {"first": seconds, "error": share of what is allowed}
    {"do": "burst", "seconds": S}                     {"times": [seconds of each run]}
    {"do": "check"}                                   {"error": …}, of the last run

What goes wrong is answered with {"failed": why}, a workload that the peer does not have with {"not": true}.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from typing import Any

import numpy as np

from .peers import PEERS, Peer, Task
from .table import find
from .workloads import Expected

MOST_RUNS = 5000
"""In one burst: enough for any median."""


class Worker:
    """What one peer has ready."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.task: Task | None = None
        self.expected: Expected | None = None

    def prepare(self, workload: str, seed: int) -> dict[str, Any]:
        """Draws inputs, makes the workload ready, and checks what its first runs computed."""
        self.task = self.expected = None
        gc.collect()
        w = find(workload)
        random = np.random.default_rng(seed)
        inputs = w.make(random)
        start = time.perf_counter()
        self.task = self.peer.prepare(w.kind, inputs)
        if self.task is None:
            return {"not": True}
        self.task.run()
        first = time.perf_counter() - start
        for _ in range(self.task.warm_up - 1):
            self.task.run()
        self.expected = w.expect(inputs, random)
        return {"first": first, **self.check()}

    def check(self) -> dict[str, Any]:
        """How far off the last result is, as a share of what is allowed."""
        assert self.task is not None
        assert self.expected is not None
        return {"error": self.expected.error(np.asarray(self.task.result()))}

    def burst(self, seconds: float) -> dict[str, Any]:
        """Runs for so long, and at least once; before that once to warm up, unless one run takes as long."""
        assert self.task is not None
        run, clock = self.task.run, time.perf_counter
        times: list[float] = []
        start = clock()
        run()
        now = clock()
        if now - start > seconds:
            return {"times": [now - start]}
        end = now + seconds
        while True:
            start = clock()
            run()
            now = clock()
            times.append(now - start)
            if now >= end or len(times) == MOST_RUNS:
                return {"times": times}


def main(name: str) -> None:
    """Answers until the pipe closes. What libraries print goes to the error stream."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    worker = Worker(PEERS[name])
    for line in sys.stdin:
        order = json.loads(line)
        do = getattr(worker, order.pop("do"))
        try:
            answer = do(**order)
        except Exception as e:
            traceback.print_exc()
            answer = {"failed": f"{type(e).__name__}: {e}"[:300]}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main(sys.argv[1])
