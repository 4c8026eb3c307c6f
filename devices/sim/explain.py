"""What the runtime reports, in words."""

from __future__ import annotations

import enum
import signal
from typing import Any

from .runtime import Program


class Outcome(enum.IntEnum):
    """How a launch ended: ``report.h`` has the same."""

    FINE = 0
    NEEDS_FIBERS = 1
    DIVERGED = 2
    DIFFERS = 3
    OUTSIDE = 4
    CRASHED = 5
    TIMED_OUT = 6
    NO_MEMORY = 7


_ORDERS = ("ascending", "descending", "a seeded")
_CAUSES = (
    "The result depends on the order: a barrier is missing between a store and a load of the same place, or "
    "two threads store to one place",
    "It reads shared memory that no thread has written yet: an index is wrong, or a barrier is missing",
    "It reads outside of a buffer: a guard or an index is wrong",
)
_FAULTS = {
    signal.SIGSEGV: "touched memory that is nobody's, or overran its stack",
    signal.SIGBUS: "touched memory that is nobody's",
    signal.SIGFPE: "divided an integer by zero, or the least one by -1",
    signal.SIGILL: "indexed an array of the kernel out of its bounds, or read a vector at an address that is "
    "no multiple of its size",
    signal.SIGTRAP: "came to a trap",
}


def explain(report: Any, program: Program, seconds: int) -> str:
    """The message of what went wrong."""
    outcome = Outcome(report.outcome)
    what = f"kernel {program.name}"
    order = f"threads and blocks in {_ORDERS[report.order]} order"
    if outcome is Outcome.DIVERGED:
        return (
            f"{what}: threads of block {_index(report.block)} do not meet: {_threads(report.count)} "
            f"({_index(report.thread)} first) at line {report.line} of the source, {_others(report)}. Every "
            "thread of a block must reach the same barrier, and all 32 of a warp the same collective: move "
            "it out of the condition, or the early return behind it"
        )
    if outcome is Outcome.DIFFERS:
        return (
            f"{what}: {_place(report, program)} is not what ascending order gives with {order}. "
            f"{_CAUSES[report.cause]}"
        )
    if outcome is Outcome.OUTSIDE:
        return (
            f"{what}: it stores outside of a buffer: {_place(report, program)}, with {order}. A guard or an "
            "index is wrong"
        )
    at = f"thread {_index(report.thread)} of block {_index(report.block)}, {order}"
    if outcome is Outcome.CRASHED:
        return f"{what}: {at}: {_FAULTS[signal.Signals(report.signal)]}"
    if outcome is Outcome.TIMED_OUT:
        return (
            f"{what}: not done after {seconds} s of the processor's time, at {at}: a loop has no end, or "
            "waits for another thread. For a kernel that is only large, set PORTWRIGHT_SIM_SECONDS"
        )
    return f"{what}: no memory left to run it in. Free some tensors, or use smaller ones"


def _index(i: Any) -> str:
    return f"({i.x}, {i.y}, {i.z})"


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"


def _others(report: Any) -> str:
    if not report.other_count:
        return "and no others of its warp" if report.count < 32 else "and none anywhere else"
    where = f"at line {report.other_line}" if report.other_line else "finished"
    return f"{_threads(report.other_count)} ({_index(report.other)} first) {where}"


def _place(report: Any, program: Program) -> str:
    parameter = program.parameters[report.parameter]
    return f"parameter {report.parameter} ({parameter.name}), element {report.offset // parameter.element}"
