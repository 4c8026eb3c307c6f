"""CUDA: NVIDIA's GPUs, through their driver and compiler. Kernels are CUDA C++."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from ..core.cache import digest
from ..core.device import Ability, Buffer, Launch
from ..core.errors import DeviceError
from .cuda_driver import Driver, open_driver
from .cuda_guard import Guard
from .cuda_launch import Kernel, Launcher, Recording
from .cuda_memory import Memory
from .cuda_nvrtc import FLAGS, target
from .cuda_spec import cuda_spec
from .cuda_text import CUDAText

if TYPE_CHECKING:
    from .cuda_nvrtc import Compiler


class CUDA(CUDAText):
    """A GPU of NVIDIA's, and the base of a vendor's port to a chip with a driver and a language like CUDA's.

    A subclass states what it is ``called``; where its chip differs, it overrides ``claims``, ``driver`` and
    ``compiler``, and states its ``dtypes`` and another ``dialect``. See ``CUDAText``.

    Args:
        argument: which, as the driver numbers them: "0". Without it ``PORTWRIGHT_CUDA`` says so (of ACME,
            ``PORTWRIGHT_ACME``); without that, it is the first, as ``CUDA_VISIBLE_DEVICES`` may order them.

    Raises:
        DeviceError: when it does not open: what is missing and how to mend it.
    """

    variants: ClassVar[Mapping[str, str]] = {
        "sim": "portwright.devices.cuda_sim:CUDASim",
        "sm_80": "portwright.devices.cuda_compiled:SM80",
        "sm_90": "portwright.devices.cuda_compiled:SM90",
    }

    def __init__(self, argument: str | None = None) -> None:
        which = argument or self.setting()
        if which is not None and not which.isdecimal():
            ways = ", ".join(f"{self.called}:{v}" for v in ("0", *self.variants))
            raise DeviceError(
                f"{which!r} is no {self.called} device: write its number, as its driver lists it, or name a "
                f"variant: {ways}"
            )
        self._open(self.driver(None if which is None else int(which)), self.compiler())

    def driver(self, ordinal: int | None) -> Driver:
        """The chip's driver, with the device of a number; without one, the first.

        Of another driver than NVIDIA's with the same calls, a subclass gives a ``Driver`` over a module that
        has those of ``pycuda.driver``.

        Raises:
            DeviceError: what is missing and how to mend it.
        """
        return open_driver(ordinal)

    def _open(self, driver: Driver, compiler: Compiler) -> None:
        """Opens the device that a driver has; tests come in here with a fake."""
        self._driver, self._compiler = driver, compiler
        self._architecture = target(compiler, driver.facts.capability)
        described = {**driver.described, "compiler": compiler.version, "flags": " ".join(FLAGS)}
        described["architecture"] = self._architecture
        spec = cuda_spec(self.called, driver.facts, driver=described)
        self.spec = self.stated(replace(spec, abilities=frozenset({Ability.REPLAY, Ability.CLOCK})))
        self._guard = Guard(self.called, driver)
        self._memory = Memory(self._guard, driver)
        self._launcher = Launcher(self.spec, self._guard, driver, self._memory)

    def alloc(self, nbytes: int) -> int:
        """Memory's address, from the driver's stream-ordered pool."""
        return self._memory.alloc(nbytes)

    def free(self, handle: int, nbytes: int) -> None:
        """Back to the pool, after what was launched on it."""
        self._memory.free(handle)

    def copy_in(self, handle: int, data: memoryview) -> None:
        """Through pinned memory, in its place on the stream."""
        self._memory.write(handle, data)

    def copy_out(self, data: memoryview, handle: int) -> None:
        """Through pinned memory, after what was launched."""
        self._memory.read(data, handle)

    def synchronize(self) -> None:
        """Waits for the stream."""
        with self._guard.calls("finish what was launched"):
            self._driver.synchronize()

    def compile(self, source: str) -> bytes:
        """CUDA C++ to machine code for this GPU."""
        return self._compiler.compile(source, self._architecture)

    def compiler_key(self) -> str:
        """Compiler, flags and architecture; the driver compiles nothing."""
        return digest(self._compiler.version, *FLAGS, self._architecture)

    def load(self, binary: bytes, entries: Sequence[str]) -> list[Kernel]:
        """The kernels of machine code."""
        return self._launcher.load(binary, entries)

    def launch(self, launch: Launch) -> None:
        """Puts a kernel on the stream."""
        self._launcher.launch(launch)

    def record(self, launches: Sequence[Launch]) -> Recording:
        """The launches, to run again; a graph of the driver's from their second run on."""
        return self._launcher.record(launches)

    def rebind(self, recording: Recording, launch: int, argument: int, buffer: Buffer) -> None:
        """Sets one argument of one launch to another buffer."""
        self._launcher.rebind(recording, launch, argument, buffer)

    def replay(self, recording: Recording) -> None:
        """Runs the launches in order."""
        self._launcher.replay(recording)

    def launch_seconds(self) -> float:
        """How long the last kernel, or recording, ran, by the device's own clock; waits for it."""
        return self._launcher.seconds()

    def close(self) -> None:
        """Waits for the stream, and lets go of the context."""
        with self._guard.calls("close"):
            self._driver.trim()
        self._driver.close()
