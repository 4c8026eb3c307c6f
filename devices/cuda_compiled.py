"""CUDA:sm_80 and CUDA:sm_90: the CUDA port's text through NVIDIA's compiler, on a machine without a GPU."""

from __future__ import annotations

from ..core.cache import digest
from ..core.device import Evidence
from .compile_only import CompileOnly
from .cuda_nvrtc import FLAGS
from .cuda_spec import PUBLISHED, cuda_spec
from .cuda_text import CUDAText


class CUDACompiled(CUDAText, CompileOnly):
    """The architecture of the ``facts``, through the compiler.

    Raises:
        DeviceError: when no compiler is installed.
    """

    def __init__(self) -> None:
        self._compiler = self.compiler()
        self._architecture = self.facts.architecture
        described = {"compiler": self._compiler.version, "flags": " ".join(FLAGS)}
        described["architecture"] = self._architecture
        self.spec = self.stated(cuda_spec(self.called, self.facts, Evidence.COMPILED, described))

    def compile(self, source: str) -> bytes:
        """CUDA C++ to machine code."""
        return self._compiler.compile(source, self._architecture)

    def compiler_key(self) -> str:
        """Compiler, flags and architecture."""
        return digest(*self.spec.driver.values())


class SM80(CUDACompiled):
    """Of the A100."""

    facts = PUBLISHED["sm_80"]


class SM90(CUDACompiled):
    """Of the H100 and H200."""

    facts = PUBLISHED["sm_90"]
