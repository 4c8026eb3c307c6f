"""What fails only under strain: threads, devices beside it, a full memory, refusals, many runs, replays."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, cast

import numpy as np

from ...core.device import Ability, Device, Launch, Replays
from ...core.errors import CompileError, DeviceError, OutOfMemoryError
from .faults import BOARD
from .means import claims, known, method, put, together
from .mutant import Family

FAMILY = Family("strain: threads, many devices, a full memory")
add = FAMILY.add
MOMENT = 1e-4
"""Seconds between two steps that belong together: time enough for another thread."""


def one_argument_array(device: Device, launch: Callable[..., Any]) -> Callable[..., Any]:
    """A program's arguments are set in one place, and its launch reads them there."""
    arguments: dict[Any, Any] = {}

    def launched(given: Launch) -> None:
        arguments[known(given.program)] = given.buffers
        time.sleep(MOMENT)
        launch(replace(given, buffers=arguments[known(given.program)]))

    return launched


def free_list_without_lock(device: Device) -> None:
    """A block that was freed is looked up, and then taken off the list."""
    alloc, idle = device.alloc, dict[int, list[Any]]()

    def taken(nbytes: int) -> Any:
        blocks = idle.get(nbytes)
        if not blocks:
            return alloc(nbytes)
        block = blocks[-1]
        time.sleep(MOMENT)
        if block in blocks:
            blocks.remove(block)
        return block

    put(device, "alloc", taken)
    put(device, "free", lambda handle, nbytes: idle.setdefault(nbytes, []).append(handle))


def one_source_file(device: Device, compile_: Callable[..., Any]) -> Callable[..., Any]:
    """The compiler reads the text from where all threads write it."""
    file = [""]

    def compiled(source: str) -> bytes:
        file[0] = source
        time.sleep(20 * MOMENT)
        made: bytes = compile_(file[0])
        return made

    return compiled


def refusal_sticks(device: Device, compile_: Callable[..., Any]) -> Callable[..., Any]:
    """What was refused is refused once more, in place of the next text."""
    last: list[CompileError] = []

    def compiled(source: str) -> bytes:
        if last:
            raise last.pop()
        try:
            made: bytes = compile_(source)
        except CompileError as e:
            last.append(CompileError(str(e), log=e.log, source=e.source))
            raise
        return made

    return compiled


_closings = {"n": 0}


def closing_one_ends_all(device: Device) -> None:
    """Closing a device ends what all of its kind hold, as in a driver that counts no contexts."""
    copy_out, seen = device.copy_out, [_closings["n"]]

    def close() -> None:
        _closings["n"] += 1

    def read(data: memoryview, handle: Any) -> None:
        if seen[0] != _closings["n"]:
            seen[0] = _closings["n"]
            raise DeviceError(f"{device.name}: the context was destroyed")
        copy_out(data, handle)

    put(device, "close", close)
    put(device, "copy_out", read)


_opened = count(1)
ROOM = 6


def closing_gives_nothing_back(device: Device) -> None:
    """There is room for so many devices of the kind, and each that was closed still takes it."""
    alloc, number = device.alloc, next(_opened)

    def taken(nbytes: int) -> Any:
        if number > ROOM:
            raise OutOfMemoryError(f"{device.name} has no room for {nbytes:,} bytes")
        return alloc(nbytes)

    put(device, "alloc", taken)


def board(asked: Callable[[int], int], back: Callable[[int], int]) -> Callable[[Device], None]:
    """A board whose count of bytes goes wrong.

    Args:
        asked: what a request that is refused adds to it.
        back: what freeing so many bytes takes off it.
    """

    def spoil(device: Device) -> None:
        alloc, free, held, lock = device.alloc, device.free, [0], threading.Lock()

        def taken(nbytes: int) -> Any:
            with lock:
                if held[0] + nbytes > BOARD:
                    held[0] += asked(nbytes)
                    raise OutOfMemoryError(f"{device.name} has no room for {nbytes:,} bytes")
                held[0] += nbytes
            return alloc(nbytes)

        def freed(handle: Any, nbytes: int) -> None:
            with lock:
                held[0] -= back(nbytes)
            free(handle, nbytes)

        put(device, "alloc", taken)
        put(device, "free", freed)

    return together(spoil, claims(memory_bytes=BOARD))


def without_constants(source: str) -> str:
    """A text less its floating constants and its kernel's name."""
    return re.sub(r"\d+\.\d*(e[-+]?\d+)?f?|0x[0-9a-f.]+p[-+]?\d+f?|_[0-9a-f]{8,}\b", "", source)


