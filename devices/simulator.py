"""The simulators' common part: a port's own generated text, compiled as C++ and run on the host.

The text is compiled unchanged behind a shim header, which gives the host's compiler the words of the
language, and run by ``sim/blocks.cpp``, block by block: in three orders of blocks and threads that must agree
to the bit, with a fiber a thread where a kernel has barriers. Buffers lie between canaries.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import ClassVar

from ..core.cache import digest
from ..core.device import Device, Evidence, Launch, Spec
from ..core.errors import DeviceError, OutOfMemoryError
from .host import processor_name
from .sim.explain import Outcome, explain
from .sim.runtime import FOLDER, MAX_THREADS, Program, Runtime, cpp_flags, headers
from .sim_limit import sim_seconds
from .toolchain import find_toolchain

_SECONDS = 120
# A wrong index or alignment ends the kernel instead of reading on: both compilers know these words.
_CHECKS = ("-fsanitize=bounds,alignment", "-fsanitize-undefined-trap-on-error")


class Simulator(Device):
    """A port's text on the host. A subclass names the shim and the port's dialect, and reads the heads.

    Raises:
        DeviceError: when no C++ compiler works.
    """

    shim: ClassVar[str]
    """The header that the text is compiled behind: one of ``sim/``, or the path of one that includes it."""

    def __init__(self, spec: Spec) -> None:
        self._toolchain = find_toolchain()
        self._runtime = Runtime(self._toolchain)
        self._held: dict[int, int] = {}
        shim = FOLDER / self.shim
        if not shim.is_file():
            raise DeviceError(f"{spec.name}: there is no header {shim} to compile its kernels behind")
        self._flags = (*cpp_flags(self._toolchain), *_CHECKS, "-include", str(shim))
        self._key = digest(self._toolchain.key, headers(), shim.read_bytes(), *self._flags)
        self.spec = replace(
            spec,
            evidence=Evidence.EMULATED,
            unified_memory=False,
            memory_bytes=0,  # it is the host's
            max_block=min(spec.max_block, MAX_THREADS),
            driver={
                "device": f"a simulator of {spec.name} on this host",
                "machine": processor_name(),
                "compiler": " ".join(self._toolchain.command),
                "version": self._toolchain.version,
            },
        )

    @abstractmethod
    def entries(self, source: str) -> list[str]:
        """The lines behind ``source`` that state its kernels (``sim.heads.entry``)."""

    def defines(self, source: str) -> list[str]:
        """What else the compiler is told to read ``source`` by: its options."""
        return []

    def alloc(self, nbytes: int) -> int:
        """The address of host memory between canaries."""
        address: int = self._runtime.lib.pw_sim_alloc(nbytes)
        if not address:
            raise OutOfMemoryError(
                f"{self.name} has no room for {nbytes:,} bytes: buffers hold {sum(self._held.values()):,}. "
                "Free some tensors, or use smaller ones"
            )
        self._held[address] = nbytes
        return address

    def free(self, handle: int, nbytes: int) -> None:
        """Gives the memory back."""
        del self._held[handle]
        self._runtime.lib.pw_sim_free(handle)

    def copy_in(self, handle: int, data: memoryview) -> None:
        """Host to host."""
        ffi = self._runtime.ffi
        ffi.memmove(ffi.cast("char *", handle), data, data.nbytes)

    def copy_out(self, data: memoryview, handle: int) -> None:
        """Host to host."""
        ffi = self._runtime.ffi
        ffi.memmove(data, ffi.cast("char *", handle), data.nbytes)

    def compile(self, source: str) -> bytes:
        """The text as C++, to a shared library."""
        text = "\n".join([source, *self.entries(source), ""])
        return self._toolchain.compile(text, [*self._flags, *self.defines(source)], "c++")

    def compiler_key(self) -> str:
        """Compiler, version, flags, target, and the content of the shims."""
        return self._key

    def load(self, binary: bytes, entries: Sequence[str]) -> list[Program]:
        """The kernels of a library."""
        return [self._runtime.load(binary, name) for name in entries]

    def launch(self, launch: Launch) -> None:
        """Runs a kernel to its end, in every order.

        Raises:
            DeviceError: what is wrong with the kernel, and where; or that the launch does not suit it.
        """
        program: Program = launch.program
        self._check(launch)
        seconds = int(sim_seconds(_SECONDS))
        buffers = [(b.handle, self._held[b.handle]) for b in launch.buffers]
        flushes = self.spec.flushes_subnormals
        report = self._runtime.launch(program, launch.grid, launch.block, buffers, seconds, flushes)
        if report.outcome != Outcome.FINE:
            raise DeviceError(f"{self.name}: {explain(report, program, seconds)}")

    def _check(self, launch: Launch) -> None:
        program, spec = launch.program, self.spec
        takes, given = len(program.parameters), len(launch.buffers)
        if takes != given:
            raise DeviceError(f"{self.name}: kernel {program.name} takes {takes} buffers, not {given}")
        if any(b.handle not in self._held for b in launch.buffers):
            raise DeviceError(
                f"{self.name}: kernel {program.name} is launched on memory that is not held here"
            )
        if not 1 <= prod(launch.block) <= spec.max_block or min(launch.block) < 1:
            raise DeviceError(
                f"{self.name}: kernel {program.name} is launched with blocks of {launch.block} threads: a "
                f"block has 1 to {spec.max_block}"
            )
        if any(not 1 <= g <= most for g, most in zip(launch.grid, spec.max_grid, strict=True)):
            raise DeviceError(
                f"{self.name}: kernel {program.name} is launched over a grid of {launch.grid} blocks: each "
                f"axis has 1 to {spec.max_grid}"
            )
