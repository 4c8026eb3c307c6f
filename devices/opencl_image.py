"""A buffer read as an RGBA image: through the texture cache, four elements a pixel, zeros outside."""

from __future__ import annotations

from typing import Any

import pyopencl as cl

from ..core import dtype as dt
from ..core.dtype import DType
from ..core.errors import DeviceError
from .opencl_facts import Limits
from .opencl_memory import Memory

CHANNELS = 4
_FORMATS = {dt.float32: "FLOAT", dt.float16: "HALF_FLOAT"}


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

    def of(self, memory: Memory, width: int, dtype: DType) -> Any:
        """The content of a buffer, row after row of ``width`` pixels.

        Raises:
            DeviceError: when the device has no such images.
        """
        if dtype not in _FORMATS:
            raise DeviceError(f"{self.name} reads images of float32 and float16, not of {dtype}")
        pixel = CHANNELS * dtype.itemsize
        pixels = -(-memory.nbytes // pixel)
        height = -(-pixels // width)
        if width > self.width or height > self.height:
            raise DeviceError(
                f"{self.name}: an image of {width}x{height} pixels; it has at most {self.width}x{self.height}"
            )
        kept = memory.images.get((width, dtype))
        shared = self.pitch and not width % self.pitch and width * height * pixel <= memory.buffer.size
        if kept is None:
            form = cl.ImageFormat(cl.channel_order.RGBA, getattr(cl.channel_type, _FORMATS[dtype]))
            source = {"buffer": memory.buffer, "pitches": (width * pixel,)} if shared else {}
            image = cl.create_image(
                self.queue.context, cl.mem_flags.READ_ONLY, form, shape=(width, height), **source
            )
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
