"""Vectors of elements that lie apart, loaded along memory and transposed in registers.

In: an expanded tree. Out: the same tree, in which n loads of n lanes each, a stride apart, that begin one
element after another are n loads of neighbours and log₂ n rounds of shuffles: a quarter of the instructions,
and each line of memory is met once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import field, replace
from itertools import count

from . import value as val
from .index import Index
from .loops import Barrier, Body, Kernel, Let, Loop, Stmt, Store, statements, values_of, with_values
from .ops import Op
from .record import dataclass
from .value import Access, Extra, Value, toposort

LEAST, MOST = 4, 16
"""Lanes of a block: of fewer there is little to gain, of more the block fits no registers."""
UNIT = 16
"""Bytes within which most processors shuffle in one step."""


def transpose(kernel: Kernel) -> Kernel:
    """The kernel with such loads in blocks; itself where what it stores may be what it loads."""
    return kernel if kernel.aliases else kernel.with_body(_body(kernel.body, count()))


def _body(body: Body, fresh: Iterator[int]) -> Body:
    out: list[Stmt] = [replace(s, body=_body(s.body, fresh)) if isinstance(s, Loop) else s for s in body]
    if any(isinstance(s, Barrier) for s in body):
        return tuple(out)
    for block in _blocks(body):
        first = min(i for i, s in enumerate(out) if _reads(s, block))
        lets, columns = _turned(block, fresh)
        memo = dict(zip(block, columns, strict=True))
        out[first:] = [_with(s, memo) for s in out[first:]]
        out[first:first] = lets
    return tuple(out)


def _reads(s: Stmt, block: Sequence[Value]) -> bool:
    return not isinstance(s, Loop) and not set(block).isdisjoint(toposort(values_of(s)))


def _with(s: Stmt, memo: dict[Value, Value]) -> Stmt:
    if isinstance(s, Loop) or not values_of(s):
        return s
    return with_values(s, val.rewrite(values_of(s), lambda v, _: None, dict(memo)))


@dataclass(frozen=True, slots=True)
class _Apart:
    """What the loads of a block have in common."""

    memory: str
    stride: int
    lanes: int
    base: Index


def _blocks(body: Body) -> Iterator[list[Value]]:
    """Such loads that statements side by side read, a block at a time, in order."""
    changed = {s.memory for s in statements(body) if isinstance(s, Store)}
    named = {s.name for s in body if isinstance(s, Let)}
    found: dict[_Apart, dict[int, Value]] = defaultdict(dict)
    for s in body:
        if isinstance(s, Loop) or (isinstance(s, Store) and s.guard):
            continue
        for v in toposort(values_of(s)):
            access = v.arg
            if v.op is not Op.LOAD or not isinstance(access, Access) or access.memory in changed:
                continue
            lanes = v.lanes
            if not LEAST <= lanes <= MOST or lanes & (lanes - 1) or v.dtype.is_bool:
                continue
            if access.stride in (0, 1) or access.guard or access.places or named & access.index.names():
                continue
            base = access.index - access.index.const
            found[_Apart(access.memory, access.stride, lanes, base)][access.index.const] = v
    for apart, loads in found.items():
        for start in sorted(loads):
            block = range(start, start + apart.lanes)
            if all(at in loads for at in block):
                yield [loads.pop(at) for at in block]


def _turned(block: Sequence[Value], fresh: Iterator[int]) -> tuple[list[Stmt], list[Value]]:
    """Lets that load a block's rows and shuffle them, and its columns: what the loads were."""
    shuffles = _Shuffles(f"turn{next(fresh)}", block[0])
    rows = [shuffles.row(i) for i in range(len(block))]
    return shuffles.lets, shuffles.across_units(shuffles.within_units(rows))


@dataclass(slots=True)
class _Shuffles:
    """Lets that transpose one block, whose vectors are units of neighbouring lanes."""

    name: str
    first: Value
    lets: list[Stmt] = field(default_factory=list)

    @property
    def unit(self) -> int:
        """Lanes of a unit."""
        return min(self.first.lanes, UNIT // self.first.dtype.itemsize)

    def let(self, value: Value) -> Value:
        """A value by name."""
        name = f"{self.name}_{len(self.lets)}"
        self.lets.append(Let(name, value))
        return val.ref(name, value.dtype, value.lanes)

    def row(self, i: int) -> Value:
        """A row of the block, from memory."""
        access = self.first.arg
        assert isinstance(access, Access)
        at = replace(access, index=access.index + access.stride * i, stride=1)
        return self.let(val.make(Op.LOAD, self.first.dtype, (), at, self.first.lanes))

    def shuffle(self, a: Value, b: Value, lanes: Sequence[int]) -> Value:
        """Lanes of both."""
        return self.let(val.make(Extra.SHUFFLE, a.dtype, (a, b), tuple(lanes), a.lanes))

    def within_units(self, rows: Sequence[Value]) -> list[list[Value]]:
        """For each unit's worth of rows one vector a column: in each of its units, these rows of that column.

        What holds some rows of some columns, and what holds as many more rows of these, become what holds
        both rows of the first half of them, and of the second.
        """
        n, unit = self.first.lanes, self.unit
        groups = [[(tuple(range(unit)), row)] for row in rows]
        size = 1
        while size < unit:
            low = [
                i for u in range(0, n, unit) for k in range(u, u + unit // 2, size) for i in _both(k, size, n)
            ]
            high = [i + unit // 2 for i in low]
            joined = []
            for above, below in zip(groups[::2], groups[1::2], strict=True):
                both = []
                for (columns, a), (_, b) in zip(above, below, strict=True):
                    half = len(columns) // 2
                    both.append((columns[:half], self.shuffle(a, b, low)))
                    both.append((columns[half:], self.shuffle(a, b, high)))
                joined.append(both)
            groups, size = joined, size * 2
        return [[v for _, v in sorted(g, key=lambda column: column[0])] for g in groups]

    def across_units(self, held: list[list[Value]]) -> list[Value]:
        """The columns: each pair of groups exchanges the units that the other one wants."""
        n, unit = self.first.lanes, self.unit
        apart = 1
        while apart < len(held):
            at = apart * unit
            kept = [not (i // unit) & apart for i in range(n)]
            first = [i if kept[i] else n + i - at for i in range(n)]
            second = [i + at if kept[i] else n + i for i in range(n)]
            for g in (g for g in range(len(held)) if not g & apart):
                for c in range(unit):
                    a, b = held[g][c], held[g + apart][c]
                    held[g][c], held[g + apart][c] = self.shuffle(a, b, first), self.shuffle(a, b, second)
            apart *= 2
        return [v for g in held for v in g]


def _both(k: int, size: int, n: int) -> Iterator[int]:
    """Some lanes of a vector, and then of another beside it."""
    yield from range(k, k + size)
    yield from range(n + k, n + k + size)
