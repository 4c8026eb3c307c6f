"""Devices that are the host: memory, threads and launches by ``runtime.c``."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from ..core.cache import compile_cache
from ..core.device import Buffer, Device, Launch
from ..core.errors import OutOfMemoryError
from ..core.record import dataclass
from . import host
from .toolchain import Toolchain
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


@dataclass(frozen=True, slots=True)
class _Owned:
    """What a player reads: a recording, and the row that points into it."""

    recording: Recording
    row: Any


class HostRuntime(Device):
    """A device whose kernels are functions of this process; a subclass says how they are compiled."""

    def start(self, toolchain: Toolchain) -> int:
        """Starts the pool of threads, and says how many there are."""
        self._runtime = open_trampoline(toolchain)
        self._ffi, self._lib = self._runtime.ffi, self._runtime.lib
        self._packers: dict[int, struct.Struct] = {}
        threads: int = self._lib.pw_open(host.thread_count(), host.keep_bytes())
        return threads

    def alloc(self, nbytes: int) -> int:
        """The address of 64-byte aligned memory: a block that was freed before, where one fits."""
        address: int = self._lib.pw_alloc(nbytes)
        if not address:
            held, kept = self.memory()
            raise OutOfMemoryError(
                f"{self.name} has no room for {nbytes:,} bytes: tensors hold {held:,}, {kept:,} are kept for "
                "reuse. Free some tensors, or use smaller ones or a smaller batch"
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

    def player(self, recording: Recording) -> Callable[[], None]:
        """``replay`` of it as one C function, which keeps Python's lock while what it runs is very short."""
        if self._runtime.player is None:
            return super().player(recording)
        row = self._ffi.new("pw_row *")
        row.records, row.count = recording.records, len(recording.first)
        row.alone = all(recording.records[i].items <= 1 for i in range(row.count))  # waits for no worker
        return self._runtime.player(int(self._ffi.cast("uintptr_t", row)), _Owned(recording, row))
