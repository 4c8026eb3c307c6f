"""Columns reduced side by side: the same meaning, and memory read along its rows."""

from __future__ import annotations

import numpy as np
import pytest
import support as t

from portwright.core import dtype as dt
from portwright.core.dtype import DType
from portwright.core.expand import expand
from portwright.core.fuse import fuse
from portwright.core.hoist import hoist
from portwright.core.loops import Kernel, Loop, statements, values
from portwright.core.ops import Op
from portwright.core.pipeline import fresh_kernel
from portwright.core.schedule import schedule
from portwright.core.schedule.stripe import column, stripe, striped
from portwright.core.value import Access, toposort
from portwright.core.verify import verify


def fresh(root: t.Node) -> tuple[Kernel, t.Group]:
    (group,) = fuse([root], t.spec(16))[1]
    return fresh_kernel(group), group


def ran(kernel: Kernel, group: t.Group) -> np.ndarray:
    verify(kernel)
    held = {n: t.engine.read(n) for n in group.reads}
    (got,) = t.run_tree(t.Stage("tree", kernel), group, held)
    return got


def sums(rows: int = 9, columns: int = 23, op: Op = Op.ADD, dtype: DType = dt.float32) -> t.Node:
    """Down the columns, with something done before and after."""
    x = t.integers((rows, columns), dtype)
    return t.add(t.total(t.mul(x, 3), 0, op), 1)


@pytest.mark.parametrize("op", [Op.ADD, Op.MAX])
@pytest.mark.parametrize("dtype", [dt.float32, dt.int8, dt.float64])
def test_a_stripe_means_the_same(op: Op, dtype: DType) -> None:
    kernel, group = fresh(sums(op=op, dtype=dtype))
    (loop,) = kernel.body
    assert isinstance(loop, Loop)
    wanted = ran(kernel, group)
    for body in stripe(loop, "row").body, striped(loop, 4):
        assert np.array_equal(ran(kernel.with_body(body), group), wanted)
    lanes = expand(kernel.with_body(striped(loop, 4)))
    assert np.array_equal(ran(hoist(lanes), group), wanted)


def test_the_reduction_reads_along_rows() -> None:
    kernel, _ = fresh(sums())
    (loop,) = kernel.body
    assert isinstance(loop, Loop)
    made = stripe(loop, "row")
    *_, innermost = [s for s in statements((made.reduction,)) if isinstance(s, Loop)]
    assert innermost.var == loop.var
    (read,) = [
        v.arg for v in toposort(values((made.reduction,)))
        if isinstance(v.arg, Access) and v.arg.memory == "in0"
    ]  # fmt: skip
    assert read.index.coefficient(innermost.var) == 1


def test_what_is_no_column() -> None:
    """Two reductions in one loop, a loop that stores by itself: these are left to others."""
    x = t.integers((9, 23))
    both = t.add(t.total(x, 0), t.total(t.mul(x, t.total(x, 0)), 0))
    kernel, _ = fresh(both)
    loop = kernel.body[-1]
    assert isinstance(loop, Loop)
    assert column(loop.body) is None
    plain, _ = fresh(t.add(x, 1))
    assert column(plain.body) is None


def trail(root: t.Node, **spec: object) -> str:
    kernel, _ = fresh(root)
    return "; ".join(schedule(kernel, t.spec(16, **spec)).trail)


def test_far_columns_are_striped_and_near_ones_are_not() -> None:
    assert "stripe i1 by 512" in trail(sums(64, 1024))
    assert "grid" in trail(sums(64, 1024))
    assert "stripe" not in trail(sums(64, 256))
    assert "stripe" not in trail(sums(4, 1024))


@pytest.mark.parametrize("shape", [(64, 1024), (65, 1027), (70, 4100), (33, 700)], ids=str)
def test_every_stage_of_a_striped_kernel(shape: tuple[int, int]) -> None:
    x, v = t.integers(shape), t.integers((shape[0], 1), seed=3)
    for root in t.total(x, 0), t.total(t.mul(x, v), 0), t.total(x, 0, Op.MAX):
        wanted = t.meaning(root)[0]
        for name, (got,) in t.by_stage([root], t.spec(16)).items():
            assert np.array_equal(got, wanted), name


@pytest.mark.parametrize("vector_bytes", [0, 16])
def test_far_columns_with_and_without_vectors(vector_bytes: int) -> None:
    root = t.total(t.integers((40, 700), dt.int32), 0)
    spec = t.spec(vector_bytes, cache_bytes=(1 << 10, 1 << 20))
    wanted = t.meaning(root)[0]
    (group,) = fuse([root], spec)[1]
    assert "stripe i1 by 128" in schedule(fresh_kernel(group), spec).trail  # half of 1 KiB
    for name, (got,) in t.by_stage([root], spec).items():
        assert np.array_equal(got, wanted), name
