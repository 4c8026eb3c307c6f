"""The contract's classes, explained: what a Spec's fields mean, what a Device is asked for."""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import textwrap
from collections.abc import Iterator
from difflib import get_close_matches
from importlib import import_module
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ..core.device import Device
from ..core.example import code_lines, contract_methods
from ..core.port_check import KERNEL_METHODS
from .screen import console, write_json
from .words import docstring, first_paragraph, heading, names, plain_words, prose, sections

_MODULES = ("device", "dialect", "tile", "ops", "dtype", "errors")
"""Of core: where what a port is made of is defined."""


def classes() -> dict[str, type]:
    """The classes of the contract, by name."""
    found: dict[str, type] = {}
    for name in _MODULES:
        module = import_module(f"...core.{name}", __name__)
        found |= {
            k: v
            for k, v in vars(module).items()
            if isinstance(v, type) and v.__module__ == module.__name__ and k[0] != "_"
        }
    return found


def find(name: str, ports: set[str]) -> type | None:
    """The class that is asked for; None where a port is, or nothing that is like one."""
    known = classes()
    if name in known:
        return known[name]
    if name.partition(":")[0].upper() in ports or ":" in name:
        return None
    exact = next((c for k, c in known.items() if k.lower() == name.lower()), None)
    if exact is None and name[:1].isupper() and not name.isupper():
        close = get_close_matches(name, known, n=1, cutoff=0.8)
        return known[close[0]] if close else None
    return exact


def explain(cls: type, as_json: bool) -> int:
    """Prints what a class of the contract is for, and what each part of it means."""
    lines, line = inspect.getsourcelines(cls)
    file = inspect.getsourcefile(cls) or ""
    if as_json:
        write_json({
            "class": cls.__name__, "file": file, "line": line, "words": inspect.cleandoc(cls.__doc__ or ""),
            "fields": [{"name": n, "type": t, "default": d, "meaning": m} for n, t, d, m in _fields(cls)],
            "members": [{"name": n, "value": v, "meaning": m} for n, v, m in _members(cls)],
            "methods": [{"name": f.__name__, "signature": _signature(f), "abstract": _is_required(f),
                         "words": inspect.cleandoc(f.__doc__ or "")} for f in _methods(cls)],
        })  # fmt: skip
        return 0
    out = console()
    bases = ", ".join(b.__name__ for b in cls.__bases__ if b is not object)
    count = code_lines(textwrap.dedent("".join(lines)))
    about = f"{count} line{'s' * (count != 1)}{f', extends {bases}' if bases else ''}"
    out.print(Text.assemble((cls.__name__, "bold"), f"  {about}"))
    out.print(Text(f"{file}:{line}", style="dim"), soft_wrap=True)
    out.print()
    out.print(docstring(_without_attributes(cls.__doc__)))
    fields = list(_fields(cls))
    if fields:
        heading(out, "Fields", "in their order; what has no default must be given")
        out.print(names(list(_together(fields))))
    members = list(_members(cls))
    if members:
        heading(out, "Members")
        out.print(names([(n, Text.assemble(prose(m), (f"  {v!r}", "dim"))) for n, v, m in members]))
    methods = _methods(cls)
    if methods:
        heading(out, "Methods")
        out.print(names([(f.__name__, _method_text(f)) for f in methods]))
    if cls is Device:
        _optional(out.print)
    return 0


def _optional(write: Any) -> None:
    """What a device may give besides, from the optional protocols."""
    rows: list[tuple[str, RenderableType]] = []
    for name, declared in contract_methods().items():
        if declared is not Device:
            words = Text.assemble(prose(first_paragraph(vars(declared)[name].__doc__)))
            words.append(
                f"\n{declared.__name__}: {plain_words(first_paragraph(declared.__doc__))}", style="dim"
            )
            rows.append((name, words))
    write()
    write(
        Text.assemble(("What it may give", "bold"), ("  each ability is declared in Spec.abilities", "dim"))
    )
    write(names(rows))


