"""What happens, as one stream of events that every view reads: DEBUG levels, timings, profiles.

The engine reports; nothing is made of it unless somebody listens, which costs one look at a flag. People
listen with the environment variable ``DEBUG`` or ``with portwright.debug(level):``, programs with
``with portwright.debug.record() as events:``.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import field
from types import FrameType
from typing import TYPE_CHECKING, cast

from . import node as nodes
from .device import Ability, Calls, Clocks, CountsCalls
from .errors import ArgumentError
from .record import dataclass

if TYPE_CHECKING:
    from .device import Device
    from .pipeline import Stages
    from .siblings import Group

LEVELS = range(7)
KERNELS = 2
"""The level from which on kernels are timed: each is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened.

    Attributes:
        at: when it ended, in seconds of ``time.perf_counter``.
    """

    at: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOpened(Event):
    """A device was opened: its name, and what it was reached through."""

    device: str
    driver: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned(Event):
    """A graph was fused and lowered: how many nodes were asked for, and the seconds that it took."""

    nodes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelPlanned(Event):
    """A kernel was planned: the graph that it computes, as text, and its stages (None of a copy)."""

    device: str
    graph: str
    stages: Stages | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled(Event):
    """Kernels were compiled, as one text.

    Attributes:
        kernels, device: which, and for what.
        driver: what the device was reached through: with its compiler's command and flags.
        seconds: that it took.
        log: what the compiler said, when it refused.
    """

    kernels: tuple[str, ...]
    device: str
    driver: Mapping[str, str]
    seconds: float
    log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded(Event):
    """A program is ready to run: the binary, and whether it was kept from before."""

    kernel: str
    device: str
    kept: bool
    binary: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRun(Event):
    """A kernel ran.

    Attributes:
        kernel, device: which, and where.
        seconds: until it was done, the launch included; by the device's own clock, where it has one, without.
        nbytes: of the buffers that it reads and writes, each counted once.
        flops: arithmetic operations.
        made_at: the user's source line that made it ("file:line").
        stages: how it came to be.
        calls: what ran on the device and what on the host, of a device that counts it.
    """

    kernel: str
    device: str
    seconds: float
    nbytes: int
    flops: int
    made_at: str | None
    stages: Stages
    calls: Calls | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved(Event):
    """What was asked for is computed.

    Attributes:
        kernels: how many ran for it.
        nbytes: of the buffers that they read and write, by each kernel once.
        least: bytes of what it was computed from and of what was asked for: what one kernel would move.
    """

    kernels: int
    nbytes: int
    least: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JitEvent(Event):
    """A function was warmed up, captured, replayed or refused.

    Attributes:
        what: one of these four.
        function: its name.
        detail: how many kernels; why it was refused.
    """

    what: str
    function: str
    detail: str = ""


Listener = Callable[[Event], None]

listening = False
"""Whether somebody wants to know anything."""
watching = False
"""Whether somebody wants to see kernels run. Looked at before every launch."""
_listeners: list[Listener] = []
_wanting_kernels = 0
_started = False
_lock = threading.Lock()


# --------------------------------------------------------------------------------------------- listening


def listen(listener: Listener, kernels: bool) -> Callable[[], None]:
    """Adds a listener; the function that is given back takes it away again.

    Args:
        listener: is called with every event, in the thread in which it happens.
        kernels: whether it wants to see kernels run: then each is waited for and timed.
    """

    def change(by: int) -> None:
        global listening, watching, _wanting_kernels
        _wanting_kernels += by * kernels
        listening, watching = bool(_listeners), _wanting_kernels > 0
        nodes.locate = users_line if watching else None

    def stop() -> None:
        with _lock:
            _listeners.remove(listener)
            change(-1)

    with _lock:
        _listeners.append(listener)
        change(1)
    return stop


class Debug:
    """``portwright.debug``: what the engine does, for people (``debug(level)``) and programs (``record``)."""

    @contextmanager
    def __call__(self, level: int) -> Iterator[None]:
        """Inside, stderr shows what happens, up to a level.

        Args:
            level: 0 nothing; 1 devices and jit; 2 a line for each kernel that runs: its name, time, GB/s,
                GFLOP/s and the line of the program that made it; 3 its loop tree; 4 its source; 5 the graph,
                and the tree after each stage; 6 the compiler's command and the disassembly.

        Raises:
            ArgumentError: for another level.
        """
        from .views import Screen

        if level not in LEVELS:
            raise ArgumentError(f"debug level {level!r}: it is a whole number from 0 to {LEVELS[-1]}")
        _start()
        stop = listen(Screen(level), level >= KERNELS) if level else None
        try:
            yield
        finally:
            if stop is not None:
                stop()

    @contextmanager
    def record(self) -> Iterator[list[Event]]:
        """Inside, every event is appended to the list; kernels are timed, so each is waited for."""
        events: list[Event] = []
        stop = listen(events.append, True)
        try:
            yield events
        finally:
            stop()


debug = Debug()


def _start() -> None:
    """Reads ``DEBUG``, the first time that it matters."""
    global _started
    with _lock:
        if _started:
            return
        _started = True
    text = os.environ.get("DEBUG", "").strip()
    if not text or text == "0":
        return
    if not text.isdigit() or int(text) not in LEVELS:
        print(f"portwright: DEBUG={text} is no level from 0 to {LEVELS[-1]}: ignored", file=sys.stderr)
        return
    from .views import Screen

    listen(Screen(int(text)), int(text) >= KERNELS)


def _emit(event: Event) -> None:
    for listener in tuple(_listeners):
        listener(event)


def users_line() -> str | None:
    """The innermost line of the running program that is not Portwright's own, as "file:line"."""
    frame: FrameType | None = sys._getframe(1)
    package = __name__.partition(".")[0]
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] != package:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return None


