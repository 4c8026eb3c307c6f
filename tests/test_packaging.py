"""The wheel and the sdist: they hold every file, and an installed wheel certifies its ports by itself."""

from __future__ import annotations

import shutil
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from elsewhere import run

pytestmark = [
    pytest.mark.xdist_group("packaging"),  # one worker builds once for all of these
    pytest.mark.timeout(1800),  # a download and two certifications, on whatever machine this is
]

ROOT = Path(__file__).resolve().parent.parent
PACKAGE_FOLDERS = ("core", "devices", "nn", "conformance", "cli", "templates", "cookiecutter")
LEFT = frozenset(
    {"__pycache__", "results", ".hypothesis", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".gitignore"}
)
"""What tools and measurements leave, and what only a checkout needs (a project's own is asked for below)."""
BESIDE = ("tests", "examples", "bench", "docs")


def source_files(*folders: str) -> set[str]:
    """What a checkout holds in these folders, less what tools and measurements leave there."""
    files = (p.relative_to(ROOT) for folder in folders for p in (ROOT / folder).rglob("*") if p.is_file())
    return {p.as_posix() for p in files if not LEFT & set(p.parts)}


def test_the_wheel_holds_every_module_and_data_file(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = source_files(*PACKAGE_FOLDERS) | {"__init__.py", "__main__.py", "port.py", "py.typed"}
    wanted.add("cookiecutter/{{cookiecutter.__project}}/.gitignore")
    assert any("{{cookiecutter.__package}}" in name for name in wanted)
    assert any("/.github/" in name for name in wanted)
    assert {f"portwright/{name}" for name in wanted} == {n for n in held if n.startswith("portwright/")}


def test_the_sdist_holds_everything(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {m.name.partition("/")[2] for m in archive.getmembers() if m.isfile()}
    top = {"__init__.py", "__main__.py", "port.py", "py.typed", "pyproject.toml", ".ci/run"}
    top |= {"README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile"}
    wanted = source_files(*PACKAGE_FOLDERS, *BESIDE) | top
    assert not sorted(wanted - held)


def test_the_installed_package_is_not_the_checkout(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import portwright; print(portwright.__file__)", cwd=tmp_path)
    assert Path(where.stdout.strip()).is_relative_to(installed.parent)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    for command in ((installed / "portwright",), (installed / "python", "-m", "portwright")):
        assert version in run(*command, "--version", cwd=tmp_path).stdout


@pytest.mark.parametrize("device", ["NUMPY", "CPU"])
def test_the_installed_package_certifies(installed: Path, tmp_path: Path, device: str) -> None:
    if device == "CPU" and not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("the CPU port needs a C compiler, and none is on the PATH")
    report = tmp_path / "certificate.json"
    run(installed / "portwright", "certify", device, "-o", report, cwd=tmp_path)
    assert report.stat().st_size
