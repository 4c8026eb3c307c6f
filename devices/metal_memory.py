"""Metal's memory: buffers that the host and the device share, kept for reuse."""

from __future__ import annotations

import threading
from typing import Any

from ..core.errors import DeviceError, OutOfMemoryError
from ..core.record import dataclass
from . import host
from .metal_open import Framework
from .metal_queue import Queue

GRAIN = 256
"""Buffers are made of whole numbers of so many bytes."""


@dataclass(slots=True, eq=False)
class Memory:
    """A buffer that core holds: the handle of ``alloc``.

    Attributes:
        owner: whose it is; None once it was freed.
        buffer: Metal's.
        view: its bytes, as the host sees them; as many as were asked for.
        used: the number of the last command buffer that it is used in.
    """

    owner: Pool | None
    buffer: Any
    view: memoryview
    used: int = 0


@dataclass(frozen=True, slots=True)
class _Idle:
    """A buffer for reuse, and the last command buffer that its former owner used it in."""

    buffer: Any
    used: int


class Pool:
    """A device's memory.

    Args:
        name: the port's, for messages.
        framework: whose device.
        queue: what is waited for before the host touches memory.
    """

    def __init__(self, name: str, framework: Framework, queue: Queue) -> None:
        self.name, self._framework, self._queue = name, framework, queue
        self.held = self.kept = 0
        self._keep = host.keep_bytes()
        self._idle: dict[int, list[_Idle]] = {}
        self._lock = threading.RLock()  # the collector may free one buffer while another is made

    def alloc(self, nbytes: int) -> Memory:
        """A buffer: one that was freed before, where one is of the size."""
        size = -(-nbytes // GRAIN) * GRAIN
        with self._lock, self._framework.pool():
            idle = self._idle.get(size)
            if idle:
                found = idle.pop()
                self.kept -= size
            else:
                found = _Idle(self._made(size, nbytes), 0)
            self.held += size
            view = memoryview(found.buffer.contents().as_buffer(size)).cast("B")[:nbytes]
        return Memory(self, found.buffer, view, found.used)

    def _made(self, size: int, nbytes: int) -> Any:
        device, shared = self._framework.device, self._framework.metal.MTLResourceStorageModeShared
        if size <= device.maxBufferLength():
            made = device.newBufferWithLength_options_(size, shared)
            if made is None and self.kept:
                self.trim(0)
                made = device.newBufferWithLength_options_(size, shared)
            if made is not None:
                return made
        raise OutOfMemoryError(
            f"{self.name} has no room for {nbytes:,} bytes: tensors hold {self.held:,}, {self.kept:,} are "
            f"kept for reuse, a buffer has at most {device.maxBufferLength():,} and all together should have "
            f"{device.recommendedMaxWorkingSetSize():,}. Free some tensors, or use smaller ones"
        )

    def free(self, handle: object) -> None:
        """Keeps the buffer for the next of its size; nothing may use ``handle`` any more."""
        memory = self.check(handle)
        with self._lock:
            size = int(memory.buffer.length())
            memory.owner = None
            self._idle.setdefault(size, []).append(_Idle(memory.buffer, memory.used))
            self.held -= size
            self.kept += size
            if self.kept > self._keep:
                self.trim(self._keep // 2)

    def trim(self, to: int) -> None:
        """Lets buffers go that nothing uses; command buffers hold on to those that they still need."""
        with self._lock:
            for size in sorted(self._idle, reverse=True):
                idle = self._idle[size]
                while idle and self.kept > to:
                    idle.pop()
                    self.kept -= size

    def check(self, handle: object) -> Memory:
        """``handle``, when it is a buffer that this pool gave and that was not freed.

        Raises:
            DeviceError: when it is anything else.
        """
        if isinstance(handle, Memory) and handle.owner is self:
            return handle
        raise DeviceError(
            f"{self.name} was given {handle!r:.60}, which is no buffer of its own, or one that was freed: "
            "keep a tensor's Buffer as long as it is used"
        )

    def bytes_of(self, handle: object, nbytes: int) -> memoryview:
        """The start of a buffer, once what was launched on it is done."""
        memory = self.check(handle)
        if nbytes > len(memory.view):
            raise DeviceError(f"{self.name}: {nbytes:,} bytes do not fit a buffer of {len(memory.view):,}")
        self._queue.wait(memory.used)
        return memory.view[:nbytes]
