"""A tutorial page, run as its reader would: every command, every file, in order, in a folder of its own.

What a page may hold, in fenced blocks that start at the left margin:

    ```sh                      commands of bash, which must end well; the folder is kept from block to block
    ```sh exit=1               commands of which the last must end with this status
    ```text                    right after commands: all that they print; … stands for what varies in a line,
                               and alone on a line for any number of lines
    ```python file=a/b.py      the file's whole text, of any language; a path from where the commands are
    ```python append=a/b.py    text for its end
    ```python into=a/b.py      Python only: each import, function, assignment and method that is shown takes
                               the place of the one of its name; what is new comes before what it is shown
                               before, or at the end, imports after the imports

Every other block is for the reader alone. ``run_page`` runs a page, ``reader`` makes the environment to run
it in: another virtual environment over this one, so that ``pip install`` leaves the tests' own as it is.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import elsewhere

FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VARIES = "…"
SECONDS = 240
"""Time for one block of commands."""


@dataclass(frozen=True)
class Step:
    """One fenced block of a page that is run or written.

    Attributes:
        where: "page.md:12", of its first line.
        language: the info string's first word.
        text: what stands between the fences.
        options: the rest of the info string, by key.
        shown: of commands, what the page shows that they print; None where it shows nothing.
    """

    where: str
    language: str
    text: str
    options: Mapping[str, str] = field(default_factory=dict)
    shown: str | None = None


def steps(path: Path) -> list[Step]:
    """The steps of a page, in order."""
    page = path.read_text(encoding="utf-8")
    found: list[Step] = []
    end = -1
    for block in FENCE.finditer(page):
        language, *words = block[1].split() or [""]
        options = dict(w.partition("=")[::2] for w in words)
        where = f"{path.name}:{page.count(chr(10), 0, block.start(2)) + 1}"
        if language == "text" and found and end >= 0 and not page[end : block.start()].strip():
            last = found.pop()
            found.append(Step(last.where, last.language, last.text, last.options, block[2]))
        elif language == "sh" or options.keys() & {"file", "append", "into"}:
            found.append(Step(where, language, block[2], options))
            end = block.end() if language == "sh" else -1
            continue
        end = -1
    return found


def run_page(path: Path, folder: Path, env: Mapping[str, str]) -> list[Step]:
    """Runs every step of a page in ``folder``, and gives them.

    Args:
        path: the page.
        folder: where its commands begin.
        env: the whole environment of its commands: see ``reader``.

    Raises:
        AssertionError: at the first step that does not do what the page says, with the page's line.
    """
    done = steps(path)
    for step in done:
        if step.language == "sh":
            folder = _run(step, folder, env)
        else:
            _write(step, folder)
    return done


def reader(folder: Path) -> dict[str, str]:
    """The environment of somebody who installed Portwright: commands ``python``, ``pip`` and ``portwright``.

    They belong to a virtual environment in ``folder`` that sees what this one has. ``pip install -e .``
    builds with what is there, and asks no index.
    """
    bin_ = elsewhere.over(Path(sysconfig.get_path("purelib")), folder / "venv")
    import portwright

    (root,) = portwright.__path__
    seen = [str(Path(root).parent)] if Path(root).name == "portwright" else []
    seen += [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    return {
        **os.environ,
        "PATH": f"{bin_}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(seen)),
        "VIRTUAL_ENV": str(bin_.parent),
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's way to say that the environment's own setuptools builds
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_QUIET": "1",
        "COLUMNS": "250",
        "NO_COLOR": "1",
        "PYTHONWARNINGS": "ignore",
        "HOME": str(folder),
    }


# ---------------------------------------------------------------------------------------------- commands


def _run(step: Step, folder: Path, env: Mapping[str, str]) -> Path:
    """Runs a block of commands; gives the folder in which they end."""
    place = folder / ".tutorial-place"
    script = f"trap 'pwd > \"{place}\"' EXIT\n{step.text}"
    wanted = int(step.options.get("exit", "0"))
    try:
        ran = subprocess.run(
            ["bash", "-e" if not wanted else "+e", "-o", "pipefail", "-c", script],
            cwd=folder, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, encoding="utf-8", timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as e:
        raise AssertionError(f"{step.where}: not done after {SECONDS} s:\n{step.text}") from e
    assert ran.returncode == wanted, (
        f"{step.where}: ended with {ran.returncode}, not {wanted}:\n{step.text}\n{ran.stdout}"
    )
    if step.shown is not None:
        assert matches(step.shown, ran.stdout), (
            f"{step.where}: the page shows\n{step.shown}\nand it prints\n{ran.stdout}"
        )
    there = Path(place.read_text(encoding="utf-8").strip())
    place.unlink()
    return there


def matches(shown: str, printed: str) -> bool:
    """Whether a text is what a page shows, but for what varies."""
    pattern = ""
    for line in shown.rstrip().splitlines():
        parts = [re.escape(part) for part in line.rstrip().split(VARIES)]
        pattern += r"(?:[^\n]*\n)*" if line.strip() == VARIES else r"[^\n]*".join(parts) + r"[ \t]*\n"
    return re.fullmatch(pattern, printed.rstrip() + "\n") is not None


# ------------------------------------------------------------------------------------------------- files


def _write(step: Step, folder: Path) -> None:
    (way, name) = next((k, v) for k, v in step.options.items() if k in ("file", "append", "into"))
    target = folder / name
    if way == "file":
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(step.text, encoding="utf-8")
        return
    assert target.exists(), f"{step.where}: there is no {name} in {folder} to write into"
    before = target.read_text(encoding="utf-8")
    after = before + step.text if way == "append" else merged(before, step.text)
    target.write_text(after, encoding="utf-8")


def merged(before: str, shown: str) -> str:
    """Python with what is shown in the place of what has its name, and what is new added."""
    lines, new = before.splitlines(), shown.splitlines()
    _merge(lines, ast.parse(before).body, new, ast.parse(shown).body)
    return "\n".join(lines) + "\n"


def _merge(lines: list[str], body: Sequence[ast.stmt], new: list[str], shown: Sequence[ast.stmt]) -> None:
    """Changes ``lines``, from the last statement to the first, so that line numbers above stay true."""
    held = {name: s for s in body if (name := _name(s))}
    changes: list[tuple[int, int, list[str]]] = []
    for s in shown:
        old = held.get(_name(s))
        text = new[_first(s) - 1 : s.end_lineno]
        if isinstance(s, ast.ClassDef) and isinstance(old, ast.ClassDef):
            inside = lines[:]
            _merge(inside, old.body, new, s.body)
            grown = len(inside) - len(lines)
            assert old.end_lineno is not None
            changes.append(
                (_first(old) - 1, old.end_lineno, inside[_first(old) - 1 : old.end_lineno + grown])
            )
        elif old is not None:
            assert old.end_lineno is not None
            changes.append((_first(old) - 1, old.end_lineno, text))
        else:
            following = [held[_name(t)] for t in shown[shown.index(s) + 1 :] if _name(t) in held]
            gap = [""] * (1 + (not s.col_offset) if isinstance(s, ast.FunctionDef | ast.ClassDef) else 0)
            if following and not isinstance(s, ast.Import | ast.ImportFrom):
                at = _first(following[0]) - 1
                changes.append((at, at, [*text, *gap]))
            else:
                at = _after_fellows(body, s)
                changes.append((at, at, [*gap, *text]))
    changes.sort(key=lambda c: c[:2])  # what is added before a statement comes before what replaces it
    for first, last, text in changes[::-1]:
        lines[first:last] = text


def _after_fellows(body: Sequence[ast.stmt], s: ast.stmt) -> int:
    """The line after which a new statement goes: the last import, of an import, else the last statement."""
    fellows = list(body)
    if isinstance(s, ast.Import | ast.ImportFrom):
        docstring = [b for b in body[:1] if isinstance(b, ast.Expr)]
        fellows = [b for b in body if isinstance(b, ast.Import | ast.ImportFrom)] or docstring
    return (fellows[-1].end_lineno or 0) if fellows else 0


def _first(s: ast.stmt) -> int:
    """The line at which a statement begins, its decorators included."""
    decorators = s.decorator_list if isinstance(s, ast.FunctionDef | ast.ClassDef) else []
    return min([s.lineno, *(d.lineno for d in decorators)])


def _name(s: ast.stmt) -> str:
    """What a statement defines: a function, class, variable, or the module that names come from; else ""."""
    if isinstance(s, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return s.name
    if isinstance(s, ast.ImportFrom):
        return f"from {'.' * s.level}{s.module or ''}"
    if isinstance(s, ast.Import):
        return f"import {s.names[0].name}"
    if isinstance(s, ast.AnnAssign):
        return ast.unparse(s.target)
    return ast.unparse(s.targets[0]) if isinstance(s, ast.Assign) else ""
