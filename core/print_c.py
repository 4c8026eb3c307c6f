"""The printer of the C family: an expanded, legalized, hoisted kernel to text, by a ``CLike`` table.

A bool of one lane is 0 or 1. Bools of several lanes are masks: integer vectors, all bits set where true, of
the width of what was compared (their *mask width*), converted where widths meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from . import dtype as dt
from .device import Extra as Offer
from .dialect import CLike, NamedKernel
from .dtype import DType
from .loops import Acc, Bind, Body, Kernel, Let, Loop, Memory, Scratch, Store, Update
from .ops import Op, identity
from .value import Access, Extra, Number, Value, ValueOp, toposort

if TYPE_CHECKING:
    from .device import Spec

_MASKS = {1: dt.int8, 2: dt.int16, 4: dt.int32, 8: dt.int64}
_ON_BOOL: dict[ValueOp, ValueOp] = {Op.ADD: Op.OR, Op.MUL: Op.AND, Op.MAX: Op.OR, Op.CMPNE: Op.XOR}


class Printer:
    """Prints kernels into one source text, with the types and functions that they use before them."""

    def __init__(self, table: CLike, spec: Spec) -> None:
        self.table, self.spec = table, spec
        self.vectors: dict[tuple[DType, int], None] = {}
        self.helpers: dict[str, str] = {}

    def source(self, kernels: Sequence[NamedKernel]) -> str:
        """Everything."""
        bodies = [_KernelPrinter(self, k).text() for k in kernels]
        types = [self.vector_definition(d, n) for d, n in self.vectors]
        return "\n".join([self.table.prelude.rstrip(), *types, *self.helpers.values(), "", *bodies]) + "\n"

    def vector_definition(self, dtype: DType, lanes: int) -> str:
        """The typedefs of one vector type."""
        return self.table.vector_type.format(
            T=self.table.types[dtype], V=self.vector_name(dtype, lanes),
            bytes=dtype.itemsize * lanes, align=dtype.itemsize, n=lanes,
        )  # fmt: skip

    def vector_name(self, dtype: DType, lanes: int) -> str:
        """The name of a vector type; bools have none of their own."""
        return f"{self.table.short[dtype]}x{lanes}"

    def type(self, dtype: DType, lanes: int) -> str:
        """A type's name; of a vector, defined from here on."""
        if lanes == 1:
            return self.table.types[dtype]
        self.vectors[(dtype, lanes)] = None
        return self.vector_name(dtype, lanes)

    def helper(self, kind: str, dtype: DType, lanes: int) -> str:
        """The name of a function on vectors of this type, defined from here on."""
        vector = self.type(dtype, lanes)
        name = f"{vector}_{kind}"
        if name not in self.helpers:
            bits = self.type(_MASKS[dtype.itemsize], lanes)
            one = {
                op: self.table.by_dtype.get((op, dtype), self.table.scalar.get(op, ""))
                for op in (Op.SQRT, Extra.FMA)
            }
            self.helpers[name] = self.table.functions[kind].format(
                V=vector, T=self.type(dtype, 1), I=bits, n=lanes,
                all=", ".join(["x"] * lanes),
                sqrt=one[Op.SQRT].format("a[l]"), fma=one[Extra.FMA].format("a[l]", "b[l]", "c[l]"),
            )  # fmt: skip
        return name


