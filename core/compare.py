"""Whether two expressions compute the same: node by node, at positions, whatever movement lies between.

Both are wanted at one position, and movement turns it into others, as when a kernel is lowered (``lower``).
They are the same when they come down to the same primitives and folds of the same constants, and read
operands at the same positions, in loops that are the same in some order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations
from math import prod

from .compound import Template
from .graph import MOVEMENT, GraphOp, Node, ReduceArg
from .index import Index, Mask, both, flatten, unflatten, variable
from .ops import Op
from .position import Position, move_position, reshape_position
from .record import dataclass

STEPS = 20_000
"""Pairs of nodes that are compared, at most, before two expressions count as different."""
COMMUTE = frozenset({Op.ADD, Op.MUL, Op.MAX, Op.AND, Op.OR, Op.XOR, Op.CMPNE})
SAME = frozenset({GraphOp.PARAMETER, GraphOp.CONTIGUOUS})
"""What is another name of its operand."""


def is_stored(node: Node) -> bool:
    """True of what is in memory."""
    return node.storage is not None


def orders(node: Node) -> list[tuple[Node, ...]]:
    """The operands, in the orders that give the same."""
    return [node.srcs, node.srcs[::-1]] if node.op in COMMUTE else [node.srcs]


def passes(node: Node) -> bool:
    """True of an expression that only moves or renames its operand, and is not in memory."""
    return not is_stored(node) and (node.op in MOVEMENT or node.op is GraphOp.PARAMETER)


class Outline:
    """What a template and other expressions have in common when nobody looks at shapes: operations only."""

    def __init__(self, made: Template) -> None:
        self.root = made.root
        self.places = made.places
        self._known: dict[tuple[Node, Node], bool] = {}

    def fits(self, t: Node, n: Node) -> bool:
        """Whether ``n`` does what ``t`` does, as far as operations go."""
        t, n = self._down(t), _end(n)
        if t in self.places:
            return True
        known = self._known.get((t, n))
        if known is None:
            known = self._known[t, n] = _alike(t, n, True) and any(
                all(map(self.fits, t.srcs, srcs)) for srcs in orders(n)
            )
        return known

    def reached(self, node: Node) -> dict[Node, list[Node]]:
        """Where each placeholder's memory may be, of a node that fits: ways down to it, in all orders."""
        ways: dict[Node, dict[Node, None]] = {p: {} for p in self.places}
        seen: set[tuple[Node, Node]] = set()
        stack = [(self.root, node)]
        while stack:
            t, n = stack.pop()
            t = self._down(t)
            if t in ways:
                ways[t] |= dict.fromkeys(_way(n))
                continue
            n = _end(n)
            if (t, n) not in seen:
                seen.add((t, n))
                for srcs in orders(n):
                    if all(map(self.fits, t.srcs, srcs)):
                        stack += zip(t.srcs, srcs, strict=True)
        return {p: list(way) for p, way in ways.items()}

    def _down(self, t: Node) -> Node:
        while t.op in MOVEMENT or t.op in SAME:
            t = t.srcs[0]
        return t


def _way(node: Node) -> Iterator[Node]:
    """A node and all that its movement begins with."""
    yield node
    while passes(node):
        node = node.srcs[0]
        yield node


def _end(node: Node) -> Node:
    while passes(node):
        node = node.srcs[0]
    return node


