"""Every family, as a vendor would go about it: scaffold, install, find by entry point, certify.

Each in a virtual environment of its own over one that holds Portwright's wheel, a driver for OpenCL on
processors, and the linters that the generated project asks for. The port of the family ``c`` is certified
once its stubs are written: with the text of the tutorial, on the tutorial's chip.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import elsewhere
import pytest

from portwright.templates.answers import families

pytestmark = [
    pytest.mark.xdist_group("packaging"),  # the worker that has the wheel already
    pytest.mark.timeout(1800),  # a download, and the compilers of seven ports
]

WHOLE = ("open", "memory", "copy")
"""Rungs that are certified whole; of the others, a case or more of each kind."""
SOME = " or ".join(
    (
        "test_unary[EXP2-float32]", "test_unary[SQRT-float32]", "test_binary[ADD-float32]",
        "test_binary[IDIV-int32]", "test_binary[MAX-float32]", "test_where[float32]",
        "test_cast[float32-int32]", "test_cast[float32-float16]", "test_composed[diagonal]", "test_scatter",
        "test_matmul[float32]", "test_sum[float32]", "test_named[softmax", "test_mlp",
    )
)  # fmt: skip
ANSWERS = {"opencl": "through=Portable Computing Language"}


@dataclass(frozen=True)
class Vendor:
    """A vendor's machine.

    Attributes:
        bin: of its virtual environment.
        project: the port's.
        device: what is certified.
    """

    bin: Path
    project: Path
    device: str

    def certify(self, *words: str) -> dict[str, object]:
        """The certificate of a climb that must pass."""
        command = [self.bin / "portwright", "certify", self.device, "--json", *words]
        document: dict[str, object] = json.loads(elsewhere.run(*command, cwd=self.project).stdout)
        return document


@pytest.fixture(scope="module")
def sdk(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of an environment with the wheel, PoCL, and the tools that a project asks for."""
    (wheel,) = built.glob("*.whl")
    return elsewhere.install(
        Path(f"{wheel}[pocl]"), tmp_path_factory.mktemp("sdk"), "ruff", "mypy", "setuptools>=77"
    )


@pytest.fixture(params=list(families()))
def vendor(request: pytest.FixtureRequest, sdk: Path, tmp_path: Path) -> Vendor:
    """A machine on which a port of this family was made and installed."""
    family = request.param
    (below,) = sdk.parent.glob("lib/python*/site-packages")
    place = elsewhere.over(below, tmp_path / "venv")
    words = ["--set", ANSWERS[family]] if family in ANSWERS else []
    elsewhere.run(place / "portwright", "new", "pelican", "--family", family, *words, "--yes", cwd=tmp_path)
    project = tmp_path / "portwright-pelican"
    install = [place / "pip", "install", "-q", "--no-deps", "--no-build-isolation", "-e", "."]
    elsewhere.run(*install, cwd=project)
    return Vendor(place, project, f"PELICAN{families()[family]['certify']}")


def test_the_project_passes_its_own_linters_and_types(vendor: Vendor) -> None:
    for words in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]):
        elsewhere.run(vendor.bin / "python", "-m", *words, cwd=vendor.project)


def test_it_is_found_and_certified(vendor: Vendor) -> None:
    listed = json.loads(
        elsewhere.run(vendor.bin / "portwright", "devices", "--json", cwd=vendor.project).stdout
    )
    (found,) = [d for d in listed["devices"] if d["name"] == "PELICAN"]
    assert (found["distribution"], found["version"]) == ("portwright-pelican", "0.1.0")
    record = json.loads((vendor.project / ".portwright.json").read_text())
    if record["answers"]["family"] == "c":
        stopped = elsewhere.attempt(
            vendor.bin / "portwright", "certify", "PELICAN", "--next", cwd=vendor.project
        )
        assert stopped.returncode == 1
        assert "alloc is not written yet" in stopped.stdout
        return  # what comes next is the tutorial's
    whole = vendor.certify(*(word for rung in WHOLE for word in ("--rung", rung)))
    assert whole["verdict"] == "passed"
    some = vendor.certify("-k", SOME)
    assert some["verdict"] == "passed"
    assert some["evidence"] == "emulated" or record["answers"]["family"] == "opencl"
    ticked = (vendor.project / "PORTING.md").read_text()
    assert all(f"- [x] **{rung}**" in ticked for rung in WHOLE)
    assert "- [ ] **primitives**" in ticked
    under_pytest = [vendor.bin / "python", "-m", "pytest", "-q", "-k", "open"]
    assert "1 passed" in elsewhere.run(*under_pytest, cwd=vendor.project).stdout
