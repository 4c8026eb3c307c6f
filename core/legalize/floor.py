"""The floor: the least that a port must have for the rest to be built."""

from __future__ import annotations

from ..device import Reach, Spec
from ..dtype import (
    ALL,
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from ..ops import Op
from ..record import dataclass

FLOOR: frozenset[Op] = frozenset({Op.CONST, Op.LOAD, Op.STORE, Op.CAST, Op.BITCAST, Op.ADD, Op.MUL, Op.CMPLT})
"""The primitives that every port driven by a kernel language must have; and one of ``FLOOR_BITS``."""

FLOOR_BITS: frozenset[Op] = frozenset({Op.AND, Op.OR})
"""Of these one is needed: the other is built from it, and XOR from both."""

FLOOR_DTYPES: frozenset[DType] = frozenset({float32, int32})
"""The dtypes that every such port must compute in.

Besides, its language has conditions (bool: what CMPLT gives), and it can load and store unsigned integers of
the width of each dtype that it claims to hold, up to 32 bits, and convert them to int32 and back.
"""

MUST_COMPUTE: frozenset[DType] = frozenset({float64})
"""Dtypes that nothing stands in for: a port that does not compute in one must not claim to hold it."""


@dataclass(frozen=True, slots=True)
class StandIn:
    """How dtypes that a device holds and does not compute in are stood in for, in words."""

    dtypes: tuple[DType, ...]
    register: str
    memory: str


STAND_IN: tuple[StandIn, ...] = (
    StandIn((float16, bfloat16), "`float32` of the same value, rounded after each operation", "its bits"),
    StandIn(
        (int8, int16, uint8, uint16), "`int32` of the same value, wrapped after each operation", "its bits"
    ),
    StandIn((uint32,), "`int32` of the same bits", "`int32`"),
    StandIn((int64, uint64), "two `uint32`", "two `uint32`, the lower first"),
    StandIn((bool_,), "a condition", "a byte, 0 or 1"),
)
"""What ``form`` does; every other dtype is in ``FLOOR_DTYPES`` or ``MUST_COMPUTE``."""


def floor_faults(spec: Spec) -> list[str]:
    """What a Spec lacks of the floor, in words; empty where nothing."""
    if spec.reach is not Reach.KERNELS:
        return []
    faults = []
    missing = [op.name for op in Op if op in FLOOR - spec.native]
    if not FLOOR_BITS & spec.native:
        missing.append(" or ".join(op.name for op in Op if op in FLOOR_BITS))
    if missing:
        faults.append(f"lacks {', '.join(missing)}, which nothing can be built without")
    lacking = [d.name for d in ALL if d in FLOOR_DTYPES - spec.arithmetic]
    if lacking:
        faults.append(f"does not compute in {', '.join(lacking)}, which nothing stands in for")
    claimed = [d.name for d in ALL if d in MUST_COMPUTE & spec.dtypes - spec.arithmetic]
    if claimed:
        faults.append(f"claims {', '.join(claimed)} without computing in it, and nothing stands in for it")
    if float64 in spec.arithmetic and uint64 not in spec.arithmetic:
        faults.append("computes in float64 but not in uint64, which its bits are")
    return faults
