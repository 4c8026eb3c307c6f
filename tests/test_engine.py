"""realize(): plans found by structure, memory that is given back, every kind of root, many threads."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import support as t

from portwright.core import dtype as dt
from portwright.core import engine, graph, plan
from portwright.core.device import Buffer
from portwright.core.graph import Node
from portwright.core.ops import Op
from portwright.core.registry import open_device

DEVICES = pytest.mark.parametrize("device", ["CPU", "NUMPY"])


def check(*roots: Node, device: str = "CPU") -> None:
    expected = t.meaning(*roots)
    for root, got, want in zip(roots, t.realized(*roots, device=device), expected, strict=True):
        assert got.dtype == want.dtype
        assert np.array_equal(got, want), root


@pytest.fixture
def plans(monkeypatch):
    """What was planned while the test runs, from no plans."""
    made = []
    real = plan.make_plan

    def counted(todo, leaves, device):
        made.append(todo)
        return real(todo, leaves, device)

    monkeypatch.setattr(engine, "_plans", {})
    monkeypatch.setattr(plan, "make_plan", counted)
    return made


@pytest.fixture
def buffers(monkeypatch):
    """Every buffer that the engine makes while the test runs."""
    made: list[weakref.ref[Buffer]] = []

    class Watched(Buffer):
        __slots__ = ()

        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            made.append(weakref.ref(self))

    monkeypatch.setattr(engine, "Buffer", Watched)
    return made


def living(buffers) -> int:
    gc.collect()
    return sum(b() is not None for b in buffers)


# ------------------------------------------------------------------------------------------------ plans


def test_a_graph_of_a_known_structure_is_not_planned_again(plans):
    for seed in range(5):
        x, y = t.integers((8, 9), seed=seed), t.integers((8, 9), seed=seed + 10)
        check(t.total(t.mul(x, y), 1))
    assert len(plans) == 1


def test_a_kernel_has_the_same_name_for_other_leaves():
    names = {engine.kernels([t.softmax(t.integers((8, 9), seed=s))], "CPU")[0].name for s in range(3)}
    assert len(names) == 1


@pytest.mark.parametrize(
    "other",
    [
        lambda a, b: t.add(a, a),
        lambda a, b: t.sub(a, b),
        lambda a, b: t.add(b, t.add(a, 0.0)),
        lambda a, b: t.add(t.mul(a, 2.0), b),
        lambda a, b: graph.permute(t.add(a, b), (1, 0)),
    ],
)
def test_another_structure_is_another_plan(plans, other):
    a, b = t.integers((4, 6)), t.integers((4, 6), seed=1)
    check(t.add(a, b))
    check(other(a, b))
    assert len(plans) == 2


@pytest.mark.parametrize(("one", "other"), [(1.0, 2.0), (0.0, -0.0), (float("inf"), float("nan"))])
def test_constants_are_part_of_the_structure(plans, one, other):
    x = t.integers((6,))
    first, second = t.realized(t.mul(x, one))[0], t.realized(t.mul(x, other))[0]
    assert len(plans) == 2
    assert first.tobytes() != second.tobytes()


def test_the_order_of_roots_is_part_of_the_structure(plans):
    x = t.integers((6,))
    check(t.add(x, 1.0), t.mul(x, 2.0))
    y = t.integers((6,), seed=1)
    check(t.mul(y, 2.0), t.add(y, 1.0))
    assert len(plans) == 2


def test_old_plans_make_room(monkeypatch, plans):
    monkeypatch.setattr(engine, "PLANS_KEPT", 3)
    x = t.integers((6,))
    for n in range(6):
        check(t.add(x, float(n)))
    assert len(engine._plans) == 3


def test_the_kernels_of_an_expression_are_listed_without_running_or_compiling_it(monkeypatch):
    monkeypatch.setattr(plan, "compile_all", lambda *_: pytest.fail("compiled"))
    y = t.softmax(t.integers((5, 11)))
    (info,) = engine.kernels([y], "CPU")
    assert y.storage is None
    assert info.name in info.source
    assert (info.device, info.shape, info.nbytes) == ("CPU", (5, 11), 2 * 5 * 11 * 4)


# ----------------------------------------------------------------------------------------------- memory


@DEVICES
def test_no_plan_keeps_a_leaf_alive(device):
    x = t.integers((7, 5), device=device)
    y = t.total(t.mul(x, 2.0), 0)
    engine.realize([y], device)
    leaf, result = weakref.ref(x.storage), weakref.ref(y.storage)
    del x
    gc.collect()
    assert leaf() is not None  # the expression stays
    del y
    gc.collect()
    assert leaf() is None
    assert result() is None


@DEVICES
def test_intermediates_are_freed(device, buffers):
    a = t.integers((8, 8), device=device)
    before = living(buffers)
    y = a
    for _ in range(6):
        y = t.matmul(graph.contiguous(t.add(y, 1.0)), a)
        y = t.op(Op.MOD, graph.cast(y, dt.int32), 5)
        y = graph.cast(y, dt.float32)
    engine.realize([y], device)
    assert len(buffers) > before + 6
    assert living(buffers) == before + 1


def test_an_intermediate_is_freed_as_soon_as_nobody_needs_it(monkeypatch, buffers):
    most = 0
    device = open_device("CPU")
    real = device.launch

    def launch(launched):
        nonlocal most
        most = max(most, living(buffers))
        real(launched)

    monkeypatch.setattr(device, "launch", launch)
    x, sign = t.integers((8, 8)), t.place(-np.eye(8), dtype=dt.float32)
    before = living(buffers)
    y = x
    for _ in range(12):
        y = t.matmul(y, sign)
    engine.realize([y], "CPU")
    assert most == before + 2
    assert np.array_equal(engine.read(y), engine.read(x))


def test_a_root_that_others_are_computed_from_is_kept():
    x = t.integers((9, 9))
    y = graph.contiguous(t.add(x, 1.0))
    z = t.matmul(y, y)
    check(y, z)


# ------------------------------------------------------------------------------------------------ roots


@DEVICES
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 4, 2)])
def test_tensors_without_elements(device, shape):
    x = t.place(np.ones(shape, np.float32), device)
    check(t.add(x, 1.0), graph.reshape(t.mul(x, x), (0,)), device=device)
    for axis, which in [(0, Op.ADD), (len(shape) - 1, Op.MUL)]:
        check(t.total(x, axis, which), device=device)
    check(graph.pad(t.add(x, 1.0), [(1, 2)] * len(shape)), device=device)


@DEVICES
def test_scalars(device):
    x = t.place(np.float32(3), device)
    check(t.add(x, 4.0), graph.expand(graph.reshape(x, (1, 1)), (2, 3)), device=device)


@DEVICES
def test_constants_need_no_leaf(device):
    check(
        graph.const(3.5, dt.float32),
        graph.full(True, (3, 2), dt.bool_),
        graph.full(7, (0,), dt.int8),
        t.add(graph.iota(9), 2),
        graph.full(-0.0, (4,), dt.float64),
        device=device,
    )


@DEVICES
def test_one_buffer_twice(device):
    x = t.integers((6, 6), device=device)
    check(t.matmul(x, x), t.add(x, graph.permute(x, (1, 0))), device=device)


@DEVICES
def test_two_leaves_of_one_buffer(device):
    x = t.integers((4, 6), device=device)
    assert x.storage is not None
    other = graph.buffer(x.storage, (6, 4), x.dtype)
    check(t.mul(graph.reshape(other, (4, 6)), x), device=device)


@DEVICES
def test_roots_that_are_movement_of_each_other(device):
    x = t.integers((4, 6), device=device)
    y = t.add(x, 1.0)
    flat = graph.reshape(y, (24,))
    check(y, graph.permute(y, (1, 0)), flat, graph.flip(flat, (0,)), y, device=device)


@DEVICES
def test_roots_that_are_in_memory_already(device):
    x = t.integers((4, 6), device=device)
    y = t.add(x, 1.0)
    check(y, device=device)
    storage = y.storage
    check(x, y, t.mul(y, 2.0), device=device)
    assert y.storage is storage


def test_a_result_is_read_and_not_computed_again():
    x = t.integers((4, 6))
    y = t.total(t.add(x, 1.0), 1)
    engine.realize([y], "CPU")
    (info,) = engine.kernels([t.mul(y, 2.0)], "CPU")
    assert info.nbytes == 2 * 4 * 4


@DEVICES
def test_many_roots_at_once(device):
    x = t.integers((5, 7), device=device)
    check(*(t.total(t.add(x, float(n)), n % 2) for n in range(20)), device=device)


@pytest.mark.parametrize(("source", "target"), [("CPU", "NUMPY"), ("NUMPY", "CPU")])
def test_copies_between_devices(source, target):
    x = t.integers((5, 7), device=source)
    moved = graph.copy(t.add(x, 1.0), target)
    there = t.total(t.mul(moved, 2.0), 1)
    back = graph.copy(there, source)
    check(moved, there, t.sub(back, 1.0), device=source)
    assert moved.storage is not None
    assert moved.storage.device.name == there.storage.device.name == target
    assert back.device == source


def test_a_copy_of_what_is_in_memory_is_no_kernel():
    x = t.integers((5, 7), device="NUMPY")
    assert engine.kernels([graph.copy(x, "CPU")], "CPU") == []
    check(graph.copy(x, "CPU"))


@DEVICES
def test_a_copy_without_elements(device):
    other = "NUMPY" if device == "CPU" else "CPU"
    check(graph.copy(t.place(np.ones((0, 3), np.float32), device), other), device=other)


@DEVICES
@pytest.mark.parametrize("dtype", dt.ALL, ids=str)
def test_every_dtype_is_moved_and_chosen_unchanged(device, dtype):
    data = np.random.default_rng(0).integers(0, 2 if dtype.is_bool else 100, (5, 9))
    x = t.place(data, device, dtype)
    check(
        graph.contiguous(graph.permute(x, (1, 0))),
        graph.pad(x, [(1, 1), (0, 2)]),
        graph.gather(x, t.place(np.array([4, 9, -1, 0]), device)),
        t.total(x, 1, Op.MAX),
        t.op(Op.WHERE, t.op(Op.CMPNE, x, graph.flip(x, (1,))), x, graph.full(1, x.shape, dtype)),
        device=device,
    )


def test_scatters_with_repeated_positions_are_in_order():
    x = t.integers((6, 3), dt.int32)
    at = t.place(np.array([1, 4, 1, 1, -1, 6, 4, 1] * 9), dtype=dt.int32)
    rows = t.integers((72, 3), dt.int32, seed=1)
    for which in (None, Op.ADD, Op.MAX, Op.MUL):
        check(graph.scatter(x, at, rows, which))
        check(graph.scatter(t.total(x, 1), at, graph.shrink(rows, [(0, 72), (1, 2)]), which))


def test_a_value_used_in_place_of_its_base():
    x = t.integers((6, 3))
    check(graph.assign(x, t.add(graph.permute(graph.reshape(x, (3, 6)), (1, 0)), 1.0)))


@pytest.mark.parametrize("device", ["CPU", "NUMPY"])
def test_a_chain_of_ten_thousand_operations(device):
    y = x = t.place(np.arange(4), device, dt.int32)
    for n in range(10_000):
        y = t.add(y, n % 3) if n % 2 else t.op(Op.XOR, y, n % 5)
    expected = np.arange(4, dtype=np.int32)
    for n in range(10_000):
        expected = expected + n % 3 if n % 2 else expected ^ n % 5
    assert np.array_equal(t.realized(y, device=device)[0], expected)
    assert x.storage is not None


def test_a_chain_of_a_thousand_kernels():
    y = t.place(np.arange(4), dtype=dt.int32)
    for _ in range(1000):
        y = graph.contiguous(t.add(y, 1))
    assert np.array_equal(t.realized(y)[0], np.arange(4) + 1000)


# ---------------------------------------------------------------------------------------------- threads


@pytest.fixture
def restless():
    """Threads take turns far more often than they usually do."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@DEVICES
