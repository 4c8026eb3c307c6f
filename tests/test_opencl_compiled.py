"""OpenCL C as it is generated, through clang: another compiler than the driver's, and no driver at all."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import representative

from portwright.core import dtype as dt
from portwright.core import registry
from portwright.core.device import Evidence, Extra, Spec
from portwright.core.errors import CompileError
from portwright.core.ops import ALL_OPS
from portwright.devices.compile_only import CompileOnly
from portwright.devices.opencl_dialect import OPENCL_C

COMMAND = (
    "clang", "-x", "cl", "-cl-std=CL3.0", "-target", "spir64-unknown-unknown", "-fsyntax-only",
    "-Xclang", "-fdeclare-opencl-builtins", "-Xclang", "-finclude-default-header",
    "-Werror=implicit-function-declaration", "-",
)  # fmt: skip


def clang(source: str) -> str:
    """What clang complains of; "" when it takes the text."""
    done = subprocess.run(COMMAND, input=source, capture_output=True, text=True, timeout=120)
    return done.stderr if done.returncode else ""


def _absent() -> str:
    if shutil.which("clang") is None:
        return "there is no clang: apt-get install clang"
    return (
        ""
        if not clang("kernel void f(global float *a) { a[0] = exp2(a[0]); }")
        else "this clang has no OpenCL"
    )


pytestmark = pytest.mark.skipif(bool(_absent()), reason=_absent() or "never")


class OpenCLText(CompileOnly):
    """OpenCL's text, for a GPU that has everything."""

    dialect = OPENCL_C

    def __init__(self) -> None:
        held = frozenset(dt.ALL)
        self.spec = Spec(
            "OPENCL", dtypes=held, native=ALL_OPS, arithmetic=held - dt.FLOAT8S - {dt.bfloat16},
            evidence=Evidence.COMPILED, extras=frozenset({Extra.FMA, Extra.DIV}), vector_bytes=16,
            vector_lanes=16, threads=4096, local_bytes=32 << 10, max_block=1024, block=64, warp=64,
        )  # fmt: skip
        self.opened_as = "OPENCL:text"

    def compile(self, source: str) -> bytes:
        log = clang(source)
        if log:
            raise CompileError(f"clang refused a kernel: {log[:2000]}", log=log, source=source)
        return source.encode()


@pytest.fixture(scope="module")
def text():
    device = registry.adopt(OpenCLText())
    yield device
    del registry._opened[device.name]


@pytest.mark.parametrize("dtype", dt.ALL, ids=str)
def test_clang_takes_the_text(text, dtype):
    sources = [s for group in representative.GROUPS for s in representative.texts(text, dtype, group)]
    assert sources
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(text.compile, dict.fromkeys(sources)))


def test_clang_refuses_what_is_no_opencl(text):
    with pytest.raises(CompileError, match="missing"):
        text.compile("kernel void f(global float *a) { a[0] = missing; }")
    with pytest.raises(CompileError, match="absent"):
        text.compile("kernel void f(global float *a) { a[0] = absent(a[0]); }")
