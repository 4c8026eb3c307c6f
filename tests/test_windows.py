"""Pooling in lanes: every window means what it meant, at the edges too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import support as t

from portwright import Tensor
from portwright.core import dtype as dt
from portwright.core import value as val
from portwright.core.expand import expand
from portwright.core.graph import Node
from portwright.core.index import variable
from portwright.core.interpret import interpret
from portwright.core.loops import Bind, Kernel, Loop, Memory, Store, values
from portwright.core.ops import Op
from portwright.core.schedule import schedule
from portwright.core.strided import shuffled
from portwright.core.value import Access, Extra, toposort
from portwright.core.verify import verify

SPEC = t.spec(32)
WINDOWS = [(2, 2, 0), (3, 2, 0), (3, 2, 1), (2, 1, 0), (3, 1, 1), (5, 2, 2)]
"""Size, stride, padding."""


def images(*shape: int) -> Tensor:
    x = np.random.default_rng(5).integers(-9, 10, shape).astype(np.float32)
    return Tensor(x).realize()


def trail(root: Node) -> str:
    (group,) = t.fuse([root], SPEC)[1]
    return "; ".join(schedule(t.fresh_kernel(group), SPEC).trail)


@pytest.mark.parametrize("side", [8, 19, 28, 33])
@pytest.mark.parametrize(
    "window", [(2, 2, 0), (3, 2, 0), (3, 2, 1), (2, 1, 0), (3, 1, 1), (5, 2, 2)], ids=str
)
def test_every_stage_of_pooling(side: int, window: tuple[int, int, int]) -> None:
    size, stride, padding = window
    x = images(2, 3, side, side)
    for pooled in (x.max_pool2d(size, stride, padding=padding), x.avg_pool2d(size, stride, padding=padding)):
        wanted = t.meaning(pooled.node)[0]
        for name, (got,) in t.by_stage([pooled.node], SPEC).items():
            assert np.array_equal(got, wanted), name


def test_windows_are_lanes_and_only_those_at_the_edges_one_by_one() -> None:
    assert "vectorize i3 as 2x1x8" in trail(images(2, 3, 32, 32).max_pool2d(2).node)
    assert "vectorize i3 as 1x1x1, 1x1x8, 1x1x8 (1 again)" in trail(
        images(2, 3, 32, 32).max_pool2d(3, 2, padding=1).node
    )


def test_long_windows_walk_along_themselves() -> None:
    assert "split accumulator" in trail(images(4, 512).reshape(4, 1, 1, 512).max_pool2d((1, 64), 2).node)


# --------------------------------------------------------------------------------- loads from whole vectors


def gathered(index: int, step: int, n: int, size: int) -> Kernel:
    """``out[i] = x[step * i + index]`` by a vector of n lanes."""
    i = variable("i", n)
    load = val.make(Op.LOAD, dt.float32, (), Access("x", i * step + index, ()))
    out, x = Memory("out", dt.float32, n, written=True), Memory("x", dt.float32, size)
    return expand(Kernel((out, x), (Loop("i", n, (Store("out", i, load),), Bind.VECTOR),)))


@pytest.mark.parametrize("n", [4, 8, 16])
@pytest.mark.parametrize(("step", "index"), [(2, 0), (2, 3), (-1, 0), (-1, 2)])
def test_skipped_and_backward_elements_come_by_whole_vectors(n: int, step: int, index: int) -> None:
    first = index if step > 0 else n - 1 + index
    size = 2 * n - 1 + index if step > 0 else n + index  # not one element more than there must be
    plain = gathered(first, step, n, size)
    made = shuffled(plain, SPEC)
    verify(made)
    loads = [v for v in toposort(values(made.body)) if v.op is Op.LOAD]
    assert all(v.lanes == n and v.arg.stride == 1 for v in loads)  # type: ignore[union-attr]
    assert sum(v.op is Extra.SHUFFLE for v in toposort(values(made.body))) == 1
    x = np.arange(size, dtype=np.float32)
    got = np.full(n, -1, np.float32)
    interpret(made, {"out": got, "x": x})
    assert got.tolist() == [x[step * i + first] for i in range(n)]


def test_other_steps_guards_and_short_vectors_stay_as_they_are() -> None:
    for kernel in (gathered(0, 3, 8, 30), gathered(0, 2, 2, 8), gathered(0, 1, 8, 8)):
        assert shuffled(kernel, SPEC) == kernel
    assert shuffled(replace(gathered(0, 2, 8, 16), aliases=True), SPEC).body == gathered(0, 2, 8, 16).body
    stored_only = replace(SPEC, arithmetic=SPEC.arithmetic - {dt.float32})
    assert shuffled(gathered(0, 2, 8, 16), stored_only) == gathered(0, 2, 8, 16)
    i = variable("i", 8)
    load = val.make(Op.LOAD, dt.float32, (), Access("x", i * 2, (i - 1,)))
    guarded = gathered(0, 2, 8, 16)
    body = (Loop("i", 8, (Store("out", i, load),), Bind.VECTOR),)
    kernel = expand(replace(guarded, body=body))
    assert shuffled(kernel, SPEC) == kernel
