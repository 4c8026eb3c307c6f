"""What a port of CUDA's kind and those of its variants that need no device have in common."""

from __future__ import annotations

from typing import ClassVar

from .cuda_dialect import CUDA_C
from .cuda_nvrtc import Compiler, find_compiler
from .cuda_spec import PUBLISHED, Facts
from .family import Family


class CUDAText(Family):
    """A chip whose language is CUDA C++ or one like it.

    A vendor states the chip once, in a subclass of this, and inherits from it beside ``CUDA`` for the chip
    itself, ``CUDASim`` for its kernels on the host, ``CUDACompiled`` for its kernels through the compiler::

        class AcmeText(CUDAText):
            called = "ACME"
            facts = facts_for("sm_90")

        class Acme(AcmeText, CUDA): ...
        class AcmeSim(AcmeText, CUDASim): ...
    """

    called = "CUDA"
    dialect = CUDA_C
    facts: ClassVar[Facts] = PUBLISHED["sm_90"]
    """What the chip has, where no driver can be asked."""

    def compiler(self) -> Compiler:
        """What compiles the text; NVIDIA's own, unless a subclass has another of the same calls.

        Raises:
            DeviceError: when it is not installed: where it was looked for, and what to install.
        """
        return find_compiler()
