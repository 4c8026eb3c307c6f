"""How much an OpenCL device has, beyond its Spec, and what kernels are built with. Known without a driver."""

from __future__ import annotations

from ..core import dtype as dt
from ..core.ops import Op
from ..core.record import dataclass

FLAGS = ("-cl-kernel-arg-info", "-w")
"""What every kernel is built with: it says what kind each of its arguments is, and PoCL counts no warnings
on the terminal."""


VECTOR_BYTES = 16
"""Of a vector, of what says no more: what a work item of most GPUs loads at once."""
LANES = 16
"""Of the longest vector of OpenCL C."""
SLOW_ON_HOST = frozenset({Op.EXP2, Op.LOG2})
"""What a processor's driver computes a lane at a time."""


@dataclass(frozen=True)
class Limits:
    """How much a device has.

    Attributes:
        buffer_bytes: that one buffer may have.
        total_bytes: that all buffers may have together.
        image_width, image_height: pixels that an image may have; 0 of a device without images.
        image_pitch: pixels of which a row of an image that is a buffer holds a whole number; 0 when the
            device makes no images of buffers.
        image_dtypes: what the elements of its four-element pixels may be.
    """

    buffer_bytes: int
    total_bytes: int
    image_width: int
    image_height: int
    image_pitch: int
    image_dtypes: frozenset[dt.DType]
