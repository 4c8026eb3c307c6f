"""The tiers: quick is a strict subset that keeps what finds faults, full adds every float32."""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from certificates import changed
from timings import passed

from portwright.cli.main import main
from portwright.conformance import certificate, report
from portwright.conformance.badge import GOOD, LIMITED, badge
from portwright.conformance.claims import claims
from portwright.conformance.compare import compare
from portwright.conformance.form import form
from portwright.conformance.inputs import SLICES, slice_of, to_bits
from portwright.conformance.ladder import Rung, again
from portwright.conformance.outcome import CaseResult, Outcome
from portwright.conformance.page import page
from portwright.conformance.project import Project
from portwright.conformance.runner import collect, run
from portwright.conformance.selection import Selection
from portwright.conformance.tiers import ONLY_FULL, QUICK, SuiteTier, function_of
from portwright.conformance.vendor import conformance
from portwright.conformance.verify import verify
from portwright.core.dtype import ALL, DType, as_dtype, float32
from portwright.core.errors import ArgumentError
from portwright.core.evaluate import NUMPY_PRIMITIVES
from portwright.core.ops import PRIMITIVES, Op, is_supported
from portwright.devices.numpy import NumPy

TIERS = list(SuiteTier)


@functools.cache
def cases(tier: SuiteTier) -> list[str]:
    """The names of all cases of a tier, in order."""
    return collect(Selection(tier=tier))


def parameters(case: str) -> list[str]:
    return case.partition("[")[2].removesuffix("]").split("-")


def test_each_tier_is_a_strict_subset_of_the_next() -> None:
    quick, standard, full = (set(cases(t)) for t in TIERS)
    assert quick < standard < full
    assert {function_of(c) for c in full - standard} == ONLY_FULL


def test_quick_keeps_the_order_and_a_share_of_each_rung() -> None:
    quick, standard = cases(SuiteTier.QUICK), cases(SuiteTier.STANDARD)
    assert [c for c in standard if c in set(quick)] == quick
    assert 0.25 < len(quick) / len(standard) < 0.6
    for rung in Rung:
        some, every = ([c for c in of if c.startswith(f"{rung.value}::")] for of in (quick, standard))
        assert len(some) >= 0.3 * len(every), rung


def test_quick_keeps_each_test_function() -> None:
    quick, standard = ({function_of(c) for c in cases(t)} for t in TIERS[:2])
    assert quick == standard
    assert QUICK.keys() <= standard  # no rule is about a function that is gone


def test_each_rule_leaves_something_out() -> None:
    left = {function_of(c) for c in set(cases(SuiteTier.STANDARD)) - set(cases(SuiteTier.QUICK))}
    assert left == QUICK.keys()


def test_quick_keeps_each_primitive_on_a_bool_an_integer_and_a_float() -> None:
    found: dict[Op, set[str]] = defaultdict(set)
    for case in cases(SuiteTier.QUICK):
        if function_of(case) in ("primitives::test_unary", "primitives::test_binary"):
            op, dtype = parameters(case)
            found[Op[op]].add(kind(dtype))
    for op, row in PRIMITIVES.items():
        if row.reference is not None and row.arity in (1, 2) and op not in (Op.CAST, Op.BITCAST):
            assert found[op] == {kind(d.name) for d in ALL if is_supported(op, d)}, op


def kind(name: str) -> str:
    dtype = as_dtype(name)
    return "bool" if dtype.is_bool else "float" if dtype.is_float else "integer"


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_quick_keeps_each_dtype(dtype: object) -> None:
    mine = [c for c in cases(SuiteTier.QUICK) if str(dtype) in parameters(c)]
    assert {c.partition("::")[0] for c in mine} >= {"copy", "primitives", "casts"}
    for side in (0, 1):
        assert any(function_of(c) == "casts::test_cast" and parameters(c)[side] == str(dtype) for c in mine)


def test_quick_keeps_casts_between_kinds_widths_and_double_roundings() -> None:
    pairs = {tuple(parameters(c)) for c in cases(SuiteTier.QUICK) if function_of(c) == "casts::test_cast"}
    kinds = {(kind(a), kind(b)) for a, b in pairs}
    assert kinds >= {(a, b) for a in ("bool", "integer", "float") for b in ("integer", "float")}
    widths = {(as_dtype(a).bits, as_dtype(b).bits) for a, b in pairs}
    assert widths == {(a, b) for a in (8, 16, 32, 64) for b in (8, 16, 32, 64)} - {(16, 16)}
    assert pairs >= {("float64", "float16"), ("float64", "bfloat16"), ("uint64", "float32")}


