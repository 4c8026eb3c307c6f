"""Operands laid out anew, where no loop of a contraction walks its memory well.

A product summed over some loops runs at speed when one output loop moves its loads by one element or not at
all. Where there is no such loop, and each element is used many times, the operands in the way are copied
first, by a kernel of their own, into the order in which the contraction will read them; padding becomes part
of the copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from . import value as val
from .device import Spec
from .index import flatten, variable
from .loops import Body, Kernel, Let, Loop, Memory, Stmt, Store, Update, values
from .ops import Op
from .record import dataclass
from .schedule.across import ROWS, across, together
from .schedule.nest import perfect
from .schedule.panels import FAR
from .schedule.scheduling import room
from .value import Access, Value, toposort
from .work import iterations

WORK = 1 << 19
"""Operations below which a contraction runs as it is."""
REUSE = 8
"""How often each element of an operand must be used to be worth a copy."""
OFTEN = 64
"""How often each must be used where neighbours are skipped: to read past them costs less than a copy."""
GROUPS = 8
"""Times as much as has room in panels must the columns be, for strips of rows to be copied beforehand."""
GROWTH = 2
"""How much larger than its operand a copy may be (overlapping windows make it grow)."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A contraction and the copies that it reads: memory ``name`` is what ``kernel`` writes to ``out0``."""

    kernel: Kernel
    copies: tuple[tuple[str, Kernel], ...]


@dataclass(frozen=True, slots=True)
class _Shape:
    """A contraction: its output loops, and its reduction's, with what is updated inside."""

    outputs: tuple[Loop, ...]
    reduced: tuple[Loop, ...]

    @property
    def extents(self) -> dict[str, int]:
        return {loop.var: loop.extent for loop in (*self.outputs, *self.reduced)}


def pack(kernel: Kernel, spec: Spec) -> Packed:
    """The kernel reading packed operands, and the kernels that pack them; itself where that is best."""
    shape = _contraction(kernel)
    if shape is None or kernel.flops < WORK or not spec.vector_bytes or not spec.near_bytes:
        return Packed(kernel, ())
    loads = [v for v in toposort(values((shape.reduced[-1],))) if v.op is Op.LOAD]
    if len(loads) < 2:
        return Packed(kernel, ())
    lanes = spec.lanes(max((v.dtype for v in loads), key=lambda d: d.itemsize))
    inner = shape.reduced[-1]
    far = _far(shape, loads, kernel, spec)
    if far is not None:
        return _rewrite(kernel, shape, inner.var, [far])
    sparse = [v for v in loads if _is_sparse(v, shape, kernel)]
    if sparse:
        return _rewrite(kernel, shape, shape.outputs[-1].var, sparse)
    if inner.extent >= 2 * lanes and all(_step(v, inner.var) in (0, 1) for v in loads):
        return Packed(kernel, ())
    best: tuple[float, int, str, list[Value]] | None = None
    for loop in shape.outputs:
        if loop.extent < 4:
            continue
        wrong = [v for v in loads if _step(v, loop.var) not in (0, 1)]
        if not wrong and 2 * loop.extent >= lanes:
            return Packed(kernel, ())
        size = 0
        for v in wrong:
            packed = _packed_size(v, shape, kernel)
            if packed is None:
                break
            size += packed
        else:
            fill = min(1.0, loop.extent / lanes)
            if best is None or (-fill, size) < best[:2]:
                best = (-fill, size, loop.var, wrong)
    if best is None or not best[3]:
        return Packed(kernel, ())
    walked = next((n for n in reversed(shape.outputs) if any(_step(v, n.var) == 1 for v in loads)), None)
    nest, body, width = shape.outputs, shape.outputs[-1].body, 2 * lanes
    space = room(spec, spec.knobs.panel)
    turned = across(nest, body, space, width) if walked is None else None
    if turned is not None or together(walked, nest, body, space, width) is not None:
        return Packed(kernel, ())  # its tiles turn what they read, each panel by itself
    return _rewrite(kernel, shape, best[2], best[3])


def _contraction(kernel: Kernel) -> _Shape | None:
    if len(kernel.body) != 1 or not isinstance(kernel.body[0], Loop):
        return None
    outputs = perfect(kernel.body[0])
    inner = outputs[-1].body
    loops = [s for s in inner if isinstance(s, Loop)]
    if not loops:
        return None
    reduced = perfect(max(loops, key=iterations))
    if any(not isinstance(s, Let | Update) for s in reduced[-1].body):
        return None
    return _Shape(tuple(outputs), tuple(reduced))


