"""Buffers read as RGBA images: every element where it belongs, zeros outside, never a stale one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from opencl_support import Array, cl, get, opened, put, run

from portwright.core import dtype as dt
from portwright.core.device import Buffer, ImageView, Launch
from portwright.core.errors import DeviceError
from portwright.devices.opencl import OpenCL
from portwright.devices.opencl_facts import limits_of
from portwright.devices.opencl_image import Images
from portwright.devices.opencl_memory import Memory

SOURCE = """
__constant sampler_t at = CLK_NORMALIZED_COORDS_FALSE | CLK_ADDRESS_CLAMP | CLK_FILTER_NEAREST;
__kernel void framed(__global float *o, __read_only image2d_t x) {  /* with a border one pixel wide */
  int i = get_global_id(0), j = get_global_id(1);
  vstore4(read_imagef(x, at, (int2)(i - 1, j - 1)), j * get_global_size(0) + i, o);
}
__kernel void increase(__global float *x) { x[get_global_id(0)] += 1.0f; }
"""


@pytest.fixture(scope="module")
def device() -> Iterator[OpenCL]:
    with opened(OpenCL) as device:
        if not device._queue.device.image_support:
            pytest.skip("the OpenCL device has no images")
        yield device


@pytest.fixture(scope="module")
def kernels(device: OpenCL) -> dict[str, Any]:
    names = ["framed", "increase"]
    return dict(zip(names, device.load(device.compile(SOURCE), names), strict=True))


def framed(device: OpenCL, kernel: Any, buffer: Buffer, width: int, rows: int, dtype: dt.DType) -> Array:
    """The pixels of an image, with what is read beside it on all sides."""
    out = Buffer(device, (width + 2) * (rows + 2) * 16)
    image = device._launcher.images.of(buffer.handle, width, dtype)
    kernel.kernel.set_args(out.handle.buffer, image)
    cl.enqueue_nd_range_kernel(device._queue, kernel.kernel, (width + 2, rows + 2), (1, 1))
    return get(out, np.float32).reshape(rows + 2, width + 2, 4)


@pytest.mark.parametrize(
    ("elements", "width", "pitch"),
    [(4 * 64 * 3, 64, 1024), (4 * 50, 50, 1024), (4 * 50 * 2, 50, None), (4 * 128, 128, 2048)],
)
def test_what_a_driver_that_makes_images_of_buffers_is_told(
    device: OpenCL, monkeypatch: pytest.MonkeyPatch, elements: int, width: int, pitch: int | None
) -> None:
    """No driver at hand makes them (PoCL refuses), so that the image itself is not seen here."""
    told: list[SimpleNamespace] = []
    monkeypatch.setattr(cl, "ImageDescriptor", SimpleNamespace)
    monkeypatch.setattr(cl, "Image", lambda *a, desc: told.append(desc) or SimpleNamespace(element_size=16))
    images = Images("ADRENO", device._queue, replace(limits_of(device._queue.device), image_pitch=64))
    monkeypatch.setattr(images, "_copy", lambda *a: None)
    memory = Memory(
        device._pool, cl.Buffer(device._queue.context, 1, -(-elements // 256) * 1024), elements * 4
    )
    images.of(memory, width, dt.float32)
    assert told[0].shape == (width, elements // 4 // width, 1)
    assert told[0].pitches == ((pitch, 0) if pitch else (0, 0))
    assert told[0].buffer is (memory.buffer if pitch else None)


@pytest.mark.parametrize("dtype", [dt.float32, dt.float16], ids=str)
@pytest.mark.parametrize(("elements", "width"), [(60, 5), (64, 16), (4, 1), (3, 1), (50, 5), (257, 8)])
def test_every_element_and_zeros_outside(
    device: OpenCL, kernels: dict[str, Any], dtype: dt.DType, elements: int, width: int
) -> None:
    values = np.random.default_rng(0).normal(size=elements).astype(dtype.numpy)
    pixels = -(-elements // 4)
    rows = -(-pixels // width)
    got = framed(device, kernels["framed"], put(device, values), width, rows, dtype)
    assert not got[0].any()
    assert not got[-1].any()
    assert not got[:, 0].any()
    assert not got[:, -1].any()
    inside = got[1:-1, 1:-1].reshape(-1)
    assert (inside[:elements] == values.astype(np.float32)).all()


def test_half_keeps_every_finite_value(device: OpenCL, kernels: dict[str, Any]) -> None:
    values = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    values = values[np.isfinite(values)]
    got = framed(device, kernels["framed"], put(device, values), 128, values.size // 512, dt.float16)
    assert (got[1:-1, 1:-1].reshape(-1) == values.astype(np.float32)).all()


def test_an_image_is_as_fresh_as_its_buffer(device: OpenCL, kernels: dict[str, Any]) -> None:
    x = np.arange(64, dtype=np.float32)
    buffer = put(device, x)

    def seen() -> Array:
        return framed(device, kernels["framed"], buffer, 4, 4, dt.float32)[1:-1, 1:-1].reshape(-1)

    assert (seen() == x).all()
    run(device, kernels["increase"], 4, 16, buffer)
    assert (seen() == x + 1).all()
    buffer.write(memoryview(x * 2).cast("B"))
    assert (seen() == x * 2).all()
    if device.spec.unified_memory:
        np.frombuffer(device.host_view(buffer.handle, 256), np.float32)[:] = 7
        assert (seen() == 7).all()


def test_an_image_is_copied_only_when_it_must_be(
    device: OpenCL, kernels: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, copies = device._launcher.images, []
    copy = images._copy
    monkeypatch.setattr(images, "_copy", lambda *a: copies.append(a) or copy(*a))
    buffer = put(device, np.zeros(64, np.float32))
    for _ in range(3):
        images.of(buffer.handle, 4, dt.float32)
    assert len(copies) <= 1  # none where the image is the buffer itself


def test_one_too_wide_or_too_high(device: OpenCL) -> None:
    images = device._launcher.images
    buffer = Buffer(device, 16 * (images.height + 1))
    with pytest.raises(DeviceError, match=f"an image of 1x{images.height + 1} pixels; it has at most"):
        images.of(buffer.handle, 1, dt.float32)
    with pytest.raises(DeviceError, match="it has at most"):
        images.of(buffer.handle, images.width + 1, dt.float32)


def test_dtypes_that_no_image_has(device: OpenCL) -> None:
    with pytest.raises(DeviceError, match=r"images of float16, float32, int16, .*, not of int64"):
        device._launcher.images.of(device.alloc(64), 4, dt.int64)


def test_a_launch_reads_through_images_of_buffers_that_are_freed_behind_it(
    device: OpenCL, kernels: dict[str, Any]
) -> None:
    view, outs = ImageView(4, dt.float32), []
    x = np.arange(256, dtype=np.float32)
    for i in range(40):
        out, source = Buffer(device, 6 * 18 * 16), put(device, x + i)
        device.launch(Launch(kernels["framed"], (6, 18, 1), (1, 1, 1), (out, source), (None, view)))
        outs.append(out)
        del source
    for i, out in enumerate(outs):
        assert (get(out, np.float32).reshape(18, 6, 4)[1:-1, 1:-1].reshape(-1) == x + i).all()


@pytest.mark.parametrize("images", [(), (ImageView(4, dt.float32), None)])
def test_an_image_where_a_buffer_belongs_never_meets_the_driver(
    device: OpenCL, kernels: dict[str, Any], images: tuple[ImageView | None, ...]
) -> None:
    buffers = (Buffer(device, 6 * 18 * 16), Buffer(device, 1024))
    with pytest.raises(DeviceError, match="kernel framed takes images where it is launched on buffers"):
        device.launch(Launch(kernels["framed"], (6, 18, 1), (1, 1, 1), buffers, images))
