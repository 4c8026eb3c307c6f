"""One kernel: from graph nodes to a fresh loop tree.

In: the nodes that the kernel writes (``roots``, of one size) and which nodes it reads from memory. Out: a
verified tree of plain loops and scalar values, and what the fuser wants to know of it (``Lowered``).

Movement vanishes: each node is *demanded* at positions, which are index expressions over the loop variables,
and a movement node only turns its own position into its operand's. A reduction becomes an accumulator and
loops of its own, placed as far out as the position that it is demanded at allows. Both walks are iterative,
so that an expression may be as deep as memory holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush

from . import value as val
from .demand import Demand, Gathered, Nest, Spot
from .dtype import wide
from .graph import MOVEMENT, ConstArg, GraphOp, Node, ReduceArg, toposort
from .index import NEVER, Mask, both, computed, flatten, variable
from .loops import Acc, Body, Kernel, Let, Loop, Memory, Stmt, Store, Update
from .masking import index_value, masked
from .merge import flatten_reductions, merge_loops
from .ops import Op, identity
from .position import Position, loop_shape, move_position, reshape_position
from .record import dataclass
from .value import Access, Value

_SAME_PLACE = frozenset({GraphOp.CONTIGUOUS, GraphOp.PARAMETER, GraphOp.COPY})
"""What reads its operand where it is wanted itself, as primitives do."""


@dataclass(slots=True)
class Lowered:
    """A fresh kernel, and what it evaluates how often.

    Attributes:
        kernel: the tree; None of a survey.
        reductions: each inlined reduction's nest.
        stopped: the reduction at which a survey ended, since it would be run too often.
        walk: how it was found.
    """

    kernel: Kernel | None
    reductions: list[Nest]
    stopped: Node | None
    walk: _Lowering

    @property
    def leaves(self) -> list[Node]:
        """The node that each parameter after the roots' own reads."""
        return self.walk.leaves(self.walk.order())

    @property
    def reads(self) -> int:
        """How many leaves there are."""
        return sum(1 for n in self.walk.demands if self.walk.reads(n) and self.walk.live(n))

    @property
    def nodes(self) -> Iterable[Node]:
        """Every node that the kernel evaluates or reads."""
        return self.walk.demands

    def positions(self, node: Node) -> int:
        """At how many different positions a node is evaluated."""
        return len(self.walk.live(node))

    def evaluations(self, node: Node) -> int:
        """How often a node is evaluated, all its positions together."""
        return sum(self.walk.runs(d) for d in self.walk.live(node))

    def is_inside(self, node: Node) -> bool:
        """True of a node that is evaluated inside a reduction's loops."""
        walk = self.walk
        return any(walk.owner[v] is not walk.top for d in walk.live(node) for v in walk.needs(d.spot))


