"""The CPU port under AddressSanitizer and UndefinedBehaviorSanitizer.

Kernels and the runtime are compiled with both, and each buffer is a block of its own that ends at its last
byte. What they find ends the process, and is written down before.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..core.device import Ability, Checker
from ..core.errors import DeviceError, DriverMissingError
from .cpu import CPU
from .toolchain import Toolchain, find_toolchain

# Unoptimized: a compiler may drop an access whose value nobody needs, and GCC takes twelve times as long over
# checks that it optimizes.
_FLAGS = (
    "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O0", "-g", "-DPW_EXACT_BLOCKS",
)  # fmt: skip
_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",  # Python ends with memory in use
    "UBSAN_OPTIONS": "print_stacktrace=1",
}
_MEND = "Install a compiler with sanitizers: apt-get install gcc, or name one in CC"


def sanitized(toolchain: Toolchain) -> Toolchain:
    """The same compiler, which lets the sanitizers watch what it compiles."""
    flags = (*_FLAGS, *(["-shared-libasan"] if "__clang__" in toolchain.macros else []))
    return replace(
        toolchain,
        flags=(*toolchain.flags, *flags),
        kernel_flags=(*toolchain.kernel_flags, *flags),
    )


def runtimes(toolchain: Toolchain) -> list[Path]:
    """The libraries that do the watching; Clang's is one, GCC's are two.

    Raises:
        DeviceError: where they do not exist or a program cannot be started with them.
    """
    if not sys.platform.startswith("linux"):
        raise DeviceError(f"CPU's kernels are watched on Linux only, not on {sys.platform}")
    if "__clang__" in toolchain.macros:
        machine = "x86_64" if "__x86_64__" in toolchain.macros else "aarch64"
        sets = [[f"libclang_rt.asan-{machine}.so"], ["libclang_rt.asan.so"]]  # as it is built, either
    else:
        sets = [["libasan.so", "libubsan.so"]]
    for names in sets:
        found = [path for name in names if (path := toolchain.file(name)) is not None]
        if len(found) == len(names):
            return found
    wanted = " or ".join(" and ".join(names) for names in sets)
    raise DriverMissingError(f"{toolchain.version} comes without {wanted}", _MEND)


class SanitizedCPU(CPU):
    """The host's processor, its kernels watched, in a process that was started with ``environment``."""

    @staticmethod
    def compiler() -> Toolchain:
        """What compiles the kernels and the runtime."""
        return sanitized(find_toolchain())

    def __init__(self) -> None:
        self._watchers = _loaded()
        super().__init__()
        self.spec = replace(
            self.spec,
            abilities=self.spec.abilities | {Ability.LAST_WORDS},
            checker=Checker(
                f"AddressSanitizer and UndefinedBehaviorSanitizer of {self._toolchain.version}",
                "accesses outside buffers and to freed ones, undefined operations",
            ),
        )

    @classmethod
    def environment(cls) -> Mapping[str, str]:
        """The sanitizers come before all other libraries, and leave Python's own memory alone."""
        return {"LD_PRELOAD": " ".join(map(str, runtimes(find_toolchain()))), **_OPTIONS}

    def last_words(self, path: str) -> None:
        """From now on, in files whose names begin with ``path``."""
        for watcher in self._watchers:
            watcher["__sanitizer_set_report_path"](path.encode())


def _loaded() -> list[ctypes.CDLL]:
    """The sanitizers that this process was started with."""
    found = runtimes(find_toolchain())
    mapped = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    if any(path.resolve().name not in mapped for path in found):
        raise DeviceError(
            "the sanitizers cannot be loaded into a process that runs already: "
            "use portwright certify CPU --sanitize, which starts one with them"
        )
    return [ctypes.CDLL(str(path)) for path in found]
