"""Random programs: graphs of all kinds of nodes over small arrays, made of choices.

Every value is a part of one box of axes, each whole or folded to 1, so that any two can meet. A step whose
values could leave a tame range is taken back, and another is drawn: what is compared is always well defined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..core import dtype as dtypes
from ..core import graph
from ..core.dtype import DType
from ..core.graph import Node, Shape
from ..core.ops import Op
from .choices import Choices
from .enclosure import Enclosure
from .inputs import Array, Rng, samples

SIZES = (1, 2, 3, 4, 7, 8, 9, 17)
"""Of axes."""
MOST = 4096.0
"""How large a float value may become."""
WIDEST = 2.0**-4
"""How wide an interval may become, against the largest value beside it."""


class Programs:
    """Makes programs.

    Args:
        choices: what of.
        place: puts an array into the device's memory.
        enclosure: says what a value may be.
        kinds: the dtypes that the programs compute in; the first is the one they start from.
    """

    def __init__(
        self,
        choices: Choices,
        place: Callable[[Array], Node],
        enclosure: Enclosure,
        kinds: Sequence[DType],
    ) -> None:
        self.choices = choices
        self.place = place
        self.enclosure = enclosure
        self.kinds = kinds

    def draw(self, steps: int) -> list[Node]:
        """One to three values of a program of so many steps, the last step among them.

        Of choices that are told, there may be fewer steps; none gives no value.
        """
        axes = self.choices.integer(1, 3)
        box = tuple(SIZES[self.choices.integer(0, len(SIZES) - 1)] for _ in range(axes))
        pool = [self.leaf(self.part(box), self.kinds[i % len(self.kinds)]) for i in range(3)]
        made: list[Node] = []
        others: list[Node] = []

        def one_more(choices: Choices) -> None:
            new, is_kept = self.step(pool, box), choices.chance(2 / steps)
            if new is not None and new not in pool:
                pool.append(new)
                made.append(new)
                others.extend([new] if is_kept else [])

        while self.choices.more(len(made) < steps):
            self.choices.piece(one_more)
        return [*[n for n in others if n is not made[-1]][:2], *made[-1:]]

    def pick(self, pool: Sequence[Node], accepts: Callable[[DType], bool]) -> Node | None:
        """A value of an accepted dtype; later ones more often."""
        fit = [n for n in pool if accepts(n.dtype)]
        return fit[self.choices.integer(0, len(fit) - 1, leaning=0.6)] if fit else None

    def partner(self, pool: Sequence[Node], a: Node) -> Node:
        """A value of the dtype of ``a``; it itself if there is no other."""
        return self.pick(pool, lambda d: d is a.dtype) or a

    def part(self, box: Shape) -> Shape:
        """The box with some axes folded to 1."""
        return tuple(1 if self.choices.chance(0.2) else n for n in box)

    def leaf(self, shape: Shape, dtype: DType) -> Node:
        """A placed array of tame values."""
        return self.place(self.choices.array(dtype, int(np.prod(shape)), tame_values).reshape(shape))

    def step(self, pool: Sequence[Node], box: Shape) -> Node | None:
        """One more value, or None when the one that was drawn does not do."""
        draws = (
            self.arithmetic, self.arithmetic, self.arithmetic, self.function, self.choice, self.integer,
            self.integer, self.cast, self.reduction, self.reduction, self.movement, self.memory,
        )  # fmt: skip
        new = draws[self.choices.integer(0, len(draws) - 1)](pool, box)
        return new if new is not None and self.tame(new) else None

    def tame(self, node: Node) -> bool:
        """True when the value is bounded, and known well enough for a comparison to mean something."""
        interval = self.enclosure.of(node)
        if not node.dtype.is_float:
            return interval.is_point
        if not interval.is_finite or not interval.low.size:
            return False
        largest = float(max(np.abs(interval.low).max(), np.abs(interval.high).max()))
        return largest <= MOST and float((interval.high - interval.low).max()) <= WIDEST * max(largest, 1.0)

    def meet(self, a: Node, b: Node) -> tuple[Node, Node]:
        """Both, expanded to one shape."""
        shape = tuple(max(m, n) for m, n in zip(a.shape, b.shape, strict=True))
        return graph.expand(a, shape), graph.expand(b, shape)

    def constant(self, like: Node) -> Node:
        """A number that kernels know."""
        value = self.choices.integer(-24, 24) / 8
        return graph.full(value if like.dtype.is_float else int(value), like.shape, like.dtype)

    def arithmetic(self, pool: Sequence[Node], box: Shape) -> Node | None:
        """ADD, SUB, MUL or MAX of two values of one dtype."""
        a = self.pick(pool, lambda d: not d.is_bool)
        if a is None:
            return None
        b = self.partner(pool, a) if self.choices.chance(0.8) else self.constant(a)
        op = (Op.ADD, Op.SUB, Op.MUL, Op.MAX)[self.choices.integer(0, 3)]
        return graph.elementwise(op, *self.meet(a, b))

    def function(self, pool: Sequence[Node], box: Shape) -> Node | None:
        """A unary float primitive, of an operand in its domain."""
        x = self.pick(pool, lambda d: d.is_float)
        if x is None:
            return None
        op = (Op.NEG, Op.SIN, Op.EXP2, Op.LOG2, Op.SQRT, Op.RECIP)[self.choices.integer(0, 5)]
        if op in (Op.LOG2, Op.SQRT, Op.RECIP):
            floor = graph.full(0.125, x.shape, x.dtype)
            x = graph.elementwise(Op.MAX, x, floor)
        if op is Op.EXP2 and self.choices.chance(0.5):
            x = graph.elementwise(Op.SIN, x)
        return graph.elementwise(op, x)

    def choice(self, pool: Sequence[Node], box: Shape) -> Node | None:
        """WHERE one value is less than another, or differs from it."""
        a = self.pick(pool, lambda d: not d.is_bool)
        if a is None:
            return None
        b = self.partner(pool, a)
        a, b = self.meet(a, b)
        test = graph.elementwise((Op.CMPLT, Op.CMPNE)[self.choices.integer(0, 1)], a, b)
        c = self.pick(pool, lambda d: True)
        assert c is not None
        shape = tuple(max(m, n) for m, n in zip(test.shape, c.shape, strict=True))
        other = self.constant(c) if not c.dtype.is_bool else graph.full(True, c.shape, c.dtype)
        return graph.elementwise(Op.WHERE, *(graph.expand(x, shape) for x in (test, c, other)))

    def integer(self, pool: Sequence[Node], box: Shape) -> Node | None:
        """A bit operation, a shift, a quotient or a remainder, guarded as core guards them."""
        a = self.pick(pool, lambda d: d.is_int)
        if a is None:
            return None
        b = self.partner(pool, a)
        a, b = self.meet(a, b)
        op = (Op.AND, Op.OR, Op.XOR, Op.SHL, Op.SHR, Op.IDIV, Op.MOD)[self.choices.integer(0, 6)]
        if op in (Op.SHL, Op.SHR):
            b = graph.elementwise(Op.AND, b, graph.full(a.dtype.bits - 1, a.shape, a.dtype))
        if op in (Op.IDIV, Op.MOD):  # an odd divisor, never -1
            b = graph.elementwise(Op.AND, b, graph.full(int(a.dtype.max) >> 1, a.shape, a.dtype))
            b = graph.elementwise(Op.OR, b, graph.full(1, a.shape, a.dtype))
        return graph.elementwise(op, a, b)

    def cast(self, pool: Sequence[Node], box: Shape) -> Node | None:
        """A value in another of the program's dtypes."""
        x = self.pick(pool, lambda d: True)
        to = self.kinds[self.choices.integer(0, len(self.kinds) - 1)]
        return None if x is None or x.dtype is to else graph.cast(x, to)

    def reduction(self, pool: Sequence[Node], box: Shape) -> Node | None:
        """Some axes folded."""
        x = self.pick(pool, lambda d: d is not dtypes.bool_)
        if x is None:
            return None
        axes = [i for i, n in enumerate(x.shape) if n > 1 and self.choices.chance(0.6)]
        return graph.reduce((Op.ADD, Op.MAX)[self.choices.integer(0, 1)], x, axes) if axes else None

    def movement(self, pool: Sequence[Node], box: Shape) -> Node | None:
        """Backwards, shifted with zeros coming in, through another shape, or summed over windows."""
        x = self.pick(pool, lambda d: True)
        wide = [i for i, n in enumerate(x.shape) if n > 1] if x is not None else []
        if x is None or not wide:
            return None
        axis = wide[self.choices.integer(0, len(wide) - 1)]
        kind = self.choices.integer(0, 3)
        if kind == 0:
            return graph.flip(x, (axis,))
        if kind == 1:
            spans = [(1, 0) if i == axis else (0, 0) for i in range(len(x.shape))]
            return graph.shrink(graph.pad(x, spans), [(0, n) for n in x.shape])
        if kind == 2:
            flat = graph.flip(graph.reshape(x, (x.size,)), (0,))
            return graph.reshape(flat, x.shape)
        if x.dtype.is_bool:
            return None
        spans = [(1, 1) if i == axis else (0, 0) for i in range(len(x.shape))]
        windows = graph.window(graph.pad(x, spans), axis, 3)
        return graph.reshape(graph.reduce(Op.ADD, windows, (len(x.shape),)), x.shape)

    def memory(self, pool: Sequence[Node], box: Shape) -> Node | None:
        """A value put into memory on the way."""
        x = self.pick(pool, lambda d: True)
        return None if x is None else graph.contiguous(x)


def tame_values(dtype: DType, rng: Rng, n: int) -> Array:
    """Floats of which sums and products stay finite; other dtypes over all their values."""
    if not dtype.is_float:
        return samples(dtype, rng, n)
    values = rng.standard_normal(n) * 2.0 ** rng.integers(-2, 3, n)
    return values.astype(np.float32).astype(dtype.numpy)