def programs_by_text(device: Device) -> None:
    """A program is found again by its text less the constants."""
    compile_, load = device.compile, device.load
    texts, made = dict[bytes, str](), dict[tuple[str, int], Any]()

    def compiled(source: str) -> bytes:
        binary = compile_(source)
        texts[binary] = without_constants(source)
        return binary

    def loaded(binary: bytes, entries: Sequence[str]) -> list[Any]:
        programs = load(binary, entries)
        text = texts.get(binary, str(binary))
        return [made.setdefault((text, i), program) for i, program in enumerate(programs)]

    put(device, "compile", compiled)
    put(device, "load", loaded)


def after_launch(device: Device, change: Callable[[Launch, np.ndarray[Any, Any]], bool]) -> None:
    """After a launch, the first value that it wrote is another where ``change`` says so of what was there."""
    launch = device.launch

    def launched(given: Launch) -> None:
        out = given.buffers[0]
        before = np.empty(max(out.nbytes, 1), np.uint8)
        device.copy_out(memoryview(before), out.handle)
        launch(given)
        if change(given, before):
            after = np.empty_like(before)
            device.copy_out(memoryview(after), out.handle)
            after[0] ^= 1
            device.copy_in(out.handle, memoryview(after))

    put(device, "launch", launched)


def shows_old_memory(device: Device) -> None:
    """A bit of a result is as what was in its memory before."""
    after_launch(device, lambda given, before: bool(before[-1] & 2))


def drifts(device: Device) -> None:
    """Every forty-first launch is off by a bit."""
    launches = count(1)
    after_launch(device, lambda given, before: next(launches) % 41 == 0)


def keeps_launches(device: Device, launch: Callable[..., Any]) -> Callable[..., Any]:
    """What was launched is kept for ever, and its buffers with it."""
    kept = list[Launch]()

    def launched(given: Launch) -> None:
        kept.append(given)
        launch(given)

    return launched


def first_inputs_again(device: Device) -> None:
    """A recording reads what it read when it was recorded; where it writes can be changed."""
    if Ability.REPLAY not in device.spec.abilities:
        raise DeviceError(f"{device.name} does not replay: choose another --base")

    rebind = cast(Replays, device).rebind

    def bound(recording: Any, launch: int, argument: int, buffer: Any) -> None:
        if argument == 0:
            rebind(recording, launch, argument, buffer)

    put(device, "rebind", bound)


THREADS = "stress::test_threads* stress::test_refused_in_threads fused::test_near* stress::*"
ROOMS = "stress::test_no_room_within* stress::test_filled_and_emptied memory::* stress::*"
OTHERS = "stress::test_beside_another stress::test_closed_and_another_opened"
AGAIN = "stress::test_what_was_in_memory stress::test_fifty_times stress::test_cold* stress::test_threads*"
add(
    "one_argument_array",
    "Threads that launch one program set its arguments in one place",
    method("launch", one_argument_array),
    THREADS,
)
add(
    "free_list_without_lock",
    "Two threads may be given one block that was freed",
    free_list_without_lock,
    f"stress::test_threads_take_memory {THREADS}",
)
add(
    "one_source_file",
    "Threads that compile write their texts into one file",
    method("compile", one_source_file),
    f"stress::test_refused_in_threads fused::test_near* {THREADS}",
)
add(
    "refusal_sticks",
    "After a text that was refused, the next one is refused too",
    method("compile", refusal_sticks),
    "stress::test_refused* primitives::test_refuses_nonsense",
)
add(
    "closing_one_ends_all",
    "Closing a device ends what others of its kind hold",
    closing_one_ends_all,
    OTHERS,
)
add(
    "closing_gives_nothing_back",
    "A device that was closed keeps its share of the board",
    closing_gives_nothing_back,
    f"stress::test_closed_and_another_opened {OTHERS}",
)
add(
    "full_stays_full",
    "A request that was refused is counted as memory that is held",
    board(lambda n: n, lambda n: n),
    ROOMS,
)
add(
    "gives_back_less",
    "Of each buffer that is given back, a sixteenth is lost",
    board(lambda n: 0, lambda n: n - n // 16),
    f"stress::test_filled_and_emptied memory::test_given_back {ROOMS}",
)
add(
    "programs_by_text_less_constants",
    "A program is found again by its text less the constants in it",
    programs_by_text,
    "fused::test_near_constants stress::test_one_name primitives::test_one_operand_is_constant*float32]",
)
add("shows_old_memory", "A bit of a result is as what was in its memory before", shows_old_memory, AGAIN)
add("drifts", "Every forty-first launch is off by a bit", drifts, AGAIN)
add(
    "keeps_launches",
    "Buffers that were launched on are kept for ever",
    method("launch", keeps_launches),
    "primitives::test_sizes[float32] views::test_single[matrix] stress::*",
)
add(
    "replays_first_inputs",
    "A replay reads what the recorded launches read",
    first_inputs_again,
    "gradients::test_replays*",
)
