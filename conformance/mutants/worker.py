"""A process that runs the suite on mutants, one after another, as it is told on standard input.

In: one JSON object a line, as ``Task`` writes it. Out: a line ``{"case": ...}`` before each case, so that
whoever reads knows in which one the process ended, ``{"kill": ...}`` after one that failed, and
``{"verdict": ...}`` when a mutant is done.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from ...core.errors import PortwrightError
from .catalogue import mutant
from .hunt import Verdict, hunt


@dataclass(frozen=True)
class Task:
    """What a worker is told: the arguments of ``hunt``, and what an earlier process already knew."""

    mutant: str
    base: str
    seed: int
    limit: float
    whole: bool
    over: tuple[str, ...]

    def line(self) -> str:
        """As a worker reads it."""
        return json.dumps(asdict(self)) + "\n"


def serve(orders: TextIO, answers: TextIO) -> None:
    """Until there are no more orders."""

    def say(**what: Any) -> None:
        answers.write(json.dumps(what) + "\n")
        answers.flush()

    for line in orders:
        order = json.loads(line)
        order["over"] = tuple(order["over"])
        task = Task(**order)
        start = time.monotonic()
        chosen = mutant(task.mutant)
        try:
            verdict = hunt(
                chosen,
                task.base,
                seed=task.seed,
                limit=task.limit,
                whole=task.whole,
                over=task.over,
                tell=lambda what: say(case=what) if isinstance(what, str) else say(kill=asdict(what)),
            )
        except PortwrightError as e:
            verdict = Verdict(chosen.name, chosen.family, chosen.fault, task.base)
            verdict.error = f"{type(e).__name__}: {e}"
        verdict.seconds = round(time.monotonic() - start, 2)
        say(verdict=verdict.as_json())


def main() -> None:
    """What a device writes goes to standard error; the answers alone go to standard output."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
