"""A climb on a cluster: the certificate of one machine, whichever workers are lost, or one clear error."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import Bench, ended, lives, timeless, wait_for
from elsewhere import ROOT
from processes import in_process

from portwright.cli.main import main
from portwright.conformance import certificate
from portwright.conformance.claims import claims
from portwright.conformance.form import form
from portwright.conformance.journal import open_journal
from portwright.conformance.ladder import Rung
from portwright.conformance.outcome import CaseResult, Outcome
from portwright.conformance.selection import Selection
from portwright.conformance.subject import Subject, subject_of
from portwright.devices.numpy import NumPy

SOME = "test_open or test_memory or (test_unary and (float16 or int8) and not bfloat16)"
CASES = ["--rung", "open", "--rung", "memory", "--rung", "primitives", "-k", SOME]
"""Three pieces: the last holds the case that stalls."""
FEW = ["--rung", "primitives", "-k", "test_unary and float16 and not bfloat16"]
SQRT = "primitives::test_unary[SQRT-float16]"

Start = Callable[..., Bench]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a cluster that has workers of these names."""
    made: list[Bench] = []

    def begin(*workers: str, options: tuple[str, ...] = (), **environment: str) -> Bench:
        bench = Bench(tmp_path, **environment)
        made.append(bench)
        for name in workers:
            bench.add_worker(name, *options)
        if workers:
            bench.wait_for_workers(len(workers))
        return bench

    yield begin
    for each in made:
        each.close()


def read(bench: Bench, name: str) -> dict[str, Any]:
    return timeless(certificate.load(bench.folder / name))


def test_a_worker_that_is_killed_costs_nothing_but_time(start: Start) -> None:
    bench = start("a", "b")
    stalls = bench.does("stalls")
    command = bench.start(*CASES, "-o", "shared.json")
    wait_for(lambda: bench.results() and bench.stalled(), "a first piece and one that stalls")
    ((lost, process),) = bench.stalled().items()
    bench.lose(lost)
    wait_for(lambda: not lives(process), "the end of what the lost worker ran")
    stalls.unlink()
    out, err = ended(command, 0)
    assert "38 of 38 cases passed" in out
    assert f"{bench.address}: 2 workers with ACME" in err
    assert "workers that left: tcp://127.0.0.1:" in err
    assert sorted(bench.results()) == sorted(read(bench, "shared.json")["cases"])  # each counts once
    bench.run(*CASES, "-o", "alone.json", cluster=False)
    assert read(bench, "shared.json") == read(bench, "alone.json")
    assert bench.is_tidy()


def test_what_fails_fails_as_on_one_machine(start: Start) -> None:
    bench = start("a")
    for fault in ("crashes", "hangs", "errs"):
        bench.does(fault)
    known = bench.folder / "known.toml"
    case = "primitives::test_unary[NEG-float16]"
    known.write_text(f'[[failure]]\ncases = "{case}"\nreason = "mended in 1.1"\nexpires = 2999-01-01\n')
    few = [*FEW, "--limit", "4", "--expect", str(known)]
    for name, cluster in (("shared.json", True), ("alone.json", False)):
        bench.run(*few, "-o", name, status=1, cluster=cluster)
    shared = read(bench, "shared.json")
    assert shared == read(bench, "alone.json")
    outcomes = {name.partition("[")[2].partition("-")[0]: c["outcome"] for name, c in shared["cases"].items()}
    assert outcomes.pop("SQRT") == "crashed"
    assert outcomes.pop("SIN") == "hung"
    assert outcomes.pop("NEG") == "expected"
    assert set(outcomes.values()) == {"passed"}


def test_a_case_that_takes_each_worker_down_is_crashed(start: Start) -> None:
    allowed = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    bench = start("a", options=("--nanny",), **allowed)  # a nanny starts it again
    bench.does("kills")
    bench.run(*FEW, "-o", "shared.json", status=1)
    cases = read(bench, "shared.json")["cases"]
    crashed = cases.pop(SQRT)
    assert crashed["outcome"] == "crashed"
    assert "took down what ran it" in crashed["reason"]
    assert (
        "portwright certify ACME --rung primitives -k 'test_unary[SQRT-float16]' --seed 0"
        in crashed["reason"]
    )
    assert {c["outcome"] for c in cases.values()} == {"passed"}
    assert len(cases) == 5
    assert bench.is_tidy()


