"""Where a kernel must be cut: the nodes that it had better read from memory than compute on the way.

In: a graph with the cuts so far, a node that gets a kernel of its own, and what that kernel would evaluate.
Out: the node to put into memory first, if any; with it cut, the rest may do. The faults looked for are

- a reduction that its user would have to run again and again (a matmul that feeds a matmul);
- a reduction that would leave the device's threads idle where its user alone would keep them busy;
- a contraction that shares its kernel;
- costly elementwise work, or padding, whose result is read many times;
- more buffers than the device takes.

A cut falls after the elementwise epilogue of a reduction, or where all that follows from it meets again:
after the whole of a softmax.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from .demand import Nest
from .device import Spec
from .few_buffers import crowded_part
from .graph import MOVEMENT, GraphOp, Node, ReduceArg, toposort
from .lower import Lowered, survey
from .ops import Op

_COST = {
    Op.EXP2: 12, Op.LOG2: 12, Op.SIN: 30, Op.SQRT: 6, Op.RECIP: 6, Op.IDIV: 10, Op.MOD: 10, Op.CONST: 0,
}  # fmt: skip
_KEEPING = frozenset({GraphOp.RESHAPE, GraphOp.PERMUTE, GraphOp.FLIP, GraphOp.PARAMETER, GraphOp.SHRINK})
"""Movement that repeats no element."""
_REDUCE = GraphOp.REDUCE  # to find a member in its class takes Python 3.11 a tenth of a microsecond
SLACK = 2
"""A reduction may be run this many times as often as it has results (windows overlap at their borders)."""
SMALL = 1 << 16
"""Elements below which a reduction need not be spread over threads."""
FAR = 100
"""Nodes between a reduction and the cut that stands for it, at most."""
CONTRACTION = 1 << 17
"""Steps from which a contraction is worth a kernel of its own."""
WORTH = 1 << 14
"""Operations that a cut must save before it is worth a kernel of its own."""


class Cuts:
    """A graph, and where it is cut so far.

    Attributes:
        order: its nodes, operands before users; ``rank`` says at which place each stands.
        users: of each node.
        cut: the nodes that get a kernel of their own, and those that are put into memory for other reasons.
    """

    def __init__(self, roots: Sequence[Node], spec: Spec) -> None:
        self.spec = spec
        self.order = toposort(roots, stop=is_stored)
        self.rank = {n: i for i, n in enumerate(self.order)}
        self.users: dict[Node, list[Node]] = {n: [] for n in self.order}
        self.cut: dict[Node, None] = {}
        self.constant: set[Node] = set()  # computed from nothing in memory: cutting it would save no reads
        for n in self.order:
            if is_stored(n):
                continue
            for s in dict.fromkeys(n.srcs):
                self.users[s].append(n)
            if all(s in self.constant for s in n.srcs):
                self.constant.add(n)
        self._costs: dict[Node, int] = {}

    def add(self, node: Node) -> None:
        """Cuts at a node."""
        self.cut[node] = None
        self._costs.clear()

    def reads(self, node: Node) -> bool:
        """True of what a kernel other than its own reads from memory."""
        return node.storage is not None or node in self.cut

    def survey(self, roots: Sequence[Node], whole: bool = False) -> Lowered:
        """What one kernel of ``roots`` would evaluate, at whatever cost if ``whole``."""
        return survey(roots, self.reads, self.rank, 0 if whole else SLACK)

    def fault(self, root: Node, found: Lowered) -> Node | None:
        """Where the kernel of ``root`` must be cut next; None when all is well.

        Args:
            found: what it would evaluate.
        """
        again = [self._border(n, root, found) for n in self._topmost(self._run_again(root, found))]
        faults = again or self._recomputed(root, found) or self._too_many(root, found)
        return max((n for n in faults if n not in self.cut), key=self.rank.__getitem__, default=None)

    def _too_many(self, root: Node, found: Lowered) -> list[Node]:
        """A part of the kernel of ``root`` to cut, when it reads more buffers than the device takes."""
        if found.reads < self.spec.max_buffers:
            return []
        part = crowded_part(root, found.nodes, self.reads, self.spec)
        return [] if part is None else [part]

    def _topmost(self, nodes: list[Node]) -> list[Node]:
        """Of ``nodes``, those that no other of them is computed from: with these cut, the rest may do."""
        lowest = min((self.rank[n] for n in nodes), default=0)
        below: set[Node] = set()
        stack = list(nodes)
        while stack:
            for s in stack.pop().srcs:
                if s not in below and self.rank.get(s, -1) >= lowest:
                    below.add(s)
                    stack.append(s)
        return [n for n in nodes if n not in below]

    def _run_again(self, root: Node, found: Lowered) -> list[Node]:
        """Reductions that the kernel of ``root`` would run too often, or with too few threads.

        Of those inside another, only the outer: once that is cut, the inner ones may be well where they are.
        """
        runs: dict[Node, int] = {}
        for nest in found.reductions:
            runs[nest.reduces] = runs.get(nest.reduces, 0) + nest.times
        over = {n for n, times in runs.items() if times > SLACK * n.size}
        out: dict[Node, None] = dict.fromkeys([found.stopped] if found.stopped else [])
        for nest in found.reductions:
            node = nest.reduces
            around = nest.parent
            while around is not None and not (
                around.demand and around.demand.node in over and around.demand.node is not node
            ):
                around = around.parent
            if around is None and (node in over or self._starves(nest, root)):
                out[node] = None
            crowded = self._crowded(nest)
            if crowded is not None:
                out[crowded] = None
        return list(out)

    def _starves(self, nest: Nest, root: Node) -> bool:
        """True of a long reduction whose shared loops are too few for the threads, unless it stands alone."""
        top = nest.parent
        if top is None or top.parent is not None or nest.times >= self.spec.threads:
            return False
        long = nest.times * prod(nest.extents.values()) >= SMALL
        alone = nest.level == len(top.extents) and len([c for c in top.children if c is not nest]) == 0
        return long and not alone

    def _crowded(self, nest: Nest) -> Node | None:
        """The reduction to cut of a contraction (much arithmetic per element) that shares its kernel.

        Tiles want its own loops outermost and its updates innermost; sums of its sums become one with it.
        """
        node, top = nest.reduces, nest
        total = nest.times * prod(nest.extents.values())
        if total < CONTRACTION:
            return None
        while top.parent is not None and top.parent.demand is not None and self._continues(top.parent, top):
            top = top.parent
        if top.parent is not None and top.parent.parent is None and top.level == len(top.parent.extents):
            return None
        touched = sum(n.size for n in self._inputs(node)) + node.size
        return None if total < 8 * touched else top.reduces

    def _inputs(self, node: Node) -> set[Node]:
        """The memory and the reductions that a reduction's elements are computed from."""
        seen: set[Node] = set(node.srcs)
        found: set[Node] = set()
        stack = list(node.srcs)
        while stack:
            n = stack.pop()
            if self._bounds(n):
                found.add(n)
            else:
                ahead = [s for s in n.srcs if s not in seen]
                seen.update(ahead)
                stack += ahead
        return found

    def _bounds(self, node: Node) -> bool:
        """True where elementwise work and movement begin: at memory and at reductions."""
        return node.op is _REDUCE or self.reads(node)

    def _continues(self, outer: Nest, inner: Nest) -> bool:
        """True when ``outer`` folds nothing but what ``inner`` folds."""
        node = outer.reduces.srcs[0]
        while node.op in MOVEMENT and not self.reads(node):
            node = node.srcs[0]
        a, b = outer.reduces.arg, inner.reduces.arg
        assert isinstance(a, ReduceArg)
        assert isinstance(b, ReduceArg)
        return node is inner.reduces and a.op is b.op

    def _border(self, node: Node, root: Node, found: Lowered) -> Node:
        """Where to cut so that ``root``'s kernel does not run the reduction ``node`` again and again.

        That is the last node that all ways from it to the root lead through and that is itself evaluated more
        often than it has elements (the whole of a softmax, not each sum in it), else its epilogue.
        """
        last = None
        front = {node}
        for _ in range(FAR):
            first = min(front, key=self.rank.__getitem__)
            front.remove(first)
            front.update(u for u in self.users[first] if u in found.nodes)
            if len(front) != 1:
                continue
            (only,) = front
            if only is root or only in self.cut:
                break
            if isinstance(only.op, Op):
                if found.evaluations(only) <= SLACK * only.size:
                    break
                last = only
        return last or self.epilogue(node)

    def epilogue(self, node: Node) -> Node:
        """The last node that all ways from ``node`` lead through, elementwise or keeping a part of it."""
        last = node
        front = {node}
        for _ in range(FAR):
            first = min(front, key=self.rank.__getitem__)
            front.remove(first)
            users = [] if first in self.cut else self.users[first]
            front.update(users)
            if not users or any(not isinstance(u.op, Op) and u.op not in _KEEPING for u in users):
                break
            if len(front) == 1:
                (only,) = front
                if isinstance(only.op, Op) or only.op is GraphOp.SHRINK:
                    last = only
        return last

    def _recomputed(self, root: Node, found: Lowered) -> list[Node]:
        """Costly nodes under an expansion, whose values ``root``'s kernel would compute many times over."""
        out = []
        for node in found.nodes:
            if node is root or self.reads(node) or not node.size:
                continue
            if not (isinstance(node.op, Op) or node.op is GraphOp.PAD) or node.op is Op.CONST:
                continue
            if not any(u.op in MOVEMENT or u.op is GraphOp.GATHER for u in self.users[node]):
                continue
            times = found.evaluations(node)
            if times <= 4 * node.size:
                continue
            cost = self._cost(node)
            reuse = times / node.size
            saves = (times - node.size) * cost
            inside = found.is_inside(node) and reuse >= 8 and cost >= 2
            outside = cost >= 6 and (reuse - 1) * cost >= 32
            if saves >= WORTH and (inside or outside) and node not in self.constant:
                out.append(node)
        return out

    def _cost(self, node: Node) -> int:
        """Operations of one element of ``node``, down to memory or a reduction."""

        def stop(n: Node) -> bool:
            return n is not node and (n in self._costs or self._bounds(n))

        for n in toposort([node], stop):
            if n in self._costs:
                continue
            if stop(n):
                self._costs[n] = 0
                continue
            self._costs[n] = operations(n, self.spec) + sum(self._costs.get(s, 0) for s in n.srcs)
        return self._costs[node]


def is_stored(node: Node) -> bool:
    """True of what is in memory before anything runs."""
    return node.storage is not None


def operations(node: Node, spec: Spec) -> int:
    """What one element of a node costs, in additions, its operands given."""
    if not isinstance(node.op, Op):
        return 2 if node.op is GraphOp.PAD else 0
    narrow = node.op is Op.CAST and any(
        x.dtype.is_float and x.dtype.bits < 32 and x.dtype not in spec.arithmetic
        for x in (node, node.srcs[0])
    )
    return 6 if narrow else _COST.get(node.op, 1)
