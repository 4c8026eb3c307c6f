"""CUDA:sim: the CUDA port's generated text, run on the host."""

from __future__ import annotations

from typing import ClassVar

from ..core.errors import DeviceError
from .cuda_dialect import CUDA_C
from .cuda_spec import PUBLISHED, cuda_spec
from .sim.heads import entry, heads
from .simulator import Simulator


class CUDASim(Simulator):
    """CUDA C++ on the host."""

    dialect = CUDA_C
    shim: ClassVar[str] = "cuda_shim.h"

    def __init__(self) -> None:
        super().__init__(cuda_spec("CUDA", PUBLISHED["sm_90"]))

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
