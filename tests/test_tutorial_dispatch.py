"""The tutorial of a chip without a compiler: every step as the page has it, from ``new`` to a certificate."""

from __future__ import annotations

from pathlib import Path

import pytest
from tutorial import reader, run_page

from portwright.conformance import certificate

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "porting" / "dispatch.md"


@pytest.mark.timeout(600)
def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    run_page(PAGE, tmp_path, {**reader(tmp_path), "PORTWRIGHT": str(ROOT)})
    made = certificate.load(tmp_path / "portwright-tern" / "tern.json")
    assert made["port"]["distribution"] == "portwright-tern"
    assert made["evidence"] == "emulated"
    assert made["primitives"] == {"total": 25, "native": 13, "legalized": 0, "host": 12}
    assert made["spec"]["native_on"]["MAX"] == ["int32"]
