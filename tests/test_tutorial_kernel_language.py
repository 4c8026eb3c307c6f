"""The tutorial of a chip with a language, a compiler and a driver: every step as the page has it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from difflib import SequenceMatcher
from pathlib import Path

import pytest
from tutorial import reader, run_page

from portwright.conformance import certificate

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "porting" / "kernel-language.md"
MOST = 100
"""Lines that a kernel-language port of a C-like chip may take beyond the scaffold."""


def test_the_vendors_kit_holds_none_of_ours() -> None:
    kit = ROOT / "examples" / "ports" / "kestrel" / "driver"
    assert {p.name for p in kit.iterdir()} >= {"kestrel.h", "kestrel.c", "kestrel-cc"}
    assert not [p.name for p in kit.iterdir() if re.search("portwright|pw_", p.read_text(), re.IGNORECASE)]


@pytest.mark.timeout(600)
def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    env = {**reader(tmp_path), "PORTWRIGHT": str(ROOT)}
    run_page(PAGE, tmp_path, env)
    project = tmp_path / "portwright-kestrel"
    made = certificate.load(project / "kestrel.json")
    assert (made["verdict"], made["evidence"]) == ("passed", "emulated")
    assert made["port"]["distribution"] == "portwright-kestrel"
    assert made["primitives"]["native"] == 22
    assert made["driver"]["compiler"] == "kestrel-cc 2.4 (Kestrel SDK 2024.3)"
    (stated,) = re.findall(r"^\*\*(\d+) lines\*\*", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert int(stated) == written_by_hand(project) <= MOST
    types = project.parent / "types"  # where mypy finds Portwright under its own name
    types.mkdir()
    (types / "portwright").symlink_to(ROOT)
    tools = {**env, "MYPYPATH": str(types)}
    for words in (
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy", "--follow-imports=silent"],
    ):
        command = [sys.executable, "-m", *words]
        ran = subprocess.run(command, cwd=project, env=tools, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def written_by_hand(project: Path) -> int:
    """Lines of the port that ``portwright new`` did not make: its record says what it made."""
    made = json.loads((project / ".portwright.json").read_text(encoding="utf-8"))["base"]
    count = 0
    for path in (project / "portwright_kestrel").glob("*.py"):
        before = made[path.relative_to(project).as_posix()].splitlines()
        now = path.read_text(encoding="utf-8").splitlines()
        same = SequenceMatcher(None, before, now, autojunk=False).get_matching_blocks()
        count += len(now) - sum(block.size for block in same)
    return count
