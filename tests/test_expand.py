"""Unrolled and vector loops made explicit: random schedules of random programs, and what each becomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import support as t
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portwright.core import dtype as dt
from portwright.core import engine, graph
from portwright.core import value as val
from portwright.core.errors import KernelError
from portwright.core.expand import expand
from portwright.core.fuse import fuse
from portwright.core.graph import GraphOp
from portwright.core.hoist import hoist
from portwright.core.index import variable
from portwright.core.interpret import interpret
from portwright.core.loops import (
    Acc,
    Bind,
    Body,
    Kernel,
    Let,
    Loop,
    Memory,
    Scratch,
    Stmt,
    Store,
    Update,
    statements,
    values,
)
from portwright.core.ops import Op
from portwright.core.pipeline import fresh_kernel
from portwright.core.schedule import split
from portwright.core.value import Access, Extra, toposort
from portwright.core.verify import verify


def vary(draw: Callable[..., Any], body: Body, vectors: bool = True) -> Body:
    """A random legal schedule: loops of independent iterations are split, unrolled or made lanes."""
    out: list[Stmt] = []
    for s in body:
        if not isinstance(s, Loop):
            out.append(s)
            continue
        whole = [Bind.SERIAL, Bind.UNROLL] if s.extent <= 6 else [Bind.SERIAL]
        if vectors and 1 < s.extent <= 9:
            whole.append(Bind.VECTOR)
        how = draw(st.sampled_from(["whole", "split", "split", "as it is"]))
        if how == "whole":
            bind = draw(st.sampled_from(whole))
            out.append(replace(s, bind=bind, body=vary(draw, s.body, vectors and bind is not Bind.VECTOR)))
        elif how == "split" and s.extent > 1:
            inner = draw(st.sampled_from([Bind.SERIAL, Bind.UNROLL, *([Bind.VECTOR] if vectors else [])]))
            varied = replace(s, body=vary(draw, s.body, vectors and inner is not Bind.VECTOR))
            out += split(varied, draw(st.integers(2, min(s.extent, 8))), inner)
        else:
            out.append(replace(s, body=vary(draw, s.body, vectors)))
    return tuple(out)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(roots=t.programs(), data=st.data())
def test_any_schedule_means_what_the_plain_tree_means(roots, data):
    _, groups = fuse(roots, t.spec(16))
    known = {}
    for group in groups:
        known.update({n: engine.read(n) for n in group.reads if n not in known})
        fresh = fresh_kernel(group)
        expected = t.run_tree(t.Stage("fresh", fresh), group, known)
        known.update(zip(group.roots, expected, strict=True))
        if group.roots[0].op is GraphOp.SCATTER:  # its updates come in order
            continue
        varied = fresh.with_body(vary(data.draw, fresh.body))
        expanded = expand(varied)
        for name, kernel in ("varied", varied), ("expanded", expanded), ("hoisted", hoist(expanded)):
            verify(kernel)
            for got, want in zip(t.run_tree(t.Stage(name, kernel), group, known), expected, strict=True):
                assert np.array_equal(got, want), f"{name}\n{varied}\n{kernel}"


# --------------------------------------------------------------------------------------- what becomes of what

X = Memory("x", dt.float32, 64)
Y = Memory("y", dt.float32, 64, written=True)


def at(memory: str, index, guard=()):
    return val.make(Op.LOAD, dt.float32, (), Access(memory, index, guard))


def lanes(body: Body, n: int = 8, var: str = "i") -> Kernel:
    return expand(Kernel((Y, X), (Loop(var, n, body, Bind.VECTOR),)))


def run(kernel: Kernel) -> np.ndarray:
    verify(kernel)
    y = np.full(64, -1, np.float32)
    interpret(kernel, {"x": np.arange(64, dtype=np.float32), "y": y})
    return y


I = variable("i", 8)  # noqa: E741 - as kernels are written
J = variable("j", 5)


def test_neighbours_are_one_vector_load_and_store():
    (store,) = lanes((Store("y", I, at("x", I + 3)),)).body
    assert isinstance(store, Store)
    assert store.value.lanes == 8
    assert store.stride == 1
    assert isinstance(store.value.arg, Access)
    assert (store.value.arg.stride, store.value.arg.places) == (1, ())


def test_what_does_not_move_is_loaded_once():
    kernel = lanes((Store("y", I, val.primitive(Op.ADD, at("x", I), at("x", J * 0 + 7))),))
    loads = [v for v in toposort(values(kernel.body)) if v.op is Op.LOAD]
    assert sorted(v.lanes for v in loads) == [1, 8]
    assert np.array_equal(run(kernel)[:8], np.arange(8) + 7)


def test_lanes_far_apart_keep_their_distance():
    kernel = lanes((Store("y", I * 4, at("x", I * -2 + 20)),))
    (store,) = kernel.body
    assert isinstance(store, Store)
    assert store.stride == 4
    assert np.array_equal(run(kernel)[:32:4], 20 - 2 * np.arange(8))


def test_lanes_in_no_order_have_places_of_their_own():
    kernel = lanes((Store("y", I, at("x", (I * 3) % 7)),))
    (store,) = kernel.body
    assert isinstance(store, Store)
    assert isinstance(store.value.arg, Access)
    assert len(store.value.arg.places) == 8
    assert np.array_equal(run(kernel)[:8], np.arange(8) * 3 % 7)


def test_lanes_with_guards_of_their_own():
    kernel = lanes((Store("y", I, at("x", I - 2, (I - 2,)), (variable("i", 8) * -1 + 5,)),))
    assert np.array_equal(run(kernel)[:8], [0, 0, 0, 1, 2, 3, -1, -1])


def test_a_reduction_over_lanes_is_folded():
    acc = Acc("a", Op.ADD, dt.float32)
    kernel = expand(
        Kernel(
            (Y, X),
            (acc, Loop("i", 8, (Update("a", Op.ADD, at("x", I)),), Bind.VECTOR),
             Store("y", I * 0, val.ref("a", dt.float32))),
        )
    )  # fmt: skip
    assert any(v.op is Extra.FOLD for v in toposort(values(kernel.body)))
    assert run(kernel)[0] == 28


def test_a_reduction_inside_lanes_has_an_accumulator_of_lanes():
    body = (
        Acc("a", Op.ADD, dt.float32),
        Loop("j", 5, (Update("a", Op.ADD, at("x", I * 5 + J)),)),
        Store("y", I, val.ref("a", dt.float32)),
    )
    kernel = lanes(body)
    acc, loop, _ = kernel.body
    assert isinstance(acc, Acc)
    assert acc.lanes == 8
    assert isinstance(loop, Loop)
    assert np.array_equal(run(kernel)[:8], np.arange(40).reshape(8, 5).sum(1))


def test_an_unrolled_loop_is_jammed_into_the_loops_inside():
    body = (
        Acc("a", Op.ADD, dt.float32),
        Loop("j", 5, (Update("a", Op.ADD, at("x", I * 5 + J)),)),
        Store("y", I, val.ref("a", dt.float32)),
    )
    kernel = expand(Kernel((Y, X), (Loop("i", 8, body, Bind.UNROLL),)))
    assert sum(isinstance(s, Acc) for s in kernel.body) == 8
    assert sum(isinstance(s, Loop) for s in kernel.body) == 1
    assert np.array_equal(run(kernel)[:8], np.arange(40).reshape(8, 5).sum(1))


def test_sibling_loops_may_declare_the_same_names():
    def named(var: str, n: int, first: int, bind: Bind) -> Loop:
        i = variable(var, n) + first
        return Loop(var, n, (Let("a", at("x", i)), Store("y", i, val.ref("a", dt.float32))), bind)

    for binds in [(Bind.UNROLL, Bind.UNROLL), (Bind.VECTOR, Bind.UNROLL), (Bind.VECTOR, Bind.SERIAL)]:
        kernel = expand(Kernel((Y, X), (named("i", 4, 0, binds[0]), named("j", 4, 4, binds[1]),
                                        named("k", 1, 8, Bind.SERIAL))))  # fmt: skip
        assert np.array_equal(run(kernel)[:9], np.arange(9))


def test_an_index_as_a_number():
    as_float = val.cast(val.make(Extra.INDEX, dt.int32, (), I * 3 + J), dt.float32)
    kernel = lanes((Loop("j", 5, (Store("y", J * 8 + I, as_float),)),))
    i, j = np.arange(8), np.arange(5)[:, None]
    assert np.array_equal(run(kernel)[:40].reshape(5, 8), 3 * i + j)
    halves = val.cast(val.make(Extra.INDEX, dt.int32, (), I // 3), dt.float32)
    assert np.array_equal(run(lanes((Store("y", I, halves),)))[:8], np.arange(8) // 3)


def test_a_store_that_all_lanes_share_keeps_the_last():
    assert run(lanes((Store("y", I * 0 + 5, at("x", I)),)))[5] == 7


def test_scratch_inside_lanes_is_refused():
    row = Memory("row", dt.float32, 8, written=True)
    with pytest.raises(KernelError, match="scratch row"):
        lanes((Scratch(row), Store("row", J * 0, at("x", I)), Store("y", I, at("row", J * 0))))


def test_gathered_positions_of_unrolled_lanes():
    x, index = t.integers((20,), dt.int32), t.place(np.arange(70) % 23 - 1, dtype=dt.int32)
    y = graph.gather(x, index)
    for results in t.by_stage([y], t.spec(16)).values():
        assert np.array_equal(results[0], t.meaning(y)[0])


def test_no_annotated_loop_is_left():
    y = t.matmul(t.integers((33, 17)), t.integers((17, 70)))
    _, (group,) = fuse([y], t.spec(32))
    *_, expanded, _ = t.stages(group, t.spec(32))
    left = {s.bind for s in statements(expanded.kernel.body) if isinstance(s, Loop)}
    assert left <= {Bind.SERIAL, Bind.GRID}


def test_partial_results_in_a_row_are_folded_once():
    (group,) = fuse([t.total(t.integers((6, 256)), 1)], t.spec(64))[1]
    trees = {s.name: s.kernel for s in t.stages(group, t.spec(64))}

    def folds(kernel: Kernel) -> int:
        return sum(v.op is Extra.FOLD for v in toposort(values(kernel.body)))

    assert (folds(trees["expanded"]), folds(trees["folded"])) == (4, 1)
