"""What a kernel language calls things, and how a kernel is printed in one.

``Dialect`` is what core asks of a language. ``CLike`` serves the C family: languages of it differ in a table
(the fields of the dataclass), never in the printer. If one needs a branch, the table lacks a column.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .dtype import DType
from .index import Atom, Index, Mask
from .loops import Kernel
from .ops import Op
from .value import ValueOp

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


@dataclass(frozen=True)
class CLike(Dialect):
    """A language of the C family, as a table.

    Templates are filled by ``str.format``: ``{0}``, ``{1}`` … are operands, ``{T}`` is the result's type,
    ``{V}`` its vector type, ``{n}`` its lanes and ``{I}`` the integer vector type of its lanes' width.

    Attributes:
        types: what each dtype is called.
        short: what each dtype is called inside the name of a vector type.
        prelude: text before everything else.
        kernel: the head of an entry, with ``{name}``.
        parameter: the declaration of parameter ``{i}``, called ``{name}``, with ``{qualifier}``.
        constant_qualifier, alone_qualifier: of memory that is only read, and of a pointer that aliases none.
        vector_type: the definition of the vector type ``{V}`` and of its unaligned form ``{V}_u``.
        grid_first, grid_last: the bounds of the grid loop's share.
        scalar: what each operation is, of scalars.
        vector: what each operation is, of vectors, where it is not what it is of scalars.
        functions: definitions that a spelling needs, by the name that it calls: ``{V}_sqrt`` is made
            from "sqrt".
        suffix: of a number of each dtype.
        infinity, nan: of each float dtype.
        local: the declaration of a work item's own memory ``{name}`` of ``{size}`` elements.
        stream: a store that bypasses the caches, of a vector.
        after_stream: what makes streamed stores visible to others, once at the end.
    """

    types: Mapping[DType, str]
    short: Mapping[DType, str]
    prelude: str
    kernel: str
    parameter: str
    constant_qualifier: str
    alone_qualifier: str
    vector_type: str
    grid_first: str
    grid_last: str
    scalar: Mapping[ValueOp, str]
    vector: Mapping[ValueOp, str]
    functions: Mapping[str, str]
    suffix: Mapping[DType, str]
    infinity: Mapping[DType, str]
    nan: Mapping[DType, str]
    local: str
    stream: str = ""
    after_stream: str = ""
    floor_division: tuple[str, str] = ("floordiv", "floormod")
    index_type: str = "long"
    by_dtype: Mapping[tuple[ValueOp, DType], str] = field(default_factory=dict)

    def render(self, kernels: Sequence[NamedKernel], spec: Spec) -> str:
        """The source text."""
        from .print_c import Printer

        return Printer(self, spec).source(kernels)

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
        """A mask as a condition."""
        return " && ".join(f"{self.index(m)} >= 0" for m in mask) or "1"
