"""The rung of speed: what is counted and timed is right, runs alone, is reported and never judged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from certificates import Document, changed, climb
from timings import timing

from portwright import Tensor
from portwright.cli.main import main
from portwright.conformance import certificate, runner, speed
from portwright.conformance.claims import claims, no_speed
from portwright.conformance.compare import compare
from portwright.conformance.form import form
from portwright.conformance.ladder import Rung
from portwright.conformance.selection import Selection
from portwright.conformance.speed import Timing, Work, kernel_seconds, over_and_over, scaled, work_of
from portwright.conformance.vendor import conformance
from portwright.conformance.verify import verify
from portwright.core import registry
from portwright.core.device import Ability, Checker, Device, Evidence
from portwright.core.errors import OutOfMemoryError
from portwright.core.evaluate import NUMPY_PRIMITIVES
from portwright.core.ops import Op
from portwright.devices.cpu import CPU
from portwright.devices.numpy import NumPy

needs_a_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))),
    reason="the CPU port needs a C compiler on the PATH",
)
SMALL = "launch or copy_in or gather"
GATHER = "speed::test_kernel[gather]"


# -------------------------------------------------------------------------------------------- what is counted


def tensor(*shape: int) -> Tensor:
    return Tensor(np.ones(shape, np.float32), device="NUMPY")


WORK: dict[str, tuple[Callable[[], Tensor], Work]] = {
    "a product of matrices": (
        lambda: tensor(3, 5) @ tensor(5, 7),
        Work(4 * (15 + 35 + 21), 2 * 3 * 5 * 7),
    ),
    "a sum": (lambda: tensor(6, 4).sum(1), Work(4 * (24 + 6), 24)),
    "a chain": (lambda: -(tensor(10) * 2.0 + 1.0), Work(80, 30)),
    "a transpose and a sum": (lambda: tensor(4, 6).T + tensor(6, 4), Work(4 * 72, 24)),
    "a cast": (lambda: tensor(8).cast("float16"), Work(32 + 16, 0)),
}


@pytest.mark.parametrize("what", WORK)
def test_what_a_job_must_do_at_least(what: str) -> None:
    make, wanted = WORK[what]
    node = make().node
    assert work_of(node) == wanted
    kernel_seconds(node, registry.open_device("NUMPY"))
    assert work_of(node) == wanted  # now that it has been computed


def test_an_operand_that_is_read_twice_moves_once() -> None:
    x = tensor(10)
    assert work_of((x * x + x).node) == Work(80, 20)


# ---------------------------------------------------------------------------------------------- what is timed


def test_the_first_time_does_not_count() -> None:
    seconds = iter([9.0, *[0.003, 0.001, 0.002] * 100])
    found = over_and_over(lambda: (next(seconds), "host"), Work(5, 7))
    assert found.runs >= speed.FEWEST
    assert found == Timing("host", found.runs, 0.001, 0.002, 0.003, 5, 7)


def test_a_time_is_never_none() -> None:
    found = over_and_over(lambda: (0.0, "device"), Work(1, 1))
    assert (found.clock, found.runs, found.best_seconds) == ("device", speed.MOST, 1e-9)


def test_one_run_by_another_clock_makes_it_the_hosts() -> None:
    clocks = iter(["device", "device", "host", *["device"] * speed.MOST])
    assert over_and_over(lambda: (0.001, next(clocks)), Work(1, 1)).clock == "host"


class Clocked(CPU):
    """The CPU with a clock of its own, which goes by kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = replace(self.spec, name="CLOCKED", abilities=self.spec.abilities | {Ability.CLOCK})

    def launch_seconds(self) -> float:
        return 0.25


@needs_a_compiler
def test_a_device_s_own_clock_is_used_where_it_has_one() -> None:
    device = registry.adopt(Clocked())
    x = Tensor(np.ones(64, np.float32), device=device.name)
    assert kernel_seconds((x + 1).contiguous().node, device) == (0.25, "device")
    y = x.sum().contiguous() + x  # two kernels
    assert len(y.kernels()) == 2
    assert kernel_seconds(y.node, device) == (0.5, "device")


def test_numbers_have_three_digits_and_a_unit_that_fits() -> None:
    wanted = {
        92.14e9: "92.1 Gflop/s",
        1.0e12: "1.00 Tflop/s",
        9.996e8: "1.00 Gflop/s",
        0.0: "0.00 nflop/s",
        6.02e-6: "6.02 µflop/s",
        123.4: "123 flop/s",
    }
    assert {value: scaled(value, "flop/s") for value in wanted} == wanted


# ------------------------------------------------------------------------------------------ how the rung runs


