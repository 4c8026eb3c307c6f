"""jit: tensors that a function finds by itself are read where they are, and changed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from jitting import captured, default, tensor, values

from portwright import Tensor, jit, nn
from portwright.core.errors import JitError
from portwright.core.tensor import random


@pytest.fixture(params=["CPU", "NUMPY"], autouse=True)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    with default(request.param) as name:
        yield name


# -------------------------------------------------------------------------------------------------- state


def test_assign_moves_a_tensor_at_each_replay() -> None:
    w = tensor(1)

    @jit
    def double() -> Tensor:
        w.assign(w * 2)
        return w + 0

    assert [double().item() for _ in range(6)] == [2, 4, 8, 16, 32, 64]
    assert values(w) == [64]


def test_values_read_before_do_not_change() -> None:
    w = tensor(1)
    f = captured(lambda: w.assign(w + 1), *())
    kept, lazy, want = [], [], []
    for _ in range(6):
        kept.append(w.detach())
        lazy.append(w * 10)
        want.append(w.item())
        f()
    assert [k.item() for k in kept] == want
    assert [z.item() for z in lazy] == [10 * v for v in want]


def test_a_tensor_that_was_given_other_values_is_read_where_it_is() -> None:
    w = tensor(2)
    f = captured(lambda x: x * w, tensor(1))
    assert f(tensor(3)).item() == 6
    w.assign(tensor(5))
    assert f(tensor(3)).item() == 15
    w.assign(w + 1)
    assert f(tensor(3)).item() == 18


def test_state_that_was_given_other_values_goes_on_from_there() -> None:
    w = tensor(0)
    f = captured(lambda: w.assign(w + 1))
    for _ in range(3):
        f()
    w.assign(tensor(100))
    f()
    f()
    assert values(w) == [102]


def test_two_functions_share_their_state() -> None:
    w = tensor(1)
    up = captured(lambda: w.assign(w + 1))
    twice = captured(lambda: w.assign(w * 2))
    value = values(w)[0]
    for i in range(9):
        (up, twice)[i % 2]()
        value = (value + 1, value * 2)[i % 2]
        assert values(w) == [value]
    assert captured(lambda x: x + w, tensor(0))(tensor(1)).item() == value + 1


def test_state_that_shares_memory_when_captured() -> None:
    w = tensor(1)
    average = w.detach()

    def f() -> None:
        w.assign(w + 1)
        average.assign(average * 0.5 + w * 0.5)

    g = captured(f)
    a, b = 1.0, 1.0
    for i in range(6):
        a, b = a + 1, b * 0.5 + (a + 1) * 0.5
        if i > 1:
            g()
    assert values(w) == [a]
    np.testing.assert_allclose(values(average), [b])


def test_two_tensors_change_places() -> None:
    a, b = tensor(1), tensor(2)

    def swap() -> None:
        old = a.detach()
        a.assign(b)
        b.assign(old)

    g = captured(swap)
    for i in range(5):
        g()
        assert (a.item(), b.item()) == ((2, 1) if i % 2 == 0 else (1, 2))


def test_attributes_set_to_other_tensors() -> None:
    class Running:
        def __init__(self) -> None:
            self.mean = tensor(0)
            self.last: Tensor | None = None
            self.all = [tensor(1), tensor(2)]

        def __call__(self, x: Tensor) -> Tensor:
            self.mean = self.mean * 0.5 + x * 0.5
            self.all[0], self.all[1] = self.all[1], self.all[0]
            self.last = x
            return self.mean + self.all[0] * 100

    jitted, plain = Running(), Running()
    g = jit(jitted)
    for i in range(7):
        assert values(g(tensor(i))) == values(plain(tensor(i)))
        assert jitted.last is not None
        assert values(jitted.last) == [i]
        assert values(jitted.mean) == values(plain.mean)
    assert g.is_captured
    kept, want = jitted.mean, values(jitted.mean)
    g(tensor(50))
    g(tensor(60))
    assert values(kept) == want
    jitted.mean = tensor(8)
    plain.mean = tensor(8)
    assert values(g(tensor(2))) == [5 + (values(plain(tensor(2)))[0] - 5)]


TOTAL = Tensor([0.0])


def test_variables_set_to_other_tensors() -> None:
    global TOTAL
    TOTAL, last = tensor(0), tensor(0)

    def add(x: Tensor) -> Tensor:
        global TOTAL
        nonlocal last
        TOTAL, last = TOTAL + x, TOTAL
        return last

    f = jit(add)
    for i in range(6):
        assert values(f(tensor(i))) == [sum(range(i))]
        assert (values(TOTAL), values(last)) == ([sum(range(i + 1))], [sum(range(i))])
    assert f.is_captured


def test_an_argument_may_be_changed() -> None:
    g = jit(lambda x, y: x.assign(x + y))
    x = tensor(1)
    for i in range(5):
        y = g(x, tensor(10))
        assert y is x
        assert values(x) == [11 + 10 * i]
    other = tensor(5)
    g(other, tensor(1))
    assert (values(other), values(x)) == ([6], [51])
    with pytest.raises(JitError, match="met under two names"):
        g(x, x)


def test_a_changed_argument_must_not_be_passed_twice() -> None:
    f = jit(lambda x, y: x.assign(x + y))
    x = tensor(1)
    f(x, x)
    with pytest.raises(JitError, match="changes argument x, which is passed twice"):
        f(x, x)


def test_a_tensor_that_is_passed_and_found() -> None:
    w = tensor(1, requires_grad=True)

    def step(p: Tensor) -> Tensor:
        w.grad = None
        (w * w * 3).sum().backward()
        assert w.grad is not None
        p.assign(p.detach() - w.grad * 0.1)
        return p

    g = captured(step, w)
    before = w.item()
    assert g(w) is w
    np.testing.assert_allclose(w.item(), before * 0.4, rtol=1e-6)
    with pytest.raises(JitError, match="tensor 0 of the arguments was w itself, and is another one"):
        g(tensor(1, requires_grad=True))


def test_random_numbers_are_new_at_each_replay() -> None:
    def draws(f: Callable[[], Tensor], n: int) -> list[Any]:
        Tensor.manual_seed(7)
        return [values(f()) for _ in range(n)]

    def f() -> Tensor:
        return Tensor.rand(3) + Tensor.randn(3)

    g = jit(f)
    want = draws(f, 6)
    assert draws(g, 6) == want
    assert g.is_captured
    assert draws(g, 6) == want
    assert len({tuple(w) for w in want}) == 6


def test_the_first_draw_of_all_is_not_captured(device: str) -> None:
    random.states.pop(device, None)
    calls = itertools.count()

    def f(x: Tensor) -> Tensor:
        return x + Tensor.rand(1) if next(calls) else x

    g = jit(f)
    g(tensor(1))
    found = [g(tensor(1)).item()]
    assert not g.is_captured
    found += [g(tensor(1)).item() for _ in range(4)]
    assert g.is_captured
    assert len(set(found)) == 5


def test_dropout_and_the_mode_that_it_ran_in() -> None:
    x = Tensor(np.ones(1000, np.float32))
    f = jit(lambda t: t.dropout(0.5))
    with Tensor.train():
        kept = [f(x).numpy() for _ in range(4)]
        assert not np.array_equal(kept[2], kept[3])
    with pytest.raises(JitError, match=r"Tensor.training was True and is False"):
        f(x)


# ----------------------------------------------------------------------------------------------- training


class Net:
    def __init__(self) -> None:
        self.layers = [nn.Linear(3, 4), nn.Linear(4, 1)]

    def __call__(self, x: Tensor) -> Tensor:
        return self.layers[1](self.layers[0](x).relu())

    def parameters(self) -> list[Tensor]:
        return [p for layer in self.layers for p in (layer.weight, layer.bias) if p is not None]


@pytest.mark.parametrize("optimizer", ["SGD", "momentum", "Adam"])
@pytest.mark.parametrize("zero", ["first", "last", "outside"])
def test_a_training_step(optimizer: str, zero: str) -> None:
    def train(wrap: Callable[[Any], Any]) -> list[float]:
        Tensor.manual_seed(1)
        net = Net()
        p = net.parameters()
        opt = {
            "SGD": lambda: nn.optim.SGD(p, lr=0.1),
            "momentum": lambda: nn.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
            "Adam": lambda: nn.optim.Adam(p, lr=0.01),
        }[optimizer]()

        def step(x: Tensor, y: Tensor) -> Tensor:
            if zero == "first":
                opt.zero_grad()
            loss = (net(x) - y).square().mean()
            loss.backward()
            opt.step(loss)
            if zero == "last":
                opt.zero_grad()
            return loss

        f = wrap(step)
        rng = np.random.default_rng(0)
        losses = []
        for i in range(6):
            if zero == "outside":
                opt.zero_grad()
            if i == 4:
                opt.lr = 0.001
            x = rng.random((5, 3)).astype(np.float32)
            losses.append(f(Tensor(x), Tensor(x.sum(1, keepdims=True))).item())
        losses.append(net(tensor(1, 2, 3).reshape(1, 3)).item())
        return losses

    want = train(lambda f: f)
    np.testing.assert_allclose(train(jit), want, rtol=2e-5)


def test_gradients_that_the_function_leaves() -> None:
    w = tensor(1, 2, requires_grad=True)

    def f(x: Tensor) -> None:
        w.grad = None
        (w * x).sum().backward()

    g = jit(f)
    kept = []
    for i in range(5):
        g(tensor(i, i))
        assert w.grad is not None
        assert values(w.grad) == [i, i]
        kept.append(w.grad)
    assert [values(k) for k in kept] == [[i, i] for i in range(5)]


def test_gradients_that_add_up() -> None:
    w = tensor(1, requires_grad=True)
    g = jit(lambda x: (w * x).sum().backward())
    g(tensor(1))
    g(tensor(2))
    g(tensor(3))
    assert w.grad is not None
    assert values(w.grad) == [6]
    w.grad = None
    with pytest.raises(JitError, match=r"w.grad was a float32 tensor of shape \(1,\) and is None"):
        g(tensor(1))


def test_the_gradient_of_an_argument() -> None:
    def f(p: Tensor, x: Tensor) -> None:
        (p * x).sum().backward()

    g = jit(f)
    for i in range(5):
        p = tensor(1, requires_grad=True)
        g(p, tensor(i))
        assert p.grad is not None
        assert values(p.grad) == [i]
    with pytest.raises(JitError, match="had no grad and has one"):
        g(p, tensor(1))


def test_batch_norm_learns_its_statistics() -> None:
    def run(wrap: Callable[[Any], Any]) -> list[Any]:
        norm = nn.BatchNorm2d(2)
        f = wrap(lambda x: norm(x))
        rng = np.random.default_rng(0)
        with Tensor.train():
            for _ in range(5):
                out = f(Tensor(rng.random((3, 2, 2, 2)).astype(np.float32)))
        assert norm.running_mean is not None
        assert norm.running_var is not None
        return [norm.running_mean.numpy(), norm.running_var.numpy(), out.numpy()]

    for got, want in zip(run(jit), run(lambda f: f), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_a_frozen_parameter_is_noticed() -> None:
    net = Net()
    f = captured(lambda x: net(x), Tensor(np.ones((1, 3), np.float32)))
    net.layers[0].weight.requires_grad = False
    with pytest.raises(JitError, match=r"requires_grad of net.layers\[0\].weight was True and is False"):
        f(Tensor(np.ones((1, 3), np.float32)))
