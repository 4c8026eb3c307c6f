"""What happens, as one stream of events that every view reads: DEBUG levels, timings, profiles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

watching = False


@contextmanager
def span(name: str, **facts: Any) -> Iterator[None]:
    """A stretch of work."""
    yield


def planned(*a: Any) -> None:
    """A kernel was planned."""


@contextmanager
def kernel(stages: Any, device: Any) -> Iterator[None]:
    """A kernel runs."""
    yield


@contextmanager
def compiling(stages: Any, device: Any) -> Iterator[None]:
    """A kernel is compiled."""
    yield


def loaded(stages: Any, device: Any, kept: bool) -> None:
    """A program is ready."""
