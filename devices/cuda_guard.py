"""Every call of NVIDIA's driver: in the device's context, in its process, with errors that say what to do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from ..core.errors import DeviceError, OutOfMemoryError


class DriverError(Exception):
    """The driver refused a call; its own words."""


class DriverFullError(DriverError):
    """The driver has no memory."""


class Contexts(Protocol):
    """What of a driver is needed here."""

    def push(self) -> None:
        """Makes the device's context the current one of this thread."""

    def pop(self) -> None:
        """Makes the one before it current again."""

    def synchronize(self) -> None:
        """Waits for everything that was launched."""


class Guard:
    """Holds the door of a device's context.

    A kernel that reads where it must not, or hangs until it is stopped, takes the whole context with it: each
    later call of the process would fail with the same words. That is found out once, and said from then on.

    Args:
        name: the port's, for messages.
        driver: whose context.
    """

    def __init__(self, name: str, driver: Contexts) -> None:
        self.name, self._driver = name, driver
        self._process = os.getpid()
        self._lost = ""

    @contextmanager
    def calls(self, doing: str, full: Callable[[], OutOfMemoryError] | None = None) -> Iterator[None]:
        """Inside, the context is current, and an error of the driver becomes one that says what failed.

        Args:
            doing: "launch kernel sum_4".
            full: what to raise when the driver has no memory.

        Raises:
            DeviceError: when the driver refuses, when the context is gone, or in a forked child.
        """
        self._check()
        try:
            self._driver.push()
            try:
                yield
            except DriverFullError as e:
                raise (full() if full else DeviceError(f"{self.name} cannot {doing}: {e}")) from e
            except DriverError as e:
                raise self._explained(doing, e) from e
            finally:
                self._driver.pop()
        except DriverError as e:
            raise DeviceError(f"{self.name} cannot {doing}: {e}") from e

    def reachable(self) -> bool:
        """Whether a call could work; where none could, there is nothing to give memory back to."""
        return not self._lost and os.getpid() == self._process

    def _check(self) -> None:
        if os.getpid() != self._process:
            raise DeviceError(
                f"{self.name} was opened before this process was forked, and a CUDA context does not come "
                "along. Start processes with multiprocessing's spawn, or open devices in the child alone"
            )
        if self._lost:
            raise DeviceError(self._lost)

    def _explained(self, doing: str, error: DriverError) -> DeviceError:
        try:
            self._driver.synchronize()
        except DriverError:
            self._lost = (
                f"{self.name} is gone: its context was lost when it was to {doing}: {error}. What was on the "
                "device is lost with it, and no call of this process reaches it again: start the program "
                "anew. compute-sanitizer finds a kernel that reads or writes where it must not"
            )
            return DeviceError(self._lost)
        return DeviceError(f"{self.name} cannot {doing}: {error}")
