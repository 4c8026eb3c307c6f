"""METAL's generated text through Apple's own compiler, on a Mac that has it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import pytest
import representative

from portwright.core import dtype as dt
from portwright.core import registry
from portwright.core.device import Evidence
from portwright.core.errors import CompileError, DeviceError
from portwright.devices.compile_only import CompileOnly
from portwright.devices.metal_dialect import METAL_SL
from portwright.devices.metal_spec import Facts, metal_spec

METAL_DTYPES = [d for d in dt.ALL if d is not dt.float64]


class MetalText(CompileOnly):
    """METAL's text, for whoever compiles it."""

    dialect = METAL_SL

    def __init__(self) -> None:
        self.spec = metal_spec("METAL", Facts(), Evidence.COMPILED)
        self.opened_as = "METAL:text"

    def compile(self, source: str) -> bytes:
        command = ["xcrun", "-sdk", "macosx", "metal", "-std=metal3.1", "-fno-fast-math", "-x", "metal"]
        done = subprocess.run(
            [*command, "-fsyntax-only", "-"], input=source, capture_output=True, text=True, timeout=300
        )
        if done.returncode:
            raise CompileError("Apple's compiler refused a kernel", log=done.stderr, source=source)
        return source.encode()


@pytest.fixture(scope="module")
def text():
    device = registry.adopt(MetalText())
    yield device
    del registry._opened[device.name]


def _absent() -> str:
    if shutil.which("xcrun") is None:
        return "there is no xcrun: Apple's Metal compiler comes with Xcode, on macOS alone"
    found = subprocess.run(["xcrun", "-sdk", "macosx", "-f", "metal"], capture_output=True)
    return "" if found.returncode == 0 else "xcrun finds no metal: install Xcode's Metal toolchain"


ABSENT = _absent()


@pytest.mark.skipif(bool(ABSENT), reason=ABSENT or "never")
@pytest.mark.parametrize("dtype", METAL_DTYPES, ids=str)
def test_the_compiler_takes_the_text(text, dtype):
    for group in representative.GROUPS:
        for source in dict.fromkeys(representative.texts(text, dtype, group)):
            text.compile(source)


@pytest.mark.parametrize("group", ["elementwise", "reductions"])
@pytest.mark.parametrize("dtype", [dt.int16, dt.float32, dt.bfloat16], ids=str)
def test_the_text_says_what_metal_asks_for(text, dtype, group):
    """What can be seen of a text without a compiler: its buffers are numbered, its threads bounded."""
    for source in representative.texts(text, dtype, group):
        assert "kernel void" in source
        head = source[source.index("[[max_total_threads") :].split("{")[0]
        buffers = [f"[[buffer({i})]]" for i in range(head.count("[[buffer("))]
        assert buffers
        assert all(b in head for b in buffers)
        assert "double" not in source


def test_float64_is_refused(text):
    with pytest.raises(DeviceError, match="float64"):
        list(representative.texts(text, dt.float64, "elementwise"))


def test_older_systems_store_bfloat16_narrow():
    spec = metal_spec("METAL", replace(Facts(), bfloat=False))
    assert dt.bfloat16 in spec.dtypes - spec.arithmetic
