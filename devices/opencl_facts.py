"""What an OpenCL device says of itself, as a ``Spec``. Nothing is assumed that can be asked."""

from __future__ import annotations

from typing import Any

import pyopencl as cl

from ..core import dtype as dt
from ..core.device import Ability, Evidence, Extra, Spec
from ..core.ops import ALL_OPS, Op
from . import host
from .opencl_choice import Candidate
from .opencl_limits import FLAGS, LANES, SLOW_ON_HOST, VECTOR_BYTES, Limits
from .opencl_vectors import vector_bytes

BLOCK = 64
"""Work items of a work-group that nothing else is known of: a wave or two of any GPU, and on a processor
enough for the driver to run them side by side (measured on PoCL, of kernels without loops: 64 to 256 are
alike, 1 is 20 times slower; what loops gets groups of one)."""
_WRONG_ON_HOST = {Op.SIN}
"""PoCL 3.0's sin of a float vector is wrong in its tiny lanes (4.5e-17 gives 0.013) beside one of 1e7."""
_CORRECTLY_ROUNDED = "-cl-fp32-correctly-rounded-divide-sqrt"


_channel = cl.channel_type
CHANNELS = {
    dt.float32: _channel.FLOAT, dt.float16: _channel.HALF_FLOAT, dt.int32: _channel.SIGNED_INT32,
    dt.int16: _channel.SIGNED_INT16, dt.int8: _channel.SIGNED_INT8, dt.uint32: _channel.UNSIGNED_INT32,
    dt.uint16: _channel.UNSIGNED_INT16, dt.uint8: _channel.UNSIGNED_INT8,
}  # fmt: skip
"""What OpenCL calls a pixel's elements."""


def limits_of(device: Any) -> Limits:
    """What a device says that it has."""
    has_images, of_buffers = device.image_support, "cl_khr_image2d_from_buffer" in extensions(device)
    return Limits(
        buffer_bytes=device.max_mem_alloc_size,
        total_bytes=device.global_mem_size,
        image_width=device.image2d_max_width if has_images else 0,
        image_height=device.image2d_max_height if has_images else 0,
        image_pitch=device.image_pitch_alignment if has_images and of_buffers else 0,
        image_dtypes=_pixels(device) if has_images else frozenset(),
    )


def _pixels(device: Any) -> frozenset[dt.DType]:
    """What a device's read-only RGBA images can be of."""
    context = cl.Context([device])
    formats = cl.get_supported_image_formats(context, cl.mem_flags.READ_ONLY, cl.mem_object_type.IMAGE2D)
    offered = {f.channel_data_type for f in formats if f.channel_order == cl.channel_order.RGBA}
    return frozenset(dtype for dtype, channel in CHANNELS.items() if channel in offered)


def extensions(device: Any) -> frozenset[str]:
    """The extensions that a device offers."""
    return frozenset(device.extensions.split())


def build_flags(device: Any) -> tuple[str, ...]:
    """What kernels are built with: strict arithmetic, and each argument's kind kept."""
    precise = device.single_fp_config & cl.device_fp_config.CORRECTLY_ROUNDED_DIVIDE_SQRT
    return (*FLAGS, *([_CORRECTLY_ROUNDED] if precise else []))


def describe(name: str, chosen: Candidate) -> Spec:
    """What a device can do.

    The primitives are the language's own: the full profile bounds the errors of its functions (OpenCL C 3.0,
    section 7.4) just as the contract's tier does, and no flag loosens them. On a processor core
    builds SIN, EXP2 and LOG2, and a vector is what its registers hold.

    float64 is held where the device computes in it: core cannot build it. float16 is always held, and
    computed in where the device says that it rounds and treats NaN, infinities and subnormals as its
    float32 does.

    Args:
        name: the port's.
        chosen: the device.
    """
    device, fp = chosen.device, cl.device_fp_config
    flags = build_flags(device)
    single = device.single_fp_config
    offered = extensions(device)
    held = frozenset(dt.ALL) - (set() if "cl_khr_fp64" in offered else {dt.float64})
    narrow = {dt.bfloat16, *dt.FLOAT8S}
    exact = fp.INF_NAN | fp.ROUND_TO_NEAREST | (single & fp.DENORM)
    if "cl_khr_fp16" not in offered or device.half_fp_config & exact != exact:
        narrow.add(dt.float16)
    extras = {Extra.DIV: _CORRECTLY_ROUNDED in flags, Extra.FMA: bool(single & fp.FMA)}
    on_host = chosen.kind == "CPU"
    cache = device.global_mem_cache_size
    wave = 1 if on_host else _wave(device)
    group = min(device.max_work_group_size, device.max_work_item_sizes[0])
    most = 2 ** min(31, device.address_bits) - 1
    return Spec(
        name,
        dtypes=held,
        native=ALL_OPS - (_WRONG_ON_HOST | SLOW_ON_HOST if on_host else set()),
        arithmetic=held - narrow,
        evidence=Evidence.EMULATED if chosen.imitates else Evidence.MEASURED,
        flushes_subnormals=not single & fp.DENORM,
        extras=frozenset(extra for extra, has in extras.items() if has),
        vector_bytes=vector_bytes(chosen) if on_host else VECTOR_BYTES,
        vector_lanes=LANES,
        threads=device.max_compute_units * wave,
        cache_bytes=host.cache_bytes() if on_host else (cache or device.local_mem_size,),
        private_bytes=host.PRIVATE_BYTES if on_host else 0,
        memory_bytes=0 if device.host_unified_memory else device.global_mem_size,
        local_bytes=device.local_mem_size,
        max_grid=(most, most, most),
        max_block=group,
        block=min(max(BLOCK, wave), group),
        warp=wave,
        max_buffers=device.max_parameter_size // (device.address_bits // 8),
        abilities=frozenset({Ability.CLOCK, *([Ability.HOST_VIEW] if device.host_unified_memory else [])}),
        unified_memory=bool(device.host_unified_memory),
        alignment=device.mem_base_addr_align // 8,
        driver={
            "platform": f"{chosen.names[0]}, {chosen.platform.version.strip()}",
            "device": f"{chosen.names[1]} ({chosen.kind})",
            "asked for as": ":".join(map(str, chosen.place)),
            "version": device.driver_version,
            "language": device.opencl_c_version.strip(),
            "flags": " ".join(flags),
        },
    )  # fmt: skip


def _wave(device: Any) -> int:
    """Work items that a compute unit runs in step, where the device says (OpenCL 3.0); else 32."""
    try:
        return int(device.preferred_work_group_size_multiple) or 32
    except cl.Error:
        return 32
