"""jit: what is captured is replayed, on other arguments, into memory that nobody else reads."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from jitting import captured, default, tensor, values

from portwright import Tensor, jit
from portwright.core.device import Buffer
from portwright.core.errors import GradientError, JitError


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
    def plain(x: Tensor, *, y: Tensor, k: Tensor) -> Tensor:
        return x * 100 + y * 10 + k

    h = captured(plain, tensor(1), k=tensor(2), y=tensor(3))
    assert values(h(tensor(4), y=tensor(5), k=tensor(6))) == [456]
    with pytest.raises(JitError, match="argument k was a tensor and is 6"):
        h(tensor(4), y=tensor(5), k=6)
    with pytest.raises(JitError, match="the arguments were argument x, argument k, argument y and are"):
        h(tensor(4), k=tensor(5), z=tensor(6))

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
