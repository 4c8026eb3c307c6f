"""Elementwise kernels that walk the same elements become one kernel that writes several outputs.

In: groups in running order. Out: fewer, in running order. Two are joined when they have the same number of
elements, read something in common (or one reads the other's result, at the element that it is computing), and
the later one needs nothing that is computed between them. An optimizer's moments and its parameter are one
kernel in this way, and their common gradient is read once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .graph import Node
from .lower import Lowered
from .record import dataclass

MOST = 24
"""Parameters of a joined kernel at most: more would cost more registers than the reads save."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How a chain is cut.

    Attributes:
        blocks: how many blocks of its results are computed one after another.
        terms: how many terms of its rows' sums are computed at a time; 0: all.
    """

    blocks: int
    terms: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes that one kernel computes, and those that it reads.

    Attributes:
        roots: what it writes.
        reads: what it reads from memory.
        inside: of a chain, what it hands on from one of its kernels to the next, in running order.
        cut: of a chain, how.
    """

    roots: tuple[Node, ...]
    reads: tuple[Node, ...]
    inside: tuple[Node, ...] = ()
    cut: Cut | None = None


def join_siblings(
    groups: Sequence[Group],
    plain: Callable[[Group], bool],
    survey: Callable[[Sequence[Node]], Lowered],
    max_buffers: int,
) -> list[Group]:
    """The groups with siblings joined.

    ``plain`` is true of a kernel that only walks elements; ``survey`` tells what a kernel would evaluate;
    ``max_buffers`` is the most that the device takes.
    """
    most = min(MOST, max_buffers)
    out: list[Group] = []
    made: dict[Node, int] = {}  # which group of ``out`` computes a node
    open_to_more: list[bool] = []
    for g in groups:
        at = len(out)
        is_plain = plain(g)
        earliest = max((made[n] for n in g.reads if n in made), default=0)
        for i in range(len(out) - 1, earliest - 1, -1) if is_plain else ():
            joined = _joined(out[i], g, survey, most) if open_to_more[i] and _kin(out[i], g) else None
            if joined is not None:
                out[i], at = joined, i
                break
        if at == len(out):
            out.append(g)
            open_to_more.append(is_plain)
        made.update((r, at) for r in g.roots)
    return out


def _kin(a: Group, b: Group) -> bool:
    if a.roots[0].size != b.roots[0].size or a.roots[0].device != b.roots[0].device:
        return False
    large = {n for n in (*a.reads, *a.roots) if n.size == a.roots[0].size}
    return not large.isdisjoint(b.reads)


def _joined(a: Group, b: Group, survey: Callable[[Sequence[Node]], Lowered], most: int) -> Group | None:
    roots = (*a.roots, *b.roots)
    found = survey(roots)
    if found.reductions or len(roots) + found.reads > most:
        return None
    if any(found.positions(r) != 1 for r in roots):
        return None  # one would be computed again for the other
    return Group(roots, tuple(found.leaves))
