"""What tests of the engine share: graphs over placed arrays, every stage of their kernels, programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from portwright.core import dtype as dt
from portwright.core import engine, graph
from portwright.core.device import ALL_OPS, Device, Extra, Spec
from portwright.core.dtype import DType, as_dtype
from portwright.core.evaluate import evaluate
from portwright.core.expand import expand
from portwright.core.fold import fold_together
from portwright.core.fuse import Group, fuse
from portwright.core.graph import GraphOp, Node
from portwright.core.hoist import hoist
from portwright.core.interpret import interpret
from portwright.core.keep import keep_rows
from portwright.core.legal_tree import legalize_kernel
from portwright.core.loops import Kernel
from portwright.core.ops import Op
from portwright.core.pack import pack
from portwright.core.pipeline import fresh_kernel
from portwright.core.registry import open_device
from portwright.core.schedule import schedule
from portwright.core.verify import verify

Array = np.ndarray[Any, np.dtype[Any]]


def spec(vector_bytes: int = 16, *, threads: int = 2, **changes: Any) -> Spec:
    """A device that is only described: enough to fuse, legalize and schedule for."""
    made = Spec(
        "TEST",
        dtypes=frozenset(dt.ALL),
        native=ALL_OPS - {Op.EXP2, Op.LOG2, Op.SIN},
        arithmetic=frozenset(dt.ALL) - {dt.float16, dt.bfloat16} - dt.FLOAT8S,
        extras=frozenset({Extra.DIV}),
        vector_bytes=vector_bytes,
        threads=threads,
        private_bytes=2 << 20,
    )
    return replace(made, **changes)


# ------------------------------------------------------------------------------------------------ graphs


def place(array: Any, device: str = "CPU", dtype: DType | None = None) -> Node:
    """A leaf that holds an array."""
    array = np.asarray(array)
    if dtype is not None:
        array = array.astype(dtype.numpy)
    array = np.ascontiguousarray(array).reshape(array.shape)
    storage = engine.write(array, array.nbytes, open_device(device))
    return graph.buffer(storage, array.shape, as_dtype(array.dtype))


def integers(shape: tuple[int, ...], dtype: DType = dt.float32, seed: int = 0, device: str = "CPU") -> Node:
    """A leaf of small integers."""
    return place(np.random.default_rng(seed).integers(-4, 5, shape), device, dtype)


def full(value: float, like: Node) -> Node:
    return graph.full(value, like.shape, like.dtype)


def op(which: Op, *xs: Node | float) -> Node:
    """A primitive; operands are broadcast, numbers become constants beside the first node."""
    first = next(x for x in xs if isinstance(x, Node) and not (which is Op.WHERE and x is xs[0]))
    shape = np.broadcast_shapes(*(x.shape for x in xs if isinstance(x, Node)))
    nodes = [x if isinstance(x, Node) else graph.const(x, first.dtype) for x in xs]
    return graph.elementwise(which, *(graph.broadcast_to(x, shape) for x in nodes))


def add(a: Node, b: Node | float) -> Node:
    return op(Op.ADD, a, b)


def sub(a: Node, b: Node | float) -> Node:
    return op(Op.SUB, a, b)


def mul(a: Node, b: Node | float) -> Node:
    return op(Op.MUL, a, b)


def total(x: Node, axis: int, which: Op = Op.ADD) -> Node:
    """A reduction over one axis, which stays."""
    return graph.reduce(which, x, (axis % len(x.shape),))


def mean(x: Node, axis: int) -> Node:
    return mul(total(x, axis), 1 / x.shape[axis])


def exp(x: Node) -> Node:
    return op(Op.EXP2, mul(x, 1.4426950408889634))


def softmax(x: Node) -> Node:
    """Over the last axis."""
    e = exp(sub(x, total(x, -1, Op.MAX)))
    return mul(e, op(Op.RECIP, total(e, -1)))


def layernorm(x: Node) -> Node:
    """Over the last axis."""
    centred = sub(x, mean(x, -1))
    variance = mean(mul(centred, centred), -1)
    return mul(centred, op(Op.RECIP, op(Op.SQRT, add(variance, 1e-5))))


def matmul(a: Node, b: Node) -> Node:
    """Of two matrices: products over one more axis, folded."""
    (m, k), (_, n) = a.shape, b.shape
    wide = graph.reshape(a, (m, 1, k))
    tall = graph.reshape(graph.permute(b, (1, 0)), (1, n, k))
    return graph.reshape(total(mul(wide, tall), 2), (m, n))


# ------------------------------------------------------------------------------------------------ stages


@dataclass(frozen=True)
class Stage:
    """One stage of a group: its tree, after those of the operands that are laid out anew for it, by name."""

    name: str
    kernel: Kernel
    copies: tuple[tuple[str, Kernel], ...] = ()

    def then(self, name: str, step: Callable[[Kernel], Kernel]) -> Stage:
        return Stage(name, step(self.kernel), tuple((n, step(k)) for n, k in self.copies))


def stages(group: Group, spec: Spec) -> list[Stage]:
    """Every tree on the way from a group to text, each checked."""
    fresh = Stage("fresh", fresh_kernel(group))
    kept = fresh.then("kept", lambda k: keep_rows(k, spec))
    legal = kept.then("legal", lambda k: legalize_kernel(k, spec))
    made = pack(legal.kernel, spec)
    packed = Stage("packed", made.kernel, made.copies)
    scheduled = packed.then("scheduled", lambda k: schedule(k, spec))
    expanded = scheduled.then("expanded", expand)
    folded = expanded.then("folded", fold_together)
    out = [fresh, kept, legal, packed, scheduled, expanded, folded, folded.then("hoisted", hoist)]
    for s in out:
        verify(s.kernel)
        for _, k in s.copies:
            verify(k)
    return out


def run_tree(stage: Stage, group: Group, values: dict[Node, Array]) -> list[Array]:
    """The group's roots, by interpreting a stage of it over the arrays of what it reads."""
    memory = {f"out{i}": _unset(r.nbytes).view(r.dtype.numpy) for i, r in enumerate(group.roots)}
    memory |= {f"in{i}": np.ascontiguousarray(values[n]) for i, n in enumerate(group.reads)}
    for name, kernel in stage.copies:
        memory[name] = _unset(kernel.params[0].nbytes).view(kernel.params[0].dtype.numpy)
        interpret(kernel, memory | {"out0": memory[name]})
    interpret(stage.kernel, memory)
    return [memory[f"out{i}"].reshape(r.shape) for i, r in enumerate(group.roots)]


