"""The C compiler: finding one, learning what it compiles for, compiling with it."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path

from ..core.cache import compile_cache, digest
from ..core.errors import CompileError, DriverMissingError
from ..core.record import dataclass
from .compiler_process import Aside, complaint, log, run
from .host import processor

_NAMES = ("cc", "gcc", "clang")
_MEND = "Install one: apt-get install gcc, or xcode-select --install, or pip install ziglang"
_ZIG = (sys.executable, "-m", "ziglang", "cc")

# Strict arithmetic: nothing here changes a result. Integers wrap, memory may be read as another type, and no
# multiplication is contracted with an addition behind the kernel's back.
_FLAGS = (
    "-std=gnu11", "-O2", "-fPIC", "-shared", "-w", "-fwrapv", "-fno-strict-aliasing", "-ffp-contract=off",
    "-fno-math-errno", "-fno-trapping-math",
)  # fmt: skip


@dataclass(frozen=True)
class Vectors:
    """The vector registers that a compiler's target has."""

    nbytes: int
    registers: int


@dataclass(frozen=True)
class Toolchain:
    """A compiler that works.

    Attributes:
        command: how it is called.
        version: as it states it.
        flags: what everything is compiled with.
        kernel_flags: the same, and what kernels alone are compiled with.
        macros: what it predefines under these flags; they tell the target.
    """

    command: tuple[str, ...]
    version: str
    flags: tuple[str, ...]
    kernel_flags: tuple[str, ...]
    macros: Mapping[str, str]

    @cached_property
    def key(self) -> str:
        """Everything that a binary depends on besides its source, in one name."""
        target = json.dumps(sorted(self.macros.items()))
        return digest(*self.command, self.version, *self.kernel_flags, target)

    @property
    def vectors(self) -> Vectors:
        """The widest vectors of the target."""
        for macro, vectors in (
            ("__AVX512F__", Vectors(64, 32)),
            ("__AVX__", Vectors(32, 16)),
            ("__SSE2__", Vectors(16, 16)),
            ("__ARM_NEON", Vectors(16, 32)),
        ):
            if macro in self.macros:
                return vectors
        return Vectors(0, 16)

    @property
    def has_fma(self) -> bool:
        """Whether the target multiplies and adds with one rounding."""
        return "__FMA__" in self.macros or "__ARM_FEATURE_FMA" in self.macros

    def file(self, name: str) -> Path | None:
        """A library that comes with the compiler; None where it has none of the name."""
        said = run([*self.command, f"-print-file-name={name}"], "").stdout.strip()
        return Path(said).resolve() if Path(said).is_absolute() and Path(said).exists() else None

    def compile(self, source: str, flags: Sequence[str], language: str = "c") -> bytes:
        """A shared library from C (or ``c++``), under ``flags`` or ``kernel_flags`` and what else it needs.

        Raises:
            CompileError: with the log, the source, and the line of it that the first error is about.
        """
        with _folder() as folder:
            library = Path(folder, "out.so")
            self._run([*flags, "-x", language, "-"], source, library)
            return library.read_bytes()

    def compile_parts(self, sources: Iterable[str], flags: Sequence[str]) -> bytes:
        """``compile`` of C in several texts, each compiled while the next is made.

        Raises:
            CompileError: of the first text that is refused, or of linking them.
        """
        with _folder() as folder:
            parts: list[Path] = []
            compilers: list[Aside] = []
            try:
                for source in sources:
                    parts.append(Path(folder, f"{len(parts)}.o"))
                    arguments = [*flags, "-c", "-x", "c", "-"]
                    compilers.append(Aside(partial(self._run, arguments, source, parts[-1])))
            finally:  # their folder goes with all of them at their end
                faults = [compiler.fault() for compiler in compilers]
            if fault := next(filter(None, faults), None):
                raise fault
            library = Path(folder, "out.so")
            self._run([*flags, *map(str, parts)], "", library)
            return library.read_bytes()

    def _run(self, arguments: Sequence[str], source: str, output: Path) -> None:
        command = [*self.command, *arguments, "-o", str(output)]
        done = run(command, source)
        if done.returncode != 0 or not output.exists():
            raise CompileError(complaint(command, done, source), log=log(done), source=source)


