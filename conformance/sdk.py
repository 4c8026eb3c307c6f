"""Which Portwright this is, where it lies in a checkout of its own: the commit, and whether files differ."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 20
"""Seconds that git may take."""


@dataclass(frozen=True)
class Revision:
    """Where the package's files come from.

    Attributes:
        commit: in hex; None of a package that was installed, or where there is no git to ask.
        dirty: whether a file that is kept in git differs from the commit; None where there is none.
    """

    commit: str | None
    dirty: bool | None


def revision(folder: Path = ROOT) -> Revision:
    """The revision of the checkout whose root ``folder`` is: one that merely lies in another's has none."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    if not top or not commit or changed is None or Path(top).resolve() != folder.resolve():
        return Revision(None, None)
    return Revision(commit, bool(changed))


def _git(folder: Path, *words: str) -> str | None:
    """What git prints; None where it is missing or refuses."""
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith("GIT_")
    }  # a hook's names another tree
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    try:
        ran = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ran.stdout.strip() if ran.returncode == 0 else None