def test_quick_keeps_each_program_that_has_a_name() -> None:
    quick, standard = (
        {parameters(c)[0] for c in cases(t) if function_of(c) == "fused::test_named"} for t in TIERS[:2]
    )
    assert quick == standard
    assert len(quick) > 5


def test_a_case_is_alike_in_each_tier() -> None:
    keyword = "test_unary and SQRT-float32"
    quick, standard, full = (run("NUMPY", Selection((Rung.PRIMITIVES,), keyword, t), jobs=0) for t in TIERS)
    assert quick.cases == standard.cases == full.cases == ["primitives::test_unary[SQRT-float32]"]
    assert quick.results[0].accuracy == standard.results[0].accuracy == full.results[0].accuracy
    assert quick.results[0].accuracy


def test_full_sweeps_every_float32_through_each_unary_primitive_and_cast() -> None:
    swept = [c for c in cases(SuiteTier.FULL) if function_of(c) in ONLY_FULL]
    by_what: dict[str, list[str]] = defaultdict(list)
    for case in swept:
        by_what["-".join(parameters(case)[:-1])].append(parameters(case)[-1])
    unary = {f"{op.name}-float32" for op in (Op.NEG, Op.RECIP, Op.SQRT, Op.EXP2, Op.LOG2, Op.SIN)}
    assert by_what.keys() == unary | {f"float32-{d}" for d in ALL if d is not float32}
    assert all(slices == [f"{i:02x}" for i in range(SLICES)] for slices in by_what.values())


@pytest.mark.parametrize("high", [0, 0x7F, 0xFF])
def test_a_slice_is_every_element_with_its_highest_byte(high: int) -> None:
    bits = np.concatenate([to_bits(x) for x in slice_of(float32, high)])
    assert np.array_equal(bits, np.arange(high << 24, (high + 1) << 24, dtype=np.uint32))


def slipped(dtype: DType, x: np.ndarray) -> np.ndarray:
    made = NUMPY_PRIMITIVES[Op.NEG](dtype, x)
    return np.where(to_bits(x) == 0x3F123457, np.float32(1), made) if dtype is float32 else made


class Slips(NumPy):
    """Right, but for one float32 in four thousand million, whose negative is not its negative."""

    primitives: ClassVar = {**NUMPY_PRIMITIVES, Op.NEG: slipped}

    def __init__(self) -> None:
        super().__init__()
        self.spec = replace(self.spec, name="MUTANT")


def test_a_sweep_finds_one_wrong_result() -> None:
    outcome = run(Slips(), Selection((Rung.PRIMITIVES,), "NEG-float32", SuiteTier.STANDARD))
    assert outcome.passed
    keyword = "NEG-float32-3f or NEG-float32-3e"
    outcome = run(Slips(), Selection((Rung.PRIMITIVES,), keyword, SuiteTier.FULL))
    (failure,) = outcome.failures
    assert failure.id == "primitives::test_sweep[NEG-float32-3f]"
    assert "0x3f123457" in failure.message
    assert "1 of 1,048,576 elements are not equal to the bit" in failure.message
    assert "--tier full" in failure.message


