"""CPU: the host's processor. Kernels are C, compiled by the C compiler and run on a pool of threads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ..core import dtype as dtypes
from ..core.device import Ability, Extra, Spec
from ..core.ops import ALL_OPS, Op
from ..core.without import without
from . import host
from .c_dialect import C
from .host_runtime import HostRuntime
from .toolchain import find_toolchain


class CPU(HostRuntime):
    """The host's processor, through its C compiler; ``CPU:without=SIN,int64`` claims less (``without``)."""

    dialect = C
    variants: ClassVar[Mapping[str, str]] = {"sanitize": f"{__package__}.cpu_sanitized:SanitizedCPU"}
    compiler = staticmethod(find_toolchain)

    def __init__(self, argument: str | None = None) -> None:
        self._toolchain = self.compiler()
        threads = self.start(self._toolchain)
        vectors = self._toolchain.vectors
        spec = Spec(
            "CPU",
            dtypes=frozenset(dtypes.ALL),
            native=ALL_OPS - {Op.EXP2, Op.LOG2, Op.SIN},  # libm would compute them a lane at a time
            arithmetic=frozenset(dtypes.ALL) - {dtypes.float16, dtypes.bfloat16} - dtypes.FLOAT8S,
            extras=frozenset({Extra.DIV} | ({Extra.FMA} if self._toolchain.has_fma else set())),
            abilities=frozenset({Ability.REPLAY, Ability.HOST_VIEW}),
            vector_bytes=vectors.nbytes,
            vector_registers=vectors.registers,
            threads=threads,
            cache_bytes=host.cache_bytes(),
            private_bytes=host.PRIVATE_BYTES,
            unified_memory=True,
            driver={
                "compiler": " ".join(self._toolchain.command),
                "version": self._toolchain.version,
                "flags": " ".join(self._toolchain.kernel_flags),
                "machine": host.processor_name(),
                "calls": self._runtime.mode,
            },
        )
        self.spec = without(spec, argument)

    def compile(self, source: str) -> bytes:
        """C to a shared library."""
        return self._toolchain.compile(source, self._toolchain.kernel_flags)

    def compiler_key(self) -> str:
        """Compiler, version, flags and the target's macros: safe in a folder that several machines share."""
        return self._toolchain.key