def test_threads_that_realize_graphs_of_their_own(restless, device):
    def work(seed: int) -> None:
        for n in range(6):
            x = t.integers((n + 2, 9), seed=seed, device=device)
            check(t.total(t.mul(t.add(x, float(n)), x), n % 2), device=device)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))


@DEVICES
def test_threads_that_realize_parts_of_one_graph(restless, device):
    """Whatever one thread stores while another plans, each result is right."""
    for turn in range(12):
        x, z = t.integers((16, 16), seed=turn, device=device), t.integers((16, 16), seed=99, device=device)
        parts = [x]
        for n in range(20):
            parts.append(t.sub(t.mul(z, float(n)), t.add(parts[-1], 1.0)))
        expected = t.meaning(*parts)
        start = threading.Barrier(8)

        def work(which: int, parts=parts, start=start) -> list[np.ndarray]:
            start.wait()
            mine = parts[1 + which :: 3]
            return [t.realized(p, device=device)[0] for p in mine]

        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(work, range(8)))
        for which, arrays in enumerate(results):
            for got, want in zip(arrays, expected[1 + which :: 3], strict=True):
                assert np.array_equal(got, want)


def test_threads_that_move_plans_out(restless, monkeypatch):
    monkeypatch.setattr(engine, "PLANS_KEPT", 2)
    monkeypatch.setattr(engine, "_plans", {})
    x = t.integers((6,))

    def work(seed: int) -> None:
        for n in range(30):
            assert len(engine.kernels([t.add(x, float((n + seed) % 5))], "CPU")) == 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
