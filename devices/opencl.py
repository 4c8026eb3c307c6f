"""OPENCL: any device with an OpenCL driver, through pyopencl. The driver compiles the kernels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from ..core.cache import digest
from ..core.device import Evidence, Launch, Spec
from .family import Family
from .opencl_choice import Candidate, choose
from .opencl_dialect import OPENCL_C

if TYPE_CHECKING:
    from .opencl_limits import Limits
    from .opencl_memory import Memory
    from .opencl_program import Entry
    from .opencl_queue import Hint


class OpenCL(Family):
    """A device with an OpenCL driver, and the base of a vendor's port to one.

    A subclass states what it is ``called`` and its ``platform``; where its chip differs, it overrides
    ``claims`` (its compiler's flags are in ``Spec.driver``), and states its ``dtypes`` and another
    ``dialect``. On a device that is not of its platform it runs as well; a certificate calls that emulated.

    Args:
        argument: which: ``platform:device``, each a number as the drivers list them or a part of a name.
            Without it ``PORTWRIGHT_OPENCL`` says so in the same way (of ACME, ``PORTWRIGHT_ACME``); without
            that, it is the best there is of its platform.
    """

    called = "OPENCL"
    platform: ClassVar[str] = ""
    """A part of what its platform, its device or the vendor of either is called; empty: any will do."""
    dialect = OPENCL_C
    variants: ClassVar[Mapping[str, str]] = {"sanitize": f"{__package__}.opencl_oclgrind:Watched"}

    def __init__(self, argument: str | None = None) -> None:
        chosen = choose(self.called, argument or self.setting(), of=self.platform)
        from .opencl_facts import describe, limits_of

        spec = describe(self.called, chosen)
        if not chosen.is_of(self.platform):
            spec = replace(spec, evidence=Evidence.EMULATED)
        self._open(chosen, self.stated(spec), limits_of(chosen.device))

    def _open(self, chosen: Candidate, spec: Spec, limits: Limits, hints: Sequence[Hint] = ()) -> None:
        """Opens a device as one of this ``spec`` and ``limits``; ``hints`` are of its context."""
        from .opencl_image import Images  # these import pyopencl, which ``choose`` has made sure of
        from .opencl_launch import Launcher
        from .opencl_memory import Pool
        from .opencl_program import Builder
        from .opencl_queue import open_queue

        self.spec = spec
        self._queue = open_queue(spec.name, chosen, hints)
        self._pool = Pool(spec.name, self._queue, limits, mapped=spec.unified_memory)
        self._builder = Builder(spec, self._queue, self.compiler_key())
        self._launcher = Launcher(spec, self._pool, Images(spec.name, self._queue, limits))

    def alloc(self, nbytes: int) -> Memory:
        """A buffer: one that was freed before, where one is of the size."""
        return self._pool.alloc(nbytes)

    def free(self, handle: Memory, nbytes: int) -> None:
        """Keeps the buffer for the next of its size."""
        self._pool.free(handle)

    def copy_in(self, handle: Memory, data: memoryview) -> None:
        """Through the queue; into mapped memory, where host and device share it."""
        self._pool.write(handle, data)

    def copy_out(self, data: memoryview, handle: Memory) -> None:
        """Through the queue, after what was launched; from mapped memory, where host and device share it."""
        self._pool.read(data, handle)

    def host_view(self, handle: Memory, nbytes: int) -> memoryview:
        """The memory itself; after a launch, as it is once ``synchronize`` returns."""
        return self._pool.view(handle)[:nbytes]

    def synchronize(self) -> None:
        """Waits for the queue."""
        self._pool.finish()

    def compile(self, source: str) -> bytes:
        """OpenCL C to the driver's binary, with the kinds of its kernels' arguments, sealed."""
        return self._builder.compile(source)

    def compiler_key(self) -> str:
        """Platform, device, driver, language and flags; those that pyopencl adds, too."""
        return digest(
            *(f"{k}={v}" for k, v in self.spec.driver.items()), os.environ.get("PYOPENCL_BUILD_OPTIONS", "")
        )

    def load(self, binary: bytes, entries: Sequence[str]) -> list[Entry]:
        """The kernels of a binary, kept as the driver's kernel objects."""
        return self._builder.load(binary, entries)

    def launch(self, launch: Launch) -> None:
        """Enqueues a kernel: ``grid`` work-groups of ``block`` work items."""
        self._launcher.launch(launch)

    def launch_seconds(self) -> float:
        """How long the last kernel that was launched ran, by the device's own clock; waits for it."""
        return self._launcher.seconds()

    def close(self) -> None:
        """Waits for the queue, and gives the memory that is kept for reuse back to the driver."""
        self._pool.trim(0)
