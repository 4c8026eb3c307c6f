"""Values of a kernel as expressions of the C family, by a ``CLike`` table.

A bool of one lane is 0 or 1. Bools of several lanes are masks: integer vectors, all bits set where true, of
the width of what was compared (their *mask width*), converted where widths meet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import dtype as dt
from .dtype import DType
from .index import Index, Mask
from .loops import Memory
from .ops import Op
from .print_names import MASKS, Names
from .value import Access, Extra, Number, Value, ValueOp, toposort

ON_BOOL: dict[ValueOp, ValueOp] = {Op.ADD: Op.OR, Op.MUL: Op.AND, Op.MAX: Op.OR, Op.CMPNE: Op.XOR}
"""What primitives of bools are printed as."""


class ValuePrinter:
    """Prints values; what a kernel's memories are is known to it, and what holds where a value stands."""

    def __init__(self, names: Names, memories: dict[str, Memory]) -> None:
        self.p, self.table, self.memories = names, names.table, memories
        self.parameters = frozenset(memories)
        self.widths: dict[str, int] = {}  # mask width of each bool vector that has a name
        self.done: dict[Value, str] = {}
        self.width: dict[Value, int] = {}
        self.held: Mask = ()  # what is known to hold where a value is printed

    def under(self, guard: Mask, v: Value) -> str:
        """A value that is computed only where ``guard`` holds: its loads need not ask again."""
        if not guard:
            return self.value(v)
        done, self.done, self.held = self.done, {}, guard
        text = self.value(v)
        self.done, self.held = done, ()
        return text

    def whole(self, stores: bool, index: Index, lanes: int) -> str:
        """The template of a vector's load or store."""
        t = self.table
        either, aligned = (t.vector_store, t.aligned_store) if stores else (t.vector_load, t.aligned_load)
        return aligned if aligned and is_aligned(index, lanes) else either

    def space(self, memory: Memory) -> str:
        """The address space that a memory is in."""
        if memory.name in self.parameters:
            return self.table.parameter_space
        return self.table.shared_space if memory.shared else self.table.private_space

    def literal(self, dtype: DType, lanes: Sequence[str]) -> str:
        """A vector of these."""
        return self.table.literal.format(V=self.p.type(dtype, len(lanes)), lanes=", ".join(lanes))

    def load(self, v: Value) -> str:
        """LOAD: an element, a vector, or a vector element by element."""
        access = v.arg
        assert isinstance(access, Access)
        memory = self.memories[access.memory]
        if memory.image:
            return self.pixels(v, access, memory)
        dtype = dt.int8 if memory.dtype.is_bool and v.lanes > 1 else memory.dtype
        if access.places:
            lanes = []
            for p in access.places:
                one = f"{access.memory}[{self.table.index(p.index)}]"
                lanes.append(self.guarded(one, p.guard, self.number(0, dtype)))
            text = self.literal(dtype, lanes)
        elif v.lanes == 1:
            text = f"{access.memory}[{self.table.index(access.index)}]"
        elif access.stride == 1 and self.whole(False, access.index, v.lanes):
            vector = self.p.type(dtype, v.lanes)
            text = self.whole(False, access.index, v.lanes).format(
                access.memory, self.table.index(access.index), V=vector, n=v.lanes, T=self.p.type(dtype, 1),
                const=self.table.constant_qualifier, space=self.space(memory),
            )  # fmt: skip
        else:
            text = self.literal(
                dtype,
                [
                    f"{access.memory}[{self.table.index(access.index + access.stride * i)}]"
                    for i in range(v.lanes)
                ],
            )
        zero = self.number(0, dtype)
        text = self.guarded(
            text, access.guard, zero if v.lanes == 1 else self.literal(dtype, [zero] * v.lanes)
        )
        if memory.dtype.is_bool and v.lanes > 1:
            self.width[v] = 1
            return f"(-({text}))"
        return text

    def guarded(self, text: str, guard: Mask, zero: str) -> str:
        """What is read where its guard holds, and zero elsewhere."""
        mask = tuple(m for m in guard if m not in self.held)
        return f"({self.table.mask(mask)} ? {text} : {zero})" if mask else text

    def pixels(self, v: Value, access: Access, memory: Memory) -> str:
        """A load through an image: whole pixels, or one element of a pixel; outside of its guard, zeros."""
        pixel = self.table.index(access.index // 4)
        if access.guard:
            pixel = f"({self.table.mask(access.guard)} ? {pixel} : -1)"
        text = self.table.image_load[memory.dtype].format(access.memory, pixel, width=memory.image)
        if v.lanes == 4:
            return text
        element = access.index % 4
        assert element.is_const
        return self.table.lane.format(text, element.const)

    # ------------------------------------------------------------------ values

    def value(self, root: Value) -> str:
        """A value's expression."""
        for v in toposort([root]):
            if v not in self.done or v.op is Extra.REF:
                self.done[v] = self.one(v, [self.done[s] for s in v.srcs])
        return self.done[root]

    def one(self, v: Value, srcs: list[str]) -> str:
        """A value's expression, from those of its operands."""
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
                return self.literal(v.dtype, [self.table.index(i) for i in v.arg])
            return f"({self.table.types[v.dtype]})({self.table.index(v.arg)})"  # type: ignore[arg-type]
        if op is Extra.LANES:
            assert isinstance(v.arg, int)
            return self.literal(v.dtype, [str(v.arg * i) for i in range(n)])
        if op is Extra.SPLAT:
            return self.splat(v, srcs[0])
        if op is Extra.LANE:
            one = self.table.lane.format(self.named_vector(v.srcs[0], srcs[0]), v.arg)
            return f"({one} & 1)" if v.dtype.is_bool else one
        if op is Extra.SHUFFLE:
            return self.shuffle(v, *srcs)
        if op is Extra.FOLD:
            return self.fold(v, srcs[0])
        if n > 1:
            return self.many(v, srcs)
        if op is Op.CAST and v.dtype.is_bool:
            first = v.srcs[0].dtype
            return self.spell(Op.CMPNE, first, 1, [srcs[0], self.number(0, first)])
        if op is Op.BITCAST:
            return self.bits(v.srcs[0].dtype, v.dtype, srcs[0])
        return self.spell(op, v.srcs[-1].dtype if v.dtype.is_bool else v.dtype, 1, srcs)

    def spell(self, op: ValueOp, dtype: DType, lanes: int, srcs: list[str]) -> str:
        """What the table calls an operation of ``dtype``; small integers are brought back to their width."""
        t = self.table
        if dtype.is_bool:
            op = ON_BOOL.get(op, op)
        if lanes > 1:
            return self.on_vectors(t.vector.get(op) or t.scalar[op], dtype, lanes, srcs)
        text = (t.by_dtype.get((op, dtype)) or t.scalar[op]).format(*srcs, T=self.p.type(dtype, 1))
        if dtype.is_int and dtype.bits < 32 and op not in (Op.WHERE, Op.CAST, Op.CMPLT, Op.CMPNE):
            text = f"({t.types[dtype]}){text}"
        return text

    def on_vectors(self, text: str, dtype: DType, lanes: int, srcs: list[str]) -> str:
        """A template of the table's, filled for vectors of a type."""
        self.p.needed_by(text, dtype, lanes)
        bits = self.p.type(MASKS[dtype.itemsize], lanes)
        return text.format(
            *srcs, T=self.p.type(dtype, 1), V=self.p.type(dtype, lanes), n=lanes, I=bits
        )  # fmt: skip

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
            return self.spell(
                Op.CMPNE,
                first.dtype,
                n,
                [srcs[0], self.literal(first.dtype, [self.number(0, first.dtype)] * n)],
            )
        if op is Op.CAST:
            return self.spell(op, v.dtype, n, [f"(-{srcs[0]})" if first.dtype.is_bool else srcs[0]])
        if op is Op.WHERE:
            if v.dtype.is_bool:
                w = self.width[v] = self.width[first]
                a, b = (self.as_width(srcs[i], self.width[v.srcs[i]], w, n) for i in (1, 2))
                return f"(({srcs[0]} & {a}) | (~{srcs[0]} & {b}))"
            clamp = self.clamp(v)
            if clamp:
                return self.on_vectors(clamp, v.dtype, n, [self.done[s] for s in first.srcs])
            mask = self.as_width(srcs[0], self.width[first], v.dtype.itemsize, n)
            return self.spell(op, v.dtype, n, [mask, srcs[1], srcs[2]])
        if v.dtype.is_bool:
            w = self.width[v] = self.width[first]
            srcs = [
                srcs[0],
                *(self.as_width(t, self.width[s], w, n) for t, s in zip(srcs[1:], v.srcs[1:], strict=True)),
            ]
            return self.spell(ON_BOOL.get(op, op), MASKS[w], n, srcs)
        return self.spell(op, v.dtype, n, srcs)

    def clamp(self, v: Value) -> str:
        """The table's spelling of a WHERE that gives the lesser or the greater of what it compares."""
        condition, *chosen = v.srcs
        if condition.op is not Op.CMPLT or not v.dtype.is_float:
            return ""
        less, more = condition.srcs
        return {(less, more): self.table.lesser, (more, less): self.table.greater}.get(tuple(chosen), "")  # type: ignore[arg-type]

    def as_width(self, text: str, width: int, to: int, lanes: int) -> str:
        """A mask, converted to lanes of ``to`` bytes."""
        return text if width == to else self.spell(Op.CAST, MASKS[to], lanes, [text])

    def splat(self, v: Value, text: str) -> str:
        """A scalar in each lane."""
        dtype = v.dtype
        if dtype.is_bool:
            self.width[v], dtype, text = 1, dt.int8, f"-({text})"
        return self.spell(Extra.SPLAT, dtype, v.lanes, [text])

    def shuffle(self, v: Value, a: str, b: str) -> str:
        """Lanes of two vectors."""
        assert isinstance(v.arg, tuple)
        if self.table.permute:
            bits = self.p.type(MASKS[v.dtype.itemsize], v.lanes)
            return self.table.permute.format(a, b, I=bits, lanes=", ".join(map(str, v.arg)))
        one, other = (self.named_vector(s, x) for s, x in zip(v.srcs, (a, b), strict=True))
        n = v.lanes
        lanes = [self.table.lane.format(one if i < n else other, i % n) for i in v.arg]
        return self.literal(v.dtype, lanes)

    def fold(self, v: Value, text: str) -> str:
        """The lanes folded by halves: as exact as a tree."""
        source = v.srcs[0]
        dtype = v.dtype
        op = v.arg
        if dtype.is_bool:
            any_ = f"{self.p.helper('fold_or', MASKS[self.width[source]], source.lanes)}({text})"
            if op is Op.MUL:
                return f"!{self.p.helper('fold_or', MASKS[self.width[source]], source.lanes)}(~({text}))"
            return f"({any_} != 0)"
        kind = {Op.ADD: "fold_add", Op.MUL: "fold_mul", Op.MAX: "fold_max"}[op]  # type: ignore[index]
        return f"{self.p.helper(kind, dtype, source.lanes)}({text})"

    def named_vector(self, v: Value, text: str) -> str:
        """A vector's expression, as one of whose lanes can be asked for."""
        return text if v.op is Extra.REF else f"({text})"

    def bits(self, a: DType, b: DType, text: str) -> str:
        """A scalar's bits as another dtype."""
        table = self.table
        function = table.functions.get("bits")
        name = f"bits_{table.short[a]}_{table.short[b]}"
        if function is not None and name not in self.p.helpers:
            self.p.helpers[name] = function.format(name=name, A=table.types[a], B=table.types[b])
        return table.scalar[Op.BITCAST].format(text, name=name, A=table.types[a], T=table.types[b])

    def number(self, value: bool | int | float, dtype: DType) -> str:
        """A number that reads back as exactly this one."""
        t = self.table
        if dtype.is_float:
            if value != value:
                return t.nan[dtype]
            if value in (float("inf"), float("-inf")):
                return t.infinity[dtype] if value > 0 else f"(-{t.infinity[dtype]})"
            text = repr(float(value)) if dtype.bits == 64 else str(np.float32(value))
            text = t.number[dtype].format(text if any(c in text for c in ".en") else text + ".0")
            return f"({text})" if text[0] == "-" else text
        if dtype.is_bool:
            return str(int(bool(value)))
        if value == dtype.min and dtype.is_signed and dtype.bits >= 32:
            return f"({t.number[dtype].format(int(value) + 1)} - 1)"
        text = t.number[dtype].format(int(value))
        return f"({text})" if int(value) < 0 else text


def is_aligned(index: Index, lanes: int) -> bool:
    """Whether a position is always at a multiple of a vector's lanes."""
    return index.const % lanes == 0 and all(k % lanes == 0 for _, k in index.terms)
