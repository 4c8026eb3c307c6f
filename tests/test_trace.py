"""What happens is told: to people on stderr up to a level, to programs as events."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from jitting import default, tensor, values

import portwright
from portwright import Tensor
from portwright.core import node, trace, views
from portwright.core.errors import ArgumentError, CompileError
from portwright.core.registry import open_device
from portwright.core.trace import Compiled, Event, KernelPlanned, KernelRun, Loaded, Moved, Planned


@pytest.fixture(autouse=True)
def on_cpu() -> Iterator[None]:
    with default("CPU"):
        yield


def fresh(n: int) -> Tensor:
    """An expression of a shape that no other test uses, so that it is planned."""
    return Tensor(np.ones((n, 3), np.float32)).mul(2.5).sum(1)


def run(program: str, **environment: str) -> str:
    """What a program writes to stderr."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=True,
    )
    return done.stderr


PROGRAM = """
import numpy as np
from portwright import Tensor
x = Tensor(np.ones((5, 7), np.float32), device="CPU")
y = (x * 3).sum(1).realize()
"""


# ------------------------------------------------------------------------------------------------ programs


def test_a_program_reads_what_happens() -> None:
    with portwright.debug.record() as events:
        y = fresh(101).realize()
    assert values(y) == [7.5] * 101
    (planned,) = (e for e in events if isinstance(e, Planned))
    (kernel,) = (e for e in events if isinstance(e, KernelPlanned))
    (loaded,) = (e for e in events if isinstance(e, Loaded))
    (ran,) = (e for e in events if isinstance(e, KernelRun))
    assert planned.nodes == 1
    assert kernel.stages is not None
    assert kernel.stages.name == loaded.kernel == ran.kernel
    assert ran.device == "CPU"
    assert ran.nbytes == 101 * 4 * 4
    assert ran.flops == 101 * 6
    assert ran.seconds > 0
    assert loaded.binary.startswith((b"\x7fELF", b"\xcf\xfa", b"MZ"))
    assert [e.at for e in events] == sorted(e.at for e in events)


def test_a_compilation_is_told_with_its_command() -> None:
    with portwright.debug.record() as events:
        (fresh(102) * 0.123456).realize()
    (compiled,) = (e for e in events if isinstance(e, Compiled))
    assert compiled.seconds > 0
    assert compiled.driver["compiler"]
    assert "-O" in compiled.driver["flags"]


def test_a_refused_compilation_is_told_with_its_log() -> None:
    (info,) = _stages(fresh(103))
    with (
        portwright.debug.record() as events,
        pytest.raises(CompileError),
        trace.compiling([info], open_device("CPU")),
    ):
        raise CompileError("refused", log="line 3: no such thing")
    (compiled,) = (e for e in events if isinstance(e, Compiled))
    assert compiled.log == "line 3: no such thing"


def _stages(t: Tensor) -> list[Any]:
    with portwright.debug.record() as events:
        t.kernels()
    return [e.stages for e in events if isinstance(e, KernelPlanned)]


def test_nothing_is_watched_otherwise() -> None:
    with portwright.debug.record(), portwright.debug(2):
        assert trace.watching
        assert node.locate is not None
    assert not trace.watching
    assert node.locate is None
    with portwright.debug(1):
        assert not trace.watching


def test_an_error_inside_ends_it_too() -> None:
    with pytest.raises(ZeroDivisionError), portwright.debug(4):
        raise ZeroDivisionError
    assert not trace.watching


def test_the_line_that_made_a_kernel() -> None:
    x = tensor(1, 2, 3)
    with portwright.debug.record() as events:
        first = x * 7.25
        first.realize()
        second = x * 7.25  # the same kernel, made elsewhere
        second.realize()
    here = inspect.currentframe()
    assert here is not None
    lines = [e.made_at for e in events if isinstance(e, KernelRun)]
    assert lines == [f"{__file__}:{here.f_lineno - n}" for n in (7, 5)]


def test_dispatched_devices_are_told_of_too() -> None:
    with portwright.debug.record() as events:
        Tensor([1.0, 2.0], device="NUMPY").mul(3).realize()
    (ran,) = (e for e in events if isinstance(e, KernelRun))
    assert ran.device == "NUMPY"
    assert ran.nbytes == 16


# -------------------------------------------------------------------------------------------------- people


def shown(level: int, n: int, capsys: pytest.CaptureFixture[str]) -> str:
    with portwright.debug(level):
        fresh(n).realize()
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_level_0_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(0, 110, capsys) == ""
    assert shown(1, 111, capsys) == ""


