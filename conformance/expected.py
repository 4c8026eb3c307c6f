"""Expected failures: cases that a port is known to fail, each with a reason and a day on which that ends.

In: a TOML file of ``[[failure]]`` tables with ``cases`` (a name or a pattern of names), ``reason`` and
``expires`` (a date). What fails as expected is counted as such and stays in the denominator; what passes
although it is expected to fail is a failure, and so is what fails after its day.
"""

from __future__ import annotations

import datetime
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..core.errors import ArgumentError

KEYS = frozenset({"cases", "reason", "expires"})


@dataclass(frozen=True)
class ExpectedFailure:
    """Cases that are known to fail.

    Attributes:
        cases: their name, or a pattern of names: "casts::test_cast[float16-*]". Brackets mean themselves.
        reason: why they fail.
        expires: the last day on which they may.
    """

    cases: str
    reason: str
    expires: datetime.date

    def covers(self, case: str) -> bool:
        """Whether it is about the case called ``case``."""
        return fnmatchcase(case, self.cases.replace("[", "[[]"))

    def is_over(self, today: datetime.date) -> bool:
        """Whether its day has passed."""
        return today > self.expires


def read(path: Path) -> tuple[ExpectedFailure, ...]:
    """The expected failures of a file.

    Raises:
        ArgumentError: when it cannot be read, or holds anything else: which entry, and what to write.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise ArgumentError(f"{path}: {e.strerror}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ArgumentError(f"{path}: {e}") from e
    entries = document.pop("failure", [])
    if document or not isinstance(entries, list):
        held = ", ".join(document) or "failure"
        raise ArgumentError(f"{path}: holds {held}; write [[failure]] tables only")
    return tuple(_entry(path, number, entry) for number, entry in enumerate(entries, 1))


def _entry(path: Path, number: int, entry: Any) -> ExpectedFailure:
    where = f"{path}, [[failure]] {number}"
    keys = set(entry) if isinstance(entry, dict) else set()
    if keys != KEYS:
        odd = ", ".join(sorted(keys - KEYS))
        missing = ", ".join(sorted(KEYS - keys))
        said = [f"lacks {missing}" if missing else "", f"has {odd}, which means nothing" if odd else ""]
        raise ArgumentError(f"{where}: {'; '.join(s for s in said if s)}")
    for key in ("cases", "reason"):
        if not isinstance(entry[key], str) or not entry[key].strip():
            raise ArgumentError(f"{where}: {key} must be text that says something, not {entry[key]!r}")
    if type(entry["expires"]) is not datetime.date:
        raise ArgumentError(f"{where}: expires must be a date without quotes, as 2030-01-31")
    return ExpectedFailure(entry["cases"], entry["reason"], entry["expires"])