def _unset(nbytes: int) -> Array:
    return np.full(nbytes, 0xC3, np.uint8)


def by_stage(roots: Sequence[Node], spec: Spec) -> dict[str, list[Array]]:
    """The values of ``roots`` by interpreting each stage; later kernels read what fresh trees gave."""
    stand_ins, made = fuse(roots, spec)
    values: dict[Node, Array] = {}
    found: dict[str, dict[Node, Array]] = {}
    for group in made:
        for n in group.reads:
            if n not in values:
                values[n] = engine.read(n)
        if group.roots[0].op is GraphOp.COPY:
            values[group.roots[0]] = values[group.reads[0]]
            continue
        for stage in stages(group, spec):
            results = run_tree(stage, group, values)
            found.setdefault(stage.name, {}).update(zip(group.roots, results, strict=True))
        values.update((r, found["fresh"][r]) for r in group.roots)
    out: dict[str, list[Array]] = {}
    for name, results in found.items():
        out[name] = [
            results[r]
            if r in results
            else engine.read(r)
            if r.storage is not None
            else values.get(r, _empty(r))
            for r in stand_ins
        ]
    return out


def _empty(node: Node) -> Array:
    assert not node.size
    return np.empty(node.shape, node.dtype.numpy)


def meaning(*roots: Node) -> list[Array]:
    """What nodes mean, by the graph's own evaluation."""
    return evaluate(roots, engine.read)


def realized(*roots: Node, device: str = "CPU") -> list[Array]:
    """What a device computes for nodes."""
    engine.realize(roots, device)
    return [engine.read(r) for r in roots]


def device(name: str = "CPU") -> Device:
    return open_device(name)


# --------------------------------------------------------------------------------------- random programs

LARGEST = 1 << 20
"""Up to which integers every float32 operation of a program stays exact."""
MOST = 3000
"""Elements of a value, at most."""
_KINDS = (dt.float32, dt.float32, dt.int32, dt.int64, dt.uint8, dt.float64, dt.bool_)
_MOVES = ("permute", "expand", "pad", "shrink", "flip", "window", "reshape", "split")
_EXTENTS = st.sampled_from([0, 1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 67, 70])


