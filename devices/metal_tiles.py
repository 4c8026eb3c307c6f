"""Metal's SIMD-group matrices, as data: 8 × 8, two elements for each of 32 lanes (``thread_elements``).

The functions are those of the Metal Shading Language Specification, "SIMD-Group Matrix Functions". Which
elements a lane holds Apple has not published: the layout is the one that open-source kernels rely on.
"""

from __future__ import annotations

from ..core import dtype as dt
from ..core.dtype import DType
from ..core.tile import Layout, Tile

_DEFINITION = """\
inline void product_{T}(thread {T} &c0, thread {T} &c1, {T} a0, {T} a1, {T} b0, {T} b1) {{
  simdgroup_{T}8x8 a, b, c;
  a.thread_elements()[0] = a0; a.thread_elements()[1] = a1;
  b.thread_elements()[0] = b0; b.thread_elements()[1] = b1;
  c.thread_elements()[0] = c0; c.thread_elements()[1] = c1;
  simdgroup_multiply_accumulate(c, a, b, c);
  c0 = c.thread_elements()[0]; c1 = c.thread_elements()[1];
}}"""


def _tile(dtype: DType, name: str) -> Tile:
    held = Layout(
        dtype, 2, lambda t, e: t // 2 % 4 + t // 16 * 4, lambda t, e: t % 2 * 2 + t // 8 % 2 * 4 + e
    )
    return Tile(f"product_{name}", 8, 8, 8, 32, held, held, held, _DEFINITION.format(T=name))


TILES: tuple[Tile, ...] = (_tile(dt.float32, "float"), _tile(dt.float16, "half"))
"""Of every GPU of the family Apple7 and later (M1, A14)."""
