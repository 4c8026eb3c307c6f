"""sort, argsort, topk: stable, on integer keys that order as the values do (NaN last)."""

from __future__ import annotations

from typing import Self

from .. import graph
from ..dtype import float32, index_dtype, int32, int64
from ..elementary import basic
from ..elementary.basic import Expr, where
from ..errors import ArgumentError
from ..graph import Node
from ..ops import Op
from .select import Select

RANKED = 256
"""Up to this length every pair is compared in one reduction; beyond, a bitonic network takes n·log² n."""


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
    """The order of a last axis by a bitonic network (Batcher 1968) on (key, position) pairs."""
    *lead, n = key.shape
    size = 1 << (n - 1).bit_length()
    spans = [(0, 0)] * len(lead) + [(0, size - n)]
    shape = (*lead, size)
    position = graph.expand(graph.reshape(graph.iota(size, int64), (1,) * len(lead) + (size,)), shape)
    real = Expr(position) < n
    pair: list[Node]
    if key.dtype is int32:  # one word holds both
        joined = Expr(graph.cast(graph.pad(key, spans), int64)) << 32 | Expr(position)
        pair = [where(real, joined, int64.max).node]
    else:
        pair = [where(real, Expr(graph.pad(key, spans)), int64.max).node, position]
    block = 2
    while block <= size:
        reach = block // 2
        while reach:
            pair = [graph.contiguous(x) for x in _exchange(pair, block, reach)]
            reach //= 2
        block *= 2
    order = Expr(pair[-1]) & 0xFFFFFFFF if key.dtype is int32 else Expr(pair[-1])
    return graph.shrink(order.node, [*((0, d) for d in lead), (0, n)])


def _exchange(pair: list[Node], block: int, reach: int) -> list[Node]:
    """One stage: elements ``reach`` apart take their order, upward in every other block."""
    *lead, size = pair[0].shape
    split = (*lead, size // (2 * reach), 2, reach)
    mine = [Expr(graph.reshape(x, split)) for x in pair]
    other = [Expr(graph.flip(e.node, [len(split) - 2])) for e in mine]
    before = other[0] < mine[0]
    if len(pair) == 2:
        before = before | (other[0].eq(mine[0]) & (other[1] < mine[1]))
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
