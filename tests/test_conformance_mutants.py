"""The suite notices faults: the mutants are what they say, a sample of them dies, and what is told of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from portwright.cli.main import main
from portwright.conformance import runner
from portwright.conformance.ladder import Rung
from portwright.conformance.mutants import show
from portwright.conformance.mutants.alarms import Alarm, Climb, false_alarms_of
from portwright.conformance.mutants.bases import base_name, open_new, spoiled
from portwright.conformance.mutants.catalogue import FAMILIES, MUTANTS, mutant, select
from portwright.conformance.mutants.hunt import Verdict, hunt, matches
from portwright.conformance.mutants.matrix import Survey, _Worker, survey
from portwright.conformance.mutants.mutant import Base, Mutant
from portwright.conformance.mutants.walk import Array, walking
from portwright.conformance.selection import Selection
from portwright.conformance.tiers import SuiteTier
from portwright.core import registry
from portwright.core.device import Device
from portwright.core.errors import ArgumentError
from portwright.core.evaluate import apply
from portwright.core.graph import Node
from portwright.core.ops import Op

SAMPLE = (
    "floor_division", "cast_saturates", "last_vector_lost", "flushes_sums", "programs_by_sizes",
    "max_drops_nan",
    "true_is_255", "no_masks", "bytes_saturate", "sums_start_at_1", "stores_once_more", "runs_nothing",
    "interprets_what_compiles", "overlapping", "compile_errors_swallowed", "reciprocal_4_units",
)  # fmt: skip


def test_there_are_enough_and_each_has_its_name() -> None:
    assert len(MUTANTS) >= 130
    assert len(FAMILIES) >= 16
    assert len({m.name for m in MUTANTS}) == len(MUTANTS)
    assert len({m.fault for m in MUTANTS}) == len(MUTANTS)
    assert min(len(f.mutants) for f in FAMILIES) >= 5


def test_what_is_tried_first_exists() -> None:
    cases = runner.collect(Selection())
    for m in MUTANTS:
        assert any(matches(p, c) for p in m.tried for c in cases), m.name


@pytest.fixture(scope="module")
def bases() -> dict[Base, str]:
    return {kind: base_name(kind) for kind in Base}


@pytest.mark.parametrize("chosen", [m for m in MUTANTS if m.base is not Base.BLOCKS], ids=lambda m: m.name)
def test_a_mutant_is_no_longer_the_good_device(chosen: Mutant, bases: dict[Base, str]) -> None:
    good, wrong = open_new(bases[chosen.base]), spoiled(chosen, bases[chosen.base])
    changed = {k for k, v in vars(wrong).items() if k not in vars(good) and k != "spec"}
    assert changed or replace(wrong.spec, name=good.spec.name) != good.spec
    assert wrong.spec.name == chosen.name.upper()


@pytest.mark.parametrize("name", SAMPLE)
def test_two_functions_of_the_suite_notice(name: str, bases: dict[Base, str]) -> None:
    chosen = mutant(name)
    verdict = hunt(chosen, bases[chosen.base], limit=60)
    assert verdict.is_killed, show.line(verdict)
    assert len({k.function for k in verdict.kills}) == 2
    assert all(k.said for k in verdict.kills)


@pytest.mark.parametrize("name", ["claims_three_dtypes", "claims_relaxed", "only_compiles"])
def test_a_certificate_says_what_is_not_claimed(name: str, bases: dict[Base, str]) -> None:
    verdict = hunt(mutant(name), bases[Base.KERNELS])
    assert verdict.is_killed
    assert not verdict.kills


def test_many_are_hunted_in_processes_of_their_own() -> None:
    seen: list[Verdict] = []
    (verdict,) = survey(select((), ("last_work_item_lost",)), Survey(), done=seen.append)
    assert seen == [verdict]
    assert verdict.is_killed
    text = show.markdown([verdict], 1.0)
    assert "1 of 1 mutants" in text
    assert "| loop tails | 1 | 1 |" in text


def test_a_process_that_has_no_more_orders_ends_by_itself() -> None:
    """It is not killed, and so removes what it made."""
    worker = _Worker()
    process = worker._running()
    worker.close()
    assert process.returncode == 0


def test_certify_exits_1_when_a_case_fails(
    capsys: pytest.CaptureFixture[str], bases: dict[Base, str]
) -> None:
    registry.adopt(spoiled(mutant("floor_division"), bases[Base.KERNELS]))
    arguments = [
        "certify",
        "FLOOR_DIVISION",
        "--jobs",
        "0",
        "--rung",
        "primitives",
        "-k",
        "test_binary and IDIV-int8",
    ]
    assert main(arguments) == 1
    said = capsys.readouterr().out
    assert "FAILED primitives::test_binary[IDIV-int8]" in said
    assert "  operand 0  " in said
    assert "the first failing rung is primitives" in said
    assert "void " in said  # the generated source is shown


def sleeper(base: str) -> Device:
    """Never comes back from one primitive."""

    def value(node: Node, srcs: Sequence[Array]) -> Array:
        if node.op is Op.SQRT:
            time.sleep(60)
        return apply(node, srcs)

    device = open_new(base)
    device.spec = replace(device.spec, name="SLEEPER")
    walking(value)(device)
    return device


def test_a_hang_is_one_case(bases: dict[Base, str]) -> None:
    outcome = runner.run(
        sleeper(bases[Base.DISPATCH]),
        Selection((Rung.PRIMITIVES,), "test_unary and float16 and not bfloat16"),
        limit=0.5,
    )
    assert [(r.id, r.outcome) for r in outcome.failures] == [("primitives::test_unary[SQRT-float16]", "hung")]
    assert "0.5 s" in outcome.failures[0].message
    assert len(outcome.results) == len(outcome.cases) > 4


def test_a_claim_that_is_not_made_is_skipped_and_counted(bases: dict[Base, str]) -> None:
    narrow = open_new(bases[Base.DISPATCH])
    kept = frozenset(d for d in narrow.spec.dtypes if d.name != "float16")
    narrow.spec = replace(narrow.spec, name="NARROW", dtypes=kept, arithmetic=kept)
    outcome = runner.run(narrow, Selection((Rung.PRIMITIVES,), "test_unary and (float16 or float32)"))
    assert outcome.passed
    unclaimed = [r for r in outcome.results if r.outcome == "unclaimed"]
    assert {r.message for r in unclaimed} == {"NARROW does not claim float16"}
    (row,) = outcome.summary()
    assert (row.cases, row.passed + row.unclaimed, row.failed) == (len(outcome.cases), len(outcome.cases), 0)
    assert row.unclaimed == len(unclaimed) > 0


@pytest.mark.parametrize(
    ("name", "rung", "keyword", "said"),
    [
        ("stores_once_more", Rung.VIEWS, "test_single[vector]", "past the end of a buffer"),
        ("odd_loops_stop_early", Rung.PRIMITIVES, "test_sizes[float32]", "elements are not within 0.5 ulp"),
        ("sums_start_at_1", Rung.REDUCTIONS, "test_sum_of_integers[float32]", "sum of 2"),
    ],
)
def test_what_is_wrong_is_said(
    name: str, rung: Rung, keyword: str, said: str, bases: dict[Base, str]
) -> None:
    device = spoiled(mutant(name), bases[Base.KERNELS])
    (failure,) = runner.run(device, Selection((rung,), keyword)).failures
    assert said in failure.message
    assert "void " in failure.message.partition("  kernel\n")[2]


def test_a_good_device_raises_no_alarm(bases: dict[Base, str]) -> None:
    selection = Selection(keyword="test_binary and int8", tier=SuiteTier.QUICK)
    climbs = list(false_alarms_of(bases[Base.DISPATCH], selection, range(3), jobs=0, limit=60))
    assert [(c.seed, c.failed) for c in climbs] == [(0, ()), (1, ()), (2, ())]


def test_a_false_alarm_says_why() -> None:
    alarm = Alarm("speed::test_limit[launch]", "hung", "did not end within 60 s")
    line = Climb("tree", 3, 5, 4, (alarm,), 61.24).line()
    assert line.startswith(
        "tree seed 3: 4 of 5 passed, FALSE ALARMS speed::test_limit[launch] hung: did not end"
    )
    assert line.endswith(": did not end within 60 s, 61.2 s")


def test_the_command_lists_and_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mutate", "--list", "--family", "division"]) == 0
    assert "floor_division (integer division and shifts): IDIV rounds down" in capsys.readouterr().out
    assert main(["mutate", "--mutant", "floor_division"]) == 0
    assert "1 of 1 killed" in capsys.readouterr().out
    assert main(["mutate", "--mutant", "flor_division"]) == 2
    assert "floor_division" in capsys.readouterr().err
    with pytest.raises(ArgumentError, match="no family"):
        select(("nothing of the kind",), ())
