"""The project that ``portwright new`` made for a port: its checklist and its expected failures.

Found from the port's own file, upwards, by the record that every such project has. A port that is installed
for good has none, and is certified like any other.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..core.device import Device
from .ladder import Rung
from .outcome import Outcome
from .tiers import SuiteTier

RECORD = ".portwright.json"
_BOX = re.compile(r"^- \[[ x]\] \*\*(\w+)\*\*", re.MULTILINE)


@dataclass(frozen=True)
class Ticks:
    """How many boxes of a checklist are ticked, and how many there are."""

    done: int
    boxes: int


@dataclass(frozen=True)
class Project:
    """A port's project.

    Attributes:
        folder: where it is.
    """

    folder: Path

    @property
    def checklist(self) -> Path:
        """What is done and what is to be done."""
        return self.folder / "PORTING.md"

    @property
    def expected_failures(self) -> Path:
        """What is known to fail."""
        return self.folder / "tests" / "expected_failures.toml"

    def tick(self, outcome: Outcome) -> Ticks | None:
        """Ticks the rungs that passed whole in the checklist, and unticks those that did not.

        The quick tier can show that a rung fails, and not that it passes: it ticks nothing.

        Returns:
            How many boxes are ticked now, of how many; None where there is no checklist to write.
        """
        try:
            text = self.checklist.read_text(encoding="utf-8")
        except OSError:
            return None
        rows = [r for r in outcome.summary() if r.reached and outcome.selection.has_whole_rungs]
        is_sample = outcome.selection.tier is SuiteTier.QUICK
        passed = {r.rung.value: r.holds for r in rows if not (is_sample and r.holds)}
        ticked = ticked_text(text, passed.items())
        if ticked != text:
            self.checklist.write_text(ticked, encoding="utf-8")
        boxes = [m for m in _BOX.finditer(ticked) if m[1] in {r.value for r in Rung}]
        return Ticks(sum(m[0].startswith("- [x]") for m in boxes), len(boxes))


def ticked_text(text: str, rungs: Iterable[tuple[str, bool]]) -> str:
    """A checklist with the boxes of these rungs ticked, or not."""
    known = dict(rungs)

    def box(found: re.Match[str]) -> str:
        if found[1] not in known:
            return found[0]
        return f"- [{'x' if known[found[1]] else ' '}] **{found[1]}**"

    return _BOX.sub(box, text)


def project_of(port: type[Device]) -> Project | None:
    """The project that a port lives in; None of one that lives in none."""
    source = inspect.getsourcefile(port)
    for folder in Path(source).resolve().parents if source else ():
        if (folder / RECORD).is_file():
            return Project(folder)
    return None
