"""Decisions: whatever is answered a kernel means the same and replays; a search keeps nothing wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import support as t
from scheduling import Program, planned

from portwright.core import dtype as dt
from portwright.core import engine, tune, tuned
from portwright.core.decisions import USUAL, Answer, ByChance, Decision, Stated
from portwright.core.errors import ArgumentError
from portwright.core.fuse import fuse
from portwright.core.knobs import Knobs
from portwright.core.ops import Op
from portwright.core.pipeline import Stages, fresh_kernel, rescheduled
from portwright.core.schedule import schedule
from portwright.core.tune_worker import difference

EXPRESSIONS = {
    "chain": lambda: t.mul(t.add(t.integers((70,)), 3.0), t.integers((70,), seed=1)),
    "product": lambda: t.matmul(t.integers((37, 19)), t.integers((19, 45), seed=1)),
    "by the transpose": lambda: t.matmul(
        t.integers((70, 9)), t.graph.permute(t.integers((40, 9), seed=1), (1, 0))
    ),
    "columns": lambda: t.total(t.integers((40, 600)), 0),
    "rows": lambda: t.total(t.integers((12, 130)), 1, Op.MAX),
}


SPEC = t.spec(16, cache_bytes=(256, 1 << 14, 1 << 20))
TURNED = Knobs(rows=5, vectors=3, unroll=8, partial=2, stripe=64, panel=8, pieces=1)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_kernel_means_the_same_whatever_is_answered_and_replays(name: str) -> None:
    program = Program(EXPRESSIONS[name](), SPEC)
    usual = schedule(program.fresh, SPEC)
    assert usual.decisions
    assert all(c.value == c.usual and c.usual not in c.others for c in usual.decisions)
    program.check(usual)
    program.check(schedule(program.fresh, replace(SPEC, knobs=TURNED)))
    seen = set()
    for answers in USUAL.variants(usual.decisions):
        kernel = schedule(program.fresh, SPEC, answers)
        assert Stated.of(kernel.decisions) == answers
        seen.add(str(kernel))
        program.check(kernel)
    for seed in range(12):
        kernel = schedule(program.fresh, SPEC, ByChance(seed, name))
        stated = Stated.of(kernel.decisions)
        program.check(kernel)
        assert schedule(program.fresh, SPEC, Stated.parse(str(stated))) == kernel
        seen.add(str(kernel))
    assert len(seen) > 1


def test_an_answer_that_could_not_be_given_is_not_taken() -> None:
    program = Program(EXPRESSIONS["chain"](), SPEC)
    usual = schedule(program.fresh, SPEC)
    stated = Stated((Answer("unroll of i0", 3), Answer("what nobody asks", 1)))
    assert schedule(program.fresh, SPEC, stated) == usual


def test_answers_are_read_as_they_are_written() -> None:
    stated = Stated((Answer("rows of i0", 6), Answer("unroll i0 and i1", 0)))
    assert str(stated) == "rows of i0: 6, unroll i0 and i1: 0"
    assert Stated.parse(str(stated)) == stated
    assert Stated.parse(str(USUAL)) == USUAL == Stated.of([Decision("rows of i0", 8, 8, (4,))])
    with pytest.raises(ArgumentError, match="'rows of i0' is no decision"):
        Stated.parse("rows of i0")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PORTWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_what_is_kept_is_used_until_it_is_told_not_to(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = t.add(t.integers((100_000,)), 1.0)
    usual = planned(root)
    device, other = t.device(), Stated((Answer("unroll of i0", 1),))
    tuned.keep(device, usual.source, other)
    changed = planned(root)
    assert changed.source == rescheduled(usual, device, other).source != usual.source
    assert rescheduled(changed, device, USUAL).source == usual.source
    monkeypatch.setenv("PORTWRIGHT_TUNED", "0")
    assert planned(root).source == usual.source


def test_a_search_tries_each_text_once_and_keeps_what_it_found(cache: Path) -> None:
    stages = planned(t.add(t.integers((100_000,)), 1.0))
    said: list[int] = []
    found = tune.tune(
        stages, t.device(), time.monotonic() + 60, lambda so_far: said.append(len(so_far.tried))
    )
    assert found.name == stages.name
    assert [c.answers for c in found.tried] == [*dict.fromkeys(c.answers for c in found.tried)]
    assert all(c.fault == "" and len(c.ratios) >= 2 for c in found.tried)
    assert said == [*range(1, len(found.tried) + 1)]
    assert found.ratio <= 1
    assert (found.best == USUAL) == (found.ratio == 1)
    assert tuned.answers_of(t.device(), stages.source) == found.best


def test_what_was_found_before_is_measured_first_and_is_not_lost_when_time_is_short(cache: Path) -> None:
    stages = planned(t.add(t.integers((100_000,)), 1.0))
    device, before = t.device(), Stated((Answer("unroll of i0", 1),))
    tuned.keep(device, stages.source, before)
    assert tune.tune(stages, device, time.monotonic()).tried == []
    assert tuned.answers_of(device, stages.source) == before
    assert tune.tune(stages, device, time.monotonic() + 60).tried[0].answers == before


def test_a_candidate_that_does_not_compile_is_refused(cache: Path) -> None:
    usual = planned(t.add(t.integers((1000,)), 1.0))
    broken = replace(usual, name="broken", source="this is no C")
    found = tune._alone(tune._Compiled(USUAL, broken), t.device())
    assert isinstance(found, tune.Candidate)
    assert found.fault.startswith("does not compile")
    assert found.ratio == float("inf")


def test_a_schedule_that_is_stated_is_kept_if_it_is_right(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages, device = planned(t.add(t.integers((100_000,)), 1.0)), t.device()
    answers = Stated((Answer("unroll of i0", 1),))
    made = tune.state(stages, device, answers)
    assert (made.best, len(made.tried), made.tried[0].fault) == (answers, 1, "")
    assert tuned.answers_of(device, stages.source) == answers
    assert tune.state(stages, device, USUAL).tried == []
    assert tuned.answers_of(device, stages.source) == USUAL
    wrong = tune.Candidate(answers, fault="out0 is off by 1")
    monkeypatch.setattr(tune._Worker, "measure", lambda self, candidate: wrong)
    assert tune.state(stages, device, answers).tried == [wrong]
    assert tuned.answers_of(device, stages.source) == USUAL


def test_how_many_numbers_are_folded_into_one() -> None:
    """Three passes over a row of 130 fold 130 numbers each, and not 130 cubed."""
    x = t.integers((12, 130))
    for root, terms in (
        (t.add(x, 1.0), 1),
        (t.softmax(x), 130),
        (t.total(x, 1), 130),
        (t.matmul(x, t.integers((130, 7), seed=1)), 130),
    ):
        (group,) = fuse([root], t.spec())[1]
        assert tune.terms(fresh_kernel(group).body) == terms


def measured(usual: Stages, body: str, monkeypatch: pytest.MonkeyPatch) -> tune.Candidate:
    """A candidate whose text does this at its end, beside the usual kernel."""
    source = usual.source.rstrip()
    assert source.endswith("}")
    changed = replace(usual, source=f"{source[:-1]}{body}\n}}\n")
    monkeypatch.setattr(tune, "LIMIT", 3.0)
    worker = tune._Worker(t.device(), usual)
    try:
        found = worker.measure(tune._Compiled(USUAL, changed))
        after = worker.measure(tune._Compiled(USUAL, usual))  # the search goes on
    finally:
        worker.close()
    assert after.fault == ""
    assert after.ratios
    return found


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("out0[7] += 1.0f;", "out0 is off by"),
        ("*(volatile int *)0 = 1;", "crashed"),
        ("for (volatile int forever = 1; forever;) ;", "more than 3 s"),
        ("this is no C", "CompileError"),
    ],
    ids=["wrong", "crashes", "hangs", "refused"],
)
def test_what_is_wrong_crashes_or_hangs_is_refused(
    body: str, fault: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = planned(t.add(t.integers((1000,)), 1.0))
    found = measured(usual, body, monkeypatch)
    assert fault in found.fault
    assert found.ratio == float("inf")


def test_what_counts_as_the_same_result() -> None:
    right = np.array([1.0, 2.0, np.nan, np.inf], np.float32)

    def said(got: list[float], terms: int = 1) -> str:
        return difference([right], [np.array(got, np.float32)], [dt.float32], terms)

    assert said([1, 2, np.nan, np.inf]) == ""
    assert said([1, 2 + 2**-22, np.nan, np.inf]) == ""
    assert "off" in said([1, 2 + 2**-10, np.nan, np.inf])
    assert said([1, 2 + 2**-16, np.nan, np.inf], terms=1 << 14) == ""
    assert "finite" in said([1, 2, 3, np.inf])
    assert "finite" in said([1, 2, np.nan, -np.inf])
    assert "off" in said([1, np.nan, np.nan, np.inf])
    whole = np.array([1, 2], np.int32)
    assert "1 element" in difference([whole], [np.array([1, 3], np.int32)], [dt.int32], 100)


SCRIPT = """
import sys
import numpy as np
from portwright import Tensor
print("given", *sys.argv[1:])
x = Tensor(np.ones((200, 300), np.float32)).realize()
(x + 1).realize()
x.sum(0).realize()
{leaves}
"""


def tuned_script(folder: Path, leaves: str, *options: str) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT.format(leaves=leaves))
    return subprocess.run(
        [sys.executable, "-m", "portwright", "tune", *options, str(script), "--size", "3"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_command_runs_a_script_and_tunes_its_kernels(cache: Path) -> None:
    done = tuned_script(cache, "sys.exit()", "--seconds", "30")
    assert done.returncode == 0, done.stderr
    assert "given --size 3" in done.stdout
    assert "2 kernels" in done.stdout
    assert "add_" in done.stdout
    assert "geometric mean" in done.stdout


@pytest.mark.parametrize(
    ("leaves", "options", "says"),
    [
        ("sys.exit(3)", (), "ended with 3: nothing is tuned"),
        ("x.no_such_thing", (), "raised AttributeError: nothing is tuned"),
        ("", ("--kernel", "softmax"), "No kernel ran that can be tuned"),
    ],
    ids=["the script leaves", "the script raises", "no such kernel"],
)
def test_the_command_says_why_it_tunes_nothing(
    leaves: str, options: tuple[str, ...], says: str, cache: Path
) -> None:
    done = tuned_script(cache, leaves, *options)
    assert done.returncode != 0
    assert says in done.stdout + done.stderr
    assert "report it" not in done.stderr
    assert ("Traceback" in done.stderr) == ("raised" in says)  # the script's own


SEARCHED = """
import numpy as np
from portwright import Tensor
a, b = (Tensor(np.random.default_rng(i).integers(-4, 5, (96, 96)).astype(np.float32)) for i in (0, 1))
assert np.array_equal((a @ b).numpy(), a.numpy() @ b.numpy())
(a + 1).numpy()  # which is not worth a search
"""


def searched(cache: Path, asked: str) -> str:
    environment = {**os.environ, "PORTWRIGHT_CACHE": str(cache), "PORTWRIGHT_DEVICE": "CPU", "TUNE": asked}
    done = subprocess.run(
        [sys.executable, "-c", SEARCHED], capture_output=True, text=True, check=True, env=environment
    )
    return done.stderr


def test_a_kernel_is_searched_for_as_it_is_met_and_once(tmp_path: Path) -> None:
    assert searched(tmp_path, "0") == ""
    begun, ended = searched(tmp_path, "3").splitlines()
    assert re.fullmatch(r"portwright: tuning (\S+) on CPU, 3 s at most", begun)
    assert re.fullmatch(r"portwright: \S+: (best as it is|[\d.]+ times as fast by .+) \(\d+ tried\)", ended)
    assert searched(tmp_path, "1") == ""


@pytest.mark.parametrize("stated", ["yes", "-1", "nan", "inf"])
def test_a_search_for_no_time(stated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE", stated)
    engine.forget(t.device())
    with pytest.raises(ArgumentError, match=f"TUNE is '{stated}': set it to 1"):
        engine.kernels([EXPRESSIONS["chain"]()], "CPU")
