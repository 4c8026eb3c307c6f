"""``portwright kernel``: what it prints is what the engine would run, and nothing is run for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portwright import Tensor
from portwright.cli.expression import functions, parse
from portwright.cli.main import main
from portwright.core.errors import DeviceError
from portwright.core.evaluate import NUMPY_PRIMITIVES
from portwright.core.ops import Op
from portwright.core.registry import open_device


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["kernel", *words]) == 0
    return capsys.readouterr().out


def record(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    return json.loads(planned(capsys, *words, "--json"))


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["kernel", *words]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("device", ["CPU", "CUDA:sim", "METAL:sim", "CPU:without=SIN"])
def test_it_is_what_the_engine_would_run(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = record(capsys, "softmax(sin(x))", "--device", device, "--shape", "x=8,300")
    x = Tensor(np.zeros((8, 300), np.float32), device=device)
    wanted = x.sin().softmax().kernels()
    assert [k["source"] for k in data["kernels"]] == [k.source for k in wanted]
    assert [(k["name"], k["grid"], k["block"]) for k in data["kernels"]] == [
        (k.name, k.grid, k.block) for k in wanted
    ]
    assert [(k["bytes"], k["operations"]) for k in data["kernels"]] == [(k.nbytes, k.flops) for k in wanted]


def test_people_see_the_source_and_the_facts(capsys: pytest.CaptureFixture[str]) -> None:
    out = planned(capsys, "softmax(x)", "--device", "CUDA:sim")
    (first, *_) = record(capsys, "softmax(x)", "--device", "CUDA:sim")["kernels"]
    assert "__shared__" in out
    assert "x: float32 256×256  (assumed: --shape says otherwise)" in out
    assert f"{first['grid']} blocks of {first['block']} threads" in out
    assert f"{first['bytes']:,} bytes" in out
    assert f"{first['operations']:,} operations" in out
    assert all(step in out for step in first["schedule"])
    assert "in0 float32[65536] = x" in out
    assert "out0 float32[65536] = the result" in out
    assert "template <typename T, int N> struct" not in out  # the prelude is left out
    assert "template <typename T, int N> struct" in planned(
        capsys, "softmax(x)", "--device", "CUDA:sim", "--prelude"
    )


def test_inputs_are_named_in_the_order_of_the_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("b - a", "--device", "CPU", "--shape", "a=5", "--shape", "b=5", "--dtype", "a=int32")
    out = planned(capsys, *words)
    source = record(capsys, *words)["kernels"][0]["source"]
    assert "in0 float32[5] = b, in1 int32[5] = a" in out
    assert "const int32_t *restrict in1" in source


def test_loops_and_schedule(capsys: pytest.CaptureFixture[str]) -> None:
    (kernel,) = record(capsys, "sum(x)", "--device", "CPU", "--shape", "8,8")["kernels"]
    out = planned(capsys, "sum(x)", "--device", "CPU", "--shape", "8,8", "--loops", "--schedule")
    assert kernel["loops"] in out
    assert kernel["scheduled"] in out
    assert kernel["loops"] != kernel["scheduled"]
    assert "restrict" not in out  # no source
    assert "restrict" in planned(capsys, "sum(x)", "--device", "CPU", "--shape", "8,8", "--loops")


def test_the_written_file_compiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "kernels.c"
    words = ("softmax(softmax(x @ y) @ y)", "--device", "CPU", "--shape", "x=4,70", "--shape", "y=70,70")
    names = [k["name"] for k in record(capsys, *words, "-o", str(file))["kernels"]]
    device = open_device("CPU")
    assert len(device.load(device.compile(file.read_text(encoding="utf-8")), sorted(set(names)))) > 1
    assert "there is no folder" in refused(capsys, "x+1", "-o", str(tmp_path / "none" / "k.c"))


def test_a_dispatched_device_lists_its_primitives(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("maximum(x.sum(-1), 0) * 2", "--device", "NUMPY", "--shape", "x=3,5", "--dtype", "x=float16")
    (piece,) = record(capsys, *words)["kernels"]
    called = [c["op"] for c in piece["calls"]]
    assert called == ["CAST", "ADD", "CAST", "MAX", "MUL"]
    assert piece["source"] == ""
    out = planned(capsys, *words)
    assert "float32 3×5, folded to 3×1" in out
    assert "there is no source to write" in refused(capsys, "x+1", "--device", "NUMPY", "-o", "/tmp/none.c")


def test_the_calls_are_those_that_numpy_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    device = open_device("NUMPY")
    asked: list[str] = []

    def listening(op: Op) -> Callable[..., Any]:
        return lambda *given: (asked.append(op.name), NUMPY_PRIMITIVES[op](*given))[1]

    monkeypatch.setattr(type(device), "primitives", {op: listening(op) for op in NUMPY_PRIMITIVES})
    x = Tensor(np.ones((2, 2), np.float32), device="NUMPY")
    y = (x.exp() + 1).maximum(x).amax(-1)  # two elements to fold: one call
    listed = [c.op.name for k in y.kernels() for c in k.calls]
    y.realize()
    assert listed == asked


def test_a_device_that_only_compiles(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        open_device("CUDA:sm_80")
    except DeviceError as e:
        pytest.skip(f"no CUDA compiler: {e}")
    words = ("x @ y", "--device", "CUDA:sm_80", "--dtype", "x=float16", "--dtype", "y=float16")
    assert "mma" in planned(capsys, *words)


def test_no_memory_is_taken_and_nothing_is_launched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    device = open_device("CPU")

    def fail(*args: object) -> None:
        raise AssertionError("something was run")

    for name in ("alloc", "copy_in", "copy_out", "compile", "load", "launch"):
        monkeypatch.setattr(type(device), name, fail)
    out = planned(capsys, "relu(x @ w) + 1", "--device", "CPU", "--shape", "x=1000000,300000", "--shape",
                  "w=300000,8", "--schedule")  # fmt: skip
    assert "1000000×8" in out


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("softmax(x", "'(' was never closed, at column 8"),
        ("sotfmax(x)", "no function 'sotfmax'. Did you mean softmax"),
        ("x.sotfmax()", "Did you mean softmax"),
        ("1 + mtmul(x, y)", "at column 5:\n  1 + mtmul(x, y)\n      ^"),
        ("__import__('os')", "no function '__import__'"),
        ("open('/etc/passwd')", "no function 'open'"),
        ("x.__class__", "no property '__class__'"),
        ("x._value()", "no function '_value'"),
        ("x.node", "no property 'node'"),
        ("x.numpy()", "here nothing runs"),
        ("one_hot(x)", "positions must be integers"),
        ("x if y else x", "where(c, a, b)"),
        ("x and y", "& and |"),
        ("x < y < x", "chain of comparisons"),
        ("[a for a in x]", "ListComp"),
        ("(lambda: x)()", "no name"),
        ("x; y", "invalid syntax"),
        ("x.shape", "no tensor"),
        ("sum(*x)", "* in a call"),
        ("softmax(x, axis=1)", "TypeError"),
        ("x + 'a'", "column 1"),
        ("1 / 0 + x", "ZeroDivisionError"),
        ("softmax()", "takes a tensor first"),
    ],
)
def test_errors_say_what_and_where(expression: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert says in refused(capsys, expression, "--device", "CPU")


def test_values_are_not_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    err = refused(capsys, "one_hot(x)", "--dtype", "int32", "--device", "CPU")
    assert "it looks at values" in err
    assert "1 kernel" in planned(capsys, "one_hot(x, 10)", "--dtype", "int32", "--device", "CPU")
    assert Tensor([1.0, 2.0], device="CPU").sum().item() == 3  # the engine runs again


def test_a_shape_mismatch_names_what_was_assumed(capsys: pytest.CaptureFixture[str]) -> None:
    err = refused(capsys, "x @ y", "--shape", "x=8,300", "--device", "CPU")
    assert "(300)" in err
    assert "--shape y=256,256" in err
    assert "--shape x" not in err
    both = refused(capsys, "x @ y", "--shape", "x=8,300", "--shape", "y=8,300", "--device", "CPU")
    assert "Assumed" not in both


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["x + 1", "--shape", "z=3"], "no input 'z'"),
        (["x + 1", "--shape", "x=three"], "write sizes and commas"),
        (["x + 1", "--dtype", "x=float99"], "no dtype 'float99'"),
        (["x + 1", "--device", "CPUU"], "Did you mean CPU"),
        (["x + 1", "--device", "METAL:sim", "--dtype", "x=float64"], "holds no float64"),
    ],
)
def test_options_that_make_no_sense(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert says in refused(capsys, *words)


def test_several_results_lists_and_functions_that_make_tensors(capsys: pytest.CaptureFixture[str]) -> None:
    data = record(capsys, "(x + y, x * y)", "--device", "CPU", "--shape", "x=4", "--shape", "y=4")
    assert len(data["kernels"]) == 1  # siblings share one
    assert record(capsys, "cat([x, y])", "--device", "CPU")["kernels"][0]["shape"] == [512, 256]
    assert record(capsys, 'einsum("ij,jk->ik", x, y)', "--device", "CPU")["kernels"]
    assert record(capsys, "zeros(256) + x[0] * pi + x[1:2].T.sum()", "--device", "CPU")["kernels"]
    assert "0 kernels" in planned(capsys, "x", "--device", "CPU")


def test_names_that_are_no_functions_are_inputs() -> None:
    assert parse("where(mask > 0, sum, -inf) + sum(float32)").inputs == ("mask", "sum")
    assert {"softmax", "conv2d", "rand", "where", "exp"} <= set(functions())
    assert not {"numpy", "item", "realize", "backward", "assign", "to"} & set(functions())


def test_as_a_process_in_a_pipe() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "portwright.cli.main", "kernel", "softmax(x)", "--device", "CUDA:sim"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "__shared__" in done.stdout
    assert "\x1b" not in done.stdout
