"""Making tensors, when they are computed, their dtypes and devices, assignment, and what is refused."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Iterator

import numpy as np
import pytest
from tensors import on, same

from portwright import Tensor, bfloat16, bool_, float16, float32, float64, int32, int64, uint8
from portwright.core import engine
from portwright.core.errors import ArgumentError, DeviceError, DTypeError, GradientError, ShapeError
from portwright.core.graph import GraphOp


@pytest.fixture(autouse=True)
def _reference() -> Iterator[None]:
    with on("NUMPY"):
        yield


def test_nothing_runs_until_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    real = engine.realize

    def counted(nodes: object, device: str) -> None:
        ran.append(nodes)
        real(nodes, device)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "realize", counted)
    x = Tensor([1.0, 2.0]) * 3 + 1
    y = x.exp().sum()
    assert not ran
    y.realize()
    assert len(ran) == 1
    y.realize()
    y.numpy()
    assert len(ran) == 1
    assert repr(x) == "Tensor([4., 7.], float32, NUMPY)"


def test_realizing_leaves_a_leaf_so_that_loops_do_not_grow() -> None:
    x = Tensor([0.0])
    for _ in range(50):
        x = (x + 1).realize()
        assert x.node.op is GraphOp.BUFFER
    assert x.item() == 50


def test_realizing_keeps_what_a_gradient_needs() -> None:
    w = Tensor([2.0], requires_grad=True)
    y = (w * w).realize()
    (y * 3).sum().backward()
    assert w.grad is not None
    assert w.grad.item() == 12


def test_constants_on_two_devices_do_not_share_memory() -> None:
    with on("NUMPY"):
        a = Tensor.ones(4).realize()
        b = Tensor.ones(4)
        assert b.node.storage is None
        assert (a + b).tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1, int32),
        (1.5, float32),
        (True, bool_),
        ([1, 2], int32),
        ([1.0, 2], float32),
        ([True], bool_),
        ([], float32),
    ],
)
def test_python_values_take_default_dtypes(data: object, dtype: object) -> None:
    assert Tensor(data).dtype is dtype


def test_arrays_keep_their_dtypes_and_round_once() -> None:
    assert Tensor(np.zeros(3, np.uint8)).dtype is uint8
    assert Tensor(np.float64(3)).dtype is float32  # a float64 scalar is a Python float
    assert Tensor(np.zeros((), np.float64)).dtype is float64
    just_above_half = np.array([1 + 2**-8 + 2**-40])
    assert Tensor(just_above_half, dtype=bfloat16).tolist() == [1 + 2**-7]


def test_nested_lists_of_tensors() -> None:
    assert Tensor([Tensor([1.0, 2]), Tensor([3.0, 4])]).tolist() == [[1, 2], [3, 4]]


def test_creation() -> None:
    same(Tensor.zeros(2, 3), np.zeros((2, 3), np.float32))
    same(Tensor.ones((2,), dtype="int64"), np.ones(2, np.int64))
    same(Tensor.full((2, 2), 7), np.full((2, 2), 7, np.int32))
    same(Tensor.arange(5), np.arange(5, dtype=np.int32))
    same(Tensor.arange(5, 0, -2), np.arange(5, 0, -2, dtype=np.int32))
    same(Tensor.arange(0.0, 1.0, 0.25), np.arange(0, 1, 0.25, dtype=np.float32))
    same(Tensor.arange(3, 3), np.arange(0, dtype=np.int32))
    same(Tensor.linspace(0, 1, 7), np.linspace(0, 1, 7, dtype=np.float32), 1e-7)
    assert Tensor.linspace(0.1, 0.7, 11).tolist()[-1] == np.float32(0.7)
    same(Tensor.eye(2, 3), np.eye(2, 3, dtype=np.float32))
    x = Tensor([[1, 2]], dtype=uint8)
    assert x.zeros_like().dtype is uint8
    assert x.ones_like(dtype=float16).tolist() == [[1, 1]]
    assert x.full_like(9).tolist() == [[9, 9]]
    grids = Tensor.meshgrid(Tensor([1, 2]), Tensor([3, 4, 5]), indexing="xy")
    for g, w in zip(grids, np.meshgrid([1, 2], [3, 4, 5]), strict=True):
        same(g, w.astype(np.int32))


def test_questions() -> None:
    x = Tensor.zeros(2, 3, dtype=float64)
    assert (x.shape, x.ndim, x.dim(), x.numel(), x.size(), x.size(-1)) == ((2, 3), 2, 2, 6, (2, 3), 3)
    assert (x.element_size(), x.nbytes(), len(x), x.is_floating_point()) == (8, 48, 2, True)
    assert Tensor(3).item() == 3
    assert int(Tensor(3)) == 3
    assert [10, 20][Tensor(1)] == 20
    assert not Tensor([0.0])
    assert np.asarray(Tensor([1.5])).tolist() == [1.5]


def test_casts() -> None:
    x = Tensor([0.0, -1.7, 3.5, float("nan")])
    assert x.bool().tolist() == [False, True, True, True]
    assert x[:3].int().tolist() == [0, -1, 3]
    assert [t.dtype for t in (x.half(), x.double(), x.long(), x.float())] == [
        float16,
        float64,
        int64,
        float32,
    ]
    assert Tensor([1.0]).bitcast("int32").tolist() == [0x3F800000]
    with pytest.raises(DTypeError, match="widths"):
        Tensor([1.0]).bitcast("int64")


def test_promotion_and_weak_scalars() -> None:
    assert (Tensor([1], dtype=uint8) + 1).dtype is uint8
    assert (Tensor([1], dtype=uint8) + 1.5).dtype is float32
    assert (Tensor([1.0], dtype=float16) * 2).dtype is float16
    assert (Tensor([True]) + 1).dtype is int32
    assert (Tensor([1], dtype=uint8) + Tensor([-1], dtype="int8")).dtype.name == "int16"
    with pytest.raises(DTypeError, match="300 does not fit uint8"):
        Tensor([1], dtype=uint8) + 300
    with pytest.raises(DTypeError, match="do not promote"):
        Tensor([1], dtype="uint64") + Tensor([1])


def test_assignment_changes_the_values_and_keeps_dtype_and_shape() -> None:
    x = Tensor([1.0, 2.0, 3.0]).realize()
    before = x + 0
    x.assign(x * 2)
    assert x.tolist() == [2, 4, 6]
    assert before.tolist() == [1, 2, 3]
    assert x.assign(7).tolist() == [7, 7, 7]
    with pytest.raises(ShapeError):
        x.assign(Tensor([1.0, 2.0]))


def test_a_leaf_takes_new_values_and_stays_a_leaf() -> None:
    w = Tensor([1.0, 2.0], requires_grad=True)
    w.assign(w.detach() * 10)
    assert w.requires_grad
    assert w.is_leaf
    (w * w).sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [20, 40]
    with pytest.raises(GradientError, match="detach"):
        w.assign(w * 2)


def test_data_is_the_value_without_its_history() -> None:
    w = Tensor([3.0], requires_grad=True)
    assert not w.data.requires_grad
    w.data = Tensor([5.0])
    assert w.item() == 5


def test_moving_between_devices() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x.to("numpy")
    assert y is x
    assert x.to(float16).dtype is float16
    with pytest.raises(DeviceError):
        Tensor([1.0], device="NOWHERE")


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Tensor([1.0, 2]) + Tensor([1.0, 2, 3]), ShapeError, r"\(2,\) and \(3,\)"),
        (lambda: Tensor.zeros(2, 3).sum(2), ShapeError, "axis 2"),
        (lambda: Tensor.zeros(2, 3).sum((0, -2)), ShapeError, "twice"),
        (lambda: Tensor.zeros(2, 3).reshape(4, -1), ShapeError, r"\(2, 3\)"),
        (lambda: Tensor([[1.0], [1.0, 2]]), ShapeError, "ragged"),
        (lambda: Tensor("text"), DTypeError, "str"),
        (lambda: Tensor([3000000000]), DTypeError, "int64"),
        (lambda: Tensor([1.0]) & 1, DTypeError, "integers"),
        (lambda: Tensor([1], requires_grad=True), DTypeError, "floats"),
        (lambda: Tensor.arange(0, 5, -1), ArgumentError, "lead to the end"),
        (lambda: Tensor.zeros(2, -3), ShapeError, "negative"),
        (lambda: Tensor([1, 2]).item(), ShapeError, "one element"),
        (lambda: bool(Tensor([1, 2])), ShapeError, "any"),
        (lambda: Tensor([1.0]).backward(), GradientError, "requires_grad"),
        (lambda: Tensor([1.0, 2], requires_grad=True).exp().backward(), GradientError, "sum"),
        (lambda: Tensor([1], dtype="notype"), DTypeError, "float32"),
    ],
)
def test_bad_input_is_refused_with_what_was_given(make: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        make()  # type: ignore[operator]


def test_what_python_asks_of_a_value() -> None:
    x = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]]
    assert f"{x.sum():.2f}" == "10.00"
    for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert other.tolist() == x.tolist()
        assert other.requires_grad
        assert other is not x
    with pytest.raises(ShapeError):
        iter(Tensor(1.0))
    with pytest.raises(DTypeError, match="masked_fill"):
        Tensor([1]).masked_fill(Tensor([True]), 0.5)


def test_a_long_chain_builds_runs_differentiates_and_dies() -> None:
    x = Tensor([1.0, 2.0], dtype=float64, requires_grad=True)
    y = x
    for _ in range(10_000):
        y = y * 1.0001
    (g,) = y.sum().gradient(x)
    assert g.shape == (2,)
    del y, g
    gc.collect()


def test_graphs_are_freed() -> None:
    import weakref

    x = Tensor([1.0, 2.0])
    y = (x.exp() + x.softmax(0)).sum()
    gone = weakref.ref(y.node)
    del y
    gc.collect()
    assert gone() is None
