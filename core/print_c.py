"""The printer of the C family: expanded, legalized, hoisted kernels to text, by a ``CLike`` table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from . import dtype as dt
from .device import Extra as Offer
from .dialect import CLike, NamedKernel
from .loops import (
    Acc,
    Barrier,
    Bind,
    Body,
    Let,
    Loop,
    Memory,
    Multiply,
    Prefetch,
    Scratch,
    Store,
    Update,
    statements,
)
from .ops import Op, identity
from .print_names import MASKS, Names
from .print_value import ValuePrinter, is_aligned
from .value import Extra, Number, Value

if TYPE_CHECKING:
    from .device import Spec


def print_kernels(table: CLike, spec: Spec, kernels: Sequence[NamedKernel]) -> str:
    """One source text: the types and functions that the kernels use, and an entry for each kernel."""
    names = Names(table, spec)
    index = table.index_types[any(k.kernel.is_wide for k in kernels)]
    bodies = [_KernelPrinter(names, index, k).text() for k in kernels]
    prelude = f"typedef {index} index_t;\n{table.prelude.rstrip()}"
    return "\n".join([prelude, *names.definitions(), "", *bodies]) + "\n"


class _KernelPrinter(ValuePrinter):
    def __init__(self, names: Names, index: str, named: NamedKernel) -> None:
        super().__init__(names, {m.name: m for m in named.kernel.params})
        self.named, self.kernel, self.index = named, named.kernel, index
        self.streams = any(p.stream for p in self.kernel.params) and bool(self.table.stream)

    def text(self) -> str:
        k = self.kernel
        arguments, lines = [], []
        for i, p in enumerate(k.params):
            fields = {
                "T": self.table.types[p.dtype], "name": p.name, "i": i,
                "qualifier": "" if p.written else self.table.constant_qualifier,
                "alone": self.table.alone_qualifier if not k.aliases else "",
            }  # fmt: skip
            arguments.append((self.table.image_argument if p.image else self.table.argument).format(**fields))
            lines.append("  " + self.table.parameter.format(**fields))
        lines = lines if self.table.parameter else []
        threads = k.threads.extent if k.threads else 0
        head = self.table.kernel.format(
            name=self.named.name, arguments=", ".join(arguments), threads=threads or self.p.spec.block
        )
        for s in statements(k.body):
            if isinstance(s, Scratch) and s.memory.shared:
                lines.append(f"  {self.declaration(self.table.shared, s.memory)}")
        lines += self.body(k.body, 1)
        if self.streams and self.table.after_stream:
            lines.append(f"  {self.table.after_stream}")
        return "\n".join([head + " {", *lines, "}"])

    def declaration(self, template: str, m: Memory) -> str:
        self.memories[m.name] = m
        return template.format(T=self.table.types[m.dtype], name=m.name, size=m.size)

    def body(self, body: Body, depth: int) -> list[str]:
        tab = "  " * depth
        out: list[str] = []
        for at, s in enumerate(body):
            if isinstance(s, Loop) and s.bind is Bind.GRID and self.kernel.threads is None:
                out.append(tab + self.table.grid.format(t=self.index, var=s.var, extent=s.extent))
                out += [*self.body(s.body, depth + 1), f"{tab}}}"]
                tail = body[at + 1 :]
                if tail:
                    last = self.table.grid_last.format(var=s.var, extent=s.extent, last=s.extent - 1)
                    out += [f"{tab}if ({last}) {{", *self.body(tail, depth + 1), f"{tab}}}"]
                break
            out += self.statement(s, depth)
        return out

    def statement(self, s: object, depth: int) -> list[str]:
        tab = "  " * depth
        if isinstance(s, Loop):
            t = self.index
            here = {Bind.GRID: self.table.block, Bind.THREAD: self.table.thread}.get(s.bind)
            if here is not None:  # one iteration is here: this block's, or this thread's
                return [f"{tab}const {t} {s.var} = {here};", *self.body(s.body, depth)]
            more = "" if s.until is None else f" && {s.var} < {self.table.index(s.until)}"
            head = f"{tab}for ({t} {s.var} = 0; {s.var} < {s.extent}{more}; {s.var}++) {{"
            return [head, *self.body(s.body, depth + 1), f"{tab}}}"]
        if isinstance(s, Barrier):
            return [tab + self.table.barrier]
        if isinstance(s, Prefetch):
            at = self.table.prefetch.format(s.memory, self.table.index(s.index))
            return [tab + at] if at else []
        if isinstance(s, Multiply):
            self.p.helpers[s.tile.name] = s.tile.definition
            return [f"{tab}{s.tile.name}({', '.join([*s.c, *map(self.value, (*s.a, *s.b))])});"]
        if isinstance(s, Let):
            text = self.value(s.value)
            return [f"{tab}const {self.declared(s.name, s.value)} {s.name} = {text};"]
        if isinstance(s, Acc):
            return [f"{tab}{self.accumulator(s)}"]
        if isinstance(s, Update):
            when, s = self.only_when(s)
            return [f"{tab}{when}{s.name} = {self.update(s)};"]
        if isinstance(s, Scratch):
            return [] if s.memory.shared else [tab + self.declaration(self.table.local, s.memory)]
        assert isinstance(s, Store)
        return [tab + line for line in self.store(s)]

    def declared(self, name: str, v: Value) -> str:
        if v.dtype.is_bool and v.lanes > 1:
            self.widths[name] = self.width[v]
            return self.p.type(MASKS[self.width[v]], v.lanes)
        return self.p.type(v.dtype, v.lanes)

    def accumulator(self, s: Acc) -> str:
        dtype = s.dtype
        start = self.number(identity(s.op, dtype), dtype)
        if s.lanes > 1:
            if dtype.is_bool:
                self.widths[s.name] = 1
                start, dtype = str(-int(bool(identity(s.op, dtype)))), dt.int8
            start = self.spell(Extra.SPLAT, dtype, s.lanes, [start])
        return f"{self.p.type(dtype, s.lanes)} {s.name} = {start};"

    def only_when(self, s: Update) -> tuple[str, Update]:
        """A sum of what is 0 where a condition, one for all lanes, fails is a sum under that condition."""
        v = s.value
        if s.op is not Op.ADD or v.op is not Op.WHERE or not v.dtype.is_float:
            return "", s
        condition, chosen, other = v.srcs
        zero = other.srcs[0] if other.op is Extra.SPLAT else other
        if not (isinstance(zero.arg, Number) and zero.arg.value == 0):
            return "", s
        if v.lanes > 1 and condition.op is not Extra.SPLAT:
            return "", s
        one = condition.srcs[0] if v.lanes > 1 else condition
        return f"if ({self.value(one)}) ", replace(s, value=chosen)

    def update(self, s: Update) -> str:
        v = s.value
        if s.op is Op.ADD and v.op is Op.MUL and v.dtype.is_float and Offer.FMA in self.p.spec.extras:
            # a fold may round as it likes within its bound: rounding once is better, and faster
            a, b = (self.value(x) for x in v.srcs)
            return self.spell(Extra.FMA, v.dtype, v.lanes, [a, b, s.name])
        text = self.value(v)
        if v.dtype.is_bool and v.lanes > 1:
            text = self.as_width(text, self.width[v], self.widths[s.name], v.lanes)
            return f"{s.name} {'|' if s.op is not Op.MUL else '&'} {text}"
        return self.spell(s.op, v.dtype, v.lanes, [s.name, text])

    # ------------------------------------------------------------------ memory

    def store(self, s: Store) -> list[str]:
        v, memory = s.value, self.memories[s.memory]
        text = self.under(s.guard, v)
        at = self.table.index(s.index)
        when = f"if ({self.table.mask(s.guard)}) " if s.guard else ""
        if v.lanes == 1:
            return [f"{when}{s.memory}[{at}] = {text};"]
        dtype = v.dtype
        if dtype.is_bool:
            text = f"(-{self.as_width(text, self.width[v], 1, v.lanes)})"
            dtype = dt.int8
        vector = self.p.type(dtype, v.lanes)
        whole = self.whole(True, s.index, v.lanes)
        if s.stride == 1 and whole:
            if memory.stream and self.streams and is_aligned(s.index, v.lanes) \
                    and dtype.itemsize * v.lanes == self.p.spec.vector_bytes:  # fmt: skip
                self.p.needed_by(self.table.stream, dtype, v.lanes)
                return [when + self.table.stream.format(s.memory, at, text, V=vector)]
            fields = {"V": vector, "n": v.lanes, "T": self.p.type(dtype, 1), "space": self.space(memory)}
            return [when + whole.format(s.memory, at, text, **fields)]
        name = f"s{len(self.done)}"
        lanes = " ".join(
            f"{s.memory}[{self.table.index(s.index + s.stride * i)}] = {self.table.lane.format(name, i)};"
            for i in range(v.lanes)
        )
        return [f"{when}{{ const {vector} {name} = {text}; {lanes} }}"]
