"""CPU: the host's processor. Kernels are C, compiled by the C compiler and run on a pool of threads."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar

from ..core import dtype as dtypes
from ..core.cache import compile_cache
from ..core.device import Ability, Buffer, Device, Extra, Launch, Spec
from ..core.errors import OutOfMemoryError
from ..core.ops import ALL_OPS, Op
from ..core.without import without
from . import host
from .c_dialect import C
from .toolchain import find_toolchain
from .trampoline import open_trampoline


@dataclass(slots=True)
class Recording:
    """Launches as ``runtime.c`` reads them, with what must live as long.

    Attributes:
        records: one for each launch.
        args: the addresses of all launches' buffers, one launch after another.
        first: where each launch's addresses begin in ``args``.
        buffers: as in ``args``, so that their memory is not given back.
    """

    records: Any
    args: Any
    first: list[int]
    buffers: list[Buffer]


class CPU(Device):
    """The host's processor, through its C compiler; ``CPU:without=SIN,int64`` claims less (``without``)."""

    default_rank: ClassVar[int] = 1
    dialect = C
    variants: ClassVar[Mapping[str, str]] = {"sanitize": f"{__package__}.cpu_sanitized:SanitizedCPU"}
    compiler = staticmethod(find_toolchain)

    def __init__(self, argument: str | None = None) -> None:
        self._toolchain = self.compiler()
        self._runtime = open_trampoline(self._toolchain)
        self._ffi, self._lib = self._runtime.ffi, self._runtime.lib
        self._packers: dict[int, struct.Struct] = {}
        threads = self._lib.pw_open(host.thread_count(), host.keep_bytes())
        vectors = self._toolchain.vectors
        spec = Spec(
            "CPU",
            dtypes=frozenset(dtypes.ALL),
            native=ALL_OPS - {Op.EXP2, Op.LOG2, Op.SIN},  # libm would compute them a lane at a time
            arithmetic=frozenset(dtypes.ALL) - {dtypes.float16, dtypes.bfloat16} - dtypes.FLOAT8S,
            extras=frozenset({Extra.DIV} | ({Extra.FMA} if self._toolchain.has_fma else set())),
            abilities=frozenset({Ability.REPLAY, Ability.HOST_VIEW}),
            vector_bytes=vectors.nbytes,
            vector_registers=vectors.registers,
            threads=threads,
            cache_bytes=host.cache_bytes(),
            unified_memory=True,
            driver={
                "compiler": " ".join(self._toolchain.command),
                "version": self._toolchain.version,
                "flags": " ".join(self._toolchain.kernel_flags),
                "machine": host.processor_name(),
                "calls": self._runtime.mode,
            },
        )
        self.spec = without(spec, argument)

    def alloc(self, nbytes: int) -> int:
        """The address of 64-byte aligned memory: a block that was freed before, where one fits."""
        address: int = self._lib.pw_alloc(nbytes)
        if not address:
            held, kept = self.memory()
            raise OutOfMemoryError(
                f"CPU has no room for {nbytes:,} bytes: tensors hold {held:,}, {kept:,} are kept for reuse. "
                "Free some tensors, or use smaller ones or a smaller batch"
            )
        return address

    def free(self, handle: int, nbytes: int) -> None:
        """Keeps the block for the next of its size."""
        self._lib.pw_free(handle, nbytes)

    def memory(self) -> tuple[int, int]:
        """Bytes of the blocks in use, and of those that are kept for reuse."""
        out = self._ffi.new("uint64_t[2]")
        self._lib.pw_memory(out)
        return out[0], out[1]

    def copy_in(self, handle: int, data: memoryview) -> None:
        """Host to host, by all threads when it is large."""
        self._lib.pw_copy_in(handle, self._ffi.from_buffer(data), data.nbytes)

    def copy_out(self, data: memoryview, handle: int) -> None:
        """Host to host, by all threads when it is large."""
        self._lib.pw_copy_out(self._ffi.from_buffer(data, require_writable=True), handle, data.nbytes)

    def host_view(self, handle: int, nbytes: int) -> memoryview:
        """The memory itself."""
        return memoryview(self._ffi.buffer(self._ffi.cast("char *", handle), nbytes))

    def compile(self, source: str) -> bytes:
        """C to a shared library."""
        return self._toolchain.compile(source, self._toolchain.kernel_flags)

    def compiler_key(self) -> str:
        """Compiler, version, flags and the target's macros: safe in a folder that several machines share."""
        return self._toolchain.key

    def load(self, binary: bytes, entries: Sequence[str]) -> list[int]:
        """The addresses of the kernels of a shared library. It stays loaded as long as the process lives."""
        return self._runtime.load(compile_cache().file(binary, ".so"), entries)

    def launch(self, launch: Launch) -> None:
        """Runs a kernel to its end: work items 0 to ``grid[0]``, shared out among the threads."""
        buffers = launch.buffers
        packer = self._packers.get(len(buffers))
        if packer is None:
            packer = self._packers[len(buffers)] = struct.Struct(f"{len(buffers)}N")
        self._lib.pw_launch(launch.program, launch.grid[0], packer.pack(*[b.handle for b in buffers]))

    def record(self, launches: Sequence[Launch]) -> Recording:
        """The launches as one array that ``replay`` runs in one call."""
        buffers = [b for launch in launches for b in launch.buffers]
        args = self._ffi.new("uintptr_t[]", [b.handle for b in buffers] or 1)
        records = self._ffi.new("pw_record[]", len(launches))
        first = list(accumulate((len(launch.buffers) for launch in launches), initial=0))[:-1]
        for record, launch, at in zip(records, launches, first, strict=True):
            record.kernel, record.items, record.args = launch.program, launch.grid[0], args + at
        return Recording(records, args, first, buffers)

    def rebind(self, recording: Recording, launch: int, argument: int, buffer: Buffer) -> None:
        """Sets one argument of one launch to another buffer."""
        at = recording.first[launch] + argument
        recording.args[at] = buffer.handle
        recording.buffers[at] = buffer

    def replay(self, recording: Recording) -> None:
        """Runs the launches in order, in one call."""
        self._lib.pw_replay(recording.records, len(recording.first))
