"""CUDA's generated text through NVIDIA's own compiler, for sm_80 and sm_90, on machines without a GPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import representative
import support as t

from portwright import Tensor
from portwright.conformance import certificate, runner
from portwright.conformance.ladder import Rung
from portwright.conformance.selection import Selection
from portwright.core import dtype as dt
from portwright.core.device import Evidence
from portwright.core.errors import CompileError, DeviceError
from portwright.core.ops import Op
from portwright.core.registry import open_device
from portwright.devices import cuda_nvrtc, cuda_toolkit
from portwright.devices.compile_only import CompileOnly


def _opens() -> str:
    try:
        cuda_nvrtc.find_compiler()
    except DeviceError as e:
        return str(e)
    return ""


ABSENT = _opens()
pytestmark = pytest.mark.skipif(bool(ABSENT), reason=ABSENT or "never")
ARCHITECTURES = ("sm_80", "sm_90")
SEEN: set[str] = set()


def compiled(texts, *architectures):
    """Machine code of each text that was not compiled before."""
    new = [(a, text) for text in dict.fromkeys(texts) for a in architectures if a + text not in SEEN]
    SEEN.update(a + text for a, text in new)
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda one: cuda_nvrtc.compile_for(*one), new))


@pytest.mark.parametrize("group", representative.GROUPS)
@pytest.mark.parametrize("dtype", dt.ALL, ids=str)
def test_the_compiler_takes_the_text(dtype, group):
    """Of one architecture; what differs between the two is for the next test."""
    device = open_device("CUDA:sm_80")
    binaries = compiled(representative.texts(device, dtype, group), "sm_80")
    assert binaries
    assert all(b.startswith(b"\x7fELF") for b in binaries)


@pytest.mark.parametrize("dtype", [dt.float16, dt.bfloat16, dt.float32], ids=str)
def test_the_text_for_the_newer_architecture_is_taken_too(dtype):
    device = open_device("CUDA:sm_90")
    for group in ("elementwise", "reductions", "products"):
        assert compiled(representative.texts(device, dtype, group), "sm_90")


# ------------------------------------------------------------------------------------- what it means


def same_code(one: str, other: str) -> bool:
    """Whether two bodies of ``f(const T *a)`` become the same instructions."""
    codes = []
    for body in (one, other):
        text = f'typedef int index_t;\n{prelude()}\nextern "C" __global__ void f({body} }}'
        codes.append(cuda_nvrtc.compile_for("sm_80", text))
    return codes[0] == codes[1]


def prelude() -> str:
    return open_device("CUDA:sm_80").dialect.prelude


@pytest.mark.parametrize("kind", ["__half", "__nv_bfloat16", "float", "double"])
def test_a_product_is_not_contracted_with_a_sum(kind):
    head = f"{kind} *o, const {kind} *a) {{ int i = threadIdx.x; o[i] = "
    rounded = {
        "float": "__fadd_rn(__fmul_rn(a[i], a[i + 1]), a[i + 2]);",
        "double": "__dadd_rn(__dmul_rn(a[i], a[i + 1]), a[i + 2]);",
    }.get(kind, "__hadd_rn(__hmul_rn(a[i], a[i + 1]), a[i + 2]);")
    assert same_code(head + "(a[i] * a[i + 1]) + a[i + 2];", head + rounded)
    assert not same_code(head + "fused(a[i], a[i + 1], a[i + 2]);", head + rounded)


@pytest.mark.parametrize("kind", ["int", "long long"])
def test_signed_integers_wrap(kind):
    """Left to itself the compiler makes x + 1 < x false, and (x * 2) / 2 x."""
    head = f"{kind} *o, const {kind} *a) {{ int i = threadIdx.x; {kind} x = a[i]; o[i] = "
    assert same_code(head + "(x + 1) < x;", head + "0;")
    assert not same_code(head + f"add<{kind}>(x, 1) < x;", head + "0;")
    assert same_code(head + "(x * 2) / 2;", head + "x;")
    assert not same_code(head + f"mul<{kind}>(x, 2) / 2;", head + "x;")


def test_integers_of_the_text_wrap_by_name():
    x = t.integers((37,), dt.int32, device="CUDA:sm_80")
    (text,) = (k.source for k in _kernels(t.op(Op.CMPLT, t.add(x, 1), x)))
    assert "add<int>" in text
    assert " + 1)" not in text


def test_memory_moves_in_vectors():
    x = t.place(np.zeros(1 << 20, np.float16), "CUDA:sm_80")
    (text,) = (k.source for k in _kernels(t.add(x, x)))
    assert "vec<__half, 8> f16x8" in text
    assert "*(const f16x8 *)" in text


def _kernels(node):
    from portwright.core import engine

    return engine.kernels([node], "CUDA:sm_80")


# ------------------------------------------------------------------------------------- the device


def test_tensors_are_made_and_kernels_compiled_but_not_launched():
    device = open_device("CUDA:sm_90")
    assert isinstance(device, CompileOnly)
    assert device.spec.evidence is Evidence.COMPILED
    x = Tensor([1.0, 2.0], device="CUDA:sm_90")
    assert x.tolist() == [1.0, 2.0]
    with pytest.raises(DeviceError, match=r"CUDA:sm_90 compiles kernels and runs none: .* Open CUDA itself"):
        (x + 1).numpy()


def test_a_kernel_that_is_not_in_the_binary_is_said():
    device = open_device("CUDA:sm_80")
    binary = device.compile('extern "C" __global__ void here() {}')
    assert device.load(binary, ["here"]) == ["here"]
    with pytest.raises(DeviceError, match="finds no kernel absent"):
        device.load(binary, ["absent"])


def test_a_refusal_shows_the_line():
    source = 'extern "C" __global__ void f(float *a) {\n  a[0] = missing;\n}'
    with pytest.raises(
        CompileError, match=r'at line 2 of the source: identifier "missing".*\n +a\[0\] = miss'
    ) as e:
        cuda_nvrtc.compile_for("sm_80", source)
    assert "missing" in e.value.log
    assert e.value.source == source
    with pytest.raises(CompileError, match="sm_80"):
        cuda_nvrtc.compile_for("sm_80", "#error no\n")


def test_an_architecture_that_does_not_exist_is_refused():
    with pytest.raises(CompileError, match="gpu-architecture"):
        cuda_nvrtc.compile_for("sm_1", 'extern "C" __global__ void f() {}')


# ------------------------------------------------------------------------------------- finding it


def test_without_a_compiler_the_error_says_where_it_was_looked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(cuda_toolkit, "_wheels", lambda: iter(()))
    monkeypatch.setattr(cuda_toolkit, "_SYSTEM", str(tmp_path / "absent"))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.delenv("CUDA_PATH", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        DeviceError, match=r"no CUDA compiler is installed: looked in .* pip install nvidia-cuda-nvrtc"
    ):
        cuda_toolkit.find()


def test_the_newest_library_with_headers_is_found(monkeypatch, tmp_path):
    monkeypatch.setattr(cuda_toolkit, "_wheels", lambda: iter((tmp_path / "nvrtc", tmp_path / "runtime")))
    (tmp_path / "nvrtc" / "lib").mkdir(parents=True)
    (tmp_path / "runtime" / "include").mkdir(parents=True)
    (tmp_path / "runtime" / "include" / "cuda_fp16.h").touch()
    for name in ("libnvrtc.so.9", "libnvrtc.so.12", "libnvrtc.alt.so.12", "libnvrtc-builtins.so.12.9"):
        (tmp_path / "nvrtc" / "lib" / name).touch()
    found = cuda_toolkit.find()
    assert found.nvrtc == tmp_path / "nvrtc" / "lib" / "libnvrtc.so.12"
    assert found.headers == tmp_path / "runtime" / "include"


def test_nvcc_serves_where_there_is_no_nvrtc(tmp_path):
    """A program that stands in for nvcc: it is asked the right way, and its refusal is read."""
    program = tmp_path / "nvcc"
    program.write_text(
        "#!/bin/sh\n"
        'case "$1" in --version) echo "Cuda compilation tools, release 12.3, V12.3.1"; exit;;\n'
        "--list-gpu-code) echo sm_80; echo sm_90a; echo sm_90; exit;; esac\n"
        'for last; do :; done; if grep -q wrong "$last"; then\n'
        '  echo "$last(2): error: this is wrong" >&2; exit 1; fi\n'
        'while [ "$1" != -o ]; do shift; done; echo code > "$2"\n'
    )
    program.chmod(0o755)
    nvcc = cuda_nvrtc.Nvcc(program)
    assert nvcc.version == "nvcc 12.3"
    assert nvcc.architectures == (80, 90)
    assert nvcc.compile("void f() {}", "sm_80") == b"code\n"
    with pytest.raises(
        CompileError, match=r"nvcc 12\.3 for sm_80 refused a kernel at line 2 of the source: this is"
    ):
        nvcc.compile("void f() {\n  wrong\n}", "sm_80")


def test_the_target_is_the_devices_own_or_the_last_before_it():
    class Known:
        version = "some compiler"
        architectures = (75, 80, 86, 90, 120)

    assert cuda_nvrtc.target(Known(), (8, 0)) == "sm_80"
    assert cuda_nvrtc.target(Known(), (8, 9)) == "sm_86"
    assert cuda_nvrtc.target(Known(), (12, 1)) == "sm_120"
    with pytest.raises(DeviceError, match="some compiler does not compile for sm_100"):
        cuda_nvrtc.target(Known(), (10, 0))


# ------------------------------------------------------------------------------------- certifying


def test_a_certificate_claims_that_the_compiler_took_the_text(tmp_path):
    selection = Selection((Rung.OPEN, Rung.VIEWS, Rung.FUSED), "test_name or rank or many")
    outcome = runner.run("CUDA:sm_80", selection, jobs=0)
    assert outcome.passed
    assert len(outcome.results) > 1
    document = certificate.build(outcome, open_device("CUDA:sm_80"))
    assert document["evidence"] == "compiled"


def test_a_text_that_the_compiler_refuses_fails_its_case(monkeypatch):
    device = open_device("CUDA:sm_80")

    def refuse(source, architecture):
        raise CompileError("no", log="no", source=source)

    monkeypatch.setattr(device._compiler, "compile", refuse, raising=False)
    monkeypatch.setattr(device, "compiler_key", lambda: "another compiler")
    outcome = runner.run("CUDA:sm_80", Selection((Rung.VIEWS,), "every_dtype and int8"), jobs=0)
    assert not outcome.passed
