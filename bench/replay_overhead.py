"""What a jitted call costs besides its kernels: the median of many calls, in µs.

Run it on a quiet machine: ``python -m bench.replay_overhead``. The kernels here work on sixteen numbers, so
nearly all of the time is the call's own: finding the arguments' memory, comparing what the function can see,
lending memory to the result, and one call into the device.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from portwright import Tensor, jit, nn

CALLS = 5000


def median(call: Callable[[], Any]) -> float:
    """Of ``CALLS`` calls, in µs."""
    for _ in range(100):
        call()
    times = []
    for _ in range(CALLS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e6


class Network:
    """A few small layers, with some settings beside them."""

    def __init__(self, layers: int) -> None:
        self.layers = [nn.Linear(16, 16) for _ in range(layers)]
        self.scale, self.names = 0.5, ["a", "b"]

    def __call__(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x).relu()
        return x * self.scale


def main() -> None:
    x, y = (Tensor(np.full(16, v, np.float32)) for v in (1, 2))
    batch = Tensor(np.ones((4, 16), np.float32))
    held: list[Any] = [None]
    turns = [x, y]

    one = jit(lambda a: a + 1)
    two = jit(lambda a, b: a * b)
    state = Tensor(np.ones(16, np.float32))
    moves = jit(lambda: state.assign(state * 0.5 + 1))
    small, large = Network(2), Network(20)
    infer_small, infer_large = jit(lambda a: small(a)), jit(lambda a: large(a))
    optimizer = nn.optim.Adam(nn.parameters(small))

    @jit
    def train(a: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = small(a).square().mean()
        loss.backward()
        optimizer.step(loss)
        return loss

    def keep() -> None:
        held[0] = one(x)

    def alternate() -> None:
        turns.reverse()
        two(*turns)

    for name, call in (
        ("one kernel, its result dropped", lambda: one(x)),
        ("one kernel, its result kept until the next", keep),
        ("one kernel, other arguments each time", alternate),
        ("one kernel that moves a tensor on", moves),
        ("2 layers", lambda: infer_small(batch)),
        ("20 layers", lambda: infer_large(batch)),
        ("2 layers, a step of Adam", lambda: train(batch)),
    ):
        print(f"{name:45}{median(call):8.2f} µs")


if __name__ == "__main__":
    main()
