"""Caches that are stale, or hold one thing under the name of another."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...core.device import Buffer, Device, Launch
from .means import known, method, put
from .mutant import Family

FAMILY = Family("stale or colliding caches")
add = FAMILY.add
MANY = "primitives::test_sizes[float32] views::test_single* fused::*"


def programs_by(key: Callable[[str], object]) -> Callable[[Device, Callable[..., Any]], Callable[..., Any]]:
    """Programs are kept under too little of their name."""

    def wrong(device: Device, load: Callable[..., Any]) -> Callable[..., Any]:
        kept: dict[object, Any] = {}

        def loaded(binary: bytes, entries: Sequence[str]) -> list[Any]:
            made = load(binary, entries)
            return [kept.setdefault(key(name), program) for name, program in zip(entries, made, strict=True)]

        return loaded

    return wrong


def entries_in_reverse(device: Device, load: Callable[..., Any]) -> Callable[..., Any]:
    """The kernels of a text are taken for one another, last for first."""
    return lambda binary, entries: load(binary, entries)[::-1]


def by_kind_and_sizes(name: str) -> str:
    """All but the hash of the text."""
    return name.rpartition("_")[0]


def first_buffers(device: Device, launch: Callable[..., Any]) -> Callable[..., Any]:
    """A program's second launch works on the buffers of its first."""
    bound: dict[Any, tuple[Any, tuple[Buffer, ...]]] = {}

    def launched(given: Launch) -> None:
        _, buffers = bound.setdefault(known(given.program), (given.program, given.buffers))
        launch(replace(given, buffers=buffers))

    def other(launch: Launch) -> None:
        launched(launch)

    return other


def first_inputs(device: Device, launch: Callable[..., Any]) -> Callable[..., Any]:
    """A program's later launches read what the first one read, and write where they must."""
    bound: dict[Any, tuple[Any, tuple[Buffer, ...]]] = {}

    def other(launch_: Launch) -> None:
        _, first = bound.setdefault(known(launch_.program), (launch_.program, launch_.buffers))
        launch(replace(launch_, buffers=(launch_.buffers[0], *first[1:])))

    return lambda launch: other(launch)


def reads_remembered(device: Device) -> None:
    """copy_out gives what it gave before, unless copy_in was called since."""
    copy_in, copy_out = device.copy_in, device.copy_out
    seen: dict[Any, bytes] = {}

    def wrong_in(handle: Any, data: memoryview) -> None:
        seen.pop(handle, None)
        copy_in(handle, data)

    def wrong_out(data: memoryview, handle: Any) -> None:
        held = seen.get(handle, b"")
        if len(held) == data.nbytes:
            data.cast("B")[:] = held
            return
        copy_out(data, handle)
        seen[handle] = bytes(data)

    put(device, "copy_in", wrong_in)
    put(device, "copy_out", wrong_out)


def writes_by_their_start(device: Device) -> None:
    """copy_in does nothing where the first bytes are those of the last copy to this buffer."""
    copy_in, free = device.copy_in, device.free
    written: dict[Any, tuple[int, bytes]] = {}

    def wrong_in(handle: Any, data: memoryview) -> None:
        start = (data.nbytes, bytes(data.cast("B")[:1]))
        if written.get(handle) == start:
            return
        copy_in(handle, data)
        written[handle] = start

    def freed(handle: Any, nbytes: int) -> None:
        written.pop(handle, None)
        free(handle, nbytes)

    put(device, "copy_in", wrong_in)
    put(device, "free", freed)


def not_again(device: Device, launch: Callable[..., Any]) -> Callable[..., Any]:
    """A launch of the same program on the same buffers as the last one is left out."""
    last: list[Any] = [None]

    def other(launch_: Launch) -> None:
        now = (launch_.program, tuple(b.handle for b in launch_.buffers))
        if last[0] != now:
            launch(launch_)
        last[0] = now

    return lambda launch: other(launch)


