"""sort, argsort, topk: stable, on integer keys that order as the values do (NaN last)."""

from __future__ import annotations

from typing import Self

from .. import graph
from ..dtype import float32, index_dtype, int32, int64
from ..elementary import basic
from ..elementary.basic import Expr, where
from ..errors import ArgumentError
from ..graph import Node, Shape
from ..ops import Op
from .select import Select

RANKED = 256
"""Up to this length every pair is compared in one reduction; beyond, a bitonic network takes n·log² n."""
FEW = 4
"""Where there are so many times as many elements as are picked, not all are put in order."""


def sort_key(x: Node, descending: bool) -> Node:
    """Signed integers in the order of ``x``: int32, or int64 of 64-bit values.

    -0.0 equals 0.0, NaN is last.
    """
    dtype = x.dtype
    if dtype.is_float:
        if dtype.bits == 16:
            return sort_key(graph.cast(x, float32), descending)
        e = Expr(x)
        e = where(e.ne(e), float("nan"), e + 0.0).signed_bits()
        width = dtype.bits
        key = e ^ ((e >> (width - 1)) & ((1 << (width - 1)) - 1))
    elif dtype.bits == 64:
        top = -(2**63)
        key = Expr(x) if dtype.is_signed else Expr(graph.bitcast(x, int64)) ^ top
    elif dtype.bits == 32 and not dtype.is_signed:
        key = Expr(graph.bitcast(x, int32)) ^ -(2**31)
    else:
        key = Expr(graph.cast(x, int32))
    return (~key if descending else key).node


def _by_rank(key: Node) -> Node:
    """The order of a short last axis: each element's rank is how many come before it."""
    *lead, n = key.shape
    square = (*lead, n, n)
    ones = (1,) * len(lead)

    def down(x: Node) -> Expr:
        return Expr(graph.expand(graph.reshape(x, (*x.shape[:-1], n, 1)), square))

    def across(x: Node) -> Expr:
        return Expr(graph.expand(graph.reshape(x, (*x.shape[:-1], 1, n)), square))

    position = graph.reshape(graph.iota(n), (*ones, n))
    i, j = down(position), across(position)
    mine, other = down(key), across(key)
    before = where(j < i, ~(mine < other), other < mine)
    rank = graph.contiguous(
        graph.reshape(graph.reduce(Op.ADD, before.cast(int32).node, [len(square) - 1]), key.shape)
    )
    hit = across(rank).eq(i)
    return graph.reshape(graph.reduce(Op.MAX, where(hit, j, 0).node, [len(square) - 1]), key.shape)


def _bitonic(key: Node) -> Node:
    """The order of a last axis by a bitonic network (Batcher 1968)."""
    pair = _with_positions(key)
    return _positions(_in_blocks(pair, pair[0].shape[-1]), key, key.shape[-1])


