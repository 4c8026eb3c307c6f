"""The process of a search: runs kernels that may be wrong, slow, or the end of it.

    python -m portwright.core.tune_worker DEVICE

A line of JSON for each kernel: the first is the heuristic's, which says what is right and what is slow;
each other is answered with its times ÷ that one's, turn by turn, and with what is wrong with it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .cache import compile_cache, digest
from .device import Buffer, Device, Launch
from .dtype import DType, as_dtype
from .record import dataclass
from .registry import open_device

TURNS = 7
"""Of both kernels, one after the other."""
BURST = 4e-3
"""Seconds of one turn of one kernel, about."""
ENOUGH = 2.0
"""Seconds of turns after which there are no more than two."""
HOPELESS = 1.3
"""A candidate that takes so many times as long in its first two turns has no more."""

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Runnable:
    """A kernel on its own buffers."""

    device: Device
    launch: Launch
    outputs: tuple[tuple[DType, Buffer], ...]

    def run(self, times: int = 1) -> float:
        """Runs it so many times; seconds of one."""
        start = time.perf_counter()
        for _ in range(times):
            self.device.launch(self.launch)
        self.device.synchronize()
        return (time.perf_counter() - start) / times

    def results(self) -> list[Array]:
        """What it wrote."""
        out = []
        for dtype, buffer in self.outputs:
            data = np.empty(buffer.nbytes, np.uint8)
            buffer.read(memoryview(data))
            out.append(data.view(dtype.numpy))
        return out


def prepare(order: dict[str, Any], device: Device, inputs: list[Buffer]) -> Runnable:
    """A kernel ready to run; of the buffers, what it writes is its own."""
    source, name = order["source"], order["name"]
    binary = compile_cache().get(digest(device.compiler_key(), source)) or device.compile(source)
    (handle,) = device.load(binary, [name])
    given = iter(inputs)
    outputs, buffers = [], []
    for text, size, written in order["params"]:
        dtype = as_dtype(text)
        buffer = Buffer(device, size * dtype.itemsize) if written else next(given)
        buffers.append(buffer)
        if written:
            buffer.write(memoryview(np.full(buffer.nbytes, 0xA5, np.uint8)))
            outputs.append((dtype, buffer))
    launch = Launch(handle, (order["grid"], 1, 1), (order["block"], 1, 1), tuple(buffers), ())
    return Runnable(device, launch, tuple(outputs))


def draw(order: dict[str, Any], device: Device) -> list[Buffer]:
    """Inputs: floats around 1 of both signs, small integers."""
    random = np.random.default_rng(0)
    out = []
    for text, size, written in order["params"]:
        if written:
            continue
        dtype = as_dtype(text)
        if dtype.is_float:
            values = random.uniform(0.5, 1.5, size) * random.choice([-1.0, 1.0, 1.0], size)
        else:
            values = random.integers(0, 2 if dtype.is_bool else 4, size)
        array = values.astype(dtype.numpy)
        buffer = Buffer(device, size * dtype.itemsize)
        buffer.write(memoryview(np.ascontiguousarray(array).view(np.uint8)))
        out.append(buffer)
    return out


def difference(right: list[Array], got: list[Array], dtypes: list[DType], terms: int) -> str:
    """What is wrong with results, in words; "" of those that differ by another order of sums at most."""
    for i, (a, b, dtype) in enumerate(zip(right, got, dtypes, strict=True)):
        if not dtype.is_float:
            if not np.array_equal(a, b):
                return f"out{i} differs in {np.count_nonzero(a != b)} elements"
            continue
        x, y = a.astype(np.float64), b.astype(np.float64)
        finite = np.isfinite(x)
        if not np.array_equal(x[~finite], y[~finite], equal_nan=True):
            return f"out{i} differs in what is not finite"
        scale = float(np.max(np.abs(x), where=finite, initial=0.0))
        allowed = dtype.eps * (4 + terms**0.5) * 2 * scale
        off = np.abs(x - y)[finite]
        if off.size and not float(off.max()) <= allowed:
            return f"out{i} is off by {off.max():.3g} where {allowed:.3g} is allowed"
    return ""


def compare(usual: Runnable, candidate: Runnable, terms: int) -> dict[str, Any]:
    """A candidate beside the heuristic's kernel, which has run."""
    candidate.run()
    dtypes = [dtype for dtype, _ in usual.outputs]
    fault = difference(usual.results(), candidate.results(), dtypes, terms)
    if fault:
        return {"ratios": [], "fault": fault}
    times = max(1, int(BURST / max(usual.run(), 1e-7)))
    ratios: list[float] = []
    end = time.perf_counter() + ENOUGH
    while len(ratios) < TURNS and (len(ratios) < 2 or time.perf_counter() < end):
        ratios.append(candidate.run(times) / usual.run(times))
        if len(ratios) == 2 and min(ratios) > HOPELESS:
            break
    return {"ratios": ratios[1:] if len(ratios) > 2 else ratios, "fault": ""}  # the first warms up


def main(name: str) -> None:
    """Answers until there are no more lines. What else is printed goes to the error stream."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    device = open_device(name)
    say: Callable[[object], None] = lambda answer: print(json.dumps(answer), file=answers)  # noqa: E731
    usual: Runnable | None = None
    inputs: list[Buffer] = []
    terms = 1
    for line in sys.stdin:
        order = json.loads(line)
        if usual is None:
            inputs, terms = draw(order, device), order["terms"]
            usual = prepare(order, device, inputs)
            usual.run()
            say({"seconds": usual.run()})
            continue
        try:
            say(compare(usual, prepare(order, device, inputs), terms))
        except Exception as e:
            say({"ratios": [], "fault": f"{type(e).__name__}: {e}"[:300]})


if __name__ == "__main__":
    main(sys.argv[1])
