"""Buffers as Oclgrind should see them: each ends at its last byte, and is a new one while there is room.

What Oclgrind knows of a buffer outlives it, with its size: the next one in its place is taken for written
where the old one was, and its end for never written. So none is given back; beyond so many, those of the very
same size are used again.
"""

from __future__ import annotations

from typing import Any

from .opencl_memory import Memory, Pool

MOST_BYTES = 1 << 30
MOST_BUFFERS = 30_000
"""Oclgrind numbers buffers with 16 bits."""


class FreshPool(Pool):
    """A device's memory; arguments as ``Pool``'s."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._grain, self._keep = 1, self.total
        self._buffers = 0

    def alloc(self, nbytes: int) -> Memory:
        """A buffer of just so many bytes."""
        if self.kept + nbytes > MOST_BYTES or self._buffers >= MOST_BUFFERS:
            return super().alloc(nbytes)
        self.reach()
        with self._lock:
            self._buffers += 1
            buffer = self._made(nbytes, nbytes)
            self.held += nbytes
        return Memory(self, buffer, nbytes)
