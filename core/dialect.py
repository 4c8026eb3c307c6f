"""What a kernel language calls things, and how a kernel is printed in one.

``Dialect`` is what core asks of a language. ``CLike`` serves the C family: languages of it differ in a table
(the fields of the dataclass), never in the printer. If one needs a branch, the table lacks a column.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from .dtype import ALL, DType, bfloat16, bool_
from .index import Atom, Index, Mask
from .loops import Kernel
from .ops import Op
from .record import dataclass
from .value import Extra, ValueOp

if TYPE_CHECKING:
    from .device import Spec


@dataclass(frozen=True)
class NamedKernel:
    """A kernel and the name that it is launched by."""

    name: str
    kernel: Kernel


class Dialect(ABC):
    """A kernel language."""

    @abstractmethod
    def render(self, kernels: Sequence[NamedKernel], spec: Spec) -> str:
        """One source text with an entry for each kernel (expanded, legalized and hoisted)."""

    @abstractmethod
    def faults(self, spec: Spec) -> list[str]:
        """What ``spec`` claims and the language cannot say."""


OPERATORS: Mapping[ValueOp, str] = {
    Op.ADD: "({0} + {1})", Op.SUB: "({0} - {1})", Op.MUL: "({0} * {1})", Op.NEG: "(-{0})",
    Op.IDIV: "({0} / {1})", Op.MOD: "({0} % {1})", Op.RECIP: "(({T})1 / {0})", Extra.DIV: "({0} / {1})",
    Op.MAX: "({0} > {1} || {0} != {0} ? {0} : {1})", Op.WHERE: "({0} ? {1} : {2})",
    Op.CMPLT: "({0} < {1})", Op.CMPNE: "({0} != {1})", Op.AND: "({0} & {1})", Op.OR: "({0} | {1})",
    Op.XOR: "({0} ^ {1})", Op.SHL: "({0} << {1})", Op.SHR: "({0} >> {1})", Op.CAST: "(({T}){0})",
}  # fmt: skip
"""What the whole family spells alike: its operators."""


def wrapping(unsigned: Mapping[DType, str]) -> dict[tuple[ValueOp, DType], str]:
    """Integer arithmetic that wraps, for ``CLike.by_dtype``, where a signed overflow is undefined.

    Args:
        unsigned: for each dtype whose arithmetic may overflow, the unsigned type that it is computed in.
    """
    spelled = {
        Op.ADD: "(({T})((U){0} + (U){1}))", Op.SUB: "(({T})((U){0} - (U){1}))",
        Op.MUL: "(({T})((U){0} * (U){1}))", Op.NEG: "(({T})-(U){0})", Op.SHL: "(({T})((U){0} << {1}))",
    }  # fmt: skip
    return {(op, d): text.replace("U", u) for d, u in unsigned.items() for op, text in spelled.items()}


FOLDS = tuple(f"fold_{how}" for how in ("add", "mul", "max", "or"))
"""The functions that fold a vector's lanes; ``{fold}`` is a body that serves where a vector has lanes."""

SHORT: Mapping[DType, str] = {d: f"{d.name[0]}{d.bits}" for d in ALL} | {bool_: "b8", bfloat16: "bf16"}
"""Short names of the dtypes: f32, i8, u16."""


