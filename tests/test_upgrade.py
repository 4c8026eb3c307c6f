"""portwright upgrade: the project follows the templates, and nothing that its author wrote is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from portwright import __version__
from portwright.cli.main import main
from portwright.templates.project import RECORD


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of a project as it is made today."""
    folder = tmp_path_factory.mktemp("fresh")
    assert main(["new", "acme", "--yes", "--into", str(folder)]) == 0
    made = folder / "portwright-acme"
    return {p.relative_to(made).as_posix(): p.read_text() for p in made.rglob("*") if p.is_file()}


Edit = Callable[[dict[str, str]], None]


@pytest.fixture
def project(fresh: dict[str, str], tmp_path: Path) -> Callable[[Edit], Path]:
    """A project that was made by templates of another day: ``edit`` changes what they gave."""

    def make(edit: Edit) -> Path:
        old = {name: text for name, text in fresh.items() if name != RECORD}
        edit(old)
        folder = tmp_path / "portwright-acme"
        for name, text in old.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        record = {**json.loads(fresh[RECORD]), "base": old, "portwright": "0.0.9"}
        (folder / RECORD).write_text(json.dumps(record))
        return folder

    return make


def as_today(old: dict[str, str]) -> None:
    """The templates have not moved."""


def drop_a_line(old: dict[str, str]) -> None:
    """The templates gained the first line of README.md since."""
    old["README.md"] = old["README.md"].partition("\n")[2]


def test_nothing_to_do(project: Callable[[Edit], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = project(as_today)
    (folder / "portwright_acme" / "port.py").write_text("mine")
    before = (folder / RECORD).read_text()
    assert main(["upgrade", "--check", str(folder)]) == 0
    assert main(["upgrade", str(folder)]) == 0
    assert f"up to date with Portwright {__version__}" in capsys.readouterr().out
    assert (folder / "portwright_acme" / "port.py").read_text() == "mine"
    assert (folder / RECORD).read_text() == before


def test_what_was_left_as_made_is_brought_along(
    project: Callable[[Edit], Path], fresh: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project(drop_a_line)
    assert main(["upgrade", "--check", str(folder)]) == 1
    assert "was made by 0.0.9; 1 file to upgrade" in capsys.readouterr().out
    assert (folder / "README.md").read_text() != fresh["README.md"], "--check wrote"
    assert main(["upgrade", str(folder / "tests")]) == 0, "from a folder inside"
    assert (folder / "README.md").read_text() == fresh["README.md"]
    assert json.loads((folder / RECORD).read_text())["portwright"] == __version__
    assert main(["upgrade", "--check", str(folder)]) == 0


def test_both_sides_are_kept_where_they_do_not_meet(
    project: Callable[[Edit], Path], fresh: dict[str, str]
) -> None:
    folder = project(drop_a_line)
    with (folder / "README.md").open("a") as file:
        file.write("my own words\n")
    assert main(["upgrade", str(folder)]) == 0
    assert (folder / "README.md").read_text() == fresh["README.md"] + "my own words\n"


def test_where_they_meet_both_stand_and_the_author_chooses(
    project: Callable[[Edit], Path], fresh: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    def other_title(old: dict[str, str]) -> None:
        old["README.md"] = "# another title\n" + old["README.md"].partition("\n")[2]

    folder = project(other_title)
    mine = "# my title\n" + (folder / "README.md").read_text().partition("\n")[2]
    (folder / "README.md").write_text(mine)
    assert main(["upgrade", str(folder)]) == 1
    said = capsys.readouterr().out
    assert "you choose" in said
    assert "README.md" in said
    text = (folder / "README.md").read_text()
    for line in ("<<<<<<< yours", "# my title", "# another title", fresh["README.md"].partition("\n")[0]):
        assert line in text.splitlines()
    assert main(["upgrade", str(folder)]) == 2
    assert "conflicts to resolve first" in capsys.readouterr().err
    (folder / "README.md").write_text(mine)
    assert main(["upgrade", str(folder)]) == 0
    assert (folder / "README.md").read_text() == mine, "what was chosen stays chosen"


def test_files_that_come_and_go(
    project: Callable[[Edit], Path], fresh: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    def moved(old: dict[str, str]) -> None:
        del old["LICENSE"]
        old["gone.txt"] = "was there"
        old["changed.txt"] = "was there"
        old[".gitignore"] = "once\n"

    folder = project(moved)
    (folder / "changed.txt").write_text("mine")
    (folder / ".gitignore").unlink()
    assert main(["upgrade", str(folder)]) == 0
    said = {line.split()[-1] if "txt" not in line else line.split()[1]: line for line in
            capsys.readouterr().out.splitlines()}  # fmt: skip
    assert (folder / "LICENSE").read_text() == fresh["LICENSE"]
    assert not (folder / "gone.txt").exists()
    assert (folder / "changed.txt").read_text() == "mine"
    assert not (folder / ".gitignore").exists(), "what its author removed does not come back"
    assert "kept" in said["changed.txt"]
    assert "removed" in said["gone.txt"]
    assert main(["upgrade", "--check", str(folder)]) == 0


def test_the_year_of_the_licence_stays(project: Callable[[Edit], Path]) -> None:
    folder = project(as_today)
    record = json.loads((folder / RECORD).read_text())
    year = record["answers"]["__year"]
    record["answers"]["__year"] = "1999"
    record["base"]["LICENSE"] = record["base"]["LICENSE"].replace(year, "1999")
    (folder / RECORD).write_text(json.dumps(record))
    (folder / "LICENSE").write_text(record["base"]["LICENSE"])
    assert main(["upgrade", "--check", str(folder)]) == 0


def test_line_ends_of_windows_survive(project: Callable[[Edit], Path]) -> None:
    folder = project(drop_a_line)
    mine = (folder / "PORTING.md").read_bytes().replace(b"\n", b"\r\n")
    (folder / "PORTING.md").write_bytes(mine)
    assert main(["upgrade", str(folder)]) == 0
    assert (folder / "PORTING.md").read_bytes() == mine


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"format": "portwright-project-1"}', "cannot be read"),
        ('{"format": "other", "answers": {}, "base": {}, "portwright": "1"}', "is not whole"),
        ('{"format": "portwright-project-1", "answers": {}, "base": {}, "portwright": "1"}', "is not whole"),
    ],
)
def test_a_broken_record(
    project: Callable[[Edit], Path], text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project(drop_a_line)
    readme = (folder / "README.md").read_text()
    (folder / RECORD).write_text(text)
    assert main(["upgrade", str(folder)]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "Take it back from git" in told
    assert (folder / "README.md").read_text() == readme


def test_outside_of_a_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upgrade", str(tmp_path)]) == 2
    assert "is in no project that portwright new made" in capsys.readouterr().err


def test_without_git(
    project: Callable[[Edit], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project(drop_a_line)
    (folder / "README.md").write_text("mine\n")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert main(["upgrade", str(folder)]) == 2
    assert "git is not on the PATH" in capsys.readouterr().err
    assert (folder / "README.md").read_text() == "mine\n"