class _KernelPrinter:
    def __init__(self, printer: Printer, named: NamedKernel) -> None:
        self.p, self.table, self.named = printer, printer.table, named
        self.kernel: Kernel = named.kernel
        self.memories: dict[str, Memory] = {m.name: m for m in self.kernel.params}
        self.widths: dict[str, int] = {}  # mask width of each bool vector that has a name
        self.done: dict[Value, str] = {}
        self.width: dict[Value, int] = {}
        self.streams = any(p.stream for p in self.kernel.params) and bool(self.table.stream)

    def text(self) -> str:
        k = self.kernel
        lines = [self.table.kernel.format(name=self.named.name) + " {"]
        for i, p in enumerate(k.params):
            qualifier = "" if p.written else self.table.constant_qualifier
            alone = self.table.alone_qualifier if not k.aliases else ""
            lines.append(
                "  " + self.table.parameter.format(
                    T=self.table.types[p.dtype], name=p.name, i=i, qualifier=qualifier, alone=alone
                )
            )  # fmt: skip
        lines += self.body(k.body, 1)
        if self.streams:
            lines.append(f"  {self.table.after_stream}")
        lines.append("}")
        return "\n".join(lines)

    def body(self, body: Body, depth: int) -> list[str]:
        tab = "  " * depth
        out: list[str] = []
        after_grid: Loop | None = None
        for s in body:
            if isinstance(s, Loop) and s.bind is Bind.GRID:
                first, last, t = self.table.grid_first, self.table.grid_last, self.table.index_type
                out.append(f"{tab}for ({t} {s.var} = {first}; {s.var} < {last}; {s.var}++) {{")
                out += self.body(s.body, depth + 1)
                out.append(f"{tab}}}")
                after_grid = s
                tail = body[body.index(s) + 1 :]
                if tail:
                    out.append(f"{tab}if ({last} == {s.extent}) {{")
                    out += self.body(tail, depth + 1)
                    out.append(f"{tab}}}")
                break
            out += self.statement(s, depth)
        assert after_grid is None or depth == 1
        return out

    def statement(self, s: object, depth: int) -> list[str]:
        tab = "  " * depth
        if isinstance(s, Loop):
            head = f"{tab}for ({self.table.index_type} {s.var} = 0; {s.var} < {s.extent}; {s.var}++) {{"
            return [head, *self.body(s.body, depth + 1), f"{tab}}}"]
        if isinstance(s, Let):
            text = self.value(s.value)
            return [f"{tab}const {self.declared(s.name, s.value)} {s.name} = {text};"]
        if isinstance(s, Acc):
            return [f"{tab}{self.accumulator(s)}"]
        if isinstance(s, Update):
            when, s = self.only_when(s)
            return [f"{tab}{when}{s.name} = {self.update(s)};"]
        if isinstance(s, Scratch):
            m = s.memory
            self.memories[m.name] = m
            return [tab + self.table.local.format(T=self.table.types[m.dtype], name=m.name, size=m.size)]
        assert isinstance(s, Store)
        return [tab + line for line in self.store(s)]

    def declared(self, name: str, v: Value) -> str:
        if v.dtype.is_bool and v.lanes > 1:
            self.widths[name] = self.width[v]
            return self.p.type(_MASKS[self.width[v]], v.lanes)
        return self.p.type(v.dtype, v.lanes)

    def accumulator(self, s: Acc) -> str:
        dtype = s.dtype
        start = self.number(identity(s.op, dtype), dtype)
        if s.lanes > 1:
            if dtype.is_bool:
                self.widths[s.name] = 1
                start, dtype = str(-int(bool(identity(s.op, dtype)))), dt.int8
            start = f"{self.p.helper('set', dtype, s.lanes)}({start})"
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
        text = self.value(v)
        at = self.table.index(s.index)
        when = f"if ({self.table.mask(s.guard)}) " if s.guard else ""
        if v.lanes == 1:
            return [f"{when}{s.memory}[{at}] = {text};"]
        dtype = v.dtype
        if dtype.is_bool:
            text = f"({self.as_width(text, self.width[v], 1, v.lanes)} & 1)"
            dtype = dt.int8
        vector = self.p.type(dtype, v.lanes)
        if s.stride == 1:
            if (
                memory.stream
                and self.streams
                and s.index.const % v.lanes == 0
                and all(k % v.lanes == 0 for _, k in s.index.terms)
                and dtype.itemsize * v.lanes == self.p.spec.vector_bytes
            ):
                self.p.helper("stream", dtype, v.lanes)
                return [
                    when
                    + self.table.stream.format(s.memory, at, text, V=vector, bytes=dtype.itemsize * v.lanes)
                ]
            return [f"{when}*({vector}_u *)({s.memory} + {at}) = {text};"]
        name = f"s{len(self.done)}"
        lanes = " ".join(
            f"{s.memory}[{self.table.index(s.index + s.stride * i)}] = {name}[{i}];" for i in range(v.lanes)
        )
        return [f"{when}{{ const {vector} {name} = {text}; {lanes} }}"]

    def load(self, v: Value) -> str:
        access = v.arg
        assert isinstance(access, Access)
        memory = self.memories[access.memory]
        dtype = dt.int8 if memory.dtype.is_bool and v.lanes > 1 else memory.dtype
        if access.places:
            lanes = []
            for p in access.places:
                one = f"{access.memory}[{self.table.index(p.index)}]"
                lanes.append(f"({self.table.mask(p.guard)} ? {one} : 0)" if p.guard else one)
            text = f"({self.p.type(dtype, v.lanes)}){{{', '.join(lanes)}}}"
        elif v.lanes == 1:
            text = f"{access.memory}[{self.table.index(access.index)}]"
        elif access.stride == 1:
            vector = self.p.type(dtype, v.lanes)
            at = self.table.index(access.index)
            text = f"*({self.table.constant_qualifier}{vector}_u *)({access.memory} + {at})"
        else:
            each = [
                f"{access.memory}[{self.table.index(access.index + access.stride * i)}]"
                for i in range(v.lanes)
            ]
            text = f"({self.p.type(dtype, v.lanes)}){{{', '.join(each)}}}"
        if access.guard:
            vector = "" if v.lanes == 1 else f"({self.p.type(dtype, v.lanes)})"
            zero = "0" if v.lanes == 1 else f"{vector}{{0}}"
            text = f"({self.table.mask(access.guard)} ? {vector}{text} : {zero})"
        if memory.dtype.is_bool and v.lanes > 1:
            self.width[v] = 1
            return f"(-({text}))"
        return text

    # ------------------------------------------------------------------ values

    def value(self, root: Value) -> str:
        for v in toposort([root]):
            if v not in self.done or v.op is Extra.REF:
                self.done[v] = self.one(v, [self.done[s] for s in v.srcs])
        return self.done[root]

    def one(self, v: Value, srcs: list[str]) -> str:
        op, n = v.op, v.lanes
        if op is Op.CONST:
            assert isinstance(v.arg, Number)
            return self.number(v.arg.value, v.dtype)
        if op is Op.LOAD:
            return self.load(v)
        if op is Extra.REF:
            if v.dtype.is_bool and n > 1:
                self.width[v] = self.widths[str(v.arg)]
            return str(v.arg)
        if op is Extra.INDEX:
            if isinstance(v.arg, tuple):
                return f"({self.p.type(v.dtype, n)}){{{', '.join(self.table.index(i) for i in v.arg)}}}"
            return f"({self.table.types[v.dtype]})({self.table.index(v.arg)})"  # type: ignore[arg-type]
        if op is Extra.LANES:
            assert isinstance(v.arg, int)
            return f"({self.p.type(v.dtype, n)}){{{', '.join(str(v.arg * i) for i in range(n))}}}"
        if op is Extra.SPLAT:
            return self.splat(v, srcs[0])
        if op is Extra.LANE:
            one = f"{self.named_vector(v.srcs[0], srcs[0])}[{v.arg}]"
            return f"({one} & 1)" if v.dtype.is_bool else one
        if op is Extra.FOLD:
            return self.fold(v, srcs[0])
        if n > 1:
            return self.many(v, srcs)
        if op is Op.CAST and v.dtype.is_bool:
            return f"({srcs[0]} != 0)"
        if op is Op.BITCAST:
            return f"{self.bits(v.srcs[0].dtype, v.dtype)}({srcs[0]})"
        return self.spell(op, v.srcs[-1].dtype if v.dtype.is_bool else v.dtype, 1, srcs)

    def spell(self, op: ValueOp, dtype: DType, lanes: int, srcs: list[str]) -> str:
        t = self.table
        if dtype.is_bool:
            op = _ON_BOOL.get(op, op)
        by = t.by_dtype.get((op, dtype))
        if lanes > 1:
            text = t.vector.get(op) or t.scalar[op]
        else:
            text = by or t.scalar[op]
        fields = {"T": self.p.type(dtype, 1)}
        if lanes > 1:
            vector = self.p.type(dtype, lanes)
            fields = {"T": vector, "V": vector, "I": self.p.type(_MASKS[dtype.itemsize], lanes)}
            for kind in t.functions:
                if f"{{V}}_{kind}" in text:
                    self.p.helper(kind, dtype, lanes)
        text = text.format(*srcs, **fields)
        if (
            lanes == 1
            and dtype.is_int
            and dtype.bits < 32
            and op not in (Op.WHERE, Op.CAST, Op.CMPLT, Op.CMPNE)
        ):
            text = f"({t.types[dtype]}){text}"
        return text

    def many(self, v: Value, srcs: list[str]) -> str:
        """A primitive of several lanes; bools become masks."""
        op, n = v.op, v.lanes
        first = v.srcs[0]
        if op in (Op.CMPLT, Op.CMPNE):
            if first.dtype.is_bool:
                w = self.width[v] = self.width[first]
                other = self.as_width(srcs[1], self.width[v.srcs[1]], w, n)
                return f"({srcs[0]} ^ {other})" if op is Op.CMPNE else f"(~{srcs[0]} & {other})"
            self.width[v] = first.dtype.itemsize
            return self.spell(op, first.dtype, n, srcs)
        if op is Op.CAST and v.dtype.is_bool:
            self.width[v] = first.dtype.itemsize
            zero = f"({self.p.type(first.dtype, n)}){{0}}"
            return f"({srcs[0]} != {zero})"
        if op is Op.CAST:
            to = self.p.type(v.dtype, n)
            if first.dtype.is_bool:
                return f"__builtin_convertvector({srcs[0]} & 1, {to})"
            return f"__builtin_convertvector({srcs[0]}, {to})"
        if op is Op.BITCAST:
            return f"(({self.p.type(v.dtype, n)}){srcs[0]})"
        if op is Op.WHERE:
            if v.dtype.is_bool:
                w = self.width[v] = self.width[first]
                a, b = (self.as_width(srcs[i], self.width[v.srcs[i]], w, n) for i in (1, 2))
                return f"(({srcs[0]} & {a}) | (~{srcs[0]} & {b}))"
            mask = self.as_width(srcs[0], self.width[first], v.dtype.itemsize, n)
            return self.spell(op, v.dtype, n, [mask, srcs[1], srcs[2]])
        if v.dtype.is_bool:
            w = self.width[v] = self.width[first]
            srcs = [
                srcs[0],
                *(self.as_width(t, self.width[s], w, n) for t, s in zip(srcs[1:], v.srcs[1:], strict=True)),
            ]
            return self.spell(_ON_BOOL.get(op, op), _MASKS[w], n, srcs)
        return self.spell(op, v.dtype, n, srcs)

    def as_width(self, text: str, width: int, to: int, lanes: int) -> str:
        return text if width == to else f"__builtin_convertvector({text}, {self.p.type(_MASKS[to], lanes)})"

    def splat(self, v: Value, text: str) -> str:
        dtype = v.dtype
        if dtype.is_bool:
            self.width[v], dtype, text = 1, dt.int8, f"-({text})"
        return f"{self.p.helper('set', dtype, v.lanes)}({text})"

    def fold(self, v: Value, text: str) -> str:
        """The lanes folded by halves: as exact as a tree."""
        source = v.srcs[0]
        dtype = v.dtype
        op = v.arg
        if dtype.is_bool:
            any_ = f"{self.p.helper('fold_or', _MASKS[self.width[source]], source.lanes)}({text})"
            if op is Op.MUL:
                return f"!{self.p.helper('fold_or', _MASKS[self.width[source]], source.lanes)}(~({text}))"
            return f"({any_} != 0)"
        kind = {Op.ADD: "fold_add", Op.MUL: "fold_mul", Op.MAX: "fold_max"}[op]  # type: ignore[index]
        return f"{self.p.helper(kind, dtype, source.lanes)}({text})"

    def named_vector(self, v: Value, text: str) -> str:
        return text if v.op is Extra.REF else f"({text})"

    def bits(self, a: DType, b: DType) -> str:
        name = f"bits_{self.table.short[a]}_{self.table.short[b]}"
        if name not in self.p.helpers:
            self.p.helpers[name] = self.table.functions["bits"].format(
                name=name, A=self.table.types[a], B=self.table.types[b]
            )
        return name

    def number(self, value: bool | int | float, dtype: DType) -> str:
        t = self.table
        if dtype.is_float:
            if value != value:
                return t.nan[dtype]
            if value in (float("inf"), float("-inf")):
                return t.infinity[dtype] if value > 0 else f"(-{t.infinity[dtype]})"
            text = repr(float(value)) if dtype.bits == 64 else str(np.float32(value))
            text = text if any(c in text for c in ".en") else text + ".0"
            return f"({text}{t.suffix[dtype]})" if text[0] == "-" else text + t.suffix[dtype]
        if dtype.is_bool:
            return str(int(bool(value)))
        if value == dtype.min and dtype.is_signed and dtype.bits >= 32:
            return f"({int(value) + 1}{t.suffix[dtype]} - 1)"
        text = f"{int(value)}{t.suffix[dtype]}"
        return f"({text})" if int(value) < 0 else text
