"""What this machine can do, measured by a small C program: bytes copied and read, multiply-adds."""

from __future__ import annotations

import ctypes
import mmap
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from portwright.devices.toolchain import find_toolchain

from .peers import cores
from .workloads import Array

SOURCE = Path(__file__).with_name("limits.c")
LARGE_PAGE = 2 << 20


def aligned(array: Array) -> Array:
    """The array in large pages, as an allocator would give it that is made for large blocks."""
    room = mmap.mmap(-1, array.nbytes + LARGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):  # Linux; shared memory would not get them
        room.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(room, np.uint8)
    start = -whole.ctypes.data % LARGE_PAGE
    out = whole[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    out[...] = array
    return out


@cache
def _library() -> ctypes.CDLL:
    toolchain = find_toolchain()
    flags = [
        *(f for f in toolchain.flags if not f.startswith("-ffp-contract")),
        "-ffp-contract=fast",
        "-pthread",
    ]
    binary = toolchain.compile(SOURCE.read_text(encoding="utf-8"), flags)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "limits.so")
        path.write_bytes(binary)
        library = ctypes.CDLL(str(path))
    library.copy_bytes.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    library.copy_bytes.restype = None
    library.read_bytes.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    library.read_bytes.restype = ctypes.c_float
    library.multiply_add.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.POINTER(ctypes.c_float)]
    library.multiply_add.restype = ctypes.c_long
    return library


class Machine:
    """The C program, on every core that this process may use."""

    def __init__(self) -> None:
        self.library, self.threads = _library(), cores()

    def copy(self, out: Array, array: Array) -> None:
        """Copies between arrays made by ``aligned``."""
        self.library.copy_bytes(out.ctypes.data, array.ctypes.data, array.nbytes, self.threads)

    def read(self, array: Array) -> float:
        """Sums an array made by ``aligned``."""
        return float(self.library.read_bytes(array.ctypes.data, array.nbytes, self.threads))

    def multiply_add(self, rounds: int) -> int:
        """Multiplies and adds, and says how many operations it did."""
        return int(self.library.multiply_add(rounds, self.threads, ctypes.byref(ctypes.c_float())))


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes and operations in a second, on every core: the most that was seen.

    Attributes:
        copied: bytes read and written while copying.
        read: bytes read while summing.
        flops: multiply-adds, each counted as two.
    """

    copied: float
    read: float
    flops: float

    def floor(self, nbytes: int, flops: int) -> float:
        """The seconds below which a job cannot be done that moves so many bytes through memory."""
        return max(nbytes / max(self.copied, self.read), flops / self.flops)

    def or_more(self, other: Limits) -> Limits:
        """The most that either saw."""
        return Limits(
            max(self.copied, other.copied), max(self.read, other.read), max(self.flops, other.flops)
        )


def measure(nbytes: int = 256 << 20, rounds: int = 2_000_000, times: int = 7) -> Limits:
    """Measures this machine, in about a second."""
    machine = Machine()
    array = aligned(np.ones(nbytes // 4, np.float32))
    out = aligned(np.zeros(nbytes // 4, np.float32))
    copied, read, flops = [], [], []
    for _ in range(times):
        start = time.perf_counter()
        machine.copy(out, array)
        copied.append(2 * nbytes / (time.perf_counter() - start))
        start = time.perf_counter()
        machine.read(array)
        read.append(nbytes / (time.perf_counter() - start))
        start = time.perf_counter()
        done = machine.multiply_add(rounds)
        flops.append(done / (time.perf_counter() - start))
    assert np.array_equal(out, array)
    return Limits(max(copied), max(read), max(flops))
