"""CUDA C++ to machine code, with NVIDIA's own compiler: NVRTC, or nvcc where that is all there is.

Neither needs a GPU or its driver, so text can be checked for any architecture anywhere (``compile_for``).
What comes out is machine code for the architecture, never PTX for the driver to compile: the driver would be
free to contract a multiplication with an addition, and results would depend on its version as well.
"""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Protocol

from ..core.errors import CompileError, DeviceError, DriverMissingError
from .build_log import refused
from .cuda_toolkit import find

FLAGS = (
    "--std=c++17", "--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true", "--disable-warnings",
)  # fmt: skip
"""Strict arithmetic: nothing here changes a result."""
_ERROR = re.compile(
    r"^kernel\.cu\((?P<line>\d+)\): (?:catastrophic )?error(?: #[\w-]+)?: (?P<message>.*)$", re.M
)
_ARCHITECTURE = re.compile(r"(?:sm|compute)_(\d+)")
_DECLARATIONS = """
typedef struct _nvrtcProgram *nvrtcProgram;
const char *nvrtcGetErrorString(int result);
int nvrtcVersion(int *major, int *minor);
int nvrtcGetNumSupportedArchs(int *count);
int nvrtcGetSupportedArchs(int *architectures);
int nvrtcCreateProgram(nvrtcProgram *program, const char *source, const char *name, int headers,
                       const char *const *texts, const char *const *names);
int nvrtcDestroyProgram(nvrtcProgram *program);
int nvrtcCompileProgram(nvrtcProgram program, int count, const char *const *options);
int nvrtcGetProgramLogSize(nvrtcProgram program, size_t *size);
int nvrtcGetProgramLog(nvrtcProgram program, char *log);
int nvrtcGetCUBINSize(nvrtcProgram program, size_t *size);
int nvrtcGetCUBIN(nvrtcProgram program, char *binary);
"""


class Compiler(Protocol):
    """What compiles CUDA C++."""

    @property
    def version(self) -> str:
        """As it states it: "NVRTC 12.9"."""

    @property
    def architectures(self) -> tuple[int, ...]:
        """Those that it compiles for, ascending: 80 is sm_80."""

    def compile(self, source: str, architecture: str) -> bytes:
        """Machine code for "sm_80".

        Raises:
            CompileError: with the log, the source, and the line that its first error is about.
        """


@functools.cache
def find_compiler() -> Compiler:
    """The one to use on this machine.

    Raises:
        DriverMissingError: when none is installed: where it was looked for, and what to install.
    """
    found = find()
    if found.nvrtc is not None and found.headers is not None:
        return Nvrtc(found.nvrtc, found.headers)
    assert found.nvcc is not None
    return Nvcc(found.nvcc)


def compile_for(architecture: str, source: str) -> bytes:
    """Machine code for "sm_80" or the like, by the compiler of this machine.

    Raises:
        CompileError: when it refuses: with the log, and the line that its first error is about.
        DriverMissingError: when none is installed.
    """
    return find_compiler().compile(source, architecture)


