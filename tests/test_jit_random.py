"""jit against the function itself: random functions of shared tensors, with other hands in between."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from jitting import default, tensor

from portwright import Tensor, jit

STATES, CALLS, STEPS = 4, 8, 6
ACTIONS = ("assign", "assign", "set", "swap", "alias", "temporary", "realize", "read")
BETWEEN = ("nothing", "nothing", "arguments", "assign", "replace", "alias", "swap", "feedback")


@dataclass
class State:
    """What a function finds by itself."""

    t: list[Tensor]


@dataclass(frozen=True)
class Action:
    """One line of a random function."""

    what: str
    i: int
    j: int
    argument: int
    factor: float


def function(rng: random.Random) -> Callable[[State, Tensor, Tensor], list[Tensor]]:
    actions = [
        Action(
            rng.choice(ACTIONS),
            rng.randrange(STATES),
            rng.randrange(STATES),
            rng.randrange(2),
            rng.choice((0.5, -1.5)),
        )
        for _ in range(rng.randint(1, STEPS))
    ]
    returned = [rng.randrange(STATES + 2) for _ in range(rng.randint(0, 3))]

    def f(state: State, a: Tensor, b: Tensor) -> list[Tensor]:
        t, last = state.t, a + b
        for x in actions:
            if x.what == "assign":
                t[x.i].assign(t[x.i] * x.factor + t[x.j])
            elif x.what == "set":
                t[x.i] = t[x.j] * x.factor + (a, b)[x.argument]
            elif x.what == "swap":
                t[x.i], t[x.j] = t[x.j], t[x.i]
            elif x.what == "alias":
                t[x.i] = t[x.j].detach()
            elif x.what == "temporary":
                last = last * x.factor + t[x.i]
            elif x.what == "realize":
                last.realize()
            else:
                last = t[x.i].reshape(2, 1).expand(2, 2).sum(1) * x.factor
        return [[*t, a, last][r] for r in returned]

    return f


@dataclass
class Side:
    """A function with its tensors: as written, or captured."""

    call: Callable[..., list[Tensor]]
    state: State
    arguments: list[Tensor]
    returned: list[Tensor]

    def meddle(self, what: str, i: int, j: int, v: np.ndarray) -> None:
        t = self.state.t
        if what == "arguments":
            self.arguments = [tensor(*v), tensor(*(v * 2))]
        elif what == "assign":
            t[i].assign(tensor(*v))
        elif what == "replace":
            t[i] = tensor(*v)
        elif what == "alias":
            t[i] = t[j].detach()
        elif what == "swap":
            self.arguments.reverse()
        elif what == "feedback" and self.returned:
            self.arguments[0] = self.returned[0].detach()

    def everything(self) -> list[Tensor]:
        return [*self.returned, *self.state.t, *self.arguments]


@pytest.mark.parametrize("seed", range(25))
def test_replays_are_what_the_function_does(seed: int) -> None:
    with default("NUMPY"):
        rng = random.Random(seed)
        f = function(rng)
        captured = jit(f)
        plain, replayed = (
            Side(call, State([tensor(k + 1, k - 2) for k in range(STATES)]), [tensor(1, 2), tensor(3, 4)], [])
            for call in (f, captured)
        )
        kept: list[tuple[Tensor, np.ndarray]] = []
        for _ in range(CALLS):
            what, i, j = rng.choice(BETWEEN), rng.randrange(STATES), rng.randrange(STATES)
            v = np.array([rng.uniform(-1, 1), rng.uniform(-1, 1)], np.float32)
            for side in (plain, replayed):
                side.meddle(what, i, j, v)
                side.returned = side.call(side.state, *side.arguments)
            for want, got in zip(plain.everything(), replayed.everything(), strict=True):
                np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-5)
            for old, value in kept:
                np.testing.assert_array_equal(old.numpy(), value)
            if rng.random() < 0.6:
                kept += [(t.detach(), t.numpy()) for t in replayed.everything()]
                kept.append((replayed.state.t[i] * 2, replayed.state.t[i].numpy() * 2))
        assert captured.is_captured
