"""jit: Python values that a function can see must stay as they were captured."""

from __future__ import annotations

import types
from collections.abc import Iterator

import numpy as np
import pytest
from jitting import captured, default, tensor, values

from portwright import Tensor, jit
from portwright.core.errors import JitError
from portwright.core.registry import set_default

SCALE = 2.0
SETTINGS = {"scale": 3.0, "names": ["a", "b"]}
PARAMETER: list[Tensor] = []


@pytest.fixture(params=["CPU", "NUMPY"], autouse=True)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    with default(request.param) as name:
        yield name


def helper(x: Tensor) -> Tensor:
    return x * SCALE


def test_a_global(monkeypatch: pytest.MonkeyPatch) -> None:
    f = captured(lambda x: helper(x), tensor(1))
    assert values(f(tensor(2))) == [4]
    monkeypatch.setitem(globals(), "SCALE", 5.0)
    with pytest.raises(JitError, match=r"SCALE was 2.0 and is 5.0.*reset\(\)"):
        f(tensor(2))
    f.reset()
    assert values(f(tensor(2))) == [10]


def test_another_function_under_the_same_name(monkeypatch: pytest.MonkeyPatch) -> None:
    f = captured(lambda x: helper(x), tensor(1))
    monkeypatch.setitem(globals(), "helper", lambda x: x)
    with pytest.raises(JitError, match="helper was a function"):
        f(tensor(2))


def test_an_element_of_a_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    f = captured(lambda x: x * SETTINGS["scale"] * len(SETTINGS["names"]), tensor(1))  # type: ignore[arg-type]
    monkeypatch.setitem(SETTINGS, "scale", 4.0)
    with pytest.raises(JitError, match=r"SETTINGS\['scale'\] was 3.0 and is 4.0"):
        f(tensor(1))
    monkeypatch.setitem(SETTINGS, "scale", 3.0)
    assert values(f(tensor(1))) == [6]
    monkeypatch.setitem(SETTINGS, "more", 1)
    with pytest.raises(JitError, match="SETTINGS had 2 elements and has 3"):
        f(tensor(1))
    monkeypatch.delitem(SETTINGS, "more")
    names = SETTINGS["names"]
    assert isinstance(names, list)
    names.append("c")
    with pytest.raises(JitError, match=r"SETTINGS\['names'\] had 2 elements and has 3"):
        f(tensor(1))
    names.pop()
    assert values(f(tensor(1))) == [6]


def test_a_variable_around_the_function() -> None:
    k = 2.0

    def scaled(x: Tensor) -> Tensor:
        return x * k

    f = captured(lambda x: scaled(x), tensor(1))
    k = 2.0 * float("1")  # equal, though another object
    assert values(f(tensor(3))) == [6]
    k = 3.0
    with pytest.raises(JitError, match=r"k was 2.0 and is 3.0"):
        f(tensor(3))


def test_a_default() -> None:
    def f(x: Tensor, k: float = 2.0) -> Tensor:
        return x * k

    g = captured(f, tensor(1))
    f.__defaults__ = (3.0,)
    with pytest.raises(JitError, match=r"its defaults was \(2.0,\) and is \(3.0,\)"):
        g(tensor(1))


def test_an_attribute_of_an_object_and_of_its_class() -> None:
    class Base:
        __slots__ = ("k",)
        offset = 1.0

    class Model(Base):
        def __init__(self) -> None:
            self.k, self.inner = 2.0, types.SimpleNamespace(power=3)

        def __call__(self, x: Tensor) -> Tensor:
            return x * self.k + self.offset + self.inner.power

    m = Model()
    f = captured(m, tensor(1))
    assert values(f(tensor(2))) == [8]
    for change, undo, what in (
        (lambda: setattr(m, "k", 3.0), lambda: setattr(m, "k", 2.0), "k was 2.0 and is 3.0"),
        (
            lambda: setattr(Base, "offset", 5.0),
            lambda: setattr(Base, "offset", 1.0),
            "offset was 1.0 and is 5.0",
        ),
        (
            lambda: setattr(m.inner, "power", 4),
            lambda: setattr(m.inner, "power", 3),
            "inner.power was 3 and is 4",
        ),
        (lambda: setattr(m, "new", 4), lambda: delattr(m, "new"), "had 1 elements and has 2"),
    ):
        change()
        with pytest.raises(JitError, match=what):
            f(tensor(2))
        undo()
        assert values(f(tensor(2))) == [8]


def test_a_module_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    config = types.ModuleType("some_config")
    config.rate = 2.0  # type: ignore[attr-defined]
    config.inner = types.ModuleType("some_config.inner")  # type: ignore[attr-defined]
    config.inner.power = 1  # type: ignore[attr-defined]
    monkeypatch.setitem(globals(), "config", config)
    f = captured(uses_config, tensor(1))
    config.rate = 3.0  # type: ignore[attr-defined]
    with pytest.raises(JitError, match=r"config.rate was 2.0 and is 3.0"):
        f(tensor(1))
    config.rate = 2.0  # type: ignore[attr-defined]
    config.inner.power = 2  # type: ignore[attr-defined]
    with pytest.raises(JitError, match=r"config.inner.power was 1 and is 2"):
        f(tensor(1))


def uses_config(x: Tensor) -> Tensor:
    return x * config.rate * config.inner.power  # type: ignore[name-defined] # noqa: F821


def test_an_array_and_a_set() -> None:
    table, chosen = np.array([1.0, 2.0], np.float32), {1, 2}
    f = captured(lambda x: x * Tensor(table) * len(chosen), tensor(1, 1))
    assert values(f(tensor(1, 1))) == [2, 4]
    table[0] = 7
    with pytest.raises(JitError, match="table has other elements"):
        f(tensor(1, 1))
    table[0] = 1
    chosen.add(3)
    with pytest.raises(JitError, match="chosen has other elements"):
        f(tensor(1, 1))


def test_another_tensor_in_a_list() -> None:
    PARAMETER[:] = [tensor(2), tensor(3)]
    f = captured(lambda x: x * PARAMETER[0] + PARAMETER[1], tensor(1))
    PARAMETER[0] = tensor(10)
    assert values(f(tensor(1))) == [13]
    PARAMETER[1] = tensor(1, 2)
    with pytest.raises(JitError, match=r"shape of PARAMETER\[1\] was \(1,\) and is \(2,\)"):
        f(tensor(1))
    PARAMETER[1] = None  # type: ignore[call-overload]
    with pytest.raises(JitError, match=r"PARAMETER\[1\] was a float32 tensor of shape \(2,\) and is None"):
        f(tensor(1))


def test_python_state_that_the_function_changes_is_refused() -> None:
    class Counter:
        def __init__(self) -> None:
            self.n = 0
            self.log: list[int] = []

    c = Counter()

    def count(x: Tensor) -> Tensor:
        c.n += 1
        return x + c.n

    f = jit(count)
    f(tensor(1))
    with pytest.raises(JitError, match=r"c.n was 1 and is 2 after the call; a replay runs no Python code"):
        f(tensor(1))

    g = jit(lambda x: c.log.append(1))
    g(tensor(1))
    with pytest.raises(JitError, match=r"c.log had 1 elements and has 2 after the call"):
        g(tensor(1))


def test_the_default_device_is_part_of_it(device: str) -> None:
    f = captured(lambda: Tensor.ones(2) + 1)
    set_default("NUMPY" if device == "CPU" else "CPU")
    with pytest.raises(JitError, match=f"the default device was '{device}'"):
        f()
