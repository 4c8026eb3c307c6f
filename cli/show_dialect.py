"""Where the table of a port's language stands."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

from ..core.device import Device
from ..core.example import short_path


@dataclass(frozen=True)
class Table:
    """A dialect's place.

    Attributes:
        name: what the module calls it.
        module, file, line: where it is made.
        lines: from the first to the last of it.
        source: its whole file.
    """

    name: str
    module: str
    file: str
    line: int
    lines: int
    source: str

    @property
    def place(self) -> str:
        """File and line, short."""
        return f"{short_path(self.file, self.module)}:{self.line}"


def find_table(port: type[Device]) -> Table | None:
    """Where the dialect of a port is made; None of a port without one, or made where nobody can look."""
    if port.dialect is None:
        return None
    for module in list(sys.modules.values()):
        names = [k for k, v in list(getattr(module, "__dict__", {}).items()) if v is port.dialect]
        file = getattr(module, "__file__", None) or ""
        if not names or not file.endswith(".py"):
            continue
        text = Path(file).read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                made = next((t.id for t in targets if isinstance(t, ast.Name) and t.id in names), None)
                if made is not None and isinstance(node.value, ast.Call):
                    lines = (node.end_lineno or node.lineno) - node.lineno + 1
                    return Table(made, module.__name__, file, node.lineno, lines, text)
    return None
