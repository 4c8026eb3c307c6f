"""From graph to kernels: what is put into memory, and what is computed on the way.

In: the nodes to realize. Out: ``Group``s in the order in which they can run; each becomes one kernel (or a
copy between devices), reads only memory, and writes its roots. The fuser starts from one kernel for each root
and cuts the graph where computing on the way would cost more than memory does:

- a reduction that its user would have to run again and again (a matmul that feeds a matmul);
- a reduction that two kernels need;
- a reduction that would leave the device's threads idle where its user alone would keep them busy;
- costly elementwise work, or padding, whose result is read many times.

A cut falls after the elementwise epilogue of a reduction, or where all that follows from it meets again:
after the whole of a softmax. Everything else is fused, so that no elementwise chain, no movement and no
row-wise reduction ever touches memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from .device import Spec
from .few_buffers import crowded_part
from .graph import MOVEMENT, GraphOp, Node, ReduceArg, toposort
from .lower import Lowered, Nest, survey
from .ops import Op
from .siblings import Group, join_siblings
from .split import split_large_reductions

_FORCED = frozenset({GraphOp.CONTIGUOUS, GraphOp.COPY, GraphOp.ASSIGN, GraphOp.SCATTER, GraphOp.COMPOUND})
_BY_ITSELF = frozenset({GraphOp.COPY, GraphOp.SCATTER, GraphOp.COMPOUND})
"""What reads whole operands from memory, and fuses with nothing."""
_COST = {
    Op.EXP2: 12, Op.LOG2: 12, Op.SIN: 30, Op.SQRT: 6, Op.RECIP: 6, Op.IDIV: 10, Op.MOD: 10, Op.CONST: 0,
}  # fmt: skip
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


def fuse(roots: Sequence[Node], spec: Spec) -> tuple[list[Node], list[Group]]:
    """The groups that realize ``roots`` on a device, and the nodes that stand for ``roots`` in them.

    Nodes that have storage are read from it. A root that has storage, or no elements, needs no group.
    """
    roots = split_large_reductions(list(roots), spec)
    return roots, _Fusion(roots, spec).run()


class _Fusion:
    def __init__(self, roots: Sequence[Node], spec: Spec) -> None:
        self.spec = spec
        self.asked = roots
        self.order = toposort(roots, stop=_stored)
        self.rank = {n: i for i, n in enumerate(self.order)}
        self.users: dict[Node, list[Node]] = {n: [] for n in self.order}
        for n in self.order:
            if not _stored(n):
                for s in dict.fromkeys(n.srcs):
                    self.users[s].append(n)
        self.cut: dict[Node, None] = {}
        for n in self.order:
            if _stored(n):
                continue
            if n.op in _FORCED:
                self.cut[n] = None
            if n.op in _BY_ITSELF:
                calls = n.op is GraphOp.COMPOUND  # which knows no constants
                self.cut.update((s, None) for s in n.srcs if not _stored(s) and (calls or not is_constant(s)))
        self.cut.update((r, None) for r in roots if not _stored(r))
        self.constant: set[Node] = set()  # computed from nothing in memory: cutting it would save no reads
        for n in self.order:
            if not _stored(n) and all(s in self.constant for s in n.srcs):
                self.constant.add(n)
        self.surveys: dict[Node, Lowered] = {}
        self.faults: dict[Node, list[Node]] = {}  # where each surveyed kernel must be cut
        self.costs: dict[Node, int] = {}

    def reads(self, node: Node) -> bool:
        return _stored(node) or node in self.cut

    def run(self) -> list[Group]:
        while new := self.violations():
            self.cut.update(dict.fromkeys(new))
            self.costs.clear()
            for root in [r for r, s in self.surveys.items() if any(n in s.nodes for n in new)]:
                del self.surveys[root], self.faults[root]
        groups = [
            Group((n,), tuple(self.leaves(n)))
            for n in self.order
            if n in self.cut and not _stored(n) and n.size
        ]
        done = self.needed(join_siblings(groups, self.only_walks, self.survey, self.spec.max_buffers))
        self.surveys.clear()  # they lead back here: a circle that keeps the graph, and its memory
        return done

    def needed(self, groups: Sequence[Group]) -> list[Group]:
        """The groups without what nobody asked for and no other kernel reads."""
        read = set(self.asked)
        out: list[Group] = []
        for g in reversed(groups):
            roots = tuple(r for r in g.roots if r in read)
            if not roots:
                continue
            if roots != g.roots:  # the others are computed on the way, for their fellows
                for r in set(g.roots) - set(roots):
                    del self.cut[r]
                g = Group(roots, tuple(self.survey(roots).leaves))
            read.update(g.reads)
            out.append(g)
        return out[::-1]

    def survey(self, roots: Sequence[Node]) -> Lowered:
        """What one kernel of ``roots`` would evaluate, given the cuts so far."""
        return survey(roots, self.reads, self.rank, SLACK)

    def only_walks(self, group: Group) -> bool:
        """True of a kernel without reductions."""
        found = self.surveys.get(group.roots[0])
        return found is not None and not found.reductions

    def leaves(self, root: Node) -> list[Node]:
        if root.op in _BY_ITSELF:
            return [s for s in dict.fromkeys(root.srcs) if self.reads(s)]
        return self.surveys[root].leaves

    def violations(self) -> list[Node]:
        """Where the graph must be cut, given the cuts so far."""
        new: dict[Node, None] = {}
        inlined: dict[Node, int] = {}
        for root in self.cut:
            if root.op in _BY_ITSELF or not root.size:
                continue
            found = self.surveys.get(root)
            if found is None:
                found = self.surveys[root] = self.survey([root])
                again = self.topmost(self.run_again(root, found))
                again = [self.border(n, root, found) for n in again]
                self.faults[root] = again or self.recomputed(root, found) or self.too_many(root, found)
            new.update(dict.fromkeys(self.faults[root]))
            for node in {n.demand.node for n in found.reductions if n.demand}:
                inlined[node] = inlined.get(node, 0) + 1
        for node, kernels in inlined.items():
            if kernels > 1:
                new[self.epilogue(node)] = None
        return self.topmost([n for n in new if n not in self.cut])

    def too_many(self, root: Node, found: Lowered) -> list[Node]:
        """A part of the kernel of ``root`` to cut, when it reads more buffers than the device takes."""
        if len(found.leaves) < self.spec.max_buffers:
            return []
        part = crowded_part(root, found.nodes, self.reads, self.spec)
        return [] if part is None else [part]

    def topmost(self, nodes: list[Node]) -> list[Node]:
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

    def run_again(self, root: Node, found: Lowered) -> list[Node]:
        """Reductions that the kernel of ``root`` would run too often, or with too few threads.

        Of those inside another, only the outer: once that is cut, the inner ones may be well where they are.
        """
        runs: dict[Node, int] = {}
        for nest in found.reductions:
            assert nest.demand is not None
            runs[nest.demand.node] = runs.get(nest.demand.node, 0) + nest.times
        over = {n for n, times in runs.items() if times > SLACK * n.size}
        out: dict[Node, None] = dict.fromkeys(found.stopped)
        for nest in found.reductions:
            assert nest.demand is not None
            node = nest.demand.node
            around = nest.parent
            while around is not None and not (
                around.demand and around.demand.node in over and around.demand.node is not node
            ):
                around = around.parent
            if around is None and (node in over or self.starves(nest, root)):
                out[node] = None
            crowded = self.crowded(nest)
            if crowded is not None:
                out[crowded] = None
        return list(out)

    def starves(self, nest: Nest, root: Node) -> bool:
        """True of a long reduction whose shared loops are too few for the threads, unless it stands alone."""
        top = nest.parent
        if top is None or top.parent is not None or nest.times >= self.spec.threads:
            return False
        long = nest.times * prod(nest.extents.values()) >= SMALL
        alone = nest.level == len(top.extents) and len([c for c in top.children if c is not nest]) == 0
        return long and not alone

    def crowded(self, nest: Nest) -> Node | None:
        """The reduction to cut of a contraction (much arithmetic per element) that shares its kernel.

        Tiles want its own loops outermost and its updates innermost; sums of its sums become one with it.
        """
        assert nest.demand is not None
        node, top = nest.demand.node, nest
        total = nest.times * prod(nest.extents.values())
        if total < CONTRACTION:
            return None
        inputs = (n for n in toposort([node.srcs[0]], self.bounds) if self.bounds(n))
        touched = sum(n.size for n in inputs) + node.size
        if total < 8 * touched:
            return None
        while top.parent is not None and top.parent.demand is not None and self.continues(top.parent, top):
            top = top.parent
        alone = top.parent is not None and top.parent.parent is None and top.level == len(top.parent.extents)
        assert top.demand is not None
        return None if alone else top.demand.node

    def bounds(self, node: Node) -> bool:
        """True where elementwise work and movement begin: at memory and at reductions."""
        return self.reads(node) or node.op is GraphOp.REDUCE

    def continues(self, outer: Nest, inner: Nest) -> bool:
        """True when ``outer`` folds nothing but what ``inner`` folds."""
        assert outer.demand is not None
        assert inner.demand is not None
        node = outer.demand.node.srcs[0]
        while node.op in MOVEMENT and not self.reads(node):
            node = node.srcs[0]
        a, b = outer.demand.node.arg, inner.demand.node.arg
        assert isinstance(a, ReduceArg)
        assert isinstance(b, ReduceArg)
        return node is inner.demand.node and a.op is b.op

    def border(self, node: Node, root: Node, found: Lowered) -> Node:
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
        """The last node, elementwise or keeping a part, that only ``node`` and its followers lead to."""
        last = node
        while node not in self.cut:
            users = self.users[node]
            if len(users) != 1:
                break
            user = users[0]
            if isinstance(user.op, Op) or user.op is GraphOp.SHRINK:
                last = user
            elif user.op not in (GraphOp.RESHAPE, GraphOp.PERMUTE, GraphOp.FLIP, GraphOp.PARAMETER):
                break
            node = user
        return last

    def recomputed(self, root: Node, found: Lowered) -> list[Node]:
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
            cost = self.cost(node)
            reuse = times / node.size
            saves = (times - node.size) * cost
            inside = found.is_inside(node) and reuse >= 8 and cost >= 2
            outside = cost >= 6 and (reuse - 1) * cost >= 32
            if saves >= WORTH and (inside or outside) and node not in self.constant:
                out.append(node)
        return self.topmost(out)  # of those that feed each other, the last holds the work of the others

    def cost(self, node: Node) -> int:
        """Operations of one element of ``node``, down to memory or a reduction."""

        def stop(n: Node) -> bool:
            return n is not node and (n in self.costs or self.bounds(n))

        for n in toposort([node], stop):
            if n in self.costs:
                continue
            if stop(n):
                self.costs[n] = 0
                continue
            narrow = n.op is Op.CAST and any(
                x.dtype.is_float and x.dtype.bits < 32 and x.dtype not in self.spec.arithmetic
                for x in (n, n.srcs[0])
            )
            own = (
                6
                if narrow
                else _COST.get(n.op, 1)
                if isinstance(n.op, Op)
                else 2
                if n.op is GraphOp.PAD
                else 0
            )
            self.costs[n] = own + sum(self.costs.get(s, 0) for s in n.srcs)
        return self.costs[node]


def _stored(node: Node) -> bool:
    return node.storage is not None


def is_constant(node: Node) -> bool:
    """True of a constant under movement that repeats it: nothing to put into memory."""
    while node.op in (GraphOp.EXPAND, GraphOp.RESHAPE):
        node = node.srcs[0]
    return node.op is Op.CONST
