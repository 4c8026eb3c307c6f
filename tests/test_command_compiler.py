"""A compiler that is a command: found or not, what it makes, what it says, when it hangs."""

from __future__ import annotations

from pathlib import Path

import pytest
from clusters import lives, wait_for

from portwright.core.errors import CompileError, DeviceError
from portwright.devices.command_compiler import CommandCompiler


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


COPIES = 'if [ "$1" = --version ]; then echo "acme-cc 3.1"; echo more; exit; fi\ncp kernel.c kernel.out'


def test_a_binary_and_its_key(tmp_path: Path) -> None:
    path = script(tmp_path / "acme-cc", COPIES)
    compiler = CommandCompiler(str(path), ["-O2"])
    assert compiler.compile("int x = 1; /* é */\n") == "int x = 1; /* é */\n".encode()
    assert compiler.version == "acme-cc 3.1"
    assert compiler.key == CommandCompiler([str(path)], ["-O2"]).key
    others = [CommandCompiler(str(path)), CommandCompiler(f"{path} -m64", ["-O2"])]
    script(path, COPIES + "\n")
    others.append(CommandCompiler(str(path), ["-O2"]))
    assert len({compiler.key, *(c.key for c in others)}) == 4


def test_it_is_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / "acme-cc", COPIES)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    compiler = CommandCompiler("acme-cc -DNAME='two words'")
    assert compiler.command == (str(tmp_path / "acme-cc"), "-DNAME=two words")
    monkeypatch.chdir(tmp_path)
    assert CommandCompiler("./acme-cc").compile("x") == b"x"  # though it runs in another folder


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("no-such-cc -m64", r"'no-such-cc' is in no folder of PATH.*Install"),
        ("/nowhere/acme-cc", r"/nowhere/acme-cc does not exist"),
        ("", r"is empty"),
        ("acme-cc 'open", r"cannot be read: No closing quotation"),
    ],
    ids=["path", "file", "empty", "quotes"],
)
def test_no_compiler(command: str, said: str) -> None:
    with pytest.raises(DeviceError, match=said):
        CommandCompiler(command)


def test_a_file_that_may_not_run(tmp_path: Path) -> None:
    (tmp_path / "acme-cc").write_text("#!/bin/sh\n")
    with pytest.raises(DeviceError, match="no program that can be run"):
        CommandCompiler(str(tmp_path / "acme-cc"))


def test_a_refused_kernel_shows_its_line() -> None:
    source = "int good;\nint bad = nothing_like_it;\n"
    with pytest.raises(CompileError, match=r"at line 2 of the source: .*nothing_like_it") as caught:
        CommandCompiler("cc", ["-shared", "-fPIC"]).compile(source)
    assert "\n    int bad = nothing_like_it;\n" in str(caught.value)
    assert caught.value.source == source
    assert "error" in caught.value.log


def test_a_compiler_that_complains_on_standard_output(tmp_path: Path) -> None:
    path = script(tmp_path / "acme-cc", "echo 'kernel.c:1: error: no such type'; exit 3")
    with pytest.raises(CompileError, match=r"exit 3\) at line 1 of the source: no such type\n    long x"):
        CommandCompiler(str(path)).compile("long x;\n")


def test_a_compiler_that_writes_nothing(tmp_path: Path) -> None:
    path = script(tmp_path / "acme-cc", "exit 0")
    compiler = CommandCompiler(str(path))
    assert compiler.version == "no version"
    with pytest.raises(CompileError, match=r"wrote no binary.*command was: .*acme-cc kernel\.c -o"):
        compiler.compile("x")


def test_a_compiler_that_hangs_ends_with_what_it_started(tmp_path: Path) -> None:
    path = script(tmp_path / "acme-cc", f"sleep 900 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(CompileError, match="timed out"):
        CommandCompiler(str(path), timeout=0.5).compile("x")
    child = int((tmp_path / "child").read_text())
    wait_for(lambda: not lives(child), "the end of what the compiler started")
