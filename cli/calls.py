"""Which helpers a port's method calls, and where they stand: read from source, so that nothing is run for it.

``self._pool.write(handle, data)`` leads to ``Pool.write`` where an assignment ``self._pool = Pool(…)``, an
annotation or what a function says that it returns tells what ``self._pool`` is. What none of these tells is
left out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from ..core.example import Method, short_path

Function = ast.FunctionDef | ast.AsyncFunctionDef
_OURS = __name__.partition(".")[0]
_NATIVE = (".c", ".cpp", ".cc", ".m", ".mm", ".h", ".hpp")
_DEEP = 12
"""Steps from a name to what it means, at most."""


@dataclass(frozen=True)
class Call:
    """A helper that a method calls: as it is written there, and where it is defined."""

    text: str
    file: str
    line: int


@dataclass(frozen=True, eq=False)
class _Module:
    """A module's text."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


@dataclass(frozen=True, eq=False)
class _Class:
    """A class, with those that it extends."""

    module: _Module
    node: ast.ClassDef


@dataclass(frozen=True, eq=False)
class _Def:
    """A function, of a class or of a module."""

    module: _Module
    node: Function


_Meaning = _Module | _Class | _Def


def calls(method: Method, port: type) -> list[Call]:
    """The helpers of the port's own package, or of the family's that it extends, that a method calls."""
    module = _module(method.module)
    if module is None or not method.source:
        return []
    functions = (n for n in ast.walk(module.tree) if isinstance(n, Function) and n.name == method.name)
    here = next((f for f in functions if _first_line(f) == method.line), None)
    if here is None:
        return []
    owners = [c for k in port.__mro__ if (c := _class_of(k)) is not None]
    scope = _Scope(module, here, owners)
    found: dict[str, Call] = {}
    for node in _in_order(here):
        if isinstance(node, ast.Call) and (call := _call(scope, node, method)) is not None:
            found.setdefault(call.text, call)
    return list(found.values())


def _first_line(f: Function) -> int:
    return min([f.lineno, *(d.lineno for d in f.decorator_list)])


def _in_order(node: ast.AST) -> list[ast.expr]:
    placed = [n for n in ast.walk(node) if isinstance(n, ast.expr)]
    return sorted(placed, key=lambda n: (n.lineno, n.col_offset))


def _call(scope: _Scope, node: ast.Call, method: Method) -> Call | None:
    text = ast.unparse(node.func).removeprefix("self.") if "(" not in ast.unparse(node.func) else ""
    if not text:
        return None
    meaning = scope.callee(node.func)
    if isinstance(meaning, _Class | _Def):
        name = meaning.module.name
        if name.startswith(f"{_OURS}.core.") or name.partition(".")[0] not in (_OURS, _top(method)):
            return None  # the contract's own, or a library's
        return Call(text, short_path(str(meaning.module.path), name), meaning.node.lineno)
    return _native(text, node.func, method) if meaning is None else None


def _top(method: Method) -> str:
    return method.module.partition(".")[0]


def _native(text: str, called: ast.expr, method: Method) -> Call | None:
    """A function of the C sources beside the module, where exactly one of them defines it."""
    name = called.attr if isinstance(called, ast.Attribute) else ""
    if "_" not in name.strip("_"):
        return None
    found = [
        (path, line)
        for path in sorted(Path(method.file).parent.rglob("*"))
        if path.suffix in _NATIVE
        if (line := _defined_at(path, name))
    ]
    if len(found) != 1:
        return None
    path, line = found[0]
    return Call(text, short_path(str(path), method.module), line)


