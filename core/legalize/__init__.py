"""What a device lacks, in terms of what it has.

In: values (``core.value``) of any primitive and dtype. Out: values of the same meaning, to the contract's
accuracy, made of the primitives that the Spec calls native and the extras that it offers, in the dtypes that
it computes in. float16 and bfloat16 on a device that only holds them are uint16 in memory and float32 in
registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..device import Spec
from ..dtype import DType, bfloat16, float16, float32, uint16
from ..ops import Op
from ..value import Extra, Value, bitcast, make, rewrite
from . import roots, simple
from .exp2 import exp2
from .log2 import log2
from .narrow import lower
from .quotient import quotient
from .sin import sin
from .term import Target, Term

_BUILDERS: dict[Op, Callable[..., Term]] = {
    Op.SUB: simple.sub,
    Op.NEG: simple.neg,
    Op.MAX: simple.maximum,
    Op.CMPNE: simple.cmpne,
    Op.WHERE: simple.where,
    Op.AND: simple.and_,
    Op.OR: simple.or_,
    Op.XOR: simple.xor,
    Op.SHL: simple.shl,
    Op.SHR: simple.shr,
    Op.IDIV: simple.idiv,
    Op.MOD: simple.mod,
    Op.RECIP: roots.recip,
    Op.SQRT: roots.sqrt,
    Op.EXP2: exp2,
    Op.LOG2: log2,
    Op.SIN: sin,
}

BUILT: frozenset[Op] = frozenset(_BUILDERS)
"""The primitives that can be built; a device must have the others."""


def storage_dtype(dtype: DType, spec: Spec) -> DType:
    """What a kernel's memory of ``dtype`` is made of."""
    return uint16 if _is_held(dtype, spec) else dtype


def register_dtype(dtype: DType, spec: Spec) -> DType:
    """What a Let or an accumulator of ``dtype`` is made of: wide enough for its exact value."""
    return float32 if _is_held(dtype, spec) else dtype


def to_storage(value: Value, spec: Spec) -> Value:
    """What a store of ``value`` writes, of ``storage_dtype``. To be legalized with the rest."""
    return bitcast(value, storage_dtype(value.dtype, spec))


def legalize(values: Sequence[Value], spec: Spec, memo: dict[Value, Value] | None = None) -> list[Value]:
    """``values`` in what the device of ``spec`` has.

    Args:
        values: of any primitive and dtype; a narrow value that is to be stored goes through ``to_storage``.
        spec: the device's.
        memo: what was legalized before for the same device, kept between calls.

    Raises:
        DeviceError: when the device lacks what cannot be built, or a dtype that it cannot stand in for.
    """
    target = Target(spec, _BUILDERS)
    held = frozenset(d for d in (float16, bfloat16) if _is_held(d, spec))
    memo = {} if memo is None else memo

    def rule(old: Value, srcs: tuple[Value, ...]) -> Value:
        if old.dtype in held or any(s.dtype in held for s in old.srcs):
            return lower(target, old, srcs, held, memo)
        target.require(old.dtype)
        return _lower(target, old, srcs, memo)

    return rewrite(values, rule, memo)


def _lower(target: Target, old: Value, srcs: tuple[Value, ...], memo: dict[Value, Value]) -> Value:
    op = old.op
    division = quotient(target, old, srcs, memo)
    if division is not None:
        return division
    if op is Op.RECIP and target.divides and not target.has(op):
        return target.divide(Term(target, srcs[0]).number(1.0).value, srcs[0])
    if op is Extra.DIV:
        return target.divide(*srcs)
    if op is Extra.FMA:
        a, b, c = (Term(target, s) for s in srcs)
        return a.times_plus(b, c).value
    if isinstance(op, Op) and srcs and op not in (Op.CAST, Op.BITCAST):
        return target.emit(op, *srcs)
    return old if srcs == old.srcs else make(op, old.dtype, srcs, old.arg, old.lanes)


def _is_held(dtype: DType, spec: Spec) -> bool:
    return dtype in (float16, bfloat16) and dtype not in spec.arithmetic


__all__ = ["BUILT", "legalize", "register_dtype", "storage_dtype", "to_storage"]
