"""``portwright explain``: it says what the contract's table says, and what the reference computes."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from portwright.cli.edges import NEVER_SENT, grids
from portwright.cli.main import main
from portwright.core import dtype as dt
from portwright.core.dialect import CLike
from portwright.core.ops import PRIMITIVES, Op, Primitive, Tier
from portwright.core.registry import port_of


def explained(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["explain", *words]) == 0
    return capsys.readouterr().out


def record(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    return json.loads(explained(capsys, *words, "--json"))


def table(text: str, title: str) -> dict[tuple[str, str], str]:
    """The cells of a printed table, by row and column."""
    lines = text.partition(f"{title}\n")[2].splitlines()
    columns = [c for c in lines[0].split() if c not in ("a", "b", "c", "to", "\\", "a,", "b,")]
    cells = {}
    for line in lines[1:]:
        words = line.split()
        if len(words) != len(columns) + 1:
            break
        cells |= {(words[0], c): w for c, w in zip(columns, words[1:], strict=True)}
    return cells


@pytest.mark.parametrize("op", Op, ids=lambda op: op.name)
def test_every_primitive_is_explained_by_its_row(op: Op, capsys: pytest.CaptureFixture[str]) -> None:
    p = PRIMITIVES[op]
    out = explained(capsys, op.name.lower())
    for words in (p.meaning, p.special, p.core_guards, p.operands.value, p.result.value):
        assert words in " ".join(out.split())
    if p.reference is not None:
        assert inspect.getsource(p.reference) in out
    for port in ("CPU", "CUDA", "METAL", "OPENCL", "ADRENO", "NUMPY"):
        assert port in out.partition("How dialects spell it")[2]
    for spelling in record(capsys, op.name)["dialects"]:
        assert bool(spelling["rows"]) != bool(spelling["built"])


def test_max_goes_through_nan_and_leaves_the_sign_of_zero_open(capsys: pytest.CaptureFixture[str]) -> None:
    cells = table(explained(capsys, "MAX"), "MAX(a, b) of float32")
    columns = {c for _, c in cells}
    assert all(cells["nan", c] == "nan" == cells[c, "nan"] for c in columns)
    assert cells["-0", "+0"] == cells["+0", "-0"] == "±0"
    assert cells["-inf", "tiny"] == "tiny"
    assert cells["max", "inf"] == "inf"


def test_comparisons_with_nan(capsys: pytest.CaptureFixture[str]) -> None:
    differs = table(explained(capsys, "CMPNE"), "CMPNE(a, b) of float32")
    less = table(explained(capsys, "CMPLT"), "CMPLT(a, b) of float32")
    assert differs["nan", "nan"] == "1"
    assert differs["-0", "+0"] == "0"
    assert {less["nan", c] for _, c in less} == {"0"}
    assert less["-0", "+0"] == "0"
    assert less["+0", "tiny"] == "1"


def test_integers_at_their_edges(capsys: pytest.CaptureFixture[str]) -> None:
    assert table(explained(capsys, "ADD"), "ADD(a, b) of int32")["max", "1"] == "min"
    quotients = table(explained(capsys, "IDIV"), "IDIV(a, b) of int32")
    assert quotients["-7", "3"] == "-2"  # toward zero
    assert quotients["min", "-1"] == NEVER_SENT
    assert "0" not in {c for _, c in quotients}
    assert table(explained(capsys, "MOD"), "MOD(a, b) of int32")["-7", "3"] == "-1"
    shifted = table(explained(capsys, "SHR", "--dtype", "int8"), "SHR(a, b) of int8")
    assert shifted["-7", "1"] == "-4"  # rounds down
    assert shifted["-128", "7"] == "-1"


def test_casts_say_what_is_left_open(capsys: pytest.CaptureFixture[str]) -> None:
    cells = table(explained(capsys, "CAST"), "CAST(a) from float32")
    assert cells["nan", "int32"] == cells["inf", "uint8"] == cells["-1.5", "uint8"] == "any"
    assert cells["-1.5", "int32"] == "-1"
    assert cells["nan", "bool"] == "1"
    assert cells["max", "float16"] == "inf"
    narrow = table(explained(capsys, "CAST"), "CAST(a) from int32")
    assert narrow["-1", "uint8"] == "255"


@pytest.mark.parametrize("p", [p for p in PRIMITIVES.values() if p.reference], ids=lambda p: p.name)
def test_the_tables_exist_on_every_dtype_that_a_primitive_takes(p: Primitive) -> None:
    for d in dt.ALL:
        if p.operands.accepts(d) and not (p.op is Op.BITCAST and d.is_bool):
            found = list(grids(p, d))
            assert found
            for grid in found:
                assert grid.rows
                assert all(len(cells) == len(grid.columns) and all(cells) for _, cells in grid.rows)


def test_accuracy_is_that_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    bounds = {(b["dtype"], b["tier"]): b["bound"] for b in record(capsys, "SIN")["accuracy"]}
    for d in dt.FLOATS:
        for tier in Tier:
            assert bounds[d.name, tier.value] == str(PRIMITIVES[Op.SIN].bound(d, tier))
    out = explained(capsys, "EXP2")
    assert "3 + 2·|x| ulp" in out
    assert "exact" in explained(capsys, "MAX")
    assert "correctly rounded (0.5 ulp)" in explained(capsys, "ADD")


def test_dialects_are_quoted_from_their_tables(capsys: pytest.CaptureFixture[str]) -> None:
    out = explained(capsys, "MAX")
    for port in ("CPU", "CUDA", "METAL", "OPENCL"):
        dialect = port_of(port).dialect
        assert isinstance(dialect, CLike)
        assert dialect.scalar[Op.MAX] in out
        assert dialect.vector[Op.MAX] in out
    assert "template <typename T> FN T maximum(T a, T b)" in out  # what CUDA's spelling calls
    assert "return select(b, a, (a > b) | (a != a));" in out
    assert "portwright.core.reference.maximum" in out  # the row of a port driven by dispatch
    wrapping = explained(capsys, "ADD")
    assert "WRAPPING(add, +)" in wrapping
    assert "add<{T}>({0}, {1})" in wrapping
    assert "as OR" in wrapping


def test_what_a_language_lacks_is_built_by_core(capsys: pytest.CaptureFixture[str]) -> None:
    spellings = {port: s for s in record(capsys, "EXP2")["dialects"] for port in s["ports"]}
    assert "built by core" in spellings["CPU"]["built"]
    assert "EXP2" not in spellings["CPU"]["built"]
    assert [r["text"] for r in spellings["OPENCL"]["rows"]] == ["exp2({0})"]


def test_the_list_has_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    out = explained(capsys)
    for p in PRIMITIVES.values():
        assert any(line.split()[:1] == [p.name] and p.meaning[:30] in line for line in out.splitlines())
    assert [row["name"] for row in record(capsys)] == [op.name for op in Op]


@pytest.mark.parametrize("d", dt.ALL, ids=str)
def test_dtypes_are_explained(d: dt.DType, capsys: pytest.CaptureFixture[str]) -> None:
    facts = record(capsys, d.name)
    assert facts["in memory"].startswith(f"{d.itemsize} byte")
    if d.is_float and d.is_in_numpy:
        assert np.isclose(float(facts["range"].partition(";")[0].lstrip("±")), float(np.finfo(d.numpy).max))
    assert d.name in explained(capsys, d.name)


def test_half_is_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    out = explained(capsys, "float16")
    assert "±65504" in out
    assert "with bfloat16, float32: float32" in out
    assert "CUDA: __half" in out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["MAXX"], "Did you mean MAX"),
        (["flaot16"], "Did you mean float16"),
        (["softmax"], "portwright kernel 'softmax(x)'"),
        (["zzzz"], "portwright explain lists"),
        (["SIN", "--dtype", "int32"], "SIN takes floats, not int32"),
        (["MAX", "--dtype", "float99"], "no dtype 'float99'"),
    ],
)
def test_errors_name_what_was_meant(words: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *words]) == 2
    assert hint in capsys.readouterr().err


def test_as_a_process_in_a_pipe() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "portwright.cli.main", "explain", "MAX"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert table(done.stdout, "MAX(a, b) of float32")["nan", "1"] == "nan"
    assert "\x1b" not in done.stdout
