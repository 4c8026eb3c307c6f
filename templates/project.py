"""A port's project as it was made: the family's files, and the record that ``portwright upgrade`` goes by.

The record, ``.portwright.json``, holds the answers and every file as it was first rendered: the base of the
three-way merge, so that an upgrade needs no older version of Portwright. This file needs nothing of
Portwright, so that a hook can run it from the tree alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .answers import QUESTIONS, TREE, for_templates
from .render import environment, render

RECORD = ".portwright.json"
BADGE = "badge.svg.j2"
FORMAT = "portwright-project-1"
KEPT_ANSWERS = (*QUESTIONS, "__year")
"""What makes the same project again."""


def version() -> str:
    """Of the Portwright that these templates belong to."""
    text = (TREE.parent / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"', text, re.MULTILINE)
    assert found is not None
    return found[1]


def complete(folder: Path, context: Mapping[str, Any]) -> None:
    """Adds to a project that cookiecutter rendered what its family brings, and the record.

    Args:
        folder: the project's.
        context: cookiecutter's.
    """
    package = folder / context["__package"]
    for name, text in render(context["family"], for_templates(context)).items():
        (package / name).write_text(text, encoding="utf-8")
    badge = environment(TREE.parent / "conformance", BADGE).get_template(BADGE)
    said = {"label": f"{context['__NAME']} conformance", "message": "not certified yet", "colour": "#777"}
    (folder / "badge.svg").write_text(badge.render(said), encoding="utf-8")
    record = {
        "format": FORMAT,
        "portwright": version(),
        "answers": {name: context[name] for name in KEPT_ANSWERS},
        "base": files_of(folder),
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def files_of(folder: Path) -> dict[str, str]:
    """Every file of a fresh project, by its path, as text."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != RECORD)
    return {p.relative_to(folder).as_posix(): p.read_text(encoding="utf-8") for p in paths}


def forget_replay(context: Mapping[str, Any]) -> None:
    """Removes the note of this run that cookiecutter leaves in the user's home, and no other run's."""
    folder = Path.home() / ".cookiecutter_replay"
    note = folder / f"{Path(context['_repo_dir']).resolve().name}.json"
    try:
        of_run = json.loads(note.read_text(encoding="utf-8"))["cookiecutter"]
        if (of_run["name"], of_run["_output_dir"]) != (context["name"], context["_output_dir"]):
            return
        note.unlink()
        folder.rmdir()
    except (OSError, ValueError, KeyError):  # there is none, or others' notes are beside it
        return
