"""Operands that go through scratch memory: the same meaning, and memory that is walked in order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import support as t

from portwright import Tensor
from portwright.core import dtype as dt
from portwright.core import value as val
from portwright.core.expand import expand
from portwright.core.fuse import fuse
from portwright.core.hoist import hoist
from portwright.core.index import variable
from portwright.core.interpret import interpret
from portwright.core.loops import (
    Acc,
    Bind,
    Body,
    Kernel,
    Loop,
    Memory,
    Scratch,
    Store,
    Update,
    statements,
    values,
)
from portwright.core.ops import Op
from portwright.core.pipeline import fresh_kernel
from portwright.core.schedule import schedule
from portwright.core.schedule.stage import stage
from portwright.core.transpose import transpose
from portwright.core.value import Access
from portwright.core.verify import verify

M, K, N = 6, 5, 8
A = Memory("a", dt.float32, M * K)
B = Memory("b", dt.float32, K * N)
C = Memory("c", dt.float32, M * N, written=True)
I, R, J = variable("i", M), variable("r", K), variable("j", N)  # noqa: E741 - as kernels are written
FROM_A = val.make(Op.LOAD, dt.float32, (), Access("a", I * K + R, ()))
FROM_B = val.make(Op.LOAD, dt.float32, (), Access("b", R * N + J, ()))
COLUMNS = val.make(Op.LOAD, dt.float32, (), Access("b", J * K + R, ()))
PADDED = val.make(Op.LOAD, dt.float32, (), Access("b", R * N + J - 3, (J - 3,)))


def product(b: val.Value, columns: Bind = Bind.SERIAL) -> Body:
    """All rows of some columns: ``c[i, j] = Σ a[i, r] · b``."""
    term = Update("acc", Op.ADD, val.primitive(Op.MUL, FROM_A, b))
    cell = (
        Acc("acc", Op.ADD, dt.float32),
        Loop("r", K, (term,)),
        Store("c", I * N + J, val.ref("acc", dt.float32)),
    )
    return (Loop("i", M, (Loop("j", N, cell, columns),)),)


def run(body: Body) -> np.ndarray:
    kernel = Kernel((C, A, B), body)
    verify(kernel)
    rng = np.random.default_rng(1)
    c = np.full(M * N, -1, np.float32)
    arrays = {"a": rng.integers(-9, 9, M * K), "b": rng.integers(-9, 9, K * N)}
    interpret(kernel, {"c": c, **{k: x.astype(np.float32) for k, x in arrays.items()}})
    return c


@pytest.mark.parametrize("load", [FROM_B, COLUMNS, PADDED], ids=["rows", "columns", "padded"])
@pytest.mark.parametrize("columns", [Bind.SERIAL, Bind.VECTOR, Bind.UNROLL])
def test_what_is_staged_means_the_same(load: val.Value, columns: Bind) -> None:
    body = product(load, columns)
    staged = stage(body, load, (Loop("r", K, ()), Loop("j", N, (), columns)), "panel").whole
    assert np.array_equal(run(staged), run(body))
    kernel = expand(Kernel((C, A, B), staged))
    assert np.array_equal(run(hoist(kernel).body), run(body))


def test_the_copy_takes_the_guard_and_what_reads_it_has_none() -> None:
    staged = stage(product(PADDED), PADDED, (Loop("r", K, ()), Loop("j", N, ())), "panel")
    assert staged.scratch == Scratch(Memory("panel", dt.float32, K * N, written=True))
    (store,) = [s for s in statements(staged.copy) if isinstance(s, Store)]
    assert store.value is PADDED
    loads = [v.arg for v in val.toposort(values(staged.body)) if isinstance(v.arg, Access)]
    assert {a.memory for a in loads} == {"a", "panel"}
    assert all(a.guard == () for a in loads)


def test_the_copy_walks_the_memory_that_it_reads() -> None:
    loops = (Loop("r", K, ()), Loop("j", N, ()))
    for load, order in (FROM_B, ["r_j"]), (COLUMNS, ["j", "r"]):  # what both walk as one is one loop
        copy = stage(product(load), load, loops, "panel").copy
        assert [s.var for s in statements(copy) if isinstance(s, Loop)] == order


@pytest.mark.parametrize("columns", [Bind.SERIAL, Bind.VECTOR])
def test_what_lies_across_is_copied_in_square_blocks(columns: Bind) -> None:
    """Four lanes' worth each way, so that each block can be transposed; what is left, by elements."""
    body = product(COLUMNS)
    width = N if columns is Bind.SERIAL else 4
    loops = (Loop("r", K, ()), Loop("j", width, (), columns))
    copy = stage(body, COLUMNS, loops, "panel", 4).copy
    cut = {(s.bind, s.extent) for s in statements(copy) if isinstance(s, Loop)}
    assert {(Bind.VECTOR, 4), (Bind.UNROLL, 4)} <= cut
    if columns is Bind.SERIAL:
        staged = stage(body, COLUMNS, loops, "panel", 4).whole
        assert np.array_equal(run(staged), run(body))
        made = transpose(expand(Kernel((C, A, B), staged)))
        assert any(v.op is val.Extra.SHUFFLE for v in val.toposort(values(made.body)))
        assert np.array_equal(run(hoist(made).body), run(body))


