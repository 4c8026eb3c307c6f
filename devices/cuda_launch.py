"""Kernels of a CUDA device: loading, launching one after another, and many as one graph.

A recording becomes a graph once it is run a second time with nothing rebound in between: making one takes
longer than a few launches, and a recording that is rebound at each turn would never earn it back.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from ..core.device import Buffer, Launch, Spec
from ..core.errors import DeviceError
from ..core.record import dataclass
from .cuda_driver import Driver
from .cuda_guard import DriverError, Guard
from .cuda_memory import Memory


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that is ready to launch.

    Attributes:
        name: in its module.
        function: the driver's.
        module: which must live as long.
        threads: the most of a block that it has registers for.
    """

    name: str
    function: Any
    module: Any
    threads: int


@dataclass(frozen=True, slots=True)
class _Ready:
    """A launch that was checked, with its packed arguments."""

    launch: Launch
    arguments: bytes


class Graph:
    """A graph of the driver's, which goes back to it when nothing refers to it any more."""

    __slots__ = ("_drop", "handle")

    def __init__(self, handle: Any, drop: Callable[[Any], None]) -> None:
        self.handle, self._drop = handle, drop

    def __del__(self) -> None:
        self._drop(self.handle)


@dataclass(slots=True)
class Recording:
    """Launches to run again and again.

    Attributes:
        ready: the launches.
        graph: all of them as one, as they are bound now; None where there is none.
        ran: how often they were run since something was rebound.
        refused: why the driver makes no graph of them; empty when it does, or was not asked yet.
    """

    ready: list[_Ready]
    graph: Graph | None = None
    ran: int = 0
    refused: str = ""


class Launcher:
    """Launches kernels on one device's memory.

    Args:
        spec: of the port: its name and limits.
        guard: of the device's context.
        driver: the device's.
        memory: whose buffers kernels are given.
    """

    def __init__(self, spec: Spec, guard: Guard, driver: Driver, memory: Memory) -> None:
        self.spec, self._guard, self._driver, self._memory = spec, guard, driver, memory
        self._one_at_a_time = threading.Lock()  # the clock, and the stream that graphs are noted on
        self._timed = False

    def load(self, binary: bytes, entries: Sequence[str]) -> list[Kernel]:
        """The kernels named ``entries`` of machine code.

        Raises:
            DeviceError: when the driver does not take it, or it lacks one.
        """
        with self._guard.calls(f"load kernel {', '.join(entries)}"):
            module = self._driver.module(binary)
            functions = [self._driver.function(module, e) for e in entries]
            return [
                Kernel(e, f, module, self._driver.threads(f)) for e, f in zip(entries, functions, strict=True)
            ]

    def launch(self, launch: Launch) -> None:
        """Starts a kernel over ``grid`` blocks of ``block`` threads.

        Raises:
            DeviceError: when an argument is no buffer of this device, when the device or the kernel cannot
                have so many blocks or threads, or when the driver refuses.
        """
        ready = self._checked(launch)
        with self._one_at_a_time, self._guard.calls(f"launch kernel {launch.program.name}"):
            self._driver.begin_timing()
            self._start(ready)
            self._driver.end_timing()
            self._timed = True

    def _start(self, ready: _Ready, noted: bool = False) -> None:
        launch = ready.launch
        if all(launch.grid):
            self._driver.launch(launch.program.function, launch.grid, launch.block, ready.arguments, noted)

    def _checked(self, launch: Launch) -> _Ready:
        """A launch that is within the limits, on memory that is there."""
        kernel, spec = launch.program, self.spec
        if not isinstance(kernel, Kernel):
            raise DeviceError(f"{spec.name} cannot launch a {type(kernel).__name__}: load gives kernels")
        threads, most = prod(launch.block), min(kernel.threads, spec.max_block)
        if not 1 <= threads <= most:
            raise DeviceError(
                f"{spec.name} cannot launch kernel {kernel.name} with {threads:,} threads in a block: it has "
                f"1 to {most:,}"
            )
        if any(g > limit for g, limit in zip(launch.grid, spec.max_grid, strict=True)):
            raise DeviceError(
                f"{spec.name} cannot launch kernel {kernel.name} over {launch.grid} blocks: along the axes "
                f"there are at most {spec.max_grid}"
            )
        if len(launch.buffers) > spec.max_buffers:
            raise DeviceError(
                f"{spec.name} cannot launch kernel {kernel.name} on {len(launch.buffers)} buffers: it takes "
                f"at most {spec.max_buffers}"
            )
        addresses = [self._memory.check(b.handle) for b in launch.buffers]
        return _Ready(launch, struct.pack(f"{len(addresses)}Q", *addresses))

    def seconds(self) -> float:
        """How long the last kernel, or recording, ran, by the device's own clock; waits for it.

        Raises:
            DeviceError: when nothing was launched yet.
        """
        if not self._timed:
            raise DeviceError(f"{self.spec.name} has launched nothing that could be timed")
        with self._one_at_a_time, self._guard.calls("time a kernel"):
            return self._driver.seconds()

    # ------------------------------------------------------------------ recordings

    def record(self, launches: Sequence[Launch]) -> Recording:
        """The launches, checked."""
        return Recording([self._checked(launch) for launch in launches])

    def rebind(self, recording: Recording, launch: int, argument: int, buffer: Buffer) -> None:
        """Sets one argument of one launch to another buffer; a graph that has the old one is given up."""
        old = recording.ready[launch].launch
        buffers = (*old.buffers[:argument], buffer, *old.buffers[argument + 1 :])
        new = Launch(old.program, old.grid, old.block, buffers, old.images)
        recording.ready[launch] = self._checked(new)
        recording.ran, recording.graph = 0, None

    def replay(self, recording: Recording) -> None:
        """Runs the launches in order: as a graph where there is one, else one after another."""
        if not recording.ready:
            return
        with self._one_at_a_time, self._guard.calls(f"replay {len(recording.ready)} kernels"):
            if recording.graph is None and recording.ran and not recording.refused:
                self._note(recording)
            self._driver.begin_timing()
            if recording.graph is not None:
                self._driver.run(recording.graph.handle)
            else:
                for ready in recording.ready:
                    self._start(ready)
            self._driver.end_timing()
            self._timed = True
        recording.ran += 1

    def _note(self, recording: Recording) -> None:
        """Makes a graph of the launches; a driver that refuses is asked no more, and they go one by one."""
        try:
            self._driver.begin_capture()
            try:
                for ready in recording.ready:
                    self._start(ready, noted=True)
            finally:
                graph = Graph(self._driver.end_capture(), self._drop)
        except DriverError as e:
            recording.refused = str(e)
        else:
            recording.graph = graph

    def _drop(self, graph: Any) -> None:
        if self._guard.reachable():
            with self._guard.calls("give a graph back"):
                self._driver.drop(graph)
