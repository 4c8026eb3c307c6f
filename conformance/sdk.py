"""Which Portwright this is, and which port: the commit of a checkout, and names for what files hold.

The name of some files is the same on every machine, whenever they were written and wherever they lie.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ..core.cache import digest

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 20
"""Seconds that git may take."""
_MATTERS = ("core", "devices", "conformance", "nn")
"""Folders of Portwright whose files results come of."""
_MOST_FILES = 4096
_MOST_BYTES = 16 << 20
"""Of a package: more files are left out, and larger ones measured, so that a data set costs little."""


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


def own_content() -> str:
    """One name for the files of Portwright that results come of."""
    folders = [ROOT / name for name in _MATTERS]
    return digest(*_named(ROOT, [*sorted(ROOT.glob("*.py")), *(f for d in folders for f in _files(d))]))


def package_content(module: str, file: Path) -> str:
    """One name for the files of the package that a module is of; of the module alone, where it is of none.

    Args:
        module: its full name, which tells how far up its package reaches.
        file: where it lies.
    """
    depth = module.count(".") + (file.stem == "__init__")
    folder = file.parents[max(0, depth - 1)]
    return digest(*_named(folder, islice(_files(folder), _MOST_FILES) if depth else [file]))


def _named(folder: Path, files: Iterable[Path]) -> Iterator[str]:
    """Each file as where it lies below a folder, and what it holds."""
    for path in files:
        size = path.stat().st_size
        held = str(size) if size > _MOST_BYTES else hashlib.sha256(path.read_bytes()).hexdigest()
        yield f"{path.relative_to(folder).as_posix()} {held}"


def _files(folder: Path) -> Iterator[Path]:
    """What lies below a folder, less what Python and tools leave there."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if f != "__pycache__" and not f.startswith("."))
        yield from (Path(root, n) for n in sorted(names) if not n.endswith(".pyc"))
