"""Schedules that are drawn by chance: what they compute is the same, and the suite says that it ran so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import support as t
from scheduling import planned

from portwright.conformance.ladder import again
from portwright.conformance.script import script_of_case
from portwright.conformance.subject import subject_of
from portwright.core import engine, tuned
from portwright.core.decisions import USUAL, ByChance, Stated
from portwright.core.errors import ArgumentError
from portwright.core.tuned import SCHEDULES


def test_a_seed_draws_the_same_schedule_again(monkeypatch: pytest.MonkeyPatch) -> None:
    root = t.matmul(t.integers((70, 40)), t.integers((40, 90), seed=1))
    usual = planned(root)
    assert Stated.of(usual.scheduled.decisions) == USUAL
    texts = set()
    for seed in range(6):
        monkeypatch.setenv(SCHEDULES, str(seed))
        drawn = planned(root)
        assert planned(root).source == drawn.source
        texts.add(drawn.source.replace(drawn.name, ""))
    assert len(texts) > 2
    assert tuned.seconds_to_search(t.device(), usual.source) == 0
    assert tuned.decider_of(t.device(), usual.source) == ByChance(5, usual.source)
    engine.forget(t.device())


@pytest.mark.parametrize("seed", ["x", "-1", "1.5"])
def test_what_is_no_seed_is_said(monkeypatch: pytest.MonkeyPatch, seed: str) -> None:
    monkeypatch.setenv(SCHEDULES, seed)
    with pytest.raises(ArgumentError, match=f"{SCHEDULES} is '{seed}': set it to a seed"):
        tuned.drawn_by()


@pytest.mark.parametrize("before", [None, "4"])
def test_afterwards_schedules_are_as_before(monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    if before is None:
        monkeypatch.delenv(SCHEDULES, raising=False)
    else:
        monkeypatch.setenv(SCHEDULES, before)
    wanted = tuned.drawn_by()
    with tuned.drawing(None):
        assert tuned.drawn_by() == wanted
    with tuned.drawing(9):
        assert tuned.drawn_by() == 9
    with pytest.raises(KeyError), tuned.drawing(9):
        raise KeyError
    assert tuned.drawn_by() == wanted


def test_a_device_without_kernels_has_no_schedules_to_draw() -> None:
    with tuned.drawing(9):
        said = [subject_of(t.device(name)).said for name in ("CPU", "NUMPY")]
    assert [s.get("schedules") for s in said] == [9, None]


def test_a_case_is_run_again_by_the_same_schedules(monkeypatch: pytest.MonkeyPatch) -> None:
    case = "fused::test_chain[float32]"
    assert "--schedules" not in again("CPU", case, 0)
    assert SCHEDULES not in script_of_case("CPU", case, 0)
    monkeypatch.setenv(SCHEDULES, "12")
    assert again("CPU", case, 0).endswith(" --seed 0 --schedules 12")
    assert script_of_case("CPU", case, 0).startswith(f'import os\n\nos.environ["{SCHEDULES}"] = "12"\n')


@pytest.mark.parametrize("device", ["CPU", "CUDA:sim"])
def test_the_suite_passes_by_schedules_that_are_drawn(device: str, tmp_path: Path) -> None:
    written = tmp_path / "drawn.json"
    arguments = [device, "--schedules", "3", "--tier", "quick", "-k", "matmul or softmax or conv"]
    done = subprocess.run(
        [sys.executable, "-m", "portwright.cli.main", "certify", *arguments, "-o", str(written)],
        env={**os.environ, "PORTWRIGHT_CACHE": str(tmp_path / "cache")},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "drawn by chance, by seed 3" in done.stdout
    document = json.loads(written.read_text())
    assert document["schedules"] == 3
    assert document["suite"]["cases"] > 5