# --------------------------------------------------------------------------------------------- reporting


def opened(device: Device) -> None:
    """A device was opened."""
    _start()
    if listening:
        _emit(DeviceOpened(device=device.name, driver=dict(device.spec.driver)))


@contextmanager
def planning(count: int) -> Iterator[None]:
    """A graph is fused and lowered."""
    begin = time.perf_counter()
    yield
    if listening:
        _emit(Planned(nodes=count, seconds=time.perf_counter() - begin))


def planned(group: Group, stages: Stages | None, device: Device) -> None:
    """A kernel was planned."""
    if listening:
        from .views import graph_text  # as text: an event keeps no memory of the program's alive

        graph = graph_text(group.roots, group.reads)
        _emit(KernelPlanned(device=device.name, graph=graph, stages=stages))


@contextmanager
def compiling(unit: Sequence[Stages], device: Device) -> Iterator[None]:
    """Kernels are compiled, as one text."""
    begin = time.perf_counter()
    log = ""
    try:
        yield
    except Exception as e:
        log = getattr(e, "log", "") or str(e)
        raise
    finally:
        if listening:
            seconds = time.perf_counter() - begin
            names, driver = tuple(s.name for s in unit), dict(device.spec.driver)
            _emit(Compiled(kernels=names, device=device.name, driver=driver, seconds=seconds, log=log))


def loaded(stages: Stages, device: Device, kept: bool, binary: bytes) -> None:
    """A program is ready."""
    if listening:
        _emit(Loaded(kernel=stages.name, device=device.name, kept=kept, binary=binary))


def kernel(stages: Stages | None, device: Device) -> AbstractContextManager[None]:
    """A kernel runs, and is waited for. Asked for only while ``watching``."""
    return nullcontext() if stages is None else _kernel(stages, device)


@contextmanager
def _kernel(stages: Stages, device: Device) -> Iterator[None]:
    device.synchronize()
    before = _calls(device)
    begin = time.perf_counter()
    yield
    device.synchronize()
    seconds = time.perf_counter() - begin
    after = _calls(device)
    if Ability.CLOCK in device.spec.abilities and stages.compound is None:
        seconds = max(cast(Clocks, device).launch_seconds(), 1e-9)  # a clock may have coarser steps
    _emit(
        KernelRun(
            kernel=stages.name,
            device=device.name,
            seconds=seconds,
            nbytes=stages.fresh.nbytes,
            flops=stages.fresh.flops,
            made_at=stages.made_at,
            stages=stages,
            calls=None
            if before is None or after is None
            else Calls(after.native - before.native, after.host - before.host),
        )
    )


def moved(ran: Sequence[Stages], least: int) -> None:
    """What was asked for is computed, by these kernels. Told only while ``watching``."""
    if ran:
        _emit(Moved(kernels=len(ran), nbytes=sum(s.fresh.nbytes for s in ran), least=least))


def _calls(device: Device) -> Calls | None:
    """A copy of a device's counts, where it counts."""
    if Ability.CALLS not in device.spec.abilities:
        return None
    now = cast(CountsCalls, device).calls
    return Calls(now.native.copy(), now.host.copy())


def jitted(what: str, function: str, detail: str = "") -> None:
    """``jit`` did something."""
    if listening:
        _emit(JitEvent(what=what, function=function, detail=detail))
