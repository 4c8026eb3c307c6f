"""Fresh trees: what movement becomes, where reductions stand, and what verify refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import support as t

from portwright.core import dtype as dt
from portwright.core import graph
from portwright.core import value as val
from portwright.core.errors import KernelError
from portwright.core.graph import Node
from portwright.core.index import ZERO, constant, variable
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
)
from portwright.core.lower import lower
from portwright.core.merge import positions
from portwright.core.ops import Op
from portwright.core.value import Access, Extra, Value
from portwright.core.verify import verify


def tree(*roots: Node) -> Kernel:
    made = lower(roots, lambda n: n.storage is not None).kernel
    assert made is not None
    verify(made)
    return made


def check(root: Node) -> Kernel:
    """The tree of one kernel for ``root``, after it gave what the graph means."""
    lowered = lower([root], lambda n: n.storage is not None)
    assert lowered.kernel is not None
    verify(lowered.kernel)
    arrays = {f"in{i}": t.engine.read(n) for i, n in enumerate(lowered.leaves)}
    arrays["out0"] = np.full(root.nbytes, 0xC3, np.uint8).view(root.dtype.numpy)
    interpret(lowered.kernel, arrays)
    assert np.array_equal(arrays["out0"].reshape(root.shape), t.meaning(root)[0])
    return lowered.kernel


def loops(kernel: Kernel) -> list[int]:
    return [s.extent for s in statements(kernel.body) if isinstance(s, Loop)]


def divisions(kernel: Kernel) -> int:
    return sum(a.inner is not None for i in positions(kernel.body) for a in i.atoms())


# --------------------------------------------------------------------------------------------- movement


@pytest.mark.parametrize(
    "moved",
    [
        lambda x: graph.permute(x, (2, 0, 1)),
        lambda x: graph.flip(x, (0, 2)),
        lambda x: graph.shrink(x, [(1, 3), (0, 5), (2, 6)]),
        lambda x: graph.reshape(graph.permute(x, (1, 0, 2)), (5, 1, 4, 6)),
        lambda x: graph.permute(graph.reshape(x, (20, 6)), (1, 0)),
        lambda x: graph.window(x, 1, 3, 2),
        lambda x: graph.expand(graph.reshape(x, (4, 1, 5, 6)), (4, 3, 5, 6)),
        lambda x: graph.reshape(x, (2, 1, 60)),
    ],
)
def test_movement_becomes_plain_positions(moved):
    kernel = check(graph.contiguous(moved(t.integers((4, 5, 6)))))
    assert divisions(kernel) == 0
    assert not any(isinstance(s, Acc | Let) for s in statements(kernel.body))


def test_loops_that_walk_memory_as_one_are_one():
    x = t.integers((4, 5, 6))
    assert loops(check(t.add(x, 1.0))) == [120]
    assert loops(check(t.add(graph.permute(x, (0, 2, 1)), 1.0))) == [4, 6, 5]
    assert loops(check(t.add(graph.expand(graph.reshape(x, (4, 1, 5, 6)), (4, 3, 5, 6)), 1.0))) == [4, 3, 30]


def test_padding_is_a_guard():
    x = t.integers((4,))
    kernel = check(graph.pad(x, [(2, 3)]))
    (store,) = (s for s in statements(kernel.body) if isinstance(s, Store))
    assert store.value.op is Op.LOAD
    assert isinstance(store.value.arg, Access)
    assert len(store.value.arg.guard) == 2


def test_padding_of_what_is_not_zero_outside():
    check(graph.pad(t.add(t.integers((4,)), 1.0), [(2, 3)]))
    check(graph.pad(graph.reduce(Op.MAX, t.integers((4, 5)), (0,)), [(1, 0), (2, 3)]))
    check(t.total(graph.pad(t.op(Op.CMPLT, t.integers((4,)), 9.0), [(2, 3)]), 0, Op.MUL))


# ------------------------------------------------------------------------------------------- reductions


def test_a_reduction_stands_as_far_out_as_its_position_allows():
    x = t.integers((4, 6))
    assert loops(check(t.sub(x, t.total(x, 1)))) == [4, 6, 6]
    columns = check(t.sub(x, t.total(x, 0)))  # the column is the outer loop, so that it is summed once
    assert loops(columns) == [6, 4, 4]
    whole = check(t.sub(x, graph.reduce(Op.ADD, x, (0, 1))))
    assert isinstance(whole.body[0], Acc)


def test_a_reduction_of_a_reduction_is_one():
    x = t.integers((4, 5, 6))
    kernel = check(t.total(t.total(x, 2), 1))
    assert sum(isinstance(s, Acc) for s in statements(kernel.body)) == 1
    assert loops(check(t.total(t.total(x, 2), 0, Op.MAX))) == [5, 4, 6]


def test_a_reduction_over_nothing_is_its_identity():
    x = t.place(np.ones((3, 0), np.int32))
    for which in (Op.ADD, Op.MUL, Op.MAX):
        check(t.total(x, 1, which))


def test_reductions_of_one_value_at_different_positions():
    x = t.integers((5, 5))
    rows = t.total(x, 1)
    check(t.add(rows, graph.flip(rows, (0,))))
    check(t.add(rows, graph.permute(rows, (1, 0))))


# ---------------------------------------------------------------------------------- computed positions


def indices(*values: int) -> Node:
    return t.place(np.array(values), dtype=dt.int32)


def test_positions_outside_give_zeros():
    check(graph.gather(t.integers((5, 4)), indices(0, 4, 5, -1, 2**31 - 1, -(2**31))))


def test_positions_that_are_computed_from_gathered_ones():
    x, at = t.integers((5, 4)), indices(0, 1, 4, 2)
    check(graph.gather(x, graph.gather(at, at)))
    check(graph.gather(graph.gather(x, at), at))
    check(graph.gather(graph.gather(x, graph.gather(at, t.op(Op.NEG, at))), t.add(at, 1)))


def test_a_reduction_at_a_computed_position_comes_after_it():
    x = graph.reshape(indices(1, 0, 1, 3), (2, 2))
    y = t.add(x, t.total(x, 1))
    check(graph.gather(y, t.op(Op.NEG, x)))
    check(graph.gather(t.sub(x, graph.reduce(Op.ADD, x, (0, 1))), t.op(Op.XOR, x, 1)))


def test_a_position_inside_a_reduction():
    table, at = t.integers((7, 4)), indices(*range(9))
    check(t.total(graph.gather(table, at), 0))
    check(graph.gather(t.total(table, 1), at))


def test_a_scatter_that_reads_one_value_twice():
    x = indices(3, 1, 2, 0)
    assert np.array_equal(t.realized(graph.scatter(x, x, x, Op.ADD))[0], [3, 2, 4, 3])


# ----------------------------------------------------------------------------------------------- verify

X = Memory("x", dt.float32, 8)
Y = Memory("y", dt.float32, 8, written=True)
I = variable("i", 8)  # noqa: E741 - as kernels are written


def load(memory: str = "x", at=I, dtype=dt.float32, lanes: int = 1, stride: int = 0) -> Value:
    return val.make(Op.LOAD, dtype, (), Access(memory, at, (), stride), lanes)


def loop(*body: Stmt, var: str = "i", n: int = 8, bind: Bind = Bind.SERIAL) -> Loop:
    return Loop(var, n, body, bind)


STORE = Store("y", I, load())
GOOD = Kernel((Y, X), (loop(STORE),))


def test_a_good_tree_is_accepted():
    verify(GOOD)


@pytest.mark.parametrize(
    ("says", "body"),
    [
        ("outside", (loop(Store("y", I + 1, load())),)),
        ("outside", (loop(Store("y", I, load(at=I - 1))),)),
        ("outside", (loop(Store("y", ZERO, load(at=I * 2)), n=5),)),
        ("outside", (Store("y", ZERO, load(at=constant(6), lanes=4, stride=1), (), 1),)),
        ("not declared", (loop(Store("z", I, load())),)),
        ("not declared", (loop(Store("y", I, load("z"))),)),
        ("not in scope", (STORE,)),
        ("not in scope", (loop(Store("y", variable("j", 8), load())),)),
        ("not in scope", (loop(Store("y", I, val.make(Extra.INDEX, dt.float32, (), variable("j", 8)))),)),
        ("which it is not", (loop(Store("y", I, val.ref("a", dt.float32))),)),
        ("which it is not", (loop(Let("a", load()), Store("y", I, val.ref("a", dt.int32))),)),
        ("which it is not", (loop(Let("a", load())), loop(Store("y", I, val.ref("a", dt.float32))))),
        ("is taken", (loop(Let("a", load()), Let("a", load()), STORE),)),
        ("is taken", (Acc("a", Op.ADD, dt.float32), loop(Let("a", load()), STORE))),
        ("is taken", (loop(loop(STORE)),)),
        ("is taken", (Scratch(X), loop(STORE))),
        ("store of", (loop(Store("y", I, val.number(1, dt.int32))),)),
        ("only read", (loop(Store("x", I, load())),)),
        ("load of", (loop(Store("y", I, val.cast(load(dtype=dt.int32), dt.float32))),)),
        ("no such accumulator", (loop(Update("a", Op.ADD, load())),)),
        ("no such accumulator", (Acc("a", Op.MAX, dt.float32), loop(Update("a", Op.ADD, load())))),
        ("no such accumulator", (Acc("a", Op.ADD, dt.int32), loop(Update("a", Op.ADD, load())))),
        ("no such accumulator", (loop(Let("a", load()), Update("a", Op.ADD, load())),)),
        ("lanes", (Acc("a", Op.ADD, dt.float32), Update("a", Op.ADD, load(at=ZERO, lanes=4, stride=1)))),
        ("has an operand of", (Let("a", val.make(Op.NEG, dt.float32, (load(at=ZERO, lanes=4),), None, 8)),)),
        ("before the grid", (Store("y", ZERO, load(at=ZERO)), loop(STORE, bind=Bind.GRID))),
        ("outermost", (loop(loop(STORE, bind=Bind.GRID), var="j"),)),
        ("alone", (loop(STORE, bind=Bind.GRID), loop(STORE, bind=Bind.GRID))),
        ("share", (Acc("a", Op.ADD, dt.float32), loop(Update("a", Op.ADD, load()), bind=Bind.GRID))),
        ("negative", (loop(STORE, n=-1),)),
    ],
)
def test_a_mistake_is_caught(says: str, body: Body):
    with pytest.raises(KernelError, match=says):
        verify(GOOD.with_body(body))


def test_two_parameters_of_one_name_are_caught():
    with pytest.raises(KernelError, match="one name"):
        verify(replace(GOOD, params=(Y, X, X)))


# ------------------------------------------------------------------------------- what running a tree shows


def run(body: Body, **arrays) -> np.ndarray:
    x, y = np.arange(8, dtype=np.float32), np.full(8, -1, np.float32)
    interpret(GOOD.with_body(body), {"x": x, "y": y, **arrays})
    return y


def test_a_guard_that_lets_positions_outside_is_caught():
    wide = val.make(Op.LOAD, dt.float32, (), Access("x", I + 1, (I,)))
    with pytest.raises(KernelError, match="outside"):
        run((loop(Store("y", I, wide)),))
    with pytest.raises(KernelError, match="outside"):
        run((loop(Store("y", I + 1, load(), (I,))),))


def test_statements_whose_iterations_meet_are_caught():
    with pytest.raises(KernelError, match="same element"):
        run((loop(Store("y", I, load()), Store("y", constant(7) - I, load())),))


def test_work_items_that_share_an_accumulator_are_caught():
    with pytest.raises(KernelError, match="share"):
        run((Acc("a", Op.ADD, dt.float32), loop(Update("a", Op.ADD, load()), bind=Bind.GRID)))


def test_scratch_starts_unset():
    row = Memory("row", dt.float32, 8, written=True)
    got = run((Scratch(row), loop(Store("y", I, load("row")))))
    assert not np.isin(got, np.arange(8)).any()
    filled = run((Scratch(row), loop(Store("row", I, load())), loop(Store("y", I, load("row")))))
    assert np.array_equal(filled, np.arange(8))


def test_memory_that_is_read_and_written_is_walked_in_order():
    shifted = (loop(Store("y", I + 1, load("y")), n=7),)
    assert np.array_equal(run(shifted), np.full(8, -1))
    both = np.arange(8, dtype=np.float32)
    run((loop(Store("y", variable("i", 7) + 1, load(at=variable("i", 7))), n=7),), x=both, y=both)
    assert np.array_equal(both, np.zeros(8))


def test_accumulators_fold_in_the_order_of_their_loops():
    running = (
        Acc("a", Op.ADD, dt.float32),
        loop(Update("a", Op.ADD, load()), Store("y", I, val.ref("a", dt.float32))),
    )
    assert np.array_equal(run(running), np.cumsum(np.arange(8)))


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(KernelError, match="wants 8 elements"):
        run((), x=np.zeros(7, np.float32))
    with pytest.raises(KernelError, match="wants 8 elements"):
        run((), x=np.zeros(8, np.float64))
    with pytest.raises(KernelError, match="contiguous"):
        run((), x=np.zeros(16, np.float32)[::2])
