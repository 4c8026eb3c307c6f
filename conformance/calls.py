"""The four calls that a device's memory is reached by, made as a case makes them: what is wrong is told.

A handle is the port's own, so that messages call it "handle". Whatever a call raises is left as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import OutOfMemoryError
from .case import Case
from .teach import wrong_call

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
TOO_MUCH = 1 << 60
"""More bytes than any device has."""
_TAIL = 64
"""Bytes at the end that a driver may miss which copies whole words, lines or pages."""


def alloc(case: Case, nbytes: int) -> Any:
    """A handle of the device's memory."""
    handle = case.device.alloc(nbytes)
    if handle is None:
        raise wrong_call(
            "alloc gives no handle",
            f"alloc({nbytes})",
            "what free, copy_in, copy_out and launch are then given, whatever the driver calls memory by",
            "None: does the method return it?",
        )
    return handle


def free(case: Case, handle: Any, nbytes: int) -> None:
    """Gives memory back."""
    case.device.free(handle, nbytes)


def fill(case: Case) -> list[tuple[Any, int]]:
    """All the memory there is, in buffers that grow, and shrink when there is no room for such a one."""
    held, nbytes = list[tuple[Any, int]](), 1 << 16
    while nbytes >= 1 << 12:
        try:
            held.append((alloc(case, nbytes), nbytes))
            nbytes *= 2
        except OutOfMemoryError:
            nbytes //= 2
    return held


def copy_in(case: Case, handle: Any, data: Bytes) -> None:
    """Host bytes to the start of a buffer; they are as they were."""
    before = data.copy()
    case.device.copy_in(handle, memoryview(data))
    if not np.array_equal(data, before):
        raise wrong_call(
            "copy_in changes the host's bytes",
            f"copy_in(handle, <{data.size} bytes>)",
            "the bytes are read, and copied to the device",
            f"{_differ(data, before)}: are source and destination exchanged?",
        )


def copy_out(case: Case, handle: Any, wanted: Bytes, where: str = "") -> None:
    """Reads the start of a buffer, which must hold ``wanted``; ``where`` says what happened before."""
    out = ~wanted  # so that every byte that is not copied is wrong
    before = out.copy()
    case.device.copy_out(memoryview(out), handle)
    check(f"copy_out(<{wanted.size} bytes>, handle) {where}".rstrip(), out, wanted, before)


def check(call: str, got: Bytes, wanted: Bytes, before: Bytes) -> None:
    """Nothing when a copy_out gave the bytes that were wanted.

    Args:
        call: what was called.
        got: the host's bytes afterwards.
        wanted: what they must be.
        before: what they were, each another than is wanted.

    Raises:
        Mismatch: with what they are instead.
    """
    wrong = np.flatnonzero(got != wanted)
    if not wrong.size:
        return
    kept = got == before
    if kept.all():
        came = "the host's bytes as they were before: nothing was copied out"
    elif not got.any() and wanted.any():
        came = f"{got.size} zeros: did copy_in write nothing?"
    else:
        came = _differ(got, wanted)
        if wrong[0] and got.size - wrong[0] < _TAIL:
            came += "; those before it are right: a copy is of any number of bytes, not of whole words only"
    raise wrong_call("bytes do not come back as they went in", call, "the bytes that went in", came)


def beside(call: str, got: Bytes, wanted: Bytes, whose: str) -> None:
    """Nothing when the bytes behind those of a copy are as they were.

    Raises:
        Mismatch: with how many were written.
    """
    wrong = np.flatnonzero(got != wanted)
    if wrong.size:
        raise wrong_call(
            f"a copy writes {whose} beside what was asked for",
            call,
            "as many bytes as the host's view has (data.nbytes), and no other",
            f"{wrong.size} bytes more changed, up to {int(wrong[-1]) + 1} bytes away",
        )


def whole(case: Case, what: str, handle: Any, wanted: Bytes) -> None:
    """Nothing when a buffer holds what was put into it, though others were written since.

    Raises:
        Mismatch: with what it holds.
    """
    out = ~wanted
    case.device.copy_out(memoryview(out), handle)
    if not np.array_equal(out, wanted):
        raise wrong_call(
            f"{what} was overwritten",
            "copy_in(another handle, ...)",
            "that buffer's bytes change, and no other's: buffers do not overlap until they are freed",
            _differ(out, wanted),
        )


def _differ(got: Bytes, wanted: Bytes) -> str:
    wrong = np.flatnonzero(got != wanted)
    at = int(wrong[0])
    return (
        f"{wrong.size} of {got.size} bytes are others, the first at {at}: 0x{int(got[at]):02x} in place of "
        f"0x{int(wanted[at]):02x}"
    )
