"""jit: what is captured is replayed, on other arguments, into memory that nobody else reads."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from jitting import captured, default, tensor, values

import portwright
from portwright import Tensor, jit
from portwright.core.device import Buffer
from portwright.core.errors import GradientError, JitError
from portwright.core.trace import JitEvent, KernelRun


@pytest.fixture(params=["CPU", "NUMPY"], autouse=True)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    with default(request.param) as name:
        yield name


# ---------------------------------------------------------------------------------------------- arguments


def test_replays_follow_their_arguments() -> None:
    @jit
    def f(x: Tensor, y: Tensor) -> Tensor:
        return x * 2 + y

    found = [values(f(tensor(i, 1), tensor(10, i))) for i in range(6)]
    assert found == [[2 * i + 10, 2 + i] for i in range(6)]
    assert f.__name__ == "f"


def test_the_function_runs_twice_and_never_again() -> None:
    runs = itertools.count()

    def f(x: Tensor) -> Tensor:
        next(runs)
        return x + 1

    g = jit(f)
    for i in range(5):
        assert values(g(tensor(i))) == [i + 1]
    assert next(runs) == 2


def test_arguments_may_be_nested_and_named() -> None:
    def f(pair: tuple[Tensor, list[Tensor]], *, more: dict[str, Tensor], k: int) -> Tensor:
        return pair[0] + pair[1][0] * k + more["m"]

    g = captured(f, (tensor(1), [tensor(2)]), more={"m": tensor(3)}, k=10)
    assert values(g((tensor(5), [tensor(6)]), k=10, more={"m": tensor(7)})) == [72]
    with pytest.raises(JitError, match=r"argument k was 10 and is 11.*reset\(\)"):
        g((tensor(5), [tensor(6)]), more={"m": tensor(7)}, k=11)
    with pytest.raises(JitError, match="argument pair\\[1\\] had 1 elements and has 2"):
        g((tensor(5), [tensor(6), tensor(6)]), more={"m": tensor(7)}, k=10)
    with pytest.raises(JitError, match="of 'm' and is a dict of 'n'"):
        g((tensor(5), [tensor(6)]), more={"n": tensor(7)}, k=10)


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (lambda: Tensor(np.zeros(3, np.float32)), r"the shape of argument x was \(2,\) and is \(3,\)"),
        (lambda: Tensor(np.zeros(2, np.int32)), "the dtype of argument x was float32 and is int32"),
        (lambda: tensor(1, 2, requires_grad=True), "the requires_grad of argument x was False and is True"),
        (lambda: 3.0, "argument x was a tensor and is 3.0"),
    ],
)
def test_other_arguments_are_refused(other: Callable[[], Any], what: str) -> None:
    g = captured(lambda x: x * 2, tensor(1, 2))
    with pytest.raises(JitError, match=what):
        g(other())
    assert values(g(tensor(3, 4))) == [6, 8]


def test_another_device_is_refused(device: str) -> None:
    g = captured(lambda x: x * 2, tensor(1, 2))
    other = "NUMPY" if device == "CPU" else "CPU"
    with pytest.raises(JitError, match=f"the device of argument x was {device} and is {other}"):
        g(tensor(1, 2, device=other))


def test_methods_and_objects_name_their_arguments() -> None:
    class Scaled:
        k = 2.0

        def __call__(self, x: Tensor) -> Tensor:
            return x * self.k

        def times(self, x: Tensor) -> Tensor:
            return x * self.k

    scaled = Scaled()
    for g in (captured(scaled, tensor(1)), captured(scaled.times, tensor(1))):
        with pytest.raises(JitError, match="shape of argument x"):
            g(tensor(1, 2))
        scaled.__dict__["k"] = 3.0
        with pytest.raises(JitError, match="had 0 elements and has 1"):
            g(tensor(1))
        del scaled.k


def test_zero_and_one_and_true_are_different_arguments() -> None:
    g = captured(lambda x, k: x * k, tensor(3), 1)
    for k in (True, 1.0):
        with pytest.raises(JitError, match="argument k was 1 and is"):
            g(tensor(3), k)
    h = captured(lambda x, k: x * k, tensor(3), 0.0)
    with pytest.raises(JitError, match=r"argument k was 0.0 and is -0.0"):
        h(tensor(3), -0.0)
    nan = captured(lambda x, k: x * k, tensor(3), float("nan"))
    assert np.isnan(nan(tensor(3), float("nan")).item())


def test_a_first_call_that_differs_is_another_warm_up() -> None:
    f = jit(lambda x: x.sum())
    assert f(tensor(1, 2)).item() == 3
    assert f(tensor(1, 2, 3)).item() == 6
    assert not f.is_captured
    assert f(tensor(1, 2, 4)).item() == 7
    assert f.is_captured


def test_reset_captures_anew() -> None:
    f = captured(lambda x: x + 1, tensor(1))
    f.reset()
    assert not f.is_captured
    for n in (2, 3, 4, 5):
        assert values(f(Tensor(np.zeros(2, np.float32) + n))) == [n + 1, n + 1]


def test_an_unrealized_argument_is_computed() -> None:
    g = captured(lambda x: x + 1, tensor(1))
    x = tensor(5)
    assert values(g(x * x)) == [26]
    assert values(g(Tensor([3.0]) + 1)) == [5]


def test_one_tensor_passed_twice_and_then_two() -> None:
    x = tensor(3)
    g = captured(lambda a, b: a * 10 + b, x, x)
    assert values(g(tensor(1), tensor(2))) == [12]
    h = captured(lambda a, b: a * 10 + b, tensor(1), tensor(2))
    assert values(h(x, x)) == [33]


def test_a_numpy_argument_is_refused() -> None:
    with pytest.raises(JitError, match="argument x holds a NumPy array"):
        jit(lambda x: Tensor(x))(np.zeros(2))


def test_a_numpy_scalar_is_a_plain_argument() -> None:
    g = captured(lambda x, k: x * float(k), tensor(3), np.float32(2))
    assert values(g(tensor(4), np.float32(2))) == [8]
    with pytest.raises(JitError, match="argument k"):
        g(tensor(4), np.float32(3))


# ------------------------------------------------------------------------------------------------ results


class Pair(NamedTuple):
    first: Tensor
    rest: list[Tensor]


def test_results_may_be_nested() -> None:
    def f(x: Tensor) -> dict[str, Any]:
        return {"pair": Pair(x + 1, [x + 2]), "n": 3, "none": None}

    g = captured(f, tensor(1))
    out = g(tensor(10))
    assert isinstance(out["pair"], Pair)
    assert values(out["pair"].first) == [11]
    assert values(out["pair"].rest[0]) == [12]
    assert (out["n"], out["none"]) == (3, None)


def test_results_that_are_kept_do_not_change() -> None:
    g = captured(lambda x: x * 2, tensor(0))
    kept = [g(tensor(i)) for i in range(6)]
    views = [t.reshape(1, 1) for t in kept]
    lazy = [t + 1 for t in kept]
    for i in range(10, 16):
        g(tensor(i))
    assert [t.item() for t in kept] == [2 * i for i in range(6)]
    assert [t.item() for t in views] == [2 * i for i in range(6)]
    assert [t.item() for t in lazy] == [2 * i + 1 for i in range(6)]


def test_memory_of_dropped_results_is_used_again() -> None:
    g = captured(lambda x: x * 2, tensor(0))
    x = tensor(1)
    for _ in range(4):
        g(x)
    before = next(Buffer.serials)
    for _ in range(5):
        g(x)
    assert next(Buffer.serials) == before + 1


def test_results_may_go_in_again() -> None:
    g = captured(lambda x: x * 2, tensor(1))
    x = tensor(1)
    for _ in range(10):
        x = g(x)
    assert x.item() == 1024
    assert g(g(g(tensor(1)))).item() == 8


def test_an_argument_may_be_returned() -> None:
    g = captured(lambda x: (x, x.reshape(2, 1), x + 1), tensor(1, 2))
    x = tensor(3, 4)
    same, view, other = g(x)
    assert same is x
    assert values(view) == [[3], [4]]
    g(tensor(5, 6))
    assert values(view) == [[3], [4]]
    assert values(other) == [4, 5]


def test_a_function_that_launches_nothing() -> None:
    g = captured(lambda x: (x, 7), tensor(1))
    x = tensor(2)
    same, seven = g(x)
    assert same is x
    assert seven == 7
    assert captured(lambda: None)() is None


def test_zero_size() -> None:
    g = captured(lambda x: (x * 2, x.sum()), Tensor(np.zeros((0, 3), np.float32)))
    empty, total = g(Tensor(np.zeros((0, 3), np.float32)))
    assert empty.shape == (0, 3)
    assert total.item() == 0


def test_constants_stay() -> None:
    g = captured(lambda x: (x + Tensor([1.0, 2.0]), Tensor.ones(2), Tensor([5, 6])), tensor(1, 1))
    for _ in range(3):
        a, b, c = g(tensor(3, 3))
        assert (values(a), values(b), values(c)) == ([4, 5], [1, 1], [5, 6])


def test_a_result_carries_no_gradient() -> None:
    w = tensor(2, requires_grad=True)
    g = captured(lambda x: (x * w).sum(), tensor(1))
    y = g(tensor(3))
    assert y.item() == 6
    with pytest.raises(GradientError):
        y.backward()


def test_other_results_are_refused() -> None:
    f = jit(lambda x: (x + 1, object()))
    f(tensor(1))
    with pytest.raises(JitError, match="returns a object: return tensors"):
        f(tensor(1))


# ------------------------------------------------------------------------------------------ what is refused


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
