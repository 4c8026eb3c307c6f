"""The ways to call a captured function: by position and by name, with numbers and nested tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from jitting import numbers, settled

from portwright import Tensor
from portwright.core.errors import JitError
from portwright.core.replay import Replay


def test_what_could_be_passed_by_position_is_passed_so_by_name_too(no_long_way: Callable[[], None]) -> None:
    x, y, z = numbers(7), numbers(2), numbers(100)
    f = settled(lambda b, a: b - a, x, y)  # in alphabetical order they would be the other way round
    g = settled(lambda b, a: b - a, b=x, a=y)
    h = settled(lambda b, *, a, c=1.0: b - a * c, x, a=y)
    many = settled(lambda b, *others: b - others[0] + others[1], x, y, z)
    no_long_way()
    for called in (f, g):
        got = [called(x, y).item(), called(x, a=y).item(), called(a=y, b=x).item()]
        assert got == [5, 5, 5]
    got = [h(x, a=y).item(), h(a=y, b=x).item()]
    assert got == [5, 5]
    assert many(x, y, z).item() == 105


def test_calls_that_the_function_itself_takes_otherwise() -> None:
    x, y = numbers(7), numbers(2)

    def only_by_position(x: Any, /, **others: Any) -> Any:
        return x - others["x"] if others else x * 1

    f = settled(only_by_position, x, x=y)
    assert f(x, x=y).item() == 5
    assert f(y, x=x).item() == -5
    with pytest.raises(JitError):
        f(x, y)

    def with_number(k: float, /, **others: Any) -> Any:
        return others["k"] * k

    g = settled(with_number, 2.0, k=x)
    assert g(2.0, k=x).item() == 14
    with pytest.raises(JitError, match=r"argument k was 2.0 and is 3.0"):
        g(3.0, k=x)

    def optional(x: Any, k: float = 3.0, m: float = 1.0) -> Any:
        return x * k * m

    h = settled(optional, x, m=2.0)
    assert h(x, m=2.0).item() == h(m=2.0, x=x).item() == 42
    for args, kwargs in (((x,), {}), ((x, 3.0, 2.0), {}), ((x,), {"k": 3.0, "m": 2.0}), ((), {"m": 2.0})):
        with pytest.raises(JitError):
            h(*args, **kwargs)
    with pytest.raises(JitError):
        h(x, m=2.0, wrong=1)


@pytest.mark.parametrize("name", ["_h1", "_turn", "_self", "_rest", "class", "two words", "_argument0"])
def test_names_that_cannot_be_parameters(name: str) -> None:
    x, y = numbers(7), numbers(2)
    f = settled(lambda x, **others: x - others[name], x, **{name: y})
    assert f(x, **{name: y}).item() == f(**{name: y, "x": x}).item() == 5


def test_a_partial_function(no_long_way: Callable[[], None]) -> None:
    x, y = numbers(7), numbers(2)

    def scaled(k: float, x: Tensor, y: Tensor, m: float = 1.0) -> Tensor:
        return (x - y) * k * m

    f = settled(partial(scaled, 2.0, m=3.0), x, y)
    g = settled(partial(scaled, 2.0, x=x), y=y)
    no_long_way()
    got = [f(x, y).item(), f(y=y, x=x).item()]
    assert got == [30, 30]
    assert g(y=y).item() == 10


def test_numbers_and_nested_arguments(no_long_way: Callable[[], None]) -> None:
    x, y = numbers(1, 2), numbers(3, 4)

    def total(batch: Any, k: float, flag: bool = False) -> Tensor:
        return (batch["x"] * batch["rest"][0] + batch["rest"][1][0]) * (k if flag else 1)

    f = settled(total, {"x": x, "rest": [y, (x,)]}, 2.0, True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Replay, "run", None)
        assert f({"x": x, "rest": [y, (x,)]}, float("2"), flag=True).tolist() == [8, 20]
    assert f({"x": y, "rest": [y, (x,)]}, 2.0, True).tolist() == [20, 36]
    good = {"x": x, "rest": [y, (x,)]}
    for batch, k, flag in (
        ({"rest": [y, (x,)], "x": x}, 2.0, True),
        ({"x": x, "rest": (y, (x,))}, 2.0, True),
        ({"x": x, "rest": [y, (x, x)]}, 2.0, True),
        ({"x": x, "rest": [y, (2.0,)]}, 2.0, True),
        ({**good, "more": x}, 2.0, True),
        (good, 2, True), (good, -2.0, True), (good, 2.0, 1), (good, x, True), (x, 2.0, True),
    ):  # fmt: skip
        with pytest.raises(JitError):
            f(batch, k, flag)
    f(good, 2.0, True), f(good, 2.0, True)
    no_long_way()
    assert f(good, 2.0, True).tolist() == [8, 20]


def test_a_zero_is_not_the_other_zero_and_true_is_not_one() -> None:
    x = numbers(1, 2)
    f = settled(lambda x, k: x * k, x, 0.0)
    with pytest.raises(JitError, match=r"k was 0.0 and is -0.0"):
        f(x, -0.0)
    g = settled(lambda x, k: x * k, x, 1)
    for k in (True, 1.0):
        with pytest.raises(JitError):
            g(x, k)


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

    f = settled(total, **given)
    wanted = sum(i * i for i in range(len(names)))
    no_long_way()
    assert f(**given).tolist() == [wanted, -wanted]
    assert f(**dict(reversed(given.items()))).tolist() == [wanted, -wanted]  # by name, in whatever order


def test_by_position_and_by_name(no_long_way: Callable[[], None]) -> None:
    x, y, z = numbers(1), numbers(10), numbers(100)
    f = settled(lambda x, z, y: x + 2 * y + 3 * z, x, z=z, y=y)
    no_long_way()
    assert f(x, y=y, z=z).item() == 321
