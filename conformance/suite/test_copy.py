"""Rung 3: bytes come back as they went in, and nothing beside them changes, on either side."""

from __future__ import annotations

import numpy as np
import pytest

from ...core.device import Buffer
from ...core.dtype import ALL, DType
from ..calls import alloc, beside, check, copy_in, copy_out, free
from ..case import Case
from ..inputs import samples, specials, sweep
from ..judge import require_bits

SIZES = (1, 3, 15, 64, 4095, 4096, 4097, (1 << 20) - 1, 1 << 20, (1 << 20) + 1)
GUARD = 64


@pytest.mark.parametrize("poison", [0x00, 0xFF], ids=["zeros", "ones"])
@pytest.mark.parametrize("nbytes", SIZES)
def test_there_and_back(case: Case, nbytes: int, poison: int) -> None:
    """Guard bands: copy_in leaves the rest of the buffer, copy_out the host's bytes on both sides."""
    data = case.rng.integers(0, 256, nbytes, dtype=np.uint8)
    handle = alloc(case, nbytes + GUARD)
    copy_in(case, handle, np.full(nbytes + GUARD, poison, np.uint8))
    copy_in(case, handle, data)
    band = np.full(GUARD, poison ^ 0x5A, np.uint8)
    host = np.concatenate([band, ~data, band])
    case.device.copy_out(memoryview(host)[GUARD : GUARD + nbytes], handle)
    out, call = host[GUARD : GUARD + nbytes], f"copy_out(<{nbytes} bytes>, handle)"
    check(call, out, data, ~data)
    beside(call, host[GUARD + nbytes :], band, "the host's bytes")
    beside(f"{call}, before the first byte", host[:GUARD], band, "the host's bytes")
    held = np.empty(nbytes + GUARD, np.uint8)
    case.device.copy_out(memoryview(held), handle)
    before = np.full(GUARD, poison, np.uint8)
    beside(f"copy_in(handle, <{nbytes} bytes>)", held[nbytes:], before, "the device's bytes")
    free(case, handle, nbytes + GUARD)


@pytest.mark.parametrize("offset", [1, 2, 3, 5, 8])
def test_unaligned_host(case: Case, offset: int) -> None:
    """The host's bytes may start anywhere."""
    data = case.rng.integers(0, 256, 4097 + offset, dtype=np.uint8)
    buffer = Buffer(case.device, 4097)
    buffer.write(memoryview(data)[offset:])
    out = ~data
    buffer.read(memoryview(out)[offset:])
    check(
        f"copy_out(<4097 bytes from address {offset} on>, handle)",
        out[offset:],
        data[offset:],
        ~data[offset:],
    )


def test_source_may_change(case: Case) -> None:
    """Once copy_in returns, the host's bytes are the host's again."""
    data = case.rng.integers(0, 256, 1 << 20, dtype=np.uint8)
    before = data.copy()
    buffer = Buffer(case.device, data.nbytes)
    buffer.write(memoryview(data))
    data[:] = 0xA5
    copy_out(case, buffer.handle, before, "after the bytes that were copied in were changed on the host")


def test_copies_repeat(case: Case) -> None:
    """Reading does not use a buffer up."""
    data = case.rng.integers(0, 256, 4097, dtype=np.uint8)
    buffer = Buffer(case.device, data.nbytes)
    buffer.write(memoryview(data))
    for _ in range(3):
        copy_out(case, buffer.handle, data, "once more")


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_every_bit_pattern(case: Case, dtype: DType) -> None:
    """Copies are of bits: NaN payloads, subnormals and the sign of zero come back."""
    case.claims(dtype)
    values = (
        sweep(dtype)
        if dtype.bits <= 16
        else np.concatenate([specials(dtype), samples(dtype, case.rng, 4096)])
    )
    require_bits(f"copy of {dtype}", case.run(case.place(values))[0], values)


@pytest.mark.parametrize("nbytes", [2, 65, 4097])
def test_the_end_differs(case: Case, nbytes: int) -> None:
    """Bytes that begin like those that are there already are copied all the same."""
    data = case.rng.integers(0, 256, nbytes, dtype=np.uint8)
    buffer = Buffer(case.device, nbytes)
    for _ in range(3):
        buffer.write(memoryview(data))
        copy_out(case, buffer.handle, data, "after bytes that differ at the end only")
        data[-1] ^= 0xFF
