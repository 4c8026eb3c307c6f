"""What a device lacks, in terms of what it has.

In: values (``core.value``) of any primitive and dtype. Out: values of the same meaning, to the contract's
accuracy, made of the primitives that the Spec calls native and the extras that it offers, in the dtypes that
it computes in. ``floor`` says what it must have at least, and how a dtype that it only holds is stood in for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from .. import value as val
from ..device import Spec
from ..dtype import DType, bool_, float64, int32, uint8, uint32
from ..errors import DeviceError
from ..index import Index
from ..ops import Op, Rounding
from ..value import Access, Extra, Number, Value, ValueOp, make, toposort
from . import divide, roots, simple
from .exp2 import exp2, exp2_of_whole
from .floor import FLOOR, FLOOR_BITS, FLOOR_DTYPES, STAND_IN, floor_faults
from .form import Form, Storage, element
from .log2 import log2
from .lost import lost_of
from .narrow import Narrow
from .quotient import quotient
from .sin import sin
from .small import Small
from .span import span_of
from .term import Target, Term
from .unsigned import Unsigned
from .words import Words

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
    Op.IDIV: divide.idiv,
    Op.MOD: divide.mod,
    Op.RECIP: roots.recip,
    Op.SQRT: roots.sqrt,
    Op.EXP2: exp2,
    Op.LOG2: log2,
    Op.SIN: sin,
}

_ON_BOOL: dict[Op, Callable[..., Term]] = {
    Op.ADD: simple.any_of,
    Op.OR: simple.any_of,
    Op.MAX: simple.any_of,
    Op.MUL: simple.all_of,
    Op.AND: simple.all_of,
    Op.XOR: simple.unequal,
    Op.CMPNE: simple.unequal,
    Op.WHERE: simple.choice,
}

_WHO: dict[ValueOp, str] = {Op.CAST: "a cast to it", Op.LOAD: "reading a tensor of it", Op.CONST: "a number"}

BUILT: frozenset[Op] = frozenset(_BUILDERS)
"""The primitives that can be built; a device must have the others."""


def _builder(op: Op, dtype: DType) -> Callable[..., Term] | None:
    return (_ON_BOOL if dtype.is_bool else _BUILDERS).get(op)


def _form(target: Target, dtype: DType, needed_by: str) -> Form:
    if dtype.is_float and dtype is not float64:
        return Narrow(target, dtype)
    if dtype.is_int and dtype.bits < 32:
        return Small(target, dtype)
    if dtype is uint32:
        return Unsigned(target, dtype)
    if dtype.is_int and dtype.bits == 64:
        return Words(target, dtype)
    needed = f", which {needed_by} needs" if needed_by else ""
    raise DeviceError(
        f"{target.spec.name} does not compute in {dtype}{needed}, and nothing stands in for it: cast to "
        "another dtype, as in x.cast('float32'), or use a device that has it"
    )


class Legalizer:
    """Legalizes the values of one kernel.

    Args:
        spec: the device's.
    """

    def __init__(self, spec: Spec) -> None:
        self.target = Target(spec, _builder, _form)
        self._memo: dict[Value, Term] = {}

    def know(self, value: Value, term: Term) -> None:
        """From now on ``value`` is ``term``."""
        self._memo[value] = term

    def term(self, root: Value) -> Term:
        """``root`` in what the device has.

        Raises:
            DeviceError: when the device lacks what cannot be built, or a dtype that nothing stands in for.
        """
        memo = self._memo
        for v in toposort(r for r in (root,) if r not in memo):
            if v not in memo:
                memo[v] = self._one(v, [memo[s] for s in v.srcs])
        return memo[root]

    def storage(self, dtype: DType) -> Storage:
        """What a kernel's memory of ``dtype`` is made of."""
        if dtype is bool_:
            return Storage(bool_ if bool_ in self.target.spec.arithmetic else uint8)
        form = self.target.form(dtype)
        return Storage(dtype) if form is None else form.storage()

    def load(self, dtype: DType, access: Access, lanes: int = 1) -> Term:
        """An element of memory."""
        storage = self.storage(dtype)
        places = (element(access, storage.count, i) for i in range(storage.count))
        return self.held(dtype, tuple(make(Op.LOAD, storage.dtype, (), at, lanes) for at in places))

    def held(self, dtype: DType, words: tuple[Value, ...]) -> Term:
        """What memory of ``dtype`` held: a value for each element of its storage."""
        if dtype is bool_:
            return Term(self.target, val.cast(words[0], bool_))
        form = self.target.form(dtype)
        return Term(self.target, words[0]) if form is None else form.load(words)

    def stored(self, x: Term) -> tuple[Value, ...]:
        """What memory of the term's dtype is to hold: a value for each element of its storage."""
        if x.dtype is bool_:
            return (val.cast(x.value, self.storage(bool_).dtype),)
        form = self.target.form(x.dtype)
        return (x.value,) if form is None else form.store(x)

    def register(self, name: str, dtype: DType) -> Term:
        """What a Let or an accumulator of ``dtype`` holds."""
        form = self.target.form(dtype)
        return Term(self.target, val.ref(name, dtype)) if form is None else form.register(name)

    def _one(self, v: Value, xs: Sequence[Term]) -> Term:
        op, target = v.op, self.target
        form = target.form(v.dtype, _WHO.get(op, op.name))
        if op is Op.CONST:
            assert isinstance(v.arg, Number)
            return target.number(v.arg.value, v.dtype)
        if op is Op.LOAD:
            assert isinstance(v.arg, Access)
            return self.load(v.dtype, v.arg, v.lanes)
        if op is Extra.INDEX and form is not None:
            assert isinstance(v.arg, Index)
            if not _in_int32(v.arg):
                raise DeviceError(
                    f"{target.spec.name} counts positions in int32, which {v.arg} may leave: "
                    "use smaller tensors"
                )
            return Term(target, make(op, int32, (), v.arg, v.lanes)).to(v.dtype)
        if op is Op.CAST:
            return target.cast(xs[0], v.dtype)
        if op is Op.BITCAST:
            return target.bitcast(xs[0], v.dtype)
        if op is Op.ADD and target.fused and v.dtype.is_float:
            lost = lost_of(v) if form is None else None
            if lost is not None:
                return self._memo[lost.a].times_plus(self._memo[lost.b], -self._memo[lost.product])
            for product, other in (v.srcs, xs[1]), (v.srcs[::-1], xs[0]):
                if product[0].arg is Rounding.FREE:
                    a, b = (self._memo[s] for s in product[0].srcs)
                    return self._on_floats(v.dtype, (a, b, other), lambda a, b, c: a.times_plus(b, c))
        if op is Op.EXP2 and form is None and not target.has(op):
            power = self._power_of_two(v.srcs[0])
            if power is not None:
                return power
        if isinstance(op, Op):
            divided = quotient(v) if target.divides else None
            return target.emit(op, *xs) if divided is None else self._divided(*divided)
        if op is Extra.DIV:
            return self._on_floats(v.dtype, xs, lambda a, b: a / b)
        if op is Extra.FMA:
            return self._on_floats(v.dtype, xs, lambda a, b, c: a.times_plus(b, c))
        if form is None:
            return Term(target, make(op, v.dtype, tuple(x.value for x in xs), v.arg, v.lanes))
        if op is Extra.REF and v.lanes == 1:
            return self.register(str(v.arg), v.dtype)
        kin = form.kin[0]  # of several lanes: what is stood in for by one part
        return form.term(Term(target, make(op, kin, tuple(x.parts[0].value for x in xs), v.arg, v.lanes)))

    def _power_of_two(self, exponent: Value) -> Term | None:
        """EXP2 of a value that is known to be whole; None where it may have a fraction."""
        first, more = exponent, 0
        if exponent.op in (Op.ADD, Op.SUB):
            number = exponent.srcs[1].arg
            if isinstance(number, Number) and float(number.value).is_integer():
                first, more = exponent.srcs[0], int(number.value) * (1 if exponent.op is Op.ADD else -1)
        span = span_of(first)
        if not span.is_whole or more < -1:
            first, more, span = exponent, 0, span_of(exponent)
        return exp2_of_whole(self._memo[first], span, more) if span.is_whole else None

    def _divided(self, a: Value, b: Value) -> Term:
        return self._on_floats(a.dtype, (self._memo[a], self._memo[b]), lambda x, y: x / y)

    def _on_floats(self, dtype: DType, xs: Sequence[Term], f: Callable[..., Term]) -> Term:
        """A function of floats, which a narrow one computes in float32."""
        form = self.target.form(dtype)
        if isinstance(form, Narrow):
            return form.rounded(f(*(x.parts[0] for x in xs)))
        return f(*xs)


def _in_int32(index: Index) -> bool:
    """Whether int32 holds an index; what the kernel computes itself, it brings there (``legal_tree``)."""
    free = all(abs(a.lo) < 2**62 > abs(a.hi) for a in index.atoms())
    return not free or (index.lo >= -(2**31) and index.hi < 2**31)


def legalize(values: Iterable[Value], spec: Spec) -> list[Value]:
    """``values`` in what the device of ``spec`` has; each must be stood in for by one register.

    Raises:
        DeviceError: when the device lacks what cannot be built, or a dtype that nothing stands in for.
    """
    work = Legalizer(spec)
    return [next(iter(work.term(v).values())) for v in values]


__all__ = [
    "BUILT",
    "FLOOR",
    "FLOOR_BITS",
    "FLOOR_DTYPES",
    "STAND_IN",
    "Legalizer",
    "Term",
    "element",
    "floor_faults",
    "legalize",
]
