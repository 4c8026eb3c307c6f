"""The kernel: a small tree of loops, accumulators, lets and stores.

In a fresh tree every loop is plain and every value a scalar; a schedule annotates loops (``Bind``) without
changing what the tree means, and ``expand`` makes the annotated ones explicit. At every stage the tree can be
printed (``str``), checked (``verify``) and run (``interpret``).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from .decisions import Decision
from .dtype import DType
from .index import Index, Mask
from .ops import Op
from .record import dataclass
from .tile import Tile
from .value import Access, Extra, Value, indices, toposort


class Bind(enum.Enum):
    """How a loop is run. Each means the same as a plain loop."""

    SERIAL = "for"
    GRID = "grid"  # its iterations are independent work items
    UNROLL = "unroll"  # its iterations become copies of the statements inside, jammed into inner loops
    VECTOR = "vector"  # its iterations become lanes
    THREAD = "thread"  # inside the grid loop, which then counts blocks: the threads of one block


@dataclass(frozen=True, slots=True)
class Memory:
    """A parameter of the kernel, or memory of one work item.

    Attributes:
        name: in the kernel.
        dtype, size: of its elements.
        written: whether the kernel stores to it.
        stream: whether it is so large, or so long unread, that stores should bypass the caches.
        shared: of scratch, whether the threads of a block share it.
        image: of a parameter that is read as an image, the pixels of its rows; 0 of plain memory.
    """

    name: str
    dtype: DType
    size: int
    written: bool = False
    stream: bool = False
    shared: bool = False
    image: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Let:
    """A value with a name, in scope until the end of the enclosing body."""

    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class Acc:
    """An accumulator, which starts as the identity of ``op``."""

    name: str
    op: Op
    dtype: DType
    lanes: int = 1


@dataclass(frozen=True, slots=True)
class Update:
    """``acc = op(acc, value)``."""

    name: str
    op: Op
    value: Value


@dataclass(frozen=True, slots=True)
class Store:
    """Writes ``value`` at ``index`` where ``guard`` holds. ``stride`` is the lanes' distance of a vector."""

    memory: str
    index: Index
    value: Value
    guard: Mask = ()
    stride: int = 0


@dataclass(frozen=True, slots=True)
class Barrier:
    """All threads of the block are here before one goes on; what they stored to shared memory is seen."""


@dataclass(frozen=True, slots=True)
class Prefetch:
    """Memory that will be read soon is asked to come nearer. ``index`` may lie outside: then nothing is."""

    memory: str
    index: Index


@dataclass(frozen=True, slots=True)
class Multiply:
    """``c += a @ b`` by the threads of a block together: each gives and gets its elements of the tile.

    Attributes:
        tile: which.
        c: this thread's accumulators, in the order of the tile's layout.
        a, b: this thread's elements of the operands.
    """

    tile: Tile
    c: tuple[str, ...]
    a: tuple[Value, ...]
    b: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Scratch:
    """Declares memory of the work item's own, or its block's, in this body; it starts unset."""

    memory: Memory


@dataclass(frozen=True, slots=True)
class Loop:
    """``for var in 0 … extent-1``.

    Attributes:
        var, extent, body, bind: as said.
        until: the iterations from this one on change nothing, and may be left out; None where all do.
    """

    var: str
    extent: int
    body: Body
    bind: Bind = Bind.SERIAL
    until: Index | None = None


