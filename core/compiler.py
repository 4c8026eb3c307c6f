"""From source text to programs: the compile cache in memory and on disk, and compilers side by side."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from . import trace
from .cache import compile_cache
from .device import Buffer, Device, Launch
from .pipeline import Stages


@dataclass(frozen=True, slots=True)
class Program:
    """A kernel that is ready to launch.

    Attributes:
        name: what it is called.
        handle: what ``Device.load`` gave.
        stages: what it was made from, with the shape of its launch.
    """

    name: str
    handle: Any
    stages: Stages

    def launch(self, buffers: Sequence[Buffer]) -> Launch:
        """Its launch on these buffers."""
        s = self.stages
        return Launch(self.handle, (s.grid, 1, 1), (s.block, 1, 1), tuple(buffers), s.images)


_loaded: dict[tuple[Device, str], Program] = {}
_lock = threading.Lock()
AT_ONCE = 4
"""Compilers that run side by side."""


def compile_all(device: Device, stages: Sequence[Stages]) -> list[Program]:
    """The programs of several kernels; those that no cache holds are compiled side by side.

    Raises:
        CompileError: of the first kernel that the compiler refuses. Nothing of it is kept.
    """
    todo = list({s.name: s for s in stages if (device, s.name) not in _loaded}.values())
    if len(todo) == 1:
        _load(device, todo[0])
    elif todo:
        with ThreadPoolExecutor(min(AT_ONCE, len(todo))) as pool:
            list(pool.map(lambda s: _load(device, s), todo))
    return [_loaded[(device, s.name)] for s in stages]


def forget(device: Device) -> None:
    """What a device runs next is loaded anew, from the cache's binaries or compiled."""
    with _lock:
        for key in [k for k in _loaded if k[0] is device]:
            del _loaded[key]


def _load(device: Device, s: Stages) -> None:
    key = hashlib.sha256(f"{device.compiler_key()}\0{s.source}".encode()).hexdigest()
    cache = compile_cache()
    binary = cache.get(key)
    kept = binary is not None
    if binary is None:
        with trace.compiling(s, device):
            binary = device.compile(s.source)
        cache.put(key, binary)
    handle = device.load(binary, [s.name])[0]
    with _lock:
        _loaded[(device, s.name)] = Program(s.name, handle, s)
    trace.loaded(s, device, kept, binary)
