"""Parameters that are read through images: the texture cache of a device, four elements at a time.

In: an expanded tree. Out: the same tree, in which a parameter that is only read, and only in whole pixels or
in known elements of them, carries the width of the image that it is read through. The image is the buffer's
own memory, row by row, so that pixel p is at (p mod width, p div width); outside of it an image reads zeros,
which is what a guarded load means.
"""

from __future__ import annotations

from dataclasses import replace

from .device import Images, Spec
from .loops import Kernel, Memory, values
from .ops import Op
from .print_value import is_aligned
from .value import Access, Value, toposort

PIXEL = 4
"""Elements of a pixel."""


def read_through_images(kernel: Kernel, spec: Spec) -> Kernel:
    """The kernel with image widths on the parameters that images serve."""
    if spec.images is None:
        return kernel
    loads: dict[str, list[Value]] = {}
    for v in toposort(values(kernel.body)):
        if v.op is Op.LOAD and isinstance(v.arg, Access):
            loads.setdefault(v.arg.memory, []).append(v)
    params = tuple(
        replace(p, image=_width(p, spec.images)) if all(map(_is_pixel, loads.get(p.name, ()))) else p
        for p in kernel.params
    )
    return replace(kernel, params=params)


def _is_pixel(v: Value) -> bool:
    """Whether a load is a whole pixel, or an element of one that is known beforehand."""
    access = v.arg
    assert isinstance(access, Access)
    if access.places:
        return False
    if v.lanes == PIXEL:
        return access.stride == 1 and is_aligned(access.index, PIXEL)
    return v.lanes == 1 and (access.index % PIXEL).is_const


def _width(p: Memory, images: Images) -> int:
    """Pixels in a row of the image over a parameter; 0 when there is none that is exactly its memory."""
    pixels, rest = divmod(p.size, PIXEL)
    if p.written or rest or not pixels or p.dtype not in images.dtypes:
        return 0
    if pixels <= images.width:
        return pixels
    widths = (w for w in range(images.width - images.width % images.pitch, 0, -images.pitch))
    return next((w for w in widths if pixels % w == 0 and pixels // w <= images.height), 0)
