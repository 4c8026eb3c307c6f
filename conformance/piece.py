"""A piece of a climb, in a process of its own beside a board: ``python -P -m portwright.conformance.piece``.

In, on the command line: a folder that was made for this process's temporary files. In, on standard input: one
line, what ``board.Task`` says as JSON; it then stays open, and its end is the end of this process, of all
that it started and of that folder. Out, on what was standard output, a line of JSON each: the subject that
the board is; the result of each case; the error that kept them from being run, if one did; and that it is
done. No case is run on a board that is not as the task says. The other side is ``board``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from dataclasses import asdict
from typing import Any, TextIO

from ..core.errors import PortwrightError
from ..core.registry import open_device
from .ladder import rung_of
from .outcome import CaseResult, Outcome
from .runner import run
from .selection import Selection
from .subject import differences, subject_of
from .tiers import SuiteTier


def main() -> None:
    """Does what was asked for."""
    folder = tempfile.tempdir = sys.argv[1]
    answers = _answers()
    task = json.loads(_read_line(0))
    threading.Thread(target=_end_with, args=(os.dup(0), folder), daemon=True).start()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    def answer(**said: Any) -> None:
        print(json.dumps(said), file=answers, flush=True)

    def tell(outcome: Outcome, newest: CaseResult | None) -> None:
        if newest is not None:
            answer(result=asdict(newest))

    try:
        subject = subject_of(open_device(task["device"]))
        answer(subject=subject.as_json())
        if task["cases"] and _is_alike(subject.common, task["agreed"]):
            selection = Selection(
                tuple(dict.fromkeys(map(rung_of, task["cases"]))),
                tier=SuiteTier(task["tier"]),
                seed=task["seed"],
                only=frozenset(task["cases"]),
            )
            run(task["device"], selection, limit=task["limit"], watch=tell)
    except PortwrightError as e:
        answer(error=str(e))
    answer(done=True)


def _is_alike(here: dict[str, Any], agreed: dict[str, Any]) -> bool:
    return not list(differences(agreed, json.loads(json.dumps(here)), ""))


def _answers() -> TextIO:
    """The way back to whoever asked; from now on nobody else writes there."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _read_line(descriptor: int) -> bytes:
    """One line, and nothing of what follows."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            raise SystemExit("nothing was asked")
        line += piece
    return line


def _end_with(lifeline: int, folder: str) -> None:
    """Ends this process and what it started when nobody waits for it any more, or would tidy up after it."""
    while os.read(lifeline, 1):
        continue
    shutil.rmtree(folder, ignore_errors=True)
    if sys.platform != "win32":
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main()
