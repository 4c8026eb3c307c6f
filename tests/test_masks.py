"""The CPU port masked, primitive by primitive and dtype by dtype, down to the floor: it still certifies.

The port under test prints what it prints through a dialect that refuses to say anything that the masked Spec
does not claim, so that no kernel can fall back on what the C compiler has anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import pytest

from portwright import Tensor
from portwright.conformance import runner
from portwright.conformance.ladder import Rung
from portwright.conformance.selection import Selection
from portwright.core import dtype as dt
from portwright.core import value as val
from portwright.core.device import Extra, Spec
from portwright.core.dialect import CLike, NamedKernel
from portwright.core.dtype import DType
from portwright.core.errors import DeviceError, PortError
from portwright.core.legalize import BUILT, FLOOR
from portwright.core.loops import Acc, Let, Scratch, Store, Update, statements
from portwright.core.ops import Op
from portwright.core.port_check import check_port
from portwright.core.registry import open_device
from portwright.devices.c_dialect import C
from portwright.devices.cpu import CPU

_SPELLED = {Op.ADD: Op.OR, Op.MAX: Op.OR, Op.MUL: Op.AND, Op.CMPNE: Op.XOR}
_MOVES = frozenset({Op.LOAD, Op.CAST, Op.BITCAST, val.Extra.REF, val.Extra.LANE, val.Extra.SPLAT})


class Strict(CLike):
    """C, less what the Spec does not claim."""

    def render(self, kernels: Sequence[NamedKernel], spec: Spec) -> str:
        for named in kernels:
            for s in statements(named.kernel.body):
                if isinstance(s, Let | Store | Update):
                    for v in val.toposort([s.value]):
                        self.check(v.op, v.dtype, v.srcs[-1].dtype if v.srcs else v.dtype, spec)
                if isinstance(s, Acc | Update):
                    dtype = s.dtype if isinstance(s, Acc) else s.value.dtype
                    self.check(s.op, dtype, dtype, spec)
                if isinstance(s, Scratch):
                    self.holds(s.memory.dtype, spec)
            for p in named.kernel.params:
                self.holds(p.dtype, spec)
        return super().render(kernels, spec)

    @staticmethod
    def check(op: val.ValueOp, dtype: DType, operand: DType, spec: Spec) -> None:
        if isinstance(op, Op):
            spelled = _SPELLED.get(op, op) if operand.is_bool else op
            assert {op, spelled} <= spec.native, f"{op} of {operand} is printed, which {spec.name} lacks"
        elif op in (val.Extra.FMA, val.Extra.DIV):
            assert Extra[op.name] in spec.extras, f"{op} is printed, which {spec.name} does not offer"
        computed = dtype in spec.arithmetic or dtype.is_bool
        moved = op in _MOVES and dtype in (dt.uint8, dt.uint16)
        assert computed or moved, f"{op} of {dtype} is printed, which {spec.name} does not compute in"

    @staticmethod
    def holds(dtype: DType, spec: Spec) -> None:
        assert dtype in spec.arithmetic | {dt.uint8, dt.uint16}, f"memory of {dtype}"


class Masked(CPU):
    """The CPU, which claims less and says nothing else."""

    dialect = Strict(**{f.name: getattr(C, f.name) for f in fields(C)})

    def __init__(self, argument: str | None = None) -> None:
        super().__init__(argument)
        self.spec = replace(self.spec, name="MASKED")


def certify(mask: str, rungs: Sequence[Rung], keyword: str = "") -> None:
    """Every case of the masked port passes, and there are some."""
    outcome = runner.run(Masked(f"without={mask}"), Selection(tuple(rungs), keyword))
    assert outcome.passed, outcome.failures[0].message
    assert any(r.outcome == "passed" for r in outcome.results)


OPS = sorted((op.name for op in BUILT), key=str)
HELPERS = "CMPNE,WHERE,XOR,SHR,SHL,IDIV,MOD,SUB,NEG,MAX,fma,div"
"""What the transcendental primitives are built with, and may lack as well."""


@pytest.mark.parametrize("op", OPS)
def test_without_a_primitive(op: str) -> None:
    dtypes = ("float32", "int32", "uint8", "int64", "bool")
    cases = "test_where" if op == "WHERE" else " or ".join(f"{op}-{d}" for d in dtypes)
    certify(f"{op},fma,div,vectors", [Rung.PRIMITIVES], cases)


@pytest.mark.parametrize("op", ["RECIP", "SQRT", "EXP2", "LOG2", "SIN"])
def test_without_what_builds_it(op: str) -> None:
    certify(f"RECIP,SQRT,EXP2,LOG2,SIN,{HELPERS}", [Rung.PRIMITIVES], op)


DTYPES = ["int8", "uint16", "uint32", "int64"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_without_a_dtype(dtype: str) -> None:
    alone = f"({dtype}] or {dtype}-) and not u{dtype}"
    certify(dtype, [Rung.PRIMITIVES, Rung.REDUCTIONS], alone)
    certify(dtype, [Rung.CASTS], f"{dtype}-float32 or float32-{dtype} or int16-{dtype}")


def test_at_the_floor() -> None:
    certify("floor,bool", [Rung.PRIMITIVES], "SIN- or IDIV- or MAX- or test_where")
    certify("floor,bool", [Rung.CASTS], "bool or float16-int64 or uint64-float32 or int64-bfloat16")
    certify("floor,bool", [Rung.REDUCTIONS], "bool or int64 or uint32")
    certify("floor,bool", [Rung.FUSED], "gather or scatter or softmax or program")


def test_masked_twice_is_masked_once() -> None:
    once, twice = (open_device(f"CPU:without={m}").spec for m in ("SIN,int64", "int64,SIN,SIN"))
    assert once == twice
    assert Op.SIN not in once.native
    assert dt.int64 in once.dtypes - once.arithmetic


def test_the_floor_is_all_that_is_left() -> None:
    spec = open_device("CPU:without=floor").spec
    assert spec.native == FLOOR | {Op.AND}
    assert spec.arithmetic == {dt.bool_, dt.float32, dt.int32}
    assert spec.dtypes == frozenset(dt.ALL) - {dt.float64}
    assert not spec.extras
    assert not spec.vector_bytes


@pytest.mark.parametrize("mask", sorted(op.name for op in FLOOR))
def test_below_the_floor_is_refused(mask: str) -> None:
    with pytest.raises(PortError, match=f"lacks {mask}, which nothing can be built without"):
        open_device(f"CPU:without={mask}")


def test_below_the_floor_is_refused_at_once() -> None:
    spec = open_device("CPU").spec
    poor = replace(
        spec,
        native=spec.native - {Op.ADD, Op.AND, Op.OR},
        arithmetic=spec.arithmetic - {dt.float32, dt.float64, dt.uint64},
    )
    with pytest.raises(PortError) as refused:
        check_port(CPU, poor)
    assert str(refused.value) == (
        "CPU: lacks ADD, AND or OR, which nothing can be built without; "
        "does not compute in float32, which nothing stands in for; "
        "claims float64 without computing in it, and nothing stands in for it"
    )
    with pytest.raises(PortError, match="computes in float64 but not in uint64, which its bits are"):
        check_port(CPU, replace(spec, arithmetic=spec.arithmetic - {dt.uint64}))


@pytest.mark.parametrize("argument", ["without=SINE", "with=SIN", "fast"])
def test_what_is_no_mask_is_refused(argument: str) -> None:
    with pytest.raises(DeviceError, match="CPU"):
        open_device(f"CPU:{argument}")


def test_the_dialect_says_nothing_else() -> None:
    spec = Masked("without=SIN,int64,OR").spec
    Strict.check(Op.ADD, dt.float32, dt.float32, spec)
    for op, dtype in (
        (Op.SIN, dt.float32),
        (Op.ADD, dt.int64),
        (Op.ADD, dt.bool_),
        (val.Extra.REF, dt.int64),
    ):
        with pytest.raises(AssertionError):
            Strict.check(op, dtype, dtype, spec)


def test_float64_is_refused_where_it_cannot_be_had() -> None:
    x = Tensor([1.0, 2.0], device="CPU:without=float64")
    with pytest.raises(DeviceError, match=r"in float64, which a cast to it needs, .*cast to another dtype"):
        (x.cast("float64") + 1).numpy()
    assert (x + 1).numpy().tolist() == [2.0, 3.0]
