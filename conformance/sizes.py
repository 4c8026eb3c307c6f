"""The sizes at which loops are cut otherwise: around every power of two, vector and tile."""

from __future__ import annotations

from ..core.device import Spec
from ..core.dtype import DType, float32

MOST = 12
"""The largest power of two, as an exponent."""
AROUND = tuple(sorted({(1 << e) + d for e in range(MOST + 1) for d in (-1, 0, 1)} - {0} | {1000}))
"""1, 2, 3, and each power of two up to 4,096 with the numbers beside it; and one that is none of these."""
MANY = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 255, 257, 1000, 1023, 1025, 4097)
FEW = (2, 3, 8, 17, 129, 1000)
PRODUCTS = (
    (1, 1, 1), (1, 17, 1), (3, 5, 7), (8, 8, 8), (16, 15, 17), (33, 64, 31), (65, 129, 63), (127, 257, 3),
    (2, 1025, 9),
)  # fmt: skip
"""Of matrix products: m×k times k×n as (m, k, n)."""
Shape3 = tuple[int, int, int]


def sizes(dtype: DType) -> tuple[int, ...]:
    """Of folds: many of float32, which most models are made of; a few of the others."""
    return MANY if dtype is float32 else (*FEW, 4097)


def widths(spec: Spec, dtype: DType) -> int:
    """How many elements are computed by vectors in a row, by one, by each narrower one, and one by one."""
    return 6 * max(4, spec.lanes(dtype)) - 1


def around_tiles(spec: Spec, dtype: DType) -> tuple[Shape3, ...]:
    """Of matrix products: each axis around two of the device's tiles, or of its vectors."""
    lanes = max(4, spec.lanes(dtype))
    tiles = {(t.m, t.k, t.n) for t in spec.tiles if t.a.dtype is dtype} | {(4, lanes, 2 * lanes)}
    near: list[Shape3] = []
    for m, k, n in sorted(tiles):
        for d in (-1, 0, 1):
            near += [(2 * m + d, 2 * k, 2 * n), (2 * m, 2 * k + d, 2 * n), (2 * m, 2 * k, 2 * n + d)]
    return tuple(dict.fromkeys(near))
