"""Rendering a family's templates: text in, text out, with nothing undefined and nothing guessed.

In: a family, and the answers that its templates name. Out: the files that go into the port's package, by
name. What is left undefined is an error with the template's file and line. This file needs nothing of
Portwright, so that a hook can run it from the tree alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent
SUFFIX = ".j2"
C_SUFFIXES = (".c", ".h", ".cpp", ".hpp")
"""Files whose braces are C's own: their templates are delimited by ``@{ … }@`` and ``@% … %@``."""
C_DELIMITERS: dict[str, Any] = {
    "block_start_string": "@%",
    "block_end_string": "%@",
    "variable_start_string": "@{",
    "variable_end_string": "}@",
    "comment_start_string": "@#",
    "comment_end_string": "#@",
}


def families() -> list[str]:
    """The ways to reach a chip that there are templates for."""
    return sorted(p.name for p in HERE.iterdir() if p.is_dir() and any(p.glob(f"*{SUFFIX}")))


def environment(folder: Path, name: str) -> Environment:
    """The environment that the template called ``name`` is rendered in."""
    is_c = name.removesuffix(SUFFIX).endswith(C_SUFFIXES)
    return Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        autoescape=False,  # Python and C, no HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **(C_DELIMITERS if is_c else {}),
    )


def render(family: str, answers: Mapping[str, Any]) -> dict[str, str]:
    """The files of a port of ``family``, by the name that each has in the package.

    Args:
        family: one of ``families()``.
        answers: what the templates name: see ``cookiecutter/cookiecutter.json``.

    Raises:
        jinja2.UndefinedError: when a template names something that was not answered.
    """
    folder = HERE / family
    names = sorted(p.name for p in folder.glob(f"*{SUFFIX}"))
    return {
        name.removesuffix(SUFFIX): environment(folder, name).get_template(name).render(**answers)
        for name in names
    }
