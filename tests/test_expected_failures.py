"""Expected failures: read strictly, applied both ways, counted, and never a way to pass unseen."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import jsonschema
import numpy as np
import pytest

from portwright.conformance import certificate, junit
from portwright.conformance.badge import badge
from portwright.conformance.expected import ExpectedFailure, read
from portwright.conformance.ladder import Rung
from portwright.conformance.outcome import CaseResult
from portwright.conformance.runner import as_expected, run
from portwright.conformance.selection import Selection
from portwright.core.errors import ArgumentError
from portwright.devices.numpy import NumPy

pytestmark = pytest.mark.usefixtures(
    "fresh"
)  # the faulty device takes NUMPY's place in none but its own test

TODAY = datetime.date(2026, 6, 1)
ENTRY = ExpectedFailure("casts::test_cast[float16-*]", "halves round down", datetime.date(2026, 6, 30))


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "expected.toml"
    path.write_text(
        '[[failure]]\ncases = "casts::test_cast[float16-*]"\n'
        'reason = "halves round down"\nexpires = 2026-06-30\n'
    )
    assert read(path) == (ENTRY,)
    path.write_text("# nothing yet\n")
    assert read(path) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[failure]", "expected"),
        ("other = 1\n", "holds other; write [[failure]] tables only"),
        ('failure = "x"\n', "holds failure"),
        ('[[failure]]\ncases = "x"\n', "[[failure]] 1: lacks expires, reason"),
        ('[[failure]]\ncases = "x"\nreason = "y"\nexpires = 2026-01-01\nwhy = 1\n', "has why, which means"),
        ('[[failure]]\ncases = "x"\nreason = " "\nexpires = 2026-01-01\n', "reason must be text that says"),
        ('[[failure]]\ncases = "x"\nreason = "y"\nexpires = "2026-01-01"\n', "a date without quotes"),
        ('[[failure]]\ncases = "x"\nreason = "y"\nexpires = 2026-01-01T10:00:00\n', "a date without quotes"),
        ("failure = [3]\n", "[[failure]] 1: lacks cases, expires, reason"),
    ],
)
def test_what_it_may_not_hold(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "expected.toml"
    path.write_text(text)
    with pytest.raises(ArgumentError) as caught:
        read(path)
    assert said.lower() in str(caught.value).lower()
    assert str(path) in str(caught.value)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="No such file"):
        read(tmp_path / "none.toml")


def test_brackets_mean_themselves() -> None:
    assert ENTRY.covers("casts::test_cast[float16-int8]")
    assert not ENTRY.covers("casts::test_castf")
    assert not ENTRY.covers("casts::test_cast[float32-int8]")


@pytest.mark.parametrize(
    ("outcome", "today", "after", "said"),
    [
        ("failed", TODAY, "expected", "halves round down (until 2026-06-30)"),
        ("crashed", ENTRY.expires, "expected", "halves round down"),
        ("failed", datetime.date(2026, 7, 1), "failed", "until 2026-06-30 only"),
        ("passed", TODAY, "failed", "is expected to fail"),
        ("unclaimed", TODAY, "unclaimed", "it said so"),
    ],
)
def test_both_ways(outcome: str, today: datetime.date, after: str, said: str) -> None:
    result = CaseResult("casts::test_cast[float16-int8]", outcome, 0.1, "it said so")
    seen = as_expected(result, [ENTRY], today)
    assert seen.outcome == after
    assert said in seen.message
    other = replace(result, id="casts::test_cast[float32-int8]")
    assert as_expected(other, [ENTRY], today) is other


MEMORY = Selection((Rung.MEMORY,))


class Lossy(NumPy):
    """Loses the first byte of what it is given, where that is four bytes or more."""

    def copy_in(self, handle: Any, data: memoryview) -> None:
        super().copy_in(handle, data)
        if data.nbytes >= 4:
            handle[:1] = np.uint8(0)


def far() -> datetime.date:
    return datetime.date.today() + datetime.timedelta(days=30)


def test_a_climb_with_expected_failures() -> None:
    plain = run(Lossy(), MEMORY)
    failing = [r.id for r in plain.failures]
    assert failing
    assert plain.verdict == "failed"
    known = [ExpectedFailure(case, "the first byte is lost", far()) for case in failing]
    outcome = run(Lossy(), MEMORY, expected=known)
    assert outcome.passed
    assert outcome.verdict == "conditional"
    assert {r.id for r in outcome.expected} == set(failing)
    (row,) = outcome.summary()
    assert (row.expected, row.failed) == (len(failing), 0)
    assert row.cases == row.passed + row.expected + row.unclaimed


def test_a_pass_that_was_not_expected_fails() -> None:
    known = [ExpectedFailure("memory::test_empty", "it was so once", far())]
    outcome = run(NumPy(), MEMORY, expected=known)
    assert [r.id for r in outcome.failures] == ["memory::test_empty"]
    assert "take 'memory::test_empty' out of the list" in outcome.failures[0].message


def test_the_certificate_says_so(tmp_path: Path) -> None:
    plain = run(Lossy(), MEMORY)
    known = [ExpectedFailure(r.id, "lost", far()) for r in plain.failures]
    device = Lossy()
    outcome = run(device, MEMORY, expected=known)
    document = certificate.build(outcome, device)
    jsonschema.validate(document, json.loads(certificate.SCHEMA.read_text()))
    assert document["verdict"] == "conditional"
    case = document["cases"][outcome.expected[0].id]
    assert case["outcome"] == "expected"
    assert case["reason"].startswith("lost (until ")
    path = tmp_path / "junit.xml"
    junit.write(outcome, path)
    skipped = Xml.parse(path).getroot().findall(".//skipped")
    assert sum(s.get("message", "").startswith("expected: lost") for s in skipped) == len(known)
    passed = sum(r.outcome == "passed" for r in outcome.results)
    assert f"{passed}/{len(outcome.cases)} measured, a part" in badge(document)


def test_the_suite_under_a_vendors_own_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_conformance.py").write_text(
        'from portwright.conformance.vendor import conformance\n\ntest_conformance = conformance("NUMPY")\n'
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "open or copy"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert f"2 passed, {len(Rung) - 2} deselected" in done.stdout, done.stdout + done.stderr
    broken = "NUMPY:no-such-thing"
    (tmp_path / "test_conformance.py").write_text(
        f'from portwright.conformance.vendor import conformance\n\ntest_it = conformance("{broken}")\n'
    )
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "2 failed" in done.stdout
    assert "takes nothing after the colon" in done.stdout