@contextmanager
def _folder() -> Iterator[str]:
    """A temporary one."""
    import tempfile  # slow to import, and needed only when something is not in the cache

    try:
        with tempfile.TemporaryDirectory(prefix="portwright-") as folder:
            yield folder
    except OSError as e:
        raise CompileError(f"no room to compile in: {e}. Set TMPDIR to a folder that can be written") from e


def find_toolchain() -> Toolchain:
    """The first that works of cc, gcc, clang and the ziglang wheel; with ``CC`` set, that one and no other.

    Raises:
        DriverMissingError: when none does: each name with what is wrong with it, and what to install.
    """
    faults: list[str] = []
    stated = os.environ.get("CC", "").strip()
    commands = [tuple(shlex.split(stated))] if stated else [*((name,) for name in _NAMES), _ZIG]
    for command in commands:
        found = shutil.which(command[0])
        if found is None:
            faults.append(f"{command[0]} (not found)")
        elif command == _ZIG and importlib.util.find_spec("ziglang") is None:
            faults.append("ziglang (not installed)")
        else:
            result = _probe((found, *command[1:]))
            if isinstance(result, Toolchain):
                return result
            faults.append(f"{shlex.join(command)} ({result})")
    tried = ", ".join(faults)
    if stated:
        raise DriverMissingError(
            f"CC names a C compiler that does not work: {tried}", "Unset it or correct it"
        )
    raise DriverMissingError(f"no C compiler works: tried {tried}", _MEND)


def _is_zig(command: Sequence[str]) -> bool:
    return any(Path(part).name.startswith("zig") for part in command)


def _target_flags(command: tuple[str, ...]) -> list[tuple[str, ...]]:
    """How to ask for this machine's instruction set, best first; compilers differ."""
    march, mcpu = ("-march=native",), ("-mcpu=native",)
    if _is_zig(command):
        return [mcpu]
    return [mcpu, march, ()] if platform.machine().lower() in ("arm64", "aarch64") else [march, mcpu, ()]


def _probe(command: tuple[str, ...]) -> Toolchain | str:
    """The compiler with what it says of itself, kept in the cache; or what is wrong with it."""
    key = _probe_key(command)
    kept = compile_cache().get(key)
    if kept is not None:
        target, macros = json.loads(kept)
    else:
        for target in _target_flags(command):
            done = run([*command, *target, "-dM", "-E", "-x", "c", "-"], "")
            if done.returncode == 0:
                break
        else:
            return done.stderr.strip().partition("\n")[0] or f"exit {done.returncode}"
        macros = dict(re.findall(r"^#define (\w+) ?(.*)$", done.stdout, re.MULTILINE))
        compile_cache().put(key, json.dumps([target, macros]).encode())
    if "__GNUC__" not in macros or "__TINYC__" in macros:
        return "has no vectors: kernels need GCC or Clang"
    maker = "Clang" if "__clang__" in macros else "GCC"
    version = f"{maker} {macros.get('__VERSION__', '').strip(chr(34))}"
    flags = (*_FLAGS, *target, *(["-fno-sanitize=undefined"] if _is_zig(command) else []))
    # Kernels call nothing that the process lacks, and linking nothing is a quarter quicker.
    bare = ["-nostdlib"] if platform.system() == "Linux" else []
    # Tuned for AMD, GCC loads a multiply-add's operand anew for each use; tuned for none, it keeps registers.
    tune = ["-mtune=generic"] if maker == "GCC" and "__x86_64__" in macros else []
    return Toolchain(command, version, flags, (*flags, *tune, *bare), macros)


def _probe_key(command: tuple[str, ...]) -> str:
    program = Path(command[0]).resolve().stat()
    return digest(
        "probe", *command, str(Path(command[0]).resolve()), f"{program.st_size} {program.st_mtime_ns}",
        json.dumps(processor(), sort_keys=True),
    )  # fmt: skip
