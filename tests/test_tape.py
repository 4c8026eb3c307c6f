"""The tape: memory that is shared over time, and devices that can only launch one kernel after another."""

from __future__ import annotations

import dataclasses
import random
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from jitting import captured, default, tensor, values

from portwright import Tensor
from portwright.core import engine
from portwright.core.device import Ability
from portwright.core.registry import open_device
from portwright.core.tape import Action, Recorder, Tape, Value, assign_memory


@pytest.fixture(autouse=True)
def on_cpu() -> Iterator[None]:
    with default("CPU"):
        yield


def tape(sizes: list[int], *actions: tuple[list[int], list[int]]) -> Tape:
    """A tape of values of these sizes in bytes, and actions that write and read such values."""
    nothing: Any = None
    device = open_device("CPU")
    return Tape([Action(nothing, tuple(w), tuple(r)) for w, r in actions], [Value(device, n) for n in sizes])


def test_a_chain_needs_two_pieces_of_memory() -> None:
    memory = assign_memory(tape([64] * 6, *(([i + 1], [i]) for i in range(5))), ())
    assert sorted(memory) == [1, 2, 3, 4, 5]
    assert len(set(memory.values())) == 2
    assert all(memory[i] is not memory[i + 1] for i in range(1, 5))


def test_lent_values_share_with_nobody() -> None:
    memory = assign_memory(tape([64] * 6, *(([i + 1], [i]) for i in range(5))), {3, 5})
    assert sorted(memory) == [1, 2, 4]


def test_small_values_do_not_hold_large_memory() -> None:
    memory = assign_memory(tape([8, 1 << 20, 8, 8], ([1], [0]), ([2], [1]), ([3], [2])), ())
    assert memory[3] is not memory[1]
    assert memory[1].nbytes == 1 << 20


@pytest.mark.parametrize("seed", range(20))
def test_no_value_is_overwritten_while_it_is_needed(seed: int) -> None:
    rng = random.Random(seed)
    count = 30
    sizes = [rng.choice((8, 16, 64, 100, 4096)) for _ in range(count)]
    actions, made = [], [0]
    while len(made) < count - 1:
        writes = [len(made) + k for k in range(rng.randint(1, min(3, count - len(made))))]
        actions.append((writes, [rng.choice(made[-6:]) for _ in range(rng.randint(1, 3))]))
        made += writes
    lent = {v for v in made[1:] if rng.random() < 0.2}
    t = tape(sizes, *actions)
    memory = assign_memory(t, lent)
    holds: dict[int, int] = {}  # what each buffer holds
    for action in t.actions:
        for v in action.reads:
            assert v not in memory or holds[id(memory[v])] == v
        for v in action.writes:
            if v in memory:
                assert memory[v].nbytes >= sizes[v]
                holds[id(memory[v])] = v
        for v in (*action.writes, *action.reads):
            assert v not in memory or holds[id(memory[v])] == v


def test_what_others_launch_is_not_recorded() -> None:
    recorder = Recorder(False)
    engine.recorder = recorder
    try:
        other = threading.Thread(target=lambda: (tensor(1) + 5).realize())
        other.start()
        other.join()
        (tensor(1) + 6).realize()
    finally:
        engine.recorder = None
    assert len(recorder.tape.actions) == 1


def test_a_device_without_replay_launches_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    device = open_device("CPU")
    plain = dataclasses.replace(device.spec, abilities=device.spec.abilities - {Ability.REPLAY})
    monkeypatch.setattr(device, "spec", plain)
    monkeypatch.setattr(device, "replay", None)
    state = tensor(0, 0)

    def f(x: Tensor) -> Tensor:
        state.assign(state + x)
        return (x * 8).realize() + state

    g = captured(f, tensor(1, 1))
    kept = [g(tensor(i, 10 * i)) for i in range(5)]
    for i, t in enumerate(kept):
        total = sum(range(i + 1))
        np.testing.assert_array_equal(values(t), [8 * i + 2 + total, 80 * i + 2 + 10 * total])