def _alike(t: Node, n: Node, whatever: bool = False) -> bool:
    """Whether two nodes do the same, of the same operands; any two constants do, ``whatever`` they are."""
    if t.op is not n.op or t.dtype is not n.dtype or is_stored(n):
        return False
    a, b = t.arg, n.arg
    if isinstance(a, ReduceArg) and isinstance(b, ReduceArg):
        return a.op is b.op
    return t.op is GraphOp.IOTA or (isinstance(t.op, Op) and (a == b or (whatever and t.op is Op.CONST)))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A node at a position, where a mask holds."""

    node: Node
    position: Position
    mask: Mask

    def moved(self) -> Wanted:
        """What a node that moves or renames its operand wants of it."""
        node = self.node
        if node.op in SAME:
            return Wanted(node.srcs[0], self.position, self.mask)
        position, more = move_position(node, self.position)
        return Wanted(node.srcs[0], position, both(self.mask, more))


class Comparison:
    """Whether a node computes what a template does, and from which operands."""

    def __init__(self, made: Template) -> None:
        self.template = made
        self.places = set(made.places)
        self.bound: dict[Node, Node] = {}
        self.known: set[tuple[Wanted, Wanted]] = set()
        self.steps = 0
        self.names = 0

    def operands(self, node: Node) -> tuple[Node, ...] | None:
        """The nodes whose memory the operands are; None when it computes something else."""
        root = self.template.root
        at = tuple(variable(f"i{a}", n) for a, n in enumerate(root.shape))
        there = reshape_position(at, root.shape, node.shape)
        if not self.same(Wanted(root, at, ()), Wanted(node, there, ())):
            return None
        if self.bound.keys() != self.places:  # an operand that its result does not depend on
            return None
        return tuple(self.bound[p] for p in self.template.places)

    def same(self, t: Wanted, n: Wanted) -> bool:
        """Whether the template's ``t`` is ``n``; binds the placeholders that it meets."""
        self.steps += 1
        if self.steps > STEPS:
            return False
        while t.node.op in MOVEMENT or t.node.op in SAME:
            t = t.moved()
        if t.node in self.places:
            return self.bind(t, n)
        while passes(n.node):
            n = n.moved()
        if (t, n) in self.known:
            return True
        if t.mask != n.mask or not _alike(t.node, n.node):
            return False
        if t.node.op is GraphOp.REDUCE:
            alike = self.same_fold(t, n)
        elif t.node.op is GraphOp.IOTA:
            alike = t.position == n.position
        else:
            alike = self.same_operands(t, n)
        if alike:
            self.known.add((t, n))
        return alike

    def bind(self, t: Wanted, n: Wanted) -> bool:
        """Takes as the operand the last node on the way down whose memory is read where ``t``'s would be."""
        place = t.node
        where = flatten(t.position, place.shape)
        found = None
        while True:
            x = n.node
            if x.dtype is place.dtype and x.size == place.size and n.mask == t.mask:
                found = x if flatten(n.position, x.shape) == where else found
            if not passes(x):
                break
            n = n.moved()
        if found is None:
            return False
        return self.bound.setdefault(place, found) is found

    def same_operands(self, t: Wanted, n: Wanted) -> bool:
        """Whether both have the same operands, in this order or where it does not matter in the other."""
        return any(
            self.tried(
                (Wanted(a, t.position, t.mask), Wanted(b, n.position, n.mask))
                for a, b in zip(t.node.srcs, srcs, strict=True)
            )
            for srcs in orders(n.node)
        )

    def same_fold(self, t: Wanted, n: Wanted) -> bool:
        """Whether both fold the same, over loops that are the same in some order."""
        a, b = t.node.arg, n.node.arg
        assert isinstance(a, ReduceArg)
        assert isinstance(b, ReduceArg)
        x, y = t.node.srcs[0], n.node.srcs[0]
        mine = [(i, x.shape[i]) for i in a.axes if x.shape[i] > 1]
        theirs = [(i, y.shape[i]) for i in b.axes if y.shape[i] > 1]
        self.names += 1
        loops = {i: variable(f"r{self.names}_{i}", extent) for i, extent in mine}
        inner = Wanted(x, tuple(loops.get(i, p) for i, p in enumerate(t.position)), t.mask)
        for chosen in _paired(mine, theirs, loops):
            position = tuple(chosen.get(i, p) for i, p in enumerate(n.position))
            if self.tried([(inner, Wanted(y, position, n.mask))]):
                return True
        return False

    def tried(self, pairs: Iterable[tuple[Wanted, Wanted]]) -> bool:
        """Whether all pairs are the same; forgets what it bound when they are not."""
        bound, known = dict(self.bound), set(self.known)
        if all(self.same(t, n) for t, n in pairs):
            return True
        self.bound, self.known = bound, known
        return False


def _paired(
    mine: Sequence[tuple[int, int]], theirs: Sequence[tuple[int, int]], loops: dict[int, Index]
) -> Iterator[dict[int, Index]]:
    """Ways in which the axes of one fold can be walked by the loops of another: axes, with their extents."""
    if len(mine) == len(theirs):
        for order in permutations(mine):
            if all(m == n for (_, m), (_, n) in zip(order, theirs, strict=True)):
                yield {i: loops[j] for (j, _), (i, _) in zip(order, theirs, strict=True)}
    elif len(mine) == 1 and prod(n for _, n in theirs) == mine[0][1]:
        parts = unflatten(loops[mine[0][0]], tuple(n for _, n in theirs))
        yield {i: part for (i, _), part in zip(theirs, parts, strict=True)}