def results_by_program(device: Device, launch: Callable[..., Any]) -> Callable[..., Any]:
    """What a program wrote the first time is written again, whatever it is given."""
    made: dict[Any, tuple[Any, int, bytes]] = {}

    def other(launch_: Launch) -> None:
        out = launch_.buffers[0]
        kept = made.get(known(launch_.program))
        if kept is not None and kept[1] == out.nbytes:
            device.copy_in(out.handle, memoryview(bytearray(kept[2])))
            return
        launch(launch_)
        held = np.empty(max(out.nbytes, 1), np.uint8)
        device.copy_out(memoryview(held), out.handle)
        made[known(launch_.program)] = (launch_.program, out.nbytes, held.tobytes())

    return lambda launch: other(launch)


def results_by_start(device: Device, launch: Callable[..., Any]) -> Callable[..., Any]:
    """What a program wrote is written again where its operands begin with the same bytes."""
    made: dict[Any, tuple[Any, bytes]] = {}

    def start(b: Buffer) -> bytes:
        first = np.zeros(min(max(b.nbytes, 1), 16), np.uint8)
        device.copy_out(memoryview(first), b.handle)
        return first.tobytes()

    def other(launch_: Launch) -> None:
        out, *operands = launch_.buffers
        key = (known(launch_.program), out.nbytes, *map(start, operands))
        if key in made:
            device.copy_in(out.handle, memoryview(bytearray(made[key][1])))
            return
        launch(launch_)
        held = np.empty(max(out.nbytes, 1), np.uint8)
        device.copy_out(memoryview(held), out.handle)
        made[key] = (launch_.program, held.tobytes())

    return lambda launch: other(launch)


NEW = "fused::test_new_data fused::test_replayed gradients::* fused::*"
add(
    "programs_by_kind",
    "Programs are kept under the kind of kernel",
    method("load", programs_by(lambda n: n.split("_")[0])),
    MANY,
)
add(
    "programs_by_sizes",
    "Programs are kept under the kind of kernel and its sizes",
    method("load", programs_by(by_kind_and_sizes)),
    "primitives::test_one_operand_is_constant* primitives::test_const* primitives::test_unary* "
    "views::test_single* views::* fused::*",
)
add(
    "programs_by_shape",
    "Programs are kept under their sizes alone",
    method("load", programs_by(lambda n: re.sub(r"^[a-z0-9]+_|_[0-9a-f]+$", "", n))),
    "primitives::test_unary[* primitives::test_binary[* views::test_single* fused::*",
)
add(
    "programs_by_three_digits",
    "Programs are kept under the first digit of their hash",
    method("load", programs_by(lambda n: n.rpartition("_")[2][:1])),
    MANY,
)
add(
    "entries_in_reverse",
    "Kernels of one text are taken for one another",
    method("load", entries_in_reverse),
    "stress::test_one_text gradients::* fused::*",
)
add(
    "launches_the_first_buffers",
    "A program works on the buffers of its first launch",
    method("launch", first_buffers),
    NEW,
)
add(
    "reads_the_first_operands",
    "A program reads the operands of its first launch",
    method("launch", first_inputs),
    NEW,
)
add(
    "reads_are_remembered",
    "copy_out does not know that kernels write",
    reads_remembered,
    "primitives::test_written_again fused::test_written_again",
)
add(
    "writes_by_their_start",
    "copy_in compares first bytes, and leaves out what seems to be there already",
    writes_by_their_start,
    "memory::test_rewritten copy::test_the_end_differs*",
)
add("not_twice_in_a_row", "The same launch twice in a row is made once", method("launch", not_again), NEW)
add(
    "results_by_program",
    "What a program wrote first is its result ever after",
    method("launch", results_by_program),
    NEW,
)
add(
    "results_by_first_bytes",
    "A program's result is kept under the first bytes of its operands",
    method("launch", results_by_start),
    f"fused::test_new_data fused::test_replayed {NEW}",
)
