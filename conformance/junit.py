"""A climb as JUnit XML, for the programs that show test results."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as Xml

from ..core.errors import CertificateError
from .outcome import EXPECTED, FAULTS, UNCLAIMED, Outcome


def write(outcome: Outcome, path: Path) -> None:
    """Writes one test suite a rung.

    Raises:
        CertificateError: when the file cannot be written.
    """
    root = Xml.Element("testsuites", name=f"portwright certify {outcome.device}", time=str(outcome.seconds))
    for row in outcome.summary():
        results = [r for r in outcome.results if r.rung is row.rung]
        suite = Xml.SubElement(
            root,
            "testsuite",
            name=row.rung.value,
            tests=str(len(results)),
            failures=str(row.failed),
            skipped=str(row.unclaimed + row.expected),
            time=f"{sum(r.seconds for r in results):.3f}",
        )
        for r in results:
            name = r.id.partition("::")[2]
            case = Xml.SubElement(
                suite, "testcase", classname=row.rung.value, name=name, time=f"{r.seconds:.4f}"
            )
            if r.outcome in FAULTS:
                fault = Xml.SubElement(
                    case, "failure", message=f"{r.outcome}: {r.message.partition(chr(10))[0]}"
                )
                fault.text = r.message
            elif r.outcome in (EXPECTED, UNCLAIMED):
                Xml.SubElement(case, "skipped", message=f"{r.outcome}: {r.message}")
    try:
        Xml.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as e:
        raise CertificateError(f"cannot write {path}: {e.strerror}") from e
