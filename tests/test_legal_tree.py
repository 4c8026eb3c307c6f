"""Whole kernels legalized: accumulators in memory, words, positions; on devices of every shape, as fresh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import support as t

from portwright.core import dtype as dt
from portwright.core.device import Spec
from portwright.core.fuse import fuse
from portwright.core.graph import Node
from portwright.core.legal_tree import legalize_kernel
from portwright.core.loops import Acc, Scratch, statements
from portwright.core.ops import Op
from portwright.core.pipeline import fresh_kernel
from portwright.core.without import without

Array = np.ndarray[Any, np.dtype[Any]]
WHOLE = t.spec(name="WHOLE", vector_bytes=16, threads=4)
BLOCKS = t.spec(
    name="BLOCKS", vector_bytes=16, threads=512, max_block=256, block=64, warp=32, local_bytes=32 << 10
)
MASKS = ["MAX", "MAX,vectors", "int64,uint64,float64", "uint32,uint64,float64", "floor"]
DEVICES = {f"{s.name} without {m}": without(s, f"without={m}") for s in (WHOLE, BLOCKS) for m in MASKS}


def rows(dtype: dt.DType, *shape: int) -> Node:
    rng = np.random.default_rng(len(shape))
    if dtype.is_bool:
        return t.place(rng.integers(0, 20, shape) == 0)
    return t.place(rng.integers(-100, 100, shape).astype(dtype.numpy))


PROGRAMS: dict[str, Callable[[], Node]] = {
    "max of rows": lambda: t.total(rows(dt.float32, 7, 130), 1, Op.MAX),
    "max of columns": lambda: t.total(rows(dt.float32, 130, 9), 0, Op.MAX),
    "max of all": lambda: t.total(t.total(rows(dt.int64, 9, 33), 0, Op.MAX), 1, Op.MAX),
    "max of words": lambda: t.total(rows(dt.uint32, 9, 130), 1, Op.MAX),
    "sum of long words": lambda: t.total(rows(dt.int64, 17, 129), 1),
    "product of long words": lambda: t.total(rows(dt.uint64, 5, 65), 1, Op.MUL),
    "any": lambda: t.total(rows(dt.bool_, 9, 99), 1),
    "all": lambda: t.total(rows(dt.bool_, 9, 99), 1, Op.MUL),
    "softmax": lambda: t.softmax(rows(dt.float32, 5, 200)),
    "two at once": lambda: t.add(
        t.total(rows(dt.float32, 6, 70), 1), t.total(rows(dt.float32, 6, 70), 1, Op.MAX)
    ),
    "remainders": lambda: t.op(Op.MOD, rows(dt.int64, 8, 77), 7),
    "a sum used by its row": lambda: t.op(
        Op.SUB, rows(dt.int64, 9, 70), t.total(rows(dt.int64, 9, 70), 1)
    ),
}  # fmt: skip


@pytest.mark.parametrize("spec", DEVICES.values(), ids=DEVICES)
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_every_stage_means_the_same(program: Callable[[], Node], spec: Spec) -> None:
    root = program()
    found = t.by_stage([root], spec)
    [expected] = t.meaning(root)
    for stage, (got,) in found.items():
        if root.dtype.is_float:
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6, err_msg=stage)
        else:
            np.testing.assert_array_equal(got, expected, err_msg=stage)


def accumulators(root: Node, spec: Spec) -> tuple[int, int]:
    """How many registers and how many cells of memory its kernels fold in."""
    _, groups = fuse([root], spec)
    bodies = [legalize_kernel(fresh_kernel(g), spec).body for g in groups]
    found = [s for body in bodies for s in statements(body)]
    return sum(isinstance(s, Acc) for s in found), sum(isinstance(s, Scratch) for s in found)


def test_what_folds_in_memory() -> None:
    greatest, total = (t.total(rows(dt.int64, 7, 300), 1, op) for op in (Op.MAX, Op.ADD))
    assert accumulators(greatest, WHOLE) == (1, 0)
    assert accumulators(greatest, DEVICES["WHOLE without MAX"]) == (0, 1)
    assert accumulators(total, DEVICES["WHOLE without MAX"]) == (1, 0)
    assert accumulators(total, DEVICES["WHOLE without int64,uint64,float64"]) == (0, 1)
    small = t.total(rows(dt.int8, 7, 300), 1)
    assert accumulators(small, DEVICES["WHOLE without floor"]) == (1, 0)
