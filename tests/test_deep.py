"""Products over many terms, a block at a time, and columns that go through rows by themselves."""

from __future__ import annotations

import numpy as np
import pytest
import support as t

from portwright import Tensor
from portwright.core import dtype as dt
from portwright.core import graph
from portwright.core import value as val
from portwright.core.decisions import USUAL, Decisions
from portwright.core.device import Spec
from portwright.core.index import variable
from portwright.core.loops import Kernel, Let, Loop, Store, statements
from portwright.core.ops import Op
from portwright.core.schedule.columns import by_rows, sunk
from portwright.core.schedule.deep import _evenly
from portwright.core.schedule.scheduling import Scheduling
from portwright.core.value import Access

SMALL = t.spec(16, cache_bytes=(1 << 12, 1 << 13), private_bytes=1 << 13, threads=2)
"""Caches so small that a panel of a few hundred terms has no room."""


def product(rows: int, columns: int, terms: int) -> t.Node:
    """Of small integers, whose sums are exact in any order, and something done with each afterwards."""
    return t.add(t.matmul(t.integers((rows, terms)), t.integers((terms, columns), seed=1)), 1)


def made(root: t.Node, spec: Spec) -> dict[str, Kernel]:
    (group,) = t.fuse([root], spec)[1]
    return {s.name: s.kernel for s in t.stages(group, spec)}


@pytest.mark.parametrize(
    ("rows", "columns", "terms"), [(40, 64, 400), (40, 24, 397), (300, 16, 256), (33, 160, 512)]
)
def test_each_stage_of_a_deep_product_means_the_same(rows: int, columns: int, terms: int) -> None:
    root = product(rows, columns, terms)
    (wanted,) = t.meaning(root)
    for stage, (got,) in t.by_stage([root], SMALL).items():
        assert np.array_equal(got, wanted), stage


def test_it_is_said_and_read_in_blocks() -> None:
    trail = made(product(40, 64, 400), SMALL)["scheduled"].trail
    assert any(step.startswith("deepen ") for step in trail)
    assert any(step.startswith("stage ") for step in trail)


def test_what_has_room_is_not_deepened() -> None:
    trail = made(product(40, 64, 20), SMALL)["scheduled"].trail
    assert not any(step.startswith("deepen ") for step in trail)


@pytest.mark.parametrize(
    ("extent", "unit", "most", "threads", "size"),
    [
        (768, 32, 256, 2, 192),
        (768, 32, 1024, 1, 768),
        (300, 8, 256, 2, 144),
        (64, 32, 256, 2, 32),
        (20, 32, 256, 2, 20),
    ],
)
def test_blocks_that_leave_nobody_idle(extent: int, unit: int, most: int, threads: int, size: int) -> None:
    cut = _evenly(extent, unit, most, threads)
    whole, rest = divmod(extent, cut.size)
    assert cut.share == pytest.approx((-(-whole // threads) * cut.size + rest) / extent)
    assert cut.size <= max(most, unit)
    assert cut.size == size


# ------------------------------------------------------------------------------------------ columns


def scattered(rows: int, width: int, updates: int) -> t.Node:
    base = t.integers((rows, width))
    index = t.place(np.random.default_rng(2).integers(-2, rows + 2, updates).astype(np.int32))
    return graph.scatter(base, index, t.integers((updates, width), seed=3), Op.ADD)


@pytest.mark.parametrize(("rows", "width", "updates"), [(9, 40, 30), (9, 7, 30), (50, 3, 20), (5, 64, 1)])
def test_each_stage_of_a_scatter_means_the_same(rows: int, width: int, updates: int) -> None:
    root = scattered(rows, width, updates)
    (wanted,) = t.meaning(root)
    for stage, (got,) in t.by_stage([root], t.spec(16)).items():
        assert np.array_equal(got, wanted), stage


def test_the_rows_of_a_scatter_are_written_in_vectors() -> None:
    stages = made(scattered(9, 40, 30), t.spec(16))
    assert any(step.startswith("sink c ") for step in stages["scheduled"].trail)
    stores = [s for s in statements(stages["hoisted"].body) if isinstance(s, Store)]
    assert stores
    assert all(s.value.lanes == 4 and s.stride == 1 for s in stores)


def test_without_vectors_columns_stay_around_their_rows() -> None:
    kernel = made(scattered(9, 40, 30), t.spec(0))["fresh"]
    (loop,) = kernel.body
    assert isinstance(loop, Loop)
    assert sunk(loop) is not None
    work = Scheduling(t.spec(0), {p.name: p for p in kernel.params}, Decisions(USUAL))
    assert by_rows(work, loop, outermost=True) is None


def test_what_is_named_for_later_loops_cannot_be_sunk() -> None:
    column = variable("c", 8)
    named = Let("x", val.make(Op.LOAD, dt.float32, (), Access("in0", column, ())))
    store = Store("out0", column + variable("r", 3) * 8, val.ref("x", dt.float32))
    assert sunk(Loop("c", 8, (named, Loop("r", 3, (store,))))) is None


def test_an_embeddings_gradient() -> None:
    rng = np.random.default_rng(5)
    table, at = rng.standard_normal((50, 24), np.float32), rng.integers(0, 50, 200).astype(np.int32)
    seed = rng.standard_normal((200, 24), np.float32)
    w = Tensor(table, requires_grad=True)
    (w[Tensor(at)] * Tensor(seed)).sum().backward()
    wanted = np.zeros(table.shape)
    np.add.at(wanted, at, seed)
    assert w.grad is not None
    assert np.allclose(w.grad.numpy(), wanted, atol=1e-5)
