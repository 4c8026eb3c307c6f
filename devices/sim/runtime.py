"""``blocks.cpp``, compiled once and reached through cffi: memory with canaries, and launches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...core.cache import compile_cache, digest
from ...core.errors import CompileError, DeviceError, DriverMissingError
from ...core.record import dataclass
from ..toolchain import Toolchain

FOLDER = Path(__file__).parent
# No guards of statics: GCC would guard an array of __half, though nothing initialises it.
FLAGS = (
    "-std=gnu++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", "-fvisibility=hidden",
    "-I", str(FOLDER),
)  # fmt: skip
MAX_THREADS = 1024
"""Of a block."""
_DECLARATIONS = """
typedef struct { const char *name; unsigned element; int written; } Parameter;
typedef struct { int count; const Parameter *parameters; } Entry;
typedef struct { unsigned x, y, z; } Index3;
typedef struct {
    const Entry *entry;
    Index3 grid, block;
    int count;
    uintptr_t *args;
    uint64_t *sizes;
    long seconds;
    int flushes;
} Job;
typedef struct {
    int outcome, order, cause, signal;
    Index3 block, thread, other;
    unsigned line, other_line, count, other_count;
    int parameter;
    long long offset;
} Report;
int pw_sim_launch(const Job *job, Report *to);
uintptr_t pw_sim_alloc(uint64_t nbytes);
void pw_sim_free(uintptr_t data);
const Entry *pw_sim_load(const char *path, const char *symbol, char *why, size_t size);
"""


def cpp_flags(toolchain: Toolchain) -> tuple[str, ...]:
    """What C++ is compiled with: the toolchain's flags, of which the last of a kind counts, and ours."""
    return (*(f for f in toolchain.flags if not f.startswith("-std=")), *FLAGS)


def headers() -> str:
    """One name for the content of everything that kernels are compiled against."""
    files = sorted(p for p in FOLDER.iterdir() if p.is_file() and p.suffix != ".py")
    return digest(*[part for p in files for part in (p.name, p.read_bytes())])


@dataclass(frozen=True)
class Parameter:
    """A parameter of a loaded kernel: its name, the bytes of an element, whether it may be written."""

    name: str
    element: int
    is_written: bool


@dataclass(frozen=True)
class Program:
    """A kernel that is ready to run."""

    name: str
    entry: Any
    parameters: tuple[Parameter, ...]


class Runtime:
    """The compiled runtime.

    Raises:
        DeviceError: when it does not compile or load: why, and what to install.
    """

    def __init__(self, toolchain: Toolchain) -> None:
        from cffi import FFI

        self.ffi = FFI()
        self.ffi.cdef(_DECLARATIONS)
        flags = (*cpp_flags(toolchain), "-pthread")
        cache, key = compile_cache(), digest("simulator", headers(), toolchain.key, *flags)
        binary = cache.get(key)
        if binary is None:
            source = (FOLDER / "blocks.cpp").read_text()
            try:
                binary = toolchain.compile(source, flags, "c++")
            except CompileError as e:
                raise DriverMissingError(
                    f"the simulator's runtime does not compile: {e}",
                    "It takes a C++ compiler on Linux: apt-get install g++, or set CC to a clang",
                ) from e
            cache.put(key, binary)
        try:
            self.lib: Any = self.ffi.dlopen(str(cache.file(binary, ".so")), self.ffi.RTLD_NOW)
        except OSError as e:
            raise DeviceError(
                f"the simulator's runtime does not load: {e}. If its folder forbids programs to run "
                "(noexec), set PORTWRIGHT_CACHE to one that allows it"
            ) from e

    def load(self, binary: bytes, name: str) -> Program:
        """A kernel of a compiled text. The library stays loaded as long as the process lives."""
        path = compile_cache().file(binary, ".so")
        why = self.ffi.new("char[]", 1024)
        entry = self.lib.pw_sim_load(os.fsencode(path), f"pw_entry_{name}".encode(), why, 1024)
        if not entry:
            text = self.ffi.string(why).decode(errors="replace")
            raise DeviceError(f"the simulator cannot load kernel {name}: {text}")
        rows = [entry.parameters[i] for i in range(entry.count)]
        made = [Parameter(self.ffi.string(r.name).decode(), r.element, bool(r.written)) for r in rows]
        return Program(name, entry, tuple(made))

    def launch(
        self,
        program: Program,
        grid: Sequence[int],
        block: Sequence[int],
        buffers: Sequence[tuple[int, int]],
        seconds: int,
        flushes: bool,
    ) -> Any:
        """Runs a kernel in every order, with subnormals flushed or kept. Gives the report.

        ``buffers`` are addresses and bytes.
        """
        ffi = self.ffi
        args = ffi.new("uintptr_t[]", [address for address, _ in buffers])
        sizes = ffi.new("uint64_t[]", [nbytes for _, nbytes in buffers])
        counts = [list(grid), list(block), len(buffers)]
        job = ffi.new("Job *", [program.entry, *counts, args, sizes, seconds, flushes])
        report = ffi.new("Report *")
        self.lib.pw_sim_launch(job, report)
        return report
