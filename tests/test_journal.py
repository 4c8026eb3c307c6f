"""The journal: what a run that is killed has done is taken over, to the same certificate, or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import acme
import pytest
from timings import timing

from portwright.cli.main import main
from portwright.conformance import certificate, journal
from portwright.conformance.expected import ExpectedFailure
from portwright.conformance.journal import last_run, open_journal
from portwright.conformance.ladder import Rung
from portwright.conformance.outcome import CaseResult
from portwright.conformance.runner import collect
from portwright.conformance.selection import Selection
from portwright.conformance.subject import subject_of
from portwright.conformance.tiers import SuiteTier
from portwright.devices.numpy import NumPy

PORT = """
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

from portwright.core.ops import Op
from portwright.devices.numpy import NumPy

HERE = Path(__file__).parent


class Acme(NumPy):
    def __init__(self):
        super().__init__()
        driver = {"acme": (HERE / "driver").read_text()}
        self.spec = replace(self.spec, name="ACME", driver=driver)

    def compute(self, roots, inputs, outputs):
        if roots[0].op is Op.SQRT and (HERE / "stalls").exists():
            (HERE / "stalled").touch()
            time.sleep(600)
        super().compute(roots, inputs, outputs)
        if (HERE / "errs").exists() and roots[0].op is Op.NEG:
            outputs[0].write(bytes(outputs[0].nbytes))
