"""What a method of a port that is still to be written raises: all that its author needs to write it."""

from __future__ import annotations

import inspect
from types import FrameType

from .errors import NotWrittenError

MOST_TEXT = 60
"""Characters of an argument that the message shows."""


def not_written(expected: str) -> NotWrittenError:
    """The error to raise in place of a method's body: ``raise not_written("memory of nbytes, aligned")``.

    Args:
        expected: what the method must give or have done when it returns.

    The call, with its arguments, and the line to open are read from the method that calls this.
    """
    caller = inspect.currentframe()
    caller = caller.f_back if caller is not None else None
    if caller is None:  # an interpreter without frames
        return NotWrittenError("a method", expected, "?", 0)
    code = caller.f_code
    return NotWrittenError(call_of(caller), expected, code.co_filename, caller.f_lineno)


def call_of(frame: FrameType) -> str:
    """The call that a method's frame is of, with its arguments: ``alloc(nbytes=64)``."""
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount][1:]  # less ``self``
    said = ", ".join(f"{n}={_short(frame.f_locals.get(n))}" for n in names)
    return f"{code.co_name}({said})"


def _short(value: object) -> str:
    if isinstance(value, memoryview | bytes):
        return f"<{memoryview(value).nbytes} bytes>"
    text = repr(value)
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"
