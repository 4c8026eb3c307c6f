"""Products of matrices: a broadcast multiplication and a sum, which the engine makes one kernel."""

from __future__ import annotations

from typing import Any, Self

from .. import graph
from ..dtype import DType, float32, promote_all
from ..errors import ArgumentError, ShapeError
from ..graph import Node
from ..ops import Op
from .elementwise import broadcast_shape
from .sorting import Sorting


def accumulator(dtype: DType) -> DType:
    """What products of ``dtype`` are summed in."""
    return float32 if dtype.is_float and dtype.bits == 16 else dtype


def contract(a: Node, b: Node, count: int) -> Node:
    """Σ a·b over the last ``count`` axes (of operands that broadcast), which vanish."""
    own = a.dtype
    wide = accumulator(own)
    shape = broadcast_shape(a.shape, b.shape)
    a, b = (graph.broadcast_to(graph.cast(n, wide), shape) for n in (a, b))
    kept = len(shape) - count
    total = graph.reduce(Op.ADD, graph.elementwise(Op.MUL, a, b), range(kept, len(shape)))
    return graph.cast(graph.reshape(total, shape[:kept]), own)


class Linear(Sorting):
    """matmul to einsum."""

    __slots__ = ()

    def _agree(self, other: Self) -> tuple[Self, Self]:
        """Both in one dtype."""
        dtype = promote_all((self.dtype, other.dtype))
        return self.cast(dtype), other.cast(dtype)

    def matmul(self, other: Any) -> Self:
        """The matrix product over the last two axes; the others broadcast. A vector stands for a row or a
        column.

        float16 and bfloat16 are summed in float32. Integers wrap; bools give whether any pair is true.
        """
        x, y = self._agree(self._lift(other))
        if not x.ndim or not y.ndim:
            raise ShapeError(f"matmul of {self.shape} and {y.shape}: each needs an axis")
        rows, columns = x.ndim > 1, y.ndim > 1
        inner = y.shape[-2] if columns else y.shape[0]
        if x.shape[-1] != inner:
            raise ShapeError(
                f"matmul of {self.shape} and {y.shape}: the first's last axis ({x.shape[-1]}) must be "
                f"as long as the second's {'last but one' if columns else 'only'} ({inner})"
            )
        a = x if rows else x.unsqueeze(0)
        b = y.transpose(-2, -1) if columns else y.unsqueeze(0)
        out = contract(a.unsqueeze(-2).node, b.unsqueeze(-3).node, 1)
        shape = out.shape[:-2] + out.shape[-2:-1] * rows + out.shape[-1:] * columns
        return x._with(graph.reshape(out, shape), y)

    def __matmul__(self, other: Any) -> Self:
        return self.matmul(other)

    def __rmatmul__(self, other: Any) -> Self:
        return self._lift(other).matmul(self)

    def dot(self, other: Self) -> Self:
        """Σ self·other of two vectors (``matmul`` of more axes)."""
        return self.matmul(other)

    def bmm(self, other: Self) -> Self:
        """The matrix products of two batches."""
        if self.ndim != 3 or other.ndim != 3 or self.shape[0] != other.shape[0]:
            raise ShapeError(f"bmm of {self.shape} and {other.shape}: two batches of as many matrices")
        return self.matmul(other)

    def addmm(self, mat1: Self, mat2: Self, beta: float = 1, alpha: float = 1) -> Self:
        """beta·self + alpha·(mat1 @ mat2)."""
        product = mat1.matmul(mat2)
        return (self if beta == 1 else self.mul(beta)).add(product if alpha == 1 else product.mul(alpha))

    def outer(self, other: Self) -> Self:
        """Every product of two vectors' elements."""
        if self.ndim != 1 or other.ndim != 1:
            raise ShapeError(f"outer of {self.shape} and {other.shape}: two vectors")
        return self.unsqueeze(1).mul(other.unsqueeze(0))

    def linear(self, weight: Self, bias: Self | None = None) -> Self:
        """self @ weight.T + bias, for a weight of shape (out, in)."""
        out = self.matmul(weight.transpose(-2, -1) if weight.ndim > 1 else weight)
        return out if bias is None else out.add(bias)

    def einsum(self, *operands: Any) -> Self:
        """Sums of products over named axes: ``Tensor.einsum("bij,bjk->bik", x, y)``.

        Operands are contracted from the left, and an axis is summed as soon as no later operand names it.
        Repeated letters take the diagonal; ``...`` stands for leading axes that broadcast.
        """
        formula: Any = self
        if not isinstance(formula, str):
            formula, operands = operands[0], (self, *operands[1:])
        if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
            operands = tuple(operands[0])
        out: Self = _einsum(formula.replace(" ", ""), list(operands))
        return out


