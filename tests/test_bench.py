"""The benchmark: its references are right, wrong results have no time, and tables say what was measured."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from bench import convolutions as c
from bench import harness, report, start, with_numpy, with_portwright
from bench import workloads as w
from bench.__main__ import parse
from bench.harness import Burst, Outcome, Process, Row
from bench.limits import Limits, Machine, aligned
from bench.peers import COPY, HAND_OPENCL, OPENCL, PEERS, PORTWRIGHT, Peer
from bench.table import DRAWN, SETS, WORKLOADS, drawn, find
from bench.transformer import Transformer, gpt2, gpt2_train
from bench.workloads import Workload

SMALL = [
    w.elementwise("axpb", "axpb", "", 1000, w.axpb64),
    w.elementwise("chain", "chain", "", 1000, w.chain64),
    w.elementwise("gelu", "gelu", "", 1000, w.gelu64),
    w.reduction("sum", "sum", "", (5000,), None),
    w.reduction("rowsum", "rowsum", "", (30, 50), 1),
    w.reduction("colsum", "colsum", "", (30, 50), 0),
    w.softmax(20, 30),
    w.layernorm(20, 30),
    w.matmul("matmul", "matmul", "", w.Sizes(20, 30, 10)),
    w.matmul("matmul_nt", "matmul_nt", "", w.Sizes(20, 30, 10)),
    w.matmul("matmul_tn", "matmul_tn", "", w.Sizes(20, 30, 10)),
    w.matmul("matmul_tt", "matmul_tt", "", w.Sizes(20, 30, 10)),
    w.batched_matmul("matmul_batch", 3, w.Sizes(20, 30, 10)),
    w.matmul("bcastmm", "bcastmm", "", w.cube(20)),
    w.gemv("gemv", "gemv", "", 20, 30),
    w.gemv("gemvt", "gemvt", "", 20, 30),
    c.conv2d(2, 3, 5, 6, 3),
    c.conv2d(1, 3, 5, 6, 5),
    c.conv2d(2, 3, 5, 6, 3, last=True),
    c.conv2d(2, 3, 5, 6, 3, stride=2),
    c.conv2d(1, 3, 5, 7, 5, stride=2),
    c.by_input(2, 3, 5, 6, 3),
    c.by_input(2, 3, 5, 6, 3, stride=2),
    c.by_input(2, 3, 5, 6, 1, stride=2),
    c.by_weight(1, 3, 5, 6, 5),
    c.by_weight(3, 3, 5, 6, 1, stride=2),
    w.attention(2, 2, 8, 4),
    w.transadd(20, 30),
    gpt2(Transformer(tokens=30, length=6, layers=2, width=16, heads=2), "gpt2"),
    gpt2_train(Transformer(tokens=30, length=6, layers=2, width=16, heads=2), "gpt2_train"),
    w.gather(50, 4, 30),
    *(WORKLOADS[name] for name in ("mlp_train", "digits_train", "tiny_eager", "tiny_jit", "tiny_fused_1000")),
]


@pytest.mark.parametrize("peer", [with_numpy, with_portwright], ids=["numpy", "portwright"])
@pytest.mark.parametrize("workload", SMALL, ids=lambda x: x.name)
def test_a_peer_computes_what_the_reference_says(workload: Workload, peer: ModuleType) -> None:
    random = np.random.default_rng()
    inputs = workload.make(random)
    task = peer.prepare(workload.kind, inputs)
    for _ in range(task.warm_up):
        task.run()
    expected = workload.expect(inputs, random)
    result = np.array(task.result())
    assert expected.error(result) <= 1
    wrong = result + 4 * np.max(expected.allowed)
    assert expected.error(wrong) > 1
    assert expected.error(np.full_like(result, np.nan)) == math.inf
    assert expected.error(result[None]) == math.inf


def test_every_kind_is_tried_small_and_offered_by_numpy_and_portwright() -> None:
    kinds = {x.kind for x in WORKLOADS.values()} | set(DRAWN)
    assert kinds == {x.kind for x in SMALL}
    for peer in (with_numpy, with_portwright):
        offered = {*peer.EXPRESSIONS, "mlp_train", "digits_train", "gpt2_train", "tiny_eager", "tiny_jit"}
        assert kinds <= offered


def test_what_is_drawn_is_found_by_its_name_in_any_process() -> None:
    seed = int(np.random.default_rng().integers(1 << 32))
    kinds = set()
    for i in range(len(DRAWN)):
        one, again = drawn(seed, i), find(f"random_{seed}_{i}")
        assert (one.name, one.kind, one.says) == (again.name, again.kind, again.says)
        kinds.add(one.kind.removesuffix("_s2"))
    assert kinds == set(DRAWN)
    assert drawn(seed, 0).says != drawn(seed, len(DRAWN)).says
    with pytest.raises(KeyError):
        find("random_1")


def test_all_workloads_together() -> None:
    def row(name: str, ours: float, theirs: float, fault: str = "") -> Row:
        return Row(name, {
            PORTWRIGHT: Outcome(fault, bursts=[Burst(0, [ours], 0)]),
            "numpy": Outcome(bursts=[Burst(0, [theirs], 0)]),
        })  # fmt: skip

    limits = Limits(1e10, 1e10, 1e11)
    rows = {
        r.workload: r for r in (row("gelu_64m", 1, 4), row("sum_64m", 2, 2), row("matmul_512", 1, 1, "WRONG"))
    }
    results = report.Results("", "", 1, {}, {}, limits, rows)
    said = report.summary(results, ["numpy"])
    assert said is not None
    assert "2.00 (geometric mean of 2 workloads)" in said
    assert "fastest in 2 of 3, the worst is 0.00: matmul_512" in said


def test_a_run_in_processes_takes_times_in_turns() -> None:
    processes = [Process(PEERS[name]) for name in (PORTWRIGHT, "numpy")]
    try:
        row = harness.measure(
            WORKLOADS["tiny_fused_1000"], processes, seed=1, rounds=2, seconds=0.01, patience=0
        )
    finally:
        for process in processes:
            process.close()
    for name in (PORTWRIGHT, "numpy"):
        outcome = row.outcomes[name]
        assert outcome.fault == ""
        assert {0, 1} <= {b.turn for b in outcome.bursts}
        assert all(t > 0 for b in outcome.bursts for t in b.times)


def test_a_process_that_fails_or_dies_says_so_and_is_started_again() -> None:
    process = Process(Peer("numpy", "with_numpy"))
    try:
        assert "KeyError" in process.ask(do="prepare", workload="nothing", seed=0)["failed"]
        process._running.kill()  # type: ignore[union-attr]
        assert "failed" in process.ask(do="burst", seconds=0.01)
        assert process.ask(do="prepare", workload="tiny_jit", seed=0)["error"] <= 1
    finally:
        process.close()


def test_the_machine_copies_what_it_is_given() -> None:
    x = np.random.default_rng().random(3 << 12, dtype=np.float32)
    out = aligned(np.zeros_like(x))
    machine = Machine()
    machine.copy(out, aligned(x))
    assert np.array_equal(out, x)
    assert machine.read(aligned(x)) == pytest.approx(x.sum(dtype=np.float64), rel=1e-5)
    assert machine.multiply_add(1) > 0


def outcome(*milliseconds: float, foreign: float = 0.0, fault: str = "") -> Outcome:
    bursts = [Burst(turn, [ms / 1000] * 3, foreign) for turn, ms in enumerate(milliseconds)]
    return Outcome(fault=fault, bursts=bursts)


def results(**rows: dict[str, Outcome]) -> report.Results:
    return report.Results(
        "2026-01-02 03:04 UTC", "a machine", 7, {"numpy": "2"}, {"jax": "jax not installed"},
        Limits(4e10, 4e10, 2e11), {name: Row(name, outcomes) for name, outcomes in rows.items()},
    )  # fmt: skip


def test_ratios_are_taken_turn_by_turn() -> None:
    row = Row("softmax_4096", {PORTWRIGHT: outcome(1, 2, 4), "torch": outcome(2, 4, 8)})
    assert report.ratio(row, "torch") == report.Spread(2, 2, 2)
    assert report.ratio(row, "numpy") is None


def test_a_wrong_result_has_no_time() -> None:
    row = Row(
        "softmax_4096", {PORTWRIGHT: outcome(9), "torch": outcome(1, fault="WRONG: 3"), "numpy": outcome(5)}
    )
    assert report.best(row, list(row.outcomes)) == "numpy"
    harness._judge(row.outcomes["numpy"], math.nan)
    assert report.best(row, list(row.outcomes)) == PORTWRIGHT


def test_noisy_bursts_count_only_when_there_are_no_others() -> None:
    mixed = outcome(1, 1)
    mixed.bursts.append(Burst(2, [9.0], foreign=1.0))
    assert [b.turn for b in mixed.counted] == [0, 1]
    assert len(outcome(1, 2, foreign=1.0).counted) == 2


def test_promises_are_judged_with_their_spread() -> None:
    measured = results(
        chain_64m={PORTWRIGHT: outcome(10, 10), COPY: outcome(8, 8)},
        softmax_4096={PORTWRIGHT: outcome(10, 10), "compiled": outcome(9, 11), "torch": outcome(1)},
        layernorm_4096={PORTWRIGHT: outcome(fault="WRONG: 2"), "compiled": outcome(9)},
        digits_train={PORTWRIGHT: outcome(10)},
        tiny_jit={PORTWRIGHT: outcome(16)},
    )
    assert [line[-1] for line in report.verdicts(measured)] == [
        "yes", "within the spread", "no", "not compared", "no",
    ]  # fmt: skip


def test_results_are_kept_and_written_into_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(report, "PAGE", tmp_path / "page.md")
    report.PAGE.write_text(
        "# Title\n\nbefore\n\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nafter\n"
    )
    measured = results(chain_64m={PORTWRIGHT: outcome(10, 11), COPY: outcome(8, 8)})
    assert report.load(report.save(measured)) == measured
    assert report.load(report.RESULTS / "latest.json") == measured
    report.write_page(measured)
    page = report.PAGE.read_text()
    assert page.startswith("# Title\n\nbefore\n")
    assert page.endswith("\nafter\n")
    assert "old" not in page
    assert "2026-01-02" in page
    assert "jax not installed" in page
    assert "`chain_64m`" in page
    report.write_page(measured, "products")  # at the end, where the page has no such section yet
    assert report.PAGE.read_text().startswith(page.rstrip())
    assert report.PAGE.read_text().count("`chain_64m`") == 2


def test_opencl_is_compared_with_opencl() -> None:
    rows = {PORTWRIGHT: outcome(1), OPENCL: outcome(4), HAND_OPENCL: outcome(3)}
    text = report.tables(results(matmul_512=rows))
    assert "Beside OpenCL written by hand, its time ÷ ours of opencl: 0.75" in text
    assert "Beside C" not in text
    assert "All together" not in text  # neither is anybody's choice


def test_fewer_cores_are_used_where_asked(capfd: pytest.CaptureFixture[str]) -> None:
    asked = f"from bench.peers import cores, use_cores; use_cores(1); print(cores()); use_cores({1 << 20})"
    done = subprocess.run([sys.executable, "-c", asked], cwd=harness.ROOT, capture_output=True, text=True)
    assert done.stdout == "1\n"
    assert "there are 1" in done.stderr


def test_sets_hold_workloads() -> None:
    assert all(name in WORKLOADS for names in SETS.values() for name in names)
    chosen = parse(["opencl", "gemv_4096", "--write", "opencl"])
    assert chosen.workloads == [*SETS["opencl"], "gemv_4096"]
    assert chosen.write == "opencl"


def test_a_first_result_is_timed_in_a_process_of_its_own(tmp_path: Path) -> None:
    cold = start.in_new_process(PORTWRIGHT, "tiny", tmp_path)
    assert cold > 0
    assert any((tmp_path / "portwright_cache").iterdir())
    with pytest.raises(RuntimeError, match="nobody"):
        start.in_new_process(PORTWRIGHT, "nobody", tmp_path)


def test_the_table_of_first_results() -> None:
    found = {
        "tiny": {"cold": {"portwright": [0.5, 0.3, 0.4]}, "warm": {"portwright": [0.1], "jax": [0.2, 0.4]}}
    }
    rows = start.table(found).splitlines()[2:]
    assert rows[0] == "| first result of | portwright | jax |"
    assert rows[2] == "| x*a + b of ten numbers, cold | 0.40 (0.30–0.50) | – |"
    assert rows[3] == "| x*a + b of ten numbers, warm | 0.10 (0.10–0.10) | 0.30 (0.20–0.40) |"
