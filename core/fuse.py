"""From graph to kernels: what is put into memory, and what is computed on the way.

In: the nodes to realize. Out: ``Group``s in the order in which they can run; each becomes one kernel (or a
copy between devices), reads only memory, and writes its roots. The fuser starts from one kernel for each root
and cuts the graph where computing on the way would cost more than memory does (``Cuts``), where two kernels
need the same reduction, and where several had better read a value than compute it (``shared``). Everything
else is fused, so that no elementwise chain, no movement and no row-wise reduction ever touches memory.

Cuts are made one at a time, the one nearest to the roots first, since what lies below it is another kernel's
from then on. Only the kernels that it divides are looked at again, and none is looked at farther down than
the first thing that is wrong with it: so the work grows with the graph, not with its square.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from .cuts import Cuts, is_stored
from .device import Spec
from .graph import GraphOp, Node
from .lower import Lowered
from .ops import Op
from .shared import is_worth_storing
from .siblings import Group, join_siblings
from .split import split_large_reductions

_FORCED = frozenset({GraphOp.CONTIGUOUS, GraphOp.COPY, GraphOp.ASSIGN, GraphOp.SCATTER, GraphOp.COMPOUND})
BY_ITSELF = frozenset({GraphOp.COPY, GraphOp.SCATTER, GraphOp.COMPOUND})
"""What reads whole operands from memory, and fuses with nothing."""


def fuse(roots: Sequence[Node], spec: Spec) -> tuple[list[Node], list[Group]]:
    """The groups that realize ``roots`` on a device, and the nodes that stand for ``roots`` in them.

    Nodes that have storage are read from it. A root that has storage, or no elements, needs no group.
    """
    roots = split_large_reductions(list(roots), spec)
    return roots, _Fusion(roots, spec).run()


class _Fusion:
    """The kernels of a graph while it is cut.

    Attributes:
        surveys: of the root of each kernel, what it would evaluate.
        kernels: of each node, the roots of the kernels that evaluate or read it.
        running: of each reduction, the roots of the kernels that run it.
        faults: of a kernel's root, where it must be cut.
        common: a heap of what several kernels need, values and reductions: where each would be cut and which
            it is, by rank, the last first.
    """

    def __init__(self, roots: Sequence[Node], spec: Spec) -> None:
        self.asked = roots
        self.cuts = Cuts(roots, spec)
        self.surveys: dict[Node, Lowered] = {}
        self.kernels: dict[Node, dict[Node, None]] = {}
        self.running: dict[Node, dict[Node, None]] = {}
        self.faults: dict[Node, Node] = {}
        self.common: list[tuple[int, int]] = []

    def run(self) -> list[Group]:
        cuts = self.cuts
        for n in (*self.forced(), *(r for r in self.asked if not is_stored(r))):
            cuts.add(n)
        for root in cuts.cut:
            self.look(root)
        while (node := self.next_cut()) is not None:
            cuts.add(node)
            for root in (*self.kernels.get(node, ()), node):
                self.look(root)
        groups = [
            Group((n,), tuple(self.leaves(n)))
            for n in cuts.order
            if n in cuts.cut and not is_stored(n) and n.size
        ]
        return self.needed(join_siblings(groups, self.only_walks, cuts.survey, cuts.spec.max_buffers))

    def forced(self) -> list[Node]:
        """What gets a kernel of its own, or is put into memory, whatever that costs."""
        out: list[Node] = []
        for n in self.cuts.order:
            if is_stored(n):
                continue
            if n.op in _FORCED:
                out.append(n)
            if n.op in BY_ITSELF:
                calls = n.op is GraphOp.COMPOUND  # which knows no constants
                out += [s for s in n.srcs if not is_stored(s) and (calls or not is_constant(s))]
        return out

    def look(self, root: Node) -> None:
        """Looks at a kernel, anew where it was cut."""
        before = self.surveys.pop(root, None)
        if before is not None:
            for n in before.nodes:
                self.kernels[n].pop(root, None)
            for nest in before.reductions:
                self.running[nest.reduces].pop(root, None)
            self.faults.pop(root, None)
        if root.op in BY_ITSELF or not root.size:
            return
        found = self.cuts.survey([root])
        fault = self.cuts.fault(root, found)
        if fault is None and found.stopped:  # nothing helps: it is a kernel as it is
            found = self.cuts.survey([root], whole=True)
        self.surveys[root] = found
        for n in found.nodes:
            kernels = self.kernels.setdefault(n, {})
            kernels[root] = None
            if len(kernels) > 1 and isinstance(n.op, Op) and not self.cuts.reads(n):
                self.propose(n, n)
        for n in {nest.reduces for nest in found.reductions}:
            kernels = self.running.setdefault(n, {})
            kernels[root] = None
            if len(kernels) > 1:
                self.propose(n, self.cuts.epilogue(n))
        if fault is not None:
            self.faults[root] = fault

    def propose(self, node: Node, place: Node) -> None:
        """Has ``next_cut`` look at a value that several kernels need, in its turn."""
        heappush(self.common, (-self.cuts.rank[place], self.cuts.rank[node]))

    def next_cut(self) -> Node | None:
        """Of all places to cut the one that is computed last; None when there is none."""
        cuts = self.cuts
        last = max((cuts.rank[n] for n in self.faults.values()), default=-1)
        while self.common and -self.common[0][0] > last:  # every kernel that needs it has been found
            rank, at = heappop(self.common)
            node = cuts.order[at]
            if node.op is GraphOp.REDUCE:
                place = cuts.epilogue(node)
                if len(self.running[node]) > 1 and place not in cuts.cut:
                    if cuts.rank[place] == -rank:
                        return place
                    self.propose(node, place)
            else:
                kernels = [self.surveys[r] for r in self.kernels[node]]
                if len(kernels) > 1 and not cuts.reads(node) and is_worth_storing(node, kernels, cuts):
                    return node
        return cuts.order[last] if last >= 0 else None

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
                    del self.cuts.cut[r]
                g = Group(roots, tuple(self.cuts.survey(roots).leaves))
            read.update(g.reads)
            out.append(g)
        return out[::-1]

    def only_walks(self, group: Group) -> bool:
        """True of a kernel without reductions."""
        found = self.surveys.get(group.roots[0])
        return found is not None and not found.reductions

    def leaves(self, root: Node) -> list[Node]:
        if root.op in BY_ITSELF:
            return [s for s in dict.fromkeys(root.srcs) if self.cuts.reads(s)]
        return self.surveys[root].leaves


def is_constant(node: Node) -> bool:
    """True of a constant under movement that repeats it: nothing to put into memory."""
    while node.op in (GraphOp.EXPAND, GraphOp.RESHAPE):
        node = node.srcs[0]
    return node.op is Op.CONST
