"""Which schedule a kernel gets: the heuristic's, what a search found, or one that is drawn by chance.

What a search found are answers, kept on disk by the kernel as the heuristic has it and the driver; its text
says all that the heuristic read from the Spec. Nothing is found of a kernel that was never tuned, nor while
``PORTWRIGHT_TUNED`` is 0. ``TUNE=1`` asks for a search of each kernel that is planned and was not searched
for before. ``PORTWRIGHT_SCHEDULES=5`` has every decision drawn by chance, by that seed: the suite is run so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from .cache import compile_cache, digest
from .decisions import USUAL, ByChance, Decider, Stated
from .device import Device
from .errors import ArgumentError

VARIABLE = "PORTWRIGHT_TUNED"
SEARCH = "TUNE"
SCHEDULES = "PORTWRIGHT_SCHEDULES"
SECONDS = 10.0
"""For the search of one kernel, unless more or less is asked for."""


def decider_of(device: Device, source: str) -> Decider:
    """Who decides where a kernel's schedule has more than one way.

    Args:
        source: the kernel, as scheduled by the heuristic.

    Raises:
        ArgumentError: when ``PORTWRIGHT_SCHEDULES`` is no whole number.
    """
    seed = drawn_by()
    return answers_of(device, source) if seed is None else ByChance(seed, source)


def drawn_by() -> int | None:
    """The seed that schedules are drawn by; None where they are not.

    Raises:
        ArgumentError: when ``PORTWRIGHT_SCHEDULES`` is no whole number.
    """
    seed = os.environ.get(SCHEDULES, "").strip()
    if seed and not seed.isdecimal():
        raise ArgumentError(f"{SCHEDULES} is {seed!r}: set it to a seed, a whole number from 0 on")
    return int(seed) if seed else None


@contextmanager
def drawing(seed: int | None) -> Iterator[None]:
    """Schedules are drawn by a seed meanwhile, in processes that are started then, too; None: as before."""
    before = os.environ.get(SCHEDULES)
    if seed is not None:
        os.environ[SCHEDULES] = str(seed)
    try:
        yield
    finally:
        if before is not None:
            os.environ[SCHEDULES] = before
        elif seed is not None:
            del os.environ[SCHEDULES]


def answers_of(device: Device, source: str) -> Stated:
    """What a search found for a kernel.

    Args:
        source: the kernel, as scheduled by the heuristic.
    """
    if os.environ.get(VARIABLE) == "0":
        return USUAL
    kept = compile_cache().get(_key(device, source))
    return USUAL if kept is None else Stated.parse(kept.decode())


def seconds_to_search(device: Device, source: str) -> float:
    """For how long to search for a kernel's schedule before it is used; 0: it is used as it is.

    Args:
        source: the kernel, as scheduled by the heuristic.

    Raises:
        ArgumentError: when ``TUNE`` is no number.
    """
    stated = os.environ.get(SEARCH, "").strip()
    if stated in ("", "0") or os.environ.get(VARIABLE) == "0" or drawn_by() is not None:
        return 0.0
    try:
        seconds = SECONDS if stated == "1" else float(stated)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise ArgumentError(f"TUNE is {stated!r}: set it to 1, or to the seconds that each kernel may take")
    return seconds if compile_cache().get(_key(device, source)) is None else 0.0


def keep(device: Device, source: str, answers: Stated) -> None:
    """Has the kernel scheduled by these answers from now on."""
    compile_cache().put(_key(device, source), str(answers).encode())


def _key(device: Device, source: str) -> str:
    return digest("answers", device.compiler_key(), source)
