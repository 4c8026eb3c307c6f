"""What installed distributions say of themselves, read without ``importlib.metadata``.

That module takes as long to import as all of the engine, and a device is opened in every process. A
distribution is, nearly always, a folder ``NAME-VERSION.dist-info`` of texts on ``sys.path``: such folders are
read here. It is asked for all others: those in archives, and those that only a finder of another kind knows.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from typing import Protocol

from .record import dataclass

_INFO = (".dist-info", ".egg-info")
_ABOUT = ("METADATA", "PKG-INFO", "")
"""The file that has name and version; a very old distribution is that file, and no folder."""


class Distribution(Protocol):
    """One that is installed."""

    def read_text(self, filename: str) -> str | None:
        """A file of it, None where it has none of the name; UnicodeDecodeError where it is no text."""


class _Folder:
    """A distribution that is a folder."""

    def __init__(self, path: str) -> None:
        self._path = path

    def read_text(self, filename: str) -> str | None:
        try:
            with open(os.path.join(self._path, filename) if filename else self._path, "rb") as file:
                return file.read().decode()
        except OSError:
            return None


@dataclass(frozen=True)
class EntryPoint:
    """An entry point as it is written."""

    group: str
    name: str
    value: str


def distributions() -> Iterator[Distribution]:
    """All that are installed, in the order in which they are imported from; one may be found twice."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_distributions", None)  # Python's own has none where another replaces it
        if find and finder is PathFinder:
            for entry in sys.path:
                yield from _at(entry or os.curdir)
        elif find:
            from importlib.metadata import DistributionFinder

            yield from find(DistributionFinder.Context())


def _at(entry: str) -> Iterator[Distribution]:
    """Those of one entry of ``sys.path``."""
    try:
        names = os.listdir(entry)
    except NotADirectoryError:  # an archive
        from importlib.metadata import distributions

        yield from distributions(path=[entry])
        return
    except OSError:
        return
    is_egg = entry.lower().endswith(".egg")
    for name in names:
        low = name.lower()
        if low.endswith(_INFO) or (is_egg and low == "egg-info"):
            yield _Folder(os.path.join(entry, name))


def entry_points(text: str) -> list[EntryPoint]:
    """What a file of entry points says.

    Raises:
        ValueError: when a line of it is no entry.
    """
    found: list[EntryPoint] = []
    group = ""
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1]
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise ValueError(f"the line {line!r} is no entry: it has no =")
        found.append(EntryPoint(group, name.strip(), value.strip()))
    return found


def name_and_version(distribution: Distribution) -> tuple[str, str]:
    """What a distribution is called and which it is; "unknown" and "?" where it does not say."""
    said: dict[str, str] = {}
    try:
        text = next(filter(None, map(distribution.read_text, _ABOUT)), "")
    except ValueError:  # no text
        text = ""
    for line in text.splitlines():
        if not line:
            break  # what follows is the description
        key, _, value = line.partition(":")
        said.setdefault(key.lower(), value.strip())
    return said.get("name") or "unknown", said.get("version") or "?"
