"""What Metal's devices can do: what is true of them all, and what each says of itself.

Accuracies are those of the Metal Shading Language Specification, "Relative Error of Math Functions" without
fast math: square root, division and fma are correctly rounded, sin is within 4 ulp. exp2 and log2 are within
4 only, which is more than the full tier allows, so core builds these two. Subnormals may be flushed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..core import dtype as dt
from ..core.device import Evidence, Extra, Spec
from ..core.ops import ALL_OPS, Op
from ..core.record import dataclass
from .metal_tiles import TILES

WARP = 32
"""Threads of a SIMD group, of every GPU that runs Metal's compute kernels with SIMD-group matrices."""
MAX_BUFFERS = 31
"""Entries of the argument table for buffers ("Metal Feature Set Tables")."""
_VECTOR_BYTES = 16
_BLOCK = 256
_IN_FLIGHT = 256  # threads of each core


@dataclass(frozen=True)
class Facts:
    """What a device says of itself.

    Attributes:
        cores: of the GPU; Metal does not tell, so it is a guess of the least.
        block: the most threads of a threadgroup.
        shared_bytes: that a threadgroup may declare.
        total_bytes: that it recommends to use at most.
        bfloat: whether it has the type bfloat (Metal 3.1).
        matrices: whether its SIMD groups multiply matrices.
    """

    cores: int = 8
    block: int = 1024
    shared_bytes: int = 32 << 10
    total_bytes: int = 8 << 30
    bfloat: bool = True
    matrices: bool = True


def metal_spec(
    name: str,
    facts: Facts,
    evidence: Evidence = Evidence.MEASURED,
    driver: Mapping[str, str] = MappingProxyType({}),
) -> Spec:
    """The Spec of a device called ``name``; core may assume of it what is here and nothing else."""
    held = frozenset(dt.ALL) - {dt.float64}
    return Spec(
        name,
        dtypes=held,
        native=ALL_OPS - {Op.EXP2, Op.LOG2},
        arithmetic=held - dt.FLOAT8S - (set() if facts.bfloat else {dt.bfloat16}),
        evidence=evidence,
        flushes_subnormals=True,
        extras=frozenset({Extra.FMA, Extra.DIV}),
        vector_bytes=_VECTOR_BYTES,
        vector_lanes=4,
        threads=facts.cores * _IN_FLIGHT,
        cache_bytes=(8 << 20,),
        local_bytes=facts.shared_bytes,
        max_grid=((2**31 - 1) // _BLOCK, 65535, 65535),  # a thread's position has 32 bits
        max_block=facts.block,
        block=min(_BLOCK, facts.block),
        warp=WARP,
        max_buffers=MAX_BUFFERS,
        tiles=TILES if facts.matrices else (),
        unified_memory=True,
        alignment=256,
        driver=driver,
    )
