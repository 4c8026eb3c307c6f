"""Rung 2: buffers are separate and aligned, hold what was put into them, and can be given back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ...core.device import Ability, Buffer
from ...core.errors import OutOfMemoryError
from ..calls import TOO_MUCH, Bytes, alloc, copy_in, copy_out, free, whole
from ..case import Case

SIZES = (1, 3, 64, 4095, 4096, 4097, (1 << 20) - 1, 1 << 20, (1 << 20) + 1)


@pytest.mark.parametrize("nbytes", SIZES)
def test_holds(case: Case, nbytes: int) -> None:
    """A buffer keeps every byte of two different fillings."""
    handle = alloc(case, nbytes)
    for _ in range(2):
        pattern = case.rng.integers(0, 256, nbytes, dtype=np.uint8)
        copy_in(case, handle, pattern)
        copy_out(case, handle, pattern, "after a copy_in of as many")
    free(case, handle, nbytes)


def test_empty(case: Case) -> None:
    """A Buffer of no bytes can be made, written and read."""
    buffer = Buffer(case.device, 0)
    buffer.write(memoryview(b""))
    buffer.read(memoryview(bytearray()))


def test_separate(case: Case) -> None:
    """Writing one of many buffers leaves the others as they were: no two overlap."""
    sizes = [int(n) for n in case.rng.choice(SIZES[:6], 64)]
    handles = [alloc(case, n) for n in sizes]
    patterns = [case.rng.integers(0, 256, n, dtype=np.uint8) for n in sizes]
    for handle, pattern in zip(handles, patterns, strict=True):
        copy_in(case, handle, pattern)
    for i in case.rng.permutation(len(sizes)):
        patterns[i] = ~patterns[i]
        copy_in(case, handles[i], patterns[i])
    for i, (handle, pattern) in enumerate(zip(handles, patterns, strict=True)):
        whole(case, f"buffer {i} of {pattern.size} bytes", handle, pattern)
    for handle, n in zip(handles, sizes, strict=True):
        free(case, handle, n)


def test_aligned(case: Case) -> None:
    """Every buffer starts where ``Spec.alignment`` says, on a device whose memory the host can see."""
    if Ability.HOST_VIEW not in case.spec.abilities:
        pytest.skip(f"{case.name} does not claim host views, so that its addresses cannot be seen")
    device: Any = case.device
    for nbytes in SIZES:
        handles = [device.alloc(nbytes) for _ in range(3)]
        for handle in handles:
            address = np.frombuffer(device.host_view(handle, nbytes), np.uint8).ctypes.data
            off = address % case.spec.alignment
            assert not off, (
                f"a buffer of {nbytes} bytes lies {off} bytes past a multiple of {case.spec.alignment}"
            )
        for handle in handles:
            device.free(handle, nbytes)


def test_churn(case: Case) -> None:
    """Thousands of buffers taken and given back in any order: what is held stays whole."""
    live: list[tuple[Any, Bytes]] = []
    for step in range(2000):
        if live and (len(live) > 32 or case.rng.integers(0, 2)):
            handle, pattern = live.pop(int(case.rng.integers(0, len(live))))
            whole(case, f"a buffer of {pattern.size} bytes (seen at step {step})", handle, pattern)
            free(case, handle, pattern.size)
        else:
            n = int(2 ** case.rng.uniform(0, 14))
            live.append((alloc(case, n), case.rng.integers(0, 256, n, dtype=np.uint8)))
            copy_in(case, *live[-1])
    for handle, pattern in live:
        whole(case, f"a buffer of {pattern.size} bytes", handle, pattern)
        free(case, handle, pattern.size)


def test_given_back(case: Case) -> None:
    """Memory is reused: taking and freeing 64 MiB two hundred times does not run out."""
    nbytes = 64 << 20
    for _ in range(200):
        free(case, alloc(case, nbytes), nbytes)


def test_buffers_free_themselves(case: Case) -> None:
    """A Buffer that nothing refers to goes back without a fault, and its neighbours stay whole."""
    pattern = case.rng.integers(0, 256, 4097, dtype=np.uint8)
    kept = Buffer(case.device, pattern.nbytes)
    kept.write(memoryview(pattern))
    for n in SIZES[:6] * 8:
        Buffer(case.device, n)
    whole(case, "a buffer beside others that went back", kept.handle, pattern)


def test_too_much(case: Case) -> None:
    """Where there is no room, alloc says so, and what is asked for next is given."""
    for _ in range(2):
        with pytest.raises(OutOfMemoryError) as refused:
            case.device.alloc(TOO_MUCH)
        assert str(refused.value), "the error does not say how much was asked for"
    handle = alloc(case, 4097)
    copy_in(case, handle, case.rng.integers(0, 256, 4097, dtype=np.uint8))
    free(case, handle, 4097)


def test_no_room(case: Case) -> None:
    """A Buffer that finds no room harms no other one."""
    pattern = case.rng.integers(0, 256, 4097, dtype=np.uint8)
    kept = Buffer(case.device, pattern.nbytes)
    kept.write(memoryview(pattern))
    with pytest.raises(OutOfMemoryError):
        Buffer(case.device, TOO_MUCH)
    whole(case, "a buffer beside one that found no room", kept.handle, pattern)


def test_many_go_back(case: Case) -> None:
    """Buffers of some MiB that are dropped make room for others: a GiB of them one after another."""
    pattern = case.rng.integers(0, 256, 64, dtype=np.uint8)
    for _ in range(160):
        buffer = Buffer(case.device, 8 << 20)
        copy_in(case, buffer.handle, pattern)
        whole(case, "a buffer of 8 MiB", buffer.handle, pattern)


def test_rewritten(case: Case) -> None:
    """A buffer whose last byte alone changes from one copy to the next."""
    pattern = np.zeros(1029, np.uint8)
    handle = alloc(case, pattern.size)
    for value in (1, 2, 255, 0):
        pattern[-1] = value
        copy_in(case, handle, pattern)
        copy_out(case, handle, pattern, "after a copy_in of which the last byte alone is new")
    free(case, handle, pattern.size)


def test_shorter_copy(case: Case) -> None:
    """A copy of fewer bytes than a buffer has leaves the others as they were."""
    pattern = case.rng.integers(0, 256, 4097, dtype=np.uint8)
    handle = alloc(case, pattern.size)
    copy_in(case, handle, pattern)
    for n in (1, 63, 1000):
        pattern[:n] ^= 0x5A
        copy_in(case, handle, pattern[:n])
        whole(case, f"the rest of a buffer of which {n} bytes were written", handle, pattern)
    free(case, handle, pattern.size)


def test_one_host_array(case: Case) -> None:
    """One array of the host's fills several buffers, changed in between."""
    data = np.zeros(1029, np.uint8)
    handles = [alloc(case, data.size) for _ in range(4)]
    for i, handle in enumerate(handles):
        data[:] = i + 1
        copy_in(case, handle, data)
    for i, handle in enumerate(handles):
        whole(case, f"buffer {i}", handle, np.full(data.size, i + 1, np.uint8))
        free(case, handle, data.size)
