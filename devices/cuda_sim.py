"""CUDA:sim: the CUDA port's generated text, run on the host; and the base of a vendor's simulator."""

from __future__ import annotations

from typing import ClassVar

from ..core.errors import DeviceError
from .cuda_spec import cuda_spec
from .cuda_text import CUDAText
from .sim.heads import entry, heads
from .simulator import Simulator


class CUDASim(CUDAText, Simulator):
    """CUDA C++ on the host.

    A vendor's, whose language has words of its own, names a ``shim`` of its own: the path of a header that
    defines them and includes "cuda_shim.h".
    """

    shim: ClassVar[str] = "cuda_shim.h"

    def __init__(self) -> None:
        super().__init__(self.stated(cuda_spec(self.called, self.facts)))

    def entries(self, source: str) -> list[str]:
        """Every ``__global__`` function; its parameters are buffers, in order."""
        out = []
        for head in heads(source, r"\b__global__\b"):
            for p in head.parameters:
                if "*" not in p.text:
                    raise DeviceError(
                        f"{self.name}: kernel {head.name} takes {p.text!r}: parameters are "
                        "pointers to buffers"
                    )
            arguments = [p.argument(i) for i, p in enumerate(head.parameters)]
            out.append(entry(head.name, arguments, head.parameters))
        return out
