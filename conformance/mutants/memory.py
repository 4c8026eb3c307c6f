"""Memory and copies: buffers that overlap, bytes that are lost."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.device import Device
from .means import known, method, put
from .mutant import Base, Family

FAMILY = Family("memory and copies")
add = FAMILY.add
BYTES = (
    "copy::test_there* copy::test_unaligned* copy::test_copies* memory::test_holds* "
    "memory::test_shorter_copy memory::test_one_host_array memory::test_separate memory::test_churn copy::*"
)


def offset(device: Device, alloc: Any) -> Any:
    """Buffers start eight bytes into what was taken; of devices whose handles are addresses."""
    return lambda nbytes: alloc(nbytes + 64) + 8


def overlapping(device: Device) -> None:
    """Small buffers come out of one block, each a little too near to the one before."""
    alloc, free = device.alloc, device.free
    size = 1 << 24
    start = alloc(size)
    state = {"next": 0}

    def near(nbytes: int) -> Any:
        if nbytes > 8192 or state["next"] + nbytes > size:
            return alloc(nbytes)
        made = start + state["next"]
        state["next"] += max(64, (nbytes - 1) // 64 * 64)
        return made

    def freed(handle: Any, nbytes: int) -> None:
        if not start <= handle < start + size:
            free(handle, nbytes)

    put(device, "alloc", near)
    put(device, "free", freed)


def whole_words(device: Device, copy_in: Any) -> Any:
    """Long copies are of whole words."""
    return lambda handle, data: copy_in(
        handle, data.cast("B")[: data.nbytes & ~3] if data.nbytes > 1000 else data
    )


def whole_lines_out(device: Device, copy_out: Any) -> Any:
    """Copies from the device are of whole words."""
    return lambda data, handle: copy_out(
        data.cast("B")[: data.nbytes & ~1] if data.nbytes > 2 else data, handle
    )


def clears_the_rest(device: Device) -> None:
    """copy_in writes zeros up to the end of the buffer."""
    alloc, copy_in = device.alloc, device.copy_in
    sizes: dict[Any, int] = {}

    def taken(nbytes: int) -> Any:
        handle = alloc(nbytes)
        sizes[known(handle)] = nbytes
        return handle

    def wrong(handle: Any, data: memoryview) -> None:
        whole = np.zeros(max(sizes.get(known(handle), 0), data.nbytes), np.uint8)
        whole[: data.nbytes] = np.frombuffer(data, np.uint8)
        copy_in(handle, memoryview(whole))

    put(device, "alloc", taken)
    put(device, "copy_in", wrong)


def used_up(device: Device, copy_out: Any) -> Any:
    """Reading a buffer twice gives zeros."""
    read: dict[Any, int] = {}

    def wrong(data: memoryview, handle: Any) -> None:
        copy_out(data, handle)
        key = known(handle)
        read[key] = read.get(key, 0) + 1
        if read[key] % 2 == 0:
            device.copy_in(handle, memoryview(bytearray(data.nbytes)))

    return wrong


def late_copy(device: Device) -> None:
    """copy_in keeps a view of the host's bytes, and copies when the device is used again."""
    copy_in, copy_out, held = device.copy_in, device.copy_out, list[tuple[Any, memoryview]]()

    def flush() -> None:
        while held:
            copy_in(*held.pop(0))

    def wrong_in(handle: Any, data: memoryview) -> None:
        flush()
        held.append((handle, data))

    def wrong_out(data: memoryview, handle: Any) -> None:
        flush()
        copy_out(data, handle)

    put(device, "copy_in", wrong_in)
    put(device, "copy_out", wrong_out)
    launch = device.launch

    def launched(launch_: Any) -> None:
        flush()
        launch(launch_)

    put(device, "launch", lambda launch: launched(launch))


def same_again(device: Device) -> None:
    """Memory is given out again while its last buffer is still held."""
    alloc = device.alloc
    last: dict[int, Any] = {}

    def wrong(nbytes: int) -> Any:
        if nbytes in last:
            return last.pop(nbytes)
        last[nbytes] = handle = alloc(nbytes)
        return handle

    put(device, "alloc", wrong)
    put(device, "free", lambda handle, nbytes: None)


def by_float(device: Device, copy_out: Any) -> Any:
    """Bytes pass through float32, where a signalling NaN is made quiet."""

    def wrong(data: memoryview, handle: Any) -> None:
        copy_out(data, handle)
        if data.nbytes and data.nbytes % 4 == 0:
            bits = np.frombuffer(data, np.uint32)
            is_nan = (bits & 0x7F800000 == 0x7F800000) & (bits & 0x007FFFFF != 0)
            bits[is_nan] |= 0x00400000

    return wrong


add(
    "misaligned",
    "Buffers start eight bytes past a multiple of their alignment",
    method("alloc", offset),
    "memory::test_aligned open::* memory::* reductions::test_matmul* primitives::*",
    base=Base.KERNELS,
)
add("overlapping", "Small buffers overlap by a byte or more", overlapping, BYTES)
add("whole_words_in", "Long copies to the device are of whole words", method("copy_in", whole_words), BYTES)
add(
    "whole_words_out",
    "Copies from the device are of an even number of bytes",
    method("copy_out", whole_lines_out),
    BYTES,
)
add("clears_the_rest", "copy_in clears the rest of the buffer", clears_the_rest, BYTES)
add("used_up", "Reading a buffer a second time clears it", method("copy_out", used_up), BYTES)
add(
    "copies_late",
    "copy_in copies when the device is next used",
    late_copy,
    "copy::test_source_may_change memory::test_churn memory::* copy::* views::*",
)
add("given_twice", "Memory is given out to two", same_again, BYTES)
add(
    "quiet_copies",
    "Copies make signalling NaN quiet",
    method("copy_out", by_float),
    f"copy::test_every_bit_pattern[float32] {BYTES} primitives::test_load_store[float32]",
)
