"""The way from Python into compiled code: ``runtime.c``, reached through cffi.

In API mode a small extension module is compiled once and kept in the cache; a call costs about 0.15 µs, and
one of a recording that ``player.c`` made a function 0.03. Where Python's headers are missing, the same C file
is opened in ABI mode, at two or three times that.
"""

from __future__ import annotations

import io
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from ..core.cache import compile_cache, digest
from ..core.errors import CompileError, DeviceError
from ..core.record import dataclass
from .toolchain import Toolchain

_LOAD_MEND = "If its folder forbids programs to run (noexec), set PORTWRIGHT_CACHE to one that allows it"

_SOURCE = Path(__file__).with_name("runtime.c")
_PLAYER = Path(__file__).with_name("player.c")
_MODULE, _PLAYER_MODULE = "_portwright_runtime", "_portwright_player"
_DECLARATIONS = """
typedef struct { uintptr_t kernel; long items; const uintptr_t *args; } pw_record;
typedef struct { const pw_record *records; long count; int alone, trials; int64_t least_ns; } pw_row;
int pw_open(int threads, size_t keep_limit);
uintptr_t pw_library(const char *path);
uintptr_t pw_symbol(uintptr_t library, const char *name);
const char *pw_error(void);
void pw_launch(uintptr_t kernel, long items, const char *args);
void pw_replay(const pw_record *records, long count);
int64_t pw_timed_replay(const pw_record *records, long count);
void pw_copy_in(uintptr_t to, const char *from, size_t nbytes);
void pw_copy_out(char *to, uintptr_t from, size_t nbytes);
uintptr_t pw_alloc(size_t nbytes);
void pw_free(uintptr_t address, size_t nbytes);
void pw_memory(uint64_t *held_and_kept);
void pw_release_kept(void);
"""


@dataclass(frozen=True)
class Trampoline:
    """``runtime.c``, opened.

    Attributes:
        ffi, lib: cffi's, with the functions of ``runtime.c``.
        mode: how it was reached, with the reason when it is not the quickest way.
        player: makes a function of no arguments from the address of a row of launches, and what must live as
            long (``player.c``); None in ABI mode.
    """

    ffi: Any
    lib: Any
    mode: str
    player: Callable[[int, object], Callable[[], None]] | None = None

    def load(self, path: Path, entries: Sequence[str]) -> list[int]:
        """The addresses of functions of a library. It stays loaded as long as the process lives.

        ``path`` must tell its content: for one that it has met before, the loader gives the old library.

        Raises:
            DeviceError: when it does not load, or lacks one of the functions.
        """
        library = self.lib.pw_library(os.fsencode(path))
        if not library:
            error = self.ffi.string(self.lib.pw_error()).decode(errors="replace")
            raise DeviceError(f"CPU cannot load a kernel: {error}. {_LOAD_MEND}")
        addresses = [self.lib.pw_symbol(library, entry.encode()) for entry in entries]
        missing = [entry for entry, address in zip(entries, addresses, strict=True) if not address]
        if missing:
            raise DeviceError(f"CPU finds no kernel {', '.join(missing)} in {path}")
        return addresses


def open_trampoline(toolchain: Toolchain) -> Trampoline:
    """The runtime, compiled or from the cache.

    Raises:
        DeviceError: when it can be reached in neither mode.
    """
    include = sysconfig.get_path("include")
    if not Path(include, "Python.h").exists():
        return _open_abi(toolchain, f"no Python.h in {include}")
    try:
        return _open_api(toolchain, include)
    except (CompileError, ImportError) as e:  # no working headers, or a module of another kind of Python
        return _open_abi(toolchain, str(e).partition("\n")[0])


def _open_api(toolchain: Toolchain, include: str) -> Trampoline:
    from _cffi_backend import __version__  # what such a module needs; cffi itself is what writes one

    abi = f"{sys.implementation.cache_tag} {sysconfig.get_config_var('EXT_SUFFIX')} cffi {__version__}"
    # -Og: the first result of all waits for it, and calls are as quick as under -O2.
    flags = [*toolchain.flags, "-Og", "-fvisibility=hidden", "-I", include]
    # The mark that <math.h> has been read: Python's headers ask for it and use nothing of it, and on Linux it
    # is a fifth of all that the compilers have to do.
    flags += ["-D_MATH_H"] if sys.platform == "linux" else []
    # Python's own symbols are the running interpreter's; macOS wants to be told so.
    flags += ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    mode = digest("API", abi, _DECLARATIONS, *flags)
    path = _kept(mode, toolchain, lambda: toolchain.compile_parts(_extension(), flags))
    module, players = _module(_MODULE, path), _module(_PLAYER_MODULE, path)
    return Trampoline(module.ffi, module.lib, "cffi, API mode", players.player)


def _module(name: str, path: Path) -> Any:
    """One of the modules that are in the library."""
    spec = spec_from_file_location(name, path, loader=ExtensionFileLoader(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _extension() -> Iterator[str]:
    """The modules' C: the runtime, and the ways to it, which are made while the runtime is compiled."""
    yield _SOURCE.read_text()
    from cffi import FFI  # slow to import, and needed only when nothing is in the cache
    from cffi.recompiler import make_c_source  # as FFI.emit_c_code, which prints what it does

    ffi = FFI()
    ffi.cdef(_DECLARATIONS)
    text = io.StringIO()
    make_c_source(ffi, _MODULE, f"#include <stdint.h>\n{_DECLARATIONS}", text)
    yield text.getvalue() + _PLAYER.read_text()
    from ..core import plan  # noqa: F401 - what the first kernel needs next takes as long as the compiler


def _open_abi(toolchain: Toolchain, why: str) -> Trampoline:
    from cffi import FFI

    path = _kept("ABI", toolchain, lambda: toolchain.compile(_SOURCE.read_text(), toolchain.flags))
    ffi = FFI()
    ffi.cdef(_DECLARATIONS)
    try:
        # Never unloaded: its threads may still be asleep in it when the process ends.
        lib = ffi.dlopen(str(path), ffi.RTLD_NOW | ffi.RTLD_NODELETE)
    except OSError as e:
        raise DeviceError(f"the CPU port's runtime does not load: {e}. {_LOAD_MEND}") from e
    return Trampoline(ffi, lib, f"cffi, ABI mode ({why})")


def _kept(mode: str, toolchain: Toolchain, compiled: Callable[[], bytes]) -> Path:
    """The runtime's library, compiled when the cache does not hold it."""
    cache, key = (
        compile_cache(),
        digest("runtime", mode, _SOURCE.read_text(), _PLAYER.read_text(), toolchain.key),
    )
    binary = cache.get(key)
    if binary is None:
        binary = compiled()
        cache.put(key, binary)
    return cache.file(binary, ".so")
