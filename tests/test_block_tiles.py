"""Contractions in blocks: what is read again is staged where the threads of a block share it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import support as t
from scheduling import Program

from portwright import Tensor
from portwright.core import dtype as dt
from portwright.core.decisions import USUAL, ByChance, Stated
from portwright.core.device import Extra, Spec
from portwright.core.expand import expand
from portwright.core.fuse import fuse
from portwright.core.loops import Barrier, Bind, Kernel, Loop, Scratch, Update, statements, values
from portwright.core.ops import ALL_OPS, Op
from portwright.core.pipeline import fresh_kernel
from portwright.core.schedule import schedule
from portwright.core.schedule.block_tiles import contraction, shapes
from portwright.core.schedule.nest import perfect
from portwright.core.value import Access, toposort

SPEC = Spec(
    "BLOCKS", dtypes=frozenset(dt.ALL), native=ALL_OPS, arithmetic=frozenset(dt.ALL),
    extras=frozenset({Extra.FMA, Extra.DIV}),
    vector_bytes=16, threads=512, max_block=64, block=64, warp=32, local_bytes=32 << 10,
)  # fmt: skip


def numbers(*shape: int) -> Tensor:
    return Tensor(np.random.default_rng(len(shape)).integers(-4, 5, shape).astype(np.float32))


PROGRAMS = {
    "product": lambda: t.matmul(t.integers((64, 48)), t.integers((48, 64), seed=1)),
    "odd": lambda: t.add(t.matmul(t.integers((37, 35)), t.integers((35, 51), seed=1)), 1.0),
    "by the transpose": lambda: t.matmul(
        t.integers((40, 32)), t.graph.permute(t.integers((36, 32), seed=1), (1, 0))
    ),
    "of the transpose": lambda: t.matmul(
        t.graph.permute(t.integers((20, 33)), (1, 0)), t.integers((20, 64), seed=1)
    ),
    "batch": lambda: (numbers(2, 32, 18) @ numbers(2, 18, 36)).node,
    "greatest": lambda: (numbers(36, 1, 19) - numbers(32, 19)).amax(2).node,
}


def innermost(kernel: Kernel) -> list[Loop]:
    """The loops that fold."""
    loops = [s for s in statements(kernel.body) if isinstance(s, Loop) and s.bind is Bind.SERIAL]
    return [s for s in loops if any(isinstance(x, Update) for x in statements(s.body))]


@pytest.mark.parametrize("name", PROGRAMS)
def test_products_are_made_of_what_is_shared(name: str) -> None:
    program = Program(PROGRAMS[name](), SPEC)
    kernel = schedule(program.fresh, SPEC)
    program.check(kernel)
    assert sum(isinstance(s, Scratch) and s.memory.shared for s in statements(kernel.body)) == 2
    assert any(isinstance(s, Barrier) for s in statements(kernel.body))
    steps = [s for s in innermost(kernel) if not any(isinstance(x, Loop) for x in s.body)]
    assert steps
    for step in steps:
        read = {v.arg.memory for v in toposort(values(step.body)) if isinstance(v.arg, Access)}
        assert len(read) == 2
        assert read.isdisjoint(p.name for p in kernel.params)


@pytest.mark.parametrize("name", PROGRAMS)
def test_whatever_is_answered_it_means_the_same_and_replays(name: str) -> None:
    program = Program(PROGRAMS[name](), SPEC)
    usual = schedule(program.fresh, SPEC)
    deciders = [*USUAL.variants(usual.decisions), *(ByChance(seed, name) for seed in range(8))]
    assert len(deciders) > 10
    for decider in deciders:
        kernel = schedule(program.fresh, SPEC, decider)
        program.check(kernel)
        assert schedule(program.fresh, SPEC, Stated.of(kernel.decisions)) == kernel


def test_vectors_are_loaded_where_memory_lies_so() -> None:
    kernel = expand(schedule(Program(PROGRAMS["product"](), SPEC).fresh, SPEC))
    wide = {v.arg.memory for v in toposort(values(kernel.body)) if v.op is Op.LOAD and v.lanes == 4}
    assert {"in0", "in1"} < wide  # and what is shared


def test_what_a_block_has_no_room_or_too_few_threads_for_is_left() -> None:
    fresh = Program(PROGRAMS["product"](), SPEC).fresh
    for spec in (
        replace(SPEC, local_bytes=1 << 10),
        replace(SPEC, max_block=16),
        replace(SPEC, max_grid=(1, 1, 1)),
    ):
        kernel = schedule(fresh, spec)
        assert not any("among" in step and "terms at a time" in step for step in kernel.trail)


def test_the_larger_the_results_the_larger_the_tiles() -> None:
    def best(n: int) -> tuple[int, int]:
        (group,) = fuse([t.matmul(t.integers((n, 64)), t.integers((64, n), seed=1))], SPEC)[1]
        kernel = fresh_kernel(group)
        (loop,) = kernel.body
        assert isinstance(loop, Loop)
        nest = perfect(loop)
        found = contraction(nest, nest[-1].body)
        assert found is not None
        first = shapes(found, replace(SPEC, threads=8192, max_block=256), 4)[0]
        return first.rows, first.columns

    assert best(128) < best(512) < best(4096)
    assert best(4096) == (8, 8)
