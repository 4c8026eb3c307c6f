"""How a loop is cut: vectors first, and what is left of it as one more whole vector where that may be."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import support as t
from hypothesis import given
from hypothesis import strategies as st

from portwright import Device, Tensor
from portwright.core.schedule import schedule
from portwright.core.schedule.transforms import chunks

EXTENTS = st.integers(1, 300)
LANES = st.sampled_from([1, 2, 4, 8, 16])
UNROLLS = st.integers(1, 8)


@given(EXTENTS, LANES, UNROLLS, st.booleans())
def test_every_iteration_is_in_a_piece(extent: int, lanes: int, unroll: int, twice: bool) -> None:
    end = 0
    for piece in chunks(extent, lanes, unroll, twice=twice):
        assert piece.start == end - piece.again
        end += piece.size
    assert end == extent


@given(EXTENTS, LANES, UNROLLS)
def test_where_iterations_may_be_run_twice_no_vector_is_narrow(extent: int, lanes: int, unroll: int) -> None:
    pieces = chunks(extent, lanes, unroll, twice=True)
    if extent >= min(4, lanes):
        assert {piece.lanes for piece in pieces} == {min(lanes, 1 << (extent.bit_length() - 1))}
        assert len(pieces) <= 3
        assert all(piece.unroll <= unroll for piece in pieces)
    # whoever runs the last iteration of a piece runs what follows it: only that may be run again
    for before, piece in pairwise(pieces):
        assert piece.again < max(2, lanes)
        assert piece.again <= before.unroll * before.lanes


@given(EXTENTS, LANES, UNROLLS)
def test_nothing_is_run_twice_unless_it_may_be(extent: int, lanes: int, unroll: int) -> None:
    assert not any(piece.again for piece in chunks(extent, lanes, unroll))


def integers(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(-9, 9, shape).astype(np.float32)


@pytest.mark.parametrize(("rows", "terms", "columns"), [(3, 5, 37), (40, 9, 67), (13, 200, 21), (1, 300, 83)])
def test_odd_products(rows: int, terms: int, columns: int) -> None:
    a, b = integers(rows, terms), integers(terms, columns)
    c = Tensor(a) @ Tensor(b)
    (kernel,) = c.kernels()
    assert any("again" in step for step in kernel.schedule)
    assert np.array_equal(c.numpy(), a @ b)


def test_odd_rows_of_elementwise_work() -> None:
    a = integers(5, 43)
    y = Tensor(a) * 2 + 1
    assert any("again" in step for step in (Tensor(a).softmax(-1) * 2).kernels()[-1].schedule)
    assert np.array_equal(y.numpy(), a * 2 + 1)


def test_what_may_be_written_over_what_it_reads_is_run_once() -> None:
    device = Device("CPU")
    loops = (Tensor(integers(5, 43)).softmax(-1) * 2).kernels()[-1].loops
    assert "again" in " ".join(schedule(loops, device.spec).trail)
    assert "again" not in " ".join(schedule(replace(loops, aliases=True), device.spec).trail)


@pytest.mark.parametrize("columns", [19, 37, 43])
def test_what_is_added_to_what_is_there_is_added_once(columns: int) -> None:
    a, updates = integers(6, columns), integers(4, columns)
    at = np.array([5, 0, 5, 2])
    index = Tensor(at.astype(np.int32)).reshape(4, 1).expand(4, columns)
    wanted = a.copy()
    np.add.at(wanted, at, updates)
    assert np.array_equal(Tensor(a).scatter_add(0, index, Tensor(updates)).numpy(), wanted)


@pytest.mark.parametrize("device", ["CPU", "CPU:without=SIN"])
@pytest.mark.parametrize("classes", [5, 17, 37, 67])
def test_what_is_added_up_is_added_once(device: str, classes: int) -> None:
    """The loop over a row's losses adds to their sum: what is left of it may not be run again."""
    scores = np.random.default_rng(3).standard_normal((32, classes)).astype(np.float32)
    truth = np.arange(32) % classes
    away = scores - scores.max(1, keepdims=True)
    wanted = (np.log(np.exp(away).sum(1)) - away[np.arange(32), truth]).mean()
    x = Tensor(scores, device=device)
    one_hot = Tensor(np.eye(classes, dtype=np.float32)[truth], device=device)
    got = -(x.log_softmax(1) * one_hot).sum() / 32
    assert abs(got.item() - wanted) < 1e-5
    assert abs((x * one_hot).sum().item() - scores[np.arange(32), truth].sum()) < 1e-4


def test_constants_are_stored_by_vectors_of_their_own_width() -> None:
    """Nothing is computed with: what is stored says how many fill a vector."""
    zeros = t.graph.shrink(t.graph.pad(t.integers((4, 40)), [(8, 0), (0, 0)]), [(0, 3), (0, 40)])
    kernel = schedule(t.fresh_kernel(t.fuse([t.graph.contiguous(zeros)], t.spec(32))[1][0]), t.spec(32))
    assert kernel.trail
    assert all("x8" in step or "x4" in step for step in kernel.trail if step.startswith("vectorize"))
    assert not any("x16" in step or "x32" in step for step in kernel.trail)
