"""What every command prints through: one console, one set of styles, one way to write JSON."""

from __future__ import annotations

import json
import sys
from enum import Enum

import click
from rich.console import Console
from rich.text import Text

UNBROKEN = 200
"""Columns of a pipe or file: wide enough that nothing is folded."""


class Mark(Enum):
    """How something stands, with its style."""

    GOOD = "green"
    POOR = "yellow"
    BAD = "red"

    def text(self, words: str) -> Text:
        """``words`` in the mark's style."""
        return Text(words, style=self.value)


def console() -> Console:
    """Standard output: as wide as the terminal, without colour in a pipe or under NO_COLOR."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else UNBROKEN)


def write_json(value: object) -> None:
    """For programs: one JSON document on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
