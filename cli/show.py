"""``portwright show``: how a port does something, and what the contract asks for."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..core.device import Device
from ..core.errors import ArgumentError, DeviceError
from ..core.example import Method, Origin, contract_methods, find_method
from ..core.offers import offers
from ..core.registry import port_of
from . import show_class
from .calls import Call, calls
from .screen import console, write_json
from .show_dialect import find_table
from .words import docstring, first_paragraph, heading, plain_words, prose, source

SPEC, DIALECT = "spec", "dialect"


@click.command()
@click.argument("port")
@click.argument("what", required=False)
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
def show(port: str, what: str | None, as_json: bool) -> int:
    """Show how PORT does WHAT: a method of the contract, as an example to port by.

    WHAT is a method ("portwright show CPU copy_in"), "spec" (where its Spec is made) or "dialect" (the table
    of its language); without it, everything that the port gives is listed. PORT may be a variant (CUDA:sim),
    and need not open. Instead of a port, a class of the contract is explained: "portwright show Spec".
    """
    explained = show_class.find(port, {o.name for o in offers()})
    if explained is not None:
        if what is not None:
            raise ArgumentError(f"{explained.__name__} is a class of the contract: say what of a port, as in "
                                f"portwright show {_some_port()} {what}")  # fmt: skip
        return show_class.explain(explained, as_json)
    cls = port_of(port)
    name = port.upper() if ":" not in port else f"{port.partition(':')[0].upper()}:{port.partition(':')[2]}"
    if what is None:
        return _overview(name, cls, as_json)
    if what.lower() == DIALECT:
        return _dialect(name, cls, as_json)
    chosen = _spec_methods(cls) if what.lower() == SPEC else [_method(name, cls, what)]
    if as_json:
        found = [_record(name, cls, m) for m in chosen]
        write_json(found[0] if what.lower() != SPEC else found)
        return 0
    for i, m in enumerate(chosen):
        if i:
            console().print()
        _show_method(name, cls, m)
    if what.lower() == SPEC:
        out = console()
        out.print("\nWhat each field of a Spec means: portwright show Spec", style="dim")
    return 0


def _some_port() -> str:
    return next((o.name for o in offers() if o.is_ours), "PORT")


# ---------------------------------------------------------------------------------------------- one method


def _method(name: str, cls: type[Device], what: str) -> Method:
    """A method of a port.

    Raises:
        ArgumentError: when it has none, with who has, or with what was meant.
    """
    found = find_method(cls, what)
    if found is not None:
        return found
    if what in contract_methods():
        declared = contract_methods()[what]
        words = plain_words(first_paragraph(vars(declared)[what].__doc__)).rstrip(".")
        others = [o for o in _ports_with(what) if o != name]
        see = f". {' and '.join(others)} do: portwright show {others[0]} {what}" if others else ""
        raise ArgumentError(
            f"{name} has no {what}, which a port may give ({declared.__name__}: {words}){see}"
        )
    there = [*contract_methods(), SPEC, DIALECT, *(m for m in dir(cls) if find_method(cls, m))]
    close = list(dict.fromkeys(get_close_matches(what, there, n=3)))
    hint = f"Did you mean {' or '.join(close)}?" if close else f"portwright show {name} lists what it has"
    raise ArgumentError(f"{name} has no method {what!r}. {hint}")


def _ports_with(what: str) -> Iterator[str]:
    """Portwright's own ports that give a method."""
    for offer in offers():
        if offer.is_ours:
            try:
                found = find_method(port_of(offer.name), what)
            except DeviceError:  # it does not serve as an example
                continue
            if found is not None:
                yield offer.name


def _spec_methods(cls: type[Device]) -> list[Method]:
    """Where a port's Spec is made: its ``__init__``, those that it calls, and whoever sets ``self.spec``."""
    found: list[Method] = []
    for owner in cls.__mro__:
        if "__init__" in vars(owner) and owner not in (Device, object):
            m = find_method(owner, "__init__")
            assert m is not None
            here = Origin.WRITTEN if owner is cls else Origin.INHERITED
            found.append(replace(m, origin=here))
            if "super().__init__" not in m.source:
                break
    seen = {"__init__"}
    for owner in cls.__mro__:
        for name in vars(owner):
            m = None if name in seen or owner is Device else find_method(cls, name)
            if m is not None and _sets_spec(m.source):
                found.append(m)
                seen.add(name)
    return found


