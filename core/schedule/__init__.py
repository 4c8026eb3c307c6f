"""How a kernel's loops are run: named transforms of the tree, and the heuristic that chooses among them."""

from __future__ import annotations

from .choose import schedule
from .transforms import (
    Chunk,
    bind,
    chunks,
    fuse_loops,
    interchange,
    split,
    split_accumulator,
    split_chunks,
)

__all__ = [
    "Chunk",
    "bind",
    "chunks",
    "fuse_loops",
    "interchange",
    "schedule",
    "split",
    "split_accumulator",
    "split_chunks",
]
