"""Running a kernel's text in a simulator, for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from portwright.core.device import Buffer, Launch
from portwright.devices.simulator import Simulator

Array = np.ndarray


def run(
    sim: Simulator,
    source: str,
    *arrays: Array,
    grid: Sequence[int] = (1, 1, 1),
    block: Sequence[int] = (32, 1, 1),
    name: str = "k",
) -> list[Array]:
    """What the buffers hold after one launch of ``name``."""
    program = sim.load(sim.compile(source), [name])[0]
    buffers = []
    for array in arrays:
        buffers.append(Buffer(sim, array.nbytes))
        buffers[-1].write(memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8)))
    sim.launch(Launch(program, tuple(grid), tuple(block), tuple(buffers)))
    out = []
    for array, buffer in zip(arrays, buffers, strict=True):
        host = np.empty(array.size, array.dtype)
        buffer.read(memoryview(host.view(np.uint8)))
        out.append(host.reshape(array.shape))
    return out
