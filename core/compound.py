"""Compounds: a device's own matmul, convolution, attention …, each beside its meaning.

A port that has a library for some larger operation offers it as a ``Compound``: the function that runs it,
and its decomposition, which says in tensors what the function computes. The decomposition is the whole
contract: ``recognize`` finds it in what users write, and the suite holds the function to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .dtype import DType
from .errors import PortError, PortwrightError
from .node import GraphOp, Node, Shape, intern, toposort
from .ops import Op
from .record import dataclass

if TYPE_CHECKING:
    from .device import Buffer, Device, Spec


@dataclass(frozen=True, slots=True)
class Dense:
    """An operand or the result of a compound: elements in row-major order from the start of a memory.

    Attributes:
        handle: the port's own, as ``Device.alloc`` gave it. It may hold more than this.
        shape, dtype: of the elements.
    """

    handle: Any
    shape: Shape
    dtype: DType

    @property
    def size(self) -> int:
        """How many elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.dtype.itemsize


def always(dtype: DType, *shapes: Shape) -> bool:
    """Accepts whatever the decomposition takes."""
    return True


@dataclass(frozen=True, eq=False)
class Compound:
    """An operation that a device offers besides the primitives.

    Attributes:
        name: in listings, traces and certificates; an identifier.
        decomposition: what it computes: a function of Tensors, such as ``lambda a, b: a @ b``. What it folds
            and in which dtype is what the suite derives its bounds from.
        run: ``run(device, out, *operands)``, each a ``Dense``: computes it, or starts to, in order with the
            device's launches. It writes all of ``out``, nothing else, and holds on to nothing.
        dtypes: what the operands may be, all of them alike.
        examples: shapes of the operands, a tuple for each example. They say how many operands there are and
            of which ranks, and the suite draws more of their kind.
        accepts: ``accepts(dtype, *shapes)``: whether it takes these. What it declines goes to the primitives.
    """

    name: str
    decomposition: Callable[..., Any]
    run: Callable[..., None]
    dtypes: frozenset[DType]
    examples: tuple[tuple[Shape, ...], ...]
    accepts: Callable[..., bool] = always

    @property
    def ranks(self) -> tuple[int, ...]:
        """How many axes each operand has."""
        return tuple(len(shape) for shape in self.examples[0])

    def __str__(self) -> str:
        return f"{self.name} of {', '.join(sorted(d.name for d in self.dtypes))}"


@dataclass(frozen=True, slots=True)
class Call:
    """A compound on operands of some shapes: what a COMPOUND node does.

    Attributes:
        compound: which.
        shapes, dtype: of the operands. Their memory may have other shapes of the same order.
        shape, result: the result's shape and dtype.
        flops: arithmetic operations of the decomposition.
    """

    compound: Compound
    shapes: tuple[Shape, ...]
    dtype: DType
    shape: Shape
    result: DType
    flops: int

    def run(self, device: Device, buffers: Sequence[Buffer]) -> None:
        """Runs it; the buffers are the result's and each operand's."""
        out = Dense(buffers[0].handle, self.shape, self.result)
        operands = [Dense(b.handle, s, self.dtype) for b, s in zip(buffers[1:], self.shapes, strict=True)]
        self.compound.run(device, out, *operands)

    def __str__(self) -> str:
        return f"{self.compound.name}_{'_'.join('x'.join(map(str, s)) or 'scalar' for s in self.shapes)}"


@dataclass(frozen=True, slots=True)
class Template:
    """A decomposition over placeholders for its operands."""

    call: Call
    root: Node
    places: tuple[Node, ...]