def _sets_spec(text: str) -> bool:
    return any(
        isinstance(n, ast.Attribute) and n.attr == SPEC and isinstance(n.ctx, ast.Store)
        for n in ast.walk(ast.parse(text))
    )


def _record(name: str, cls: type[Device], m: Method) -> dict[str, Any]:
    """A method, for programs."""
    declared = contract_methods().get(m.name)
    asked = None if declared is None else find_method(declared, m.name)
    return {
        "port": name, "method": m.name, "class": m.owner.__qualname__, "origin": m.origin.value,
        "file": m.file, "line": m.line, "lines": m.lines, "source": m.source,
        "contract": None if asked is None or declared is None else {
            "class": declared.__name__, "file": asked.file, "line": asked.line,
            "words": inspect.cleandoc(vars(declared)[m.name].__doc__ or ""),
        },
        "calls": [{"text": c.text, "file": c.file, "line": c.line} for c in calls(m, cls)],
    }  # fmt: skip


def _show_method(name: str, cls: type[Device], m: Method) -> None:
    out = console()
    out.print(Text.assemble((f"{name} {m.name}", "bold"), f"  {_how(m)}"), soft_wrap=True)
    out.print(Text(_where(m), style="dim"), soft_wrap=True)
    declared = contract_methods().get(m.name)
    if declared is not None:
        asked = find_method(declared, m.name)
        assert asked is not None
        heading(out, "The contract", f"{declared.__name__}.{m.name}, {asked.place}")
        out.print(Padding(docstring(vars(declared)[m.name].__doc__), (0, 0, 0, 2), expand=False))
    heading(out, f"In {m.owner.__qualname__}", m.place)
    source(out, m.source or "(its source is not here: the module is compiled)")
    _show_calls(calls(m, cls))


def _show_calls(found: Sequence[Call]) -> None:
    if not found:
        return
    out = console()
    heading(out, "Calls")
    table = Table.grid(padding=(0, 2))
    for call in found:
        table.add_row(Text(f"  {call.text}"), Text(f"{call.file}:{call.line}", style="cyan"))
    out.print(table)


def _how(m: Method) -> str:
    """Where a method comes from, and how long it is."""
    lines = f"{m.lines} line{'s' * (m.lines != 1)}"
    if m.origin is Origin.DEFAULT:
        return f"{lines}, the default that every device has"
    by = "written in" if m.origin is Origin.WRITTEN else "inherited from"
    return f"{lines}, {by} {m.owner.__qualname__}"


def _where(m: Method) -> str:
    """A method's file in full, to open."""
    return f"{m.file}:{m.line}" if m.file else f"module {m.module}, whose source is not here"


# -------------------------------------------------------------------------------------------- a whole port


def _overview(name: str, cls: type[Device], as_json: bool) -> int:
    rows = {what: find_method(cls, what) for what in contract_methods()}
    given = {what: m for what, m in rows.items() if m is not None}
    table = find_table(cls)
    if as_json:
        write_json(_overview_record(name, cls, rows))
        return 0
    out = console()
    file = inspect.getsourcefile(cls) or cls.__module__
    line = inspect.getsourcelines(cls)[1] if Path(file).is_file() else 0
    out.print(Text.assemble((name, "bold"), f"  class {cls.__qualname__}"))
    out.print(Text(f"{file}:{line}", style="dim"), soft_wrap=True)
    out.print()
    out.print(prose(first_paragraph(cls.__doc__)))
    out.print()
    listed = Table.grid(padding=(0, 2))
    for what in ("method", "lines", "from", "where"):
        listed.add_column(justify="right" if what == "lines" else "left", overflow="fold")
    listed.add_row("method", "lines", "from", "where", style="dim")
    for what, m in given.items():
        style = {Origin.WRITTEN: "", Origin.INHERITED: "", Origin.DEFAULT: "dim"}[m.origin]
        by = "the default" if m.origin is Origin.DEFAULT else m.owner.__qualname__
        listed.add_row(
            Text(what, style="green"), Text(str(m.lines), style=style), Text(by, style=style),
            Text(m.place, style=style),
        )  # fmt: skip
    for m in _spec_methods(cls):
        label = SPEC if m.name == "__init__" else ""
        listed.add_row(Text(label, style="green"), str(m.lines), f"{m.owner.__qualname__}.{m.name}", m.place)
    if table is not None:
        listed.add_row(Text(DIALECT, style="green"), str(table.lines), table.name, table.place)
    out.print(listed)
    _closing(name, cls, rows)
    return 0


