"""Finding the C compiler, and what it says of its target."""

from __future__ import annotations

import ctypes
import sys
import tempfile
from pathlib import Path

import pytest
from processes import in_process

from portwright.core.errors import CompileError, DeviceError
from portwright.devices import toolchain
from portwright.devices.cpu import CPU
from portwright.devices.toolchain import find_toolchain


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DeviceError) as caught:
        CPU()
    for word in ("cc (not found)", "gcc (", "clang (", "ziglang (not installed)", "apt-get install gcc"):
        assert word in str(caught.value)
    for word in ("xcode-select --install", "pip install ziglang"):
        assert word in str(caught.value)


def test_a_stated_compiler_is_the_only_one_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-cc -m64")
    with pytest.raises(DeviceError, match=r"CC names .*no-such-cc \(not found\)"):
        CPU()
    monkeypatch.setenv("CC", f"{sys.executable} -c 'raise(SystemExit(\"no compiler\"))'")
    with pytest.raises(DeviceError, match=r"CC names .*no compiler"):
        CPU()


def test_a_compiler_that_vanishes() -> None:
    gone = toolchain.Toolchain(("/nowhere/cc",), "GCC 0", ("-O2",), ("-O2",), {})
    with pytest.raises(CompileError, match=r"/nowhere/cc failed.*FileNotFoundError"):
        gone.compile("int x;", gone.flags)


def test_the_key_tells_targets_apart() -> None:
    tools = find_toolchain()
    assert tools.key == CPU().compiler_key()
    other = toolchain.Toolchain(
        tools.command, tools.version, tools.flags, tools.kernel_flags, {**tools.macros, "__ACME__": "1"}
    )
    assert other.key != tools.key


@pytest.mark.parametrize(
    ("macros", "nbytes", "registers", "fma"),
    [
        ({"__AVX512F__": "1", "__AVX__": "1", "__SSE2__": "1", "__FMA__": "1"}, 64, 32, True),
        ({"__AVX__": "1", "__SSE2__": "1"}, 32, 16, False),
        ({"__SSE2__": "1"}, 16, 16, False),
        ({"__ARM_NEON": "1", "__ARM_FEATURE_FMA": "1"}, 16, 32, True),
        ({}, 0, 16, False),
    ],
)
def test_vectors_by_macros(macros: dict[str, str], nbytes: int, registers: int, fma: bool) -> None:
    tools = toolchain.Toolchain(("cc",), "", (), (), macros)
    assert (tools.vectors.nbytes, tools.vectors.registers, tools.has_fma) == (nbytes, registers, fma)


def test_a_warm_cache_needs_no_compiler_run(tmp_path: Path) -> None:
    """The compiler must exist, but nothing is asked of it."""
    code = """
        import subprocess, sys
        ran = []
        real = subprocess.Popen.__init__
        def spy(self, command, *args, **kwargs):
            ran.append(command)
            real(self, command, *args, **kwargs)
        subprocess.Popen.__init__ = spy
        from portwright.devices.cpu import CPU
        CPU()
        print(len(ran))
    """
    assert int(in_process(code, PORTWRIGHT_CACHE=str(tmp_path))) > 0
    assert int(in_process(code, PORTWRIGHT_CACHE=str(tmp_path))) == 0


def test_no_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    tools = find_toolchain()
    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(CompileError, match=r"No space left on device.*TMPDIR"):
        tools.compile("int x;", tools.flags)


def test_parts_become_one_library(tmp_path: Path) -> None:
    toolchain = find_toolchain()
    sources = iter(
        ["int answer(void) { return 42; }", "int answer(void); int twice(void) { return 2 * answer(); }"]
    )
    library = tmp_path / "parts.so"
    library.write_bytes(toolchain.compile_parts(sources, toolchain.flags))
    assert ctypes.CDLL(str(library)).twice() == 84


def test_a_part_that_is_refused_is_named() -> None:
    toolchain = find_toolchain()
    with pytest.raises(CompileError, match="nobody"):
        toolchain.compile_parts(["int a;", "int b = nobody;"], toolchain.flags)
