"""What a kernel computes: value expressions, interned and immutable.

A value is a primitive over values, or one of a few things that only a kernel has (``Extra``). ``lanes`` is 1
for a scalar; a vectorised loop makes values of several lanes. An operand of one lane beside operands of
several stands for the same value in each lane.
"""

from __future__ import annotations

import enum
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from .dtype import DType, Scalar, bool_
from .ops import PRIMITIVES, Op, Result, Rounding
from .record import dataclass

if TYPE_CHECKING:
    from .index import Index, Mask


class Extra(enum.Enum):
    """What a value may be besides a primitive."""

    REF = "REF"  # the value of a Let or an accumulator, by name
    INDEX = "INDEX"  # an index expression, as an integer
    FMA = "FMA"  # a·b + c rounded once, where a port offers it
    DIV = "DIV"  # a / b of floats, rounded once, where a port offers it
    FOLD = "FOLD"  # the lanes of a vector folded into one
    LANES = "LANES"  # the numbers 0, 1, 2 … of the lanes, times a constant
    SPLAT = "SPLAT"  # a scalar in each lane
    LANE = "LANE"  # one lane of a vector
    SHUFFLE = "SHUFFLE"  # lanes of two vectors, by their numbers in both

    def __repr__(self) -> str:
        return self.name

    __hash__ = object.__hash__


ValueOp = Op | Extra
_OWN_LANES = frozenset({Extra.FOLD, Extra.SPLAT, Extra.LANE})


@dataclass(frozen=True, slots=True)
class Number:
    """CONST: the value; two are one when they print alike."""

    value: Scalar
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """One lane's position and guard."""

    index: Index
    guard: Mask


@dataclass(frozen=True, slots=True)
class Access:
    """LOAD: which memory, at which position, under which guard.

    Of a vector, ``stride`` is the lanes' distance; where the lanes are in no such order, or have guards of
    their own, ``places`` gives each lane's position instead.
    """

    memory: str
    index: Index
    guard: Mask
    stride: int = 0
    places: tuple[Place, ...] = ()

    def map(self, index: Callable[[Index], Index], mask: Callable[[Mask], Mask], memory: str = "") -> Access:
        """The same access with its positions and guards rewritten."""
        places = self.places and tuple([Place(index(p.index), mask(p.guard)) for p in self.places])
        at, guard = index(self.index), mask(self.guard)
        if not (memory or places) and at is self.index and guard is self.guard:
            return self
        return Access(memory or self.memory, at, guard, self.stride, places)

    def names(self) -> frozenset[str]:
        """What its positions and guards depend on."""
        return frozenset().union(*(i.names() for i in self.indices()))

    def indices(self) -> list[Index]:
        """Every index expression in it."""
        return [self.index, *self.guard, *(i for p in self.places for i in (p.index, *p.guard))]


class Value:
    """One value expression. Made by the functions of this module, so that equal ones are one object."""

    __slots__ = ("__weakref__", "_mentions", "arg", "dtype", "lanes", "op", "srcs")

    op: ValueOp
    dtype: DType
    lanes: int
    srcs: tuple[Value, ...]
    arg: Hashable
    _mentions: frozenset[str] | None

    @property
    def mentions(self) -> frozenset[str]:
        """Every name that it depends on, found once: lets, accumulators, loop variables, "@" memories."""
        stack = [self]
        while stack:
            v = stack[-1]
            if v._mentions is None:
                ahead = [s for s in v.srcs if s._mentions is None]
                if ahead:
                    stack += ahead
                    continue
                names = frozenset(_own_names(v)) if v.op in _NAMING else _NONE
                for s in v.srcs:
                    if s._mentions and s._mentions is not names:
                        names = names | s._mentions if names else s._mentions
                v._mentions = names
            stack.pop()
        return self._mentions or _NONE

    def __repr__(self) -> str:
        inside = ", ".join([*map(repr, self.srcs), *([] if self.arg is None else [str(self.arg)])])
        return f"{self.op!r}.{self.dtype}{f'x{self.lanes}' if self.lanes > 1 else ''}({inside})"


class _Ref(weakref.ref[Value]):
    """A reference that knows under which key it is kept."""

    __slots__ = ("key",)
    key: tuple[Hashable, ...]


_living: dict[tuple[Hashable, ...], _Ref] = {}
"""Every value by its parts. A plain dict of references, as of nodes: each value that is made asks here."""


def _forget(ref: weakref.ref[Value]) -> None:
    assert isinstance(ref, _Ref)
    if _living.get(ref.key) is ref:
        _living.pop(ref.key, None)  # another thread may have been here since