"""
FEW = "test_opens or test_name or (test_unary and (float16 or int8))"
CASES = ["--rung", "open", "--rung", "primitives", "-k", FEW]
STALLS = "primitives::test_unary[SQRT-"


class Bench:
    """A vendor's port ACME in a folder of its own, a cache beside it, and the command in processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = acme.installed(folder, PORT)
        (self.site / "driver").write_text("1.0")
        self.environment = acme.environment(folder, self.site)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command, in a session of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "portwright.cli.main", "certify", "ACME", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, status: int = 0) -> tuple[str, str]:
        """What the command prints, to its end: standard output and error."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        assert process.returncode == status, out + err
        return out, err

    def cut_short(self, *arguments: str, by: signal.Signals = signal.SIGKILL) -> str:
        """Runs the command until the device stalls on a square root, and ends it; what it said."""
        (self.site / "stalls").touch()
        process = self.start(*arguments)
        try:
            for _ in range(6000):
                if (self.site / "stalled").exists() or process.poll() is not None:
                    break
                time.sleep(0.01)
            assert (self.site / "stalled").exists(), process.communicate()
            os.kill(process.pid, by)
            said = process.communicate(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):  # its workers, where they live on
                os.killpg(process.pid, signal.SIGKILL)
        (self.site / "stalls").unlink()
        (self.site / "stalled").unlink()
        return "".join(said)

    def journals(self) -> list[Path]:
        return sorted((self.folder / "cache" / "journals").glob("*.jsonl"))

    def results(self) -> list[str]:
        """The cases of the one journal, in the order in which they ended."""
        (path,) = self.journals()
        lines = [json.loads(line) for line in path.read_text().splitlines()[1:]]
        return [line["case"]["id"] for line in lines if "case" in line]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def timeless(path: Path) -> dict[str, Any]:
    """A certificate without what two runs never share: when, and how long."""
    document = dict(certificate.load(path))
    for key in ("made_at", "sha256"):
        del document[key]
    document["suite"] = {k: v for k, v in document["suite"].items() if k != "seconds"}
    document["rungs"] = [{k: v for k, v in r.items() if k != "seconds"} for r in document["rungs"]]
    return document


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_run_that_was_killed_goes_on_to_the_same_certificate(bench: Bench, jobs: str) -> None:
    bench.run(*CASES, "-o", "whole.json")
    bench.cut_short(*CASES, "--jobs", jobs)
    done = bench.results()
    assert len(done) > 3
    assert not any(case.startswith(STALLS) for case in done)
    _, said = bench.run(*CASES, "--jobs", jobs, "--resume", "-o", "resumed.json")
    assert f"{len(done)} cases are taken over from the run of 20" in said
    whole, resumed = (timeless(bench.folder / name) for name in ("whole.json", "resumed.json"))
    assert resumed == whole
    assert len(whole["cases"]) > len(done) + 5
    assert sorted(bench.results()) == sorted(whole["cases"])  # each was run once, and none again
    seconds = certificate.load(bench.folder / "resumed.json")["suite"]["seconds"]
    (path,) = bench.journals()
    assert seconds >= json.loads(path.read_text().splitlines()[len(done)])["seconds"] > 0


def test_a_run_that_was_interrupted_says_how_to_go_on(bench: Bench) -> None:
    said = bench.cut_short(*CASES, by=signal.SIGINT)
    assert "the same command with --resume goes on" in said
    done = bench.results()
    assert not any(case.startswith(STALLS) for case in done)
    out, said = bench.run(*CASES, "--resume")
    assert f"{len(done)} cases are taken over" in said
    assert "certified (a part of the ladder)" in out


def test_next_goes_on_too(bench: Bench) -> None:
    bench.run(*CASES, "--next", "-o", "whole.json")
    bench.cut_short(*CASES, "--next")
    _, said = bench.run(*CASES, "--next", "--resume", "-o", "resumed.json")
    assert "cases are taken over" in said
    assert timeless(bench.folder / "resumed.json") == timeless(bench.folder / "whole.json")


def test_a_finished_run_leaves_nothing_to_go_on_with(bench: Bench) -> None:
    few = ["--rung", "open", "--jobs", "0"]
    bench.run(*few)
    _, said = bench.run(*few, "--resume")
    assert "no run of this selection was cut short: all of it is run" in said
    assert len(bench.results()) == len(collect(Selection((Rung.OPEN,))))


def test_another_selection_is_another_journal(bench: Bench) -> None:
    bench.cut_short(*CASES)
    before = bench.results()
    _, said = bench.run(*CASES, "--seed", "1", "--resume", "--jobs", "0")
    assert "no run of this selection was cut short" in said
    assert len(bench.journals()) == 2
    _, said = bench.run(*CASES, "--resume")
    assert f"{len(before)} cases are taken over" in said
    assert len(bench.journals()) == 1  # the other was finished, and this is the last


def test_a_run_that_begins_anew_says_what_it_gives_up(bench: Bench) -> None:
    bench.cut_short(*CASES)
    n = len(bench.results())
    _, said = bench.run(*CASES, "--jobs", "0")
    assert f"cut short after {n} cases, is given up" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda site: (site / "driver").write_text("1.1"), "driver changed (acme 1.0 → 1.1)"),
        (lambda site: (site / "acme.py").write_text(PORT + "# mended\n"), "port changed ("),
    ],
    ids=["driver", "port"],
)
def test_what_another_port_or_driver_did_is_void(bench: Bench, change: Any, said: str) -> None:
    bench.cut_short(*CASES)
    change(bench.site)
    _, told = bench.run(*CASES, "--resume", "--jobs", "0", "-o", "after.json")
    (line,) = [text for text in told.splitlines() if "void" in text]
    assert said in line
    assert "all is run" in line
    document = certificate.load(bench.folder / "after.json")
    assert document["driver"] == {"acme": (bench.site / "driver").read_text()}
    assert sorted(bench.results()) == sorted(document["cases"])


def test_the_last_failed_are_run_again_until_none_is_left(bench: Bench) -> None:
    few = ["--rung", "open", "--rung", "primitives", "-k", "test_name or test_unary and float16"]
    (bench.site / "errs").touch()
    bench.run(*few, "--seed", "5", status=1)
    out, _ = bench.run("--last-failed", status=1)
    assert "0 of 2 cases passed" in out
    assert "--seed 5" in out  # the seed of the run in which they failed
    out, _ = bench.run("--last-failed", "-k", "bfloat16", "--jobs", "0", status=1)
    assert "0 of 1 cases passed" in out
    (bench.site / "errs").unlink()
    out, _ = bench.run("--last-failed", "--next")
    assert "1 of 1 cases passed" in out
    assert "(a part of the ladder)" in out
    _, said = bench.run("--last-failed", status=2)
    assert "none of the 1 cases of the last run of ACME failed" in said


def test_last_failed_needs_a_last_run(bench: Bench) -> None:
    _, said = bench.run("--last-failed", status=2)
    assert said.splitlines()[-1] == "portwright: no run of ACME is known here: portwright certify ACME"
    (bench.site / "errs").touch()
    bench.run("--rung", "primitives", "-k", "test_unary and NEG-float16", status=1)
    _, said = bench.run("--last-failed", "--rung", "open", status=2)
    assert "no case of the 1 that were named is in open of the standard tier" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--last-failed", "--resume"], "say one"),
        (["--last-failed", "-o", "x.json"], "makes no certificate"),
        (["--last-failed", "--json"], "makes no certificate"),
    ],
)
def test_what_does_not_go_together(
    arguments: Sequence[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["certify", "NUMPY", *arguments]) == 2
    assert said in capsys.readouterr().err


WHOLE = Selection()
RESULTS = [
    CaseResult("open::test_name", "passed", 0.25),
    CaseResult("copy::test_a", "failed", 0.5, "é\n\r\u2028 not\x1b 'equal'", (), "alike"),
    CaseResult("copy::test_b", "passed", 0.5, "", ({"op": "SIN", "ulp": 0.1, "spread": {"mean": 1 / 3}},)),
    CaseResult("speed::test_limit[copy]", "passed", 0.5, timing=timing(1 / 3)),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PORTWRIGHT_CACHE", str(tmp_path))
    return tmp_path / "journals"


def begun(results: Sequence[CaseResult] = RESULTS, selection: Selection = WHOLE) -> journal.Journal:
    made = open_journal(subject_of(NumPy()), selection, limit=120)
    for result in results:
        made.keep(result)
    return made


def resumed(**how: Any) -> journal.Journal:
    return open_journal(subject_of(NumPy()), WHOLE, **{"limit": 120, "resume": True, **how})


def test_results_come_back_as_they_were(folder: Path) -> None:
    begun()
    again = resumed()
    assert again.taken == tuple(RESULTS)
    assert again.said.startswith("4 cases are taken over")
    assert not again.fault


def test_a_journal_is_found_under_the_name_that_it_always_had(folder: Path) -> None:
    cases = frozenset({"copy::test_b", "copy::test_a"})
    begun(selection=Selection((Rung.OPEN, Rung.COPY), "a or b", SuiteTier.FULL, 7, cases))
    (path,) = folder.iterdir()
    assert path.name == "d822fdc133d49385-1397881a1a19c615.jsonl"
    assert json.loads(path.read_bytes().splitlines()[0])["selection"] == {
        "tier": "full",
        "seed": 7,
        "rungs": ["open", "copy"],
        "keyword": "a or b",
        "only": ["copy::test_a", "copy::test_b"],
        "boards": False,
    }


def test_a_climb_that_stops_and_one_that_does_not_share_a_journal(folder: Path) -> None:
    begun(selection=replace(WHOLE, stop=True))
    assert resumed().taken == tuple(RESULTS)


def test_a_torn_end_is_tolerated(folder: Path) -> None:
    begun()
    (path,) = folder.iterdir()
    data = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    for cut in sorted({end + i for end in ends for i in (-40, -1, 0, 1, 40)} & {*range(len(data) + 1)}):
        path.write_bytes(data[:cut])
        again = resumed()
        whole = sum(end <= cut for end in ends)
        assert again.taken == tuple(RESULTS[: max(0, whole - 1)]), cut
        again.keep(RESULTS[-1])  # and what follows is not glued to what was torn
        assert resumed().taken[-1] == RESULTS[-1]


def test_what_follows_a_hole_does_not_count(folder: Path) -> None:
    begun()
    (path,) = folder.iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"\0" * 512 + b"\n", *lines[3:]]))
    assert resumed().taken == tuple(RESULTS[:1])


def test_a_result_of_the_second_run_replaces_that_of_the_first(folder: Path) -> None:
    begun().keep(replace(RESULTS[0], outcome="failed"))
    assert {r.id: r.outcome for r in resumed().taken}["open::test_name"] == "failed"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"limit": 4}, "limit 120 → 4"),
        (
            {"expected": [ExpectedFailure("open::*", "slow", date(2999, 1, 1))]},
            "expected failures changed",
        ),
    ],
    ids=["limit", "expected"],
)
def test_other_rules_make_it_void(folder: Path, how: dict[str, Any], said: str) -> None:
    begun()
    again = resumed(**how)
    assert again.taken == ()
    assert "is void" in again.said
    assert said in again.said


def test_another_commit_makes_it_void(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from portwright.conformance.sdk import Revision

    begun()
    monkeypatch.setattr("portwright.conformance.subject.revision", lambda: Revision("f" * 40, False))
    again = resumed()
    assert again.taken == ()
    assert "Portwright changed (" in again.said
    assert "commit" in again.said


def test_a_folder_that_cannot_be_written_is_said_and_nothing_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PORTWRIGHT_CACHE", str(tmp_path / "file" / "cache"))
    assert main(["certify", "NUMPY", "--rung", "open", "--jobs", "0"]) == 0
    assert capsys.readouterr().err.count("no journal is kept") == 1


def test_a_certificate_that_could_not_be_written_is_not_lost(bench: Bench) -> None:
    (bench.folder / "full.json.part").mkdir()  # where the certificate would be written first
    _, said = bench.run("--rung", "open", "--jobs", "0", "-o", "full.json", status=2)
    assert "cannot write" in said
    (bench.folder / "full.json.part").rmdir()
    _, said = bench.run("--rung", "open", "--jobs", "0", "-o", "full.json", "--resume")
    cases = len(collect(Selection((Rung.OPEN,))))
    assert f"{cases} cases are taken over" in said
    assert certificate.load(bench.folder / "full.json")["rungs"][0]["cases"] == cases


def test_the_last_run_is_the_newest_with_results(folder: Path) -> None:
    assert last_run("NUMPY") is None
    begun().finish()
    begun([], replace(WHOLE, seed=1))  # interrupted before its first case
    last = last_run("NUMPY")
    assert last is not None
    assert (last.failed, last.cases, last.seed) == ({"copy::test_a"}, 4, 0)


def test_what_was_to_be_run_again_and_was_not_reached_still_counts(folder: Path) -> None:
    names = frozenset({"copy::test_a", "copy::test_b", "copy::test_c"})
    begun([RESULTS[1], RESULTS[2]], replace(WHOLE, only=names))
    last = last_run("NUMPY")
    assert last is not None
    assert last.failed == {"copy::test_a", "copy::test_c"}


def test_few_journals_are_kept(folder: Path) -> None:
    for seed in range(journal.MOST_KEPT + 5):
        begun(RESULTS[:1], replace(WHOLE, seed=seed))
    begun().finish()
    assert len(list(folder.iterdir())) == journal.MOST_KEPT + 1
    begun(selection=replace(WHOLE, seed=99)).finish()
    assert len(list(folder.iterdir())) == journal.MOST_KEPT + 1  # the finished one before it went
