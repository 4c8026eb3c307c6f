"""From kernels to programs: the compile cache in memory and on disk, and compilers side by side.

A compiler takes a while to start, often longer than it needs for a kernel: kernels wanted together go to it
as a unit, one text with an entry for each. The cache has them one by one, each by the text that it is alone,
so that it is found whatever it was compiled with.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import field
from typing import Any

from . import trace
from .cache import compile_cache, digest
from .device import Buffer, Device, Launch
from .dialect import NamedKernel
from .errors import CompileError
from .pipeline import Stages
from .record import dataclass


@dataclass(slots=True)
class Program:
    """A kernel that is ready to launch.

    Attributes:
        name: what it is called.
        handle: what ``Device.load`` gave.
        stages: what it was made from.
        grid, block: the shape of its launch.
    """

    name: str
    handle: Any
    stages: Stages
    grid: tuple[int, int, int] = field(init=False)
    block: tuple[int, int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.grid, self.block = (self.stages.grid, 1, 1), (self.stages.block, 1, 1)

    def launch(self, buffers: tuple[Buffer, ...]) -> Launch:
        """Its launch on these buffers."""
        return Launch(self.handle, self.grid, self.block, buffers, self.stages.images)


_loaded: dict[tuple[Device, str], Program] = {}
_lock = threading.Lock()
AT_ONCE = 4
"""Compilers that run side by side, where there are processors for them."""
UNIT = 8
"""Kernels of one unit at most: enough that starting the compiler is a small part of its time."""


def compile_all(device: Device, stages: Sequence[Stages]) -> list[Program]:
    """The programs of several kernels; those that no cache holds are compiled in units, side by side.

    Raises:
        CompileError: of the first kernel that the compiler refuses. Of its unit, those before it are kept.
    """
    kept: dict[bytes, list[Stages]] = {}
    missing: list[Stages] = []
    for s in {s.name: s for s in stages if (device, s.name) not in _loaded}.values():
        binary = compile_cache().get(_key(device, s))
        if binary is None:
            missing.append(s)
        else:
            kept.setdefault(binary, []).append(s)
    for binary, unit in kept.items():
        _load(device, unit, binary, kept=True)
    at_once = min(AT_ONCE, os.cpu_count() or 1)
    units = share_out(missing, at_once)
    if len(units) == 1:
        _compile(device, units[0])
    elif units:
        from concurrent.futures import ThreadPoolExecutor  # slow to import

        with ThreadPoolExecutor(min(at_once, len(units))) as pool:
            list(pool.map(lambda unit: _compile(device, unit), units))
    return [_loaded[(device, s.name)] for s in stages]


def share_out(stages: Sequence[Stages], at_once: int) -> list[list[Stages]]:
    """Kernels in units of at most ``UNIT``: one for each compiler at least, about as long as one another.

    Kernels with positions beyond 32 bits have units of their own: the others would be made wide with them.
    """
    units: list[list[Stages]] = []
    for wide in (False, True):
        alike = [s for s in stages if s.final.is_wide is wide]
        fresh: list[list[Stages]] = [[] for _ in range(max(min(at_once, len(alike)), -(-len(alike) // UNIT)))]
        for s in sorted(alike, key=lambda s: -len(s.source)):
            room = [unit for unit in fresh if len(unit) < UNIT]
            min(room, key=lambda unit: sum(len(s.source) for s in unit)).append(s)
        units += fresh
    return units


def forget(device: Device) -> None:
    """What a device runs next is loaded anew, from the cache's binaries or compiled."""
    with _lock:
        for key in [k for k in _loaded if k[0] is device]:
            del _loaded[key]


def _key(device: Device, s: Stages) -> str:
    return digest(device.compiler_key(), s.source)


def _compile(device: Device, unit: Sequence[Stages]) -> None:
    assert device.dialect is not None
    source = unit[0].source
    if len(unit) > 1:
        source = device.dialect.render([NamedKernel(s.name, s.final) for s in unit], device.spec)
    try:
        with trace.compiling(unit, device):
            binary = device.compile(source)
    except CompileError:
        if len(unit) == 1:
            raise
        for s in unit:  # alone, each of them, so that the error is about the one that is refused
            _compile(device, [s])
        return
    for s in unit:
        compile_cache().put(_key(device, s), binary)
    _load(device, unit, binary, kept=False)


def _load(device: Device, unit: Sequence[Stages], binary: bytes, kept: bool) -> None:
    handles = device.load(binary, [s.name for s in unit])
    with _lock:
        for s, handle in zip(unit, handles, strict=True):
            _loaded[(device, s.name)] = Program(s.name, handle, s)
    for s in unit:
        trace.loaded(s, device, kept, binary)
