"""The memory of an OpenCL device: buffers that are kept for reuse, checked before a driver sees them.

A driver is handed nothing but live buffers of its own: a freed one, or a number, can crash it. The queue runs
in order, so a buffer that was freed can be used again at once: what was launched on it before comes first.
"""

from __future__ import annotations

import os
import threading
from dataclasses import field
from typing import Any

import numpy as np
import pyopencl as cl

from ..core.errors import DeviceError, OutOfMemoryError
from ..core.record import dataclass
from . import host
from .opencl_errors import driver_errors
from .opencl_limits import Limits

GRAIN = 64
"""Buffers are made of whole numbers of so many bytes, so that whole pixels lie in them; or, where images can
be made of them, of whole rows of an image."""
_PIXEL = 16
_BOTH = cl.map_flags.READ | cl.map_flags.WRITE


@dataclass(slots=True, eq=False)
class Memory:
    """A buffer that core holds: the handle of ``alloc``.

    Attributes:
        pool: whose it is; None once it was freed.
        buffer: the driver's; ``nbytes`` of it are the owner's.
        version: changes whenever the content may have.
        view: the host's view, while there is one.
        images: of the content, by width and format, with the version that each holds.
        mapping: held while it is mapped for a copy: PoCL gives two maps of a buffer one address, and the
            first that ends takes it from the other.
    """

    pool: Pool | None
    buffer: Any
    nbytes: int
    version: int = 0
    view: Any = None
    images: dict[Any, Any] = field(default_factory=dict)
    mapping: threading.Lock = field(default_factory=threading.Lock)


