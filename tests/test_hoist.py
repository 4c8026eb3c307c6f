"""What is computed once: values shared by statements, invariant in loops, or nested too deep for a line."""

from __future__ import annotations

import numpy as np
import support as t

from portwright.core import dtype as dt
from portwright.core import value as val
from portwright.core.hoist import DEPTH, hoist
from portwright.core.index import constant, variable
from portwright.core.interpret import interpret
from portwright.core.loops import Acc, Body, Kernel, Let, Loop, Memory, Store, Update, statements, values
from portwright.core.ops import Op
from portwright.core.value import Access, Extra, Value, toposort
from portwright.core.verify import verify

X = Memory("x", dt.float32, 64)
Y = Memory("y", dt.float32, 64, written=True)
I = variable("i", 4)  # noqa: E741 - as kernels are written
J = variable("j", 5)


def load(memory: str, index) -> Value:
    return val.make(Op.LOAD, dt.float32, (), Access(memory, index, ()))


def op(which: Op, *xs: Value) -> Value:
    return val.primitive(which, *xs)


def check(*body) -> Body:
    """The hoisted body, after it gave what the plain one gives."""
    plain = Kernel((Y, X), body)
    made = hoist(plain)
    results = []
    for kernel in plain, made:
        verify(kernel)
        y = np.full(64, -1, np.float32)
        interpret(kernel, {"x": np.arange(64, dtype=np.float32), "y": y})
        results.append(y)
    assert np.array_equal(*results)
    return made.body


def count(body: Body, which) -> int:
    """How often an operation is written, each statement by itself."""
    return sum(v.op is which for root in values(body) for v in toposort([root]))


def depth(value: Value) -> int:
    found: dict[Value, int] = {}
    for v in toposort([value]):
        found[v] = 1 + max((found[s] for s in v.srcs), default=0)
    return found[value]


def test_what_does_not_change_in_a_loop_is_computed_before_it():
    root = op(Op.SQRT, load("x", I))
    body = check(Loop("i", 4, (Loop("j", 5, (Store("y", I * 5 + J, op(Op.MUL, root, load("x", J))),)),)))
    (outer,) = body
    assert isinstance(outer, Loop)
    let, inner = outer.body
    assert isinstance(let, Let)
    assert let.value.op is Op.SQRT
    assert isinstance(inner, Loop)
    assert count(inner.body, Op.SQRT) == 0


def test_what_changes_in_no_loop_is_computed_before_all():
    root = op(Op.SQRT, load("x", constant(9)))
    body = check(Loop("i", 4, (Loop("j", 5, (Store("y", I * 5 + J, op(Op.MUL, root, load("x", J))),)),)))
    assert isinstance(body[0], Let)
    assert body[0].value.op is Op.SQRT


def test_what_two_statements_share_is_computed_once():
    shared = op(Op.SQRT, load("x", I))
    body = check(
        Loop("i", 4, (Store("y", I, op(Op.NEG, shared)), Store("y", I + 4, op(Op.ADD, shared, shared)))),
    )
    assert count(body, Op.SQRT) == 1


def test_what_one_statement_uses_twice_is_computed_once():
    value = load("x", I)
    for _ in range(40):  # 2^40 operations, were it written out
        value = op(Op.MUL, value, value)
        value = op(Op.MAX, value, val.number(1.0, dt.float32))
    body = check(Loop("i", 4, (Store("y", I, value),)))
    assert count(body, Op.MUL) == 40


def test_a_deep_expression_is_cut_into_lines():
    value = load("x", I)
    for n in range(50):
        value = op(Op.ADD, value, load("x", I + n))
    body = check(Loop("i", 4, (Store("y", I, value),)))
    assert all(depth(v) <= DEPTH + 2 for v in values(body))


def test_constants_and_names_get_no_name():
    body = check(Loop("i", 4, (Let("a", load("x", I)), Store("y", I, val.ref("a", dt.float32)))))
    assert sum(isinstance(s, Let) for s in statements(body)) == 1


def test_loads_of_what_the_kernel_writes_stay_where_they_are():
    first = Store("y", constant(0), load("x", constant(3)))
    fold = Store("y", constant(0), op(Op.ADD, load("y", constant(0)), load("x", I)))
    after = Store("y", constant(1), load("y", constant(0)))
    body = check(first, Loop("i", 4, (fold,)), after)
    (loop,) = (s for s in body if isinstance(s, Loop))
    assert any(isinstance(v.arg, Access) and v.arg.memory == "y" for v in toposort(values(loop.body)))


def test_a_result_of_a_reduction_is_used_after_it():
    acc = Acc("a", Op.ADD, dt.float32)
    root = op(Op.SQRT, val.ref("a", dt.float32))
    body = check(
        acc,
        Loop("i", 4, (Update("a", Op.ADD, load("x", I)),)),
        Loop("j", 5, (Store("y", J, op(Op.MUL, root, load("x", J))),)),
    )
    acc, loop, let, last = body
    assert isinstance(loop, Loop)
    assert isinstance(let, Let)
    assert isinstance(last, Loop)
    assert let.value.op is Op.SQRT


def test_an_accumulator_that_is_read_while_it_is_folded():
    twice = op(Op.ADD, val.ref("a", dt.float32), val.ref("a", dt.float32))
    check(
        Acc("a", Op.ADD, dt.float32),
        Loop("i", 4, (Store("y", I, twice), Update("a", Op.ADD, load("x", I)), Store("y", I + 4, twice))),
        Store("y", constant(8), twice),
        Update("a", Op.ADD, load("x", constant(1))),
        Store("y", constant(9), twice),
    )


def test_shared_values_of_a_softmax():
    """The maximum, the exponentials of the sum and those of the result: each computed where it belongs."""
    for results in t.by_stage([t.softmax(t.integers((5, 33)))], t.spec(16)).values():
        assert np.allclose(results[0].sum(1), 1, atol=1e-6)


def test_names_are_new():
    value = op(Op.NEG, op(Op.SQRT, load("x", I)))
    body = check(Loop("i", 4, (Let("t0", op(Op.SQRT, load("x", I))), Store("y", I, value))))
    names = [s.name for s in statements(body) if isinstance(s, Let)]
    assert len(names) == len(set(names))
    assert Extra.REF in {v.op for v in toposort(values(body))}
