"""``portwright certify``: the certificate, the exit status, and a worker that crashes or hangs."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as Xml

import jsonschema
import pytest
from acme import installed

from portwright.cli.main import main
from portwright.conformance import certificate, runner
from portwright.conformance.case import place
from portwright.conformance.ladder import Rung
from portwright.conformance.outcome import CaseResult, Outcome
from portwright.conformance.script import script
from portwright.conformance.selection import Selection
from portwright.core import engine, graph
from portwright.core.dtype import float32
from portwright.core.errors import CertificateError, DeviceError
from portwright.core.ops import Op
from portwright.core.registry import open_device

QUICK = ["--jobs", "0", "--rung", "open", "--rung", "copy"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of two rungs of NUMPY."""
    path = tmp_path_factory.mktemp("certify") / "numpy.json"
    assert main(["certify", "numpy", *QUICK, "-o", str(path)]) == 0
    return path


def certify(
    arguments: Sequence[str], folder: Path, path: Sequence[Path] = ()
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, in another folder."""
    python_path = os.pathsep.join([str(p) for p in path])
    return subprocess.run(
        [sys.executable, "-m", "portwright.cli.main", "certify", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": python_path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_certificate_follows_its_schema(written: Path) -> None:
    schema = json.loads(certificate.SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(written.read_text(encoding="utf-8")), schema)


def test_a_certificate_says_what_was_seen(written: Path) -> None:
    document = certificate.load(written)
    assert document["verdict"] == "passed"
    assert document["evidence"] == "measured"
    assert document["port"]["name"] == "NUMPY"
    assert document["port"]["class"] == "portwright.devices.numpy:NumPy"
    assert document["port"]["distribution"] == "portwright"
    source = Path(sys.modules["portwright.devices.numpy"].__file__ or "")
    assert document["port"]["file_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert document["driver"]["numpy"] == document["machine"]["numpy"]
    assert document["primitives"] == {"total": 25, "native": 25, "legalized": 0, "host": 0}
    assert document["suite"]["complete"] is False
    assert set(document["spec"]["dtypes"]) >= {"bool", "float32", "bfloat16"}
    assert len(document["cases"]) == document["suite"]["cases"] == sum(r["cases"] for r in document["rungs"])
    assert document["cases"]["open::test_opens"] == {"outcome": "passed"}


def test_a_certificate_is_canonical(written: Path) -> None:
    text = written.read_bytes()
    document = json.loads(text)
    assert text == certificate.canonical(document) + b"\n"
    body = {k: v for k, v in document.items() if k != "sha256"}
    again = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert document["sha256"] == hashlib.sha256(again).hexdigest()


def test_a_changed_certificate_is_refused(written: Path, tmp_path: Path) -> None:
    path = tmp_path / "changed.json"
    path.write_text(written.read_text(encoding="utf-8").replace('"verdict":"passed"', '"verdict":"failed"'))
    with pytest.raises(CertificateError, match="was changed"):
        certificate.load(path)
    path.write_text(written.read_text(encoding="utf-8")[:-100])
    with pytest.raises(CertificateError, match=r"changed\.json"):
        certificate.load(path)
    path.write_text("[]")
    with pytest.raises(CertificateError, match="not a certificate"):
        certificate.load(path)
    with pytest.raises(CertificateError, match="absent"):
        certificate.load(tmp_path / "absent.json")


def test_the_case_list_does_not_depend_on_the_seed() -> None:
    climbs = [runner.run("NUMPY", Selection((Rung.OPEN, Rung.COPY), seed=s), jobs=0) for s in (0, 7)]
    assert certificate.cases_hash(climbs[0].cases) == certificate.cases_hash(climbs[1].cases)
    fewer = runner.run("NUMPY", Selection((Rung.OPEN,)), jobs=0)
    assert certificate.cases_hash(fewer.cases) != certificate.cases_hash(climbs[0].cases)


def test_json_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certify", "NUMPY", "--jobs", "0", "--rung", "open", "--json"]) == 0
    document = certificate.check(json.loads(capsys.readouterr().out))
    (rung,) = document["rungs"]
    assert rung["passed"] + rung["unclaimed"] == document["suite"]["cases"]  # it has no kernels to show


def test_the_table_names_every_rung_that_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certify", "NUMPY", *QUICK]) == 0
    said = capsys.readouterr().out
    rows = [line.split() for line in said.splitlines()]
    assert rows[0] == ["rung", "cases", "passed", "failed", "unclaimed", "worst", "ulp"]
    assert [r[0] for r in rows[1:3]] == ["open", "copy"]
    assert all(r[-1] == "passed" for r in rows[1:3])
    assert "certified (a part of the ladder)" in said


def test_junit(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    assert main(["certify", "NUMPY", "--jobs", "0", "--rung", "open", "--junit", str(path)]) == 0
    (suite,) = Xml.parse(path).getroot()
    assert (suite.get("name"), suite.get("failures")) == ("open", "0")
    assert int(suite.get("tests") or 0) == len(suite) > 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["NOSUCH"], "no device 'NOSUCH'"),
        (["NUMPY", "-k", "no_case_is_called_this"], "no case matches"),
        (["NUMPY", "-k", "and and"], "expression"),
        (["NUMPY", "--rung", "attic"], "attic"),
        (["NUMPY", "-o", "nowhere/at/all.json"], "no folder"),
    ],
    ids=["device", "keyword", "expression", "rung", "output"],
)
def test_exit_2_when_it_cannot_run(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["certify", *arguments, "--jobs", "0"]) == 2
    assert said in capsys.readouterr().err


def test_a_worker_runs_the_cases_and_the_folder_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("raise SystemExit('a stranger is loaded')")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (tmp_path / "test_open.py").write_text("def test_never(): assert False")
    ran = certify(["NUMPY", "--rung", "open", "-o", "c.json"], tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert certificate.load(tmp_path / "c.json")["verdict"] == "passed"
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "__pycache__") == [
        "c.json", "conftest.py", "pytest.ini", "test_open.py",
    ]  # fmt: skip


PORT = """
import os
import time

from portwright.core.ops import Op
from portwright.devices.numpy import NumPy
from dataclasses import replace


class Acme(NumPy):
    def __init__(self):
        super().__init__()
        self.spec = replace(self.spec, name="ACME")

    def compute(self, roots, inputs, outputs):
        if roots[0].op is Op.SQRT:
            os.abort()
        if roots[0].op is Op.SIN:
            time.sleep(600)
        super().compute(roots, inputs, outputs)
"""


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    """A folder that offers the device ACME, as an installed distribution does."""
    return installed(tmp_path, PORT)


def test_a_crash_and_a_hang_are_each_one_case(
    acme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.delenv("PYTEST_DEBUG_TEMPROOT")
    arguments = [
        "ACME",
        "--rung",
        "primitives",
        "-k",
        "test_unary and float16 and not bfloat16",
        "--limit",
        "4",
    ]
    ran = certify([*arguments, "-o", "acme.json"], tmp_path, [acme])
    assert ran.returncode == 1, ran.stdout + ran.stderr
    document = certificate.load(tmp_path / "acme.json")
    outcomes = {name: c["outcome"] for name, c in document["cases"].items()}
    assert outcomes.pop("primitives::test_unary[SQRT-float16]") == "crashed"
    assert outcomes.pop("primitives::test_unary[SIN-float16]") == "hung"
    assert len(outcomes) >= 4
    assert set(outcomes.values()) == {"passed"}
    command = "portwright certify ACME --rung primitives -k 'test_unary[SQRT-float16]' --seed 0"
    assert command in document["cases"]["primitives::test_unary[SQRT-float16]"]["reason"]
    assert document["port"]["distribution"] == "acme"
    assert document["port"]["version"] == "1.0"
    assert not list(temporary.iterdir())


def test_a_device_that_does_not_open_is_one_line(acme: Path, tmp_path: Path) -> None:
    (acme / "acme.py").write_text("raise ImportError('libacme.so: not found')")
    ran = certify(["ACME"], tmp_path, [acme])
    assert ran.returncode == 2
    assert "libacme.so: not found" in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1


def test_next_stops_and_lists_what_was_not_reached() -> None:
    outcome = Outcome("ACME", Selection((Rung.OPEN, Rung.MEMORY, Rung.COPY)))
    outcome.cases = ["open::test_a", "memory::test_b", "memory::test_c"]
    outcome.results = [
        CaseResult("open::test_a", "passed", 0.1),
        CaseResult("memory::test_b", "failed", 0.1, "why"),
    ]
    rows = outcome.summary()
    assert [(r.cases, r.passed, r.failed, r.not_reached) for r in rows] == [
        (1, 1, 0, 0),
        (2, 0, 1, 1),
        (0, 0, 0, 0),
    ]
    assert not outcome.passed
    assert not outcome.complete


def test_nothing_run_is_not_passed() -> None:
    result = CaseResult("open::test_a", "unclaimed", 0.1)
    outcome = Outcome("ACME", Selection((Rung.OPEN,)), [result.id], [result])
    assert not outcome.passed


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(DeviceError, match="NOSUCH"):
        runner.run("NOSUCH", Selection())


def test_a_script_stands_alone(tmp_path: Path) -> None:
    import numpy as np

    x = place(np.arange(12, dtype=np.float32).reshape(3, 4) / 8, "NUMPY")
    padded = graph.pad(graph.flip(x, (1,)), ((1, 0), (0, 2)))
    doubled = graph.elementwise(Op.MUL, padded, graph.full(2.0, padded.shape, float32))
    root = graph.reduce(Op.ADD, graph.permute(graph.window(doubled, 1, 3, 2), (2, 0, 1)), (0, 2))
    path = tmp_path / "again.py"
    path.write_text(script([root], "NUMPY", engine.read))
    ran = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    engine.realize([root], "NUMPY")
    value = str(engine.read(root))
    assert ran.stdout.startswith(f"got\n{value}\nwanted\n{value}\nright: ")


def test_placed_operands_are_not_folded() -> None:
    import numpy as np

    node = place(np.ones(3, np.float32), "NUMPY")
    assert node.op is graph.GraphOp.BUFFER
    assert node.storage is not None
    assert node.storage.device is open_device("NUMPY")
