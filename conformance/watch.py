"""A guard band behind every buffer: what a kernel writes past the end of one does not go unseen.

While it is watched, a device's buffers are a little longer than was asked for and filled with a pattern,
which also makes memory that is read before it was written the same, and wrong, on every run. The band is
looked at when the buffer is given back, and when a case is over.
"""

from __future__ import annotations

import gc
from collections.abc import Hashable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np

from ..core.device import Device
from ..core.errors import LostError

BAND = 64
"""Bytes behind each buffer."""
POISON = 0xA5


class Watch:
    """The buffers of a device, each with a band behind it.

    Attributes:
        device: whose.
        active: whether buffers that are taken now get a band.
        faults: what was found, since it was last asked for.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self.active = False
        self.faults: list[str] = []
        self._held: dict[Hashable, tuple[Any, int]] = {}
        self._alloc, self._free = device.alloc, device.free

    @contextmanager
    def installed(self) -> Iterator[Watch]:
        """The device takes and gives back its buffers through the watch."""
        with ExitStack() as stack:
            stack.enter_context(patch.object(self.device, "alloc", self.alloc))
            stack.enter_context(patch.object(self.device, "free", self.free))
            yield self

    def alloc(self, nbytes: int) -> Any:
        """A buffer with a band behind it."""
        if not self.active:
            return self._alloc(nbytes)
        handle = self._alloc(nbytes + BAND)
        self.device.copy_in(handle, memoryview(np.full(nbytes + BAND, POISON, np.uint8)))
        self._held[_key(handle)] = (handle, nbytes)
        return handle

    def free(self, handle: Any, nbytes: int) -> None:
        """Looks at the band, and gives the buffer back."""
        held = self._held.pop(_key(handle), None)
        if held is None:
            self._free(handle, nbytes)
            return
        self._look(handle, nbytes)
        self._free(handle, nbytes + BAND)

    def look(self) -> list[str]:
        """What was written past the end of a buffer since the last time."""
        with _no_collection():  # which gives buffers back, and so changes what is looked through
            for key, (handle, nbytes) in list(self._held.items()):
                if not self._look(handle, nbytes):
                    del self._held[key]
        found, self.faults = self.faults, []
        return found

    def _look(self, handle: Any, nbytes: int) -> bool:
        """Whether there is a band to look at; there is none in what was lost, of which the case says enough
        that lost it."""
        whole = np.empty(nbytes + BAND, np.uint8)
        try:
            self.device.copy_out(memoryview(whole), handle)
        except LostError:
            return False
        wrong = np.flatnonzero(whole[nbytes:] != POISON)
        if wrong.size:
            self.faults.append(
                f"{wrong.size} bytes were written past the end of a buffer of {nbytes:,} bytes, "
                f"the first {int(wrong[0]) + 1} bytes past its last: 0x{int(whole[nbytes + wrong[0]]):02x}"
            )
            whole[nbytes:] = POISON  # so that it is told once
            self.device.copy_in(handle, memoryview(whole))
        return True


@contextmanager
def _no_collection() -> Iterator[None]:
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _key(handle: Any) -> Hashable:
    """What tells one handle from another, whatever a port uses for one."""
    return handle if isinstance(handle, Hashable) else id(handle)
