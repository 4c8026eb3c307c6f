"""The three-way merge of a project with the templates that it was made from.

In: a project with its record (``.portwright.json``: the answers, and every file as it was first rendered: the
base), and the same project as the templates would render it today. Out: what is to become of each file.
Nothing that was written by hand is lost: what both sides changed in one place stands in the file twice,
between conflict markers.
"""

from __future__ import annotations

import enum
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import ArgumentError
from ..templates.project import FORMAT, KEPT_ANSWERS, RECORD, files_of
from .scaffold import generate

MARKER = "<<<<<<< yours"
LABELS = ("yours", "as it was made", "the templates today")
_MOST_CONFLICTS = 127  # git merge-file ends with the number of conflicts, up to here, or with an error


class Fate(enum.Enum):
    """What becomes of a file."""

    ADDED = "added"  # the templates have it now
    UPDATED = "updated"  # you left it as it was made
    MERGED = "merged"  # both sides changed it, in different places
    CONFLICT = "you choose"  # both changed one place
    REMOVED = "removed"  # the templates have it no more, and you left it as it was made
    KEPT = "kept"  # the templates have it no more, and you changed it
    LEFT_OUT = "left out"  # the templates changed it, and you had removed it


@dataclass(frozen=True)
class Change:
    """One file of an upgrade.

    Attributes:
        path: inside the project.
        fate: what becomes of it.
        text: what it will hold; None: it goes.
        why: what there is to know or to choose; empty where nothing is.
    """

    path: str
    fate: Fate
    text: str | None
    why: str = ""


@dataclass(frozen=True)
class Upgrade:
    """What an upgrade does.

    Attributes:
        folder: the project's.
        made_by, now: the versions of Portwright on both ends.
        changes: by path; files that stay as they are have none.
        record: the record afterwards.
    """

    folder: Path
    made_by: str
    now: str
    changes: tuple[Change, ...]
    record: str

    @property
    def conflicts(self) -> list[Change]:
        """What is left to choose."""
        return [c for c in self.changes if c.fate is Fate.CONFLICT]

    @property
    def is_needed(self) -> bool:
        """Whether the templates differ from those that the project was made from."""
        return bool(self.changes)

    def apply(self) -> None:
        """Writes the changes, and the record last, so that what is cut short can be run again."""
        for change in self.changes:
            path = self.folder / change.path
            if change.text is None:
                path.unlink(missing_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f"{path.name}.part")
            beside.write_text(change.text, encoding="utf-8")
            if path.exists():
                shutil.copymode(path, beside)
            beside.replace(path)
        (self.folder / RECORD).write_text(self.record, encoding="utf-8")


def find_project(start: Path) -> Path:
    """The project that ``start`` is in.

    Raises:
        ArgumentError: when it is in none.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / RECORD).is_file():
            return folder
    raise ArgumentError(
        f"{start.resolve()} is in no project that portwright new made: there is no {RECORD}. Go into one, or "
        "name its folder"
    )


def plan(folder: Path) -> Upgrade:
    """What bringing the project in ``folder`` up to date would change; nothing is written.

    Raises:
        ArgumentError: when its record cannot be read, a conflict of an earlier upgrade is still open, or git
            is missing.
    """
    record = _record(folder)
    open_ones = [p for p in record["base"] if MARKER in (_text(folder / p) or "")]
    if open_ones:
        raise ArgumentError(
            f"there are conflicts to resolve first, marked {MARKER!r}: {', '.join(open_ones)}"
        )
    with tempfile.TemporaryDirectory(prefix="portwright-") as work:
        fresh = generate(record["answers"], Path(work), again=True)
        today, new_record = files_of(fresh), (fresh / RECORD).read_text(encoding="utf-8")
    base: Mapping[str, str] = record["base"]
    changes = [_change(folder, path, base.get(path), today.get(path)) for path in sorted({*base, *today})]
    return Upgrade(
        folder,
        record["portwright"],
        json.loads(new_record)["portwright"],
        tuple(c for c in changes if c is not None),
        new_record,
    )


def _record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        whole = (
            record["format"] == FORMAT
            and set(record["answers"]) == set(KEPT_ANSWERS)
            and all(isinstance(text, str) for text in record["base"].values())
            and isinstance(record["portwright"], str)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise ArgumentError(f"{path} cannot be read ({type(e).__name__}: {e}). Take it back from git") from e
    if not whole:
        raise ArgumentError(f"{path} is not whole, or of another Portwright. Take it back from git")
    return record


def _change(folder: Path, path: str, base: str | None, today: str | None) -> Change | None:
    """What becomes of one file; None: it stays."""
    yours = _text(folder / path)
    if today is None:
        if yours is None:
            return None
        if yours != base:
            return Change(path, Fate.KEPT, yours, "the templates have it no more, and you changed it")
        return Change(path, Fate.REMOVED, None)
    if base == today or yours == today:
        return None
    if yours is None:
        if base is None:
            return Change(path, Fate.ADDED, today)
        return Change(path, Fate.LEFT_OUT, None, "the templates changed it, and you had removed it")
    if yours == base:
        return Change(path, Fate.UPDATED, today)
    merged = _merge(yours, base or "", today)
    if merged.conflicts:
        places = "one place" if merged.conflicts == 1 else f"{merged.conflicts} places"
        return Change(path, Fate.CONFLICT, merged.text, f"both changed {places}: look for {MARKER!r}")
    return Change(path, Fate.MERGED, merged.text)


@dataclass(frozen=True)
class _Merged:
    text: str
    conflicts: int


def _merge(yours: str, base: str, today: str) -> _Merged:
    """``git merge-file`` on three texts."""
    git = shutil.which("git")
    if git is None:
        raise ArgumentError("git is not on the PATH, and merges the files. Install it: apt-get install git")
    with tempfile.TemporaryDirectory(prefix="portwright-") as work:
        names = []
        for name, text in zip(("yours", "base", "today"), (yours, base, today), strict=True):
            names.append(Path(work, name))
            names[-1].write_text(text, encoding="utf-8", newline="")
        labels = [word for label in LABELS for word in ("-L", label)]
        done = subprocess.run(
            [git, "merge-file", "-p", "--diff3", *labels, *map(str, names)], capture_output=True, check=False
        )
    if not 0 <= done.returncode <= _MOST_CONFLICTS:
        raise ArgumentError(f"git merge-file failed: {done.stderr.decode(errors='replace').strip()}")
    return _Merged(done.stdout.decode("utf-8"), done.returncode)


def _text(path: Path) -> str | None:
    """A file's text as it is, line ends too; None where there is no file."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as e:
        raise ArgumentError(f"{path} cannot be read as text: {e}. Mend it, or take it back from git") from e