@dataclass
class _Draw:
    """A program while it is drawn: values, each with the largest magnitude that it may have.

    Values are integers in whatever dtype, so small that no operation rounds: each way of running the program
    must give the very same numbers, in whatever order it folds.
    """

    draw: Callable[..., Any]
    pool: list[Node] = field(default_factory=list)
    bound: dict[Node, int] = field(default_factory=dict)

    def keep(self, node: Node, bound: int) -> None:
        if not node.dtype.is_float and bound > int(node.dtype.max):
            bound = int(node.dtype.max) + 1
        if node.size <= MOST and (not node.dtype.is_float or bound <= LARGEST):
            self.pool.append(node)
            self.bound[node] = max(bound, self.bound.get(node, 0))

    def one(self, accepts: Callable[[Node], bool] = lambda n: True) -> Node | None:
        fit = [n for n in self.pool if accepts(n)]
        return self.draw(st.sampled_from(fit[-6:])) if fit else None

    def axis(self, x: Node) -> int:
        return self.draw(st.integers(0, len(x.shape) - 1))

    def leaf(self) -> None:
        kind = self.draw(st.sampled_from(_KINDS))
        shape = tuple(self.draw(st.lists(_EXTENTS, min_size=1, max_size=3)))
        if int(np.prod(shape)) <= MOST:
            seed = self.draw(st.integers(0, 3))
            low = 0 if not kind.is_signed else -4
            data = np.random.default_rng(seed).integers(low, 2 if kind.is_bool else 5, shape)
            self.keep(place(data, dtype=kind), 4)

    def fitted(self, x: Node, shape: tuple[int, ...]) -> Node:
        """``x`` made to have another shape, by movement."""
        if x.shape == shape:
            return x
        size = int(np.prod(shape))
        if x.size == 1:
            return graph.expand(graph.reshape(x, (1,) * len(shape)), shape)
        flat = graph.reshape(x, (x.size,))
        if flat.size > size:
            start = self.draw(st.integers(0, flat.size - size))
            flat = graph.shrink(flat, [(start, start + size)])
        elif flat.size < size:
            before = self.draw(st.integers(0, size - flat.size))
            flat = graph.pad(flat, [(before, size - flat.size - before)])
        return graph.reshape(flat, shape)

    # ------------------------------------------------------------------ steps

    def binary(self) -> None:
        a = self.one()
        b = self.one(lambda n: a is not None and n.dtype is a.dtype)
        if a is None or b is None:
            return
        choices = [Op.ADD, Op.MUL, Op.MAX] + ([] if a.dtype.is_bool else [Op.SUB])
        choices += [] if a.dtype.is_float else [Op.AND, Op.OR, Op.XOR]
        which = self.draw(st.sampled_from(choices))
        m, n = self.bound[a], self.bound[b]
        grown = {Op.ADD: m + n, Op.SUB: m + n, Op.MUL: m * n, Op.MAX: max(m, n)}
        if a.dtype.kind is dt.Kind.UINT and which is Op.SUB:
            grown[which] = int(a.dtype.max)
        self.keep(op(which, a, self.fitted(b, a.shape)), grown.get(which, 2 * max(m, n, 1)))

    def unary(self) -> None:
        x = self.one(lambda n: n.dtype.is_signed)
        if x is not None:
            self.keep(op(Op.NEG, x), self.bound[x])

    def cast(self) -> None:
        x, to = self.one(), self.draw(st.sampled_from(_KINDS))
        if x is None or (x.dtype.is_float and not to.is_float and not to.is_bool and to.bits < 32):
            return
        wraps = to.is_int and to.kind is dt.Kind.UINT
        if x.dtype.is_float and wraps:
            return
        self.keep(graph.cast(x, to), int(to.max) if wraps else self.bound[x])

    def choose(self) -> None:
        a = self.one(lambda n: not n.dtype.is_bool)
        b = self.one(lambda n: a is not None and n.dtype is a.dtype)
        if a is None or b is None:
            return
        b = self.fitted(b, a.shape)
        test = op(self.draw(st.sampled_from([Op.CMPLT, Op.CMPNE])), a, b)
        self.keep(test, 1)
        self.keep(op(Op.WHERE, test, b, a), max(self.bound[a], self.bound.get(b, LARGEST), 4))

    def divide(self) -> None:
        x = self.one(lambda n: n.dtype.is_int)
        if x is not None:
            by = self.draw(st.integers(1, 9))
            self.keep(op(self.draw(st.sampled_from([Op.IDIV, Op.MOD])), x, by), self.bound[x])

    def reduce(self) -> None:
        x = self.one(lambda n: len(n.shape) > 0)
        if x is None:
            return
        axes = self.draw(st.sets(st.integers(0, len(x.shape) - 1), min_size=1))
        which = self.draw(st.sampled_from([Op.ADD, Op.ADD, Op.MAX]))
        folded = int(np.prod([x.shape[a] for a in axes]))
        if which is Op.MAX and not folded:
            return
        self.keep(graph.reduce(which, x, axes), self.bound[x] * (folded if which is Op.ADD else 1))

    def multiply(self) -> None:
        """A reduction of products: a matmul of some kind."""
        a = self.one(lambda n: len(n.shape) == 2 and not n.dtype.is_bool)
        if a is None:
            return
        b = integers((a.shape[1], self.draw(_EXTENTS)), a.dtype)
        bound = max(a.shape[1], 1) * self.bound[a] * (4 if a.dtype.is_signed else int(a.dtype.max))
        if a.size * b.shape[1] <= 4 * MOST:
            y = matmul(a, b)
            self.keep(y, bound)
            self.keep(graph.permute(y, (1, 0)), bound)

    def move(self) -> None:
        x = self.one(lambda n: len(n.shape) > 0)
        if x is None:
            return
        which = self.draw(st.sampled_from(list(_MOVES)))
        rank, axis = len(x.shape), self.axis(x)
        n = x.shape[axis]
        new = x
        if which == "permute":
            new = graph.permute(x, tuple(self.draw(st.permutations(range(rank)))))
        elif which == "expand" and n == 1:
            new = graph.expand(x, (*x.shape[:axis], self.draw(_EXTENTS), *x.shape[axis + 1 :]))
        elif which == "pad":
            new = graph.pad(x, [self.draw(st.tuples(st.integers(0, 3), st.integers(0, 3))) for _ in x.shape])
        elif which == "shrink":
            spans = [sorted(self.draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in x.shape]
            new = graph.shrink(x, [(a, b) for a, b in spans])
        elif which == "flip":
            new = graph.flip(x, self.draw(st.sets(st.integers(0, rank - 1))))
        elif which == "window" and n:
            size = self.draw(st.integers(1, min(n, 4)))
            dilation = self.draw(st.integers(1, 2)) if (size - 1) * 2 < n else 1
            new = graph.window(x, axis, size, self.draw(st.integers(1, 3)), dilation)
        elif which == "reshape":
            new = graph.reshape(x, (x.size,))
        elif which == "split" and n:
            by = self.draw(st.sampled_from([d for d in range(1, n + 1) if n % d == 0]))
            new = graph.reshape(x, (*x.shape[:axis], by, n // by, *x.shape[axis + 1 :]))
        if len(new.shape) <= 5:
            self.keep(new, self.bound[x])

    def memory(self) -> None:
        x = self.one()
        if x is not None:
            self.keep(graph.contiguous(x), self.bound[x])

    def iota(self) -> None:
        n = self.draw(_EXTENTS)
        self.keep(graph.iota(n, self.draw(st.sampled_from([dt.int32, dt.int64]))), n)

    def gather(self) -> None:
        x = self.one(lambda n: len(n.shape) > 0)
        at = self.one(lambda n: n.dtype.is_int)
        if x is not None and at is not None and at.size * x.size <= MOST * max(x.shape[0], 1):
            self.keep(graph.gather(x, at), self.bound[x])

    def scatter(self) -> None:
        x = self.one(lambda n: len(n.shape) > 0 and n.dtype is not dt.bool_)
        at = self.one(lambda n: n.dtype.is_int and n.size > 0)
        if x is None or at is None or at.size > 40:
            return
        index = graph.reshape(at, (at.size,))
        values = self.one(lambda n: n.dtype is x.dtype)
        assert values is not None
        which = self.draw(st.sampled_from([None, Op.ADD, Op.MAX]))
        grown = self.bound[x] + at.size * self.bound[values]
        rows = self.fitted(values, (at.size, *x.shape[1:]))
        if rows.size <= MOST:
            self.keep(graph.scatter(x, index, rows, which), grown)


@st.composite
def programs(draw: Callable[..., Any], most: int = 12) -> list[Node]:
    """One to three values of a random graph over integer-valued arrays."""
    program = _Draw(draw)
    program.keep(integers((5, 4)), 4)
    for _ in range(draw(st.integers(1, 2))):
        program.leaf()
    steps = [
        program.binary, program.binary, program.binary, program.unary, program.cast, program.choose,
        program.divide, program.reduce, program.reduce, program.multiply, program.move, program.move,
        program.move, program.memory, program.iota, program.gather, program.scatter,
    ]  # fmt: skip
    for _ in range(draw(st.integers(1, most))):
        draw(st.sampled_from(steps))()
    count = draw(st.integers(1, min(3, len(program.pool))))
    return list(dict.fromkeys(program.pool[-count:]))
