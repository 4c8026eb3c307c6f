"""The rules of the house, kept by reading the source: who imports whom, and what no file may hold."""

from __future__ import annotations

import ast
import graphlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = [name.removeprefix("portwright").strip(".") for name in PROJECT["tool"]["setuptools"]["packages"]]
MODULES = sorted(
    path.relative_to(ROOT) for name in PACKAGES for path in (ROOT / name.replace(".", "/")).glob("*.py")
)
USERS = sorted(p.relative_to(ROOT) for d in ("tests", "examples", "bench") for p in (ROOT / d).rglob("*.py"))

MAX_LINES = 450
MAY_IMPORT = {
    "core": {"core"},
    "devices": {"core", "devices"},
    "nn": {"core", "nn"},
    "conformance": {"core", "conformance"},
    "cli": {"", "core", "devices", "nn", "conformance", "cli", "templates"},
    "templates": {"templates"},
    "": {"", "core", "nn"},
    "__main__.py": {"cli"},
}
PORTS = {
    entry.split(":")[0].removeprefix("portwright.")
    for entry in PROJECT["project"]["entry-points"]["portwright.devices"].values()
}
"""The modules that hold a port: found by entry point and imported by none of ours."""
FAMILIES: dict[str, set[str]] = {
    "devices/adreno.py": {"devices.opencl"},
    "devices/cpu_sanitized.py": {"devices.cpu"},
    "devices/opencl_oclgrind.py": {"devices.opencl", "devices.adreno"},
}
"""A port's file, and the ports that it inherits from."""
CORE_NEEDS = {"numpy", "ml_dtypes", "mpmath"}
"""What the engine uses besides the standard library (mpmath to derive coefficients, never on import)."""
LEFTOVER = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
DEVICE_NAMES = re.compile(r"\b(CPU|NUMPY|OPENCL|CUDA|METAL|ADRENO)\b")


def tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), str(path))


def folder(path: Path) -> str:
    """Whose rules hold for a file: those of its folder, and of the command line's door its own."""
    return path.parts[0] if len(path.parts) > 1 or path.name in MAY_IMPORT else ""


def imports(path: Path) -> Iterator[tuple[int, int, str]]:
    """(line, level, module) of every import, those inside functions too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, 0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is None:
            yield from ((node.lineno, node.level, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.level, node.module or ""


def inner_imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted module below the root) of every relative import."""
    for line, level, module in imports(path):
        if level:
            base = path.parts[:-1][: len(path.parts) - level]
            yield line, ".".join((*base, *module.split(".")))


def docstrings(module: ast.Module) -> set[int]:
    """The ids of the string constants that stand alone as statements."""
    return {id(n.value) for n in ast.walk(module) if isinstance(n, ast.Expr)}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_keep_to_their_side(path: Path) -> None:
    here = folder(path)
    wrong = []
    for line, target in inner_imports(path):
        first = target.split(".")[0]
        there = first if first in MAY_IMPORT else ""
        if target == "__version__" and here != "core":
            continue
        if there not in MAY_IMPORT[here] or target in PORTS - FAMILIES.get(path.as_posix(), set()):
            wrong.append(f"{path}:{line} imports {target}")
    assert not wrong


def module_at(name: Path) -> set[Path]:
    return {f for f in (name.parent / f"{name.name}.py", name / "__init__.py") if f in MODULES}