def test_next_stops_where_one_machine_does(start: Start) -> None:
    bench = start("a", "b")
    bench.does("errs")
    climb = [*CASES, "--rung", "casts", "--next"]
    out, _ = bench.run(*climb, "-o", "shared.json", status=1)
    assert "next: mend primitives::test_unary[NEG-" in out
    bench.run(*climb, "-o", "alone.json", status=1, cluster=False)
    assert read(bench, "shared.json") == read(bench, "alone.json")


def test_all_workers_lost_is_one_error_and_a_run_to_resume(start: Start) -> None:
    bench = start("a")
    stalls = bench.does("stalls")
    command = bench.start(*CASES)
    wait_for(bench.stalled, "a piece that stalls")
    bench.lose("a")
    stalls.unlink()
    _, err = ended(command, 2)
    *_, advice, error = err.splitlines()
    assert advice == "what is done is kept: the same command with --resume goes on"
    assert f"every worker of {bench.address} that held ACME is gone (tcp://127.0.0.1:" in error
    done = bench.results()
    assert done
    assert SQRT not in done
    bench.add_worker("b")
    bench.wait_for_workers(1)
    _, err = bench.run(*CASES, "--resume", "-o", "resumed.json")
    assert f"{len(done)} cases are taken over from the run of 20" in err
    bench.run(*CASES, "-o", "alone.json", cluster=False)
    assert read(bench, "resumed.json") == read(bench, "alone.json")


@pytest.mark.parametrize(("by", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_who_asked_is_gone_and_so_is_what_is_under_way(start: Start, by: signal.Signals, status: int) -> None:
    bench = start("a")
    stalls = bench.does("stalls")
    command = bench.start(*CASES)
    wait_for(bench.stalled, "a piece that stalls")
    command.send_signal(by)
    _, err = ended(command, status)
    assert ("the same command with --resume goes on" in err) == (by is signal.SIGINT)
    (process,) = bench.stalled().values()
    wait_for(lambda: not lives(process), "the end of the case")
    wait_for(bench.is_tidy, "the end of its files")
    stalls.unlink()
    assert bench.workers["a"].poll() is None
    done = bench.results()
    out, err = bench.run(*CASES, "--resume")
    assert f"{len(done)} cases are taken over" in err
    assert "38 of 38 cases passed" in out


def test_a_scheduler_that_is_lost_is_one_error(start: Start) -> None:
    bench = start("a")
    bench.does("stalls")
    command = bench.start(*CASES)
    wait_for(bench.stalled, "a piece that stalls")
    bench.scheduler.kill()
    out, err = ended(command, 2)
    assert out == ""
    assert err.splitlines()[1:] == [
        "what is done is kept: the same command with --resume goes on",
        f"portwright: the scheduler at {bench.address} is gone",
    ]


def test_another_portwright_on_the_machine_that_asks_is_refused(start: Start) -> None:
    bench = start("a")
    leave = shutil.ignore_patterns("tests", "docs", "bench", "examples", ".*", "__pycache__")
    copy = bench.folder / "changed" / "portwright"
    shutil.copytree(ROOT, copy, ignore=leave)
    with (copy / "core" / "ops.py").open("a") as file:
        file.write("# changed\n")
    bench.environment["PYTHONPATH"] = str(copy.parent)
    _, err = bench.run(*FEW, status=2)
    assert "this machine's Portwright is not that of tcp://127.0.0.1:" in err
    assert "content differs. Install the same" in err


def test_boards_that_differ_are_refused_before_any_case(start: Start) -> None:
    bench = start("a", "b")
    bench.add_worker("c", ACME_DRIVER="1.1")
    address = bench.wait_for_workers(3)["c"]
    _, err = bench.run(*FEW, status=2)
    error = err.splitlines()[-1]
    assert f"{address}: driver differs (acme 1.0 → 1.1)" in error
    assert bench.results() == []


def test_a_board_that_comes_later_and_differs_is_refused(start: Start) -> None:
    bench = start("a")
    bench.does("stalls")
    climb = ["--rung", "primitives", "-k", "test_unary"]
    command = bench.start(*climb)
    wait_for(bench.stalled, "a piece that stalls")
    bench.add_worker("b", ACME_DRIVER="1.1")
    address = bench.wait_for_workers(2)["b"]
    _, err = ended(command, 2)
    assert f"{address}: driver differs (acme 1.0 → 1.1)" in err.splitlines()[-1]
    (process,) = bench.stalled().values()
    wait_for(lambda: not lives(process), "the end of what the other ran")


def test_a_worker_without_this_portwright_is_named(start: Start) -> None:
    bench = start("a")
    bench.add_worker("b", PYTHONPATH=str(bench.without))
    address = bench.wait_for_workers(2)["b"]
    _, err = bench.run(*FEW, status=2)
    assert f"{address} cannot run what it is asked: ImportError: it is not here" in err.splitlines()[-1]
    assert "pip install 'portwright[cluster]'" in err.splitlines()[-1]


def test_a_board_that_does_not_open_is_named(start: Start) -> None:
    bench = start("a")
    (bench.site / "acme.py").write_text("raise ImportError('libacme.so: not found')")
    _, err = bench.run(*FEW, status=2)
    assert "the board of tcp://127.0.0.1:" in err.splitlines()[-1]
    assert "libacme.so: not found" in err.splitlines()[-1]


def test_a_device_that_no_worker_holds(start: Start) -> None:
    bench = start()
    _, err = bench.run(*FEW, status=2)
    assert "holds ACME: it has none. Start one beside the board" in err
    bench.add_worker("a", resources="GPU=2")
    bench.wait_for_workers(1)
    _, err = bench.run(*FEW, status=2)
    error = err.splitlines()[-1]
    assert f"no worker of {bench.address} holds ACME: its workers (1) hold GPU=2. " in error
    assert f'dask worker {bench.address} --nthreads 1 --resources "ACME=1"' in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cluster", ""], "write tcp://HOST:PORT"),
        (["--cluster", "here"], "'here' is no scheduler's address: write tcp://HOST:PORT"),
        (["--cluster", "tcp://127.0.0.1:1"], "no Dask scheduler answers at tcp://127.0.0.1:1"),
        (["--cluster", "tcp://127.0.0.1:1", "--jobs", "2"], "--jobs is of this machine"),
        (["--cluster", "tcp://127.0.0.1:1", "--sanitize"], "leave out --cluster"),
    ],
)
def test_what_cannot_be_asked(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certify", "NUMPY", *arguments]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert said in error


def test_without_dask_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)  # as where it is not installed
    assert main(["certify", "NUMPY", "--cluster", "tcp://127.0.0.1:1"]) == 2
    assert "pip install 'portwright[cluster]'" in capsys.readouterr().err


