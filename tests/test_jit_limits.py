"""jit: what it refuses, and what it leaves as it was: nested, interrupted, threaded, on two devices."""

from __future__ import annotations

import copy
import itertools
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from jitting import captured, default, tensor, values

import portwright
from portwright import Tensor, jit, nn
from portwright.core.errors import JitError
from portwright.core.trace import JitEvent, KernelRun


@pytest.fixture(params=["CPU", "NUMPY"], autouse=True)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    with default(request.param) as name:
        yield name


@pytest.mark.parametrize(
    "look",
    [
        lambda t: t.item(),
        lambda t: t.numpy(),
        lambda t: t.tolist(),
        lambda t: bool(t > 0),
        lambda t: repr(t),
        lambda t: [t.item()],
    ],
    ids=["item", "numpy", "tolist", "bool", "repr", "nested"],
)
def test_data_must_not_leave_the_device(look: Callable[[Tensor], Any]) -> None:
    def f(x: Tensor) -> Tensor:
        look(x.sum())
        return x + 1

    g = jit(f)
    assert values(g(tensor(1))) == [2]
    with pytest.raises(JitError, match="was read by Python"):
        g(tensor(1))
    assert values(tensor(1) + 1) == [2]
    g.reset()
    assert values(g(tensor(1))) == [2]


def test_random_host_data_is_refused() -> None:
    rng = np.random.default_rng(0)

    def f(x: Tensor) -> Tensor:
        return x + Tensor(rng.random(2).astype(np.float32))

    g = jit(f)
    g(tensor(1, 2))
    with pytest.raises(JitError, match=r"made 1 tensors from host data.*pass them as arguments"):
        g(tensor(1, 2))


def test_a_tensor_that_is_found_nowhere_is_refused() -> None:
    hidden = iter([tensor(5), tensor(6), tensor(7)])

    def f(x: Tensor) -> Tensor:
        return x + next(hidden)

    g = jit(f)
    g(tensor(1))
    with pytest.raises(
        JitError, match=r"cannot find the float32 tensor of shape \(1,\).*Pass it as an argument"
    ):
        g(tensor(1))


def test_an_argument_with_history_is_refused() -> None:
    w = tensor(2, requires_grad=True)
    f = jit(lambda x: x * 2)
    f(w * 3)
    with pytest.raises(
        JitError, match=r"argument x comes from a computation that has gradients: detach\(\) it"
    ):
        f(w * 3)
    f.reset()
    f(tensor(1))
    f(tensor(1))
    with pytest.raises(JitError, match="requires_grad of argument x"):
        f(w * 3)


def test_what_no_jit_can_capture() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    with pytest.raises(JitError, match="generator"):
        jit(numbers)
    with pytest.raises(JitError, match="it takes a function"):
        jit(3)  # type: ignore[arg-type]


def test_a_changed_argument_collection_is_refused() -> None:
    def f(xs: list[Tensor]) -> None:
        xs.append(xs[0] + 1)

    g = jit(f)
    g([tensor(1)])
    with pytest.raises(JitError, match="changes a collection that it is passed"):
        g([tensor(1)])


# ---------------------------------------------------------------------------------------- beside each other


def test_an_exception_leaves_everything_as_it_was() -> None:
    w = tensor(3)
    fail = itertools.cycle([False, True, True, False])

    def f(x: Tensor) -> Tensor:
        y = (x * w).realize()
        if next(fail):
            raise ZeroDivisionError
        return y

    g = jit(f)
    x = tensor(2)
    node = w.node
    assert values(g(x)) == [6]
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            g(x)
        assert w.node is node
        assert values(x + w) == [5]
        assert not g.is_captured
    assert values(g(x)) == [6]
    assert values(g(tensor(4))) == [12]


def test_one_inside_another_is_a_part_of_it() -> None:
    inner = jit(lambda x: x + 1)
    outer = jit(lambda x: inner(x) * 2)
    for i in range(5):
        assert values(outer(tensor(i))) == [2 * i + 2]
    assert outer.is_captured
    assert not inner.is_captured
    for i in range(4):
        assert values(inner(tensor(i))) == [i + 1]
    assert values(outer(tensor(9))) == [20]


def test_several_threads() -> None:
    shared = captured(lambda x: (x * 2).sum(), Tensor(np.ones(100, np.float32)))
    wrong: list[float] = []

    def work(k: int) -> None:
        own = jit(lambda x: x + k)
        for i in range(30):
            x = Tensor(np.full(100, i + k, np.float32))
            if shared(x).item() != 200 * (i + k) or own(x).numpy()[0] != i + 2 * k:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_two_devices_in_one_function(device: str) -> None:
    other = "NUMPY" if device == "CPU" else "CPU"
    g = captured(lambda x: ((x + 1).to(other) * 2).to(device) + x, tensor(1, 2))
    assert values(g(tensor(3, 4))) == [11, 14]


def test_methods_are_captured_for_each_object() -> None:
    class Scaled:
        def __init__(self, k: float) -> None:
            self.k = k

        @jit
        def times(self, x: Tensor) -> Tensor:
            return x * self.k

        @jit
        def plus(self, x: Tensor) -> Tensor:
            return x + self.k

    two, three = Scaled(2.0), Scaled(3.0)
    for i in range(4):
        assert values(two.times(tensor(i))) == [2 * i]
        assert values(three.times(tensor(i))) == [3 * i]
        assert values(two.plus(tensor(i))) == [2 + i]
    two.k = 5.0
    with pytest.raises(JitError, match=r"k was 2.0 and is 5.0"):
        two.times(tensor(1))


def test_methods_of_a_subclass_and_of_a_copy() -> None:
    class Base:
        def __init__(self) -> None:
            self.w = tensor(2, requires_grad=True)

        @jit
        def times(self, x: Tensor) -> Tensor:
            return x * self.w

    class More(Base):
        @jit
        def times(self, x: Tensor) -> Tensor:
            return super().times(x) + 1

        @jit
        def other(self, x: Tensor) -> Tensor:
            return self.times(x) * 10

    one = More()
    for i in range(4):
        assert values(one.times(tensor(i))) == [2 * i + 1]
        assert values(one.other(tensor(i))) == [20 * i + 10]
    assert list(nn.state_dict(one)) == ["w"]
    two = copy.deepcopy(one)
    two.w = tensor(3, requires_grad=True)
    for i in range(4):
        assert values(two.times(tensor(i))) == [3 * i + 1]
        assert values(one.times(tensor(i))) == [2 * i + 1]


def test_a_function_is_pickled_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(at_the_top)) is at_the_top


@jit
def at_the_top(x: Tensor) -> Tensor:
    return x


def test_events_tell_what_happens() -> None:
    f = jit(lambda x: x * 2 + 1)
    with portwright.debug.record() as events:
        for _ in range(3):
            f(tensor(1))
        with pytest.raises(JitError):
            f(tensor(1, 2))
    told = [e.what for e in events if isinstance(e, JitEvent)]
    assert told == ["warmed up", "captured", "replayed", "refused"]
    assert len([e for e in events if isinstance(e, KernelRun)]) == 3
