"""Portwright as somebody else has it: a wheel, and environments with nothing of the checkout in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A command that sees nothing of the checkout; its output is in the failure."""
    done = attempt(*command, cwd=cwd, **env)
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def attempt(*command: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """The same, for a command that may fail."""
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")} | env
    return subprocess.run([*map(str, command)], cwd=cwd, env=clean, capture_output=True, text=True)


def build(work: Path) -> Path:
    """The folder with a wheel and an sdist, built from a copy so that the checkout stays as it is."""
    copy = work / "source"
    leave = shutil.ignore_patterns(
        ".git", ".venv", ".make", ".*_cache", ".hypothesis", "build", "dist", "*.egg-info", "__pycache__"
    )
    shutil.copytree(ROOT, copy, ignore=leave)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", work / "dist", copy, cwd=work)
    return work / "dist"


def install(wheel: Path, home: Path, *more: str) -> Path:
    """The ``bin`` folder of an empty environment with a wheel, what it asks for, and ``more``."""
    venv.create(home, with_pip=True)
    run(home / "bin" / "python", "-m", "pip", "install", "--quiet", wheel, *more, cwd=home)
    return home / "bin"


def over(below: Path, home: Path) -> Path:
    """The ``bin`` folder of an environment of its own that sees what another has.

    Args:
        below: the other's ``site-packages``; pip and what builds are taken from there.
        home: the new environment's folder.
    """
    venv.create(home, with_pip=False)
    (site,) = home.glob("lib/python*/site-packages")
    (site / "below.pth").write_text(f"import site; site.addsitedir({str(below)!r})\n", encoding="utf-8")
    for name, module in (("pip", "pip"), ("portwright", "portwright.cli.main"), ("pytest", "pytest")):
        command = home / "bin" / name
        command.write_text(f'#!/bin/sh\nexec "{home}/bin/python" -m {module} "$@"\n', encoding="utf-8")
        command.chmod(0o755)
    return home / "bin"
