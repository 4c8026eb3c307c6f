"""What a compiler complained of, with the line of the generated source that it is about."""

from __future__ import annotations

import re

from ..core.errors import CompileError


def first_error(log: str, source: str, error: re.Pattern[str]) -> str:
    """The first error in a log that is about a line of the source, with that line; "" where there is none.

    Args:
        log: what the compiler printed.
        source: what it was given.
        error: finds an error in the log: the groups ``line`` and ``message``.
    """
    lines = source.splitlines()
    for found in error.finditer(log):
        number = int(found["line"])
        if 1 <= number <= len(lines):
            return f"at line {number} of the source: {found['message']}\n    {lines[number - 1].strip()}\n"
    return ""


def refused(name: str, log: str, source: str, error: re.Pattern[str]) -> CompileError:
    """The error of a compiler that refused a kernel.

    Args:
        name: whose compiler: the port's name, or the compiler's.
        log, source, error: see ``first_error``.
    """
    text = first_error(log, source, error)
    if not text:
        first = next((line.strip() for line in log.splitlines() if line.strip()), "it printed nothing")
        text = f"and says: {first}. "
    return CompileError(
        f"{name} refused a kernel {text}The error has .log and .source", log=log, source=source
    )
