"""``core/installed.py`` beside ``importlib.metadata``: the same distributions, saying the same."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from portwright.core import installed
from portwright.core.offers import offers

ABOUT = "Metadata-Version: 2.1\nName: {}\nVersion: 1.2\n\nName: not this one\n"
POINTS = "# a comment\n[portwright.devices]\n{} = pw_there : Port [extra]\n\n[other]\na=b=c\n"


def ours() -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (
            *installed.name_and_version(d),
            points(installed.entry_points(d.read_text("entry_points.txt") or "")),
        )
        for d in installed.distributions()
    ]


def theirs() -> list[tuple[str, str, tuple[str, ...]]]:
    return [(*said(d), points(d.entry_points)) for d in importlib.metadata.distributions()]


def said(d: importlib.metadata.Distribution) -> tuple[str, str]:
    """Name and version; the backport of importlib.metadata raises where the library gives nothing."""
    try:
        return d.metadata["Name"] or "unknown", d.version or "?"
    except FileNotFoundError:
        return "unknown", "?"


def points(stated: Iterable[installed.EntryPoint | importlib.metadata.EntryPoint]) -> tuple[str, ...]:
    return tuple(sorted(f"{p.group} {p.name} {p.value}" for p in stated))


def written(folder: Path, name: str) -> None:
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(ABOUT.format(name))
    (folder / "entry_points.txt").write_text(POINTS.format(name.upper()))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is looked into first."""
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path / "site"


def test_what_is_installed_here() -> None:
    assert sorted(ours()) == sorted(theirs())


def test_what_is_installed_in_every_way(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(site / "one-1.2.dist-info", "one")
    written(site / "Two-1.2.DIST-INFO", "two")
    (site / "three.egg-info").mkdir()
    (site / "three.egg-info" / "PKG-INFO").write_text(ABOUT.format("three"))
    (site / "four-1.egg-info").write_text(ABOUT.format("four"))
    (site / "five-1.dist-info").mkdir()  # says nothing
    written(site / "six-1.egg" / "EGG-INFO", "six")
    monkeypatch.syspath_prepend(str(site / "six-1.egg"))
    with zipfile.ZipFile(site / "seven.zip", "w") as archive:
        archive.writestr("seven-1.2.dist-info/METADATA", ABOUT.format("seven"))
        archive.writestr("seven-1.2.dist-info/entry_points.txt", POINTS.format("SEVEN"))
    monkeypatch.syspath_prepend(str(site / "seven.zip"))
    monkeypatch.syspath_prepend(str(site / "absent"))
    found = ours()
    assert {"one", "two", "three", "four", "unknown", "six", "seven"} <= {name for name, _, _ in found}
    assert sorted(set(found)) == sorted(set(theirs()))
    assert {"ONE", "TWO", "SIX", "SEVEN"} <= {o.name for o in offers()}
    assert {o.value for o in offers() if o.name == "ONE"} == {"pw_there : Port"}


def test_the_current_folder(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(site / "here-1.2.dist-info", "here")
    monkeypatch.setattr(sys, "path", [""])
    monkeypatch.chdir(site)
    assert [name for name, _, _ in ours()] == ["here"]


def test_one_installed_a_moment_ago_is_seen(site: Path) -> None:
    assert "LATE" not in {o.name for o in offers()}
    written(site / "late-1.2.dist-info", "late")
    assert "LATE" in {o.name for o in offers()}
    (site / "late-1.2.dist-info" / "entry_points.txt").write_text(POINTS.format("LATER"))
    assert {"LATER"} == {o.name for o in offers() if o.distribution == "late"}


def test_what_only_a_finder_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "found-1.2.dist-info", "found")

    class Finder(importlib.metadata.DistributionFinder):
        def find_spec(self, *arguments: object) -> None: ...

        def find_distributions(
            self, context: importlib.metadata.DistributionFinder.Context | None = None
        ) -> Iterator[importlib.metadata.Distribution]:
            yield importlib.metadata.Distribution.at(tmp_path / "found-1.2.dist-info")

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert "FOUND" in {o.name for o in offers()}


def test_a_first_result_needs_no_importlib_metadata() -> None:
    script = "import sys, portwright as p\n(p.Tensor([1.0]) + 1).realize()\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not {"importlib.metadata", "email", "zipfile"} & loaded
