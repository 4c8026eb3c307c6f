"""Operands that lie across the results: the same meaning, read along their own neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import support as t

from portwright.core.expand import expand
from portwright.core.fuse import fuse
from portwright.core.graph import permute
from portwright.core.hoist import hoist
from portwright.core.loops import Bind, Kernel, Loop, Prefetch, Store, statements, values
from portwright.core.pipeline import fresh_kernel
from portwright.core.schedule import schedule
from portwright.core.schedule.turn import BLOCK, crossing, turned
from portwright.core.transpose import transpose
from portwright.core.value import Access, toposort
from portwright.core.verify import verify

SHAPES = [(BLOCK, BLOCK), (2 * BLOCK, 3 * BLOCK), (2 * BLOCK + 5, BLOCK + 33), (BLOCK, 2 * BLOCK + 1)]


def across(shape: tuple[int, int]) -> t.Node:
    """x + yᵀ."""
    return t.add(t.integers(shape), permute(t.integers(shape[::-1], seed=4), (1, 0)))


def fresh(root: t.Node) -> tuple[Kernel, t.Group]:
    (group,) = fuse([root], t.spec(16))[1]
    return fresh_kernel(group), group


def ran(kernel: Kernel, group: t.Group) -> np.ndarray:
    verify(kernel)
    (got,) = t.run_tree(t.Stage("tree", kernel), group, {n: t.engine.read(n) for n in group.reads})
    return got


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("prefetches", [False, True])
def test_blocks_mean_the_same(shape: tuple[int, int], prefetches: bool) -> None:
    kernel, group = fresh(across(shape))
    (rows,) = kernel.body
    assert isinstance(rows, Loop)
    wanted = ran(kernel, group)
    made = kernel.with_body(turned(rows, 4, prefetches))
    assert np.array_equal(ran(made, group), wanted)
    assert np.array_equal(ran(hoist(expand(made)), group), wanted)
    asked = any(isinstance(s, Prefetch) for s in statements(made.body))
    assert asked is (prefetches and shape[1] >= 2 * BLOCK)


def test_what_is_copied_is_read_along_its_neighbours() -> None:
    kernel, _ = fresh(across((2 * BLOCK, 2 * BLOCK)))
    (rows,) = kernel.body
    assert isinstance(rows, Loop)
    (columns,) = rows.body
    assert isinstance(columns, Loop)
    (load,) = crossing(rows, columns)
    made = turned(rows, 4)
    (copied,) = [s for s in statements(made) if isinstance(s, Store) and s.memory.startswith("turned")]
    innermost = next(
        s for s in statements(made)
        if isinstance(s, Loop) and s.body == (copied,)
    )  # fmt: skip
    assert isinstance(load.arg, Access)
    assert isinstance(copied.value.arg, Access)
    assert copied.value.arg.memory == load.arg.memory
    assert copied.value.arg.index.coefficient(innermost.var) == 1
    assert (innermost.bind, innermost.extent) == (Bind.UNROLL, 4)
    final = transpose(expand(kernel.with_body(made)))
    loads = [v.arg for v in toposort(values(final.body)) if isinstance(v.arg, Access)]
    assert {a.stride for a in loads if a.memory == load.arg.memory} == {1}


def test_the_next_block_is_asked_for_and_nothing_else() -> None:
    kernel, _ = fresh(across((2 * BLOCK, 2 * BLOCK)))
    (rows,) = kernel.body
    assert isinstance(rows, Loop)
    asked = [s for s in statements(turned(rows, 4)) if isinstance(s, Prefetch)]
    assert len(asked) == BLOCK * 4 // 64  # the lines of a block's row
    assert len({s.index.const for s in asked}) == len(asked)


def trail(root: t.Node, **spec: object) -> str:
    kernel, _ = fresh(root)
    return "; ".join(schedule(kernel, t.spec(16, **spec)).trail)


def test_large_operands_are_turned_and_small_ones_are_not() -> None:
    caches = {"cache_bytes": (1 << 10, 1 << 20)}
    assert "turn blocks of i0, i1" in trail(across((2 * BLOCK, 2 * BLOCK)), **caches)
    assert "turn" not in trail(across((2 * BLOCK, 2 * BLOCK)), cache_bytes=(1 << 20, 1 << 21))
    assert "turn" not in trail(across((BLOCK // 2, 2 * BLOCK)), **caches)
    assert "turn" not in trail(t.add(t.integers((128, 128)), t.integers((128, 128), seed=2)), **caches)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_stage_of_a_turned_kernel(shape: tuple[int, int]) -> None:
    root = across(shape)
    wanted = t.meaning(root)[0]
    for name, (got,) in t.by_stage([root], t.spec(16, cache_bytes=(1 << 10, 1 << 20))).items():
        assert np.array_equal(got, wanted), name


def test_on_the_device() -> None:
    for shape in (3 * BLOCK, 5 * BLOCK), (211, 1031):
        root = across(shape)
        (wanted,) = t.meaning(root)
        assert np.array_equal(t.realized(root)[0], wanted)
