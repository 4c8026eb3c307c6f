"""CUDA:sm_80 and CUDA:sm_90: the CUDA port's text through NVIDIA's compiler, on a machine without a GPU."""

from __future__ import annotations

from typing import ClassVar

from ..core.cache import digest
from ..core.device import Evidence
from .compile_only import CompileOnly
from .cuda_dialect import CUDA_C
from .cuda_nvrtc import FLAGS, find_compiler
from .cuda_spec import PUBLISHED, cuda_spec


class CUDACompiled(CompileOnly):
    """One architecture, with the published figures of a device that has it.

    Raises:
        DeviceError: when no compiler is installed.
    """

    dialect = CUDA_C
    architecture: ClassVar[str]

    def __init__(self) -> None:
        self._compiler = find_compiler()
        self.spec = cuda_spec(
            "CUDA",
            PUBLISHED[self.architecture],
            Evidence.COMPILED,
            {"compiler": self._compiler.version, "flags": " ".join(FLAGS), "architecture": self.architecture},
        )

    def compile(self, source: str) -> bytes:
        """CUDA C++ to machine code."""
        return self._compiler.compile(source, self.architecture)

    def compiler_key(self) -> str:
        """Compiler, flags and architecture."""
        return digest(*self.spec.driver.values())


class SM80(CUDACompiled):
    """Of the A100."""

    architecture = "sm_80"


class SM90(CUDACompiled):
    """Of the H100 and H200."""

    architecture = "sm_90"