def test_a_slice_runs_alone_and_is_judged(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "slice.json"
    arguments = ["--tier", "full", "--rung", "casts", "-k", "test_sweep and float32-int8-7f", "--jobs", "0"]
    assert main(["certify", "NUMPY", *arguments, "-o", str(path)]) == 0
    assert "certified (the full tier, a part of the ladder)" in capsys.readouterr().out
    document = certificate.load(path)
    assert document["cases"] == {"casts::test_sweep[float32-int8-7f]": {"outcome": "passed"}}
    assert verify(path.read_bytes()).accepted


def test_the_command_that_runs_a_slice_again_names_the_tier() -> None:
    assert again("ACME", "casts::test_sweep[float32-int8-7f]", 3).endswith("--seed 3 --tier full")
    assert "--tier" not in again("ACME", "casts::test_cast[float32-int8]", 3)


def test_a_certificate_names_its_tier_and_is_verified_by_it() -> None:
    documents = {
        t: certificate.build(run("NUMPY", Selection((Rung.COPY, Rung.MEMORY), tier=t), jobs=0), NumPy())
        for t in TIERS[:2]
    }
    assert [d["suite"]["tier"] for d in documents.values()] == ["quick", "standard"]
    for document in documents.values():
        assert verify(certificate.canonical(document)).accepted


def few(tier: SuiteTier) -> certificate.Document:
    """A certificate of a few cases, of a rung of which quick leaves some out."""
    outcome = run("NUMPY", Selection((Rung.PRIMITIVES,), "test_where", tier), jobs=0)
    return certificate.build(outcome, NumPy())


def test_a_quick_certificate_cannot_be_called_standard() -> None:
    quick = few(SuiteTier.QUICK)
    assert verify(certificate.canonical(quick)).accepted
    assert len(quick["cases"]) < len(few(SuiteTier.STANDARD)["cases"])
    for name, said in (("standard", "it lacks 9 cases"), ("full", "it lacks 9 cases")):
        forged = changed(quick, lambda d, name=name: d["suite"].update(tier=name))
        (problem,) = verify(certificate.canonical(forged)).problems
        assert problem.startswith(said)
    (problem,) = verify(
        certificate.canonical(changed(few(SuiteTier.STANDARD), lambda d: d["suite"].update(tier="quick")))
    ).problems
    assert "that suite" in problem
    assert "tier quick does not have" in problem
    unknown = changed(quick, lambda d: d["suite"].update(tier="slow"))
    assert "its form is wrong: suite.tier" in verify(certificate.canonical(unknown)).problems[0]


def test_a_certificate_without_a_tier_is_older() -> None:
    older = changed(few(SuiteTier.STANDARD), lambda d: d["suite"].pop("tier"))
    assert form(older).missing == ("suite.tier",)
    assert verify(certificate.canonical(older)).problems == (
        "an older Portwright made it; it lacks suite.tier",
    )
    without = changed(older, lambda d: d["spec"].pop("tier"))  # of another meaning, and never optional
    assert form(without).faults == ("spec.tier is missing",)


def whole(tier: SuiteTier) -> Outcome:
    """A climb of a tier in which all passed."""
    outcome = Outcome("NUMPY", Selection(tier=tier), cases(tier))
    outcome.results = [passed(c) for c in cases(tier)]
    return outcome


@pytest.mark.parametrize("tier", TIERS[:2], ids=lambda t: t.value)
def test_complete_is_by_tier_and_everyone_is_told_which(tier: SuiteTier) -> None:
    outcome = whole(tier)
    assert outcome.complete
    document = certificate.build(outcome, NumPy())
    found = verify(certificate.canonical(document))
    assert found.accepted, found.problems
    is_quick = tier is SuiteTier.QUICK
    picture = badge(document)
    assert (", quick" in picture, LIMITED in picture, GOOD in picture) == (is_quick, is_quick, not is_quick)
    assert ("the quick tier" in page(document, found)) is is_quick
    assert any(line.startswith(f"{tier.value} tier") for c in claims(document) for line in c.lines)
    assert (" (the quick tier)" in report.verdict(outcome).plain) is is_quick
    assert ("the whole suite" in report.advice(outcome).plain) is is_quick


def test_a_comparison_says_that_the_tiers_differ() -> None:
    old, new = (certificate.build(whole(t), NumPy()) for t in (SuiteTier.STANDARD, SuiteTier.QUICK))
    found = compare(old, new)
    assert ("suite tier", "standard", "quick") in {(c.what, c.old, c.new) for c in found.circumstances}
    assert not found.worse
    assert set(found.gone) == set(old["cases"]) - set(new["cases"])


def test_quick_ticks_no_box_and_takes_ticks_away(tmp_path: Path) -> None:
    (tmp_path / "PORTING.md").write_text("- [x] **open** 1\n- [ ] **memory** 2\n- [x] **copy** 3\n")
    quick = whole(SuiteTier.QUICK)
    copy = next(i for i, r in enumerate(quick.results) if r.rung is Rung.COPY)
    quick.results[copy] = CaseResult(quick.results[copy].id, "failed", 0.0, "why")
    project = Project(tmp_path)
    assert project.tick(quick) is not None
    assert project.checklist.read_text() == "- [x] **open** 1\n- [ ] **memory** 2\n- [ ] **copy** 3\n"
    project.tick(whole(SuiteTier.STANDARD))
    assert project.checklist.read_text().count("[x]") == 3


def test_a_port_s_own_tests_choose_a_tier() -> None:
    conformance("NUMPY", tier="quick", jobs=0)(Rung.MEMORY)
    with pytest.raises(ArgumentError, match="no tier 'slow': there are quick, standard, full"):
        conformance("NUMPY", tier="slow")


def test_the_command_runs_a_tier(tmp_path: Path) -> None:
    path = tmp_path / "quick.json"
    arguments = ["--tier", "quick", "--rung", "primitives", "-k", "test_where or test_const_nan"]
    assert main(["certify", "NUMPY", *arguments, "--jobs", "0", "-o", str(path)]) == 0
    document = json.loads(path.read_text())
    wanted = [c for c in cases(SuiteTier.QUICK) if "test_where" in c or "test_const_nan" in c]
    assert list(document["cases"]) == sorted(wanted)
    assert document["suite"]["tier"] == "quick"
