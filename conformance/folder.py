"""The report folder: a certificate, its page, badge and JUnit XML, and a script for every case that failed.

    DIR/certificate.json  report.html  badge.svg  junit.xml
    DIR/failures/CASE.py   shows the failure by itself: exit status 1 while it is there, 0 when it is gone
    DIR/failures/CASE.txt  all that is told of it

Whoever writes it again overwrites these, and removes the failures of the time before; other files stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import ArgumentError, CertificateError
from . import badge, certificate, junit, page
from .certificate import Document
from .ladder import again
from .outcome import CaseResult, Outcome
from .script import script_of_case
from .verify import verify

PAGE = "report.html"
FAILURES = "failures"
MARK = "# A failure that portwright certify found."
"""How the files of failures begin, which tells them from others'."""
MOST_NAME = 100
"""Letters of a file's name: every system takes as many."""
_UNSAFE = re.compile(r"[^A-Za-z0-9_.]+|[.]{2,}")


@dataclass(frozen=True)
class Written:
    """Where the files of a failure are, less their endings, from the folder on."""

    case: str
    stem: str


def prepare(folder: Path) -> None:
    """Makes sure, before anything is run, that a report can be written.

    Raises:
        ArgumentError: when it cannot, with why.
    """
    try:
        (folder / FAILURES).mkdir(parents=True, exist_ok=True)
        probe = folder / FAILURES / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as e:
        raise ArgumentError(
            f"cannot write a report into {folder}: {e.strerror}. Name another folder with --report"
        ) from e


def write(folder: Path, outcome: Outcome, document: Document) -> Path:
    """Writes the report of a climb, whole or as far as it came.

    Args:
        folder: where, as ``prepare`` left it.
        outcome: what came of the cases.
        document: the certificate.

    Returns:
        The page.

    Raises:
        CertificateError: when a file cannot be written.
    """
    made = folder / PAGE
    certificate.save(document, folder / "certificate.json")
    badge.save(document, folder / "badge.svg")
    junit.write(outcome, folder / "junit.xml")
    try:
        _forget(folder / FAILURES)
        written = list(_failures(folder, outcome))
    except OSError as e:
        raise CertificateError(f"cannot write {e.filename}: {e.strerror}") from e
    found = verify(certificate.canonical(document) + b"\n")
    page.save(page.page(document, found, {w.case: w.stem for w in written}), made)
    return made


def names(cases: Sequence[str]) -> Iterator[Written]:
    """A name for each case that is a file's on every system: letters that all have, and no two alike."""
    taken = set[str]()
    for case in cases:
        name = _UNSAFE.sub("-", case).strip("-.")[:MOST_NAME]
        made, n = name, 2
        while made.casefold() in taken:
            made, n = f"{name}-{n}", n + 1
        taken.add(made.casefold())
        yield Written(case, f"{FAILURES}/{made}")


def _failures(folder: Path, outcome: Outcome) -> Iterator[Written]:
    results = {r.id: r for r in outcome.failures}
    for written in names(list(results)):
        result = results[written.case]
        (folder / f"{written.stem}.py").write_text(_program(result, outcome), encoding="utf-8")
        told = f"{MARK}\n{result.outcome.upper()} {result.id}\n{result.message}\n"
        (folder / f"{written.stem}.txt").write_text(told, encoding="utf-8")
        yield written


def _program(result: CaseResult, outcome: Outcome) -> str:
    which = (outcome.device, result.id, outcome.selection.seed)
    return f"{MARK}\n# {again(*which)}\n\n{result.script or script_of_case(*which)}"


def _forget(failures: Path) -> None:
    """Removes what an earlier report left of failures."""
    failures.mkdir(parents=True, exist_ok=True)
    for path in failures.iterdir():
        if path.suffix in (".py", ".txt") and path.is_file():
            with path.open(encoding="utf-8", errors="replace") as file:
                is_ours = file.readline().rstrip("\n") == MARK
            if is_ours:
                path.unlink()
