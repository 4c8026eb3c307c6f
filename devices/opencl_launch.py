"""Kernels into the queue: everything is checked first, since a driver that is given nonsense may crash."""

from __future__ import annotations

import threading
from math import prod
from typing import Any

import pyopencl as cl

from ..core.device import Launch, Spec
from ..core.errors import DeviceError
from .opencl_errors import driver_errors
from .opencl_image import Images
from .opencl_memory import Memory, Pool
from .opencl_program import Entry


class Launcher:
    """Launches kernels on buffers of one pool.

    Args:
        spec: of the port: its name and the work items of a work-group.
        pool: whose buffers, and through whose queue.
        images: makes images of them.
    """

    def __init__(self, spec: Spec, pool: Pool, images: Images) -> None:
        self.name, self.group, self.pool, self.images = spec.name, spec.max_block, pool, images
        self._setting = threading.Lock()  # arguments are set on the kernel, which all threads share
        self._last: Any = None

    def launch(self, launch: Launch) -> None:
        """Enqueues a kernel over ``grid`` work-groups of ``block`` work items.

        Raises:
            DeviceError: when an argument is no buffer of this device or not of the kernel's number, when a
                work-group is too large, or when the driver refuses.
            OutOfMemoryError: when a driver that allocates late has no room.
        """
        entry, items = launch.program, prod(launch.block)
        if not isinstance(entry, Entry):
            raise DeviceError(f"{self.name} cannot launch a {type(entry).__name__}: load gives kernels")
        if items > min(entry.group, self.group):
            raise DeviceError(
                f"{self.name} cannot launch kernel {entry.name} with {items:,} work items in a group: "
                f"it has at most {min(entry.group, self.group):,}"
            )
        if len(launch.buffers) != len(entry.images):
            raise DeviceError(
                f"{self.name}: kernel {entry.name} takes {len(entry.images)} buffers, "
                f"not {len(launch.buffers)}"
            )
        self.pool.reach()
        memories = [self.pool.check(b.handle) for b in launch.buffers]
        size = tuple(g * b for g, b in zip(launch.grid, launch.block, strict=True))
        if not all(size):
            return
        doing = f"launch kernel {entry.name}"
        with driver_errors(self.name, doing, lambda: self.pool.full(sum(m.nbytes for m in memories))):
            viewed = [m for m in dict.fromkeys(memories) if m.view is not None]
            for memory in viewed:
                self.pool.lend(memory)
            try:
                arguments = self._arguments(entry, memories, launch)
                with self._setting:
                    entry.kernel.set_args(*arguments)
                    self._last = cl.enqueue_nd_range_kernel(self.pool.queue, entry.kernel, size, launch.block)
                for memory, is_image in zip(memories, entry.images, strict=True):
                    memory.version += not is_image  # a kernel only reads images
            finally:
                for memory in viewed:
                    self.pool.take_back(memory)

    def _arguments(self, entry: Entry, memories: list[Memory], launch: Launch) -> list[Any]:
        """What the driver is given: each argument's buffer, or an image of it."""
        views = launch.images or (None,) * len(memories)
        if [view is not None for view in views] != list(entry.images):
            raise DeviceError(
                f"{self.name}: kernel {entry.name} takes images where it is launched on buffers"
            )
        return [
            memory.buffer if view is None else self.images.of(memory, view.width, view.dtype)
            for memory, view in zip(memories, views, strict=True)
        ]

    def seconds(self) -> float:
        """How long the last kernel ran, by the device's own clock; waits for it.

        Raises:
            DeviceError: when nothing was launched yet.
        """
        if self._last is None:
            raise DeviceError(f"{self.name} has launched nothing that could be timed")
        with driver_errors(self.name, "time a kernel"):
            self._last.wait()
            return float(self._last.profile.end - self._last.profile.start) * 1e-9
