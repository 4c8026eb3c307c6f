"""Docstrings and source on the screen: paragraphs that fit its width, tables of names, highlighted text."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

_SECTION = re.compile(r"(Args|Attributes|Raises|Returns):$")
_ENTRY = re.compile(r"    ([\w.*, ]+): (.*)$")
_CODE = re.compile(r"``(.+?)``")


@dataclass
class Entry:
    """What a docstring says about one or several names: an argument, a field, an error."""

    names: tuple[str, ...]
    text: str


@dataclass
class Section:
    """A part of a docstring: paragraphs where it has no title, else entries."""

    title: str
    paragraphs: list[str]
    entries: list[Entry]


def sections(doc: str | None) -> list[Section]:
    """A docstring's parts, its lines joined again."""
    found = [Section("", [""], [])]
    for line in inspect.cleandoc(doc or "").splitlines():
        head = _SECTION.match(line)
        now = found[-1]
        if head:
            found.append(Section(head[1], [""], []))
        elif not line.strip():
            now.paragraphs.append("")
        elif now.title and (entry := _ENTRY.match(line)):
            now.entries.append(Entry(tuple(re.split(r",\s*", entry[1])), entry[2]))
        elif now.title and now.entries:
            now.entries[-1].text += f" {line.strip()}"
        else:
            now.paragraphs[-1] = f"{now.paragraphs[-1]} {line.strip()}".strip()
    for section in found:
        section.paragraphs = [p for p in section.paragraphs if p]
    return [s for s in found if s.paragraphs or s.entries]


def plain_words(text: str) -> str:
    """A docstring's text without its marks."""
    return _CODE.sub(r"\1", text)


def prose(text: str, style: str = "") -> Text:
    """A docstring's text, with what it marks as code in another colour."""
    out, at = Text(style=style), 0
    for code in _CODE.finditer(text):
        out.append(text[at : code.start()]).append(code[1], style="cyan")
        at = code.end()
    return out.append(text[at:])


def first_paragraph(doc: str | None) -> str:
    """The first paragraph of a docstring on one line; empty where it has none."""
    return next((p for s in sections(doc) for p in s.paragraphs), "")


def docstring(doc: str | None) -> RenderableType:
    """A whole docstring for the screen."""
    return Group(*_parts(doc))


def _parts(doc: str | None) -> Iterator[RenderableType]:
    for i, section in enumerate(sections(doc)):
        if i:
            yield Text()
        if section.title:
            yield Text(section.title, style="bold")
        for j, paragraph in enumerate(section.paragraphs):
            if j:
                yield Text()
            yield prose(paragraph)
        if section.entries:
            yield names([(", ".join(e.names), prose(e.text)) for e in section.entries])


def names(rows: Sequence[tuple[str, RenderableType]], style: str = "green") -> RenderableType:
    """Names on the left, what each is on the right."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style=style, overflow="fold", max_width=24)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, text)
    return Padding(table, (0, 0, 0, 2), expand=False)


def heading(out: Console, title: str, aside: str = "") -> None:
    """A line of its own above a part, with what is less important beside it."""
    out.print()
    out.print(Text.assemble((title, "bold"), (f"  {aside}" if aside else "", "dim")))


def source(out: Console, text: str, language: str = "python") -> None:
    """Source text: highlighted on a terminal; as it stands, to the letter, in a pipe or file."""
    text = text.rstrip("\n")
    if out.is_terminal and not out.no_color:
        out.print(Syntax(text, language, theme="ansi_dark", background_color="default", word_wrap=True))
    else:
        out.print(Text(text), soft_wrap=True)
