"""METAL: Apple's GPUs, through Metal. Not run on a Mac yet: docs/porting/metal.md says what was checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from ..core.cache import digest
from ..core.device import Ability, Launch
from ..core.errors import DeviceError
from .metal_library import Kernel, Libraries
from .metal_memory import Memory, Pool
from .metal_open import Framework, describe, facts_of, open_framework
from .metal_queue import Queue
from .metal_spec import metal_spec
from .metal_text import MetalText


class Metal(MetalText):
    """The GPU of a Mac, and the base of a vendor's port to a chip with a framework and language like Metal's.

    A subclass states what it is ``called``; where its chip differs, it overrides ``claims`` and
    ``framework``, and states its ``dtypes`` and another ``dialect``. See ``MetalText``.

    Raises:
        DeviceError: when it does not open: what is missing and how to mend it.
    """

    variants: ClassVar[Mapping[str, str]] = {"sim": "portwright.devices.metal_sim:MetalSim"}

    def __init__(self) -> None:
        self._open(self.framework())

    def framework(self) -> Framework:
        """The chip's framework, with a device; Apple's own, unless a subclass has another of the same calls.

        Raises:
            DeviceError: what is missing and how to mend it.
        """
        return open_framework()

    def _open(self, framework: Framework) -> None:
        """Opens a framework's device; tests come in here with fakes."""
        facts = facts_of(framework)
        spec = metal_spec(self.called, facts, driver=describe(framework))
        self.spec = self.stated(replace(spec, abilities=frozenset({Ability.HOST_VIEW, Ability.CLOCK})))
        self._queue = Queue(self.spec, framework)
        self._pool = Pool(self.called, framework, self._queue)
        self._libraries = Libraries(self.spec, framework, facts.bfloat)

    def alloc(self, nbytes: int) -> Memory:
        """A buffer that the host shares: one that was freed before, where one is of the size."""
        return self._pool.alloc(nbytes)

    def free(self, handle: Memory, nbytes: int) -> None:
        """Keeps the buffer for the next of its size."""
        self._pool.free(handle)

    def copy_in(self, handle: Memory, data: memoryview) -> None:
        """Host to host, after what was launched on the buffer."""
        self._pool.bytes_of(handle, data.nbytes)[:] = data.cast("B")

    def copy_out(self, data: memoryview, handle: Memory) -> None:
        """Host to host, after what was launched on the buffer."""
        data.cast("B")[:] = self._pool.bytes_of(handle, data.nbytes)

    def host_view(self, handle: Memory, nbytes: int) -> memoryview:
        """The memory itself; after a launch, as it is once ``synchronize`` returns."""
        return self._pool.bytes_of(handle, nbytes)

    def synchronize(self) -> None:
        """Commits what was launched, and waits for it."""
        self._queue.wait()

    def compile(self, source: str) -> bytes:
        """The text, once Metal's compiler has taken it."""
        return self._libraries.compile(source)

    def compiler_key(self) -> str:
        """Device and system, which the compiler is a part of."""
        return digest(*(f"{k}={v}" for k, v in self.spec.driver.items()))

    def load(self, binary: bytes, entries: Sequence[str]) -> list[Kernel]:
        """The kernels of a text, as pipelines."""
        return self._libraries.load(binary, entries)

    def launch(self, launch: Launch) -> None:
        """Puts a kernel into the open command buffer."""
        if not isinstance(launch.program, Kernel):
            raise DeviceError(
                f"{self.called} cannot launch a {type(launch.program).__name__}: load gives kernels"
            )
        memories = [self._pool.check(b.handle) for b in launch.buffers]
        number = self._queue.launch(launch.program, launch, [m.buffer for m in memories])
        for memory in memories:
            memory.used = number

    def launch_seconds(self) -> float:
        """How long the last command buffer ran, with all kernels in it, by the device's own clock."""
        return self._queue.seconds()

    def close(self) -> None:
        """Waits, and lets the memory go that is kept for reuse."""
        self._queue.wait()
        self._pool.trim(0)
