"""The templates of a new port: what every family makes of every answer, linters and compilers take."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from portwright.core import dtype as dt
from portwright.devices.adreno_profile import PROFILES
from portwright.devices.toolchain import find_toolchain
from portwright.templates import render

ROOT = Path(__file__).resolve().parent.parent
FAMILIES = render.families()
MOST_LINES = 120
MOST_LINES_OF_C = 250
"""A program that a port starts with, and owns."""
LONGEST_NAME = "a" * 40
NEEDED = (dt.bool_, dt.int32, dt.float32)
THROUGH = {
    "c": ("", "cc", "riscv64-linux-gnu-gcc -static"),
    "opencl": ("", "Portable Computing Language"),
    "cuda": ("", "sm_80", "sm_90", "sm_75"),
    "adreno": ("", *PROFILES),
    "dispatch": ("", "libacme.so"),
    "simulator": ("", "qemu-riscv64 -cpu max"),
}
"""What may be answered to "through what" is text: of each family its default, and what is likely."""
C_FLAGS = {
    ".c": ("-x", "c", "-std=c11"), ".h": ("-x", "c", "-std=c11"),
    ".cpp": ("-x", "c++", "-std=c++17"), ".hpp": ("-x", "c++", "-std=c++17"),
}  # fmt: skip


def answers(
    family: str,
    *more: dt.DType,
    name: str = "acme",
    through: str = "",
    licence: str = "MIT",
    vendor: str = "Acme Chips",
) -> dict[str, str]:
    """What a template is given: the dtypes are those that every port needs, and ``more``."""
    words = [d.name for d in dt.ALL if d in (*NEEDED, *more)]
    floats = [w for w in words if "float" in w]
    return {
        "name": name,
        "NAME": name.upper(),
        "Class": name.replace("_", " ").title().replace(" ", ""),
        "package": f"portwright_{name}",
        "project": f"portwright-{name.replace('_', '-')}",
        "vendor": vendor,
        "family": family,
        "through": through,
        "integers": " ".join(w for w in words if w not in floats),
        "floats": " ".join(floats),
        "licence": licence,
        "year": "2026",
    }


def every_answer(family: str) -> Iterator[dict[str, str]]:
    """Every answer on its own, beside the usual ones; dtypes: the least, each added to it, and all."""
    for chosen in ((), *((d,) for d in dt.ALL if d not in NEEDED), dt.ALL):
        yield answers(family, *chosen)
    for through in THROUGH.get(family, ("",)):
        yield answers(family, *dt.ALL, through=through)
    for name in ("x", "acme_x1", LONGEST_NAME):
        yield answers(family, *dt.ALL, name=name)
    for licence in ("MIT", "Apache-2.0", "BSD-3-Clause", "Proprietary"):
        yield answers(family, *dt.ALL, licence=licence)
    for vendor in ("O'Hara & Söhne <chips>", "A"):
        yield answers(family, *dt.ALL, vendor=vendor)


def write(folder: Path, family: str, given: dict[str, str]) -> Path:
    """The package that a family's templates make, as a project holds it."""
    package = folder / given["package"]
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f'"""{given["NAME"]}."""\n', encoding="utf-8")
    for name, text in render.render(family, given).items():
        (package / name).write_text(text, encoding="utf-8")
    return package


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def packages(family: str, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A package for each answer."""
    folder = tmp_path_factory.mktemp(family)
    return [write(folder / str(i), family, given) for i, given in enumerate(every_answer(family))]


def tool(*command: str) -> str:
    """What a tool complains of; "" when it does not."""
    done = subprocess.run([sys.executable, "-P", "-m", *command], capture_output=True, text=True, cwd=ROOT)
    return (done.stdout + done.stderr) if done.returncode else ""


def test_there_are_families() -> None:
    assert {"opencl", "cuda", "metal", "adreno"} <= set(FAMILIES)


def test_every_file_is_short_and_is_python_or_c(packages: list[Path]) -> None:
    for path in (p for package in packages for p in package.iterdir()):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= (MOST_LINES if path.suffix == ".py" else MOST_LINES_OF_C), path
        assert text.rstrip("\n") + "\n" == text, path
        if path.suffix == ".py":
            compile(text, str(path), "exec")


def test_linters_take_every_answer(packages: list[Path]) -> None:
    folders, rules = [str(p) for p in packages], ("--config", str(ROOT / "pyproject.toml"), "--no-cache")
    complaints = tool("ruff", "format", "--check", "--diff", *rules, *folders)
    complaints += tool("ruff", "check", *rules, *folders)
    assert not complaints, complaints


def test_c_compiles(packages: list[Path], tmp_path: Path) -> None:
    files = {p.read_bytes(): p for package in packages for p in package.iterdir() if p.suffix in C_FLAGS}
    for path in files.values():
        command = [*find_toolchain().command, *C_FLAGS[path.suffix], "-Wall", "-Wextra", "-Werror"]
        wants = ["-fsyntax-only", "-I", str(path.parent), str(path)]
        done = subprocess.run([*command, *wants], capture_output=True, text=True)
        assert not done.returncode, done.stderr


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What mypy, strict, says of one package of each family: in one run, since it reads Portwright first."""
    folder = tmp_path_factory.mktemp("types")
    (folder / "portwright").symlink_to(ROOT)
    for name in FAMILIES:
        write(folder, name, answers(name, *dt.ALL, name=f"{name}_chip"))
    (folder / "mypy.ini").write_text(
        f"[mypy]\nstrict = true\nmypy_path = {folder}\nfollow_imports = silent\npython_version = 3.12\n"
    )
    cache = ROOT / ".mypy_cache" / "templates"
    config = ("--config-file", str(folder / "mypy.ini"), "--cache-dir", str(cache))
    return tool("mypy", *config, *(f"-pportwright_{name}_chip" for name in FAMILIES))


def test_types_are_strict(family: str, complaints: str) -> None:
    wrong = [line for line in complaints.splitlines() if f"portwright_{family}_chip" in line]
    assert not wrong
    assert not complaints or "portwright_" in complaints, complaints  # mypy itself ran


def test_what_was_not_answered_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "port.py.j2").write_text("x = {{ nobody }}\n")
    monkeypatch.setattr(render, "HERE", tmp_path)
    assert render.families() == ["odd"]
    with pytest.raises(UndefinedError, match="'nobody' is undefined"):
        render.render("odd", answers("odd"))


@pytest.mark.parametrize("name", ["x.c", "x.h", "x.cpp", "x.hpp"])
def test_the_braces_of_c_are_its_own(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = 'float x[1][2]={{1,2}}; /* {% no block %} {# nor comment #} */\nconst char *s = "{{ name }}";\n'
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / f"{name}.j2").write_text(
        plain + "@# why #@\n@% if through %@\nint through;\n@% endif %@\nint @{ name }@;\n"
    )
    monkeypatch.setattr(render, "HERE", tmp_path)
    assert render.render("odd", answers("odd")) == {name: plain + "int acme;\n"}


def test_python_is_rendered_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "port.py.j2").write_text(
        "{% if vendor %}\nx = '{{ vendor }} {0}'\n{% endif %}\ny = {0: {1}}\n"
    )
    monkeypatch.setattr(render, "HERE", tmp_path)
    text = render.render("odd", answers("odd", vendor="<Söhne & Co>"))["port.py"]
    assert text == "x = '<Söhne & Co> {0}'\ny = {0: {1}}\n"