Stmt = Let | Acc | Update | Store | Multiply | Scratch | Barrier | Prefetch | Loop
Body = tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Kernel:
    """One unit of work: parameters, and a body.

    At most one loop, at the outermost level, is bound to the grid. Statements before it are run by everybody
    who runs some of its iterations, so they store nothing; those after it by whoever runs the last one.

    Attributes:
        params: the buffers, written ones first, in the order of the launch.
        body: the statements.
        flops: arithmetic operations of one run, as the graph counts them.
        trail: the schedule: the transforms that led here, in order.
        decisions: what was answered where there was more than one way; the same answers give it again.
        aliases: whether a written parameter may be the memory of one that is read.
    """

    params: tuple[Memory, ...]
    body: Body
    flops: int = 0
    trail: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()
    aliases: bool = False

    @property
    def grid(self) -> Loop | None:
        """The loop whose iterations are the work items, if there is one."""
        for s in self.body:
            if isinstance(s, Loop) and s.bind is Bind.GRID:
                return s
        return None

    @property
    def threads(self) -> Loop | None:
        """The loop whose iterations are the threads of a block, if the grid loop counts blocks."""
        grid = self.grid
        for s in grid.body if grid else ():
            if isinstance(s, Loop) and s.bind is Bind.THREAD:
                return s
        return None

    @property
    def nbytes(self) -> int:
        """Bytes of all parameters: the least that a run must move when each is read or written once."""
        return sum(p.nbytes for p in self.params)

    @property
    def is_wide(self) -> bool:
        """Whether a position may be too large for 32 bits."""
        extents = [s.extent for s in statements(self.body) if isinstance(s, Loop)]
        memories = [s.memory for s in statements(self.body) if isinstance(s, Scratch)]
        sizes = [m.size for m in (*self.params, *memories)]
        found = (i for v in toposort(values(self.body)) for i in indices(v))
        guards = (g for s in statements(self.body) if isinstance(s, Store) for g in (s.index, *s.guard))
        reach = max((max(abs(x.lo), abs(x.hi)) for i in (*found, *guards) for x in _inside(i)), default=0)
        return max((*extents, *sizes, reach), default=0) >= 2**31 - 1

    def with_body(self, body: Body, step: str = "") -> Kernel:
        """The kernel after a transform called ``step``."""
        return replace(self, body=body, trail=(*self.trail, step) if step else self.trail)

    def __str__(self) -> str:
        head = ", ".join(f"{'out ' if p.written else ''}{p.name}: {p.dtype}[{p.size}]" for p in self.params)
        return "\n".join([f"kernel({head})", *_lines(self.body, 1)])


def _inside(index: Index) -> Iterator[Index]:
    """An index and those that its atoms are made of."""
    yield index
    for atom in index.atoms():
        if atom.inner is not None:
            yield atom.inner


def statements(body: Body) -> Iterator[Stmt]:
    """Every statement, outer ones first, in order."""
    stack: list[Stmt] = list(reversed(body))
    while stack:
        s = stack.pop()
        yield s
        if isinstance(s, Loop):
            stack.extend(reversed(s.body))


def values(body: Body) -> Iterator[Value]:
    """The values that statements hold, in order."""
    for s in statements(body):
        yield from values_of(s)


def values_of(s: Stmt) -> tuple[Value, ...]:
    """The values that one statement holds."""
    if isinstance(s, Let | Update | Store):
        return (s.value,)
    return (*s.a, *s.b) if isinstance(s, Multiply) else ()


def with_values(s: Stmt, new: Sequence[Value]) -> Stmt:
    """The statement with other values, as many."""
    if isinstance(s, Let | Update | Store) and new[0] is s.value:
        return s
    if isinstance(s, Let):
        return Let(s.name, new[0])
    if isinstance(s, Update):
        return Update(s.name, s.op, new[0])
    if isinstance(s, Store):
        return Store(s.memory, s.index, new[0], s.guard, s.stride)
    return replace(s, a=tuple(new[: len(s.a)]), b=tuple(new[len(s.a) :])) if isinstance(s, Multiply) else s


def map_body(body: Body, rule: Callable[[Stmt], Body | None]) -> Body:
    """The body with ``rule`` applied to each statement from the outside in; None descends into loops."""
    out: list[Stmt] = []
    for s in body:
        new = rule(s)
        if new is not None:
            out.extend(new)
        elif isinstance(s, Loop):
            out.append(replace(s, body=map_body(s.body, rule)))
        else:
            out.append(s)
    return tuple(out)


# ------------------------------------------------------------------------------------------------ printing

