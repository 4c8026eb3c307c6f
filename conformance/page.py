"""A certificate as one page for people (HTML): what it says, sorted for the eye, and nothing more.

What comes in is another's text: the template escapes all of it, the page has no script, and its own policy
(Content-Security-Policy) forbids it to load or run anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from .. import __version__
from ..core.dtype import ALL
from ..core.errors import CertificateError
from ..core.ops import ALL_OPS, Op, is_supported
from . import roofline, speed
from .certificate import Document
from .claims import EVIDENCE, VERDICTS, Reason, because, claims, failed, first_line, no_speed
from .histogram import Histogram, histogram
from .ladder import Rung
from .outcome import EXPECTED, FAILED, FAULTS, NOT_REACHED, PASSED, UNCLAIMED
from .verify import Verification, counts

TEMPLATE = Path(__file__).with_name("page.html.j2")
TRIED_ON = (Rung.PRIMITIVES.value, Rung.CASTS.value)
"""The rungs whose cases are about one primitive on one dtype."""
_SOURCE = "\n  kernel\n"
"""Where a failure's generated source begins."""
_PARAMETERS = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class Cell:
    """A primitive on a dtype.

    Attributes:
        kind: "native", "legalized", "host", "unclaimed", or "" where it has no meaning.
        result: "passed", "failed", "expected" (to fail) or "not tried".
        said: in a word or two, what came of it.
    """

    kind: str
    result: str = ""
    said: str = ""

    @property
    def look(self) -> str:
        """The class that colours it."""
        if self.result in (FAILED, EXPECTED):
            return self.result
        return "untried" if self.result == "not tried" else self.kind or "none"


@dataclass(frozen=True)
class Row:
    """A primitive, on each dtype of the contract in order."""

    op: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Step:
    """A rung: what it shows, how many of its cases did what, and how that is called."""

    rung: str
    shows: str
    counts: Mapping[str, int]
    worst_ulp: float | None
    seconds: float | None
    state: str


@dataclass(frozen=True)
class Failure:
    """A case that failed: its report, and the generated source apart from it."""

    case: str
    outcome: str
    report: str
    source: str

    @property
    def brief(self) -> str:
        """The first line of the report."""
        return first_line(self.report)


def page(document: Document, found: Verification, files: Mapping[str, str] | None = None) -> str:
    """The page of a certificate.

    Args:
        document: the certificate, as ``form.read`` gives it.
        found: what came of verifying it.
        files: where the script and the text of failures are, less ``.py`` and ``.txt``, by case, beside the
            page; None of a page that stands alone.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    times = document.get("speed", speed.by_name(()))
    return template.render(
        certificate=document,
        found=found,
        version=__version__,
        tier=document["suite"].get("tier", "standard"),
        evidence=EVIDENCE[document["evidence"]],
        verdict=VERDICTS[document["verdict"]],
        passed=sum(case["outcome"] == PASSED for case in document["cases"].values()),
        claims=[c for c in claims(document) if c.about not in APART],
        ladder=list(ladder(document)),
        dtypes=[d.name for d in ALL],
        matrix=matrix(document),
        histograms=list(histograms(document)),
        roofline=roofline.roofline(times),
        jobs=roofline.jobs(times),
        limits=roofline.limits(times),
        no_speed=no_speed(document),
        failures=list(failures(document)),
        files=files or {},
        expected=because(document, EXPECTED),
        skipped=because(document, UNCLAIMED),
        not_reached=_cases_of(because(document, NOT_REACHED)),
    )


APART = frozenset({"evidence", "verdict", "speed", "failed", "expected", "skipped", "not reached"})
"""Claims to which the page gives a place of their own."""


def save(text: str, path: Path) -> None:
    """Writes a page.

    Raises:
        CertificateError: when the file cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as e:
        raise CertificateError(f"cannot write {path}: {e.strerror}") from e


