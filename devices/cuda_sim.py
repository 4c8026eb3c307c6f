"""CUDA:sim: the CUDA port's generated text, run on the host."""

from __future__ import annotations

from typing import ClassVar

from ..core import dtype as dtypes
from ..core.device import Spec
from ..core.errors import DeviceError
from ..core.ops import ALL_OPS
from .c_dialect import C
from .sim.heads import entry, heads
from .simulator import Simulator

CUDA_SPEC = Spec(
    "CUDA:sim",
    dtypes=frozenset(dtypes.ALL),
    native=ALL_OPS,
    arithmetic=frozenset(dtypes.ALL),
    vector_bytes=16,
    threads=2048,
    local_bytes=48 << 10,
    max_grid=(2**31 - 1, 65535, 65535),
    max_block=1024,
)


class CUDASim(Simulator):
    """CUDA C++ on the host."""

    dialect = C
    shim: ClassVar[str] = "cuda_shim.h"

    def __init__(self, spec: Spec = CUDA_SPEC) -> None:
        super().__init__(spec)

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