class Pool:
    """A device's memory.

    Args:
        name: the port's, for messages.
        queue: in order; everything goes through it.
        limits: how much there is. Drivers of processors promise what the machine does not have.
        mapped: whether the host reaches the memory by mapping it, without a copy in between.
    """

    def __init__(self, name: str, queue: Any, limits: Limits, mapped: bool) -> None:
        self.name, self.queue, self.mapped = name, queue, mapped
        self.largest, self.total = limits.buffer_bytes, limits.total_bytes
        self._grain = max(GRAIN, limits.image_pitch * _PIXEL)
        self.held = self.kept = 0
        self._process = os.getpid()
        self._keep = min(host.keep_bytes(), self.total // 2)
        self._idle: dict[int, list[Any]] = {}
        self._lock = threading.RLock()  # the collector may free one buffer while another is made
        self._flags = cl.mem_flags.READ_WRITE | (cl.mem_flags.ALLOC_HOST_PTR if mapped else 0)

    def alloc(self, nbytes: int) -> Memory:
        """A buffer: one that was freed before, where one is of the size."""
        self.reach()
        size = -(-nbytes // self._grain) * self._grain
        with self._lock:
            idle = self._idle.get(size)
            buffer = idle.pop() if idle else None
            if buffer is None:
                buffer = self._made(size, nbytes)
            else:
                self.kept -= size
            self.held += size
        return Memory(self, buffer, nbytes)

    def _made(self, size: int, nbytes: int) -> Any:
        if size > self.largest:
            raise OutOfMemoryError(
                f"{self.name} gives at most {self.largest:,} bytes in one buffer, not {nbytes:,}. "
                "Use smaller tensors or a smaller batch"
            )
        if self.held + self.kept + size > self.total:
            self.trim(0)
        if self.held + size > self.total:
            raise self.full(nbytes)
        try:
            return cl.Buffer(self.queue.context, self._flags, size)
        except cl.Error:
            self.trim(0)
        with driver_errors(self.name, f"allocate {nbytes:,} bytes", lambda: self.full(nbytes)):
            return cl.Buffer(self.queue.context, self._flags, size)

    def full(self, nbytes: int) -> OutOfMemoryError:
        """What is said when there is no room."""
        return OutOfMemoryError(
            f"{self.name} has no room for {nbytes:,} bytes: tensors hold {self.held:,} of {self.total:,}, "
            f"{self.kept:,} are kept for reuse. Free some tensors, or use smaller ones or a smaller batch"
        )

    def reach(self) -> None:
        """Makes sure that the driver is there: its threads do not follow a fork, and waiting for them hangs.

        Raises:
            DeviceError: in a child of the process that opened the device.
        """
        if os.getpid() != self._process:
            raise DeviceError(
                f"{self.name} was opened before this process was forked, and its driver did not come along. "
                "Start processes with multiprocessing's spawn, or open devices in the child alone"
            )

    def finish(self) -> None:
        """Waits for everything that was put into the queue."""
        self.reach()
        with driver_errors(self.name, "finish what was launched"):
            self.queue.finish()

    def free(self, memory: Memory) -> None:
        """Keeps the buffer for the next of its size; nothing may use ``memory`` any more."""
        self.check(memory)
        here = os.getpid() == self._process
        if memory.view is not None and here:
            self.lend(memory)
        memory.view = None
        memory.images.clear()
        with self._lock:
            size = memory.buffer.size
            memory.pool = None
            self._idle.setdefault(size, []).append(memory.buffer)
            self.held -= size
            self.kept += size
            full = self.kept > self._keep
        if full and here:
            self.trim(self._keep // 2)

    def trim(self, to: int) -> None:
        """Gives buffers that nothing uses back to the driver, once what was launched on them is done."""
        self.finish()
        with self._lock:
            for size in sorted(self._idle, reverse=True):
                idle = self._idle.get(size, [])
                while idle and self.kept > to:
                    self.kept -= size
                    idle.pop().release()
                if not idle:
                    self._idle.pop(size, None)

    def check(self, handle: object) -> Memory:
        """``handle``, when it is a buffer that this pool gave and that was not freed.

        Raises:
            DeviceError: when it is anything else.
        """
        if isinstance(handle, Memory) and handle.pool is self:
            return handle
        if not isinstance(handle, Memory):
            what = f"a {type(handle).__name__}, not a buffer"
        else:
            what = "a buffer that was freed" if handle.pool is None else f"a buffer of {handle.pool.name}"
        raise DeviceError(f"{self.name} was given {what}: keep a tensor's Buffer as long as it is used")

    def write(self, handle: object, data: memoryview) -> None:
        """Host bytes to the start of a buffer."""
        memory, host = self._both(handle, data)
        if not host.size:
            return
        memory.version += 1
        if memory.view is not None:
            self.finish()
            memory.view[: host.size] = host
            return
        with driver_errors(self.name, f"copy {host.size:,} bytes in", lambda: self.full(host.size)):
            if self.mapped:
                with memory.mapping:
                    mapped = self._map(memory, cl.map_flags.WRITE_INVALIDATE_REGION, host.size)
                    mapped[:] = host
                    mapped.base.release(self.queue)
            else:
                cl.enqueue_copy(self.queue, memory.buffer, host, is_blocking=True)

    def read(self, data: memoryview, handle: object) -> None:
        """The start of a buffer to host bytes, after everything that was launched before."""
        memory, host = self._both(handle, data)
        if not host.size:
            return
        if memory.view is not None:
            self.finish()
            host[:] = memory.view[: host.size]
            return
        with driver_errors(self.name, f"copy {host.size:,} bytes out", lambda: self.full(host.size)):
            if self.mapped:
                with memory.mapping:
                    mapped = self._map(memory, cl.map_flags.READ, host.size)
                    host[:] = mapped
                    mapped.base.release(self.queue)
            else:
                cl.enqueue_copy(self.queue, host, memory.buffer, is_blocking=True)

    def view(self, handle: object) -> memoryview:
        """The memory itself. Around each launch on it, the view is given up and taken again."""
        memory = self.check(handle)
        with memory.mapping, driver_errors(self.name, "show its memory to the host"):
            if memory.view is None:
                memory.view = self._map(memory, _BOTH, memory.nbytes)
        return memoryview(memory.view)

    def lend(self, memory: Memory) -> None:
        """Takes a viewed buffer from the host: while a kernel uses it, it may not be mapped."""
        memory.view.base.release(self.queue)

    def take_back(self, memory: Memory) -> None:
        """Maps a viewed buffer again, after what was launched since ``lend``, where it was.

        Raises:
            DeviceError: when the driver maps it elsewhere: what was viewed is no longer there.
        """
        before = memory.view.ctypes.data
        memory.view = self._map(memory, _BOTH, memory.nbytes, wait=False)
        if memory.view.ctypes.data != before:
            raise DeviceError(f"{self.name}: the driver moved memory that the host views: copy it instead")

    def _both(self, handle: object, data: memoryview) -> tuple[Memory, np.ndarray[Any, np.dtype[np.uint8]]]:
        """A buffer, and host bytes that it has room for."""
        self.reach()
        memory = self.check(handle)
        if data.nbytes > memory.nbytes:
            raise DeviceError(f"{self.name}: {data.nbytes:,} bytes do not fit a buffer of {memory.nbytes:,}")
        return memory, np.frombuffer(data, np.uint8)

    def _map(self, memory: Memory, flags: int, nbytes: int, wait: bool = True) -> Any:
        mapped, _ = cl.enqueue_map_buffer(
            self.queue, memory.buffer, flags, 0, (nbytes,), np.uint8, is_blocking=wait
        )
        return mapped
