"""Certificates to test with: real climbs of small devices, good and faulty."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from portwright.conformance import certificate, runner
from portwright.conformance.expected import ExpectedFailure
from portwright.conformance.ladder import Rung
from portwright.conformance.selection import Selection
from portwright.core.device import Device
from portwright.core.dtype import float64
from portwright.devices.cpu import CPU

Document = dict[str, Any]

FLOATS = (
    "(test_unary or test_binary) and (ADD or SUB or SQRT or NEG or MAX) and (float16 or float32 or float64)"
)
"""A few cases of the rung of primitives, on dtypes that are native, legalized and not claimed."""


class Chip(CPU):
    """The CPU without float64; where it is told so, its compiler takes one operator for another."""

    def __init__(self, slips: bool = False) -> None:
        super().__init__()
        kept = self.spec.dtypes - {float64}
        self.spec = replace(
            self.spec, name="CHIP", dtypes=kept, arithmetic=self.spec.arithmetic & kept, vector_bytes=0
        )
        self.slips = slips

    def compile(self, source: str) -> bytes:
        return super().compile(source.replace(" - ", " + ") if self.slips else source)

    def compiler_key(self) -> str:
        return f"CHIP {self.slips} {super().compiler_key()}"


def climb(
    device: Device, rungs: Sequence[Rung], keyword: str = "", expected: Sequence[ExpectedFailure] = ()
) -> Document:
    """The certificate of some rungs of a device."""
    outcome = runner.run(device, Selection(tuple(rungs), keyword), expected=expected)
    return certificate.build(outcome, device)


def slipping() -> Document:
    """Of a chip with a bad compiler: passed, failed with a kernel, expected and unclaimed cases."""
    until = datetime.date.today() + datetime.timedelta(days=30)
    known = ExpectedFailure("primitives::test_binary[SUB-float16]", "halves are <added>", until)
    return climb(Chip(slips=True), [Rung.OPEN, Rung.PRIMITIVES], f"test_name or {FLOATS}", [known])


def changed(document: Document, change: Callable[[Document], object]) -> Document:
    """A copy that somebody edited and sealed anew."""
    import copy

    made = copy.deepcopy(document)
    change(made)
    return certificate.seal(made)


def written(document: Document, path: Path) -> Path:
    """The file of a certificate."""
    certificate.save(document, path)
    return path


__all__ = ["FLOATS", "Chip", "Document", "changed", "climb", "slipping", "written"]
