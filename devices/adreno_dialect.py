"""OpenCL C for Adreno: what is only read comes through images, whose border stands in for masks."""

from __future__ import annotations

from dataclasses import replace

from ..core import dtype as dt
from .opencl_dialect import OPENCL_C

_PLACE = """\
__constant sampler_t PIXEL = CLK_NORMALIZED_COORDS_FALSE | CLK_ADDRESS_CLAMP | CLK_FILTER_NEAREST;
static inline int2 place(int pixel, int width) {
  return pixel < 0 ? (int2)(-1, -1) : (int2)(pixel % width, pixel / width);
}
"""

ADRENO_C = replace(
    OPENCL_C,
    prelude=OPENCL_C.prelude + _PLACE,
    image_argument="__read_only image2d_t {name}",
    image_load={
        dtype: f"{read}({{0}}, PIXEL, place({{1}}, {{width}})){end}"
        for dtype, read, end in (
            (dt.float32, "read_imagef", ""),
            (dt.float16, "read_imageh", ""),
            (dt.int32, "read_imagei", ""),
            (dt.uint32, "read_imageui", ""),
            (dt.int16, "convert_short4(read_imagei", ")"),
            (dt.uint16, "convert_ushort4(read_imageui", ")"),
            (dt.int8, "convert_char4(read_imagei", ")"),
            (dt.uint8, "convert_uchar4(read_imageui", ")"),
        )
    },
)