def test_other_loads_stay_as_they_are() -> None:
    """Two loads of one memory: only the one that was named goes through the scratch."""
    body = product(val.primitive(Op.ADD, FROM_B, COLUMNS))
    staged = stage(body, FROM_B, (Loop("r", K, ()), Loop("j", N, ())), "panel")
    assert COLUMNS in val.toposort(values(staged.body))
    assert np.array_equal(run(staged.whole), run(body))


SHAPES = [
    (96, 64, 96),
    (61, 33, 70),
    (130, 17, 33),
    (33, 129, 65),
    (200, 100, 7),
    (7, 40, 200),
    (16, 300, 16),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("turned", [False, True], ids=["", "transposed"])
def test_products_of_matrices_through_panels(shape: tuple[int, int, int], turned: bool) -> None:
    """Caches so small that everything is packed: every stage gives what the graph means."""
    m, k, n = shape
    a, b = t.integers((m, k)), t.integers((n, k) if turned else (k, n), seed=2)
    root = t.matmul(a, t.graph.permute(b, (1, 0)) if turned else b)
    tiny = t.spec(16, cache_bytes=(64, 1 << 20))
    wanted = t.meaning(root)[0]
    for name, (got,) in t.by_stage([root], tiny).items():
        assert np.array_equal(got, wanted), name


def trail(root: t.Node, spec: t.Spec) -> str:
    (group,) = fuse([root], spec)[1]
    return "; ".join(schedule(fresh_kernel(group), spec).trail)


def test_a_panel_is_packed_where_many_tiles_read_it() -> None:
    spec = t.spec(16, cache_bytes=(1 << 10, 1 << 20))
    square = t.matmul(t.integers((128, 64)), t.integers((64, 128)))
    flat = t.matmul(t.integers((8, 64)), t.integers((64, 128)))
    assert "stage in1 by" in trail(square, spec)
    assert "stage" not in trail(flat, spec)
    assert "stage" not in trail(
        square, replace(spec, cache_bytes=(1 << 20, 1 << 21))
    )  # it stays near as it is
    assert "stage" not in trail(square, replace(spec, cache_bytes=(1 << 10, 1 << 10)))  # no room for a panel


def test_an_operand_that_lies_across_the_lanes_is_turned_where_many_rows_read_it() -> None:
    spec = t.spec(16, cache_bytes=(1 << 14, 1 << 20))

    def by_its_transpose(m: int, k: int, n: int) -> t.Node:
        return t.matmul(t.integers((m, k)), t.graph.permute(t.integers((n, k), seed=2), (1, 0)))

    said = trail(by_its_transpose(128, 64, 128), spec)
    assert "vectorize i1" in said
    assert "stage in1 by r0_2, i1" in said
    assert "stage in1" in trail(by_its_transpose(128, 8, 32), spec), "however near it lies"
    few = trail(by_its_transpose(32, 64, 40), spec)
    assert "stage" not in few
    assert "split accumulator acc0 over r0_2" in few
    no_room = replace(spec, cache_bytes=(1 << 10, 1 << 10))
    assert "stage" not in trail(by_its_transpose(128, 64, 128), no_room)


@pytest.mark.parametrize("shape", [(40, 9, 128), (41, 8, 131), (37, 11, 96), (32, 5, 256)], ids=str)
def test_products_through_groups_of_panels_and_strips_of_rows(shape: tuple[int, int, int]) -> None:
    """A transposed operand, whose steps down the reduction are far apart."""
    m, k, n = shape
    a = t.graph.shrink(t.integers((k, 600)), [(0, k), (3, 3 + m)])
    root = t.matmul(t.graph.permute(a, (1, 0)), t.integers((k, n), seed=2))
    tiny = t.spec(16, cache_bytes=(64, 1 << 20), threads=1)
    said = trail(root, tiny)
    assert "split i1 by" in said
    assert "stage in0 by r0_2, i0" in said
    for name, (got,) in t.by_stage([root], tiny).items():
        assert np.array_equal(got, t.meaning(root)[0]), name


def test_few_columns_are_shared_out_by_blocks_of_rows() -> None:
    spec = t.spec(16, cache_bytes=(1 << 10, 1 << 20), threads=2)
    tall = t.matmul(t.integers((1024, 64)), t.integers((64, 16)))
    said = trail(tall, spec)
    assert "split i0 by 252" in said
    assert "grid i0_o of 4" in said


def convolution(images: int, channels: int, filters: int, side: int, window: int = 3) -> t.Node:
    """Of an image that is padded already."""
    from portwright import Tensor

    rng = np.random.default_rng(3)
    x = rng.integers(-4, 5, (images, channels, side + window - 1, side + window - 1)).astype(np.float32)
    w = rng.integers(-4, 5, (filters, channels, window, window)).astype(np.float32)
    return Tensor(x, device="CPU").conv2d(Tensor(w, device="CPU")).node


def test_of_small_images_the_filters_become_lanes() -> None:
    """A row of such an image fills no tile: all pixels of all images are rows of a panel of filters."""
    spec = t.spec(16, cache_bytes=(1 << 10, 1 << 20))
    small = trail(convolution(3, 16, 24, 6), spec)
    assert "fuse i0i3i4" in small.replace("_", "")
    assert "stage in1 by" in small
    assert "fuse" not in trail(convolution(3, 16, 24, 16), spec)  # two tiles wide
    assert "fuse" not in trail(convolution(3, 16, 24, 6), t.spec(16, private_bytes=0))
    assert "fuse" not in trail(convolution(1, 16, 24, 5), spec)  # too few pixels
    assert "fuse" not in trail(convolution(3, 2, 24, 6, window=1), spec)  # too few terms


@pytest.mark.parametrize("shape", [(3, 16, 24, 6), (2, 17, 19, 5), (5, 9, 8, 7), (2, 8, 33, 10)], ids=str)
def test_every_stage_of_a_convolution_of_small_images(shape: tuple[int, int, int, int]) -> None:
    root = convolution(*shape)
    wanted = t.meaning(root)[0]
    for name, (got,) in t.by_stage([root], t.spec(16, cache_bytes=(64, 1 << 20))).items():
        assert np.array_equal(got, wanted), name
    assert np.array_equal(t.realized(root)[0], wanted)


def test_filters_share_a_panel_before_pixels_of_a_row_do() -> None:
    """Of images too small for tiles, the filters are lanes, and all pixels rows of their one panel."""
    image, filters = Tensor(np.zeros((2, 8, 58, 58), np.float32)), Tensor(np.zeros((64, 8, 3, 3), np.float32))
    spec = t.spec(64, cache_bytes=(1 << 15, 1 << 20))
    said = trail(image.realize().conv2d(filters.realize()).node, spec)
    assert "fuse i0i2i3" in said or "fuse i0i3i4" in said
    assert "stage in1 by" in said
