"""The suite notices faults: each faulty device fails, and first on the rung where its fault is."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from conformance_mutants import FAULTS, Array, Fault, Mutant

from portwright.cli.main import main
from portwright.conformance import runner
from portwright.conformance.ladder import Rung
from portwright.core import registry
from portwright.core.graph import Node
from portwright.core.ops import Op
from portwright.devices.cpu import CPU

QUICK = "not float64 and not uint and not int16 and not int64"
"""Leaves out dtypes that would show nothing that the others do not."""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_the_first_rung_that_fails_is_the_fault_s(fault: Fault) -> None:
    outcome = runner.run(fault.make(), keyword=QUICK, stop=True)
    assert not outcome.passed
    assert {r.rung for r in outcome.failures} == {fault.rung}, [r.id for r in outcome.failures][:5]
    below = [r for r in outcome.results if r.rung.index < fault.rung.index]
    assert len(below) > 0 or fault.rung is Rung.OPEN
    for failure in outcome.failures:
        assert "again      portwright certify MUTANT" in failure.message


def test_certify_exits_1_when_a_case_fails(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = next(f for f in FAULTS if f.name == "floor_division").make()
    registry.adopt(wrong)
    arguments = ["certify", "MUTANT", "--jobs", "0", "--rung", "primitives", "-k", "IDIV-int8"]
    assert main(arguments) == 1
    said = capsys.readouterr().out
    assert "FAILED primitives::test_binary[IDIV-int8]" in said
    assert "operand 0  -128 (0x80)" in said
    assert "the first failing rung is primitives" in said


def test_certify_exits_0_when_the_same_cases_pass() -> None:
    registry.adopt(Mutant())
    assert main(["certify", "MUTANT", "--jobs", "0", "--rung", "primitives", "-k", "IDIV-int8"]) == 0


class Sleeps(Mutant):
    """Never comes back from one primitive."""

    def node(self, node: Node, srcs: Sequence[Array]) -> Array:
        if node.op is Op.SQRT:
            time.sleep(60)
        return super().node(node, srcs)


def test_a_hang_is_one_case() -> None:
    outcome = runner.run(
        Sleeps(), rungs=[Rung.PRIMITIVES], keyword="test_unary and float16 and not bfloat16", limit=0.5
    )
    assert [(r.id, r.outcome) for r in outcome.failures] == [("primitives::test_unary[SQRT-float16]", "hung")]
    assert "0.5 s" in outcome.failures[0].message
    assert len(outcome.results) == len(outcome.cases) > 4


def test_a_claim_that_is_not_made_is_skipped_and_counted() -> None:
    narrow = Mutant()
    kept = frozenset(d for d in narrow.spec.dtypes if d.name != "float16")
    narrow.spec = replace(narrow.spec, dtypes=kept, arithmetic=kept)
    outcome = runner.run(narrow, rungs=[Rung.PRIMITIVES], keyword="test_unary and (float16 or float32)")
    assert outcome.passed
    unclaimed = [r for r in outcome.results if r.outcome == "unclaimed"]
    assert {r.message for r in unclaimed} == {"MUTANT does not claim float16"}
    (row,) = outcome.summary()
    assert (row.cases, row.passed + row.unclaimed, row.failed) == (len(outcome.cases), len(outcome.cases), 0)
    assert row.unclaimed == len(unclaimed) > 0


class Misprints(CPU):
    """A kernel language whose source text is changed before it is compiled."""

    def __init__(self, name: str, change: Callable[[str], str]) -> None:
        super().__init__()
        self.change = change
        self.spec = replace(self.spec, name=name, vector_bytes=0)

    def compile(self, source: str) -> bytes:
        return super().compile(self.change(source))

    def compiler_key(self) -> str:
        return f"{self.spec.name} {super().compiler_key()}"


def one_more(source: str) -> str:
    """The last loop of a kernel runs once more than it should."""
    return re.sub(r"b_o < (\d+);", lambda m: f"b_o < {int(m[1]) + 1};", source)


def one_fewer(source: str) -> str:
    """The last loop of a kernel runs once less than it should."""
    return re.sub(r"b_o < (\d+);", lambda m: f"b_o < {int(m[1]) - 1};", source)


def starts_at_one(source: str) -> str:
    """Sums begin with 1."""
    return re.sub(r"float (acc\d+) = 0\.0f;", r"float \1 = 1.0f;", source)


@pytest.mark.parametrize(
    ("change", "rung", "keyword", "said"),
    [
        (one_more, Rung.PRIMITIVES, "test_sizes[float32]", "past the end of a buffer"),
        (one_fewer, Rung.PRIMITIVES, "test_sizes[float32]", "elements are not within 0.5 ulp"),
        (starts_at_one, Rung.REDUCTIONS, "test_sum_of_integers[float32]", "sum of 2"),
    ],
    ids=["one_more", "one_fewer", "starts_at_one"],
)
def test_a_kernel_that_is_misprinted_is_noticed(
    change: Callable[[str], str], rung: Rung, keyword: str, said: str
) -> None:
    wrong = Misprints(change.__name__.upper(), change)
    (failure,) = runner.run(wrong, rungs=[rung], keyword=keyword).failures
    assert said in failure.message
    assert "void " in failure.message.partition("  kernel\n")[2]  # the generated source is shown