def _is_sparse(v: Value, shape: _Shape, kernel: Kernel) -> bool:
    """Whether each loop skips elements, as of an image of which each other pixel is read, and that often."""
    steps = [_step(v, var) for var, n in shape.extents.items() if n > 1]
    if None in steps or min((abs(s) for s in steps if s), default=1) == 1:
        return False
    size = _packed_size(v, shape, kernel)
    return size is not None and prod(shape.extents.values()) >= OFTEN * size


def _far(shape: _Shape, loads: Sequence[Value], kernel: Kernel, spec: Spec) -> Value | None:
    """What lies far apart along a long reduction, as of a transposed matrix, where it is read often.

    Tiles pack strips of it for a group of column panels, as many as there is room for. Of more groups each
    would pack all strips once more; one copy, along which the reduction walks, is less.
    """
    columns, inner = shape.outputs[-1], shape.reduced[-1]
    if len(shape.reduced) > 1 or len(shape.outputs) < 2 or len(loads) != 2:
        return None
    terms = inner.extent * columns.extent * max(v.dtype.itemsize for v in loads)
    if terms < GROUPS * room(spec, spec.knobs.panel).panel:
        return None
    for v in loads:
        rows = next((n for n in shape.outputs[:-1] if _step(v, n.var) == 1), None)
        if rows is None or rows.extent < ROWS or _step(v, columns.var) != 0:
            continue
        if abs(_step(v, inner.var) or 0) >= FAR and _packed_size(v, shape, kernel) is not None:
            return v
    return None


def _step(v: Value, var: str) -> int | None:
    access = v.arg
    assert isinstance(access, Access)
    return None if any(var in m.names() for m in access.guard) else access.index.coefficient(var)


def _packed_size(v: Value, shape: _Shape, kernel: Kernel) -> int | None:
    """Elements of the copy; None where it is too large, too seldom used or unknown until the kernel runs."""
    access = v.arg
    assert isinstance(access, Access)
    names = access.names()
    extents = shape.extents
    if not names <= extents.keys():
        return None
    size = prod(extents[n] for n in names)
    memory = next((m for m in kernel.params if m.name == access.memory), None)
    if memory is None or memory.written:
        return None
    runs = prod(extents.values())
    return size if size <= GROWTH * memory.size and runs >= REUSE * size else None


def _rewrite(kernel: Kernel, shape: _Shape, lane: str, wrong: list[Value]) -> Packed:
    extents = shape.extents
    order = [v for v in extents if v != lane] + [lane]
    memo: dict[Value, Value] = {}
    copies: list[tuple[str, Kernel]] = []
    memories: list[Memory] = []
    for v in wrong:
        access = v.arg
        assert isinstance(access, Access)
        names = access.names()
        axes = [n for n in order if n in names]
        sizes = tuple(extents[n] for n in axes)
        at = flatten((variable(n, extents[n]) for n in axes), sizes)
        name = f"pack{len(copies)}"
        source = next(m for m in kernel.params if m.name == access.memory)
        target = Memory("out0", v.dtype, prod(sizes), written=True)
        nest: Body = (Store("out0", at, v),)
        for n in reversed(axes):
            nest = (Loop(n, extents[n], nest),)
        copies.append((name, Kernel((target, source), nest)))
        memories.append(Memory(name, v.dtype, prod(sizes)))
        memo[v] = val.make(Op.LOAD, v.dtype, (), Access(name, at, ()))

    def through(body: Body) -> Body:
        out: list[Stmt] = []
        for s in body:
            if isinstance(s, Loop):
                out.append(replace(s, body=through(s.body)))
            elif isinstance(s, Let | Store | Update):
                out.append(replace(s, value=val.rewrite([s.value], lambda v, _: None, memo)[0]))
            else:
                out.append(s)
        return tuple(out)

    body = through(kernel.body)
    used = {v.arg.memory for v in toposort(values(body)) if isinstance(v.arg, Access)}
    kept = tuple(p for p in kernel.params if p.written or p.name in used)
    new = replace(kernel, params=(*kept, *memories), body=body)
    return Packed(new, tuple(copies))
