"""A CUDA device's memory: what tensors hold, and copies by way of pinned memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..core.errors import DeviceError, OutOfMemoryError
from ..core.record import dataclass
from .cuda_driver import Bytes, Driver
from .cuda_guard import DriverFullError, Guard

CHUNK = 4 << 20
"""Bytes of a piece of a copy: the host fills one while the device reads the other."""


@dataclass(slots=True)
class _Slot:
    """Pinned memory, and the mark behind the last copy that used it."""

    memory: Bytes
    mark: Any = None


class Memory:
    """Buffers are addresses; every one that is handed to the driver is first looked up here.

    Args:
        guard: of the device's context.
        driver: whose memory.
    """

    def __init__(self, guard: Guard, driver: Driver) -> None:
        self.name, self._guard, self._driver = guard.name, guard, driver
        self._sizes: dict[int, int] = {}
        self._slots: list[_Slot] = []
        self._copying = threading.Lock()  # the slots are used by one copy at a time

    @property
    def held(self) -> int:
        """Bytes that tensors hold."""
        return sum(list(self._sizes.values()))

    def alloc(self, nbytes: int) -> int:
        """The address of new memory; what is kept for reuse is given up before there is said to be none."""
        with self._guard.calls(f"allocate {nbytes:,} bytes", lambda: self.full(nbytes)):
            try:
                address = self._driver.alloc(nbytes)
            except DriverFullError:
                self._driver.trim()
                address = self._driver.alloc(nbytes)
        self._sizes[address] = nbytes
        return address

    def free(self, address: int) -> None:
        """Gives memory back after what was launched on it; of a context that is gone, there is none."""
        self.check(address)
        del self._sizes[address]
        if self._guard.reachable():
            with self._guard.calls("free memory"):
                self._driver.free(address)

    def full(self, nbytes: int) -> OutOfMemoryError:
        """What is said when there is no room."""
        free, total = self._driver.room()
        return OutOfMemoryError(
            f"{self.name} has no room for {nbytes:,} bytes: tensors hold {self.held:,}, and {free:,} of the "
            f"device's {total:,} are free, perhaps in pieces. Free some tensors, or use smaller ones or a "
            "smaller batch"
        )

    def check(self, handle: object) -> int:
        """``handle``, when it is memory that is held.

        Raises:
            DeviceError: when it is anything else, which a driver would take for an address.
        """
        if isinstance(handle, int) and handle in self._sizes:
            return handle
        raise DeviceError(
            f"{self.name} was given {handle!r}, which is no buffer of its own, or one that was freed: keep a "
            "tensor's Buffer as long as it is used"
        )

    def write(self, handle: object, data: memoryview) -> None:
        """Host bytes to the start of a buffer; all are taken when this returns, not all may have arrived."""
        address, host = self._both(handle, data)
        with self._copying, self._guard.calls(f"copy {host.size:,} bytes in"):
            for slot, at, piece in self._pieces(host):
                slot.memory[: piece.size] = piece
                self._driver.to_device(address + at, slot.memory[: piece.size])
                slot.mark = self._driver.mark()

    def read(self, data: memoryview, handle: object) -> None:
        """The start of a buffer to host bytes, after everything that was launched before."""
        address, host = self._both(handle, data)
        with self._copying, self._guard.calls(f"copy {host.size:,} bytes out"):
            coming: list[tuple[_Slot, Bytes]] = []
            for slot, at, piece in self._pieces(host):
                self._driver.to_host(slot.memory[: piece.size], address + at)
                slot.mark = self._driver.mark()
                coming.append((slot, piece))
                if len(coming) == len(self._slots):
                    self._take(*coming.pop(0))
            for slot, piece in coming:
                self._take(slot, piece)

    def _take(self, slot: _Slot, piece: Bytes) -> None:
        self._driver.reach(slot.mark)
        piece[:] = slot.memory[: piece.size]

    def _both(self, handle: object, data: memoryview) -> tuple[int, Bytes]:
        """A buffer's address, and host bytes that it has room for."""
        address = self.check(handle)
        if data.nbytes > self._sizes[address]:
            raise DeviceError(
                f"{self.name}: {data.nbytes:,} bytes do not fit a buffer of {self._sizes[address]:,}"
            )
        return address, np.frombuffer(data, np.uint8)

    def _pieces(self, host: Bytes) -> Iterator[tuple[_Slot, int, Bytes]]:
        """Pieces of a copy: pinned memory that the device is done with, where the piece begins, its bytes."""
        if not self._slots:
            self._slots = [_Slot(self._driver.pinned(CHUNK)) for _ in range(2)]
        for i, at in enumerate(range(0, host.size, CHUNK)):
            slot = self._slots[i % 2]
            if slot.mark is not None:
                self._driver.reach(slot.mark)
                slot.mark = None
            yield slot, at, host[at : at + CHUNK]