def test_cases_of_speed_run_after_all_others_and_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = []
    run = runner._run

    def watched(recorder: Any, rungs: Any, jobs: int, *more: Any) -> None:
        sessions.append((tuple(rungs), jobs))
        run(recorder, rungs, jobs, *more)

    monkeypatch.setattr(runner, "_run", watched)
    seen: list[str] = []
    outcome = runner.run(
        "NUMPY",
        Selection((Rung.OPEN, Rung.COPY, Rung.SPEED), "test_name or int8 or launch or copy_in"),
        jobs=2,
        watch=lambda _, newest: seen.append(newest.rung.value) if newest is not None else None,
    )
    assert outcome.passed
    assert sessions == [((Rung.OPEN, Rung.COPY), 2), ((Rung.SPEED,), 1)]
    assert seen[-2:] == ["speed", "speed"]
    assert seen.count("speed") == 2 < len(seen)


@pytest.fixture(scope="module")
def document() -> Document:
    """NUMPY on a few cases of speed, one of which is not for it."""
    return climb(NumPy(), [Rung.SPEED], f"{SMALL} or matmul_512")


def test_a_certificate_holds_the_times_of_what_passed(document: Document) -> None:
    assert set(document["speed"]["limits"]) == {"launch", "copy_in"}
    assert set(document["speed"]["kernels"]) == {"gather"}
    gather = document["speed"]["kernels"]["gather"]
    rows, width = 131072, 128
    assert gather["bytes"] == 4 * (2 * rows * width + rows)
    assert (gather["flops"], gather["clock"]) == (0, "host")
    assert 0 < gather["best_seconds"] <= gather["median_seconds"] <= gather["p90_seconds"]
    reason = document["cases"]["speed::test_kernel[matmul_512]"]["reason"]
    assert reason == "one primitive at a time, NUMPY would hold 537 MB between two"
    assert form(document).faults == form(document).missing == ()
    found = verify(certificate.canonical(document))
    assert found.accepted, found.problems


def test_names_and_cases_lead_to_each_other(document: Document) -> None:
    found = document["speed"]
    assert speed.by_name(speed.cases_of(found)) == found
    assert dict(speed.cases_of(found))[GATHER] == found["kernels"]["gather"]


class Forgets(NumPy):
    """Turns no sign."""

    primitives: ClassVar = {**NUMPY_PRIMITIVES, Op.NEG: lambda dtype, x: x}


def test_wrong_results_have_no_times() -> None:
    found = climb(Forgets(), [Rung.SPEED], "launch or copy_in")
    assert found["cases"]["speed::test_limit[launch]"]["outcome"] == "failed"
    assert "wanted" in found["cases"]["speed::test_limit[launch]"]["reason"]
    assert set(found["speed"]["limits"]) == {"copy_in"}
    assert verify(certificate.canonical(found)).accepted


class Little(NumPy):
    """Memory for a megabyte at a time."""

    def alloc(self, nbytes: int) -> Any:
        if nbytes > 1 << 20:
            raise OutOfMemoryError(f"no room for {nbytes:,} bytes")
        return super().alloc(nbytes)


def test_where_memory_does_not_suffice_nothing_is_measured() -> None:
    found = climb(Little(), [Rung.SPEED], "launch or copy_in or gather")
    outcomes = {name: case["outcome"] for name, case in found["cases"].items()}
    assert outcomes == {
        "speed::test_limit[launch]": "passed",
        "speed::test_limit[copy_in]": "unclaimed",
        GATHER: "unclaimed",
    }
    assert "has no room for it: no room for" in found["cases"][GATHER]["reason"]


class Slow(NumPy):
    """A primitive takes its time."""

    def compute(self, *what: Any) -> None:
        import time

        time.sleep(0.05)
        super().compute(*what)


def test_who_is_slow_is_not_waited_for_and_does_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portwright.conformance.suite.test_speed.PATIENCE", 1e-3)
    device = Slow()
    device.spec = replace(device.spec, name="SLOW")
    found = climb(device, [Rung.SPEED], "gather or softmax")
    assert {c["outcome"] for c in found["cases"].values()} == {"unclaimed"}
    assert all("it would take SLOW about" in c["reason"] for c in found["cases"].values())


# ---------------------------------------------------------------------------------------- who is not measured


def stated(**spec: Any) -> Device:
    """NUMPY that says something else of itself."""
    device = NumPy()
    device.spec = replace(device.spec, name="ACME", **spec)
    return device


ABSENT = {
    "emulated": (
        {"evidence": Evidence.EMULATED},
        "ACME is emulated: its times would say nothing about the chip",
    ),
    "watched": ({"checker": Checker("Watcher 1", "all")}, "ACME is watched by Watcher 1, whose times these"),
}


@pytest.mark.parametrize("how", ABSENT)
def test_who_is_not_the_chip_has_no_times(how: str) -> None:
    spec, said = ABSENT[how]
    found = climb(stated(**spec), [Rung.OPEN, Rung.SPEED], "test_name or launch or softmax")
    reasons = [c["reason"] for n, c in found["cases"].items() if n.startswith("speed::")]
    assert len(reasons) == 2
    assert all(said in r for r in reasons)
    assert found["speed"] == {"limits": {}, "kernels": {}}
    assert verify(certificate.canonical(found)).accepted
    assert said in no_speed(found)
    (line,) = next(c.lines for c in claims(found) if c.about == "speed")
    assert said in line


