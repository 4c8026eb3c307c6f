"""Where a port does what the contract asks of it: the class, the file, the lines and the source of a method.

All of it is read from classes: a port is imported for it by the registry's route, and never opened.
"""

from __future__ import annotations

import ast
import enum
import inspect
import sys
import textwrap
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from . import device as contract
from .device import Device
from .errors import DeviceError
from .offers import defaults, offers
from .record import dataclass
from .registry import port_of


class Origin(enum.Enum):
    """Where a port's method comes from."""

    WRITTEN = "written"  # in the port's own class
    INHERITED = "inherited"  # in a class that it extends
    DEFAULT = "default"  # what every device has


@dataclass(frozen=True)
class Source:
    """A function's text.

    Attributes:
        module: the name of the module that it is written in.
        file: its path; empty where the source is not at hand.
        line: its first line there, counted from 1.
        source: the text, without the indentation that it stands in.
    """

    module: str
    file: str
    line: int
    source: str

    @property
    def place(self) -> str:
        """File and line, short."""
        return f"{short_path(self.file, self.module)}:{self.line}" if self.file else self.module


@dataclass(frozen=True)
class Method(Source):
    """A method as a class has it.

    Attributes:
        name: of the method.
        owner: the class that it is written in.
        origin: how the class that was asked about comes to it.
        lines: of code: without its docstring, comments and empty lines.
    """

    name: str
    owner: type
    origin: Origin
    lines: int


@dataclass(frozen=True)
class Example:
    """How a port of Portwright's own does what is asked for, to point to."""

    port: str
    method: str
    lines: int

    @property
    def command(self) -> str:
        """What shows it."""
        return f"portwright show {self.port} {self.method}"

    def __str__(self) -> str:
        return f"{self.port} does it in {self.lines} line{'s' * (self.lines != 1)}: {self.command}"


@lru_cache(maxsize=1)
def contract_methods() -> Mapping[str, type]:
    """Every method that the contract asks of a port or lets it give, and the class that says what it means.

    First those of ``Device``, then those of the optional protocols.
    """
    protocols = [c for c in vars(contract).values() if isinstance(c, type) and Protocol in c.__bases__]
    return {
        name: declared
        for declared in (Device, *protocols)
        for name, value in vars(declared).items()
        if name[0] != "_" and isinstance(value, classmethod) | inspect.isfunction(value)
    }


def find_method(port: type, name: str) -> Method | None:
    """The method ``name`` of a class; None where it has none, or something else of that name."""
    owner = next((c for c in port.__mro__ if name in vars(c)), None)
    function = None if owner is None else _function(vars(owner)[name])
    if owner is None or function is None:
        return None
    origin = Origin.DEFAULT if owner is Device else Origin.WRITTEN if owner is port else Origin.INHERITED
    at = find_function(function)
    return Method(
        at.module, at.file, at.line, at.source, name, owner, origin, code_lines(at.source) if at.source else 0
    )


def find_function(function: Callable[..., Any]) -> Source:
    """Where a function is written; a place without a file, where it was compiled or made by exec."""
    try:
        source, line = inspect.getsourcelines(function)
        file, text = inspect.getsourcefile(function) or "", textwrap.dedent("".join(source))
    except (OSError, TypeError):
        return Source(function.__module__, "", 0, "")
    return Source(function.__module__, file, line, text)


def example_of(method: str) -> Example | None:
    """The shortest way to an example of a method of the contract; None where no port of ours has one.

    It is the first of the default ports that has the method itself and not merely the contract's.
    """
    for name in (o.name for o in defaults(offers())):
        try:
            port = port_of(name)
        except DeviceError:  # another example will do; ``portwright devices`` says what is wrong with it
            continue
        found = find_method(port, method)
        if found is not None and found.origin is not Origin.DEFAULT and found.source:
            return Example(name, method, found.lines)
    return None


def code_lines(text: str) -> int:
    """How many lines of a function are code: its docstring, comments and empty lines are not."""
    spoken: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            spoken.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(bool(line.strip()) and line.strip()[0] != "#" and at not in spoken for at, line in lines)


def short_path(file: str, module: str) -> str:
    """A source file as people name it: from the folder that holds its package on; ours, inside the package.

    Args:
        file: its path.
        module: the name of the module in it.
    """
    ours, _, _ = __name__.partition(".")
    top, _, _ = module.partition(".")
    home = getattr(sys.modules.get(top), "__file__", None)
    if not home or Path(home).name != "__init__.py":
        return Path(file).name
    folder = Path(home).parent
    path = Path(file)
    if not path.is_relative_to(folder):
        return str(path)
    inside = path.relative_to(folder)
    return str(inside if top == ours else folder.name / inside)


def _function(value: object) -> Callable[..., Any] | None:
    """The function behind an attribute of a class."""
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    if isinstance(value, property):
        value = value.fget
    value = inspect.unwrap(value) if callable(value) else value
    return value if inspect.isfunction(value) else None