@lru_cache(maxsize=256)
def _native_text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _defined_at(path: Path, name: str) -> int:
    """The line on which a C source defines a function; 0 where it does not."""
    text = _native_text(path)
    found = re.search(rf"^[A-Za-z_][\w \t*\"]*?\b{name}\([^;{{]*\)\s*\{{", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 0


@dataclass(frozen=True)
class _Scope:
    """A function, and the classes that its ``self`` is of, nearest first."""

    module: _Module
    function: Function
    owners: Sequence[_Class]
    depth: int = 0

    def within(self, module: _Module, function: Function, owners: Sequence[_Class]) -> _Scope | None:
        """Another function that what is asked for leads to; None when it led too far."""
        return None if self.depth > _DEEP else _Scope(module, function, owners, self.depth + 1)

    def callee(self, called: ast.expr) -> _Meaning | None:
        """What is called."""
        if isinstance(called, ast.Name):
            return _named(self.module, called.id)
        if not isinstance(called, ast.Attribute):
            return None
        if isinstance(called.value, ast.Name):
            module = _named(self.module, called.value.id)
            if isinstance(module, _Module):
                return _named(module, called.attr)
        owners = self.type_of(called.value)
        return _method(owners, called.attr) or _class_attribute(owners, called.attr)

    def type_of(self, value: ast.expr) -> Sequence[_Class]:
        """The class of an expression's value, with those that it extends; empty where it is not known."""
        if isinstance(value, ast.Name):
            return self.owners if value.id == "self" else self._local(value.id)
        if isinstance(value, ast.Call):
            made = self.callee(value.func)
            if isinstance(made, _Class):
                return _mro(made)
            return _annotated(made.module, made.node.returns) if isinstance(made, _Def) else ()
        if isinstance(value, ast.Attribute):
            return self._field(self.type_of(value.value), value.attr)
        return ()

    def _local(self, name: str) -> Sequence[_Class]:
        arguments = self.function.args
        for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            if a.arg == name:
                return _annotated(self.module, a.annotation)
        for target, value, annotation in _assignments(self.function):
            if isinstance(target, ast.Name) and target.id == name:
                if annotation is not None:
                    return _annotated(self.module, annotation)
                deeper = self.within(self.module, self.function, self.owners)
                return deeper.type_of(value) if deeper is not None and value is not None else ()
        return ()

    def _field(self, owners: Sequence[_Class], name: str) -> Sequence[_Class]:
        for owner in owners:
            for statement in owner.node.body:
                if isinstance(statement, ast.AnnAssign) and _is_name(statement.target, name):
                    return _annotated(owner.module, statement.annotation)
                if isinstance(statement, Function) and statement.name == name:
                    return _annotated(owner.module, statement.returns)  # a property
            for function in (s for s in owner.node.body if isinstance(s, Function)):
                for target, value, annotation in _assignments(function):
                    if isinstance(target, ast.Attribute) and _is_name(target.value, "self"):
                        if target.attr != name:
                            continue
                        if annotation is not None:
                            return _annotated(owner.module, annotation)
                        scope = self.within(owner.module, function, owners)
                        found = scope.type_of(value) if scope is not None and value is not None else ()
                        if found:
                            return found
        return ()


def _assignments(function: Function) -> Iterator[tuple[ast.expr, ast.expr | None, ast.expr | None]]:
    """(target, value, annotation) of each assignment, those of tuples one by one."""
    for node in ast.walk(function):
        if isinstance(node, ast.AnnAssign):
            yield node.target, node.value, node.annotation
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = zip(target.elts, node.value.elts, strict=False)
                    yield from ((t, v, None) for t, v in pairs)
                else:
                    yield target, node.value, None


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _annotated(module: _Module, annotation: ast.expr | None) -> Sequence[_Class]:
    """The class that an annotation names."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if isinstance(annotation, ast.BinOp):  # X | None
        annotation = annotation.left
    found = _named(module, annotation.id) if isinstance(annotation, ast.Name) else None
    return _mro(found) if isinstance(found, _Class) else ()


def _method(owners: Sequence[_Class], name: str) -> _Def | None:
    for owner in owners:
        for s in owner.node.body:
            if isinstance(s, Function) and s.name == name:
                return _Def(owner.module, s)
    return None


def _class_attribute(owners: Sequence[_Class], name: str) -> _Meaning | None:
    """``open = staticmethod(open_it)`` in a class's body."""
    for owner in owners:
        for s in owner.node.body:
            if isinstance(s, ast.Assign) and any(_is_name(t, name) for t in s.targets):
                value = s.value.args[0] if isinstance(s.value, ast.Call) and s.value.args else s.value
                return _named(owner.module, value.id) if isinstance(value, ast.Name) else None
    return None


def _mro(first: _Class) -> list[_Class]:
    """A class and those that it extends, nearest first."""
    out = [first]
    for base in first.node.bases:
        found = _named(first.module, base.id) if isinstance(base, ast.Name) else None
        if isinstance(found, _Class) and len(out) < _DEEP:
            out += [c for c in _mro(found) if all(c.node is not k.node for k in out)]
    return out


def _class_of(cls: type) -> _Class | None:
    module = _module(cls.__module__)
    found = None if module is None else _named(module, cls.__name__)
    return found if isinstance(found, _Class) else None


def _named(module: _Module, name: str, depth: int = 0) -> _Meaning | None:
    """What a name of a module means: what is defined there, or imported from a module like it."""
    for s in module.tree.body:
        if isinstance(s, ast.ClassDef) and s.name == name:
            return _Class(module, s)
        if isinstance(s, Function) and s.name == name:
            return _Def(module, s)
    imports = (n for n in ast.walk(module.tree) if isinstance(n, ast.ImportFrom) and depth <= _DEEP)
    for node in imports:
        for alias in node.names:
            if (alias.asname or alias.name) != name:
                continue
            base = _absolute(module, node)
            there = _module(base)
            found = None if there is None else _named(there, alias.name, depth + 1)
            return found or _module(f"{base}.{alias.name}")
    return None


def _absolute(module: _Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module.package.split(".")
    return ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])


@lru_cache(maxsize=256)
def _module(name: str) -> _Module | None:
    """A module by its dotted name, from its source; None of the standard library's and of compiled ones."""
    if not name:
        return None
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    path = Path(spec.origin)
    try:
        return _Module(name, path, ast.parse(path.read_text(encoding="utf-8")))
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None
