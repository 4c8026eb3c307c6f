"""Ports driven by dispatch: tables of every size give the same values, and what ran where is counted."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dispatching import FULL, MEMORY, Apart, Array, copy, fill, port, primitive, view

import portwright
from portwright import Tensor
from portwright.cli.devices import _primitives
from portwright.conformance import certificate, runner
from portwright.conformance.ladder import Rung
from portwright.conformance.report import coverage
from portwright.conformance.selection import Selection
from portwright.conformance.subject import subject_of
from portwright.core import engine, graph, registry
from portwright.core.device import Ability, Evidence
from portwright.core.dtype import DType, bfloat16, bool_, float16, float32, float64, int32
from portwright.core.errors import DeviceError, NotWrittenError, PortError
from portwright.core.evaluate import evaluate
from portwright.core.graph import Node
from portwright.core.not_written import not_written
from portwright.core.ops import ALL_OPS, Op
from portwright.core.port_check import check_port
from portwright.core.trace import KernelRun
from portwright.devices.dispatch import Dispatch, Native, Strided
from portwright.templates.render import render

CONTIGUOUS = {op: Native(r.call, contiguous=op not in MEMORY) for op, r in FULL.items()}
PART = {
    Op.ADD: Native(primitive(Op.ADD), frozenset({float32})),
    Op.MUL: Native(primitive(Op.MUL)),
    Op.CMPLT: Native(primitive(Op.CMPLT), frozenset({float32})),
    Op.WHERE: Native(primitive(Op.WHERE), frozenset({float32})),
    Op.CAST: Native(primitive(Op.CAST), frozenset({float16, float32})),
    Op.LOAD: Native(copy),
}
TABLES: dict[str, Mapping[Op, Native]] = {"full": FULL, "contiguous": CONTIGUOUS, "part": PART, "empty": {}}


@pytest.fixture(autouse=True)
def no_device_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_opened", {})


def opened(table: Mapping[Any, Any], **claims: Any) -> Dispatch:
    device = port(table, **claims)()
    registry.adopt(device)
    return device


def tensor(shape: tuple[int, ...], dtype: DType = float32) -> Tensor:
    rng = np.random.default_rng(5)
    values = rng.integers(-4, 5, shape) if dtype.is_int else rng.standard_normal(shape)
    return Tensor(values, dtype=dtype, device="ACME").realize()


# ----------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_table_certifies_alike(table: Mapping[Op, Native]) -> None:
    chosen = "not float64 and not uint and not int16 and not int64 and not float8"
    kept = (Rung.OPEN, Rung.VIEWS, Rung.REDUCTIONS)
    outcome = runner.run(port(table)(), Selection(kept, chosen))
    assert [r.message for r in outcome.failures] == []
    assert len(outcome.results) == len(outcome.cases) > 100


@pytest.mark.parametrize("make", [port(FULL), port(CONTIGUOUS), port(PART), port({}), Apart])
def test_models_learn(make: type[Dispatch]) -> None:
    outcome = runner.run(make(), Selection((Rung.GRADIENTS,), "test_mlp or softmax"))
    assert outcome.passed
    assert len(outcome.cases) > 1


def test_memory_that_the_host_does_not_see() -> None:
    device = Apart()
    kept = (Rung.OPEN, Rung.MEMORY, Rung.COPY, Rung.VIEWS)
    outcome = runner.run(device, Selection(kept))
    assert [r.message for r in outcome.failures] == []
    assert device.calls.host.keys() <= {Op.LOAD, Op.STORE, Op.CONST}, "GATHER, SCATTER and IOTA alone"


def test_memory_goes_back_while_a_graph_is_walked() -> None:
    device = Apart()
    registry.adopt(device)
    x = tensor((1000,))
    y = x
    most = [0]
    alloc = device.alloc
    device.alloc = lambda n: most.append(len(device.blocks)) or alloc(n)  # type: ignore[method-assign]
    for _ in range(20):
        y = y * x + x
    y.realize()
    assert max(most) <= 4
    del x, y
    assert not device.blocks


def test_nodes_of_one_piece_are_computed_once() -> None:
    device = opened(FULL)
    x = tensor((64,))
    shared = x.exp2()
    Tensor.realize(shared * 2.0, shared + 1.0)
    assert device.calls.native[Op.EXP2] == 1


# ---------------------------------------------------------------------------------------------- counting


def test_an_empty_table_is_all_host() -> None:
    device = opened({})
    assert device.spec.native == frozenset()
    assert device.spec.on_host == ALL_OPS
    assert device.spec.legalized == frozenset()
    assert coverage(subject_of(device).said).startswith("primitives: native 0/25, host 25/25; ")
    ((tensor((3, 4)) + 1.5) * 2.0).sum(0).realize()
    assert device.calls.native.total() == 0
    assert device.calls.host[Op.ADD] == 2, "the sum counts once"
    assert device.calls.host[Op.MUL] == 1


def test_what_a_table_has_runs_natively() -> None:
    device = opened(FULL)
    ((tensor((4, 5)) + 1.5) * tensor((4, 5)).permute(1, 0).reshape(4, 5)).sum(1).realize()
    assert device.calls.host.total() == 0
    counts = {op: n for op, n in device.calls.native.items() if op is not Op.ADD}
    assert counts == {Op.CONST: 1, Op.LOAD: 1, Op.MUL: 1}
    assert device.calls.native[Op.ADD] == 1 + 3, "five elements fold in three steps"


def test_a_row_of_some_dtypes_leaves_the_others_to_the_host() -> None:
    device = opened(PART)
    for dtype in (float32, int32):
        (tensor((8,), dtype) + tensor((8,), dtype)).realize()
    assert (device.calls.native[Op.ADD], device.calls.host[Op.ADD]) == (1, 1)
    (tensor((8,)) < tensor((8,))).where(tensor((8,)), tensor((8,))).realize()
    assert device.calls.native[Op.CMPLT] == device.calls.native[Op.WHERE] == 1
    tensor((8,), float16).cast(float32).realize()
    tensor((8,), float16).cast(int32).realize()
    assert (device.calls.native[Op.CAST], device.calls.host[Op.CAST]) == (1, 1)


def test_narrow_floats_fold_in_float32() -> None:
    device = opened(PART)
    for dtype, native in ((float16, 8), (bfloat16, 0)):  # no row casts bfloat16: the host folds
        before = device.calls.native[Op.ADD]
        node = graph.reduce(Op.ADD, tensor((100,), dtype).node, (0,))
        (wanted,) = evaluate([node], engine.read)
        engine.realize([node], "ACME")
        assert np.array_equal(engine.read(node), wanted)
        assert device.calls.native[Op.ADD] - before == native
    assert device.calls.native[Op.CAST] == 2
    assert device.calls.host == {Op.ADD: 1}


def test_claims_say_what_is_native_in_part() -> None:
    device = opened(PART, dtypes=frozenset({bool_, int32, float16, float32}))
    spec = device.spec
    assert spec.native == frozenset(PART)
    assert spec.native_on == {
        Op.ADD: {float32}, Op.CMPLT: {float32}, Op.WHERE: {float32}, Op.CAST: {float16, float32},
    }  # fmt: skip
    assert spec.arithmetic == spec.dtypes, "MUL computes in all of them"
    assert "native 6/25 (4 of them on some dtypes), host 19/25" in coverage(subject_of(device).said)
    count, part = _primitives(spec)
    assert count.startswith("native 6/25; on the host: CONST, STORE, BITCAST, SUB, NEG")
    assert part.startswith("native in part: ADD (float32 only), CMPLT (float32 only)")
    every = frozenset({float32})
    assert opened({Op.SQRT: Native(primitive(Op.SQRT), every)}, dtypes=every).spec.native_on == {}


def test_a_certificate_says_what_ran_on_the_host() -> None:
    device = opened(PART)
    document = certificate.build(runner.run(device, Selection((Rung.OPEN,))), device)
    assert document["primitives"] == {"total": 25, "native": 6, "legalized": 0, "host": 19}
    assert document["spec"]["native_on"]["CAST"] == ["float16", "float32"]


def test_debug_counts_what_ran_where(capsys: pytest.CaptureFixture[str]) -> None:
    opened(PART)
    x = tensor((16,))
    with portwright.debug.record() as events:
        (x * x - x).realize()
    (ran,) = (e for e in events if isinstance(e, KernelRun))
    assert ran.calls is not None
    assert (dict(ran.calls.native), dict(ran.calls.host)) == ({Op.MUL: 1}, {Op.SUB: 1})
    with portwright.debug(2):
        (x * x + x).realize()
    assert "  2 native   0 host" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ faults


def test_every_fault_of_a_table_is_named_at_once() -> None:
    table = {
        "ADD": Native(copy),
        Op.MUL: copy,
        Op.SUB: Native(3),  # type: ignore[arg-type]
        Op.MAX: Native(copy, frozenset({float64})),
        Op.SQRT: Native(copy, frozenset({int32})),
    }
    broken = port(table, frozenset({int32, float32}))
    with pytest.raises(PortError) as told:
        check_port(broken, broken().spec)
    said = str(told.value)
    assert "its table names 'ADD', which is no primitive" in said
    assert "its table has <function copy" in said
    assert "its table has 3 for SUB, which cannot be called" in said
    assert "its MAX takes float64, which it does not claim" in said
    assert "its SQRT takes int32, which it has no meaning on" in said


def test_a_call_that_raises_says_what_it_was_given() -> None:
    def call(out: Strided, a: Strided, b: Strided) -> None:
        raise ValueError("error 0x17")

    opened({Op.ADD: Native(call)})
    with pytest.raises(
        DeviceError, match=r"ACME: ADD of float32\[12\], float32\[12\] to float32\[12\]"
    ) as told:
        (tensor((12,)) + tensor((12,))).realize()
    assert "failed: ValueError: error 0x17" in str(told.value)
    assert isinstance(told.value.__cause__, ValueError)


def test_a_call_that_is_not_written_says_so_itself() -> None:
    def call(out: Strided, a: Strided) -> None:
        raise not_written("the square root of a")

    opened({Op.SQRT: Native(call)})
    with pytest.raises(NotWrittenError, match="the square root of a"):
        tensor((12,)).sqrt().realize()


def test_what_a_call_returns_is_not_thrown_away() -> None:
    opened({Op.ADD: Native(lambda out, a, b: 7)})  # type: ignore[arg-type, return-value]
    with pytest.raises(DeviceError, match=r"ADD of .* returned 7: a call returns None"):
        (tensor((12,)) + tensor((12,))).realize()


RUNGS = (Rung.COPY, Rung.PRIMITIVES, Rung.VIEWS)


def faulty(**calls: Any) -> list[Any]:
    return [pytest.param(op, call, rung, id=name) for name, (op, call, rung) in calls.items()]


def flat(x: Strided) -> Array:
    """The first elements of a buffer, whatever the view says."""
    return x.handle.view(x.dtype.numpy)[: x.size].reshape(x.shape)


def from_the_start(out: Strided, a: Strided, b: Strided) -> None:
    whole = Strided(a.buffer, a.dtype, a.shape, a.strides)
    view(out)[...] = np.subtract(view(whole) if min(a.strides) >= 0 else view(a), view(b))


def without_strides(out: Strided, a: Strided, b: Strided) -> None:
    held = a.handle[a.offset * a.dtype.itemsize :].view(a.dtype.numpy)
    view(out)[...] = np.subtract(np.resize(held, a.shape), view(b))


def bool_is_255(out: Strided, a: Strided, b: Strided) -> None:
    flat(out).view(np.uint8)[...] = np.where(view(a) < view(b), 255, 0)


def drops_nan(out: Strided, a: Strided, b: Strided) -> None:
    view(out)[...] = np.fmax(view(a), view(b))


def in_place(out: Strided, a: Strided, b: Strided) -> None:
    with np.errstate(all="ignore"):
        view(out)[...] = view(a) * view(b)
        view(a)[...] = view(out)


def one_more(out: Strided, a: Strided, b: Strided) -> None:
    with np.errstate(all="ignore"):
        view(out)[...] = view(a) * view(b)
    base = out.handle.base if out.handle.base is not None else out.handle
    at = out.handle.ctypes.data - base.ctypes.data + out.size * out.dtype.itemsize
    base[at] = 1


@pytest.mark.parametrize(
    ("op", "call", "rung"),
    faulty(
        ignores_offset=(Op.SUB, from_the_start, Rung.VIEWS),
        ignores_strides=(Op.SUB, without_strides, Rung.VIEWS),
        bool_is_255=(Op.CMPLT, bool_is_255, Rung.PRIMITIVES),
        max_loses_nan=(Op.MAX, drops_nan, Rung.PRIMITIVES),
        writes_an_operand=(Op.MUL, in_place, Rung.PRIMITIVES),
        writes_past_its_output=(Op.MUL, one_more, Rung.PRIMITIVES),
    ),
)
def test_the_suite_finds_a_faulty_call(op: Op, call: Any, rung: Rung) -> None:
    device = port({op: Native(call, frozenset({float32}))})()
    chosen = "float32 or test_random or test_composed"
    outcome = runner.run(device, Selection(RUNGS, chosen, stop=True))
    assert not outcome.passed
    assert {r.rung for r in outcome.failures} == {rung}
    assert "again      portwright certify ACME" in outcome.failures[0].message


# ------------------------------------------------------------------------------------------------ calls


def seen(node: Node, op: Op, contiguous: bool = False) -> list[Strided]:
    """The views of the call of ``op`` while a node is computed."""
    found: list[list[Strided]] = []

    def call(out: Strided, *operands: Strided) -> None:
        found.append([out, *operands])
        FULL[op].call(out, *operands)

    device = opened({**FULL, op: Native(call, contiguous=contiguous)})
    (wanted,) = evaluate([node], engine.read)
    engine.realize([node], device.name)
    assert np.array_equal(engine.read(node), wanted)
    return found[0]


def placed(*shape: int) -> Node:
    opened(FULL)
    return tensor(shape).node


def test_whole_tensors_are_one_axis() -> None:
    x = placed(3, 4, 5)
    out, a, b = seen(graph.elementwise(Op.ADD, x, x), Op.ADD)
    assert {v.shape for v in (out, a, b)} == {(60,)}
    assert {v.strides for v in (out, a, b)} == {(1,)}
    assert {v.offset for v in (out, a, b)} == {0}


def test_views_are_as_few_axes_as_walk_them() -> None:
    x = placed(3, 4, 5)
    row = graph.expand(graph.shrink(x, ((1, 2), (2, 3), (0, 5))), (3, 4, 5))
    out, a, b = seen(graph.elementwise(Op.ADD, graph.flip(x, (2,)), row), Op.ADD)
    assert out.shape == a.shape == b.shape == (12, 5)
    assert (out.strides, out.offset) == ((5, 1), 0)
    assert (a.strides, a.offset) == ((5, -1), 4)
    assert (b.strides, b.offset) == ((0, 1), 30)


def test_contiguous_calls_get_rows() -> None:
    x = placed(3, 4)
    turned = graph.permute(x, (1, 0))
    out, a, b = seen(graph.elementwise(Op.ADD, turned, graph.contiguous(turned)), Op.ADD, contiguous=True)
    assert [v.strides for v in (out, a, b)] == [(1,), (1,), (1,)]


def test_a_scalar_has_an_axis() -> None:
    x = placed()
    assert [v.shape for v in seen(graph.elementwise(Op.NEG, x), Op.NEG)] == [(1,), (1,)]


def test_padding_is_stored_among_zeros() -> None:
    x = placed(2, 3)
    out, a = seen(graph.contiguous(graph.pad(x, ((1, 0), (2, 2)))), Op.STORE)
    assert (out.shape, out.strides, out.offset) == ((2, 3), (7, 1), 9)
    assert (a.strides, a.offset) == ((3, 1), 0)


def test_constants_are_python_numbers() -> None:
    given: list[Any] = []

    def call(out: Strided, value: Any) -> None:
        given.append(value)
        fill(out, value)

    opened({**FULL, Op.CONST: Native(call)})
    (tensor((4,)) * 2.5).realize()
    (tensor((4,), int32) * 3).realize()
    assert given == [2.5, 3]
    assert [type(v) for v in given] == [float, int]


def test_host_views_are_used_where_they_are_claimed() -> None:
    device = opened({})
    assert Ability.HOST_VIEW in device.spec.abilities

    def refuse(data: memoryview, handle: Any) -> None:
        raise AssertionError("copied out")

    y = tensor((4,)) + 1.0
    device.copy_out = refuse  # type: ignore[method-assign]
    y.realize()


def test_jit_replays_on_other_memory() -> None:
    device = opened(FULL)

    @portwright.jit
    def step(x: Tensor) -> Tensor:
        return (x * 2.0 + 1.0).sum(0)

    for n in range(5):
        x = Tensor(np.full((3, 4), n, np.float32), device="ACME").realize()
        assert step(x).numpy().tolist() == [3 * (2.0 * n + 1)] * 4
    assert device.calls.host.total() == 0


# ------------------------------------------------------------------------------------------- the template


@pytest.mark.parametrize("floats", ["float32", "float16 bfloat16 float32 float64"])
def test_a_scaffold_is_green_on_its_first_minute(
    floats: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {
        "name": "acme", "NAME": "ACME", "Class": "Acme", "package": "portwright_acme", "vendor": "Acme Corp",
        "project": "portwright-acme", "family": "dispatch", "through": "", "licence": "MIT", "year": "2026",
        "integers": "bool int8 int32", "floats": floats,
    }  # fmt: skip
    folder = tmp_path / "portwright_acme"
    folder.mkdir()
    (folder / "__init__.py").touch()
    for name, text in render("dispatch", answers).items():
        (folder / name).write_text(text, encoding="utf-8")
        assert len(text.splitlines()) < 120
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "portwright_acme", raising=False)
    monkeypatch.delitem(sys.modules, "portwright_acme.table", raising=False)
    monkeypatch.delitem(sys.modules, "portwright_acme.port", raising=False)
    device = importlib.import_module("portwright_acme.port").Acme()
    outcome = runner.run(device, Selection((Rung.OPEN, Rung.MEMORY, Rung.COPY)))
    assert outcome.passed
    assert device.spec.evidence is Evidence.EMULATED
    assert "native 0/25, host 25/25" in coverage(subject_of(device).said)
    assert device.spec.driver == {"library": "none yet: everything runs on the host"}