def make(
    op: ValueOp, dtype: DType, srcs: tuple[Value, ...] = (), arg: Hashable = None, lanes: int | None = None
) -> Value:
    """The value with these parts; ``lanes`` is the widest operand's unless given."""
    if lanes is None:
        lanes = max([s.lanes for s in srcs], default=1)
    key = (op, dtype, lanes, srcs, arg)
    held = _living.get(key)
    found = None if held is None else held()
    if found is None:
        found = object.__new__(Value)
        found.op, found.dtype, found.lanes, found.srcs, found.arg = op, dtype, lanes, srcs, arg
        found._mentions = None
        _living[key] = ref = _Ref(found, _forget)
        ref.key = key
    return found


def number(value: Scalar, dtype: DType) -> Value:
    """A constant."""
    value = dtype.cast_scalar(value)
    return make(Op.CONST, dtype, (), Number(value, dtype.text(value)))


def primitive(op: Op, *srcs: Value) -> Value:
    """A primitive other than CONST, LOAD, STORE, CAST and BITCAST."""
    row = PRIMITIVES[op]
    if row.result is Result.BOOL:
        return make(op, bool_, srcs)
    return make(op, srcs[1].dtype if row.result is Result.SECOND else srcs[0].dtype, srcs)


def free_product(a: Value, b: Value) -> Value:
    """MUL, of which no one asks whether it is rounded before it is added to something."""
    return make(Op.MUL, a.dtype, (a, b), Rounding.FREE)


def cast(x: Value, dtype: DType) -> Value:
    """CAST."""
    return x if x.dtype is dtype else make(Op.CAST, dtype, (x,))


def bitcast(x: Value, dtype: DType) -> Value:
    """BITCAST."""
    return x if x.dtype is dtype else make(Op.BITCAST, dtype, (x,))


def where(c: Value, a: Value, b: Value) -> Value:
    """WHERE."""
    return a if a is b else make(Op.WHERE, a.dtype, (c, a, b))


def ref(name: str, dtype: DType, lanes: int = 1) -> Value:
    """The Let or accumulator ``name``."""
    return make(Extra.REF, dtype, (), name, lanes)


def fma(a: Value, b: Value, c: Value) -> Value:
    """a·b + c, rounded once."""
    return make(Extra.FMA, a.dtype, (a, b, c))


def indices(v: Value) -> list[Index]:
    """The index expressions in one value's own argument."""
    if v.op is Op.LOAD:
        assert isinstance(v.arg, Access)
        return v.arg.indices()
    if v.op is Extra.INDEX:
        return list(v.arg) if isinstance(v.arg, tuple) else [v.arg]  # type: ignore[list-item]
    return []


_NONE: frozenset[str] = frozenset()
_NAMING = frozenset({Extra.REF, Extra.INDEX, Op.LOAD})
"""What depends on names by itself."""


def _own_names(v: Value) -> Iterator[str]:
    if v.op is Extra.REF:
        yield str(v.arg)
    elif v.op is Op.LOAD:
        assert isinstance(v.arg, Access)
        yield f"@{v.arg.memory}"
    for i in indices(v):
        for n in i.names():
            yield n.partition("[")[0]  # one lane of a Let is called name[lane]


def toposort(roots: Iterable[Value]) -> list[Value]:
    """Every value that ``roots`` need, operands first. Iterative."""
    order: list[Value] = []
    done: set[Value] = set()
    for root in roots:
        stack = [root]
        while stack:
            v = stack[-1]
            if v not in done:
                ahead = [s for s in v.srcs if s not in done] if v.srcs else None
                if ahead:
                    stack += ahead[::-1]
                    continue
                done.add(v)
                order.append(v)
            stack.pop()
    return order


def rewrite(
    roots: Sequence[Value],
    rule: Callable[[Value, tuple[Value, ...]], Value | None],
    memo: dict[Value, Value] | None = None,
) -> list[Value]:
    """``roots`` with ``rule(old, new operands)`` applied from the leaves up; None keeps a value as it is."""
    memo = {} if memo is None else memo
    for root in roots:
        stack = [root]
        while stack:
            v = stack[-1]
            if v not in memo:
                ahead = [s for s in v.srcs if s not in memo] if v.srcs else None
                if ahead:
                    stack += ahead[::-1]
                    continue
                srcs = tuple([memo[s] for s in v.srcs])
                new = rule(v, srcs)
                if new is None:
                    if srcs == v.srcs:
                        new = v
                    else:
                        same = v.op in _OWN_LANES or [a.lanes for a in srcs] == [b.lanes for b in v.srcs]
                        new = make(v.op, v.dtype, srcs, v.arg, v.lanes if same else None)
                memo[v] = new
            stack.pop()
    return [memo[r] for r in roots]