def ladder(document: Document) -> Iterator[Step]:
    """Every rung that was asked for, in the certificate's order."""
    shows = {r.value: r.shows for r in Rung}
    for row in document["rungs"]:
        n = counts(document["cases"], row["rung"])
        yield Step(
            row["rung"], shows.get(row["rung"], ""), n, row["worst_ulp"], row.get("seconds"), _state(n)
        )


def _state(n: Mapping[str, int]) -> str:
    if n["not_reached"] == n["cases"]:
        return NOT_REACHED
    if n["failed"] or n["not_reached"]:
        return FAILED
    if n["expected"]:
        return EXPECTED
    return PASSED if n["passed"] else UNCLAIMED


def matrix(document: Document) -> list[Row]:
    """Every primitive on every dtype of this Portwright's contract."""
    outcomes = _tried(document)
    ops = [op for op in Op if op in ALL_OPS]
    return [
        Row(op.name, tuple(_cell(document, op, d.name, outcomes, is_supported(op, d)) for d in ALL))
        for op in ops
    ]


def _cell(
    document: Document, op: Op, dtype: str, outcomes: Mapping[tuple[str, str], set[str]], has_meaning: bool
) -> Cell:
    spec = document["spec"]
    if not has_meaning:
        return Cell("")
    if dtype not in spec["dtypes"]:
        return Cell(UNCLAIMED)
    rest = "host" if spec.get("reach") == "dispatch" else "legalized"
    native_on = spec.get("native_on", {}).get(op.value, spec["arithmetic"])
    kind = "native" if op.value in spec["native"] and dtype in native_on else rest
    seen = outcomes.get((op.name, dtype), set())
    if seen & FAULTS:
        return Cell(kind, FAILED, FAILED)
    if EXPECTED in seen:
        return Cell(kind, EXPECTED, EXPECTED)
    if PASSED not in seen:
        return Cell(kind, "not tried", "not tried")
    if document["evidence"] == "compiled":
        return Cell(kind, PASSED, "compiled")
    measured = document["accuracy"].get(op.name, {}).get(dtype)
    return Cell(kind, PASSED, "exact" if measured is None else f"{measured['ulp']:.3g} ulp")


def _tried(document: Document) -> dict[tuple[str, str], set[str]]:
    """The outcomes of the cases about each primitive and dtype, read from the names of the cases.

    "primitives::test_unary[SIN-float32]" names both; "casts::test_cast[int8-bool]" the primitive by what the
    function is called, and as dtype that of the result.
    """
    ops, dtypes = {op.name for op in Op}, {d.name for d in ALL}
    found: dict[tuple[str, str], set[str]] = {}
    for name, case in document["cases"].items():
        rung, _, rest = name.partition("::")
        if rung not in TRIED_ON:
            continue
        function, _, parameters = rest.partition("[")
        words = _PARAMETERS.findall(parameters)
        about = [w for w in words if w in ops] or [w.upper() for w in function.split("_") if w.upper() in ops]
        on = [w for w in words if w in dtypes][-1:]
        for op in about:
            for dtype in on:
                found.setdefault((op, dtype), set()).add(case["outcome"])
    return found


def histograms(document: Document) -> Iterator[Histogram]:
    """A picture for each primitive and dtype whose distances are known, in the contract's order."""
    for op in (op.name for op in Op):
        for dtype in (d.name for d in ALL):
            measured: Mapping[str, Any] = document["accuracy"].get(op, {}).get(dtype, {})
            if measured.get("histogram"):
                yield histogram(op, dtype, measured)


def failures(document: Document) -> Iterator[Failure]:
    """The cases that did not do what the port claims, each with the kernel that it ran."""
    for reason in failed(document):
        for case in reason.cases:
            report, _, source = reason.text.partition(_SOURCE)
            yield Failure(case, document["cases"][case]["outcome"], report.strip("\n"), dedent(source))


def _cases_of(reasons: tuple[Reason, ...]) -> list[str]:
    return [case for reason in reasons for case in reason.cases]
