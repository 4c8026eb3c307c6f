"""Loads across memory as blocks that are transposed in registers: the same values, whatever the lanes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import support as t

from portwright.core import dtype as dt
from portwright.core import value as val
from portwright.core.expand import expand
from portwright.core.graph import permute
from portwright.core.hoist import hoist
from portwright.core.index import variable
from portwright.core.interpret import interpret
from portwright.core.loops import Barrier, Bind, Body, Kernel, Let, Loop, Memory, Store, statements, values
from portwright.core.ops import Op
from portwright.core.transpose import transpose
from portwright.core.value import Access, Extra, Value, toposort
from portwright.core.verify import verify

KINDS = [d for d in dt.ALL if not d.is_bool]


def block(lanes: int, dtype: dt.DType = dt.float32, apart: int = 40, rows: int = 0) -> Kernel:
    """out[r, l] = in[l, r]: one row of lanes for each of as many rows, unless there are fewer."""
    rows = rows or lanes
    r, lane = variable("r", rows), variable("l", lanes)
    load = val.make(Op.LOAD, dtype, (), Access("in0", lane * apart + r + 3, ()))
    row = Loop("l", lanes, (Store("out0", r * lanes + lane, load),), Bind.VECTOR)
    out = Memory("out0", dtype, rows * lanes, written=True)
    return Kernel((out, Memory("in0", dtype, lanes * apart + 3)), (Loop("r", rows, (row,), Bind.UNROLL),))


def shuffles(body: Body) -> int:
    return sum(v.op is Extra.SHUFFLE for v in toposort(values(body)))


def ran(kernel: Kernel, lanes: int) -> np.ndarray:
    verify(kernel)
    out, source = (np.zeros(m.size, m.dtype.numpy) for m in kernel.params)
    source[:] = np.arange(source.size) % 127
    interpret(kernel, {"out0": out, "in0": source})
    return out.reshape(-1, lanes)


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("dtype", KINDS, ids=str)
def test_a_block_means_the_same(lanes: int, dtype: dt.DType) -> None:
    plain = expand(block(lanes, dtype))
    made = transpose(plain)
    assert shuffles(plain.body) == 0
    assert shuffles(made.body) == lanes * (lanes.bit_length() - 1)
    loads = [v.arg for v in toposort(values(made.body)) if isinstance(v.arg, Access)]
    assert [a.stride for a in loads] == [1] * lanes
    assert np.array_equal(ran(made, lanes), ran(plain, lanes))
    assert np.array_equal(ran(hoist(made), lanes), ran(plain, lanes))


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_within_sixteen_bytes_first(lanes: int) -> None:
    """The rounds that shuffle near lanes are what one instruction of most processors does."""
    made = transpose(expand(block(lanes)))
    rounds = [v.arg for v in toposort(values(made.body)) if v.op is Extra.SHUFFLE]
    near = [all(i % lanes // 4 == at // 4 for at, i in enumerate(order)) for order in rounds]
    assert near == sorted(near, reverse=True)
    assert sum(near) == 2 * lanes


def test_what_may_be_changed_meanwhile_or_be_out_of_memory_stays() -> None:
    lanes = 4
    plain = expand(block(lanes))
    (store, *others) = plain.body
    assert isinstance(store, Store)
    guarded = (replace(store, guard=(variable("q", 9) - 1,)), *others)
    elsewhere = Store("in0", variable("q", 9), val.number(1.0, dt.float32))
    for body in guarded, (*plain.body, elsewhere), (*plain.body, Barrier()):
        assert transpose(Kernel(plain.params, body)).body == body
    assert transpose(replace(plain, aliases=True)).body == plain.body


@pytest.mark.parametrize(("lanes", "rows"), [(2, 2), (32, 32), (8, 7)])
def test_what_is_no_block_stays(lanes: int, rows: int) -> None:
    plain = expand(block(lanes, rows=rows, apart=50))
    assert transpose(plain).body == plain.body


def test_a_position_that_a_let_of_the_block_makes_stays_behind_it() -> None:
    plain = expand(block(4))
    at = Let("at", val.number(0, dt.int32))
    by_let = [replace(s, value=_moved(s.value)) for s in plain.body if isinstance(s, Store)]
    body = (at, *by_let)
    assert transpose(Kernel(plain.params, body)).body == body


def _moved(v: Value) -> Value:
    assert isinstance(v.arg, Access)
    return val.make(v.op, v.dtype, (), replace(v.arg, index=v.arg.index + variable("at", 9)), v.lanes)


def test_several_blocks_side_by_side() -> None:
    plain = expand(block(4, rows=12))
    made = transpose(plain)
    assert shuffles(made.body) == 3 * 8
    assert np.array_equal(ran(made, 4), ran(plain, 4))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.float32, np.float64, np.bool_])
def test_on_the_device(dtype: type) -> None:
    """Large enough for blocks to be turned, and with edges that are none."""
    x = np.random.default_rng(0).integers(0, 2 if dtype is np.bool_ else 100, (1100, 1300)).astype(dtype)
    node = t.graph.contiguous(permute(t.place(x), (1, 0)))
    assert np.array_equal(t.realized(node)[0], x.T)


def test_statements_of_loops_are_looked_at_one_body_at_a_time() -> None:
    plain = expand(block(4))
    looped = Kernel(plain.params, (Loop("n", 3, plain.body),))
    made = transpose(looped)
    (loop,) = made.body
    assert isinstance(loop, Loop)
    assert shuffles(loop.body) == 8
    assert sum(isinstance(s, Let) for s in statements(made.body)) == 12