def _without_attributes(doc: str | None) -> str:
    text = inspect.cleandoc(doc or "")
    before, mark, after = text.partition("\nAttributes:\n")
    rest = after.split("\n\n", 1)[1] if mark and "\n\n" in after else ""
    return f"{before}\n\n{rest}" if rest else before


def _fields(cls: type) -> Iterator[tuple[str, str, str, str]]:
    """(name, type, default, meaning) of each field of a dataclass, or stated attribute of a class."""
    told = {
        n: e.text
        for s in sections(cls.__doc__)
        if s.title == "Attributes"
        for e in s.entries
        for n in e.names
    }
    if dataclasses.is_dataclass(cls):
        for f in dataclasses.fields(cls):
            yield f.name, str(f.type), _default(f), told.get(f.name, "")
    elif not issubclass(cls, enum.Enum):
        said = dict(_attributes(cls))
        for name, (kind, default, words) in said.items():
            yield name, kind, default, told.get(name) or words
        yield from ((n, "", "", text) for n, text in told.items() if n not in said)


def _default(f: dataclasses.Field[Any]) -> str:
    if f.default is not dataclasses.MISSING:
        text = str(f.default) if isinstance(f.default, enum.Enum) else repr(f.default)
        whole = isinstance(f.default, frozenset) and len(f.default) > 4
        return f"{len(f.default)} values" if whole else text
    return f"{_name(f.default_factory)}()" if f.default_factory is not dataclasses.MISSING else ""


def _name(factory: Any) -> str:
    return str(getattr(factory, "__name__", factory))


def _attributes(cls: type) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """The annotated attributes in a class's body: (name, (type, default, the words below it))."""
    body = _body(cls)
    for at, node in enumerate(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id[0] != "_":
            after = body[at + 1] if at + 1 < len(body) else None
            words = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                words = " ".join(str(after.value.value).split())
            default = "" if node.value is None else ast.unparse(node.value)
            yield node.target.id, (ast.unparse(node.annotation), default, words)


def _body(cls: type) -> list[ast.stmt]:
    node = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(node, ast.ClassDef)
    return node.body


def _members(cls: type) -> Iterator[tuple[str, Any, str]]:
    """(name, value, the comment beside it) of each member of an enum."""
    if not issubclass(cls, enum.Enum):
        return
    lines = textwrap.dedent(inspect.getsource(cls)).splitlines()
    said = {
        n.targets[0].id: lines[n.lineno - 1].partition("#")[2].strip()
        for n in _body(cls)
        if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name)
    }
    for name, member in cls.__members__.items():
        yield name, member.value, said.get(name, "")


def _methods(cls: type) -> list[Any]:
    """The public methods in a class's own body."""
    plain = (getattr(v, "__func__", v) for k, v in vars(cls).items() if k[0] != "_")
    return [f for f in plain if inspect.isfunction(f) and f.__module__ == cls.__module__]


def _signature(f: Any) -> str:
    """A method's parameters and result, as a caller writes them."""
    signature = inspect.signature(f)
    kept = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    return f"{f.__name__}{signature.replace(parameters=kept)}".replace("'", "")


def _is_required(f: Any) -> bool:
    return bool(getattr(f, "__isabstractmethod__", False))


def _together(fields: list[tuple[str, str, str, str]]) -> Iterator[tuple[str, RenderableType]]:
    """Fields for the screen; those that one sentence speaks of share a row."""
    for meaning, found in groupby(fields, key=lambda f: f[3] or f[0]):
        group = list(found)
        about = dict.fromkeys(f"{kind}{f' = {default}' if default else ''}" for _, kind, default, _ in group)
        types = Text("; ".join(about), style="dim")
        yield ", ".join(f[0] for f in group), Group(prose(meaning), types) if group[0][3] else types


def _method_text(f: Any) -> RenderableType:
    kernels = "  must be written, for a kernel language" if f.__name__ in KERNEL_METHODS else ""
    must = ("  must be written" if _is_required(f) else kernels, "yellow")
    return Group(Text.assemble((_signature(f), "dim"), must), docstring(f.__doc__))