def target(compiler: Compiler, capability: tuple[int, int]) -> str:
    """The architecture to compile for: the device's own, or the newest one before it of its generation.

    Raises:
        DeviceError: when the compiler is too old for the device, or no longer knows it.
    """
    major, minor = capability
    fits = [a for a in compiler.architectures if a // 10 == major and a % 10 <= minor]
    if not fits:
        known = ", ".join(f"sm_{a}" for a in compiler.architectures)
        raise DeviceError(
            f"{compiler.version} does not compile for sm_{major}{minor}: it knows {known}. "
            "Install a version of nvidia-cuda-nvrtc that does"
        )
    return f"sm_{fits[-1]}"


class Nvrtc:
    """NVIDIA's compiler as a library.

    Args:
        library: its file.
        headers: the folder of CUDA's headers.
    """

    def __init__(self, library: Path, headers: Path) -> None:
        from cffi import FFI

        self._ffi: Any = FFI()
        self._ffi.cdef(_DECLARATIONS)
        try:
            self._lib: Any = self._ffi.dlopen(str(library))
        except OSError as e:
            raise DriverMissingError(
                f"NVRTC does not load from {library}: {e}", "Reinstall what it came with"
            ) from e
        self._options = (*FLAGS, f"--include-path={headers}")
        major, minor = self._ffi.new("int *"), self._ffi.new("int *")
        self._call("nvrtcVersion", major, minor)
        self.version = f"NVRTC {major[0]}.{minor[0]}"
        count = self._ffi.new("int *")
        self._call("nvrtcGetNumSupportedArchs", count)
        known = self._ffi.new("int[]", count[0])
        self._call("nvrtcGetSupportedArchs", known)
        self.architectures = tuple(sorted(known))

    def _call(self, name: str, *arguments: Any) -> None:
        result = getattr(self._lib, name)(*arguments)
        if result:
            what = self._ffi.string(self._lib.nvrtcGetErrorString(result)).decode()
            raise CompileError(f"{self.version}: {name} failed: {what}")

    def _text(self, kind: str, program: Any) -> bytes:
        """The log or the binary of a program."""
        size = self._ffi.new("size_t *")
        self._call(f"nvrtcGet{kind}Size", program, size)
        text = self._ffi.new("char[]", max(size[0], 1))
        self._call(f"nvrtcGet{kind}", program, text)
        return bytes(self._ffi.buffer(text, size[0]))

    def compile(self, source: str, architecture: str) -> bytes:
        """Machine code for "sm_80"."""
        ffi, none = self._ffi, self._ffi.NULL
        program = ffi.new("nvrtcProgram *")
        self._call("nvrtcCreateProgram", program, source.encode(), b"kernel.cu", 0, none, none)
        try:
            options = [
                ffi.new("char[]", o.encode()) for o in (*self._options, f"--gpu-architecture={architecture}")
            ]
            failed = self._lib.nvrtcCompileProgram(program[0], len(options), ffi.new("char *[]", options))
            log = self._text("ProgramLog", program[0]).rstrip(b"\0\n").decode(errors="replace")
            if failed:
                raise refused(f"{self.version} for {architecture}", log, source, _ERROR)
            return self._text("CUBIN", program[0])
        finally:
            self._lib.nvrtcDestroyProgram(program)


class Nvcc:
    """NVIDIA's compiler as a program; it takes a second or more where NVRTC takes a tenth.

    Args:
        program: its file.
    """

    def __init__(self, program: Path) -> None:
        self._program = program
        release = re.search(r"release (\d+\.\d+)", self._run("--version").stdout)
        self.version = f"nvcc {release[1] if release else 'of unknown version'}"
        known = _ARCHITECTURE.findall(self._run("--list-gpu-code").stdout)
        self.architectures = tuple(sorted({int(a) for a in known}))

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self._program), *arguments]
        try:
            return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=600)
        except (OSError, subprocess.TimeoutExpired) as e:
            raise DriverMissingError(f"nvcc cannot be run: {e}", "Reinstall the CUDA toolkit") from e

    def compile(self, source: str, architecture: str) -> bytes:
        """Machine code for "sm_80"."""
        with tempfile.TemporaryDirectory(prefix="portwright-") as folder:
            text, binary = Path(folder, "kernel.cu"), Path(folder, "kernel.cubin")
            text.write_text(source, encoding="utf-8")
            done = self._run(
                *FLAGS, f"--gpu-architecture={architecture}", "--cubin", "-o", str(binary), str(text)
            )
            if done.returncode == 0 and binary.is_file():
                return binary.read_bytes()
        log = (done.stderr + done.stdout).replace(str(text), "kernel.cu")
        raise refused(f"{self.version} for {architecture}", log, source, _ERROR)
