"""Legalization of a whole kernel: values by ``legalize``, and what holds them in matching dtypes.

What the device computes in stays as it is. A Let or memory of a dtype that is stood in for becomes what
stands for it, two words where one does not hold it. An accumulator whose registers, folded each by itself,
would not hold the result (two words; a maximum where the device lacks MAX) becomes a cell of the work item's
own memory, which each update loads and stores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from . import value as val
from .device import Spec
from .dtype import DType, int32
from .index import constant
from .legalize import Legalizer, Term, element
from .loops import (
    Acc,
    Barrier,
    Body,
    Kernel,
    Let,
    Loop,
    Memory,
    Multiply,
    Prefetch,
    Scratch,
    Stmt,
    Store,
    Update,
    statements,
)
from .ops import Op, identity
from .value import Access, Value


def legalize_kernel(kernel: Kernel, spec: Spec) -> Kernel:
    """The kernel in the primitives and dtypes of ``spec``: memory keeps its bits, registers may be wider.

    Raises:
        DeviceError: when the device lacks what cannot be built, or a dtype that nothing stands in for.
    """
    work = _Legal(spec, kernel)
    body = tuple(work.body(kernel.body))
    return replace(kernel, params=tuple(work.memory(p) for p in kernel.params), body=body)


class _Legal:
    def __init__(self, spec: Spec, kernel: Kernel) -> None:
        self.legal = Legalizer(spec)
        self.cells: dict[str, DType] = {}
        taken = {s.name for s in statements(kernel.body) if isinstance(s, Let | Acc)}
        self.fresh = (name for name in map("w{}".format, count()) if name not in taken)

    def memory(self, m: Memory) -> Memory:
        storage = self.legal.storage(m.dtype)
        return replace(m, dtype=storage.dtype, size=m.size * storage.count)

    def body(self, body: Body) -> Iterator[Stmt]:
        for s in body:
            if isinstance(s, Loop):
                yield replace(s, body=tuple(self.body(s.body)))
            elif isinstance(s, Scratch):
                yield Scratch(self.memory(s.memory))
            elif isinstance(s, Acc):
                yield from self.accumulator(s)
            elif isinstance(s, Store):
                yield from self.store(s, self.legal.term(s.value))
            elif isinstance(s, Let):
                yield from self.let(s)
            elif isinstance(s, Barrier | Multiply | Prefetch):
                yield s  # made for a device that has it, of dtypes that it computes in
            elif s.name in self.cells:
                yield from self.update(s)
            else:
                [value] = self.legal.term(s.value).values()
                yield replace(s, value=value)

    def store(self, s: Store, x: Term) -> Iterator[Stmt]:
        words = self.legal.stored(x)
        for i, word in enumerate(words):
            index = s.index if len(words) == 1 else s.index * len(words) + i
            yield replace(s, index=index, value=word)

    def let(self, s: Let) -> Iterator[Stmt]:
        """A computed position: one integer. Two words that it does not hold are no position."""
        x = self.legal.term(s.value)
        values = tuple(x.values())
        if len(values) > 1:
            low, high = (p.read_as(int32) for p in x.parts)
            x = high.differs(low >> 31).choose(-1, low)
            values = tuple(x.values())
        yield replace(s, value=values[0])

    # ------------------------------------------------------------------ accumulators

    def accumulator(self, s: Acc) -> Iterator[Stmt]:
        target = self.legal.target
        form = target.form(s.dtype)
        register = val.ref(s.name, s.dtype, s.lanes)
        if form is None and target.has(s.op, s.dtype):
            yield s
            return
        if form is not None and form.folds(s.op):
            yield replace(s, dtype=form.kin[0])
            return
        self.cells[s.name] = s.dtype
        storage = self.legal.storage(s.dtype)
        yield Scratch(Memory(s.name, storage.dtype, storage.count, written=True))
        start = target.number(identity(s.op, s.dtype), s.dtype)
        yield from self.store(Store(s.name, constant(0), register), start)
        self.legal.know(register, self.cell(s.name))

    def cell(self, name: str) -> Term:
        return self.legal.load(self.cells[name], Access(name, constant(0), ()))

    def update(self, s: Update) -> Iterator[Stmt]:
        """Every word is loaded before the first is stored."""
        dtype = self.cells[s.name]
        storage = self.legal.storage(dtype)
        words: list[Value] = []
        for i in range(storage.count):
            name, at = next(self.fresh), element(Access(s.name, constant(0), ()), storage.count, i)
            yield Let(name, val.make(Op.LOAD, storage.dtype, (), at))
            words.append(val.ref(name, storage.dtype))
        before = self.legal.held(dtype, tuple(words))
        after = self.legal.target.emit(s.op, before, self.legal.term(s.value))
        yield from self.store(Store(s.name, constant(0), s.value), after)