@dataclass(frozen=True)
class CLike(Dialect):
    """A language of the C family, as a table.

    Templates are filled by ``str.format``: ``{0}``, ``{1}`` … are operands, ``{T}`` is the result's type,
    ``{V}`` its vector type, ``{n}`` its lanes, ``{I}`` the integer vector type of its lanes' width,
    ``{A}``, ``{B}`` the types that bits are read from and as, and ``{space}`` the address space of what is
    loaded or stored.

    Attributes:
        types: what each dtype is called.
        short: what each dtype is called inside the name of a vector type.
        prelude: text before everything else; ``index_t`` in it is the integer that positions are counted in.
        kernel: the head of an entry, with ``{name}`` and its ``{arguments}``.
        argument: one of them: parameter ``{i}``, called ``{name}``, with ``{qualifier}`` and ``{alone}``.
        parameter: its declaration in the body, where the head does not declare it.
        constant_qualifier, alone_qualifier: of memory that is only read, and of a pointer that aliases none.
        image_argument: a parameter that is read through an image of four-element pixels.
        image_load: for each dtype, what reads pixel ``{1}`` of image ``{0}``, whose rows have ``{width}``; a
            position of -1 reads zeros.
        index_types: the integer for positions, and the one for positions of 2³¹ and more.
        grid: opens the scope of work item ``{var}`` of ``{extent}``: a loop over a share, or a test.
        grid_last: whether the last of ``{extent}`` work items is in this share.
        block, thread: this block of the grid, and this thread of the block.
        barrier: what all threads of a block wait at.
        parameter_space, private_space, shared_space: where parameters, a work item's own scratch memory and
            a block's are, in a language that tells pointers apart by it.
        shared: the declaration of memory ``{name}`` of ``{size}`` elements that a block's threads share.
        local: the declaration of a work item's own.
        vector_name, vector_type: a vector type's name, and its definition where the language has none.
        vector, scalar: what each operation is, of vectors and of scalars; a vector's is the scalar's where
            they are spelled alike.
        lesser, greater: what of two vectors of floats ``{0} < {1} ? {0} : {1}`` and ``{0} < {1} ? {1} : {0}``
            is; empty where WHERE does as well.
        by_dtype: what a scalar operation is of one dtype, where that differs.
        literal, lane: a vector of its ``{lanes}``, and lane ``{1}`` of a vector.
        permute: these ``{lanes}`` of two vectors, counted through both; empty where the language has no such
            thing.
        vector_load, vector_store: of consecutive elements from ``{0} + {1}`` on; where empty, each lane is
            loaded and stored by itself.
        aligned_load, aligned_store: the same where the first is at a multiple of the vector; as above where
            empty.
        functions: definitions that a spelling needs, by the name that it calls: ``{V}_sqrt`` is made
            from "sqrt".
        number: a number ``{0}`` of each dtype.
        infinity, nan: of each float dtype.
        stream: a store that bypasses the caches, of a vector.
        prefetch: a statement that asks for element ``{1}`` of memory ``{0}``; empty where there is none.
        after_stream: what makes streamed stores visible to others, once at the end.
        floor_division: the functions of the prelude for floor division and remainder.
    """

    types: Mapping[DType, str]
    short: Mapping[DType, str]
    prelude: str
    kernel: str
    constant_qualifier: str
    alone_qualifier: str
    grid: str
    grid_last: str
    scalar: Mapping[ValueOp, str]
    vector: Mapping[ValueOp, str]
    number: Mapping[DType, str]
    infinity: Mapping[DType, str]
    nan: Mapping[DType, str]
    literal: str
    lesser: str = ""
    greater: str = ""
    vector_load: str = ""
    vector_store: str = ""
    aligned_load: str = ""
    aligned_store: str = ""
    argument: str = ""
    parameter: str = ""
    image_argument: str = ""
    image_load: Mapping[DType, str] = field(default_factory=dict)
    index_types: tuple[str, str] = ("long", "long")
    block: str = ""
    thread: str = ""
    barrier: str = ""
    parameter_space: str = ""
    private_space: str = ""
    shared_space: str = ""
    shared: str = ""
    local: str = "{T} {name}[{size}];"
    vector_name: str = "{short}x{n}"
    vector_type: str = ""
    lane: str = "{0}[{1}]"
    permute: str = ""
    functions: Mapping[str, str] = field(default_factory=dict)
    by_dtype: Mapping[tuple[ValueOp, DType], str] = field(default_factory=dict)
    stream: str = ""
    prefetch: str = ""
    after_stream: str = ""
    floor_division: tuple[str, str] = ("floordiv", "floormod")

    def render(self, kernels: Sequence[NamedKernel], spec: Spec) -> str:
        """The source text."""
        from .print_c import print_kernels

        return print_kernels(self, spec, kernels)

    def faults(self, spec: Spec) -> list[str]:
        """Dtypes without a name and primitives without a spelling."""
        out = []
        nameless = [d.name for d in sorted(spec.arithmetic, key=lambda d: d.name) if d not in self.types]
        if nameless:
            out.append(f"claims {', '.join(nameless)} but its dialect names no such type")
        printed = {Op.CONST, Op.LOAD, Op.STORE}
        silent = [op.name for op in Op if op in spec.native - printed and op not in self.scalar]
        if silent:
            out.append(f"claims {', '.join(silent)} but its dialect does not spell them")
        if spec.max_block > 1 and not (self.block and self.thread and self.barrier):
            out.append(f"claims blocks of {spec.max_block} threads but its dialect names none")
        if spec.local_bytes and not self.shared:
            out.append(f"claims {spec.local_bytes} bytes of local memory but its dialect declares none")
        if spec.images and not (self.image_argument and spec.images.dtypes <= set(self.image_load)):
            out.append("claims images but its dialect does not read them")
        return out

    def index(self, index: Index) -> str:
        """An index expression as text."""
        parts = []
        for atom, k in index.terms:
            text = self._atom(atom)
            parts.append(text if k == 1 else f"{k}*{text}")
        if index.const or not parts:
            parts.append(str(index.const))
        return " + ".join(parts).replace("+ -", "- ")

    def _atom(self, atom: Atom) -> str:
        if atom.inner is None:
            return atom.key
        inner = self.index(atom.inner)
        if atom.inner.lo >= 0:
            return f"(({inner}) {'/' if atom.is_div else '%'} {atom.by})"
        return f"{self.floor_division[0 if atom.is_div else 1]}({inner}, {atom.by})"

    def mask(self, mask: Mask) -> str:
        """A mask as a condition: what is subtracted stands on the other side."""
        return " && ".join(map(self._not_negative, mask)) or "1"

    def _not_negative(self, m: Index) -> str:
        less = Index(max(-m.const, 0), tuple((a, -k) for a, k in m.terms if k < 0))
        more = Index(max(m.const, 0), tuple((a, k) for a, k in m.terms if k > 0))
        return f"{self.index(less)} <= {self.index(more)}"
