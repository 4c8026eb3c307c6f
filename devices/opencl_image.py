"""A buffer read as an RGBA image: through the texture cache, four elements a pixel, zeros outside."""

from __future__ import annotations

from typing import Any

import pyopencl as cl

from ..core.dtype import DType
from ..core.errors import DeviceError
from .opencl_facts import CHANNELS
from .opencl_limits import Limits
from .opencl_memory import Memory

ELEMENTS = 4
"""Of a pixel."""


class Images:
    """Makes images of buffers.

    An image is the buffer itself where the device can do that and the rows lie as it wants them; else it is
    a copy, made again when the buffer may have changed since.

    Args:
        name: the port's, for messages.
        queue: in order.
        limits: of images.
    """

    def __init__(self, name: str, queue: Any, limits: Limits) -> None:
        self.name, self.queue = name, queue
        self.width, self.height, self.pitch = limits.image_width, limits.image_height, limits.image_pitch
        self.dtypes = limits.image_dtypes

    def of(self, memory: Memory, width: int, dtype: DType) -> Any:
        """The content of a buffer, row after row of ``width`` pixels.

        Raises:
            DeviceError: when the device has no such images.
        """
        if dtype not in self.dtypes:
            readable = ", ".join(sorted(d.name for d in self.dtypes)) or "nothing"
            raise DeviceError(f"{self.name} reads images of {readable}, not of {dtype}")
        pixel = ELEMENTS * dtype.itemsize
        pixels = -(-memory.nbytes // pixel)
        height = -(-pixels // width)
        if width > self.width or height > self.height:
            raise DeviceError(
                f"{self.name}: an image of {width}x{height} pixels; it has at most {self.width}x{self.height}"
            )
        kept = memory.images.get((width, dtype))
        row = width if height > 1 or not self.pitch else -(-width // self.pitch) * self.pitch
        shared = self.pitch and not row % self.pitch and row * height * pixel <= memory.buffer.size
        if kept is None:
            shape = cl.ImageDescriptor()  # create_image takes no pitch with a buffer
            shape.image_type, shape.shape = cl.mem_object_type.IMAGE2D, (width, height, 1)
            shape.array_size = shape.num_mip_levels = shape.num_samples = 0
            shape.pitches = (row * pixel, 0) if shared else (0, 0)
            shape.buffer = memory.buffer if shared else None
            pixels_of = cl.ImageFormat(cl.channel_order.RGBA, CHANNELS[dtype])
            image = cl.Image(self.queue.context, cl.mem_flags.READ_ONLY, pixels_of, desc=shape)
        else:
            version, image = kept
            if version == memory.version and memory.view is None:  # through a view, the host may write unseen
                return image
        if not shared:
            self._copy(memory, image, width, pixels)
        memory.images[width, dtype] = (memory.version, image)
        return image

    def _copy(self, memory: Memory, image: Any, width: int, pixels: int) -> None:
        """The whole rows, and then the beginning of the last."""
        rows, rest = divmod(pixels, width)
        pixel = image.element_size
        for first, region in ((0, (width, rows)), (rows, (rest, 1))):
            if region[0] and region[1]:
                cl.enqueue_copy(
                    self.queue, image, memory.buffer, offset=first * width * pixel,
                    origin=(0, first), region=region,
                )  # fmt: skip