def _einsum(formula: str, operands: list[Any]) -> Any:
    left, arrow, result = formula.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise ArgumentError(f"einsum {formula!r} of {len(operands)} operands: it names {len(terms)}")
    spare = [c for c in map(chr, range(0x391, 0x3C9)) if c not in formula and c.isalpha()]
    most = max(
        (t.ndim - len(s.replace("...", "")) for s, t in zip(terms, operands, strict=True) if "..." in s),
        default=0,
    )
    terms = [_spelled(s, t, spare, most, formula) for s, t in zip(terms, operands, strict=True)]
    if arrow:
        result = result.replace("...", "".join(spare[:most]))
    else:
        joined = "".join(terms)
        result = "".join(spare[:most]) + "".join(
            sorted(c for c in set(joined) if joined.count(c) == 1 and c not in spare[:most])
        )
    unknown = set(result) - set("".join(terms))
    if unknown or len(set(result)) != len(result):
        raise ArgumentError(f"einsum {formula!r}: the result must name axes of the operands, each once")
    pairs = [_diagonals(s, t) for s, t in zip(terms, operands, strict=True)]
    _check_sizes(formula, pairs)
    name, x = pairs[0]
    for i, (other, y) in enumerate(pairs[1:], 1):
        later = set(result).union(*(s for s, _ in pairs[i + 1 :]))
        kept = [c for c in dict.fromkeys(name + other) if c in later]
        name, x = "".join(kept), _product(name, x, other, y, kept)
    gone = [i for i, c in enumerate(name) if c not in result]
    if gone:
        own = x.dtype
        total = graph.reduce(Op.ADD, graph.cast(x.node, accumulator(own)), gone)
        x = x._new(
            graph.cast(graph.reshape(total, tuple(n for i, n in enumerate(x.shape) if i not in gone)), own)
        )
        name = "".join(c for c in name if c in result)
    return x.permute([name.index(c) for c in result])


def _spelled(term: str, t: Any, spare: list[str], most: int, formula: str) -> str:
    """A term with ``...`` written as letters."""
    rank = t.ndim - len(term.replace("...", ""))
    if rank < 0 or (rank and "..." not in term):
        raise ShapeError(f"einsum {formula!r}: {term!r} doesn't name the axes of shape {t.shape}")
    return term.replace("...", "".join(spare[most - rank : most]))


def _diagonals(term: str, t: Any) -> tuple[str, Any]:
    for c in dict.fromkeys(term):
        while term.count(c) > 1:
            i = term.index(c)
            j = term.index(c, i + 1)
            t = t.diagonal(0, i, j)
            term = term[:i] + term[i + 1 : j] + term[j + 1 :] + c
    return term, t


def _check_sizes(formula: str, pairs: list[tuple[str, Any]]) -> None:
    sizes: dict[str, int] = {}
    for term, t in pairs:
        for c, n in zip(term, t.shape, strict=True):
            if n != 1 and sizes.setdefault(c, n) not in (1, n):
                raise ShapeError(f"einsum {formula!r}: axis {c!r} is {sizes[c]} and {n} long")


def _product(a: str, x: Any, b: str, y: Any, kept: list[str]) -> Any:
    """x·y with the axes ``kept``, summed over the others."""
    order = kept + [c for c in dict.fromkeys(a + b) if c not in kept]
    x, y = x._agree(y)

    def aligned(names: str, t: Any) -> Node:
        moved = t.permute([names.index(c) for c in order if c in names])
        sizes = iter(moved.shape)
        return graph.reshape(moved.node, tuple(next(sizes) if c in names else 1 for c in order))

    return x._with(contract(aligned(a, x), aligned(b, y), len(order) - len(kept)), y)
