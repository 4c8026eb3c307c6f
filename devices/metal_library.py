"""Metal's kernels: compiling text with fast math off, and making pipelines of its functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..core.cache import digest
from ..core.device import Spec
from ..core.errors import CompileError, DeviceError
from ..core.record import dataclass
from .build_log import refused
from .metal_open import Framework

_ERROR = re.compile(r"program_source:(?P<line>\d+):\d+: (?:fatal )?error: (?P<message>.*)")


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that is ready to launch.

    Attributes:
        name: in its library.
        pipeline: Metal's.
        threads: the most of a threadgroup that it has registers for.
    """

    name: str
    pipeline: Any
    threads: int


class Libraries:
    """Compiles and loads.

    Metal gives out no machine code of a text: a "binary" is the text, which macOS knows again by itself.

    Args:
        spec: of the port.
        framework: which compiles.
        bfloat: whether the text may use bfloat.
    """

    def __init__(self, spec: Spec, framework: Framework, bfloat: bool) -> None:
        self.spec, self._framework, self._bfloat = spec, framework, bfloat
        self._made: dict[str, Any] = {}

    def compile(self, source: str) -> bytes:
        """The text, once the compiler has taken it.

        Raises:
            CompileError: with the log, and the line that its first error is about.
        """
        self._made[digest(source)] = self._library(source)  # kept for ``load``, which follows
        return source.encode()

    def _library(self, source: str) -> Any:
        with self._framework.pool():
            options = self._options()
            device = self._framework.device
            library, error = device.newLibraryWithSource_options_error_(source, options, None)
            if library is None:
                raise refused(f"{self.spec.name}'s compiler", _said(error), source, _ERROR)
            return library

    def _options(self) -> Any:
        """Strict arithmetic: nothing here changes a result."""
        metal = self._framework.metal
        options = metal.MTLCompileOptions.new()
        options.setLanguageVersion_(
            metal.MTLLanguageVersion3_1 if self._bfloat else metal.MTLLanguageVersion2_4
        )
        if options.respondsToSelector_(b"setMathMode:"):  # from macOS 15 on, in place of the other
            options.setMathMode_(metal.MTLMathModeSafe)
        else:
            options.setFastMathEnabled_(False)
        return options

    def load(self, binary: bytes, entries: Sequence[str]) -> list[Kernel]:
        """The kernels named ``entries``.

        Raises:
            DeviceError: when the text lacks one, or one needs more than the device has.
        """
        source = binary.decode()
        library = self._made.pop(digest(source), None) or self._library(source)
        with self._framework.pool():
            return [self._kernel(library, entry) for entry in entries]

    def _kernel(self, library: Any, name: str) -> Kernel:
        function = library.newFunctionWithName_(name)
        if function is None:
            raise DeviceError(f"{self.spec.name} finds no kernel {name} in its library")
        device = self._framework.device
        pipeline, error = device.newComputePipelineStateWithFunction_error_(function, None)
        if pipeline is None:
            raise CompileError(f"{self.spec.name} cannot make a pipeline of kernel {name}: {_said(error)}")
        shared = int(pipeline.staticThreadgroupMemoryLength())
        if shared > self.spec.local_bytes:
            raise DeviceError(
                f"{self.spec.name}: kernel {name} uses {shared:,} bytes of threadgroup memory; there are "
                f"{self.spec.local_bytes:,}"
            )
        return Kernel(name, pipeline, int(pipeline.maxTotalThreadsPerThreadgroup()))


def _said(error: Any) -> str:
    return "nothing" if error is None else str(error.localizedDescription())