def _least(key: Node, k: int) -> Node:
    """Where the ``k`` least of a last axis are, in order, by the part of such a network that they pass.

    Blocks of as many are put in order, one upward, the next downward. Of two such neighbours the lesser of
    each pair of elements are the least of both, and again a bitonic sequence: a merge puts them in order, and
    half of the blocks are left.
    """
    block = 1 << (k - 1).bit_length()
    pair = _in_blocks(_with_positions(key), block)
    *lead, size = pair[0].shape
    while size > block:
        both = (*lead, size // (2 * block), 2, block)
        first, second = ([Expr(x) for x in _halves(pair, both, half)] for half in (0, 1))
        before = _before(second, first)
        size //= 2
        pair = [
            graph.contiguous(graph.reshape(where(before, b, a).node, (*lead, size)))
            for a, b in zip(first, second, strict=True)
        ]
        pair = _merged(pair, block)
    return _positions(pair, key, k)


def _halves(pair: list[Node], shape: Shape, half: int) -> list[Node]:
    """The first or second blocks of each two."""
    spans = [*((0, d) for d in shape[:-2]), (half, half + 1), (0, shape[-1])]
    return [graph.shrink(graph.reshape(x, shape), spans) for x in pair]


def _with_positions(key: Node) -> list[Node]:
    """Keys with their positions, as many as a power of two: one word that holds both, or two."""
    *lead, n = key.shape
    size = 1 << (n - 1).bit_length()
    spans = [(0, 0)] * len(lead) + [(0, size - n)]
    shape = (*lead, size)
    position = graph.expand(graph.reshape(graph.iota(size, int64), (1,) * len(lead) + (size,)), shape)
    real = Expr(position) < n
    if key.dtype is int32:  # one word holds both
        joined = Expr(graph.cast(graph.pad(key, spans), int64)) << 32 | Expr(position)
        return [where(real, joined, int64.max).node]
    return [where(real, Expr(graph.pad(key, spans)), int64.max).node, position]


def _positions(pair: list[Node], key: Node, count: int) -> Node:
    """The first positions."""
    order = Expr(pair[-1]) & 0xFFFFFFFF if key.dtype is int32 else Expr(pair[-1])
    return graph.shrink(order.node, [*((0, d) for d in key.shape[:-1]), (0, count)])


def _in_blocks(pair: list[Node], size: int) -> list[Node]:
    """Blocks of this size in order, upward in every other one."""
    block = 2
    while block <= size:
        pair = _merged(pair, block)
        block *= 2
    return pair


def _merged(pair: list[Node], block: int) -> list[Node]:
    """Bitonic blocks of this size put in order, upward in every other one."""
    reach = block // 2
    while reach:
        pair = [graph.contiguous(x) for x in _exchange(pair, block, reach)]
        reach //= 2
    return pair


def _before(one: list[Expr], other: list[Expr]) -> Expr:
    """Which elements come before the other ones."""
    before = one[0] < other[0]
    return before if len(one) == 1 else before | (one[0].eq(other[0]) & (one[1] < other[1]))


def _exchange(pair: list[Node], block: int, reach: int) -> list[Node]:
    """One stage: elements ``reach`` apart take their order, upward in every other block."""
    *lead, size = pair[0].shape
    split = (*lead, size // (2 * reach), 2, reach)
    mine = [Expr(graph.reshape(x, split)) for x in pair]
    other = [Expr(graph.flip(e.node, [len(split) - 2])) for e in mine]
    before = _before(other, mine)
    ones = (1,) * len(lead)
    position = graph.expand(graph.reshape(graph.iota(size, int32), (*ones, *split[len(lead) :])), split)
    upper = (Expr(position) & reach).ne(0)
    downward = (Expr(position) & block).ne(0)
    swap = (before ^ upper) ^ downward
    return [graph.reshape(where(swap, o, m).node, (*lead, size)) for o, m in zip(other, mine, strict=True)]


class Sorting(Select):
    """sort to topk."""

    __slots__ = ()

    def argsort(self, dim: int = -1, descending: bool = False, stable: bool = True) -> Self:
        """The positions (int64) that put the elements of an axis in order; equal ones keep theirs.

        NaN is greatest.
        """
        if not self.shape:
            return self._test(graph.full(0, (), index_dtype))
        axis = self._axis(dim)
        last = self.detach().movedim(axis, -1)
        n = last.shape[-1]
        if n < 2:
            return self._test(basic.full(0, self.node, index_dtype))
        key = sort_key(last.node, descending)
        order = _by_rank(key) if n <= RANKED else _bitonic(key)
        return self._test(graph.cast(order, index_dtype)).movedim(-1, axis)

    def sort(self, dim: int = -1, descending: bool = False, stable: bool = True) -> tuple[Self, Self]:
        """The elements of an axis in order, and where they were (int64). Always stable; NaN is greatest."""
        order = self.argsort(dim, descending)
        return self.gather(dim, order), order

    def topk(self, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Self, Self]:
        """The ``k`` greatest (least) elements of an axis, in order, and where they were (int64)."""
        axis = self._axis(dim)
        if not 0 <= k <= self.shape[axis]:
            raise ArgumentError(
                f"topk of {k} along axis {axis} of {self.shape}: there are {self.shape[axis]}"
            )
        if 0 < k * FEW <= self.shape[axis]:
            key = sort_key(self.detach().movedim(axis, -1).node, largest)
            order = self._test(graph.cast(_least(key, k), index_dtype)).movedim(-1, axis)
        else:
            order = self.argsort(axis, descending=largest).narrow(axis, 0, k)
        return self.gather(axis, order), order

    @classmethod
    def randperm(cls, n: int, dtype: object = None, device: str | None = None) -> Self:
        """0 … n-1 in random order, int64 unless named."""
        keys = cls.randint(-(2**63), 2**63 - 1, (n,), device=device)
        return keys.argsort().cast(index_dtype if dtype is None else dtype)  # type: ignore[arg-type]

    def multinomial(self, num_samples: int, replacement: bool = False) -> Self:
        """Positions (int64) drawn with probabilities in proportion to the last axis.

        Without replacement by the greatest of log(p) + Gumbel noise (Efraimidis and Spirakis 2006).
        """
        if not 1 <= self.ndim <= 2 or not self.dtype.is_float:
            raise ArgumentError(f"multinomial of {self.dtype} {self.shape}: one or two axes of floats")
        n = self.shape[-1]
        if num_samples < 1 or (not replacement and num_samples > n):
            raise ArgumentError(
                f"multinomial of {num_samples} from {n} without replacement: there are too few"
            )
        p = self.detach().cast(float32)
        if replacement:
            edges = p.cumsum(-1)
            total = edges.narrow(-1, n - 1, 1)
            draws = self.rand((*self.shape[:-1], num_samples), device=self.device).mul(total)
            below = edges.unsqueeze(-2).le(draws.unsqueeze(-1))
            return below.sum(-1).minimum(n - 1)
        noise = self.rand(self.shape, device=self.device).neg().add(1.0).log().neg()
        return p.gt(0).where(noise.div(p), float("inf")).topk(num_samples, -1, largest=False)[1]
