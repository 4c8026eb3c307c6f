"""``portwright verify``: what is whole is accepted; what is not is refused, with why."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from certificates import Document, changed, climb, written

from portwright.cli.main import main
from portwright.conformance import SUITE_VERSION, certificate, sdk
from portwright.conformance.form import form
from portwright.conformance.ladder import Rung
from portwright.conformance.runner import collect, run
from portwright.conformance.selection import Selection
from portwright.conformance.spread import Spread, percentile, spread, together
from portwright.conformance.verify import Verification, verify
from portwright.core.errors import CertificateError
from portwright.core.ops import CONTRACT_VERSION
from portwright.core.registry import open_device
from portwright.devices.numpy import NumPy

KEPT = Path(__file__).resolve().parent.parent / "docs" / "certificates"
KEYWORD = "test_name or (test_unary and SQRT)"


@pytest.fixture(scope="module")
def document() -> Document:
    """NUMPY on a few cases of two rungs."""
    return climb(NumPy(), [Rung.OPEN, Rung.PRIMITIVES], KEYWORD)


def check(document: Document) -> Verification:
    return verify(certificate.canonical(document) + b"\n")


def test_what_was_certified_is_accepted(document: Document) -> None:
    found = check(document)
    assert found == Verification(document, ())
    assert found.accepted
    assert form(document).faults == form(document).missing == ()


def test_people_read_what_it_claims(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(written(document, tmp_path / "c.json"))]) == 0
    out = capsys.readouterr().out
    for said in (
        "measured: the real device",
        "passed: every claimed case that was selected passed",
        "a part of the ladder: open, primitives",
        "portwright.devices.numpy:NumPy",
        "numpy: ",
        "furthest from exact: SQRT ",
        "by nobody",
        "accepted: ",
        document["sha256"],
    ):
        assert said in out


def test_programs_read_it_too(document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--json", str(written(document, tmp_path / "c.json"))]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["accepted"], found["problems"], found["signed_by"]) == (True, [], None)
    assert found["claims"]["evidence"] == ["measured: the real device"]


def spoilt(data: bytes, how: str) -> bytes:
    text = data.decode()
    return {
        "empty": b"",
        "truncated": data[:-100],
        "not UTF-8": b"\xff\xfe" + data,
        "edited": text.replace('"verdict":"passed"', '"verdict":"failed"').encode(),
        "indented": json.dumps(json.loads(text), indent=1).encode(),
        "reordered": json.dumps(dict(reversed(json.loads(text).items())), separators=(",", ":")).encode(),
        "a key twice": text.replace('{"accuracy"', '{"verdict":"passed","accuracy"').encode(),
        "something after it": data + b"\n",
        "NaN": text.replace('"seed":0', '"seed":NaN').encode(),
        "deep": b"[" * 100_000,
        "a list": b"[]",
        "another format": text.replace("portwright-certificate-1", "portwright-certificate-9").encode(),
    }[how]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("empty", "it is not JSON, or was cut short"),
        ("truncated", "it is not JSON, or was cut short"),
        ("not UTF-8", "it is not JSON, or was cut short"),
        ("edited", "it was edited: it says sha256"),
        ("indented", "its bytes are not canonical"),
        ("reordered", "its bytes are not canonical"),
        ("a key twice", "its bytes are not canonical"),
        ("something after it", "its bytes are not canonical"),
        ("NaN", "it is not JSON, or was cut short"),
        ("deep", "it is not JSON, or was cut short"),
        ("a list", "it is not a certificate"),
        ("another format", "it is not a certificate"),
    ],
)
def test_another_file_is_refused(
    document: Document, how: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(spoilt(certificate.canonical(document) + b"\n", how))
    assert main(["verify", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("refused: ") for line in lines)
    assert sum(said in line for line in lines) == 1


def rename(d: Document, name: str, to: str) -> None:
    d["cases"][to] = d["cases"].pop(name)
    d["suite"]["cases_sha256"] = certificate.cases_hash(d["cases"])


def drop(d: Document, name: str) -> None:
    """One case less, and every count and hash made to agree."""
    del d["cases"][name]
    d["suite"]["cases"] -= 1
    d["suite"]["cases_sha256"] = certificate.cases_hash(d["cases"])
    row = next(r for r in d["rungs"] if r["rung"] == name.partition("::")[0])
    row["cases"] -= 1
    row["passed"] -= 1


SQRT = "primitives::test_unary[SQRT-float32]"
EDITS: dict[str, tuple[Callable[[Document], object], str]] = {
    "a failure hidden": (
        lambda d: d["cases"][SQRT].update(outcome="failed"),
        "its verdict is passed, and by its",
    ),
    "a count": (lambda d: d["rungs"][1].update(passed=99), "primitives: it counts 99 passed, and lists 6"),
    "the number of cases": (lambda d: d["suite"].update(cases=3), "it lists 7 cases, and says that 3 were"),
    "another case": (
        lambda d: d["cases"].update({"open::test_x": {"outcome": "passed"}}),
        "the hash of its case",
    ),
    "a case left out": (lambda d: drop(d, SQRT), f"it lacks 1 cases of suite {SUITE_VERSION}: {SQRT}"),
    "a case renamed": (
        lambda d: rename(d, SQRT, "primitives::test_unary[SQRT-float99]"),
        f"it lists 1 cases that suite {SUITE_VERSION} does not have",
    ),
    "rungs": (lambda d: d["rungs"].reverse(), "its table of rungs is not of the rungs"),
    "a rung": (lambda d: d["suite"].update(rungs=["open"]), "its table of rungs is not of the rungs"),
    "complete": (
        lambda d: d["suite"].update(complete=True),
        "the whole ladder was climbed, and that is not so",
    ),
    "keyword": (lambda d: d["suite"].update(keyword="test_name"), "cases that suite"),
    "no expression": (
        lambda d: d["suite"].update(keyword="and and"),
        "its keyword 'and and' selects nothing",
    ),
    "an option": (
        lambda d: d["suite"].update(keyword="-pno_such_plugin"),
        "it lists 7 cases that suite",
    ),
    "worst ulp": (
        lambda d: d["accuracy"]["SQRT"]["float32"].update(ulp=2.5),
        "SQRT float32 lies 2.5 ulp away",
    ),
    "p99": (
        lambda d: d["accuracy"]["SQRT"]["float32"].update(p99=0.0625),
        "the 99th percentile 0.0625 is not",
    ),
    "native": (lambda d: d["spec"]["native"].remove("SIN"), "counts 25 native primitives, and names 24"),
    "primitives": (lambda d: d["primitives"].update(total=24), "do not add up to their total"),
    "arithmetic": (lambda d: d["spec"]["dtypes"].remove("int8"), "compute in dtypes that it does not hold"),
    "name": (lambda d: d["port"].update(name="ACME"), "the port is ACME, and the claims are of NUMPY"),
    "suite version": (lambda d: d["suite"].update(version=99), "it is of suite 99; update Portwright"),
    "contract version": (lambda d: d.update(contract=99), "it is about contract 99; update Portwright"),
    "a date": (lambda d: d.update(made_at="yesterday"), "its form is wrong: made_at"),
    "a field": (lambda d: d.update(mood="good"), "its form is wrong: the document"),
    "a field less": (lambda d: d["machine"].pop("cores"), "its form is wrong: machine.cores is missing"),
    "a line in a name": (lambda d: rename(d, SQRT, f"{SQRT}\nprimitives::x"), "its form is wrong: cases"),
    "a kind": (lambda d: d["suite"].update(seed="0"), "its form is wrong: suite.seed: '0' is not of type"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_parts_that_do_not_agree_are_refused(document: Document, edit: str) -> None:
    change, said = EDITS[edit]
    found = check(changed(document, change))
    assert any(said in problem for problem in found.problems), found.problems
    assert not any("was edited" in problem for problem in found.problems)  # it was sealed anew
    assert all("\n" not in problem for problem in found.problems)


def test_older_versions_are_accepted_with_a_note(document: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portwright.conformance.verify.SUITE_VERSION", SUITE_VERSION + 1)
    monkeypatch.setattr("portwright.conformance.verify.CONTRACT_VERSION", CONTRACT_VERSION + 1)
    found = check(document)
    assert found.accepted
    assert [f"it is {what}" in note for what, note in zip(("about", "of suite"), found.notes, strict=True)]
    assert "was not checked" in found.notes[1]


def test_a_certificate_of_an_older_form_says_what_it_lacks(document: Document) -> None:
    def older(d: Document) -> None:
        del d["suite"]["commit"]
        for rung in d["rungs"]:
            del rung["expected"]

    aged = changed(document, older)
    missing = form(aged).missing
    (problem,) = check(aged).problems
    assert problem == f"an older Portwright made it; it lacks {', '.join(missing)}"
    assert {"rungs[].expected", "suite.commit"} == set(missing)


@pytest.mark.parametrize("path", sorted(KEPT.glob("*.json")), ids=lambda p: p.stem)
def test_the_kept_certificates_are_whole_or_of_an_older_form(path: Path) -> None:
    problems = verify(path.read_bytes()).problems
    older = form(json.loads(path.read_bytes())).missing
    assert len(problems) == (1 if older else 0), problems
    assert all(p.startswith("an older Portwright made it; it lacks ") for p in problems)


def test_a_climb_that_stopped_has_no_cases_above() -> None:
    class Forgets(NumPy):
        """Loses what it is given."""

        def copy_in(self, handle: object, data: memoryview) -> None:
            """Nothing."""

    rungs = (Rung.OPEN, Rung.MEMORY, Rung.COPY)
    kept = open_device("NUMPY")
    outcome = run(Forgets(), Selection(rungs, "test_name or test_empty", stop=True))
    assert open_device("NUMPY") is kept, "a device that was opened by hand has the name while it is run"
    whole = certificate.build(outcome, NumPy())
    assert check(whole).accepted, check(whole).problems
    rungs = (Rung.COPY, Rung.VIEWS)
    failing = run(Forgets(), Selection(rungs, "test_there_and_back or test_flip", stop=True))
    stopped = certificate.build(failing, NumPy())
    assert [r["cases"] > 0 for r in stopped["rungs"]] == [True, False]
    assert check(stopped).accepted, check(stopped).problems


def test_cases_that_were_not_reached_are_listed() -> None:
    outcome = run(NumPy(), Selection((Rung.OPEN,)))
    lost = outcome.results.pop()
    document = certificate.build(outcome, NumPy())
    assert document["cases"][lost.id] == {"outcome": "not reached"}
    assert document["verdict"] == "failed"
    assert document["rungs"][0]["not_reached"] == 1
    assert check(document).accepted, check(document).problems


def test_a_terminal_is_not_moved_by_what_a_certificate_says(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(
        changed(document, lambda d: d["driver"].update(x="\x1b[2Jgone\u202e")), tmp_path / "c.json"
    )
    assert main(["verify", str(path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"x: \x1b[2Jgone\u202e" in out


def test_an_absent_file_is_no_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path / "absent.json")]) == 2
    assert "absent.json" in capsys.readouterr().err


def test_collecting_runs_nothing() -> None:
    selection = Selection((Rung.OPEN, Rung.COPY))
    assert collect(selection) == run(NumPy(), selection).cases
    assert collect(Selection((Rung.OPEN,), "test_name")) == ["open::test_name"]


def test_distances_add_up() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    parts = [np.abs(rng.normal(size=n)) * scale for n, scale in ((1000, 0.3), (17, 2.0), (400, 30.0))]
    parts.append(np.array([0.0, 0.0625, 4.0, 4.01, 1e30]))
    every = np.concatenate(parts)
    whole, added = spread(every), together(spread(p) for p in parts)
    assert added.histogram == whole.histogram
    assert added.count == whole.count == every.size
    assert added.mean == pytest.approx(whole.mean)
    exact = np.sort(every)[int(np.ceil(0.99 * every.size)) - 1]
    assert exact <= whole.p99 <= max(2 * exact, exact + 1 / 16)
    assert spread(np.array([0.0, 0.05, 0.0625, 0.07, 4.0, 4.01, 9.0])).histogram == {
        "0": 1, "0.0625": 2, "0.125": 1, "4": 1, "8": 1, "16": 1,
    }  # fmt: skip
    assert together([]) == spread(np.zeros(0)) == Spread(0, 0.0, {})
    assert percentile({}, 0.99) == 0


def test_a_certificate_says_how_its_results_spread(document: Document) -> None:
    for dtype, entry in document["accuracy"]["SQRT"].items():
        histogram = entry["histogram"]
        assert sum(histogram.values()) > 100, dtype
        top = max(map(float, histogram))
        assert entry["mean"] <= entry["p99"] <= top
        assert top - 1 / 16 <= entry["ulp"] <= top
    assert (
        sum(document["accuracy"]["SQRT"]["float16"]["histogram"].values()) == 31745
    )  # √x is finite: x ≥ 0, -0


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_of_a_checkout(tmp_path: Path) -> None:
    assert sdk.revision(tmp_path) == sdk.Revision(None, None)
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    (tmp_path / "below").mkdir()
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert sdk.revision(tmp_path) == sdk.Revision(commit, False)
    (tmp_path / "new").write_text("a certificate, say")
    assert sdk.revision(tmp_path) == sdk.Revision(commit, False)
    (tmp_path / "file").write_text("two")
    assert sdk.revision(tmp_path) == sdk.Revision(commit, True)
    assert sdk.revision(tmp_path / "below") == sdk.Revision(
        None, None
    )  # it lies in a checkout that is not its own


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sdk.revision() == sdk.Revision(None, None)


def test_a_schema_is_needed_only_to_verify() -> None:
    code = (
        "import sys; import portwright.cli.verify, portwright.conformance.verify; "
        "print('jsonschema' in sys.modules, 'cryptography' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]


def test_what_is_no_certificate_is_neither_shown_nor_compared(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = written(changed(document, lambda d: d.update(cases=3)), tmp_path / "odd.json")
    for command in (["report", str(odd)], ["compare", str(odd), str(odd)]):
        assert main(command) == 2
        assert "not in the form of a certificate" in capsys.readouterr().err
    with pytest.raises(CertificateError):
        certificate.load(tmp_path / "absent.json")
