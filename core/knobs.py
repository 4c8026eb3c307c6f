"""Knobs: the numbers that the heuristic goes by, which a port may set for all of its kernels.

For one kernel they may be answered otherwise at each place where they are asked for (``core/decisions.py``).
Whatever they are set to, a schedule means the same; only its speed differs.
"""

from __future__ import annotations

from .record import dataclass


@dataclass(frozen=True, slots=True)
class Knobs:
    """How kernels are tiled, where the heuristic has a choice.

    Attributes:
        rows: of a register tile, at most.
        vectors: side by side in a register tile.
        unroll: vectors of elementwise work in one step of its loop.
        partial: accumulators of a reduction by itself, in vectors.
        stripe: columns that are reduced together, where half of the nearest cache holds their sums.
        panel: a packed panel may fill one part in so many of what a work item has near; 0: nothing is packed.
        pieces: work items for each thread, at least.
    """

    rows: int = 8
    vectors: int = 2
    unroll: int = 4
    partial: int = 4
    stripe: int = 4096
    panel: int = 2
    pieces: int = 4


TRIED = {
    "rows": (4, 6, 12, 14),
    "vectors": (1, 3, 4),
    "unroll": (1, 2, 8),
    "partial": (2, 8),
    "stripe": (512, 1024, 2048),
    "panel": (0, 1, 4, 8),
    "pieces": (1, 2, 16),
}
"""What else may be answered where a knob is asked for."""
USUAL = Knobs()
"""What serves most processors."""
