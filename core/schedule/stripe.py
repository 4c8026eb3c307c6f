"""Stripe: many results side by side are reduced together, their accumulators a row of scratch memory.

In: a loop over results that lie beside each other, each with an accumulator, its reduction, and what is done
with it. Out: the row set to the identity, the reduction's loops with the loop over results inside them, and
the loop over results again around the rest. What was read down a column, a page apart at each step, is read
along its rows.
"""

from __future__ import annotations

from dataclasses import replace

from .. import value as val
from ..index import variable
from ..loops import Acc, Bind, Body, Let, Loop, Memory, Scratch, Store, Update, values_of, with_values
from ..ops import Op, identity
from ..record import dataclass
from ..value import Access, Extra, Value
from .nest import perfect, wrap
from .transforms import chunks, split, split_chunks


@dataclass(frozen=True, slots=True)
class Column:
    """What a loop over results holds, where it can be striped.

    Attributes:
        acc: the accumulator.
        reduced: its loops, with nothing between them; lets and one update in the innermost.
        before, after: the other statements.
    """

    acc: Acc
    reduced: tuple[Loop, ...]
    before: Body
    after: tuple[Let | Store, ...]


def column(inner: Body) -> Column | None:
    """The one reduction of some statements, with what is around it; None where they have not just one."""
    at = next((i for i, s in enumerate(inner) if isinstance(s, Loop)), None)
    if at is None or sum(isinstance(s, Loop) for s in inner) != 1:
        return None
    accs = [s for s in inner if isinstance(s, Acc)]
    loop = inner[at]
    assert isinstance(loop, Loop)
    nest = perfect(loop)
    updates = [s for s in nest[-1].body if isinstance(s, Update)]
    plain = all(isinstance(s, Let | Update) for s in nest[-1].body)
    if len(accs) != 1 or len(updates) != 1 or not plain or updates[0].name != accs[0].name:
        return None
    before = tuple(s for s in inner[:at] if s is not accs[0])
    after = tuple(s for s in inner[at + 1 :] if isinstance(s, Let | Store))
    if not all(isinstance(s, Let) for s in before) or len(after) < len(inner) - at - 1:
        return None
    return Column(accs[0], tuple(nest), before, after)


@dataclass(frozen=True, slots=True)
class Stripe:
    """A loop over results as three.

    Attributes:
        row: the accumulators' memory.
        begin: sets them to the identity.
        reduction: the reduction's loops around one over the results.
        end: what is done with each.
    """

    row: Memory
    begin: Loop
    reduction: Loop
    end: Loop

    @property
    def body(self) -> Body:
        """One after another."""
        return (Scratch(self.row), self.begin, self.reduction, self.end)


def stripe(loop: Loop, name: str, fused: bool = False) -> Stripe:
    """The loop over results as three: one that begins them, one inside the reduction's, one that ends them.

    Args:
        loop: over the results; ``column`` of its body is not None.
        name: of the scratch memory.
        fused: whether a product that is added to a sum may be rounded with it: the device offers FMA.
    """
    held = column(loop.body)
    assert held is not None
    acc, at = held.acc, variable(loop.var, loop.extent)
    row = val.make(Op.LOAD, acc.dtype, (), Access(name, at, ()))
    start = val.number(identity(acc.op, acc.dtype), acc.dtype)
    steps: list[Let | Store] = []
    for s in held.reduced[-1].body:
        assert isinstance(s, Let | Update)
        steps.append(s if isinstance(s, Let) else Store(name, at, _folded(acc.op, row, s.value, fused)))
    inside = replace(loop, body=(*held.before, *steps))
    ends = replace(loop, body=(*held.before, *(reading(s, acc.name, row) for s in held.after)))
    return Stripe(
        Memory(name, acc.dtype, loop.extent, written=True),
        replace(loop, body=(Store(name, at, start),)),
        wrap(held.reduced, (inside,)),
        ends,
    )


def _folded(op: Op, row: Value, value: Value, fused: bool) -> Value:
    if fused and op is Op.ADD and value.op is Op.MUL and value.dtype.is_float:
        a, b = value.srcs
        return val.fma(a, b, row)
    return val.primitive(op, row, value)


ROWS = 8
"""Steps of the reduction in one pass over a stripe's accumulators."""


def striped(loop: Loop, lanes: int, fused: bool = False) -> Body:
    """``stripe``, with the loops over results as vectors, and several steps of the reduction at a time."""
    made = stripe(loop, f"row_{loop.var}", fused)
    pieces = chunks(loop.extent, lanes, 1)
    *around, inside = perfect(made.reduction)
    steps = split(replace(around[-1], body=split_chunks(inside, pieces)), ROWS, Bind.UNROLL)
    if around[:-1]:
        steps = (wrap(around[:-1], steps),)
    begin, end = split_chunks(made.begin, pieces), split_chunks(made.end, pieces)
    return (Scratch(made.row), *begin, *steps, *end)


def reading(s: Let | Store, name: str, row: Value) -> Let | Store:
    """The statement with the accumulator's last value read from the row."""

    def rule(v: Value, srcs: tuple[Value, ...]) -> Value | None:
        return row if v.op is Extra.REF and v.arg == name else None

    made = with_values(s, val.rewrite(values_of(s), rule))
    assert isinstance(made, Let | Store)
    return made
