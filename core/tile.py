"""Tensor-core tiles, as data: a small product of matrices, which a group of threads computes together.

``c += a @ b``, with a of (m, k), b of (k, n) and c of (m, n). No thread holds a whole matrix: each holds some
elements of each, and which ones is the tile's layout. A port declares its tiles in its Spec; the schedule
maps loops onto them, the dialect calls them, and the interpreter computes them from the layouts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .dtype import DType
from .index import Index, constant
from .record import dataclass

if TYPE_CHECKING:
    from .device import Spec


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


def tile_faults(spec: Spec) -> Iterator[str]:
    """What contradicts itself in the tiles that a Spec offers."""
    for tile in spec.tiles:
        if tile.threads > spec.max_block:
            yield f"offers {tile.name} by {tile.threads} threads, and a block has {spec.max_block} at most"
        dtypes = {o.dtype for o in (tile.a, tile.b, tile.c)}
        if odd := sorted(d.name for d in dtypes - spec.dtypes):
            yield f"offers {tile.name} of {', '.join(odd)}, which it does not claim to hold"
        if tile.a.dtype is not tile.b.dtype:
            yield f"offers {tile.name} of {tile.a.dtype} times {tile.b.dtype}: they must be equal"
        shapes = {"a": (tile.m, tile.k), "b": (tile.k, tile.n), "c": (tile.m, tile.n)}
        for (name, (rows, columns)), layout in zip(shapes.items(), (tile.a, tile.b, tile.c), strict=True):
            lanes, elements = range(tile.threads), range(layout.elements)
            held = Counter(layout.place(t, e) for t in lanes for e in elements)
            wanted = {(r, c) for r in range(rows) for c in range(columns)}
            fault = f"offers {tile.name}, of whose {rows}x{columns} {name}"
            if outside := sorted(held.keys() - wanted):
                yield f"{fault} a thread holds {outside[0]}"
            elif missing := sorted(wanted - held.keys()):
                yield f"{fault} no thread holds {missing[0]}"
            elif name == "c" and (twice := [at for at, times in sorted(held.items()) if times > 1]):
                yield f"{fault} {twice[0]} is held twice"
