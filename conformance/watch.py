"""What a device's buffers are watched for: bytes written past their ends, memory read before it was written,
buffers that nobody gives back.

While it is watched, a device's buffers are a little longer than was asked for and filled with one of two
patterns that differ in every bit, in turn: whatever a kernel makes of memory that nobody wrote, it makes two
things of it. The band behind a buffer is looked at when the buffer is given back, and when a case is over.
"""

from __future__ import annotations

import gc
from collections.abc import Hashable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any
from unittest.mock import patch

import numpy as np

from ..core.device import Device
from ..core.errors import LostError

BAND = 512
"""Bytes behind each buffer: as far as a few of the widest vectors reach that are stored once too often."""
POISON = (0xA5, 0x5A)
"""The patterns. As floats of any width, one is next to nothing and the other is not."""


@dataclass(frozen=True)
class Held:
    """A buffer that was taken and not given back.

    Attributes:
        handle: the port's.
        nbytes: how many were asked for.
        pattern: what it was filled with, and its band still is; None of one without a band.
    """

    handle: Any
    nbytes: int
    pattern: int | None


class Watch:
    """The buffers of a device.

    Attributes:
        device: whose.
        active: whether buffers that are taken now get a band and a pattern.
        pattern: which they get; None: each the other one than the last.
        faults: what was found, since it was last asked for.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self.active = False
        self.pattern: int | None = None
        self.faults: list[str] = []
        self._held: dict[Hashable, Held] = {}
        self._turns = count()
        self._before = 0
        self._alloc, self._free = device.alloc, device.free

    @contextmanager
    def installed(self) -> Iterator[Watch]:
        """The device takes and gives back its buffers through the watch."""
        with ExitStack() as stack:
            stack.enter_context(patch.object(self.device, "alloc", self.alloc))
            stack.enter_context(patch.object(self.device, "free", self.free))
            yield self

    @contextmanager
    def filling(self, pattern: int | None, active: bool = True) -> Iterator[None]:
        """Inside, buffers are filled with this pattern; or have none and no band, unless ``active``."""
        was = self.active, self.pattern
        self.active, self.pattern = self.active and active, pattern
        try:
            yield
        finally:
            self.active, self.pattern = was

    def begin(self) -> None:
        """A case begins: what an earlier one left is not its fault."""
        self.look()
        self._turns = count()
        self._before = len(self._held)

    def alloc(self, nbytes: int) -> Any:
        """A buffer with a band behind it."""
        if not self.active:
            handle = self._alloc(nbytes)
            self._held[_key(handle)] = Held(handle, nbytes, None)
            return handle
        pattern = POISON[next(self._turns) % len(POISON)] if self.pattern is None else self.pattern
        handle = self._alloc(nbytes + BAND)
        self.device.copy_in(handle, memoryview(np.full(nbytes + BAND, pattern, np.uint8)))
        self._held[_key(handle)] = Held(handle, nbytes, pattern)
        return handle

    def free(self, handle: Any, nbytes: int) -> None:
        """Looks at the band, and gives the buffer back."""
        held = self._held.pop(_key(handle), None)
        if held is None or held.pattern is None:
            self._free(handle, nbytes)
            return
        self._look(held)
        self._free(handle, nbytes + BAND)

    def look(self) -> list[str]:
        """What was written past the end of a buffer since the last time."""
        with _no_collection():  # which gives buffers back, and so changes what is looked through
            for key, held in list(self._held.items()):
                if held.pattern is not None and not self._look(held):
                    del self._held[key]
        found, self.faults = self.faults, []
        return found

    def left(self) -> list[str]:
        """What was taken since the case began and is still held, once nothing refers to it."""
        if len(self._held) > self._before:
            gc.collect()  # a cycle may hold some: an error that was caught, and where it was
        more = len(self._held) - self._before
        if more <= 0:
            return []
        newest = list(self._held.values())[-more:]
        return [
            f"{more} buffers of {sum(h.nbytes for h in newest):,} bytes are not given back, the last of "
            f"{newest[-1].nbytes:,}, though nothing of the case needs them any more: does the port keep "
            "what it was given (a Launch and its buffers)?"
        ]

    def _look(self, held: Held) -> bool:
        """Whether there is a band to look at; there is none in what was lost, of which the case says enough
        that lost it."""
        nbytes, pattern = held.nbytes, held.pattern
        whole = np.empty(nbytes + BAND, np.uint8)
        try:
            self.device.copy_out(memoryview(whole), held.handle)
        except LostError:
            return False
        wrong = np.flatnonzero(whole[nbytes:] != pattern)
        if wrong.size:
            assert pattern is not None
            self.faults.append(
                f"{wrong.size} bytes were written past the end of a buffer of {nbytes:,} bytes, "
                f"the first {int(wrong[0]) + 1} bytes past its last: 0x{int(whole[nbytes + wrong[0]]):02x}"
            )
            whole[nbytes:] = pattern  # so that it is told once
            self.device.copy_in(held.handle, memoryview(whole))
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