def decompose(compound: Compound, operands: Sequence[Node], device: str) -> Node:
    """The node that a compound computes, as its decomposition writes it.

    Raises:
        PortError: when it gives no tensor, or fails otherwise than by an error of ours.
        PortwrightError: from the decomposition: it has no meaning on these operands.
    """
    from .tensor import Tensor  # which needs the engine

    try:
        out = compound.decomposition(*[Tensor._of(n, device) for n in operands])
    except PortwrightError:
        raise
    except Exception as e:
        shapes = ", ".join(str(n.shape) for n in operands)
        raise PortError(
            f"{device}: the decomposition of its compound {compound.name} fails on {shapes}: "
            f"{type(e).__name__}: {e}. Have it raise an error of Portwright's where it has no meaning"
        ) from e
    if not isinstance(out, Tensor):
        raise PortError(
            f"{device}: the decomposition of its compound {compound.name} gives {type(out).__name__}, "
            "not a tensor"
        )
    return out.node


def accepted(compound: Compound, dtype: DType, shapes: Sequence[Shape], device: str) -> bool:
    """Whether a compound takes operands of a dtype and shapes on which its decomposition has a meaning.

    Raises:
        PortError: when it fails to say.
    """
    try:
        return bool(compound.accepts(dtype, *shapes))
    except Exception as e:
        raise PortError(
            f"{device}: accepts of its compound {compound.name} fails on {dtype} "
            f"{', '.join(map(str, shapes))}: {type(e).__name__}: {e}. Have it give False"
        ) from e


@lru_cache(maxsize=1 << 12)
def template(compound: Compound, shapes: tuple[Shape, ...], dtype: DType, device: str) -> Template | None:
    """The decomposition over operands of these shapes; None where it has no meaning on them."""
    places = tuple(intern(GraphOp.BUFFER, dtype, s, (), _Place(i)) for i, s in enumerate(shapes))
    try:
        root = decompose(compound, places, device)
    except PortError:
        raise
    except PortwrightError:  # the shapes don't go together: so it says
        return None
    call = Call(compound, shapes, dtype, root.shape, root.dtype, _flops(root))
    return Template(call, root, places)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an operand goes."""

    number: int


_FREE = frozenset({Op.CONST, Op.CAST, Op.BITCAST})


def _flops(root: Node) -> int:
    """One for each primitive and fold of each element."""
    total = 0
    for n in toposort([root]):
        if n.op is GraphOp.REDUCE:
            total += n.srcs[0].size
        elif isinstance(n.op, Op) and n.op not in _FREE:
            total += n.size
    return total


def call_node(made: Template, operands: Sequence[Node], shape: Shape) -> Node:
    """A node that a device computes by its compound: operands and result may have other shapes of the same
    size than it was made for.
    """
    return intern(GraphOp.COMPOUND, made.call.result, shape, tuple(operands), made.call)


def compound_faults(spec: Spec) -> Iterator[str]:
    """What contradicts itself in the compounds that a Spec offers."""
    names: set[str] = set()
    for c in spec.compounds:
        if not c.name.isidentifier():
            yield f"offers a compound called {c.name!r}, which is no identifier"
        if c.name in names:
            yield f"offers two compounds called {c.name}"
        names.add(c.name)
        if not c.dtypes:
            yield f"offers {c.name} of no dtype"
        if odd := sorted(d.name for d in c.dtypes - spec.dtypes):
            yield f"offers {c.name} of {', '.join(odd)}, which it does not claim to hold"
        if not c.examples or not all(c.examples):
            yield f"offers {c.name} without examples: the suite needs shapes of its operands"
            continue
        if any(tuple(map(len, e)) != c.ranks for e in c.examples):
            yield f"offers {c.name} with examples of different ranks: each needs a compound of its own"
            continue
        yield from _declined(c)


def _declined(c: Compound) -> Iterator[str]:
    for shapes in c.examples:
        for dtype in sorted(c.dtypes, key=lambda d: d.name):
            try:
                takes = c.accepts(dtype, *shapes)
            except Exception as e:  # the port's own code: whatever it raises is a fault to be told
                yield f"offers {c.name}, whose accepts fails on its example {shapes}: {type(e).__name__}: {e}"
                return
            if not takes:
                yield f"offers {c.name}, which declines its own example {shapes} of {dtype}"
                return
