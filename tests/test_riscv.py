"""The worked example: RISC-V by a cross compiler and qemu-user, from its own folder, under the suite."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from portwright import Tensor
from portwright.cli.main import main
from portwright.conformance import certificate, runner
from portwright.conformance.ladder import Rung
from portwright.conformance.outcome import PASSED, UNCLAIMED, Outcome
from portwright.conformance.selection import Selection
from portwright.core.device import Device, Evidence
from portwright.core.registry import adopt

EXAMPLE = Path(__file__).parent.parent / "examples" / "ports" / "riscv"
NEEDED = ("riscv64-linux-gnu-gcc", "qemu-riscv64")
MISSING = [name for name in NEEDED if shutil.which(name) is None]

needs_riscv = pytest.mark.skipif(
    bool(MISSING),
    reason=f"no {' and no '.join(MISSING)}: apt-get install gcc-riscv64-linux-gnu libc6-dev-riscv64-cross "
    "qemu-user",
)


def test_the_example_is_what_new_gives_but_for_its_compiler(capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads((EXAMPLE / ".portwright.json").read_text(encoding="utf-8"))
    for name, made in record["base"].items():
        if name not in ("README.md", "PORTING.md", "badge.svg"):
            now = (EXAMPLE / name).read_text(encoding="utf-8").splitlines()
            by_hand = [line for line in now if line not in made.splitlines()]
            assert by_hand == (['COMPILER = "riscv64-linux-gnu-gcc"'] if name.endswith("/port.py") else []), (
                name
            )
    status = main(["upgrade", "--check", str(EXAMPLE)])
    assert status == 0, f"run: portwright upgrade {EXAMPLE}\n{capsys.readouterr().out}"


@pytest.fixture(scope="module")
def riscv() -> Iterator[Device]:
    """As its entry point names it, without being installed."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["entry-points"]["portwright.devices"]["RISCV"].partition(":")
    sys.path.insert(0, str(EXAMPLE))
    try:
        port = getattr(importlib.import_module(module), name)
    finally:
        sys.path.remove(str(EXAMPLE))
    device = adopt(port())
    yield device
    device.close()


def all_passed(outcome: Outcome) -> bool:
    wrong = [f"{r.id}: {r.message}" for r in outcome.results if r.outcome not in (PASSED, UNCLAIMED)]
    assert not wrong, "\n".join(wrong)
    return sum(r.outcome == PASSED for r in outcome.results) > len(outcome.results) / 2


@needs_riscv
def test_its_kernels_are_riscvs_own(riscv: Device) -> None:
    binary = riscv.compile("void k(void *const *a, long first, long last) { ((int *)a[0])[0] = 1; }")
    assert binary[:4] == b"\x7fELF"
    assert int.from_bytes(binary[18:20], "little") == 243  # EM_RISCV
    assert riscv.spec.evidence is Evidence.EMULATED
    assert riscv.spec.driver["command"].startswith("qemu-riscv64 ")


@needs_riscv
def test_it_computes_as_numpy_does(riscv: Device) -> None:
    a, b = (np.random.default_rng(i).standard_normal((17, 23)).astype(np.float32) for i in range(2))
    x, y = Tensor(a, device="RISCV"), Tensor(b, device="RISCV")
    np.testing.assert_allclose((x @ y.T).softmax(1).sum(1).numpy(), np.ones(17), rtol=1e-5)
    np.testing.assert_allclose(
        (x * y + x).numpy(), a * b + a, rtol=0, atol=0
    )  # rounded twice: no contraction


@needs_riscv
def test_the_first_rungs(riscv: Device) -> None:
    outcome = runner.run(riscv, Selection((Rung.OPEN, Rung.MEMORY, Rung.COPY)))
    assert all_passed(outcome)
    assert certificate.build(outcome, riscv)["evidence"] == "emulated"


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "uint8", "int64"])
@needs_riscv
def test_primitives(riscv: Device, dtype: str) -> None:
    operands = f"({' or '.join(('test_unary', 'test_binary', 'test_where'))}) and {dtype}"
    assert all_passed(runner.run(riscv, Selection((Rung.PRIMITIVES,), operands)))


@needs_riscv
def test_reductions(riscv: Device) -> None:
    selection = Selection((Rung.REDUCTIONS,), "(test_sum or test_max) and float32")
    assert all_passed(runner.run(riscv, selection))
