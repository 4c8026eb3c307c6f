"""What the pages say is so: their Python runs, and what is generated is fresh."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(p.relative_to(ROOT) for p in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [p for p in PAGES if PYTHON.search((ROOT / p).read_text())], ids=str)
def test_the_python_on_a_page_runs_and_prints_what_it_says(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = text.splitlines()
    wrong: list[str] = []

    def show(*values: object) -> None:
        """As print; where the line ends in a comment, that is what must come out, up to a colon."""
        number = sys._getframe(1).f_lineno
        said = lines[number - 1].partition("  # ")[2].partition(": ")[0].strip()
        printed = " ".join(map(str, values))
        if said and said != printed:
            wrong.append(f"{page}:{number} says {said}, prints {printed}")

    names: dict[str, object] = {"__name__": "page", "print": show}
    for block in PYTHON.finditer(text):
        above = text.count("\n", 0, block.start(1))  # so that a traceback names the page's own line
        exec(compile("\n" * above + block[1], str(page), "exec"), names)
    assert not wrong


def test_the_contract_page_is_fresh() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "contract.py"))["page"]()
    assert (ROOT / "docs" / "contract.md").read_text(encoding="utf-8") == page, "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    assert not [t for t in targets if "://" not in t and not (ROOT / page.parent / t).exists()]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_the_commands_on_a_page_exist(page: Path) -> None:
    from portwright.cli.main import COMMANDS

    text = (ROOT / page).read_text(encoding="utf-8")
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^    |`)portwright (\w+)", text, re.MULTILINE)) <= set(COMMANDS)
    assert set(re.findall(r"(?:^    |`)make (\w+)", text, re.MULTILINE)) <= targets
