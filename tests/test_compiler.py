"""Kernels that are wanted together: compiled in few texts, kept one by one, refused one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from portwright import Tensor, debug
from portwright.core import compiler, trace
from portwright.core.compiler import UNIT, compile_all, share_out
from portwright.core.errors import CompileError
from portwright.core.loops import Memory
from portwright.core.pipeline import Stages
from portwright.core.registry import open_device


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTWRIGHT_CACHE", str(tmp_path))


def sums(count: int, columns: int) -> list[Tensor]:
    """As many tensors, each a kernel of its own."""
    x = np.arange(64, dtype=np.float32)
    return [Tensor(np.resize(x, (3 + i, columns)), device="CPU").sum(1) for i in range(count)]


def stages(tensors: Sequence[Tensor]) -> list[Stages]:
    """Their kernels, none of them compiled."""
    with debug.record() as events:
        for t in tensors:
            t.kernels()
    return [e.stages for e in events if isinstance(e, trace.KernelPlanned) and e.stages is not None]


@cache
def any_kernel() -> Stages:
    return stages(sums(1, 9))[0]


def compiled(events: Sequence[trace.Event]) -> list[tuple[str, ...]]:
    return [e.kernels for e in events if isinstance(e, trace.Compiled)]


def test_kernels_wanted_together_are_compiled_in_few_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler.os, "cpu_count", lambda: 2)
    made = stages(sums(11, 5))
    with debug.record() as events:
        programs = compile_all(open_device("CPU"), made)
    assert [p.name for p in programs] == [s.name for s in made]
    assert sorted(map(len, compiled(events))) == [5, 6]


def test_results_of_a_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler.os, "cpu_count", lambda: 1)
    parts = [t.contiguous() for t in sums(5, 6)]
    total = parts[0].sum()
    for part in parts[1:]:
        total = total + part.sum()
    with debug.record() as events:
        got = total.item()
    assert any(len(unit) > 1 for unit in compiled(events))
    x = np.arange(64, dtype=np.float32)
    assert got == sum(np.resize(x, (3 + i, 6)).sum() for i in range(5))


def test_a_kernel_is_found_whatever_it_was_compiled_with() -> None:
    device, made = open_device("CPU"), stages(sums(3, 7))
    compile_all(device, made)
    compiler.forget(device)
    with debug.record() as events:
        compile_all(device, made[1:2])
        compile_all(device, made)
    assert compiled(events) == []
    assert [(e.kernel, e.kept) for e in events if isinstance(e, trace.Loaded)] == [
        (s.name, True) for s in (made[1], made[0], made[2])
    ]


def test_a_refused_kernel_is_named_alone_and_holds_no_other_back(monkeypatch: pytest.MonkeyPatch) -> None:
    device, made = open_device("CPU"), stages(sums(4, 8))
    monkeypatch.setattr(compiler.os, "cpu_count", lambda: 1)
    real, bad = device.compile, made[-1]

    def compile(source: str) -> bytes:
        if bad.name in source:
            raise CompileError("refused", log=f"what {bad.name} says", source=source)
        return real(source)

    monkeypatch.setattr(device, "compile", compile)
    with pytest.raises(CompileError) as refused:
        compile_all(device, made)
    assert refused.value.source == bad.source
    compile_all(device, made[:-1])


@pytest.mark.parametrize(
    ("count", "at_once", "sizes"),
    [
        *[(0, 2, []), (1, 2, [1]), (2, 2, [1, 1]), (3, 2, [1, 2]), (5, 1, [5])],
        *[(2 * UNIT, 2, [UNIT, UNIT]), (2 * UNIT + 1, 2, [5, 6, 6])],
    ],
)
def test_units(count: int, at_once: int, sizes: list[int]) -> None:
    one = any_kernel()
    made = [replace(one, name=f"k{i}") for i in range(count)]
    units = share_out(made, at_once)
    assert sorted(map(len, units)) == sizes
    assert sorted(s.name for unit in units for s in unit) == sorted(s.name for s in made)


def test_units_are_as_long_as_one_another() -> None:
    one = any_kernel()
    made = [replace(one, name=f"k{n}", source="x" * n) for n in (10, 20, 30, 100, 110, 150)]
    assert {sum(len(s.source) for s in unit) for unit in share_out(made, 2)} == {210}


def test_wide_kernels_are_apart() -> None:
    one = any_kernel()
    far = Memory("in9", one.final.params[0].dtype, 2**31)
    wide = replace(one, name="wide", final=replace(one.final, params=(*one.final.params, far)))
    assert [[s.name for s in unit] for unit in share_out([one, wide], 1)] == [[one.name], ["wide"]]
