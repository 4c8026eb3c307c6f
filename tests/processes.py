"""Running a piece of Python in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap


def in_process(code: str, **environment: str) -> str:
    """Runs ``code`` in a new process, which must end well; gives what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, env={**os.environ, **environment}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
