"""Work in several threads at once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
SWITCH = 1e-5
"""Seconds after which Python lets another thread go on, meanwhile: what may come between two steps does."""


def at_once(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """What the tasks give, each in a thread of its own, all of which begin together.

    Raises:
        BaseException: what the first of them raised that did, once all have ended.
    """
    start = threading.Barrier(len(tasks))
    given: dict[int, T] = {}
    raised: dict[int, BaseException] = {}

    def work(i: int) -> None:
        start.wait()
        try:
            given[i] = tasks[i]()
        except BaseException as e:  # a case that skips, too
            raised[i] = e

    was = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    try:
        threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(len(tasks))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(was)
    for i in sorted(raised):
        raise raised.pop(i)
    return [given[i] for i in range(len(tasks))]
