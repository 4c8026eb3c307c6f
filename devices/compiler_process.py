"""A compiler as a process of its own: running it, and what it complained of."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from .build_log import first_error

if TYPE_CHECKING:
    from subprocess import CompletedProcess

TIMEOUT = 600.0
"""Seconds: a compiler that hangs is an error, not a hang."""
_NOT_FOR_COMPILERS = ("LD_PRELOAD", "DYLD_INSERT_LIBRARIES")
"""A checker's runtime is in there when kernels are run under one; the compiler is not what it watches."""
_ERROR = re.compile(r"^[^:\n]*:(?P<line>\d+):(?:\d+:)? (?:fatal )?error: (?P<message>.*)$", re.MULTILINE)


def run(
    command: Sequence[str], text: str = "", folder: Path | None = None, timeout: float = TIMEOUT
) -> CompletedProcess[str]:
    """A finished compiler, given ``text``; one that cannot be run, or hangs, is one that failed."""
    import subprocess  # not needed while everything is in the cache

    inherited = {key: value for key, value in os.environ.items() if key not in _NOT_FOR_COMPILERS}
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=folder,
            env={**inherited, "LC_ALL": "C"},
            process_group=0,
        )
    except OSError as e:
        return subprocess.CompletedProcess(list(command), -1, "", f"{type(e).__name__}: {e}")
    with process:
        try:
            out, err = process.communicate(text, timeout)
        except subprocess.TimeoutExpired as e:
            _end(process.pid)
            return subprocess.CompletedProcess(list(command), -1, "", f"{type(e).__name__}: {e}")
        except BaseException:  # ctrl-C, too: nothing of it may outlive us
            _end(process.pid)
            raise
    return subprocess.CompletedProcess(list(command), process.returncode, out, err)


class Aside(Thread):
    """Something done beside what goes on here, from now on: ``concurrent.futures`` is slow to import."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__()
        self._work = work
        self._fault: BaseException | None = None
        self.start()

    def run(self) -> None:
        """In the other thread."""
        try:
            self._work()
        except BaseException as e:
            self._fault = e

    def fault(self) -> BaseException | None:
        """Waits until it is done, and gives what it raised."""
        self.join()
        return self._fault


def _end(group: int) -> None:
    """Ends a compiler and what it started: many a compiler is a script that calls the real one."""
    import signal

    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def log(done: CompletedProcess[str]) -> str:
    """All that a compiler printed: most complain on standard error, and some do not."""
    return done.stderr + done.stdout


def complaint(command: Sequence[str], done: CompletedProcess[str], source: str) -> str:
    """What to say of a compiler that made no binary: its first error, with the line that it is about."""
    what = f"the compiler {command[0]} failed (exit {done.returncode})"
    if done.returncode == 0:
        what = f"the compiler {command[0]} ended well and wrote no binary"
    about = first_error(log(done), source, _ERROR)
    if about:
        return f"{what} {about}The error has .log and .source"
    first = log(done).strip().partition("\n")[0] or "it printed nothing"
    return f"{what}: {first}. The command was: {shlex.join(command)}"
