"""Results that are streamed by way of a near block: the same meaning, and one store of each."""

from __future__ import annotations

import numpy as np
import pytest
import support as t

from portwright.core import dtype as dt
from portwright.core.expand import expand
from portwright.core.fuse import fuse
from portwright.core.hoist import hoist
from portwright.core.loops import Kernel, Loop, Scratch, Store, statements
from portwright.core.pipeline import fresh_kernel
from portwright.core.schedule import schedule
from portwright.core.schedule.drain import BLOCK, can_drain, drained
from portwright.core.verify import verify

TINY = (256, 1 << 12)
"""Caches that every result here is larger than."""


def long_chain(shape: tuple[int, ...], dtype: dt.DType = dt.int32) -> t.Node:
    """More operations than a store waits for gladly."""
    x = t.integers(shape, dtype)
    for i in range(14):
        x = t.add(t.mul(x, x), i)
    return x


def fresh(root: t.Node) -> tuple[Kernel, t.Group]:
    (group,) = fuse([root], t.spec(16))[1]
    return fresh_kernel(group), group


def ran(kernel: Kernel, group: t.Group) -> np.ndarray:
    verify(kernel)
    (got,) = t.run_tree(t.Stage("tree", kernel), group, {n: t.engine.read(n) for n in group.reads})
    return got


@pytest.mark.parametrize("size", [BLOCK, 2 * BLOCK, 2 * BLOCK + 777])
@pytest.mark.parametrize("dtype", [dt.int32, dt.int8, dt.int64])
def test_blocks_mean_the_same(size: int, dtype: dt.DType) -> None:
    kernel, group = fresh(long_chain((size,), dtype))
    (loop,) = kernel.body
    assert isinstance(loop, Loop)
    assert can_drain(loop, {"out0"})
    made = kernel.with_body(drained(loop, 4, 2))
    assert np.array_equal(ran(made, group), ran(kernel, group))
    assert np.array_equal(ran(hoist(expand(made)), group), ran(kernel, group))
    assert sum(isinstance(s, Store) and s.memory == "out0" for s in statements(expand(made).body)) < 8


def trail(root: t.Node, **spec: object) -> str:
    kernel, _ = fresh(root)
    return "; ".join(schedule(kernel, t.spec(16, **spec)).trail)


def test_what_is_large_and_takes_long_is_drained() -> None:
    root = long_chain((2 * BLOCK,))
    assert f"drain i0 by {BLOCK}" in trail(root, cache_bytes=TINY)
    assert "drain" not in trail(root)  # it stays in a cache
    assert "drain" not in trail(root, cache_bytes=TINY, private_bytes=0)
    assert "drain" not in trail(t.add(t.integers((2 * BLOCK,)), 1), cache_bytes=TINY)
    assert "drain" not in trail(long_chain((3, BLOCK - 1)).srcs[0], cache_bytes=(256, 1 << 20))


def test_rows_are_drained_each_by_itself() -> None:
    """What is added differs by row, so that rows are no one loop."""
    root = t.add(
        long_chain((5, BLOCK + 9)), t.graph.expand(t.integers((5, 1), dt.int32, seed=3), (5, BLOCK + 9))
    )
    said = trail(root, cache_bytes=TINY)
    wanted = t.meaning(root)[0]
    for name, (got,) in t.by_stage([root], t.spec(16, cache_bytes=TINY)).items():
        assert np.array_equal(got, wanted), name
    assert f"by {BLOCK}" in said


def test_a_guarded_store_is_none_of_them() -> None:
    kernel, _ = fresh(long_chain((2 * BLOCK,)))
    (loop,) = kernel.body
    assert isinstance(loop, Loop)
    assert not can_drain(loop, set())
    (*lets, store) = loop.body
    assert isinstance(store, Store)
    backwards = Store(store.memory, -store.index + (2 * BLOCK - 1), store.value)
    assert not can_drain(Loop(loop.var, loop.extent, (*lets, backwards)), {"out0"})


def test_scratch_is_of_one_block() -> None:
    kernel, _ = fresh(long_chain((2 * BLOCK + 5,)))
    scheduled = schedule(kernel, t.spec(16, cache_bytes=TINY))
    sizes = [s.memory.size for s in statements(scheduled.body) if isinstance(s, Scratch)]
    assert sorted(sizes) == [5, BLOCK]
