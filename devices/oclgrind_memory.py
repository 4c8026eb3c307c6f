"""Buffers as Oclgrind should see them: each ends at its last byte, and is a new one while there is room.

What Oclgrind knows of a buffer outlives it, with its size: the next one in its place is taken for written
where the old one was, and its end for never written. So none is given back; beyond so many, those of the very
same size are used again.
"""

from __future__ import annotations

from typing import Any

from .opencl_limits import Limits
from .opencl_memory import Memory, Pool

MOST_BYTES = 1 << 30
MOST_BUFFERS = 30_000
"""Oclgrind numbers buffers with 16 bits."""


class FreshPool(Pool):
    """A device's memory.

    Args:
        name, queue, limits, mapped: as ``Pool``'s.
        grain: bytes that buffers are made of whole numbers of: 1, or those of a pixel where they are images.
    """

    def __init__(self, name: str, queue: Any, limits: Limits, mapped: bool, grain: int) -> None:
        super().__init__(name, queue, limits, mapped)
        self._grain, self._keep = grain, self.total
        self._buffers = 0

    def alloc(self, nbytes: int) -> Memory:
        """A buffer of just so many bytes, or whole pixels."""
        if self.kept + nbytes > MOST_BYTES or self._buffers >= MOST_BUFFERS:
            return super().alloc(nbytes)
        self.reach()
        with self._lock:
            self._buffers += 1
            size = -(-nbytes // self._grain) * self._grain
            buffer = self._made(size, nbytes)
            self.held += size
        return Memory(self, buffer, nbytes)
