"""Leaks, and errors that are swallowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...core.device import Device
from ...core.errors import CompileError, OutOfMemoryError
from .means import method, put
from .mutant import Family

FAMILY = Family("leaks and swallowed errors")
add = FAMILY.add
BOARD = 512 << 20
"""Bytes of memory that a leaking board has."""
LEAKS = "memory::test_given_back memory::test_many_go_back memory::*"


def board(device: Device, gives_back: Any) -> None:
    """A device of so much memory, of which ``gives_back(bytes)`` says how many come back."""
    alloc, free = device.alloc, device.free
    held = {"bytes": 0}

    def taken(nbytes: int) -> Any:
        if held["bytes"] + nbytes > BOARD:
            raise OutOfMemoryError(f"{device.name} has no room for {nbytes:,} bytes")
        handle = alloc(nbytes)
        held["bytes"] += nbytes
        return handle

    def freed(handle: Any, nbytes: int) -> None:
        held["bytes"] -= gives_back(nbytes)
        free(handle, nbytes)

    put(device, "alloc", taken)
    put(device, "free", freed)


def freed_twice(device: Device) -> None:
    """Every second buffer that is given back is kept for ever, its handle lost."""
    turn = {"n": 0}

    def half(nbytes: int) -> int:
        turn["n"] += 1
        return nbytes if turn["n"] % 2 else 0

    board(device, half)


def any_room(device: Device, alloc: Any) -> Any:
    """Where there is no room, a smaller piece is given."""

    def taken(nbytes: int) -> Any:
        try:
            return alloc(nbytes)
        except (OutOfMemoryError, OverflowError):
            return alloc(64)

    return taken


def other_error(device: Device, alloc: Any) -> Any:
    """Where there is no room, something else is raised."""

    def taken(nbytes: int) -> Any:
        try:
            return alloc(nbytes)
        except OutOfMemoryError as e:
            raise ValueError("no") from e

    return taken


def last_good(device: Device, compile_: Any) -> Any:
    """What the compiler refuses is as what it last took."""
    last = [b""]

    def compiled(source: str) -> bytes:
        try:
            last[0] = compile_(source)
        except CompileError:
            return last[0]
        return last[0]

    return compiled


def no_log(device: Device, compile_: Any) -> Any:
    """What the compiler refuses is an error of Python."""

    def compiled(source: str) -> bytes:
        try:
            made: bytes = compile_(source)
        except CompileError as e:
            raise RuntimeError("failed") from e
        return made

    return compiled


def any_entry(device: Device, load: Any) -> Any:
    """An entry that a binary does not have is the last one that was loaded."""
    last: list[Any] = [None]

    def loaded(binary: bytes, entries: Sequence[str]) -> list[Any]:
        try:
            made: list[Any] = load(binary, entries)
        except Exception:
            return [last[0]] * len(entries)
        last[0] = made[0]
        return made

    return loaded


def dropped(device: Device, copy_in: Any) -> Any:
    """Every fiftieth copy to the device fails, and nobody is told."""
    count = {"n": 0}

    def copied(handle: Any, data: memoryview) -> None:
        count["n"] += 1
        if count["n"] % 50:
            copy_in(handle, data)

    return copied


def launch_fails(device: Device, launch: Any) -> Any:
    """Every seventh launch fails, and nobody is told."""
    count = {"n": 0}

    def launched(given: Any) -> None:
        count["n"] += 1
        if count["n"] % 7:
            launch(given)

    return lambda launch: launched(launch)


ERRORS = "primitives::test_refuses* primitives::test_unknown*"
add("leaks_everything", "A board of half a GiB gives no memory back", lambda d: board(d, lambda n: 0), LEAKS)
add("leaks_half", "A board of half a GiB gives every second buffer back", freed_twice, LEAKS)
add(
    "leaks_large",
    "A board of half a GiB gives back only what is smaller than 4 MiB",
    lambda d: board(d, lambda n: n if n < 4 << 20 else 0),
    LEAKS,
)
add(
    "always_room",
    "Where there is no room, a smaller buffer is given",
    method("alloc", any_room),
    "memory::test_too_much memory::test_no_room memory::*",
)
add(
    "full_is_no_error_of_ours",
    "Where there is no room, a ValueError is raised",
    method("alloc", other_error),
    "memory::test_too_much memory::test_no_room memory::*",
)
add(
    "compile_errors_swallowed",
    "What the compiler refuses is what it last took",
    method("compile", last_good),
    ERRORS,
)
add(
    "compile_errors_without_log",
    "What the compiler refuses is an error without its words",
    method("compile", no_log),
    ERRORS,
)
add(
    "any_entry",
    "An entry that is not there is the last one that was loaded",
    method("load", any_entry),
    ERRORS,
)
add(
    "copies_dropped",
    "Every fiftieth copy to the device is not made",
    method("copy_in", dropped),
    "memory::test_separate memory::test_churn copy::* primitives::*",
)
add(
    "launches_dropped",
    "Every seventh launch is not made",
    method("launch", launch_fails),
    "primitives::test_sizes[float32] views::test_single[matrix] primitives::*",
)