def needed_to_import(path: Path) -> set[Path]:
    """The modules of ours that importing this one imports: not those in functions or for type checkers."""
    module = tree(path)
    later = [n for n in ast.walk(module) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    later += [n for n in ast.walk(module) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    skipped = {id(n) for block in later for n in ast.walk(block)}
    found = set[Path]()
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.level and id(node) not in skipped:
            base = Path(*path.parts[: len(path.parts) - node.level], *(node.module or "").split("."))
            for alias in node.names:  # a module of the folder, or a name that the folder or module holds
                found |= module_at(base / alias.name) or module_at(base)
    return found - {path}


def test_no_module_needs_itself() -> None:
    order = graphlib.TopologicalSorter({path: needed_to_import(path) for path in MODULES})
    assert len(list(order.static_order())) == len(MODULES)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_inside_the_package_imports_are_relative(path: Path) -> None:
    assert not [
        f"{path}:{line}" for line, level, m in imports(path) if not level and m.split(".")[0] == "portwright"
    ]


@pytest.mark.parametrize("path", USERS, ids=str)
def test_users_import_the_package_by_its_name(path: Path) -> None:
    allowed = {"tests": 0, "examples": 0, "bench": 1}[path.parts[0]]
    assert not [f"{path}:{line}" for line, level, _ in imports(path) if level > allowed]


@pytest.mark.parametrize("path", [p for p in MODULES if folder(p) == "core"], ids=str)
def test_the_engine_needs_numpy_and_nothing_else(path: Path) -> None:
    outside = {m.split(".")[0] for _, level, m in imports(path) if not level} - sys.stdlib_module_names
    assert outside <= CORE_NEEDS


@pytest.mark.parametrize("path", [p for p in MODULES if folder(p) in ("core", "devices")], ids=str)
def test_records_cost_little_to_declare(path: Path) -> None:
    """A third of the time to a first result went into declaring the standard library's dataclasses."""
    taken = {
        alias.name
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and node.module == "dataclasses"
        for alias in node.names
    }
    assert "dataclass" not in taken or path.name == "record.py"


@pytest.mark.parametrize("path", [p for p in MODULES if folder(p) in ("core", "nn", "")], ids=str)
def test_the_engine_names_no_device(path: Path) -> None:
    module = tree(path)
    spoken = docstrings(module)
    named = [
        f"{path}:{n.lineno} says {n.value!r}"
        for n in ast.walk(module)
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in spoken
        if DEVICE_NAMES.search(n.value)
    ]
    assert not named


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_the_environment_is_read_when_it_is_used(path: Path) -> None:
    def at_import(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                for early in (*child.decorator_list, *child.args.defaults, *child.args.kw_defaults):
                    if early is not None:
                        yield early
                        yield from ast.walk(early)
            elif not isinstance(child, ast.Lambda):
                yield child
                yield from at_import(child)

    names = {"environ", "getenv"}
    read = [
        f"{path}:{n.lineno}"
        for n in at_import(tree(path))
        if (isinstance(n, ast.Attribute) and n.attr in names) or (isinstance(n, ast.Name) and n.id in names)
    ]
    assert not read


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_capability_is_guessed_and_no_error_swallowed(path: Path) -> None:
    wrong = []
    for n in ast.walk(tree(path)):
        if isinstance(n, ast.Name) and n.id == "hasattr":
            wrong.append(f"{path}:{n.lineno} asks hasattr: declare it in the Spec")
        if isinstance(n, ast.ExceptHandler):
            catches_all = n.type is None or (isinstance(n.type, ast.Name) and n.type.id.endswith("Exception"))
            if catches_all and all(isinstance(s, ast.Pass) for s in n.body):
                wrong.append(f"{path}:{n.lineno} swallows every error")
    assert not wrong


@pytest.mark.parametrize("path", [*MODULES, *USERS], ids=str)
def test_a_file_is_read_in_a_sitting(path: Path) -> None:
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MAX_LINES
    assert not [i for i, text in enumerate(lines, 1) if LEFTOVER.search(text)]


def test_every_folder_of_modules_is_a_package_that_ships() -> None:
    ours = ("core", "devices", "nn", "conformance", "cli", "templates")
    found = {p.parent.relative_to(ROOT).as_posix() for d in ours for p in (ROOT / d).rglob("*.py")}
    assert {p.replace("/", ".") for p in found} == set(PACKAGES) - {"", "cookiecutter"}
    assert not (ROOT / "cookiecutter" / "__init__.py").exists(), "it would hide the library of that name"
    assert all((ROOT / p / "__init__.py").exists() for p in found)
