"""``portwright upgrade``: a port's project, brought up to date with the templates that it was made from."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from .screen import console, working

_STYLES = {"you choose": "bold red", "merged": "yellow"}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True), default=Path())
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 where there is something to upgrade.")
def upgrade(folder: Path, check: bool) -> int:
    """Bring the port's project in FOLDER up to date with Portwright's templates.

    What you wrote is kept: files are merged with the templates' changes, and where both changed one place,
    both stand in the file between conflict markers.

    Exit status: 0 when all is up to date now, 1 when there is something left to choose (or, with --check,
    something to upgrade), 2 when it could not run.
    """
    from .merging import find_project, plan

    with working("Rendering the templates again"):
        found = plan(find_project(folder))
    out = console()
    if not found.is_needed:
        out.print(f"{found.folder.name} is up to date with Portwright {found.now}.")
        return 0
    table = Table(box=None, show_header=False, pad_edge=False)
    for change in found.changes:
        state = Text(change.fate.value, style=_STYLES.get(change.fate.value, ""))
        table.add_row(state, change.path, change.why)
    if found.changes:
        out.print(table)
    if check:
        files = f"{len(found.changes)} file{'' if len(found.changes) == 1 else 's'}"
        out.print(f"{found.folder.name} was made by {found.made_by}; {files} to upgrade: portwright upgrade")
        return 1
    found.apply()
    if found.conflicts:
        out.print(
            f"{found.folder.name} is at {found.now} but for what you choose: keep what is right between the "
            "markers, and certify again."
        )
        return 1
    out.print(f"{found.folder.name} is at {found.now} now. Certify it again.")
    return 0