_SYMBOL = {
    Op.ADD: "+", Op.SUB: "-", Op.MUL: "*", Op.IDIV: "/", Op.MOD: "%", Op.CMPLT: "<", Op.CMPNE: "!=",
    Op.AND: "&", Op.OR: "|", Op.XOR: "^", Op.SHL: "<<", Op.SHR: ">>", Extra.DIV: "/",
}  # fmt: skip


def _lines(body: Sequence[Stmt], depth: int) -> Iterator[str]:
    tab = "  " * depth
    for s in body:
        if isinstance(s, Loop):
            until = "" if s.until is None else f" until {s.until}"
            yield f"{tab}{s.bind.value} {s.var} < {s.extent}{until}:"
            yield from _lines(s.body, depth + 1)
        elif isinstance(s, Let):
            yield f"{tab}{s.name} = {show(s.value)}"
        elif isinstance(s, Acc):
            lanes = f"x{s.lanes}" if s.lanes > 1 else ""
            yield f"{tab}acc {s.name}: {s.dtype}{lanes} = identity of {s.op.name}"
        elif isinstance(s, Update):
            yield f"{tab}{s.name} {_SYMBOL.get(s.op, s.op.name)}= {show(s.value)}"
        elif isinstance(s, Scratch):
            kind = "shared" if s.memory.shared else "scratch"
            yield f"{tab}{kind} {s.memory.name}: {s.memory.dtype}[{s.memory.size}]"
        elif isinstance(s, Barrier):
            yield f"{tab}barrier"
        elif isinstance(s, Prefetch):
            yield f"{tab}prefetch {s.memory}[{s.index}]"
        elif isinstance(s, Multiply):
            a, b = (", ".join(map(show, of)) for of in (s.a, s.b))
            yield f"{tab}{', '.join(s.c)} += {s.tile.name}[{a}] @ [{b}]"
        else:
            when = f" where {show_mask(s.guard)}" if s.guard else ""
            lanes = f" … +{s.value.lanes - 1}*{s.stride}" if s.value.lanes > 1 else ""
            yield f"{tab}{s.memory}[{s.index}{lanes}] = {show(s.value)}{when}"


def show_mask(mask: Mask) -> str:
    """A mask in words."""
    return " and ".join(f"{m} >= 0" for m in mask)


def show(value: Value, limit: int = 2000) -> str:
    """A value on one line; a value used twice or nested deep is printed again, up to ``limit`` characters."""
    done: dict[Value, str] = {}
    for v in toposort([value]):
        done[v] = _show_one(v, done)
        if len(done[v]) > limit:
            done[v] = "…"
    return done[value]


def _show_one(v: Value, done: dict[Value, str]) -> str:
    srcs = [done[s] for s in v.srcs]
    if v.op is Op.CONST:
        return str(getattr(v.arg, "text", v.arg))
    if v.op is Extra.REF:
        return str(v.arg)
    if v.op is Extra.INDEX:
        return f"({v.arg})"
    if v.op is Op.LOAD:
        access = v.arg
        assert isinstance(access, Access)
        if access.places:
            return f"{access.memory}[{', '.join(str(p.index) for p in access.places)}]"
        lanes = f" … +{v.lanes - 1}*{access.stride}" if v.lanes > 1 else ""
        text = f"{access.memory}[{access.index}{lanes}]"
        return f"({text} if {show_mask(access.guard)} else 0)" if access.guard else text
    if v.op in (Op.CAST, Op.BITCAST):
        return f"{v.dtype}{'' if v.op is Op.CAST else ' bits'}({srcs[0]})"
    if v.op is Op.WHERE:
        return f"({srcs[1]} if {srcs[0]} else {srcs[2]})"
    symbol = _SYMBOL.get(v.op)
    if symbol is not None:
        return f"({srcs[0]} {symbol} {srcs[1]})"
    name = v.op.name.lower()
    return f"{name}({', '.join(srcs)}{f'; {v.arg}' if v.arg is not None else ''})"
