"""Finding what devices offer in what users write.

In: nodes to compute. Out: the same, with a COMPOUND node for each part that is the decomposition of a
compound which its device offers and accepts. How it was spelled does not matter (``compare``): a product is
one as a matmul, as an einsum and as the gradient of another. What an operand is computed by does not matter
either: it is put into memory before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, islice, product
from math import prod

from . import graph
from .compare import SAME, Comparison, Outline, is_stored
from .compound import Compound, Template, accepted, call_node, template
from .device import Device
from .dtype import DType
from .graph import MOVEMENT, GraphOp, Node, Shape, toposort
from .ops import Op
from .record import dataclass
from .registry import open_device

TRIALS = 256
"""Combinations of operands' shapes that are tried, at most, before a node is left to the primitives."""
_RESULT = frozenset({GraphOp.RESHAPE, GraphOp.PERMUTE}) | SAME
"""What may come after a compound and be a part of it."""


def with_compounds(roots: Sequence[Node], device: Device) -> list[Node]:
    """The same roots, with what devices offer in place of what it computes.

    Args:
        roots: nodes to compute.
        device: that computes those that belong to none.
    """
    order = toposort(roots, is_stored)
    names = {n.device for n in order if not is_stored(n)}
    offers = {name: made for name in names if (made := _Offer(name, device)).compounds}
    if not offers:
        return list(roots)
    users = _Users(roots, order)
    found: dict[Node, Match] = {}
    seen: set[Node] = set()
    stack = list(roots)
    while stack:  # from the roots down, so that the largest part that is a compound becomes one
        node = stack.pop()
        if node in seen or is_stored(node):
            continue
        seen.add(node)
        offer = offers.get(node.device)
        match = None if offer is None or users.rename(node) else offer.match(node)
        if match is not None:
            match = found[node] = replace(match, operands=tuple(map(users.name, match.operands)))
        stack += node.srcs if match is None else match.operands
    return _rebuilt(roots, found) if found else list(roots)


class _Users:
    """Who wants what.

    Attributes:
        shared: the nodes that several others, or who asked for them, are computed from.
        only: of each other one, its only user.
    """

    def __init__(self, roots: Sequence[Node], order: Sequence[Node]) -> None:
        self.shared = set(roots)
        self.only: dict[Node, Node] = {}
        for node in order:
            for s in () if is_stored(node) else dict.fromkeys(node.srcs):
                if s in self.only:
                    self.shared.add(s)
                self.only[s] = node

    def rename(self, node: Node) -> bool:
        """True of what only moves something that is computed anyway, and would then be computed twice."""
        while not is_stored(node) and (node.op in MOVEMENT or node.op in SAME):
            if node.op not in _RESULT:
                return True
            node = node.srcs[0]
            if node in self.shared:
                return True
        return False

    def name(self, node: Node) -> Node:
        """The one of all that are the same memory which others read, so that it is found under one name."""
        while not is_stored(node) and node not in self.shared:
            user = self.only[node]
            if user.op is not GraphOp.RESHAPE and user.op not in SAME:
                break
            node = user
        return node


def _rebuilt(roots: Sequence[Node], found: dict[Node, Match]) -> list[Node]:
    new: dict[Node, Node] = {}
    stack = [(r, False) for r in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if node in new:
            continue
        match = found.get(node)
        srcs = () if is_stored(node) else node.srcs if match is None else match.operands
        if not ready:
            stack.append((node, True))
            stack += [(s, False) for s in srcs]
        elif match is not None:
            called = call_node(match.template, [new[s] for s in srcs], node.shape)
            called.device = node.device
            called.made_at = called.made_at or node.made_at
            new[node] = called
        else:
            made = tuple([new[s] for s in srcs])
            new[node] = node if made == srcs or is_stored(node) else graph.with_srcs(node, made)
    return [new[r] for r in roots]


@dataclass(frozen=True, slots=True)
class Match:
    """A node that a compound computes, from the memory of these nodes."""

    template: Template
    operands: tuple[Node, ...]

    @property
    def moved(self) -> int:
        """Bytes of operands that are somewhere already, and must only be laid out anew."""
        return sum(n.nbytes for n in self.operands if not is_stored(n) and n.op in MOVEMENT)


class _Offer:
    """What the device of some nodes offers.

    Args:
        name: of the device; None: of nodes that belong to none.
        default: the device that computes those.
    """

    def __init__(self, name: str | None, default: Device) -> None:
        self.port = default if name in (None, default.name) else open_device(str(name))
        self.is_default = self.port is default
        self.compounds: list[tuple[Compound, DType, Outline]] = []
        for c in self.port.spec.compounds:
            for dtype in sorted(c.dtypes, key=lambda d: d.name):
                usual = template(c, c.examples[0], dtype, self.port.name)
                if usual is not None:
                    self.compounds.append((c, dtype, Outline(usual)))

    def match(self, node: Node) -> Match | None:
        """How a node is computed by a compound: of those that do, the first that moves least."""
        while node.op in SAME and not is_stored(node):  # what it is also called
            node = node.srcs[0]
        best: Match | None = None
        for compound, dtype, outline in self.compounds if node.size else ():
            if not outline.fits(outline.root, node):
                continue
            for match in self.matches(node, outline, compound, dtype):
                if best is None or match.moved < best.moved:
                    best = match
                if not best.moved:
                    return best
        if best is not None and node.op is GraphOp.PERMUTE:
            inner = self.match(node.srcs[0])  # rather the result is laid out anew than an operand
            return None if inner is not None and inner.moved < best.moved else best
        return best

    def matches(self, node: Node, outline: Outline, compound: Compound, dtype: DType) -> Iterator[Match]:
        """The ways in which one compound computes a node."""
        ways = outline.reached(node)
        choices = [_shapes(ways[p], dtype, len(p.shape)) for p in outline.places]
        for shapes in islice(product(*choices), TRIALS):
            made = template(compound, shapes, dtype, self.port.name)
            if made is None or made.root.size != node.size or made.root.dtype is not node.dtype:
                continue
            if not accepted(compound, dtype, shapes, self.port.name):
                continue
            operands = Comparison(made).operands(node)
            if operands is not None and all(map(self.takes, operands)):
                yield Match(made, operands)

    def takes(self, operand: Node) -> bool:
        """Whether an operand is put into this device's memory, as wide as it was before.

        A constant might be put into another's. What is widened would be stored and read as something larger:
        a product of halves, which is summed in float32, is none of float32.
        """
        if operand.device is None and not self.is_default:
            return False
        widened = operand.op is Op.CAST and operand.srcs[0].dtype.bits < operand.dtype.bits
        return is_stored(operand) or not widened


def _shapes(nodes: Sequence[Node], dtype: DType, rank: int) -> list[Shape]:
    """Shapes of so many axes that the memory of some of these nodes could have as an operand."""
    found: dict[Shape, None] = {}
    for n in nodes:
        if n.dtype is dtype and n.size:
            found |= dict.fromkeys(_of_rank(n.shape, rank))
    return list(found)


def _of_rank(shape: Shape, rank: int) -> Iterator[Shape]:
    """The shape without axes of size 1 or, where that is not enough, with its first axes as one."""
    more = len(shape) - rank
    if more <= 0:
        if not more:
            yield shape
        return
    ones = [i for i, n in enumerate(shape) if n == 1]
    if len(ones) >= more:
        for gone in islice(combinations(ones, more), 6):
            yield tuple(n for i, n in enumerate(shape) if i not in gone)
    elif rank:
        kept = tuple(n for n in shape if n != 1)
        yield (prod(kept[: len(kept) - rank + 1]), *kept[len(kept) - rank + 1 :])
