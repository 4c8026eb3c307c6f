"""A chip before silicon: the vendor's simulator is a process that speaks the protocol of ``sim_protocol``.

A port names what compiles its kernels and what starts the simulator. Memory, programs, launches, time limits,
cycle counts and what happens when the simulator ends are here. What a simulator held ends with it: the next
thing that is asked starts another, old buffers say that they are lost, and programs are loaded again.
"""

from __future__ import annotations

import gc
import os
import shlex
import threading
import weakref
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import ClassVar

from ..core.device import Ability, Evidence, Launch, Spec
from ..core.errors import DeviceError, LostError, OutOfMemoryError
from ..core.record import dataclass
from . import sim_protocol as protocol
from .command_compiler import CommandCompiler
from .compiled_port import CompiledPort
from .sim_limit import sim_seconds
from .sim_process import Answer, SimProcess
from .sim_protocol import FrameError, Hello, Status, Verb

MOST_DATA = 16 << 20
"""Bytes of one WRITE or READ: enough that the way there costs nothing. Each has a time limit of its own."""


@dataclass(frozen=True, eq=False, slots=True)
class Memory:
    """A buffer of one run of a simulator."""

    home: SimProcess
    number: int
    nbytes: int


@dataclass(eq=False, slots=True)
class Kernel:
    """A kernel, with what it takes to load it again into another run."""

    binary: bytes = field(repr=False)
    entry: str
    home: SimProcess | None = None
    number: int = 0


