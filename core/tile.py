"""Tensor-core tiles, as data: a small product of matrices, which a group of threads computes together.

``c += a @ b``, with a of (m, k), b of (k, n) and c of (m, n). No thread holds a whole matrix: each holds some
elements of each, and which ones is the tile's layout. A port declares its tiles in its Spec; the schedule
maps loops onto them, the dialect calls them, and the interpreter computes them from the layouts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .dtype import DType
from .index import Index, constant


@dataclass(frozen=True)
class Layout:
    """Which elements of a matrix a thread holds.

    Attributes:
        dtype: of the elements.
        elements: how many each thread holds.
        row, column: of element ``e`` of thread ``t`` (0 … threads-1): functions of ``t`` and ``e`` made of
            ``+``, ``* int``, ``// int`` and ``% int``, so that they serve numbers and index expressions.
    """

    dtype: DType
    elements: int
    row: Callable[[Index, int], Index]
    column: Callable[[Index, int], Index]

    def place(self, thread: int, element: int) -> tuple[int, int]:
        """Row and column of one element of one thread."""
        t = constant(thread)
        return self.row(t, element).const, self.column(t, element).const


@dataclass(frozen=True)
class Tile:
    """A tile that a port offers.

    Attributes:
        name: in the schedule's trail, and of the function that the dialect calls.
        m, n, k: rows of a and c, columns of b and c, columns of a and rows of b.
        threads: that compute it together; a block has as many, or a multiple.
        a, b, c: what each thread holds of the operands and of the accumulator.
        definition: the text of the function ``name``: it takes this thread's elements of c by reference, then
            those of a and of b, in order.
    """

    name: str
    m: int
    n: int
    k: int
    threads: int
    a: Layout
    b: Layout
    c: Layout
    definition: str

    def __str__(self) -> str:
        return f"{self.m}x{self.n}x{self.k} {self.a.dtype} to {self.c.dtype}"