def _overview_record(name: str, cls: type[Device], rows: dict[str, Method | None]) -> dict[str, Any]:
    """What a port gives, for programs."""
    table = find_table(cls)
    return {
        "port": name,
        "class": f"{cls.__module__}:{cls.__qualname__}",
        "methods": [
            {
                "method": m.name, "class": m.owner.__qualname__, "origin": m.origin.value, "file": m.file,
                "line": m.line, "lines": m.lines,
            }
            for m in rows.values() if m is not None
        ],
        "absent": [what for what, m in rows.items() if m is None],
        "spec": [{"file": m.file, "line": m.line} for m in _spec_methods(cls)],
        "dialect": None if table is None else {"name": table.name, "file": table.file, "line": table.line},
        "variants": {f"{name}:{v}": where for v, where in cls.variants.items()},
    }  # fmt: skip


def _closing(name: str, cls: type[Device], rows: dict[str, Method | None]) -> None:
    out = console()
    given = [m for m in rows.values() if m is not None]
    own = [m for m in given if m.origin is Origin.WRITTEN]
    bases = dict.fromkeys(m.owner.__qualname__ for m in given if m.origin is Origin.INHERITED)
    parts = [f"{len(own)} written in {cls.__qualname__} ({sum(m.lines for m in own)} lines)"]
    for base in bases:
        held = [m for m in given if m.origin is Origin.INHERITED and m.owner.__qualname__ == base]
        parts.append(f"{len(held)} from {base} ({sum(m.lines for m in held)} lines)")
    defaults = sum(m.origin is Origin.DEFAULT for m in given)
    parts.append(f"{defaults} default{'s' * (defaults != 1)}")
    out.print(f"\nOf the contract's methods: {', '.join(parts)}.")
    absent = [what for what, m in rows.items() if m is None]
    if absent:
        out.print(f"Not given, as it may be: {', '.join(absent)}.")
    if cls.variants:
        out.print(f"Variants: {', '.join(f'{name}:{v}' for v in cls.variants)}.")
    first = next(m.name for m in (*own, *[m for m in given if m.origin is Origin.INHERITED], *given))
    out.print(f"→ portwright show {name} {first}", style="cyan")


# ------------------------------------------------------------------------------------------------ a dialect


def _dialect(name: str, cls: type[Device], as_json: bool) -> int:
    table = find_table(cls)
    if table is None:
        what = "compute" if find_method(cls, "compute") else "its methods"
        raise ArgumentError(
            f"{name} has no dialect: it speaks no kernel language. How it computes: portwright show {name} "
            f"{what if what == 'compute' else ''}".rstrip()
        )
    if as_json:
        write_json({"port": name, "dialect": table.name, "file": table.file, "line": table.line,
                    "lines": table.lines, "source": table.source})  # fmt: skip
        return 0
    out = console()
    out.print(Text.assemble((f"{name} dialect", "bold"), f"  {table.name}, {table.lines} lines"))
    out.print(Text(f"{table.file}:{table.line}", style="dim"), soft_wrap=True)
    heading(out, Path(table.file).name)
    source(out, table.source)
    out.print()
    out.print("What each column of the table means: portwright show CLike", style="dim")
    return 0