class SubprocessSimulator(CompiledPort):
    """A port whose chip is a simulator in a process of its own. A subclass gives ``command`` and a dialect.

    Args:
        spec: what the chip can do; launch limits are cut to the simulator's own, and the evidence is
            ``EMULATED`` whatever it says.
        compiler: what makes a binary image of a kernel's source.

    Raises:
        DeviceError: when the simulator cannot be started, or does not speak the protocol.
    """

    compiler: CommandCompiler
    seconds: ClassVar[float] = 120.0
    """How long a request may take; ``PORTWRIGHT_SIM_SECONDS`` overrules it."""
    clock_hz: ClassVar[float] = 0.0
    """The chip's clock: seconds are cycles of it. 0: not said, and no seconds are claimed."""

    def __init__(self, spec: Spec, compiler: CommandCompiler) -> None:
        self._lock = threading.RLock()
        self._asking = False
        self._held = 0
        self._launched: SimProcess | None = None
        self.compiler = compiler
        self.spec = spec
        self._hello: Hello | None = None
        self._process: SimProcess | None = None
        _opened.add(self)
        with self._lock:
            home = self._running()
        assert self._hello is not None
        self.spec = self._spec(spec, self._hello, home.command)

    @abstractmethod
    def command(self) -> Sequence[str]:
        """What starts the simulator: a program and its arguments. Asked for at every start."""

    def _spec(self, spec: Spec, hello: Hello, command: str) -> Spec:
        has_clock = self.clock_hz > 0 and hello.counts == "cycles"
        grid = [min(mine, its) for mine, its in zip(spec.max_grid, hello.max_grid, strict=True)]
        return replace(
            spec,
            evidence=Evidence.EMULATED,
            max_grid=(grid[0], grid[1], grid[2]),
            max_block=min(spec.max_block, hello.max_block),
            block=min(spec.block, hello.max_block),
            max_buffers=min(spec.max_buffers, hello.max_buffers),
            abilities=spec.abilities | {Ability.KILL, *([Ability.CLOCK] if has_clock else [])},
            memory_bytes=hello.memory,
            driver={
                **spec.driver,
                "simulator": f"{hello.name} {hello.version}",
                "command": _short(command),
                "protocol": str(protocol.VERSION),
                "counts": hello.counts,
                "compiler": self.compiler.version,
                **({"memory": f"{hello.memory:,} bytes"} if hello.memory else {}),
                **({"clock": f"{self.clock_hz:g} Hz"} if has_clock else {}),
            },
        )

    # ------------------------------------------------------------------------------------------ memory

    def alloc(self, nbytes: int) -> Memory:
        """A buffer in the simulator's memory; starts another simulator when the last one was lost."""
        with self._lock:
            home = self._running()
            body = protocol.alloc_body(nbytes, self.spec.alignment)
            answer = self._ask(home, Verb.ALLOC, f"ALLOC {nbytes:,} bytes", body, answer=8)
            if answer.status is Status.NO_MEMORY:
                raise OutOfMemoryError(
                    f"{self.name} has no room for {nbytes:,} bytes: buffers hold {self._held:,}. The "
                    f"simulator says: {answer.text}. Free some tensors, or use smaller ones"
                )
            self._fine(answer, f"ALLOC {nbytes:,} bytes")
            self._held += nbytes
            return Memory(home, protocol.number_of(answer.payload), nbytes)

    def free(self, handle: Memory, nbytes: int) -> None:
        """Gives the memory back; what was lost with its simulator is given back already."""
        with self._lock:
            if handle.home.lost:
                return
            self._held -= handle.nbytes
            about = f"FREE {handle.nbytes:,} bytes"
            self._fine(self._ask(handle.home, Verb.FREE, about, protocol.handle_body(handle.number)), about)

    def copy_in(self, handle: Memory, data: memoryview) -> None:
        """Through the pipe, in large frames."""
        data = data.cast("B")
        with self._lock:
            home = self._home(handle)
            for at in self._frames(data):
                part = data[at : at + self._most_data]
                about = f"WRITE {part.nbytes:,} bytes"
                body = protocol.write_body(handle.number, at)
                self._fine(self._ask(home, Verb.WRITE, about, body, part), about)

    def copy_out(self, data: memoryview, handle: Memory) -> None:
        """Through the pipe, in large frames, straight to where they go."""
        data = data.cast("B")
        with self._lock:
            home = self._home(handle)
            for at in self._frames(data):
                part = data[at : at + self._most_data]
                about = f"READ {part.nbytes:,} bytes"
                body = protocol.read_body(handle.number, at, part.nbytes)
                self._fine(self._ask(home, Verb.READ, about, body, answer=part.nbytes, into=part), about)

    @property
    def _most_data(self) -> int:
        return min(MOST_DATA, self._hello.data if self._hello is not None else MOST_DATA)

    def _frames(self, data: memoryview) -> range:
        return range(0, data.nbytes, self._most_data)

    # ----------------------------------------------------------------------------------------- kernels

    def load(self, binary: bytes, entries: Sequence[str]) -> list[Kernel]:
        """The kernels of an image."""
        with self._lock:
            kernels = [Kernel(binary, entry) for entry in entries]
            for kernel in kernels:
                self._loaded(kernel)
            return kernels

    def _loaded(self, kernel: Kernel) -> SimProcess:
        """The simulator, with the kernel in it."""
        home = self._running()
        if kernel.home is not home:
            about = f"LOAD {kernel.entry} of {len(kernel.binary):,} bytes"
            body = protocol.load_body(kernel.entry)
            answer = self._fine(self._ask(home, Verb.LOAD, about, body, kernel.binary, answer=8), about)
            kernel.home, kernel.number = home, protocol.number_of(answer.payload)
        return home

    def launch(self, launch: Launch) -> None:
        """Starts a kernel. What is wrong with it is said here or, by a simulator that runs on, at the next
        request."""
        kernel: Kernel = launch.program
        with self._lock:
            homes = [self._home(b.handle) for b in launch.buffers]
            home = self._loaded(kernel)
            if any(h is not home for h in homes):
                raise DeviceError(
                    f"{self.name}: kernel {kernel.entry} is launched on memory that is not held here"
                )
            grid, block = launch.grid, launch.block
            about = (
                f"LAUNCH {kernel.entry} (grid {'x'.join(map(str, grid))}, block {'x'.join(map(str, block))}, "
                f"{len(homes)} buffers)"
            )
            handles = [b.handle.number for b in launch.buffers]
            body = protocol.launch_body(kernel.number, grid, block, handles)
            self._fine(self._ask(home, Verb.LAUNCH, about, body), about)
            self._launched = home

    def synchronize(self) -> None:
        """Waits for what was launched; nothing was, when no simulator runs."""
        with self._lock:
            if self._process is not None and not self._process.lost:
                self._fine(self._ask(self._process, Verb.SYNC, "SYNC"), "SYNC")

    # ------------------------------------------------------------------------------------------ cycles

    @property
    def launch_cycles(self) -> int:
        """Cycles of the last launch that is done; what a cycle is, ``Spec.driver["counts"]`` says."""
        self.synchronize()
        return self._process.launch_cycles if self._process is not None else 0

    @property
    def total_cycles(self) -> int:
        """Cycles since this run of the simulator began."""
        self.synchronize()
        return self._process.total_cycles if self._process is not None else 0

    def launch_seconds(self) -> float:
        """How long the chip would have taken over the last launch, by its clock."""
        if self._launched is None or self._launched is not self._process or self._launched.lost:
            raise DeviceError(f"{self.name}: nothing was launched yet in this run of the simulator")
        if Ability.CLOCK not in self.spec.abilities:
            raise DeviceError(
                f"{self.name} has no clock: the simulator counts {self.spec.driver['counts']}, and the "
                f"port's clock_hz is {self.clock_hz:g}"
            )
        return self.launch_cycles / self.clock_hz

    # --------------------------------------------------------------------------------------- the process

    def close(self) -> None:
        """Ends the simulator, and with it all that it holds."""
        with self._lock:
            if self._process is not None:
                self._process.close(sim_seconds(self.seconds))
                self._process = None

    def kill(self) -> None:
        """Ends the simulator at once; whoever asks it next finds out."""
        home = self._process
        if home is not None:
            home.kill()

    def _running(self) -> SimProcess:
        """The simulator: the one that runs, or another in the place of one that was lost."""
        if self._process is None or self._process.lost:
            self._held = 0
            self._process = None
            home = SimProcess(self.name, self.command())
            answer = self._ask(home, Verb.HELLO, "HELLO", protocol.hello_body(), answer=None)
            try:
                hello = protocol.hello(self._fine(answer, "HELLO").payload)
                if self._hello not in (None, hello):
                    raise FrameError(f"started again as another: {hello}, not {self._hello}")
            except FrameError as e:
                home.lose(str(e), ended=False)
                raise home.error("HELLO", "Use the one of the two that fits the other") from None
            except DeviceError:
                home.lose("refused HELLO", ended=False)
                raise
            self._hello, self._process = hello, home
        return self._process

    def _home(self, handle: Memory) -> SimProcess:
        """The simulator that holds a buffer."""
        if handle.home.lost:
            raise LostError(
                f"{self.name}: a buffer of {handle.nbytes:,} bytes is lost: its simulator "
                f"{handle.home.lost}. Make it again"
            )
        if handle.home is not self._process:
            raise DeviceError(f"{self.name}: a buffer of {handle.nbytes:,} bytes is another device's")
        return handle.home

    def _ask(
        self,
        home: SimProcess,
        verb: Verb,
        about: str,
        *parts: bytes | memoryview,
        answer: int | None = 0,
        into: memoryview | None = None,
    ) -> Answer:
        """One request. Buffers that the garbage collector finds ask too, and must not in the middle of it."""
        if self._asking:
            raise DeviceError(f"{self.name}: {about} was asked by what interrupted another request")
        seconds = sim_seconds(self.seconds)
        collects = gc.isenabled()
        gc.disable()
        self._asking = True
        try:
            return home.ask(verb, about, *parts, seconds=seconds, answer=answer, into=into)
        finally:
            self._asking = False
            if collects:
                gc.enable()

    def _fine(self, answer: Answer, about: str) -> Answer:
        """The answer, of a request that went well."""
        if answer.status is Status.OK:
            return answer
        what = "reports a fault in" if answer.status is Status.FAULT else "refuses"
        after = " What it was to write holds anything now." if answer.status is Status.FAULT else ""
        raise DeviceError(f"{self.name}: the simulator {what} {about}: {answer.text}.{after}")

    def forked(self) -> None:
        """In a forked child: the simulator is the parent's, and so is what it holds."""
        self._lock = threading.RLock()
        self._asking = False
        if self._process is not None:
            self._process.forget()


def _short(command: str) -> str:
    """A command as a certificate says it: files by their names, wherever they lie on this machine."""
    words = shlex.split(command)
    return shlex.join(Path(word).name if Path(word).is_file() else word for word in words)


_opened: weakref.WeakSet[SubprocessSimulator] = weakref.WeakSet()


def _in_child() -> None:
    for device in list(_opened):
        device.forked()


os.register_at_fork(after_in_child=_in_child)
