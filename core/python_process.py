"""This interpreter once more, in another process that finds the modules that this one finds."""

from __future__ import annotations

import os
import sys


def command(module: str, *words: str) -> list[str]:
    """Runs a module; the folder that the process stands in is not looked through for others."""
    return [sys.executable, "-P", "-m", module, *words]


def environment() -> dict[str, str]:
    """What this process was started with, and all that it looks through for modules."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
