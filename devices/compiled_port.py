"""A port whose kernels a compiler makes that stands beside the driver: the vendor's part is all the rest."""

from __future__ import annotations

from typing import Protocol

from ..core.device import Device


class Compiler(Protocol):
    """What makes binaries of sources: ``CommandCompiler``, or the vendor's own."""

    @property
    def key(self) -> str:
        """What a binary depends on besides its source."""

    def compile(self, source: str) -> bytes:
        """A binary, or a CompileError with the log and the source."""


class CompiledPort(Device):
    """A device that is given binaries.

    Attributes:
        compiler: what makes them; set when the port opens.
    """

    compiler: Compiler

    def compile(self, source: str) -> bytes:
        """By the port's compiler."""
        return self.compiler.compile(source)

    def compiler_key(self) -> str:
        """The compiler's: another version or other flags make other binaries."""
        return self.compiler.key
