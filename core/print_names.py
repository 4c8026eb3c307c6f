"""What a source text of the C family needs before its kernels: vector types and functions on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import dtype as dt
from .dialect import CLike
from .dtype import DType
from .ops import Op
from .value import Extra

if TYPE_CHECKING:
    from .device import Spec

MASKS = {1: dt.int8, 2: dt.int16, 4: dt.int32, 8: dt.int64}
"""The integer of each width: a vector's condition is one for each lane, all bits set where true."""
_FOLDS = {"fold_add": Op.ADD, "fold_mul": Op.MUL, "fold_max": Op.MAX, "fold_or": Op.OR}


class Names:
    """Types and functions of one source text, in the order in which they came to be needed."""

    def __init__(self, table: CLike, spec: Spec) -> None:
        self.table, self.spec = table, spec
        self.vectors: dict[tuple[DType, int], None] = {}
        self.helpers: dict[str, str] = {}

    def definitions(self) -> list[str]:
        """The types and functions, in order."""
        types = [self.vector_definition(d, n) for d, n in self.vectors] if self.table.vector_type else []
        return [*types, *self.helpers.values()]

    def vector_definition(self, dtype: DType, lanes: int) -> str:
        """The typedefs of one vector type."""
        return self.table.vector_type.format(
            T=self.table.types[dtype], V=self.vector_name(dtype, lanes),
            bytes=dtype.itemsize * lanes, align=dtype.itemsize, n=lanes,
        )  # fmt: skip

    def vector_name(self, dtype: DType, lanes: int) -> str:
        """The name of a vector type; bools have none of their own."""
        return self.table.vector_name.format(short=self.table.short[dtype], n=lanes)

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
            bits = self.type(MASKS[dtype.itemsize], lanes)
            self.needed_by(self.table.functions[kind], dtype, lanes, of=kind)
            one = {
                op: self.table.by_dtype.get((op, dtype), self.table.scalar.get(op, ""))
                for op in (Op.SQRT, Extra.FMA)
            }
            self.helpers[name] = self.table.functions[kind].format(
                V=vector, name=name, T=self.type(dtype, 1), I=bits, n=lanes,
                fold=self.fold_steps(kind, dtype, lanes), all=", ".join(["x"] * lanes),
                sqrt=one[Op.SQRT].format("a[l]"), fma=one[Extra.FMA].format("a[l]", "b[l]", "c[l]"),
            )  # fmt: skip
        return name

    def needed_by(self, text: str, dtype: DType, lanes: int, of: str = "") -> None:
        """Has the functions defined that a spelling, or the definition ``of`` one, calls on vectors."""
        for kind in self.table.functions:
            if kind != of and f"{{V}}_{kind}(" in text:
                self.helper(kind, dtype, lanes)

    def fold_steps(self, kind: str, dtype: DType, lanes: int) -> str:
        """Statements that fold the lanes of ``a`` by halves and return what is left."""
        op = _FOLDS.get(kind)
        if op is None:
            return ""
        if self.table.permute:
            return self.fold_halves(op, dtype, lanes)
        spelled = self.table.by_dtype.get((op, dtype)) or self.table.scalar[op]
        t = self.type(dtype, 1)
        now = [self.table.lane.format("a", i) for i in range(lanes)]
        steps: list[str] = []
        while len(now) > 1:
            half = len(now) // 2
            for i in range(half):
                steps.append(f"{t} r{len(steps)} = {spelled.format(now[i], now[i + half], T=t)};")
            now = [f"r{len(steps) - half + i}" for i in range(half)]
        return f"{' '.join(steps)} return {now[0]};"

    def fold_halves(self, op: Op, dtype: DType, lanes: int) -> str:
        """The same, whole vectors at a time."""
        fields = {"V": self.type(dtype, lanes), "I": self.type(MASKS[dtype.itemsize], lanes)}
        fields |= {"T": self.type(dtype, 1), "n": str(lanes)}
        spelled = self.table.vector.get(op) or self.table.scalar[op]
        self.needed_by(spelled, dtype, lanes)
        steps = []
        half = lanes // 2
        while half:
            order = ", ".join(str((i + half) % lanes) for i in range(lanes))
            turned = self.table.permute.format("a", "a", lanes=order, **fields)
            steps.append(f"a = {spelled.format('a', turned, **fields)};")
            half //= 2
        return f"{' '.join(steps)} return {self.table.lane.format('a', 0)};"