def test_without_a_cluster_nothing_of_dask_is_imported() -> None:
    code = """
        import sys
        from portwright.cli.main import main
        assert main(["certify", "NUMPY", "--rung", "open", "--jobs", "0", "--json"]) == 0
        from portwright.conformance import cluster, shards
        print()
        print(sorted({name.partition(".")[0] for name in sys.modules} & {"dask", "distributed", "tornado"}))
    """
    assert in_process(code).splitlines()[-1] == "[]"


# --------------------------------------------------------------------------------- boards on several machines

CASE = CaseResult("open::test_name", "passed", 0.25)
OPEN = Selection((Rung.OPEN,))


def machines() -> list[dict[str, Any]]:
    here = subject_of(NumPy()).machine
    return [{**here, "release": "6.1"}, {**here, "release": "5.4", "cores": 96}]


def test_a_certificate_names_every_machine() -> None:
    outcome = Outcome("NUMPY", OPEN, [CASE.id], [CASE], machines=machines())
    made = certificate.build(outcome, NumPy())
    assert form(made).faults == ()
    assert [made["machine"], *made["other_machines"]] == sorted(machines(), key=certificate.canonical)
    (said,) = [claim.lines for claim in claims(made) if claim.about == "machine"]
    assert len(said) == 2
    assert sum("96 cores" in line for line in said) == 1
    outcome.machines.reverse()
    again = certificate.build(outcome, NumPy())
    assert timeless(again) == timeless(made)  # whichever came first
    assert "other_machines" not in certificate.build(Outcome("NUMPY", OPEN), NumPy())


def test_a_journal_keeps_the_machines_of_what_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTWRIGHT_CACHE", str(tmp_path))
    subject = subject_of(NumPy())
    outcome = Outcome("NUMPY", OPEN, machines=machines())
    watch = open_journal(subject, OPEN, boards=True, limit=120).watching(lambda *_: None)
    watch(outcome, CASE)
    watch(outcome, None)
    kept = open_journal(subject, OPEN, boards=True, limit=120, resume=True)
    assert kept.machines == machines()
    assert kept.taken == (CASE,)


def test_a_subject_comes_back_from_another_machine_as_it_was() -> None:
    subject = subject_of(NumPy())
    assert Subject(**json.loads(json.dumps(subject.as_json()))) == subject
