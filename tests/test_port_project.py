"""certify and the project that a port lives in: the checklist is ticked, and its expected failures count."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from portwright.conformance.project import ticked_text

PORT = '''
from dataclasses import replace

from portwright.devices.numpy import NumPy


class Acme(NumPy):
    """NUMPY by another name; what is copied out lacks its last byte when LOSES is set."""

    LOSES = False

    def __init__(self):
        super().__init__()
        self.spec = replace(self.spec, name="ACME")

    def copy_out(self, data, handle):
        super().copy_out(data, handle)
        if self.LOSES and data.nbytes > 100:
            data[-1] = data[-1] ^ 255
'''

LIST = """# Porting ACME

- [ ] **open** it opens
- [x] **memory** as before
- [ ] **copy** bytes
- [ ] **mine** no rung
"""


@dataclass(frozen=True)
class Installed:
    """A project on the import path, found by entry point."""

    folder: Path

    def certify(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "portwright.cli.main", "certify", "ACME", *words]
        path = os.pathsep.join(p for p in (str(self.folder), os.environ.get("PYTHONPATH", "")) if p)
        environment = {**os.environ, "PYTHONPATH": path}
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)

    @property
    def checklist(self) -> str:
        return (self.folder / "PORTING.md").read_text()


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    (tmp_path / "acme_port.py").write_text(PORT)
    (tmp_path / "tests").mkdir()
    (tmp_path / ".portwright.json").write_text("{}")
    (tmp_path / "PORTING.md").write_text(LIST)
    info = tmp_path / "portwright_acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: portwright-acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[portwright.devices]\nACME = acme_port:Acme\n")
    return Installed(tmp_path)


def lose(installed: Installed) -> None:
    (installed.folder / "acme_port.py").write_text(PORT.replace("LOSES = False", "LOSES = True"))


def test_what_passes_is_ticked_and_what_fails_is_not(installed: Installed) -> None:
    done = installed.certify("--rung", "open", "--rung", "copy")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PORTING.md: 3 of 3 ticked" in done.stdout
    assert "- [x] **open** it opens\n- [x] **memory** as before\n- [x] **copy** bytes" in installed.checklist
    assert "- [ ] **mine**" in installed.checklist
    lose(installed)
    done = installed.certify("--rung", "copy")
    assert done.returncode == 1
    assert "PORTING.md: 2 of 3 ticked" in done.stdout
    assert "- [ ] **copy**" in installed.checklist


def test_a_part_of_a_rung_ticks_nothing(installed: Installed) -> None:
    assert installed.certify("--rung", "open", "-k", "opens").returncode == 0
    assert installed.checklist == LIST


def test_the_projects_expected_failures_count(installed: Installed) -> None:
    lose(installed)
    plain = json.loads(installed.certify("--rung", "copy", "--json").stdout)
    failing = [case for case, told in plain["cases"].items() if told["outcome"] == "failed"]
    assert failing
    entries = [
        f'[[failure]]\ncases = "{c}"\nreason = "mended in 1.1"\nexpires = 2999-01-01\n' for c in failing
    ]
    (installed.folder / "tests" / "expected_failures.toml").write_text("".join(entries))
    done = installed.certify("--rung", "copy", "--badge", "badge.svg", "-o", "c.json")
    assert done.returncode == 0, done.stdout
    assert f"certified but for {len(failing)} expected" in done.stdout
    assert json.loads((installed.folder / "c.json").read_text())["verdict"] == "conditional"
    assert "measured, a part" in (installed.folder / "badge.svg").read_text()
    assert "- [x] **copy**" in installed.checklist
    other = installed.folder / "none.toml"
    other.write_text("")
    assert installed.certify("--rung", "copy", "--expect", str(other)).returncode == 1


def test_ticking_changes_boxes_only() -> None:
    text = "a\n- [ ] **open** x\n  - [ ] **open** not at the margin\n- [x] **copy** y\r\n"
    after = ticked_text(text, {"open": True, "copy": False}.items())
    assert after == text.replace("- [ ] **open** x", "- [x] **open** x").replace(
        "[x] **copy**", "[ ] **copy**"
    )