def test_a_rung_of_which_nothing_is_claimed_is_skipped_in_a_port_s_own_tests() -> None:
    registry.adopt(stated(evidence=Evidence.EMULATED))
    with pytest.raises(pytest.skip.Exception, match="ACME is emulated: its times"):
        conformance("ACME", tier="quick", jobs=0)(Rung.SPEED)


def test_why_there_are_no_times(document: Document) -> None:
    assert no_speed(document) == ""
    assert "older" in no_speed(changed(document, lambda d: d.pop("speed")))
    open_only = climb(NumPy(), [Rung.OPEN], "test_name")
    assert no_speed(open_only) == "the rung of speed was not climbed"
    assert "speed" not in {c.about for c in claims(open_only)}


# -------------------------------------------------------------------------------------------- what is refused


def move(d: Document) -> None:
    d["speed"]["kernels"]["matmul_512"] = d["speed"]["kernels"].pop("gather")


EDITS: dict[str, tuple[Callable[[Document], object], str]] = {
    "a case that did not pass": (move, "it holds times of speed::test_kernel[matmul_512], which is none of"),
    "times left out": (move, f"it holds no times of 1 cases of speed that passed: {GATHER}"),
    "disorder": (
        lambda d: d["speed"]["limits"]["launch"].update(best_seconds=9.0),
        "speed::test_limit[launch]: its best time, its median and its 90th",
    ),
    "evidence": (lambda d: d.update(evidence="emulated"), "it holds times, and what was seen is emulated"),
    "no time": (
        lambda d: d["speed"]["limits"]["launch"].update(best_seconds=0),
        "its form is wrong: speed.limits.launch.best_seconds",
    ),
    "a clock": (
        lambda d: d["speed"]["limits"]["launch"].update(clock="sun"),
        "its form is wrong: speed.limits.launch.clock",
    ),
    "a name": (
        lambda d: d["speed"]["limits"].update({"<b>": timing()}),
        "its form is wrong: speed.limits",
    ),
    "all of it": (lambda d: d.pop("speed"), "an older Portwright made it; it lacks speed"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_times_that_do_not_agree_are_refused(document: Document, edit: str) -> None:
    change, said = EDITS[edit]
    found = verify(certificate.canonical(changed(document, change)))
    assert any(said in problem for problem in found.problems), found.problems


# --------------------------------------------------------------------------------------- from one to the next


def paced(document: Document, seconds: float, **also: Any) -> Document:
    """The certificate with another time of one kernel."""
    return changed(document, lambda d: d["speed"]["kernels"].update(gather={**timing(seconds), **also}))


def pace(old: Document, new: Document) -> tuple[float, str]:
    """What is said of that kernel: how many times as long it takes, and the verdict."""
    found = compare(old, new)
    assert not found.worse
    (one,) = [p for p in found.paces if p.name == GATHER]
    return round(one.ratio, 3), one.verdict


def test_slower_and_quicker_are_said_beyond_both_spreads(document: Document) -> None:
    old = paced(document, 1.0)
    assert pace(old, old) == (1.0, "")
    assert pace(old, paced(document, 1.2)) == (1.2, "")  # their spreads overlap
    assert pace(old, paced(document, 1.3)) == (1.3, "slower")
    assert pace(old, paced(document, 0.7)) == (0.7, "quicker")


def test_other_machines_drivers_clocks_and_work_are_not_compared(document: Document) -> None:
    old = paced(document, 1.0)
    elsewhere = changed(paced(document, 5.0), lambda d: d["machine"].update(cores=99))
    assert pace(old, elsewhere) == (5.0, "")
    assert compare(old, elsewhere).moved == ("machine cores",)
    driver = changed(paced(document, 5.0), lambda d: d["driver"].update(numpy="9"))
    assert pace(old, driver) == (5.0, "")
    assert compare(old, driver).moved == ("driver numpy",)
    assert pace(old, paced(document, 5.0, clock="device")) == (5.0, "not by the same clock")
    assert pace(old, paced(document, 5.0, flops=1)) == (5.0, "not of the same work")
    older = changed(document, lambda d: d.pop("speed"))
    assert compare(older, document).paces == ()


def test_the_command_shows_paces_and_their_status_is_none(
    document: Document, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = (tmp_path / name for name in ("old.json", "new.json"))
    certificate.save(paced(document, 1e-3), here)
    certificate.save(paced(document, 2e-3), there)
    assert main(["compare", str(here), str(there)]) == 0
    out = capsys.readouterr().out
    assert "speed, by medians (3)" in out
    assert "gather: 1.00 ms → 2.00 ms, 2.00 times, slower" in out
    certificate.save(changed(paced(document, 2e-3), lambda d: d["machine"].update(cores=99)), there)
    assert main(["compare", str(here), str(there)]) == 0
    out = capsys.readouterr().out
    assert "speed, by medians, not comparable: machine cores differ (3)" in out
    assert "slower" not in out


def test_a_timing_is_a_record() -> None:
    assert asdict(Timing("host", 9, 0.9e-3, 1e-3, 1.1e-3, 8_000_000, 4_000_000)) == pytest.approx(timing())
