"""portwright new: one tree behind two doors, whole for every answer, and nothing half written."""

from __future__ import annotations

import ast
import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import pytest
import yaml

from portwright.cli import scaffold
from portwright.cli.main import main
from portwright.conformance.ladder import Rung
from portwright.core.errors import ArgumentError
from portwright.templates import answers, render
from portwright.templates.project import RECORD

ROOT = Path(__file__).resolve().parent.parent
FAMILIES = list(answers.families())


def new(into: Path, *words: str) -> int:
    return main(["new", *words, "--into", str(into)])


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_families_of_the_questions_are_those_that_have_templates() -> None:
    assert sorted(FAMILIES) == render.families()
    assert answers.tree()["family"] == FAMILIES
    assert set(answers.tree()["__prompts__"]["family"]) == {"__prompt__", *FAMILIES}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_project_is_whole(family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new(tmp_path, "acme_x1", "--family", family, "--yes") == 0
    made = tmp_path / "portwright-acme-x1"
    project = tomllib.loads((made / "pyproject.toml").read_text())
    module, _, name = project["project"]["entry-points"]["portwright.devices"]["ACME_X1"].partition(":")
    assert (module, name) == ("portwright_acme_x1.port", "AcmeX1")
    assert project["project"]["entry-points"]["portwright.contract"] == {"ACME_X1": "v1"}
    port = ast.parse((made / "portwright_acme_x1" / "port.py").read_text())
    assert name in {n.name for n in port.body if isinstance(n, ast.ClassDef)}
    assert yaml.safe_load((made / ".github" / "workflows" / "conformance.yml").read_text())["jobs"]
    assert len((made / "tests" / "test_conformance.py").read_text().splitlines()) <= 5
    assert len(re.findall(r"^- \[ \] \*\*\w+\*\*", (made / "PORTING.md").read_text(), re.MULTILINE)) == len(
        Rung
    )
    left = [f for f, held in files(made).items() if re.search(rb"cookiecutter|\{%|@%|@\{", held)]
    assert not left, "template text is left"
    device = f"ACME_X1{answers.families()[family]['certify']}"
    assert f"portwright certify {device} --next" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [made]


@pytest.mark.parametrize("licence", answers.tree()["licence"])
def test_every_licence(licence: str, tmp_path: Path) -> None:
    assert new(tmp_path, "acme", "--set", f"licence={licence}", "--set", "vendor=Zürich & Co", "--yes") == 0
    made = tmp_path / "portwright-acme"
    text = (made / "LICENSE").read_text()
    stated = tomllib.loads((made / "pyproject.toml").read_text())["project"]["license"]
    assert stated == ("LicenseRef-Proprietary" if licence == "Proprietary" else licence)
    assert {"Apache-2.0": "TERMS AND CONDITIONS", "MIT": "MIT License", "BSD-3-Clause": "BSD 3-Clause"}.get(
        licence, "All rights reserved"
    ) in text
    assert licence == "Apache-2.0" or "Zürich & Co" in text


def plain(folder: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Plain ``cookiecutter`` on the tree, with a home of its own."""
    environment = {**os.environ, "HOME": str(home)}
    environment.pop("COOKIECUTTER_CONFIG", None)
    command = [sys.executable, "-P", "-m", "cookiecutter", str(ROOT / "cookiecutter"), "--no-input", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_two_doors_lead_to_one_project_and_leave_nothing_at_home(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, one, two = (tmp_path / n for n in ("home", "one", "two"))
    for folder in (home, one, two):
        folder.mkdir()
    done = plain(one, home, "name=acme", f"family={family}", "dtypes=float16")
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("HOME", str(home))
    assert new(two, "acme", "--family", family, "--set", "dtypes=float16", "--yes") == 0
    assert files(one) == files(two)
    assert RECORD in {Path(f).name for f in files(one)}
    assert not list(home.iterdir())


def test_another_templates_notes_at_home_stay(tmp_path: Path) -> None:
    notes = tmp_path / "home" / ".cookiecutter_replay"
    notes.mkdir(parents=True)
    (notes / "other.json").write_text("{}")
    assert plain(tmp_path, tmp_path / "home").returncode == 0
    assert [p.name for p in notes.iterdir()] == ["other.json"]


BAD = [
    (["2fast"], "name '2fast': write a Python name"),
    (["a/b"], "name 'a/b'"),
    (["../up"], "name '../up'"),
    (["acme-x1"], "of letters, digits and single underscores"),
    (["a" * 41], "at most 40 characters"),
    ([""], "name ''"),
    (["none"], "would hide another"),
    (["device"], "the class Device would hide"),
    (["cpu"], "CPU is offered by portwright already"),
    (["cuda"], "name 'cuda' is a family's"),
    (["acme", "--family", "vulkan"], "family 'vulkan': there are c, opencl"),
    (["acme", "--family", "open_cl"], "Did you mean opencl?"),
    (["acme", "--set", "licence=GPL"], "licence 'GPL': there are MIT"),
    (["acme", "--set", "dtypes=flaot16"], "Did you mean float16?"),
    (["acme", "--set", "dtypes= "], "dtypes is empty"),
    (["acme", "--family", "metal", "--set", "dtypes=float64"], "float64 does not exist in the family metal"),
    (["acme", "--set", "vendor= "], "vendor is empty"),
    (["acme", "--set", f"vendor={61 * 'x'}"], "vendor is too long: write at most 60"),
    (["acme", "--set", "vendor=A\"B"], "without double quotes"),
    (["acme", "--set", "vendor={{ 7 }}"], "or braces"),
    (["acme", "--set", "through=a\nb"], "write one line"),
    (["acme", "--set", "color=red"], "the keys are name, vendor"),
    (["acme", "--set", "vendor"], "write KEY=VALUE"),
    ([], "say what the port is called: portwright new acme"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), BAD, ids=lambda v: repr(v) if isinstance(v, list) else "")
def test_bad_answers_are_refused_and_nothing_is_written(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new(tmp_path, *words, "--yes") == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_every_fault_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new(tmp_path, "A B", "--set", "licence=x", "--set", "dtypes=y", "--yes") == 2
    told = capsys.readouterr().err
    assert all(word in told for word in ("name 'a b'", "licence 'x'", "'y'"))


def test_plain_cookiecutter_refuses_the_same(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    done = plain(tmp_path, tmp_path / "home", "name=2fast")
    assert done.returncode != 0
    assert "portwright: name '2fast': write a Python name" in done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"home"}


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder for temporary files, here and in processes that are started here."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_nothing_is_left_among_temporary_files(temporary: Path, tmp_path: Path) -> None:
    assert new(tmp_path, "acme", "--yes") == 0
    assert main(["upgrade", "--check", str(tmp_path / "portwright-acme")]) == 0
    (tmp_path / "home").mkdir()
    assert plain(tmp_path, tmp_path / "home", "name=other").returncode == 0
    assert not list(temporary.iterdir())


def test_nothing_is_left_of_a_project_that_was_not_made(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = shutil.copytree(scaffold.TREE, tmp_path / "tree")  # without the templates beside it
    (tmp_path / "portwright-acme").mkdir()
    for given, cause, within in (
        ({"name": "acme"}, "exists", scaffold.TREE),
        ({"name": "2fast"}, "no project was made", scaffold.TREE),
        ({"name": "other"}, "no project was made", tree),
    ):
        monkeypatch.setattr(scaffold, "TREE", within)
        with pytest.raises(ArgumentError, match=cause):
            scaffold.generate(given, tmp_path)
    assert not list(temporary.iterdir())
    assert {p.name for p in tmp_path.iterdir()} == {"portwright-acme", "temporary", "tree"}


def test_a_folder_that_exists_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "portwright-acme").mkdir()
    (tmp_path / "portwright-acme" / "mine").write_text("kept")
    assert new(tmp_path, "acme", "--yes") == 2
    assert "portwright-acme exists: choose another name" in capsys.readouterr().err
    assert files(tmp_path) == {"portwright-acme/mine": b"kept"}


def test_a_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid() == 0:
        target = Path("/proc")  # where root writes nothing either
    else:
        target = tmp_path / "shut"
        target.mkdir(mode=0o500)
    assert new(target, "acme", "--yes") == 2
    assert "cannot write into" in capsys.readouterr().err


def test_the_record_holds_the_answers_and_every_file_as_it_was_made(tmp_path: Path) -> None:
    assert new(tmp_path, "acme", "--set", "vendor=Ümläut", "--yes") == 0
    made = tmp_path / "portwright-acme"
    record = json.loads((made / RECORD).read_text())
    assert record["answers"]["vendor"] == "Ümläut"
    held = {name: text.decode() for name, text in files(made).items() if name != RECORD}
    assert record["base"] == held


def type_into(command: list[str], keys: list[str], cwd: Path) -> str:
    """What a program shows on a terminal while these lines are typed, each after its prompt."""
    pid, terminal = pty.fork()
    if not pid:  # the child: its standard streams are the terminal
        os.chdir(cwd)
        os.execvp(command[0], command)
    shown, waiting, end = b"", list(keys), time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the terminal is gone with the program
            break
        shown += piece
        if waiting and shown.rstrip().endswith((b":", b"]")) and shown.endswith(b" "):
            os.write(terminal, waiting.pop(0).encode() + b"\r")
    os.waitpid(pid, 0)
    return shown.decode()


def test_a_terminal_is_asked_and_asked_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "portwright.cli.main", "new"]
    keys = ["9lives", "acme", "Acme Corp", "dispatch", "", "float99", "float16", "Apache-2.0"]
    shown = type_into(command, keys, tmp_path)
    assert "name '9lives': write a Python name" in shown
    assert "no dtype is called 'float99'" in shown
    record = json.loads((tmp_path / "portwright-acme" / RECORD).read_text())
    wanted = {"name": "acme", "vendor": "Acme Corp", "family": "dispatch", "dtypes": "float16"}
    assert wanted.items() <= record["answers"].items()
    assert record["answers"]["licence"] == "Apache-2.0"


def test_every_family_gives_only_what_is_answered() -> None:
    context = {"family": "c", "dtypes": "float16, int64"}
    assert answers.dtypes_of(context) == ["bool", "int32", "int64", "float16", "float32"]
    assert "float64" not in answers.dtypes_of({"family": "metal", "dtypes": "all"})
    assert "uint64" in answers.dtypes_of({"family": "c", "dtypes": "float64"}), "its bits"
