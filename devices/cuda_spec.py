"""What CUDA's devices can do: what is true of them all, and what each says of itself.

Limits that are true of all are those of "Technical Specifications per Compute Capability" in the CUDA C++
Programming Guide; accuracies are those of its "Mathematical Functions" (exp2f 2 ulp, log2f 1, sinf 2, in
double 1 to 2; division and square root correctly rounded), which the full tier allows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from ..core import dtype as dt
from ..core.device import Evidence, Extra, Spec
from ..core.errors import DeviceError
from ..core.ops import ALL_OPS
from ..core.record import dataclass
from .cuda_tiles import tiles_of

WARP = 32
STATIC_SHARED = 48 << 10
"""Bytes of shared memory that a block may declare; what is above needs another kind of declaration."""
PARAMETER_BYTES = 4096
"""Of a kernel's arguments; more on newer devices with newer drivers."""
_VECTOR_BYTES = 16  # what a thread loads at once
_BLOCK = 256
_IN_FLIGHT = 256  # threads of each multiprocessor, two warps for each of its four schedulers, to be busy


@dataclass(frozen=True)
class Facts:
    """What a device says of itself.

    Attributes:
        capability: of computing: (8, 0) is sm_80.
        processors: its multiprocessors.
        block: the most threads of a block.
        grid: the most blocks on each axis.
        shared_bytes: that a block may declare.
        cache_bytes: of its last cache.
        total_bytes: of its memory.
    """

    capability: tuple[int, int]
    processors: int
    block: int = 1024
    grid: tuple[int, int, int] = (2**31 - 1, 65535, 65535)
    shared_bytes: int = STATIC_SHARED
    cache_bytes: int = 40 << 20
    total_bytes: int = 40 << 30

    @property
    def architecture(self) -> str:
        """What compilers call it: "sm_80"."""
        return f"sm_{self.capability[0]}{self.capability[1]}"


PUBLISHED: Mapping[str, Facts] = {
    "sm_80": Facts((8, 0), processors=108),
    "sm_90": Facts((9, 0), processors=132, cache_bytes=50 << 20, total_bytes=80 << 30),
}
"""The A100's and the H100's, from NVIDIA's architecture whitepapers: for text that no device is there for."""


def facts_for(architecture: str) -> Facts:
    """The published figures of a device of "sm_80" or the like; of an architecture without, the least.

    Raises:
        DeviceError: when it is no architecture.
    """
    named = re.fullmatch(r"sm_(\d+)(\d)[af]?", architecture)
    if named is None:
        raise DeviceError(f"{architecture!r} is no architecture of CUDA's: write sm_90 or the like")
    capability = int(named[1]), int(named[2])
    least = Facts(capability, processors=1, cache_bytes=1 << 20, total_bytes=1 << 30)
    return next((f for f in PUBLISHED.values() if f.capability == capability), least)


def cuda_spec(
    name: str,
    facts: Facts,
    evidence: Evidence = Evidence.MEASURED,
    driver: Mapping[str, str] = MappingProxyType({}),
) -> Spec:
    """The Spec of a device called ``name``; core may assume of it what is here and nothing else."""
    narrow = {dt.bfloat16} if facts.capability < (8, 0) else set()
    return Spec(
        name,
        dtypes=frozenset(dt.ALL),
        native=ALL_OPS,
        arithmetic=frozenset(dt.ALL) - dt.FLOAT8S - narrow,
        evidence=evidence,
        extras=frozenset({Extra.FMA, Extra.DIV}),
        vector_bytes=_VECTOR_BYTES,
        threads=facts.processors * _IN_FLIGHT,
        cache_bytes=(facts.cache_bytes,),
        memory_bytes=facts.total_bytes if evidence is Evidence.MEASURED else 0,
        local_bytes=min(facts.shared_bytes, STATIC_SHARED),
        max_grid=facts.grid,
        max_block=facts.block,
        block=min(_BLOCK, facts.block),
        warp=WARP,
        max_buffers=PARAMETER_BYTES // 8,
        tiles=tiles_of(facts.capability),
        alignment=256,
        driver=driver,
    )