def test_level_2_shows_a_line_for_each_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = shown(2, 112, capsys).splitlines()
    assert line.startswith("CPU ")
    assert "GB/s" in line
    assert "GFLOP/s" in line
    assert "test_trace.py:" in line
    assert len(line) <= 100


def test_level_3_shows_the_loops(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(3, 113, capsys)
    assert "for i0 < 113:" in text
    assert "acc0 +=" in text
    assert "schedule:" in text
    assert "restrict" not in text


def test_level_4_shows_the_source_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(4, 114, capsys).count("void *const *") == 1
    with portwright.debug(4):
        for _ in range(2):
            fresh(114).realize()  # planned before, and still shown
    assert capsys.readouterr().err.count("void *const *") == 1


def test_level_4_shows_what_texts_begin_with_alike_once(capsys: pytest.CaptureFixture[str]) -> None:
    with portwright.debug(4):
        fresh(118).mul(0.125).realize()
        fresh(119).mul(0.125).realize()
    text = capsys.readouterr().err
    assert text.count("void *const *") == 2
    assert text.count("#define PERMUTE") == 2  # once for each compiler that it tells apart
    assert "lines as above" in text


def test_level_5_shows_the_graph_and_the_trees(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(5, 115, capsys)
    assert "REDUCE ReduceArg" in text
    assert "in memory" in text
    assert "-> memory" in text
    assert "expanded and hoisted" in text


def test_level_6_shows_the_compiler_and_the_machine_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with portwright.debug(6):
        fresh(116).mul(0.654321).realize()
    text = capsys.readouterr().err
    assert "compiled" in text
    assert "flags: -" in text
    assert "loaded" in text
    monkeypatch.setenv("PATH", "")
    with portwright.debug(6):
        for line in views.disassembly(b"", "k"):
            assert "objdump is not installed" in line


@pytest.mark.parametrize("level", [-1, 7, 2.5])
def test_another_level_is_refused(level: int) -> None:
    with pytest.raises(ArgumentError, match="from 0 to 6"), portwright.debug(level):
        pass


def test_bytes_that_were_moved_stand_beside_the_least(capsys: pytest.CaptureFixture[str]) -> None:
    x = Tensor(np.ones((64, 500), np.float32)).realize()
    with portwright.debug(2), portwright.debug.record() as events:
        ((x @ x.T).contiguous() @ x).realize()
    (told,) = (e for e in events if isinstance(e, Moved))
    between = 4 * 64 * 64
    assert told.kernels == 2
    assert told.least == 2 * x.node.nbytes
    assert told.nbytes == 3 * x.node.nbytes + 2 * between  # which goes there and back
    (line,) = (w for w in capsys.readouterr().err.splitlines() if w.startswith("moved"))
    assert line == "moved     417 kB by 2 kernels, 256 kB is the least: 1.63 times as much"
    with portwright.debug(2):
        (x + 1).realize()
    assert "moved" not in capsys.readouterr().err


def test_times_are_readable() -> None:
    stages = _stages(fresh(117))[0]
    for seconds, text in ((2.5e-6, "2.5 µs"), (3.25e-3, "3.25 ms"), (4.5, "4.50 s")):
        event: Event = KernelRun(
            kernel="k" * 60, device="CPU", seconds=seconds, nbytes=1, flops=1, made_at=None, stages=stages
        )
        (line,) = views.Screen(2).lines(event)
        assert text in line
        assert len(line) <= 100


# --------------------------------------------------------------------------------------------- environment


def test_debug_1_shows_devices_and_jit() -> None:
    text = run(
        f"{PROGRAM}\nfrom portwright import jit\nf = jit(lambda x: x + 1)\nfor _ in range(5): f(x)", DEBUG="1"
    )
    assert text.startswith("opened    CPU\n")
    assert "compiler:" in text
    assert "warmed up <lambda>" in text
    assert "captured  <lambda>: 1 kernels" in text
    assert text.count("replayed  <lambda>: 1 kernels") == 1
    assert "GB/s" not in text


def test_debug_2_knows_the_line() -> None:
    text = run(PROGRAM, DEBUG="2")
    assert "GB/s" in text
    assert "<string>:5" in text


def test_debug_that_is_no_level() -> None:
    assert run(PROGRAM, DEBUG="yes") == "portwright: DEBUG=yes is no level from 0 to 6: ignored\n"
    assert run(PROGRAM, DEBUG="0") == ""


def test_views_are_imported_when_somebody_looks() -> None:
    program = f"{PROGRAM}\nimport sys\nprint('portwright.core.views' in sys.modules, file=sys.stderr)"
    assert run(program, DEBUG="") == "False\n"
