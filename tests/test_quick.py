"""The short way through a captured function: taken when all is as it was, and never otherwise."""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from jitting import numbers, settled

from portwright import Tensor, jit
from portwright.core import trace
from portwright.core.errors import JitError
from portwright.core.replay import Replay


def in_threads(call: Callable[[], None]) -> None:
    """Four of them, at the same time."""
    threads = [threading.Thread(target=call) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def test_the_same_tensors_go_the_short_way(no_long_way: Callable[[], None]) -> None:
    x, y = numbers(1, 2), numbers(3, 4)
    f = settled(lambda x, y: x * y + 1, x, y)
    no_long_way()
    for _ in range(5):
        assert f(x, y).tolist() == [4, 9]


def test_a_result_that_is_held_keeps_its_numbers() -> None:
    x, y = numbers(1, 2), numbers(3, 4)
    f = settled(lambda x, y: x + y, x, y)
    kept = []
    for i in range(12):
        x = f(x, y)  # each call reads what another gave
        kept.append(x)
        assert kept[i // 2].tolist() == [1 + 3 * (i // 2 + 1), 2 + 4 * (i // 2 + 1)]


def test_other_memory_and_other_calls_go_the_long_way() -> None:
    x, y = numbers(1, 2), numbers(3, 4)
    f = settled(lambda x, y: x * y, x, y)
    assert f(numbers(5, 6), y).tolist() == [15, 24]
    assert f(x, y=y).tolist() == [3, 8]
    assert f(x, y).tolist() == [3, 8]
    with pytest.raises(JitError, match="shape"):
        f(numbers(1, 2, 3), numbers(1, 2, 3))
    with pytest.raises(JitError):
        f(x, 2.0)
    with pytest.raises(JitError):
        f(x)
    assert f(x, y).tolist() == [3, 8]


def test_what_is_watched_is_compared_there_too() -> None:
    x, held = numbers(1, 2), {"factor": 2.0}
    f = settled(lambda x: x * held["factor"], x)
    assert f(x).tolist() == [2, 4]
    held["factor"] = 3.0
    with pytest.raises(JitError, match="factor"):
        f(x)
    del held["factor"]
    with pytest.raises(JitError):
        f(x)
    held["factor"] = 2.0
    assert f(x).tolist() == [2, 4]


def test_listeners_hear_of_each_call() -> None:
    x = numbers(1, 2)
    f = settled(lambda x: x + 1, x)
    heard: list[object] = []
    stop = trace.listen(heard.append, kernels=False)
    try:
        f(x)
    finally:
        stop()
    assert any("replayed" in str(event) for event in heard)


def test_threads_take_turns() -> None:
    x, y = numbers(*range(64)), numbers(*range(64))
    f = settled(lambda x, y: x * y + x, x, y)
    wanted = [i * i + i for i in range(64)]
    wrong: list[object] = []

    def call() -> None:
        for _ in range(200):
            if f(x, y).tolist() != wanted:
                wrong.append(1)

    in_threads(call)
    assert not wrong


class Model:
    """Some weights, and numbers beside them."""

    def __init__(self) -> None:
        self.w, self.layers, self.scale = numbers(2, 3), [numbers(1, 1), numbers(10, 20)], 2.0

    def __call__(self, x: Tensor) -> Tensor:
        return (x * self.w + self.layers[0] + self.layers[1]) * self.scale

    @jit
    def method(self, x: Tensor) -> Tensor:
        return self(x)


def test_captured_tensors_are_read_where_they_are(no_long_way: Callable[[], None]) -> None:
    model, x, w = Model(), numbers(1, 1), numbers(5, 6)
    for _ in range(4):
        model.method(x)
    calls = [settled(lambda x: model(x), x), settled(model, x), settled(lambda x: x * w, x)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Replay, "run", None)
        assert [f(x).tolist() for f in (*calls, model.method)] == [[26, 48], [26, 48], [5, 6], [26, 48]]
    model.w = numbers(3, 4)  # other tensors in the same places
    model.layers[1] = numbers(0, 0)
    w.assign(numbers(7, 8))
    wanted = [[8, 10], [8, 10], [7, 8], [8, 10]]
    for _ in range(4):
        assert [f(x).tolist() for f in (*calls, model.method)] == wanted
    model.w.assign(numbers(0, 0))  # other numbers in the same tensor
    for _ in range(4):
        got = [model.method(x).tolist(), calls[0](x).tolist()]
    assert got == [[2, 2], [2, 2]]
    no_long_way()
    got = [model.method(x).tolist(), calls[0](x).tolist()]
    assert got == [[2, 2], [2, 2]]


def test_one_change_is_not_taken_over_where_another_is_refused() -> None:
    model, x = Model(), numbers(1, 1)
    f = settled(lambda x: model(x), x)
    model.w, model.scale = numbers(4, 4), 3.0
    with pytest.raises(JitError, match=r"scale was 2.0 and is 3.0"):
        f(x)
    model.scale = 2.0
    assert f(x).tolist() == [30, 50]


def test_a_tensor_that_is_passed_and_settled() -> None:
    x, w = numbers(1, 2), numbers(3, 4)
    f = settled(lambda x, y: x * w + y, x, w)
    for _ in range(3):
        assert f(x, w).tolist() == [6, 12]
    with pytest.raises(JitError, match="another one"):
        f(x, numbers(3, 4))


def test_results_of_any_structure(no_long_way: Callable[[], None]) -> None:
    x, y = numbers(1, 2), numbers(3, 5)

    class Pair(NamedTuple):
        first: Tensor
        second: Any

    @jit
    def f(x: Tensor, y: Tensor) -> Any:
        total = x + y
        return {"a": (total, [x * y, 3]), 2: Pair(x - y, "text"), "same": total.detach(), "own": x}, (total,)

    for _ in range(4):
        f(x, y)
    no_long_way()
    for _ in range(3):
        named, (total,) = f(x, y)
        assert list(named) == ["a", 2, "same", "own"]
        assert type(named["a"][1]) is list
        assert type(named[2]) is Pair
        assert named["own"] is x
        got = [named["a"][0], named["a"][1][0], named[2].first, named["same"], total]
        assert [t.tolist() for t in got] == [[4, 7], [3, 10], [-2, -3], [4, 7], [4, 7]]
        assert named["a"][1][1] == 3
        assert named[2].second == "text"
        assert named["same"] is not named["a"][0], "who changes one does not mean the other"
        del named, total, got


def test_one_of_several_results_is_held() -> None:
    x, y = numbers(1, 2), numbers(3, 4)
    f = settled(lambda x, y: (x + y, x * y), x, y)
    held: list[Tensor] = []
    for i in range(8):
        total, product = f(numbers(i, i), y)
        held.append(total if i % 2 else product)
    assert [t.tolist() for t in held[:4]] == [[0, 0], [4, 5], [6, 8], [6, 7]]


def test_a_result_is_as_new_whatever_was_done_to_the_last() -> None:
    x, y = numbers(1, 2), numbers(3, 4)
    f = settled(lambda x, y: x * y, x, y)

    def with_grad(t: Tensor) -> object:
        t.grad = numbers(1, 1)
        return None

    def leaf(t: Tensor) -> object:
        t.requires_grad = True
        return None

    seen: list[Any] = []
    for change in (
        with_grad, leaf, lambda t: t.assign(numbers(0, 0)), lambda t: t.assign(numbers(0, 0)).realize(),
        weakref.ref, lambda t: t.node, lambda t: t.node.storage, lambda t: t.detach(), lambda t: t + 1,
        lambda t: t.reshape(2, 1), lambda t: weakref.finalize(t, seen.append, 1), iter,
    ):  # fmt: skip
        for _ in range(3):
            t = f(x, y)
            assert t.tolist() == [3, 8]
            assert t.grad is None
            assert not t.requires_grad
            kept = change(t)
            dead = isinstance(kept, weakref.ref)
            del t
            if dead:
                assert kept() is None or f(x, y) is not kept(), "who watches it sees it go"
            after = f(x, y)
            assert after.tolist() == [3, 8]
            del after, kept


def test_what_is_made_of_a_result_keeps_its_numbers() -> None:
    x = numbers(1, 2)
    f = settled(lambda x, y: x + y, x, x)
    lazy = [f(numbers(i, i), x) * 1 for i in range(6)]
    leaves = [f(numbers(i, i), x).requires_grad_() for i in range(6)]
    alone = [f(numbers(i, i), x).detach() for i in range(6)]
    for made in (lazy, leaves, alone):
        assert [t.tolist() for t in made] == [[i + 1, i + 2] for i in range(6)]


def test_a_call_inside_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the garbage collector, a signal's handler or a port in Python may make one."""
    x, y = numbers(1, 2), numbers(3, 4)
    f = settled(lambda x, y: x * y, x, y)
    replay = f._replay
    inner: list[Tensor] = []

    def again(start: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            if len(inner) < 3:
                inner.append(x)
                inner[-1] = f(numbers(5, 6), y)
            start()

        return run

    for turn in list(replay._opened):
        turn.start = again(turn.start)
    outer = [f(x, y) for _ in range(5)]
    assert [t.tolist() for t in outer] == [[3, 8]] * 5
    assert [t.tolist() for t in inner] == [[15, 24]] * len(inner)
    assert inner


def test_a_port_that_fails_once() -> None:
    x, y = numbers(1, 2), numbers(3, 4)
    f = settled(lambda x, y: x * y, x, y)
    kept = f(x, y)

    def fails() -> None:
        raise ValueError("once")

    turn = f._replay._idle[0]
    start, turn.start = turn.start, fails
    with pytest.raises(ValueError, match="once"):
        f(x, y)
    turn.start = start
    assert f(x, y).tolist() == kept.tolist() == [3, 8]
    assert len(f._replay._opened) == 2, "the turn was put back"


def test_large_turns_are_never_more_than_two() -> None:
    x = Tensor(np.ones(1 << 19, np.float32)).realize()
    f = settled(lambda x: x + 1, x)
    wrong: list[object] = []

    def call() -> None:
        for _ in range(20):
            if (f(x).numpy() != 2).any():
                wrong.append(1)

    in_threads(call)
    assert not wrong
    assert len(f._replay._opened) == 2


def test_reset_and_capture_anew() -> None:
    x, y = numbers(1, 2), numbers(3, 4)
    scale = 2.0
    f = settled(lambda x, y: x * y * scale, x, y)
    kept = f(x, y)
    scale = 3.0
    f.reset()
    assert not f.is_captured
    for _ in range(4):
        assert f(x, y).tolist() == [9, 24]
    assert kept.tolist() == [6, 16]


def test_it_is_what_it_was_to_those_who_ask() -> None:
    x = numbers(1)
    f = settled(lambda x: x + 1, x)
    assert isinstance(f, type(jit(lambda x: x)))
    assert type(f).__name__ == "Jit"
    assert list(inspect.signature(f).parameters) == ["x"]
    outer = settled(lambda x: f(x) * 2, x)
    assert outer(x).item() == 4


def test_others_change_a_model_while_threads_call_it() -> None:
    model, x = Model(), numbers(1, 1)
    f = settled(lambda x: model(x), x)
    allowed = {((k + 11) * 2.0, (k + 21) * 2.0) for k in range(1, 9)} | {(26.0, 48.0)}
    wrong: list[object] = []
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            got = tuple(f(x).tolist())
            if got not in allowed:
                wrong.append(got)

    threads = [threading.Thread(target=call) for _ in range(3)]
    for t in threads:
        t.start()
    for i in range(200):
        model.w = numbers(i % 8 + 1, i % 8 + 1)
        mine = f(x).tolist()
        if mine != [(i % 8 + 12) * 2, (i % 8 + 22) * 2]:
            wrong.append(mine)
    stop.set()
    for t in threads:
        t.join()
    assert not wrong
