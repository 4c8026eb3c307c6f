"""The short way through a captured function: taken when all is as it was, and never otherwise."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from portwright import Tensor, jit
from portwright.core import trace
from portwright.core.errors import JitError
from portwright.core.replay import Replay


def numbers(*values: float) -> Tensor:
    return Tensor(np.array(values, np.float32)).realize()


def captured(f: Callable[..., Tensor], *args: Tensor, **kwargs: Tensor) -> Any:
    made = jit(f)
    for _ in range(4):  # warmed up, captured, and each player bound
        made(*args, **kwargs)
    return made


@pytest.fixture
def no_long_way(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called on, a replay's long way fails."""

    def fails(self: Replay, tensors: Any) -> Any:
        raise AssertionError("the long way")

    return lambda: monkeypatch.setattr(Replay, "run", fails)


def test_the_same_tensors_go_the_short_way(no_long_way: Callable[[], None]) -> None:
    x, y = numbers(1, 2), numbers(3, 4)
    f = captured(lambda x, y: x * y + 1, x, y)
    no_long_way()
    for _ in range(5):
        assert f(x, y).tolist() == [4, 9]


def test_names_that_the_short_way_might_use_itself(no_long_way: Callable[[], None]) -> None:
    names = [
        "turns",
        "turn",
        "nodes",
        "lease",
        "out",
        "new",
        "len",
        "map",
        "engine",
        "trace",
        "Tensor",
        "device",
        "a0",
        "h1",
        "k1",
        "GONE",
    ]
    given = {name: numbers(i, -i) for i, name in enumerate(names)}

    def total(**held: Tensor) -> Tensor:
        return sum((i * t for i, t in enumerate(held.values())), numbers(0, 0))

    f = captured(total, **given)
    wanted = sum(i * i for i in range(len(names)))
    no_long_way()
    assert f(**given).tolist() == [wanted, -wanted]
    assert f(**dict(reversed(given.items()))).tolist() == [wanted, -wanted]  # by name, in whatever order


def test_by_position_and_by_name(no_long_way: Callable[[], None]) -> None:
    x, y, z = numbers(1), numbers(10), numbers(100)
    f = captured(lambda x, z, y: x + 2 * y + 3 * z, x, z=z, y=y)
    no_long_way()
    assert f(x, y=y, z=z).item() == 321


def test_a_result_that_is_held_keeps_its_numbers() -> None:
    x, y = numbers(1, 2), numbers(3, 4)
    f = captured(lambda x, y: x + y, x, y)
    kept = []
    for i in range(12):
        x = f(x, y)  # each call reads what another gave
        kept.append(x)
        assert kept[i // 2].tolist() == [1 + 3 * (i // 2 + 1), 2 + 4 * (i // 2 + 1)]


def test_other_memory_and_other_calls_go_the_long_way() -> None:
    x, y = numbers(1, 2), numbers(3, 4)
    f = captured(lambda x, y: x * y, x, y)
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
    f = captured(lambda x: x * held["factor"], x)
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
    f = captured(lambda x: x + 1, x)
    heard: list[object] = []
    stop = trace.listen(heard.append, kernels=False)
    try:
        f(x)
    finally:
        stop()
    assert any("replayed" in str(event) for event in heard)


def test_threads_take_turns() -> None:
    x, y = numbers(*range(64)), numbers(*range(64))
    f = captured(lambda x, y: x * y + x, x, y)
    wanted = [i * i + i for i in range(64)]
    wrong: list[object] = []

    def call() -> None:
        for _ in range(200):
            if f(x, y).tolist() != wanted:
                wrong.append(1)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
