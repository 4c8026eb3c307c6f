"""Metal's command queue: launches are collected in command buffers, which run one after another."""

from __future__ import annotations

import threading
from dataclasses import field
from math import prod
from typing import Any

from ..core.device import Launch, Spec
from ..core.errors import DeviceError
from ..core.record import dataclass
from .metal_library import Kernel
from .metal_open import Framework

BATCH = 32
"""Launches of a command buffer: each costs some microseconds, and the device should not wait for the last."""


@dataclass(slots=True)
class _Batch:
    """A command buffer, numbered in the order of their running.

    Attributes:
        number: of it.
        commands, encoder: Metal's; a serial encoder runs each kernel after the one before.
        names: of the kernels in it.
    """

    number: int
    commands: Any
    encoder: Any
    names: list[str] = field(default_factory=list)


class Queue:
    """Runs kernels in the order of their launches.

    Args:
        spec: of the port: its name and limits.
        framework: whose device.
    """

    def __init__(self, spec: Spec, framework: Framework) -> None:
        self.spec, self._framework = spec, framework
        with framework.pool():
            self._queue = framework.device.newCommandQueue()
        if self._queue is None:
            raise DeviceError(f"{spec.name} gives no command queue: too many are in use")
        self._lock = threading.RLock()
        self._open: _Batch | None = None
        self._running: list[_Batch] = []
        self._begun = 0
        self._seconds: float | None = None

    def launch(self, kernel: Kernel, launch: Launch, buffers: list[Any]) -> int:
        """Puts a kernel into the open command buffer; gives the number to ``wait`` for.

        Raises:
            DeviceError: when it is not within the limits.
        """
        self._check(kernel, launch)
        size = self._framework.metal.MTLSizeMake
        with self._lock, self._framework.pool():
            batch = self._open = self._open or self._begin()
            encoder = batch.encoder
            encoder.setComputePipelineState_(kernel.pipeline)
            for i, buffer in enumerate(buffers):
                encoder.setBuffer_offset_atIndex_(buffer, 0, i)
            encoder.dispatchThreadgroups_threadsPerThreadgroup_(size(*launch.grid), size(*launch.block))
            batch.names.append(kernel.name)
            if len(batch.names) == BATCH:
                self._commit()
            return batch.number

    def _check(self, kernel: Kernel, launch: Launch) -> None:
        spec = self.spec
        threads, most = prod(launch.block), min(kernel.threads, spec.max_block)
        if not 1 <= threads <= most:
            raise DeviceError(
                f"{spec.name} cannot launch kernel {kernel.name} with {threads:,} threads in a threadgroup: "
                f"it has 1 to {most:,}"
            )
        if any(not 1 <= g <= limit for g, limit in zip(launch.grid, spec.max_grid, strict=True)):
            raise DeviceError(
                f"{spec.name} cannot launch kernel {kernel.name} over {launch.grid} threadgroups: along the "
                f"axes there are 1 to {spec.max_grid}"
            )
        if len(launch.buffers) > spec.max_buffers:
            raise DeviceError(
                f"{spec.name} cannot launch kernel {kernel.name} on {len(launch.buffers)} buffers: it takes "
                f"at most {spec.max_buffers}"
            )

    def _begin(self) -> _Batch:
        commands = self._queue.commandBuffer()
        encoder = commands.computeCommandEncoder() if commands is not None else None
        if encoder is None:
            raise DeviceError(
                f"{self.spec.name} gives no command buffer: the device is gone, or out of memory"
            )
        self._begun += 1
        return _Batch(self._begun, commands, encoder)

    def _commit(self) -> None:
        batch, self._open = self._open, None
        if batch is not None:
            batch.encoder.endEncoding()
            batch.commands.commit()
            self._running.append(batch)

    def wait(self, number: int | None = None) -> None:
        """Returns when the command buffers up to ``number`` are done; all, without one.

        Raises:
            DeviceError: what went wrong in one of them.
        """
        with self._lock, self._framework.pool():
            if self._open is not None and (number is None or self._open.number <= number):
                self._commit()
            failed = []
            while self._running and (number is None or self._running[0].number <= number):
                batch = self._running.pop(0)
                batch.commands.waitUntilCompleted()
                self._seconds = float(batch.commands.GPUEndTime() - batch.commands.GPUStartTime())
                if batch.commands.status() == self._framework.metal.MTLCommandBufferStatusError:
                    failed.append(batch)
        if failed:
            raise DeviceError(self._explained(failed[0]))

    def _explained(self, batch: _Batch) -> str:
        error = batch.commands.error()
        said = "an error without words" if error is None else str(error.localizedDescription())
        return (
            f"{self.spec.name} cannot finish kernel {' or '.join(dict.fromkeys(batch.names))}: {said}. What "
            "they were to write is unset; if the next call fails too, start the program anew"
        )

    def seconds(self) -> float:
        """How long the last command buffer ran, with all kernels in it, by the device's clock; waits for it.

        Raises:
            DeviceError: when nothing was launched yet.
        """
        self.wait()
        if self._seconds is None:
            raise DeviceError(f"{self.spec.name} has launched nothing that could be timed")
        return self._seconds