class _Lowering:
    def __init__(
        self,
        roots: Sequence[Node],
        reads: Callable[[Node], bool],
        rank: Mapping[Node, int] | None = None,
        slack: int = 0,
    ) -> None:
        self.slack = slack
        self.stopped: Node | None = None
        self.roots = frozenset(roots)
        self.outputs = roots
        self.given = reads
        if rank is None:
            rank = {n: i for i, n in enumerate(toposort(roots, self.reads))}
        self.rank = rank
        shape = loop_shape(roots[0], reads)
        self.top = Nest({f"i{a}": n for a, n in enumerate(shape) if n > 1})
        self.owner = dict.fromkeys(self.top.extents, self.top)
        self.where = tuple(variable(f"i{a}", n) for a, n in enumerate(shape))
        self.shape = shape
        self.edges: dict[Demand, tuple[Demand, ...]] = {}
        self.demands: dict[Node, dict[Spot, Demand]] = {}
        self.spots: dict[tuple[Position, Mask], Spot] = {}
        self.needed: dict[Spot, frozenset[str]] = {}  # what ``needs`` found
        self.ahead: list[tuple[int, Node]] = []  # demanded nodes whose operands are not, users first
        self.nests: dict[Demand, Nest] = {}
        self.gathers: dict[Demand, Gathered] = {}
        self.known: dict[str, frozenset[str]] = {}  # what a computed index depends on

    def reads(self, node: Node) -> bool:
        """True of what is in memory before the kernel runs."""
        return node not in self.roots and self.given(node)

    # ------------------------------------------------------------------ who is wanted where

    def spot(self, position: Position, mask: Mask) -> Spot:
        key = (position, mask)
        found = self.spots.get(key)
        if found is None:
            found = self.spots[key] = Spot(position, mask, mask != NEVER)
        return found

    def want(self, node: Node, spot: Spot) -> Demand:
        if 0 in node.shape:
            spot = self.spot(spot.position, NEVER)
        known = self.demands.get(node)
        if known is None:
            known = self.demands[node] = {}
            heappush(self.ahead, (-self.rank[node], node))
        found = known.get(spot)
        if found is None:
            found = known[spot] = Demand(node, spot)
        return found

    def needs(self, spot: Spot) -> frozenset[str]:
        found = self.needed.get(spot)
        if found is None:
            names: set[str] = set()
            for i in (*spot.position, *spot.mask):
                for n in i.names():
                    names |= self.known.get(n, frozenset((n,)))
            found = self.needed[spot] = frozenset(names)
        return found

    def spread(self) -> None:
        """From the roots down: every node's demands give its operands'."""
        self.stores = []
        for root in self.outputs:
            position = reshape_position(self.where, self.shape, root.shape)
            self.stores.append(self.want(root, self.spot(position, ())))
        while self.ahead:
            _, node = heappop(self.ahead)
            if self.reads(node):
                continue
            if self.slack and node.op is GraphOp.REDUCE and self.too_often(node):
                self.stopped = node
                return
            for d in list(self.demands[node].values()):
                self.edges[d] = self.operands(d) if d.spot.is_ever else ()

    def too_often(self, node: Node) -> bool:
        """True when, wherever it stands, it runs over ``slack`` times as often as it has results."""
        times = 0
        for spot in self.demands[node]:
            times += math.prod(self.owner[v].extents[v] for v in self.needs(spot))
        return times > self.slack * node.size

    def operands(self, d: Demand) -> tuple[Demand, ...]:
        node, spot = d.node, d.spot
        op, srcs = node.op, node.srcs
        if isinstance(op, Op) or op in _SAME_PLACE:
            return tuple([self.want(s, spot) for s in srcs])
        if op in MOVEMENT:
            position, more = move_position(node, spot.position)
            moved = self.spot(position, both(spot.mask, more) if more else spot.mask)
            return (self.want(srcs[0], moved),)
        if op is GraphOp.ASSIGN:
            return (self.want(srcs[1], spot),)
        if not srcs:
            return ()
        x = srcs[0]
        if op is GraphOp.REDUCE:
            return (self.reduce(d, x),) if x.size else ()
        assert op is GraphOp.GATHER
        return self.gather(d, x, srcs[1])

    def reduce(self, d: Demand, x: Node) -> Demand:
        arg = d.node.arg
        assert isinstance(arg, ReduceArg)
        k = len(self.nests)
        nest = Nest({f"r{k}_{a}": x.shape[a] for a in arg.axes if x.shape[a] > 1}, f"acc{k}", demand=d)
        position = list(d.spot.position)
        for a in arg.axes:
            position[a] = variable(f"r{k}_{a}", x.shape[a])
        nest.needs = self.needs(d.spot)
        owners = [self.owner[v] for v in nest.needs]
        nest.parent = max(owners, key=lambda n: n.depth, default=self.top)
        nest.parent.children.append(nest)
        nest.depth = nest.parent.depth + 1
        for v in nest.extents:
            self.owner[v] = nest
        self.nests[d] = nest
        nest.source = self.want(x, self.spot(tuple(position), d.spot.mask))
        return nest.source

    def gather(self, d: Demand, x: Node, index: Node) -> tuple[Demand, ...]:
        rank = len(index.shape)
        position, mask = d.spot.position, d.spot.mask
        at = self.want(index, self.spot(position[:rank], mask))
        found = self.gathers.get(at)
        if found is None:
            needs = self.needs(at.spot)
            found = self.gathers[at] = Gathered(f"g{len(self.gathers)}", at, needs)
            self.known[found.name] = needs
            owners = [self.owner[v] for v in needs]
            max(owners, key=lambda n: n.depth, default=self.top).lets.append(found)
        n = x.shape[0]
        row = computed(found.name, -(2**62), 2**62)
        inside = both(mask, (row, row * -1 + (n - 1)))
        return at, self.want(x, self.spot((row, *position[rank:]), inside))

    # ------------------------------------------------------------------ where its loops stand

    def place(self) -> None:
        """Orders each nest's loops so that the reductions inside can stand far out, and places them there."""
        todo = [self.top]
        while todo:
            nest = todo.pop()
            wanted = sorted(
                {frozenset(c.needs & nest.extents.keys()) for c in nest.children},
                key=lambda s: (len(s), sorted(s)),
            )
            first: list[str] = []
            for names in wanted:
                if set(first) <= names:
                    first += [v for v in nest.extents if v in names and v not in first]
            nest.extents = {
                v: nest.extents[v] for v in (*first, *(v for v in nest.extents if v not in first))
            }
            for c in nest.children:
                c.level = nest.level_of(c.needs)
                c.times = nest.runs(c.level)
            todo += nest.children

    def live(self, node: Node) -> list[Demand]:
        """The demands of a node that hold somewhere."""
        return [d for d in self.demands[node].values() if d.spot.is_ever]

    def runs(self, d: Demand) -> int:
        names = self.needs(d.spot)
        nest = max((self.owner[v] for v in names), key=lambda n: n.depth, default=self.top)
        return nest.runs(nest.level_of(names))

    # ------------------------------------------------------------------ what is computed

    def build(self) -> dict[Demand, Value]:
        """From the leaves up: the value of every demand."""
        values: dict[Demand, Value] = {}
        for d in self.in_order():
            values[d] = self.value(d, [values[s] for s in self.edges.get(d, ())])
            if d in self.nests:
                self.nests[d].made = len(values)
            if d in self.gathers:
                self.gathers[d].made = len(values)
        return values

    def in_order(self) -> Iterator[Demand]:
        """Every demand after those of its operands, and after the positions that it is computed at."""
        source = {g.name: d for d, g in self.gathers.items()}
        done: set[Demand] = set()
        stack = [(d, False) for d in reversed(self.stores)]
        while stack:
            d, ready = stack.pop()
            if ready:
                yield d
            elif d not in done:
                done.add(d)
                stack.append((d, True))
                before = self.edges.get(d, ())
                if source:
                    names = frozenset().union(*(i.names() for i in (*d.spot.position, *d.spot.mask)))
                    before = (*(source[n] for n in sorted(names) if n in source), *before)
                stack.extend((s, False) for s in reversed(before) if s not in done)

    def value(self, d: Demand, srcs: list[Value]) -> Value:
        node, op, arg = d.node, d.node.op, d.node.arg
        position = d.spot.position
        if not d.spot.is_ever and op is not Op.CONST:
            return val.number(0, node.dtype)
        if self.reads(node):
            inside = all(i.lo >= 0 and i.hi < n for i, n in zip(position, node.shape, strict=True))
            # what lies inside its memory anyhow needs no guard: what is masked is chosen by a WHERE above
            access = Access(self.names[node], flatten(position, node.shape), () if inside else d.spot.mask)
            return val.make(Op.LOAD, node.dtype, (), access)
        if isinstance(op, Op):
            if op is Op.CONST:
                assert isinstance(arg, ConstArg)
                return val.number(arg.value, node.dtype)
            if op is Op.CAST:
                return val.cast(srcs[0], node.dtype)
            if op is Op.BITCAST:
                return val.bitcast(srcs[0], node.dtype)
            return val.primitive(op, *srcs) if arg is None else val.free_product(*srcs)
        if op is GraphOp.IOTA:
            return index_value(position[0], node.dtype)
        if op is GraphOp.REDUCE:
            if d not in self.nests:  # nothing to fold
                assert isinstance(arg, ReduceArg)
                return val.number(identity(arg.op, node.dtype), node.dtype)
            return val.cast(val.ref(self.nests[d].name, wide(node.dtype)), node.dtype)
        if op is GraphOp.PAD:
            _, more = move_position(node, position)
            return masked(srcs[0], more)
        if op is GraphOp.GATHER:
            return masked(srcs[1], tuple(m for m in self.edges[d][1].spot.mask if m not in d.spot.mask))
        return srcs[-1]

    def tree(self, values: dict[Demand, Value]) -> Body:
        inner: list[Stmt] = []
        for i, d in enumerate(self.stores):
            inner.append(Store(f"out{i}", flatten(d.spot.position, d.node.shape), values[d]))
        return self.emit(self.top, 0, values, tuple(inner))

    def emit(self, nest: Nest, level: int, values: dict[Demand, Value], inner: Body) -> Body:
        here: list[tuple[int, Body]] = []
        for c in nest.children:
            if c.level == level:
                assert c.demand is not None
                assert c.source is not None
                arg = c.demand.node.arg
                assert isinstance(arg, ReduceArg)
                dtype = wide(c.demand.node.dtype)
                update = Update(c.name, arg.op, val.cast(values[c.source], dtype))
                loops = self.emit(c, 0, values, (update,))
                here.append((c.made, (Acc(c.name, arg.op, dtype), *loops)))
        for g in nest.lets:
            if nest.level_of(g.needs) == level:
                here.append((g.made, (Let(g.name, values[g.source]),)))
        here.sort(key=lambda t: t[0])
        body = [s for _, stmts in here for s in stmts]
        if level == len(nest.extents):
            return (*body, *inner)
        v, n = list(nest.extents.items())[level]
        return (*body, Loop(v, n, self.emit(nest, level + 1, values, inner)))

    def order(self) -> list[Node]:
        """What is demanded, operands before users."""
        return toposort(self.outputs, stop=lambda n: self.reads(n) or n not in self.demands)

    def leaves(self, order: Iterable[Node]) -> list[Node]:
        """Of these, in order, the nodes that are read from memory."""
        return [n for n in order if n in self.demands and self.reads(n) and self.live(n)]

    def run(self, whole: bool) -> Lowered:
        self.spread()
        self.place()
        kernel = None
        if whole:
            order = self.order()
            leaves = self.leaves(order)
            self.names = {n: f"in{i}" for i, n in enumerate(leaves)}
            for n in order:  # a leaf that is only read where nothing is read still needs a name
                self.names.setdefault(n, "")
            body = merge_loops(flatten_reductions(self.tree(self.build())))
            outs = [Memory(f"out{i}", r.dtype, r.size, written=True) for i, r in enumerate(self.outputs)]
            ins = [Memory(f"in{i}", n.dtype, n.size) for i, n in enumerate(leaves)]
            kernel = Kernel((*outs, *ins), body)
        nests = list(self.nests.values())
        return Lowered(kernel, nests, self.stopped, self)


def lower(roots: Sequence[Node], reads: Callable[[Node], bool]) -> Lowered:
    """The kernel that computes ``roots`` into memory of their own.

    Args:
        roots: nodes of one size; each becomes a parameter ``out0`` … in order.
        reads: whether a node is read from memory; such nodes become parameters ``in0`` …
    """
    return _Lowering(roots, reads).run(True)


def survey(
    roots: Sequence[Node], reads: Callable[[Node], bool], rank: Mapping[Node, int], slack: int
) -> Lowered:
    """As ``lower``, without building the tree: what the kernel would evaluate, and how often.

    ``rank`` puts operands before users; no node is visited that the kernel does not reach. It ends at the
    first reduction, from the roots down, that would be run more than ``slack`` times as often as it has
    results (0: at none): what lies below belongs to another kernel.
    """
    return _Lowering(roots, reads, rank, slack).run(False)
