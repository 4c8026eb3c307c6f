"""Loop trees, executed in NumPy: what a kernel means at every stage, and the oracle of every transform.

In: any tree (fresh, legalized, scheduled, expanded, hoisted) and the arrays of its parameters. Out: the
written arrays, filled as plain, serial loops fill them, each primitive by the contract's own reference.

It is quick because a loop's iterations are computed side by side, as one more axis of every value, where no
iteration can notice: where nothing that the loop changes is read in it. A loop that carries something is run
one iteration after another. The rules of the tree are kept by looking: a position outside its memory is an
error also where the bounds could not tell, and so is an element that two iterations of a loop store by
different statements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import value as val
from .errors import KernelError
from .evaluate import NUMPY_PRIMITIVES, Primitives
from .index import Atom, Index, Mask
from .interpret_value import evaluate_value
from .loops import (
    Acc,
    Bind,
    Body,
    Kernel,
    Let,
    Loop,
    Memory,
    Multiply,
    Scratch,
    Store,
    Update,
    statements,
    values_of,
)
from .ops import Op, identity
from .record import dataclass
from .tile import Layout
from .value import Access, Extra, Value, toposort

Array = np.ndarray[Any, np.dtype[Any]]

SIDE_BY_SIDE = 1 << 15
"""Iterations that are computed at once, at most."""
POISON = 0xA5
"""Each byte of memory that nothing has been stored to."""


@dataclass(frozen=True, slots=True)
class _Named:
    """A Let, an accumulator or a loop variable: one axis for each loop opened around it, then lanes."""

    array: Array
    depth: int


@dataclass(frozen=True, slots=True)
class _Held:
    """Memory: its elements, and where each of the iterations side by side finds its own."""

    elements: Array
    size: int
    base: _Named | None = None


@dataclass(frozen=True, slots=True)
class _Writers:
    """Which iteration of a loop (an axis) stored each element of the memories that it stores to twice."""

    axis: int
    of: Mapping[str, Array]


def interpret(kernel: Kernel, arrays: Mapping[str, Array], primitives: Primitives = NUMPY_PRIMITIVES) -> None:
    """Runs a tree.

    Args:
        kernel: at any stage.
        arrays: each parameter's memory by its name, contiguous, of as many bytes; written ones are changed
            in place.
        primitives: what computes each elementwise primitive: ``f(result dtype, *operands)``.

    Raises:
        KernelError: when an array does not fit its parameter, or the tree breaks its rules while it runs.
    """
    memories = {p.name: _Held(_elements(p, arrays), p.size) for p in kernel.params}
    _Run(memories, primitives).body(kernel.body)


def _elements(p: Memory, arrays: Mapping[str, Array]) -> Array:
    array = arrays.get(p.name)
    if array is None or array.nbytes != p.nbytes:
        got = "nothing" if array is None else f"{array.size} of {array.dtype}"
        raise KernelError(f"parameter {p.name} wants {p.size} elements of {p.dtype} and got {got}")
    if not array.flags.c_contiguous:
        raise KernelError(f"parameter {p.name} wants a contiguous array")
    return array.reshape(-1).view(p.dtype.numpy)


class _Run:
    def __init__(self, memories: dict[str, _Held], primitives: Primitives) -> None:
        self.memories = memories
        self.primitives = primitives
        self.sizes: list[int] = []  # of the axes: the loops around whose iterations are computed side by side
        self.names: dict[str, _Named] = {}
        self.writers: list[_Writers] = []
        self.kept: dict[int, _Effects] = {}  # by the loop's identity
        self.block: int | None = None  # the axis of the threads of a block, inside one

    def body(self, body: Body) -> None:
        for s in body:
            if isinstance(s, Loop):
                self.loop(s)
            elif isinstance(s, Let):
                self.name(s.name, self.value(s.value), s.value.lanes)
            elif isinstance(s, Acc):
                shape = self.shape(s.lanes)
                self.names[s.name] = _Named(
                    np.full(shape, identity(s.op, s.dtype), s.dtype.numpy), len(self.sizes)
                )
            elif isinstance(s, Update):
                self.update(s)
            elif isinstance(s, Scratch):
                self.scratch(s.memory)
            elif isinstance(s, Store):
                self.store(s)
            elif isinstance(s, Multiply):
                self.multiply(s)
            # at a barrier all threads are already: they run statement by statement, side by side

    def loop(self, loop: Loop) -> None:
        effects = self.kept.get(id(loop))
        if effects is None:
            effects = self.kept[id(loop)] = _Effects(loop, self.memories)
        if loop.bind is Bind.GRID and effects.folded:
            names = ", ".join(sorted(effects.folded))
            raise KernelError(f"the grid loop {loop.var} updates {names}, which all work items share")
        threads = [s.extent for s in loop.body if isinstance(s, Loop) and s.bind is Bind.THREAD]
        at_once = 1 if effects.carried else max(1, SIDE_BY_SIDE // math.prod((*self.sizes, *threads)))
        depth = len(self.sizes)
        if loop.bind is Bind.THREAD:
            at_once, self.block = loop.extent, depth
        for first in range(0, loop.extent, at_once):
            if at_once == 1 or loop.extent == 1:
                self.names[loop.var] = _Named(np.full((1,) * depth, first), depth)
                self.body(loop.body)
                continue
            iterations = np.arange(first, min(first + at_once, loop.extent))
            self.names[loop.var] = _Named(iterations.reshape((1,) * depth + (-1,)), depth + 1)
            self.sizes.append(len(iterations))
            several = {m: np.full(self.memories[m].elements.size, -1) for m in effects.contested}
            self.writers.append(_Writers(depth, several))
            self.body(loop.body)
            self.writers.pop()
            self.sizes.pop()
        if loop.bind is Bind.THREAD:
            self.block = None

    # ------------------------------------------------------------------ shapes

    def shape(self, lanes: int) -> tuple[int, ...]:
        return (*self.sizes, lanes) if lanes > 1 else tuple(self.sizes)

    def name(self, name: str, array: Array, lanes: int) -> None:
        """Keeps a value; it has an axis for each loop around from here on."""
        wanted = len(self.shape(lanes))
        self.names[name] = _Named(array.reshape((1,) * (wanted - array.ndim) + array.shape), len(self.sizes))

    def here(self, named: _Named) -> Array:
        """A named value as the loops that were opened since see it."""
        a, opened = named.array, len(self.sizes) - named.depth
        return a.reshape(a.shape[: named.depth] + (1,) * opened + a.shape[named.depth :]) if opened else a

    # ------------------------------------------------------------------ values

    def value(self, value: Value) -> Array:
        return evaluate_value([value], self.leaf, self.primitives)[0]

    def leaf(self, v: Value) -> Array:
        if v.op is Op.LOAD:
            assert isinstance(v.arg, Access)
            return self.load(v.arg, v.lanes)
        if v.op is Extra.REF:
            return self.here(self.names[str(v.arg)])
        if isinstance(v.arg, tuple):
            return self.lanes([self.index(i) for i in v.arg])
        assert isinstance(v.arg, Index)
        return self.index(v.arg)

    def lanes(self, each: list[Array]) -> Array:
        return np.stack(np.broadcast_arrays(*each), axis=-1)

    def index(self, index: Index) -> Array:
        with np.errstate(all="ignore"):
            total = np.array(index.const, np.int64)
            for atom, k in index.terms:
                total = np.asarray(total + self.atom(atom) * k)
            return total

    def atom(self, atom: Atom) -> Array:
        if atom.inner is not None:
            inner = self.index(atom.inner)
            return inner // atom.by if atom.is_div else inner % atom.by
        name, _, lane = atom.key.partition("[")
        array = self.here(self.names[name]).astype(np.int64)
        return array[..., int(lane[:-1])] if lane else array

    def mask(self, mask: Mask) -> Array | None:
        holds = None
        for m in mask:
            one = np.asarray(self.index(m) >= 0)
            holds = one if holds is None else holds & one
        return holds

    # ------------------------------------------------------------------ accumulators

    def update(self, s: Update) -> None:
        acc = self.names[s.name]
        value, dtype = self.value(s.value), s.value.dtype
        outer, lanes = acc.array.shape[: acc.depth], acc.array.shape[acc.depth :]
        if s.value.lanes == 1 and lanes:
            value = value[..., None]
        each = np.broadcast_to(value, (*self.sizes, *lanes)).reshape(*outer, -1, *lanes)
        total = acc.array
        for i in range(each.shape[acc.depth]):
            total = np.asarray(self.primitives[s.op](dtype, total, each[(slice(None),) * acc.depth + (i,)]))
        self.names[s.name] = _Named(total.astype(dtype.numpy, copy=False), acc.depth)

    def multiply(self, s: Multiply) -> None:
        """The tile gathered from what each thread holds, multiplied in double, rounded once and dealt out."""
        tile, block = s.tile, self.block
        assert block is not None

        def gathered(layout: Layout, held: list[Array], rows: int, columns: int) -> Array:
            shape = tuple(self.sizes)
            each = [np.moveaxis(np.broadcast_to(h, shape), block, 0) for h in held]
            matrix = np.zeros((rows, columns, *each[0].shape[1:]))
            for e, lanes in enumerate(each):
                for t in range(tile.threads):
                    matrix[layout.place(t, e)] = lanes[t]
            return matrix

        a = gathered(tile.a, [self.value(v) for v in s.a], tile.m, tile.k)
        b = gathered(tile.b, [self.value(v) for v in s.b], tile.k, tile.n)
        c = gathered(tile.c, [self.here(self.names[n]) for n in s.c], tile.m, tile.n)
        c = c + np.einsum("mk...,kn...->mn...", a, b)
        depth = self.names[s.c[0]].depth
        for e, name in enumerate(s.c):
            mine = np.stack([c[tile.c.place(t, e)] for t in range(tile.threads)])
            self.names[name] = _Named(np.moveaxis(mine, 0, block).astype(tile.c.dtype.numpy), depth)

    # ------------------------------------------------------------------ memory

    def scratch(self, memory: Memory) -> None:
        sizes = self.sizes[: self.block] if memory.shared else self.sizes
        copies = math.prod(sizes)
        elements = np.full(copies * memory.nbytes, POISON, np.uint8).view(memory.dtype.numpy)
        base = (np.arange(copies) * memory.size).reshape(sizes)
        self.memories[memory.name] = _Held(elements, memory.size, _Named(base, len(sizes)))

    def load(self, access: Access, lanes: int) -> Array:
        if access.places:
            return self.lanes([self.element(access.memory, p.index, p.guard, 1, 0) for p in access.places])
        return self.element(access.memory, access.index, access.guard, lanes, access.stride)

    def element(self, memory: str, index: Index, guard: Mask, lanes: int, stride: int) -> Array:
        held = self.memories[memory]
        at, holds = self.place(index, guard, lanes, stride)
        if holds is None:
            self.check(memory, index, at)
            return held.elements[self.based(held, at, lanes)]
        at, holds, flat = np.broadcast_arrays(at, holds, self.based(held, at, lanes))
        self.check(memory, index, at[holds])
        out = np.zeros(at.shape, held.elements.dtype)
        out[holds] = held.elements[flat[holds]]
        return out

    def place(self, index: Index, guard: Mask, lanes: int, stride: int) -> tuple[Array, Array | None]:
        """The positions of an access and where its guard holds, each with an axis for lanes."""
        at, holds = self.index(index), self.mask(guard)
        if lanes > 1:
            at = at[..., None] + np.arange(lanes) * stride
            holds = None if holds is None else holds[..., None]
        return at, holds

    def based(self, held: _Held, at: Array, lanes: int) -> Array:
        if held.base is None:
            return at
        base = self.here(held.base)
        return at + (base[..., None] if lanes > 1 else base)

    def check(self, memory: str, index: Index, at: Array) -> None:
        size = self.memories[memory].size
        if at.size and (at.min() < 0 or at.max() >= size):
            raise KernelError(f"{memory}[{index}] reaches {at.min()} … {at.max()}, outside 0 … {size - 1}")

    def store(self, s: Store) -> None:
        held, value = self.memories[s.memory], self.value(s.value)
        shape = self.shape(s.value.lanes)
        at, holds = self.place(s.index, s.guard, s.value.lanes, s.stride)
        chosen = np.ones(shape, bool) if holds is None else np.broadcast_to(holds, shape)
        at = np.broadcast_to(at, shape)
        self.check(s.memory, s.index, at[chosen])
        # where positions repeat, the last one stays: axes are in the order of the loops
        flat = np.broadcast_to(self.based(held, np.where(chosen, at, 0), s.value.lanes), shape)[chosen]
        held.elements[flat] = np.broadcast_to(value, shape)[chosen]
        for w in self.writers:
            if s.memory in w.of:
                self.claim(s, w, flat, chosen)

    def claim(self, s: Store, w: _Writers, flat: Array, chosen: Array) -> None:
        """Notes which iterations stored what, and refuses a second one."""
        size = self.sizes[w.axis]
        axis = np.arange(size).reshape((size,) + (1,) * (chosen.ndim - w.axis - 1))
        mine = np.broadcast_to(axis, chosen.shape)[chosen]
        by = w.of[s.memory][flat]
        if ((by >= 0) & (by != mine)).any():
            raise KernelError(f"two iterations of a loop store the same element of {s.memory}")
        w.of[s.memory][flat] = mine


class _Effects:
    """What a loop changes outside of itself.

    Attributes:
        folded: the accumulators from outside that it updates.
        contested: the memories from outside that several of its statements store to.
        carried: whether it reads what it changes, so that its iterations must come one after another.
    """

    def __init__(self, loop: Loop, memories: Mapping[str, _Held]) -> None:
        own: set[str] = set()
        self.folded: set[str] = set()
        stores: dict[str, list[Store]] = {}
        names: set[str] = set()
        loads: set[str] = set()
        roots: list[Value] = []
        for s in statements(loop.body):
            if isinstance(s, Let | Acc):
                own.add(s.name)
            elif isinstance(s, Scratch):
                own.add(s.memory.name)
            elif isinstance(s, Update):
                self.folded.add(s.name)
            elif isinstance(s, Multiply):
                self.folded.update(s.c)
                names.update(s.c)  # each product is added to what the one before it left
            elif isinstance(s, Store):
                stores.setdefault(s.memory, []).append(s)
                for i in (s.index, *s.guard):
                    names |= i.names()
            roots += values_of(s)
        for v in toposort(roots):
            if v.op is Extra.REF:
                names.add(str(v.arg))
            elif isinstance(v.arg, Access):
                loads.add(v.arg.memory)
            for i in val.indices(v):
                names |= i.names()
        self.folded -= own
        outside = {m: of for m, of in stores.items() if m not in own}
        self.contested = [m for m, of in outside.items() if len(of) > 1]
        # at computed positions several statements may meet: whatever is stored last stays
        computed = any(
            not own.isdisjoint(n.partition("[")[0] for n in s.index.names())
            for m in self.contested
            for s in outside[m]
        )
        again = any(_same(memories.get(a), memories.get(b)) for a in outside for b in loads)
        self.carried = computed or again or not self.folded.isdisjoint(names)


def _same(a: _Held | None, b: _Held | None) -> bool:
    return a is not None and b is not None and (a is b or np.may_share_memory(a.elements, b.elements))
