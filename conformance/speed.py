"""How fast a device is: what a job must do at least, and how long it took, over and over. Nothing is judged.

In: a node to compute, or a call to make. Out: a ``Timing``, the seconds beside the least bytes and
operations, both counted on the graph, so that they are the same on every device and whatever is fused. The
times are those of generated kernels: a device's own libraries, and its data sheet, may say more.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from ..core import engine
from ..core.device import Ability, Device
from ..core.graph import GraphOp, Node, toposort
from ..core.ops import Op
from ..core.trace import KernelRun, debug

BUDGET = 0.1
"""Seconds for the runs of one job."""
FEWEST, MOST = 3, 200
"""Runs of one job, however long or short they are."""
SLOW = 1.0
"""Seconds after which fewer suffice."""
DEVICE, HOST = "device", "host"
"""Clocks: the device's own, of kernels alone; the host's, from before the launch until it knows the end."""
LIMIT, KERNEL = "speed::test_limit", "speed::test_kernel"
"""The test functions of the rung: what the device can do, and what kernels do with it."""
COPY, READ, COPY_IN, COPY_OUT, LAUNCH = "copy", "read", "copy_in", "copy_out", "launch"
MULTIPLY_ADD = "multiply_add"
"""The limits; this one by dtype, as "multiply_add-float32"."""
_FREE = frozenset({Op.CONST, Op.LOAD, Op.STORE, Op.CAST, Op.BITCAST})
_DIGITS = 4

Record = Mapping[str, Any]
Speed = Mapping[str, Mapping[str, Record]]
"""A certificate's: by "limits" and "kernels", then by name."""


@dataclass(frozen=True)
class Work:
    """The least that a job must do.

    Attributes:
        bytes: that must move: what it reads, once, and what it gives.
        flops: primitives of each element, and each step of a fold; a multiply-add is two.
    """

    bytes: int
    flops: int


@dataclass(frozen=True)
class Timing:
    """One job, done over and over after a time that does not count.

    Attributes:
        clock: ``DEVICE`` or ``HOST``.
        runs: how many were timed.
        best_seconds, median_seconds: of them.
        p90_seconds: within which nine of ten were done.
        bytes, flops: as in ``Work``.
    """

    clock: str
    runs: int
    best_seconds: float
    median_seconds: float
    p90_seconds: float
    bytes: int
    flops: int


def work_of(root: Node) -> Work:
    """What computing ``root`` from the leaves that have storage takes at least."""

    def is_leaf(node: Node) -> bool:
        return node.storage is not None and node is not root  # which may have been computed before

    order = toposort([root], stop=is_leaf)
    read = sum(n.nbytes for n in order if is_leaf(n))
    return Work(read + root.nbytes, sum(_flops(n) for n in order if not is_leaf(n)))


def _flops(node: Node) -> int:
    if isinstance(node.op, Op):
        return 0 if node.op in _FREE else node.size
    return node.srcs[0].size if node.op is GraphOp.REDUCE else 0


def kernel_seconds(node: Node, device: Device) -> tuple[float, str]:
    """Computes ``node`` anew: the seconds that its kernels ran, each waited for, and by which clock."""
    node.storage = None
    with debug.record() as events:
        engine.realize([node], device.name)
    runs = [e for e in events if isinstance(e, KernelRun)]
    own = Ability.CLOCK in device.spec.abilities and not any(e.stages.compound for e in runs)
    return sum(e.seconds for e in runs), DEVICE if own else HOST


def call_seconds(call: Callable[[], object], device: Device) -> tuple[float, str]:
    """Makes a call: the seconds until it and what it launched is done."""
    device.synchronize()
    start = time.perf_counter()
    call()
    device.synchronize()
    return time.perf_counter() - start, HOST


def over_and_over(once: Callable[[], tuple[float, str]], work: Work) -> Timing:
    """Does a job as often as there is time for, after a first time that does not count."""
    once()
    start, seconds, clocks = time.perf_counter(), list[float](), set[str]()
    while len(seconds) < MOST:
        if seconds and time.perf_counter() - start > (BUDGET if len(seconds) >= FEWEST else SLOW):
            break
        took, clock = once()
        seconds.append(max(took, 1e-9))  # a clock may have coarser steps
        clocks.add(clock)
    seconds.sort()
    best, middle, most = map(
        _rounded, (seconds[0], median(seconds), seconds[math.ceil(0.9 * len(seconds)) - 1])
    )
    clock = DEVICE if clocks == {DEVICE} else HOST
    return Timing(clock, len(seconds), best, middle, most, work.bytes, work.flops)


def _rounded(seconds: float) -> float:
    return float(f"{seconds:.{_DIGITS}g}")


def by_name(timings: Iterable[tuple[str, Record]]) -> dict[str, dict[str, Record]]:
    """What a certificate holds, of pairs of a case of the rung and its ``Timing`` as a record."""
    found: dict[str, dict[str, Record]] = {"limits": {}, "kernels": {}}
    for case, timing in timings:
        function, _, name = case.partition("[")
        found[_GROUPS[function]][name.removesuffix("]")] = timing
    return found


def cases_of(speed: Speed) -> Iterator[tuple[str, Record]]:
    """The case of each record: the way back from ``by_name``."""
    for function, group in _GROUPS.items():
        for name, timing in speed[group].items():
            yield f"{function}[{name}]", timing


_GROUPS = {LIMIT: "limits", KERNEL: "kernels"}


def bytes_per_second(timing: Record) -> float:
    """At its best."""
    return float(timing["bytes"]) / float(timing["best_seconds"])


def flops_per_second(timing: Record) -> float:
    """At its best."""
    return float(timing["flops"]) / float(timing["best_seconds"])


def peaks(speed: Speed) -> dict[str, float]:
    """Operations in a second, by dtype: the roofs."""
    return {
        name.partition("-")[2]: flops_per_second(t)
        for name, t in speed["limits"].items()
        if name.startswith(f"{MULTIPLY_ADD}-")
    }


def scaled(value: float, unit: str) -> str:
    """A number with three digits and a unit that fits: "92.1 Gflop/s", "6.02 µs"."""
    steps = [(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"), (1e-6, "µ")]
    factor, prefix = next(((f, p) for f, p in steps if value >= f * 0.9995), (1e-9, "n"))
    digits = value / factor
    return f"{digits:.{2 if digits < 9.995 else 1 if digits < 99.95 else 0}f} {prefix}{unit}"


def said(speed: Speed) -> list[str]:
    """The limits in a few lines; none where nothing was measured."""
    limits, rates = speed["limits"], peaks(speed)
    names = {COPY: "copies", READ: "reads", COPY_IN: "from the host", COPY_OUT: "to the host"}
    held = [n for n in names if n in limits]
    moved = [f"{names[n]} {scaled(bytes_per_second(limits[n]), 'B/s')}" for n in held]
    computed = [f"{scaled(rate, 'flop/s')} {dtype}" for dtype, rate in rates.items()]
    if LAUNCH in limits:
        computed.append(f"a launch {scaled(limits[LAUNCH]['median_seconds'], 's')}")
    return [", ".join(parts) for parts in (moved, computed) if parts]
