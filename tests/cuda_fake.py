"""A fake of NVIDIA's driver and compiler, for tests of what stands above them.

Memory is the host's and kernels are run by the simulator. What is launched is done when somebody waits for
it, as on a device: a copy that does not wait for its pinned memory, or a read that does not wait for a
kernel, shows.
Every call is noted, and one that is made without the context is a fault.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from portwright.core.device import Buffer, Launch
from portwright.devices.cuda import CUDA
from portwright.devices.cuda_guard import DriverError, DriverFullError
from portwright.devices.cuda_sim import CUDASim
from portwright.devices.cuda_spec import Facts

ALIGNMENT = 256


class FakeCompiler:
    """Compiles for the simulator."""

    version = "fake 1.0"
    architectures = (80, 90)

    def __init__(self, sim: CUDASim) -> None:
        self.sim = sim
        self.compiled: list[str] = []

    def compile(self, source: str, architecture: str) -> bytes:
        self.compiled.append(architecture)
        return self.sim.compile(source)


class FakeDriver:
    """What ``cuda_driver.Driver`` is to the port.

    Attributes:
        calls: the names of the methods that were called, in order.
        fails: an error to raise from the next call of a method, by its name.
        is_lost: whether every call fails from now on, as after an illegal access.
        refuses_graphs: whether captures fail.
    """

    def __init__(
        self, sim: CUDASim, total_bytes: int = 64 << 20, capability: tuple[int, int] = (8, 0)
    ) -> None:
        self.facts = Facts(capability, processors=4, total_bytes=total_bytes)
        self.described = {"device": "fake"}
        self.calls: list[str] = []
        self.fails: dict[str, Exception] = {}
        self.is_lost = self.refuses_graphs = False
        self._sim = sim
        self._memory = np.zeros(total_bytes, np.uint8)
        self._live: dict[int, int] = {}
        self._kept: dict[int, int] = {}
        self._queue: list[Callable[[], None]] = []
        self._done = self._marked = 0
        self._noted: list[Callable[[], None]] | None = None
        self._depth = threading.local()
        self.graphs = 0

    # ------------------------------------------------------------------ contexts

    @property
    def depth(self) -> int:
        """How many times the context was pushed and not popped, in this thread."""
        return getattr(self._depth, "n", 0)

    def _called(self, name: str) -> None:
        assert self.depth > 0, f"{name} was called without the context"
        self.calls.append(name)
        if name in self.fails:
            raise self.fails.pop(name)
        if self.is_lost:
            raise DriverError("an illegal memory access was encountered")

    def push(self) -> None:
        self._depth.n = self.depth + 1

    def pop(self) -> None:
        self._depth.n = self.depth - 1
        assert self.depth >= 0

    def close(self) -> None:
        self.calls.append("close")

    def _run(self, until: int | None = None) -> None:
        while self._queue and (until is None or self._done < until):
            self._queue.pop(0)()
            self._done += 1

    def synchronize(self) -> None:
        self._called("synchronize")
        self._run()

    # ------------------------------------------------------------------ memory

    @property
    def live(self) -> int:
        """Buffers that were not given back."""
        return len(self._live)

    def alloc(self, nbytes: int) -> int:
        self._called("alloc")
        size = -(-nbytes // ALIGNMENT) * ALIGNMENT
        taken = sorted((self._live | self._kept).items())
        at = ALIGNMENT
        for address, length in taken:
            if address - at >= size:
                break
            at = address + length
        if at + size > self._memory.size:
            raise DriverFullError("out of memory")
        self._live[at] = size
        return at

    def free(self, address: int) -> None:
        self._called("free")
        self._kept[address] = self._live.pop(address)  # the pool keeps it until it is trimmed

    def trim(self) -> None:
        self.synchronize()
        self._called("trim")
        self._kept.clear()

    def room(self) -> tuple[int, int]:
        self._called("room")
        return self._memory.size - sum(self._live.values()), self._memory.size

    def pinned(self, nbytes: int) -> Any:
        self._called("pinned")
        return np.zeros(nbytes, np.uint8)

    def to_device(self, address: int, pinned: Any) -> None:
        self._called("to_device")
        self._queue.append(lambda: self._memory.__setitem__(slice(address, address + pinned.size), pinned))

    def to_host(self, pinned: Any, address: int) -> None:
        self._called("to_host")
        self._queue.append(
            lambda: pinned.__setitem__(slice(None), self._memory[address : address + pinned.size])
        )

    def mark(self) -> int:
        self._called("mark")
        return self._done + len(self._queue)

    def reach(self, mark: int) -> None:
        self._called("reach")
        self._run(mark)

    # ------------------------------------------------------------------ kernels

    def module(self, binary: bytes) -> bytes:
        self._called("module")
        return binary

    def function(self, module: bytes, name: str) -> Any:
        self._called("function")
        return self._sim.load(module, [name])[0]

    def threads(self, function: Any) -> int:
        self._called("threads")
        return 512

    def launch(self, function: Any, grid: Any, block: Any, arguments: bytes, noted: bool = False) -> None:
        self._called("noted" if noted else "launch")
        addresses = struct.unpack(f"{len(arguments) // 8}Q", arguments)
        queue = self._queue if not noted else self._noted
        assert queue is not None, "a launch was noted outside of a capture"
        queue.append(lambda: self._compute(function, grid, block, addresses))

    def _compute(self, function: Any, grid: Any, block: Any, addresses: Any) -> None:
        sizes = self._live | self._kept
        spans = [self._memory[a : a + sizes[a]] for a in addresses]
        buffers = [Buffer(self._sim, span.size) for span in spans]
        for buffer, span in zip(buffers, spans, strict=True):
            buffer.write(memoryview(span))
        self._sim.launch(Launch(function, grid, block, tuple(buffers)))
        for buffer, span in zip(buffers, spans, strict=True):
            buffer.read(memoryview(span))

    def begin_timing(self) -> None:
        self._called("begin_timing")

    def end_timing(self) -> None:
        self._called("end_timing")

    def seconds(self) -> float:
        self._called("seconds")
        return 1e-6

    # ------------------------------------------------------------------ graphs

    def begin_capture(self) -> None:
        self._called("begin_capture")
        if self.refuses_graphs:
            raise DriverError("operation not supported")
        self._noted = []

    def end_capture(self) -> Any:
        self._called("end_capture")
        graph, self._noted = self._noted, None
        self.graphs += 1
        return graph

    def run(self, graph: Any) -> None:
        self._called("run")
        self._queue.extend(graph)

    def drop(self, graph: Any) -> None:
        self._called("drop")
        self.graphs -= 1


class FakeCUDA(CUDA):
    """The port on a fake driver."""

    def __init__(self, total_bytes: int = 64 << 20, capability: tuple[int, int] = (8, 0)) -> None:
        sim = CUDASim()
        self.fake, self.compiler = FakeDriver(sim, total_bytes, capability), FakeCompiler(sim)
        self._open(self.fake, self.compiler)  # type: ignore[arg-type]
