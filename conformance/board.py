"""What runs on a Dask worker that holds a board: it has a process of its own run a piece of a climb.

Dask runs tasks in threads, and pytest wants a process; a driver that crashes or hangs must not take the
worker with it; and what is no longer wanted must end. No device is opened in the worker itself. The process
is ``piece``; whoever asks is ``cluster``.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from ..core import python_process

SILENCE = 120.0
"""Seconds, beside the limit of a case, without a word from the process: it hangs."""
_LOOK = 0.5
_GRACE = 10.0
"""Seconds for a process that is done to close its device."""
_WANTED = frozenset({"executing", "long-running", "resumed"})
"""States of a Dask task that somebody waits for."""
_MOST_WORDS = 16
_MOST_BYTES = 1 << 14


@dataclass(frozen=True)
class Task:
    """What a board is asked.

    Attributes:
        device: the name to open it by.
        cases: which to run; none: only to say what it is.
        seed, tier: as in ``Selection``.
        limit: as in ``runner.run``.
        agreed: what it must be for a case to be run on it: ``Subject.common``.
    """

    device: str
    cases: tuple[str, ...] = ()
    seed: int = 0
    tier: str = "standard"
    limit: float = 120.0
    agreed: dict[str, Any] | None = None

    def as_text(self) -> str:
        """A line of JSON."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Answer:
    """What a board says.

    Attributes:
        worker: its Dask worker's address.
        subject: what it is, as ``Subject.as_json`` gives it; None where it does not open.
        results: of the cases, as ``dataclasses.asdict`` gives them.
        error: why they were not run; "" where they were.
    """

    worker: str
    subject: dict[str, Any] | None
    results: tuple[dict[str, Any], ...]
    error: str

    def as_text(self) -> str:
        """A line of JSON."""
        return json.dumps(asdict(self))


class PieceLostError(RuntimeError):
    """The process that ran a piece crashed or hung: another may do better."""


def answer(task: str) -> str:
    """Has a piece run, from a thread of a Dask worker, until it is done or no longer wanted.

    Args:
        task: ``Task.as_text``. Texts, since workers may have another Portwright until they have been asked.

    Returns:
        ``Answer.as_text``.

    Raises:
        PieceLostError: when the process died, or said nothing for too long; what it said last.
    """
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    patience = json.loads(task)["limit"] + SILENCE
    said: dict[str, Any] = {"subject": None, "error": ""}
    results = []
    with tempfile.TemporaryFile() as words, _process(words) as (process, lines):
        _ask(process, task)
        silent = 0.0
        while not said.get("done"):
            try:
                line = lines.get(timeout=_LOOK)
            except queue.Empty:
                silent += _LOOK
                state = worker.state.tasks.get(key)
                if state is None or state.state not in _WANTED:
                    raise PieceLostError("it is no longer wanted") from None
                if silent >= patience:
                    raise PieceLostError(f"it said nothing for {silent:g} s{_last(words)}") from None
                continue
            silent = 0.0
            if line is None:
                raise PieceLostError(f"{_end_of(process)}{_last(words)}")
            news = json.loads(line)
            results += [news.pop("result")] if "result" in news else []
            said |= news
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    return Answer(worker.address, said["subject"], tuple(results), said["error"]).as_text()


@contextmanager
def _process(words: BinaryIO) -> Iterator[tuple[subprocess.Popen[bytes], queue.SimpleQueue[bytes | None]]]:
    """The process, and the lines that it says, with None after the last; it ends with the block.

    Since it may have to be killed, the folder for its temporary files is made and removed here.
    """
    folder = tempfile.TemporaryDirectory(prefix="portwright-", ignore_cleanup_errors=True)
    process = subprocess.Popen(
        python_process.command(f"{__package__}.piece", folder.name),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=words,
        env=python_process.environment(),
        start_new_session=True,
    )
    lines = queue.SimpleQueue[bytes | None]()

    def hear() -> None:
        assert process.stdout is not None
        with process.stdout as pipe:
            for line in pipe:
                lines.put(line)
        lines.put(None)

    reader = threading.Thread(target=hear, daemon=True)
    reader.start()
    try:
        yield process, lines
    finally:
        _kill(process)
        process.wait()
        reader.join(_LOOK)
        assert process.stdin is not None
        process.stdin.close()
        folder.cleanup()


def _ask(process: subprocess.Popen[bytes], task: str) -> None:
    """Sends the task, and leaves the pipe open: its end would be that of the process."""
    assert process.stdin is not None
    try:
        process.stdin.write(task.encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:  # it is gone already, which its silence tells
        return


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The process and what it started: workers of pytest, compilers, simulators."""
    if sys.platform == "win32":
        process.kill()
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # it is gone, with all of them
        return


def _end_of(process: subprocess.Popen[bytes]) -> str:
    status = process.wait()
    return f"it died by signal {-status}" if status < 0 else f"it ended with exit status {status}"


def _last(words: BinaryIO) -> str:
    """The last of what it printed."""
    end = words.seek(0, os.SEEK_END)
    words.seek(max(0, end - _MOST_BYTES))
    lines = words.read().decode(errors="replace").strip().splitlines()[-_MOST_WORDS:]
    return "".join(f"\n    {line}" for line in lines)
