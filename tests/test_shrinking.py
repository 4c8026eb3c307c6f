"""Random programs are drawn evenly from a seed, and one that fails is made smaller, to the smallest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from failing import Bench

from portwright.conformance.case import Case, place
from portwright.conformance.choices import Choices, Drawn
from portwright.conformance.enclosure import Enclosure
from portwright.conformance.judge import Mismatch
from portwright.conformance.movement import moves, random_shape
from portwright.conformance.programs import SIZES, Programs
from portwright.conformance.shrink import Shrunk, hold, shrink
from portwright.core import engine
from portwright.core.dtype import float32, int32
from portwright.core.graph import GraphOp, Node, toposort
from portwright.core.ops import Op
from portwright.core.registry import open_device

STEPS = 14


def program(choices: Choices) -> list[Node]:
    enclosure = Enclosure(engine.read, open_device("NUMPY").spec)
    return Programs(choices, lambda x: place(x, "NUMPY"), enclosure, (float32, int32)).draw(STEPS)


def movement(choices: Choices) -> list[Node]:
    shape = random_shape(choices, 3)
    array = choices.array(
        int32, int(np.prod(shape)), lambda d, rng, n: rng.integers(-9, 9, n).astype(d.numpy)
    )
    return [moves(choices, place(array.reshape(shape), "NUMPY"), 5)]


def drawn(seed: int, make: Callable[[Choices], list[Node]] = program) -> tuple[Drawn, list[Node]]:
    choices = Drawn(np.random.default_rng(seed))
    return choices, make(choices)


def ops(values: Sequence[Node]) -> list[object]:
    return [n.op for n in toposort(values)]


def arrays(values: Sequence[Node]) -> list[bytes]:
    return [engine.read(n).tobytes() for n in toposort(values) if n.op is GraphOp.BUFFER]


@pytest.mark.parametrize("make", [program, movement])
def test_a_program_is_its_choices(make: Callable[[Choices], list[Node]]) -> None:
    for seed in range(8):
        choices, values = drawn(seed, make)
        again, same = drawn(seed, make)
        assert again.notes == choices.notes
        told = make(Choices(choices.seed, choices.notes))
        assert ops(told) == ops(same) == ops(values)
        assert arrays(told) == arrays(same) == arrays(values)
    assert drawn(0, make)[0].notes != drawn(1, make)[0].notes


def test_what_is_drawn_is_of_all_kinds() -> None:
    found, sizes, roots = Counter[object](), Counter[int](), Counter[int]()
    for seed in range(120):
        _, values = drawn(seed)
        found.update(ops(values))
        sizes.update(n for v in toposort(values) if v.op is GraphOp.BUFFER for n in v.shape)
        roots[len(values)] += 1
    kinds = {Op.ADD, Op.MUL, Op.MAX, Op.SIN, Op.LOG2, Op.WHERE, Op.SHL, Op.IDIV, Op.CAST, GraphOp.REDUCE}
    kinds |= {GraphOp.FLIP, GraphOp.PAD, GraphOp.WINDOW, GraphOp.CONTIGUOUS}
    assert kinds <= found.keys()
    assert set(sizes) == set(SIZES)
    for n in SIZES[1:]:  # of eight sizes each comes an eighth of the time, where it is not folded
        assert 0.6 < sizes[n] * (len(SIZES) - 1) / (sizes.total() - sizes[1]) < 1.6
    assert set(roots) == {1, 2, 3}
    assert roots[3] > roots[1]


SMALLEST: dict[str, tuple[Callable[[Choices], list[Node]], Callable[[Sequence[Node]], bool], int, int]] = {
    "a sine": (program, lambda v: Op.SIN in ops(v), 2, 1),
    "a sum of sines": (program, lambda v: {Op.SIN, GraphOp.REDUCE} <= set(ops(v)), 8, 4),
    "two outputs": (program, lambda v: len(v) > 1, 5, 1),
    "a window": (movement, lambda v: GraphOp.WINDOW in ops(v), 2, 1),
    "a flip of a pad": (movement, lambda v: {GraphOp.FLIP, GraphOp.PAD} <= set(ops(v)), 4, 4),
}


def smallest(
    make: Callable[[Choices], list[Node]], fails: Callable[[Sequence[Node]], bool], seconds: float = 600
) -> tuple[Shrunk, list[Node]]:
    for seed in range(100):
        choices, values = drawn(seed, make)
        if fails(values) and len(ops(values)) > 4:
            found = shrink(make, fails, choices, seconds)
            assert found is not None
            return found, make(Choices(choices.seed, found.notes))
    raise AssertionError("none of a hundred programs fails")


@pytest.mark.parametrize(("make", "fails", "most", "elements"), SMALLEST.values(), ids=SMALLEST.keys())
def test_the_smallest_that_fails_is_found(
    make: Callable[[Choices], list[Node]],
    fails: Callable[[Sequence[Node]], bool],
    most: int,
    elements: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    found, values = smallest(make, fails)
    assert fails(values)
    order = toposort(values)
    leaves = [n for n in order if n.op is GraphOp.BUFFER]
    computed = [n for n in order if n.storage is None and n.op is not Op.CONST]
    assert len(computed) <= most
    assert all(n.size <= elements for n in leaves)
    assert all(engine.read(n).ravel()[0] == 1 for n in leaves), "its values are not the tamest"
    assert found.tries > 1
    assert not found.ended
    assert not list(tmp_path.iterdir()), "something was written"


def test_what_is_right_when_it_is_made_again_is_not_shrunk() -> None:
    choices, _ = drawn(3)
    assert shrink(program, lambda v: False, choices, 60) is None


def test_when_time_is_over_the_smallest_so_far_is_told() -> None:
    found, values = smallest(program, lambda v: Op.SIN in ops(v), seconds=0)
    assert Op.SIN in ops(values)
    assert found.tries == 1
    assert found.ended == "ended after 0 s"


def test_what_ends_a_try_ends_the_search_and_not_the_case() -> None:
    tries = []

    def fails(values: Sequence[Node]) -> bool:
        tries.append(values)
        if len(tries) > 3:
            pytest.fail("Timeout (>60.0s) from pytest-timeout.")
        return True

    found, _ = smallest(program, fails)
    assert "Timeout" in found.ended
    assert found.tries == len(tries) - 1 == 3  # the first was not one of the search


def test_an_interrupt_is_not_swallowed() -> None:
    def fails(values: Sequence[Node]) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shrink(program, fails, drawn(0)[0], 60)


def test_the_failure_of_the_smallest_is_told() -> None:
    case = Case("NUMPY", 0, "fused::test_random[float32-0]")

    def test(values: Sequence[Node]) -> None:
        bad = [n for n in toposort(values) if n.op is Op.SIN]
        if bad:
            raise Mismatch(f"a sine of {bad[0].shape}")

    def some() -> None:
        for _ in range(100):
            hold(case, [program], test)

    with pytest.raises(Mismatch) as told:
        some()
    assert str(told.value) in ("a sine of (1,)", "a sine of (1, 1)", "a sine of (1, 1, 1)")
    (note,) = told.value.__notes__
    assert "operations to 1, in " in note
    assert case.looked > 0


def test_without_time_left_it_is_told_as_it_was_drawn() -> None:
    case = Case("NUMPY", 0, "fused::test_random[float32-0]", patience=0)

    def test(values: Sequence[Node]) -> None:
        raise Mismatch("wrong")

    with pytest.raises(Mismatch) as told:
        hold(case, [program], test)
    assert told.value.__notes__ == ["as it was drawn: the time for making failures smaller is spent"]
    assert case.looked == 0


def test_what_needs_others_beside_it_is_told_as_it_was() -> None:
    case = Case("NUMPY", 0, "views::test_random[0]")

    def test(values: Sequence[Node]) -> None:
        case.shows(values)
        if len(values) > 2:
            raise Mismatch(f"{len(values)} at once")

    with pytest.raises(Mismatch, match="3 at once") as told:
        hold(case, [movement] * 3, test)
    assert told.value.__notes__ == ["each program is right when it is made again alone"]
    assert len(case.ran) == 3


CASE = "test_random[float16-1]"


def test_a_worker_that_dies_of_a_smaller_program_does_not_lose_the_failure(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "wrong", "crashes small")
    (case,) = bench.cases("--rung", "fused", "-k", CASE).values()
    assert case["outcome"] == "failed"
    assert "are not" in case["reason"].splitlines()[0]
    assert "the process ended when a smaller program was tried" in case["reason"]
    assert f"  again      portwright certify ACME --rung fused -k '{CASE}' --seed 0" in case["reason"]


def test_a_program_that_crashes_is_a_crash(tmp_path: Path) -> None:
    (case,) = Bench(tmp_path, "crashes").cases("--rung", "fused", "-k", CASE).values()
    assert case["outcome"] == "crashed"
    assert "the process that ran the case died" in case["reason"]
