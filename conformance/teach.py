"""What is said of a case that failed: the call, what was expected, what came back, and the line to open."""

from __future__ import annotations

import re
import sys
import textwrap
import traceback
from pathlib import Path
from types import FrameType

from ..core.device import Device
from ..core.errors import CompileError, NotWrittenError, PortwrightError
from ..core.example import example_of
from ..core.not_written import call_of
from .judge import Mismatch

WIDTH = 80
"""Columns within which the lines of a message are broken."""
LABEL = 13
"""Columns of a line's label."""

ALIKE = "portwright-alike"
"""What ``alike`` gives is called in a report of pytest's."""
_UNRAISED = re.compile(r"DID NOT RAISE (?:<class '[\w.]*?(\w+)'>|(\w+))")
"""How pytest says that a call should have raised."""
WRITE = "write"
"""How a stub's ``alike`` begins."""


def fields(*rows: tuple[str, str]) -> list[str]:
    """Lines of a message: a label and a text each; empty texts are left out."""
    lines: list[str] = []
    for label, text in rows:
        if text:
            lines += textwrap.wrap(
                text,
                WIDTH,
                initial_indent=f"  {label}".ljust(LABEL),
                subsequent_indent=" " * LABEL,
                break_long_words=False,
                break_on_hyphens=False,
            )
    return lines


def wrong_call(title: str, call: str, expected: str, came_back: str) -> Mismatch:
    """A call of the contract's that did not do what it must."""
    rows = ("call", call), ("expected", expected), ("came back", came_back)
    return Mismatch("\n".join([title, *fields(*rows)]))


def stub(error: NotWrittenError, device: Device) -> str:
    """All that the author of a method needs to write it."""
    example = example_of(error.method)
    rows = fields(
        ("call", error.call),
        ("expected", error.expected),
        ("came back", f"nothing: {error.method} is not written yet"),
        ("open", place(error.file, error.line)),
        ("example", "" if example is None else f"the port {example}"),
        ("again", f"portwright certify {device.name} --next"),
    )
    return "\n".join([f"{error.method} is still to be written", *rows])


def told(error: BaseException, device: Device, trace: str, meant: str = "") -> str:
    """A failure as a reader needs it.

    Args:
        error: what the case raised.
        device: the one under test.
        trace: the traceback, for errors that nobody raised on purpose.
        meant: what the case asks of a port, in words.
    """
    if isinstance(error, NotWrittenError):
        return stub(error, device)
    notes = [f"  {note}" for note in getattr(error, "__notes__", ())]
    return "\n".join([_told(error, device, trace, meant), *notes])


def _told(error: BaseException, device: Device, trace: str, meant: str) -> str:
    if isinstance(error, Mismatch):
        return str(error)
    claim = str(error).partition("\n")[0]
    unraised = _UNRAISED.match(claim)
    if unraised:
        claim = f"no error is raised; it must be: {unraised[1] or unraised[2]}"
    if unraised or isinstance(error, AssertionError):
        return "\n".join([claim or "an assertion of the suite fails", *fields(("expected", meant))])
    raised = f"{type(error).__name__}: {error}"
    text = raised if isinstance(error, PortwrightError) else trace
    frames = _in_port(error, device)
    if isinstance(error, CompileError):
        return text
    if not frames:
        return "\n".join([text, *fields(("expected", meant))])
    (method, _), (_, line) = frames[0], frames[-1]
    rows = [("call", call_of(method)), ("came back", raised)]
    rows.append(("open", place(method.f_code.co_filename, line)))
    title = f"{method.f_code.co_name} raises {type(error).__name__}"
    return "\n".join([title if isinstance(error, PortwrightError) else trace, *fields(*rows)])


def alike(error: BaseException) -> str:
    """What cases that fail for one and the same reason have in common; "" where that cannot be told.

    Of a stub it says what to do: "write alloc in portwright_acme/port.py:42".
    """
    if isinstance(error, NotWrittenError):
        return f"{WRITE} {error.method} in {place(error.file, error.line)}"
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, CompileError):  # one complaint, whichever kernel and line it is about
        said = re.sub(r"\d+", "n", said.partition("\n")[0])
    return said if isinstance(error, PortwrightError) else ""


def place(file: str, line: int) -> str:
    """A line to open: from this folder on where the file is in it, else by its whole path."""
    path, here = Path(file), Path.cwd()
    return f"{path.relative_to(here) if path.is_relative_to(here) else path}:{line}"


def _in_port(error: BaseException, device: Device) -> list[tuple[FrameType, int]]:
    """The frames of the port's own file that an error came through, outermost first, and each one's line."""
    own = getattr(sys.modules.get(type(device).__module__), "__file__", None)
    frames = traceback.walk_tb(error.__traceback__)
    return [(frame, line) for frame, line in frames if frame.f_code.co_filename == own]
