"""A vendor's plugin for tests: a family's templates, rendered and found by entry point as if installed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from portwright.conformance import certificate, runner
from portwright.conformance.ladder import Rung
from portwright.conformance.outcome import PASSED
from portwright.conformance.selection import Selection
from portwright.core.device import Device
from portwright.templates.render import render

ANSWERS = {
    "name": "acme", "NAME": "ACME", "Class": "Acme", "package": "portwright_acme",
    "project": "portwright-acme", "vendor": "Acme Chips", "licence": "MIT", "year": "2026", "through": "",
    "integers": "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64",
    "floats": "float8_e4m3fn float8_e5m2 float16 bfloat16 float32 float64",
}  # fmt: skip


def install(folder: Path, patch: pytest.MonkeyPatch, family: str, **answers: str) -> Path:
    """Installs the distribution portwright-acme, whose port ACME is of a family; gives its package."""
    given = {**ANSWERS, "family": family, **answers}
    package, info = folder / "portwright_acme", folder / "portwright_acme-1.2.dist-info"
    for made in (package, info):
        made.mkdir()
    (package / "__init__.py").write_text("")
    for name, text in render(family, given).items():
        (package / name).write_text(text, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: portwright-acme\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[portwright.devices]\nACME = portwright_acme.port:Acme\n")
    patch.syspath_prepend(str(folder))
    for module in [m for m in sys.modules if m.partition(".")[0] == "portwright_acme"]:
        patch.delitem(sys.modules, module)
    return package


def certified(device: Device, keyword: str) -> dict[str, Any]:
    """The certificate of a device's first rungs, and of those primitives; it names no other port of ours."""
    for rungs, cases in (((Rung.OPEN, Rung.COPY), ""), ((Rung.PRIMITIVES,), keyword)):
        outcome = runner.run(device, Selection(rungs, cases))
        assert outcome.passed, [r.message for r in outcome.failures]
        assert any(r.outcome == PASSED for r in outcome.results)
        document = certificate.build(outcome, device)
        text = json.dumps(document)
        assert document["port"]["name"] == "ACME"
        assert not re.search(r"\b(OPENCL|CUDA|METAL|ADRENO)\b", text)
    return document
