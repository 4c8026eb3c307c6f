"""The C text: numbers, masks of several widths, every dtype in lanes and tails; and how the text looks."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import support as t

from portwright.core import dtype as dt
from portwright.core import engine, graph
from portwright.core import value as val
from portwright.core.dialect import NamedKernel
from portwright.core.dtype import DType
from portwright.core.graph import Node
from portwright.core.index import constant, variable
from portwright.core.loops import Bind, Body, Kernel, Loop, Memory, Store
from portwright.core.ops import Op
from portwright.core.value import Access

WIDTHS = (dt.int8, dt.int16, dt.float32, dt.float64, dt.uint64, dt.bool_)
SIZES = (1, 3, 37, 131)
"""A single element, a tail, lanes and a tail, several steps of them."""


def check(*roots: Node) -> None:
    expected = t.meaning(*roots)
    for root, got, want in zip(roots, t.realized(*roots), expected, strict=True):
        assert np.array_equal(got, want, equal_nan=root.dtype.is_float and root.dtype is not dt.bfloat16), (
            root
        )


def some(dtype: DType, n: int, seed: int = 0) -> Node:
    low = -9 if dtype.is_signed else 0
    return t.place(np.random.default_rng(seed).integers(low, 2 if dtype.is_bool else 10, n), dtype=dtype)


def source(root: Node) -> str:
    (info,) = engine.kernels([root], "CPU")
    return info.source


# ---------------------------------------------------------------------------------------- each dtype


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", [dt.float16, dt.float32, dt.float64], ids=str)
def test_the_lesser_and_the_greater_keep_or_drop_nan_as_written(dtype, n):
    rng = np.random.default_rng(n)
    values = np.array([0.0, -0.0, 1.0, -1.0, 2.5, np.inf, -np.inf, np.nan])
    x, y = (t.place(rng.choice(values, n), dtype=dtype) for _ in range(2))
    less, more = graph.elementwise(Op.CMPLT, x, y), graph.elementwise(Op.CMPLT, y, x)
    roots = [
        graph.elementwise(Op.WHERE, condition, *chosen)
        for condition in (less, more)
        for chosen in ((x, y), (y, x))
    ]
    for root, got, want in zip(roots, t.realized(*roots), t.meaning(*roots), strict=True):
        assert np.array_equal(got, want, equal_nan=True), root
        assert np.array_equal(np.signbit(got[got == 0]), np.signbit(want[want == 0])), root


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("to", dt.ALL, ids=str)
def test_casts_to(to, n):
    check(*(graph.cast(some(d, n), to) for d in dt.ALL if not (d.is_signed and not to.is_signed)))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", dt.ALL, ids=str)
def test_arithmetic_of(dtype, n):
    x, y = some(dtype, n), some(dtype, n, seed=1)
    ops = [Op.ADD, Op.MUL, Op.MAX]
    if not dtype.is_bool:
        ops.append(Op.SUB)
    if not dtype.is_float:
        ops += [Op.AND, Op.OR, Op.XOR]
    less, differs = t.op(Op.CMPLT, x, y), t.op(Op.CMPNE, x, y)
    roots = [t.op(o, x, y) for o in ops] + [less, differs, t.op(Op.WHERE, less, x, y)]
    if dtype.is_int:
        positive = t.add(t.op(Op.AND, y, 7), 1)
        roots += [t.op(o, x, positive) for o in (Op.IDIV, Op.MOD, Op.SHL, Op.SHR)]
    check(*roots)


@pytest.mark.parametrize("dtype", dt.INTS, ids=str)
def test_integers_wrap(dtype):
    edge = t.place(np.array([dtype.min, dtype.max] * 20, dtype=dtype.numpy))
    check(t.add(edge, 1), t.mul(edge, 3), t.op(Op.NEG, edge), t.op(Op.SUB, t.full(1, edge), edge))
    check(t.total(edge, 0), t.op(Op.SHR, edge, dtype.bits - 1), graph.cast(edge, dt.float64))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(WIDTHS, 2)), ids=str)
def test_masks_of_two_widths_meet(one, other, n):
    a = t.op(Op.CMPNE, some(one, n), some(one, n, seed=1))
    b = t.op(Op.CMPNE, some(other, n), some(other, n, seed=1))
    check(*(t.op(o, a, b) for o in (Op.AND, Op.OR, Op.XOR, Op.ADD, Op.MUL, Op.MAX, Op.CMPLT, Op.CMPNE)))
    check(t.op(Op.WHERE, a, b, some(dt.bool_, n)), t.op(Op.WHERE, b, some(one, n), some(one, n, seed=2)))
    check(t.op(Op.WHERE, t.op(Op.AND, a, b), some(other, n), some(other, n, seed=2)))


@pytest.mark.parametrize("shape", [(3, 70), (70, 3), (33, 33)])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("which", [Op.ADD, Op.MUL, Op.MAX])
def test_masks_are_folded(shape, axis, which):
    rng = np.random.default_rng(0)
    for share in (0.01, 0.99):
        x = t.place(rng.random(shape) < share)
        y = t.op(Op.CMPLT, t.place(rng.random(shape).astype(np.float32)), share)
        check(t.total(x, axis, which), t.total(y, axis, which), t.total(graph.cast(y, dt.int32), axis, which))


# ------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("dtype", dt.FLOATS, ids=str)
def test_special_numbers(dtype):
    x = some(dtype, 37)
    numbers = [0.1, -2.5, 1e-30, 3e4, float("inf"), float("-inf"), dtype.smallest_normal, dtype.finite_max]
    check(*(t.op(Op.WHERE, t.op(Op.CMPLT, x, 0.0), x, v) for v in numbers))
    nan, minus = t.realized(
        t.op(Op.ADD, x, float("nan")), t.op(Op.MUL, t.full(-0.0, x), t.op(Op.MAX, x, 1.0))
    )
    assert np.isnan(nan.astype(np.float64)).all()
    assert np.signbit(minus.astype(np.float64)).all()


@pytest.mark.parametrize("dtype", dt.INTS, ids=str)
def test_the_ends_of_the_integers(dtype):
    x = some(dtype, 37)
    ends = [int(dtype.min), int(dtype.max), int(dtype.min) + 1, int(dtype.max) - 1]
    check(*(t.op(Op.WHERE, t.op(Op.CMPLT, x, 3), x, v) for v in ends))


@pytest.mark.parametrize("dtype", [dt.float32, dt.float64], ids=str)
def test_nan_is_greater_than_all_and_differs_from_itself(dtype):
    x = t.place(np.array([np.nan, 1, -np.inf, np.inf] * 20), dtype=dtype)
    y = graph.flip(x, (0,))
    check(t.op(Op.MAX, x, y), t.op(Op.CMPNE, x, x), t.op(Op.CMPLT, x, y), graph.cast(x, dt.bool_))
    assert np.isnan(t.realized(t.total(x, 0, Op.MAX))[0]).all()


# ----------------------------------------------------------------------------------------- positions


def test_divisions_of_negative_positions_round_down():
    """Positions inside padding are negative where the guard does not hold."""
    x = t.integers((12,), dt.int32)
    y = graph.reshape(graph.pad(graph.reshape(x, (3, 4)), [(0, 0), (3, 2)]), (27,))
    check(graph.pad(graph.reshape(y, (9, 3)), [(2, 1), (1, 1)]), graph.flip(graph.window(y, 0, 5, 3), (0,)))


def test_positions_beyond_32_bits_are_not_cut():
    rows = t.place(np.arange(5), dtype=dt.int64)
    far = t.add(rows, 2**40)
    check(graph.gather(t.integers((5, 3)), t.op(Op.SUB, far, 2**40)), graph.gather(t.integers((5, 3)), far))


# ------------------------------------------------------------------------------------------ the text


def test_a_parameter_that_is_only_read_is_const_and_alone():
    text = source(t.add(t.integers((8,)), 1.0))
    assert re.search(r"const float \*restrict in0", text)
    assert re.search(r"[^t] float \*restrict out0", text)


def test_the_same_kernel_has_the_same_text():
    assert source(t.softmax(t.integers((9, 33)))) == source(t.softmax(t.integers((9, 33), seed=1)))


def test_elementwise_loops_are_written_in_lanes():
    x = t.integers((1024,))
    lanes = t.device().spec.lanes(dt.float32)
    text = source(t.mul(x, x))
    assert (f"f32x{lanes}" in text) == (lanes > 1)


def render(body: Body, aliases: bool = False) -> str:
    params = (Memory("out0", dt.float32, 64, written=True), Memory("in0", dt.float32, 64))
    dialect = t.device().dialect
    assert dialect is not None
    return dialect.render([NamedKernel("k", Kernel(params, body, aliases=aliases))], t.device().spec)


def one(index) -> Store:
    return Store("out0", index, val.make(Op.LOAD, dt.float32, (), Access("in0", index, ())))


def test_a_grid_loop_walks_its_share_and_the_last_does_what_follows():
    body = (Loop("i", 64, (one(variable("i", 64)),), Bind.GRID), one(constant(3)))
    text = render(body)
    assert "for (long i = first; i < last; i++)" in text
    assert text.index("if (last == 64)") < text.index("out0[3]")


def test_memory_that_may_overlap_is_not_called_alone():
    body = (one(constant(3)),)
    assert "restrict" in render(body)
    assert "restrict" not in render(body, aliases=True)


def test_two_kernels_share_the_types_before_them():
    params = (Memory("out0", dt.float32, 64, written=True), Memory("in0", dt.float32, 64))
    lanes = t.device().spec.lanes(dt.float32)
    load = val.make(Op.LOAD, dt.float32, (), Access("in0", constant(0), (), 1), lanes)
    kernel = Kernel(params, (Store("out0", constant(0), load, (), 1),))
    dialect = t.device().dialect
    assert dialect is not None
    text = dialect.render([NamedKernel("a", kernel), NamedKernel("b", kernel)], t.device().spec)
    assert text.count(f"f32x{lanes} __attribute__") == 1
    assert "void a(" in text
    assert "void b(" in text
