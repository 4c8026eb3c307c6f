"""What every command prints through: one console, one set of words and colours, one way to write JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from enum import Enum
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from ..core.dtype import DType
from ..core.tile import Tile

UNBROKEN = 200
"""Columns of a pipe or file: wide enough that hardly anything is folded."""


class State(Enum):
    """How something stands: the word that is printed and written to JSON."""

    OK = "ok"
    LIMITED = "limited"
    MISSING = "missing"

    @property
    def text(self) -> Text:
        """The word in its colour."""
        return Text(self.value, style=_STYLES[self])


_STYLES = {State.OK: "green", State.LIMITED: "yellow", State.MISSING: "bold red"}


def console() -> Console:
    """Standard output: as wide as the terminal, without colour in a pipe or under NO_COLOR."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else UNBROKEN)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Shows on a terminal that ``what`` is under way. What ports and drivers print meanwhile is not shown."""
    with os.fdopen(os.dup(2), "w") as terminal, Console(file=terminal).status(what), _hushed():
        yield


@contextmanager
def _hushed() -> Iterator[None]:
    """What is printed meanwhile, by Python or below it, goes nowhere."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    before = [os.dup(1), os.dup(2)]
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            for number in (1, 2):
                os.dup2(nowhere.fileno(), number)
            yield
        finally:
            for number, was in enumerate(before, 1):
                os.dup2(was, number)
                os.close(was)


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collects what is warned of meanwhile, each text once, to be shown in its place."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield said
        finally:
            said += dict.fromkeys(str(w.message) for w in caught)


def plain(value: Any) -> Any:
    """A record as JSON has it: an object for a dataclass, names for ops and dtypes, lists for sets."""
    if isinstance(value, DType):
        return value.name
    if isinstance(value, Tile):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(map(plain, value))
    return list(map(plain, value)) if isinstance(value, tuple | list) else value


def write_json(value: object) -> None:
    """For programs: one JSON document on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def foreign(text: str) -> str:
    """Another's text for a terminal: what would move the cursor, colour or hide something is spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def ask_passphrase(path: object) -> str:
    """Asks on the terminal for the passphrase of a key."""
    typed: str = click.prompt(f"Passphrase of {path}", hide_input=True, err=True)
    return typed


def size(nbytes: int) -> str:
    """Bytes for people: ``3.4 MB``."""
    amount, units = float(nbytes), ["bytes", "KB", "MB", "GB", "TB"]
    while amount >= 1000 and len(units) > 1:
        amount /= 1000
        units.pop(0)
    return f"{amount:.3g} {units[0]}"
