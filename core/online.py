"""Rows that are normalised by their own greatest, some terms at a time: a softmax that never holds a row.

In: a chain (``chain``) of scores, their softmax, and sums that it weighs: for each row ``i``

    m = max x[i, j]    l = Σ exp(x[i, j] - m)    y[i, d] = Σ (exp(x[i, j] - m) / l) · v[j, d]

with all of a row's scores in scratch memory. Out: the same with the scores of some ``j`` at a time. Of each
row the greatest so far, the sum so far and the results so far are kept; where the greatest grows, sum and
results shrink by exp(old - new), and the results are divided by the sum at the end. So the memory of a block
does not grow with the number of terms, and as many rows share what is packed of each operand as there is room
for. Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018); Dao et al., "FlashAttention"
(2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from math import prod

from . import graph
from . import value as val
from .chain import TRIED, chain, keeps_busy, numbers_of_blocks
from .device import Spec
from .dtype import DType
from .elementary.basic import Expr
from .elementary.exponential import scaled_exp
from .hidden import hidden_from
from .index import Index, constant, flatten, variable
from .loops import (
    Acc,
    Body,
    Kernel,
    Let,
    Loop,
    Memory,
    Scratch,
    Stmt,
    Store,
    Update,
    statements,
    values,
    values_of,
)
from .lower import lower
from .ops import Op, identity
from .record import dataclass
from .rename import rename, substitute
from .schedule.nest import perfect, wrap
from .schedule.stripe import Column, column, reading
from .siblings import Cut
from .value import Access, Value, toposort

TERMS = "terms"
"""The variable of the loop over blocks of terms."""
TERMS_AT_ONCE = 256
"""In a block, at most."""
EXPONENT = "exponent"
"""What stands for the exponent in a pattern of exp: a name of no tree."""


@dataclass(frozen=True, slots=True)
class _Chain:
    """The three kernels of one block.

    Attributes:
        rows, terms: how many.
        scores: the loops over rows and terms, and what stores a score.
        held, weights: memory of the scores, and of what is made of them.
        power: exp of ``EXPONENT``.
        results: the loops over rows and results, around ``sums``.
        sums: the weighted sum of one result.
    """

    rows: int
    terms: int
    scores: tuple[Loop, Loop]
    held: Memory
    weights: Memory
    power: Value
    results: tuple[Loop, ...]
    sums: Column


def online(kernel: Kernel, terms: int) -> Kernel | None:
    """The chain with so many terms at a time; None where it is no such chain, or has no more of them."""
    found = _block_of(kernel)
    if found is None or found.terms <= terms:
        return None
    (outer,) = kernel.body
    assert isinstance(outer, Loop)
    return kernel.with_body((replace(outer, body=_rewritten(found, terms)),))


def online_cut_for(kernels: Sequence[Kernel], spec: Spec, masked: bool = False) -> Cut | None:
    """How kernels had better be cut that are such a chain; None where they are none, or are too few.

    As many rows share a block of terms as half of a near cache holds the scores and results of, and keep the
    threads busy.

    Args:
        kernels: scores, their softmax, and what it weighs.
        spec: the device's.
        masked: whether that is wanted only where blocks of terms can be left out.
    """
    if len(kernels) != 3:
        return None
    refused = 0
    around = _around(kernels[-1])
    for blocks in numbers_of_blocks(kernels[-1]):
        if blocks % around or not keeps_busy(blocks, spec.threads):
            continue
        made = chain(kernels, blocks)
        if made is None:
            refused += 1
            if refused == TRIED:
                return None
            continue
        found = _block_of(made)
        if found is None or found.terms <= TERMS_AT_ONCE:
            return None
        evenly = (n for n in range(TERMS_AT_ONCE, TERMS_AT_ONCE // 2, -1) if found.terms % n == 0)
        terms = next(evenly, TERMS_AT_ONCE)
        each = (terms + prod(n.extent for n in found.results[1:])) * found.held.dtype.itemsize
        if found.rows * each <= spec.near_bytes // 2:
            start = variable(TERMS, found.terms // terms) * terms
            return None if masked and _hidden(found, start, terms) is None else Cut(blocks, terms)
    return None


def _around(kernel: Kernel) -> int:
    """How many matrices of results there are: a block is rows of one."""
    nest = perfect(kernel.body[0]) if isinstance(kernel.body[0], Loop) else []
    return prod(n.extent for n in nest[:-2])


# --------------------------------------------------------------------------------------------- what it finds


def _block_of(kernel: Kernel) -> _Chain | None:
    """What one block of a chain is, where it is such a chain."""
    (outer,) = kernel.body
    assert isinstance(outer, Loop)
    body = outer.body
    scratch = [s.memory for s in body if isinstance(s, Scratch)]
    nests = [s for s in body if isinstance(s, Loop)]
    if len(body) != 5 or len(scratch) != 2 or len(nests) != 3:
        return None
    held, weights = scratch
    first, second, third = map(perfect, nests)
    if len(first) != 2 or len(second) != 1 or len(third) < 2 or held.dtype is not weights.dtype:
        return None
    rows, terms = (n.extent for n in first)
    if second[0].extent != rows or third[0].extent != rows or rows * terms != held.size:
        return None
    scored = [s for s in first[1].body if isinstance(s, Store)]
    if len(scored) != 1 or scored[0].guard or scored[0].index != _at(*first):
        return None
    power = _softmax(second[0], terms, held, weights)
    sums = column(third[-1].body)
    if power is None or sums is None or not _weighs(third, sums, terms, held, weights):
        return None
    return _Chain(rows, terms, (first[0], first[1]), held, weights, power, tuple(third), sums)


def _at(row: Loop, term: Loop) -> Index:
    return variable(row.var, row.extent) * term.extent + variable(term.var, term.extent)


def _load(memory: Memory, index: Index) -> Value:
    return val.make(Op.LOAD, memory.dtype, (), Access(memory.name, index, ()))


def _softmax(row: Loop, terms: int, held: Memory, weights: Memory) -> Value | None:
    """The exp of a softmax of ``held`` that is stored to ``weights``; None of anything else."""
    kinds = (Acc, Loop, Acc, Loop, Loop)
    if len(row.body) != 5 or not all(isinstance(s, k) for s, k in zip(row.body, kinds, strict=True)):
        return None
    greatest, over, total, adds, stores = row.body
    assert isinstance(greatest, Acc) and isinstance(total, Acc)  # noqa: PT018 - of one kind
    inner: list[tuple[Loop, Stmt]] = []
    for loop in (over, adds, stores):
        assert isinstance(loop, Loop)
        if loop.extent != terms or len(loop.body) != 1:
            return None
        inner.append((loop, loop.body[0]))
    (i, most), (j, added), (k, stored) = inner
    if greatest.op is not Op.MAX or most != Update(greatest.name, Op.MAX, _load(held, _at(row, i))):
        return None
    top = val.ref(greatest.name, greatest.dtype)
    share = val.primitive(Op.RECIP, val.ref(total.name, total.dtype))
    for power in _powers(held.dtype):
        one, other = (_of(power, val.primitive(Op.SUB, _load(held, _at(row, n)), top)) for n in (j, k))
        products = [val.primitive(Op.MUL, *pair) for pair in ((other, share), (share, other))]
        known = added == Update(total.name, Op.ADD, one) and total.op is Op.ADD
        if known and any(stored == Store(weights.name, _at(row, k), p) for p in products):
            return power
    return None


def _weighs(nest: list[Loop], sums: Column, terms: int, held: Memory, weights: Memory) -> bool:
    """Whether a sum has the weights of its row as a factor of each term, and nothing else reads them."""
    (*outer, reduced) = sums.reduced
    if outer or reduced.extent != terms or sums.before or sums.acc.op is not Op.ADD or len(reduced.body) != 1:
        return False
    (update,) = reduced.body
    weight = _load(weights, _at(nest[0], reduced))
    assert isinstance(update, Update)
    if update.value.op is not Op.MUL or sum(s is weight for s in update.value.srcs) != 1:
        return False
    read = toposort([*values((reduced,)), *(x for s in sums.after for x in values_of(s))])
    others = [v.arg for v in read if isinstance(v.arg, Access) and v is not weight]
    return all(access.memory not in (held.name, weights.name) for access in others)


@cache
def _powers(dtype: DType) -> tuple[Value, ...]:
    """exp of EXPONENT, as it is built for what is at most 0 and for any number."""
    if not dtype.is_float or dtype.bits < 32:
        return ()
    x = graph.parameter(graph.full(1.0, (2,), dtype))
    out = []
    for node in (scaled_exp(Expr(x), most=0.0).node, scaled_exp(Expr(x)).node):
        kernel = lower((node,), lambda n: n is x).kernel
        assert kernel is not None
        ((store,),) = (s.body for s in kernel.body if isinstance(s, Loop))
        assert isinstance(store, Store)
        (read,) = (v for v in toposort([store.value]) if v.op is Op.LOAD)
        out.append(_replaced(store.value, read, val.ref(EXPONENT, dtype)))
    return tuple(out)


def _of(power: Value, exponent: Value) -> Value:
    return _replaced(power, val.ref(EXPONENT, exponent.dtype), exponent)


def _replaced(value: Value, old: Value, new: Value) -> Value:
    return val.rewrite([value], lambda v, _: None, {old: new})[0]


# ---------------------------------------------------------------------------------------------- what it makes


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept of each row from block to block, and what its sums shrink by in this one."""

    top: Memory
    total: Memory
    factor: Memory
    sums: Memory


def _rewritten(c: _Chain, terms: int) -> Body:
    """The chain's block: what is kept is set, each block of terms adds to it, and results come of it."""
    row, width = c.results[0], prod(n.extent for n in c.results[1:])
    kept = _Kept(*(
        Memory(name, c.held.dtype, c.rows * size, written=True)
        for name, size in (("top", 1), ("total", 1), ("factor", 1), ("sums", width))
    ))  # fmt: skip
    at, result = variable(row.var, c.rows), _result(c)
    zero = val.number(0.0, c.held.dtype)
    none = val.number(identity(Op.MAX, c.held.dtype), c.held.dtype)
    scores = replace(c.held, size=c.rows * terms)
    whole, rest = divmod(c.terms, terms)
    start = variable(TERMS, whole) * terms
    blocks: list[Stmt] = [
        Loop(TERMS, whole, _block(c, kept, scores, start, terms), until=_hidden(c, start, terms))
    ]
    if rest:
        made = _block(c, kept, scores, constant(whole * terms), rest)
        own = {s.name: f"{s.name}_rest" for s in statements(made) if isinstance(s, Let | Acc)}
        blocks += rename(made, own)
    share = val.primitive(Op.RECIP, _load(kept.total, at))
    last = val.primitive(Op.MUL, _load(kept.sums, result), share)
    return (
        *(Scratch(m) for m in (scores, kept.top, kept.total, kept.factor, kept.sums)),
        replace(row, body=(Store(kept.top.name, at, none), Store(kept.total.name, at, zero))),
        wrap(c.results, (Store(kept.sums.name, result, zero),)),
        *blocks,
        wrap(c.results, tuple(reading(s, c.sums.acc.name, last) for s in c.sums.after)),
    )


def _hidden(c: _Chain, start: Index, terms: int) -> Index | None:
    """The block of terms from which on no row sees any, as under a causal mask."""
    rows, each = c.scores
    at = start + variable(each.var, terms)
    (score,) = (s.value for s in substitute(each.body, {each.var: at}) if isinstance(s, Store))
    nothing = identity(Op.MAX, c.held.dtype)
    return hidden_from(score, nothing, TERMS, (rows, replace(each, extent=terms)))


def _result(c: _Chain) -> Index:
    """Where the sum of a result is kept."""
    return flatten((variable(n.var, n.extent) for n in c.results), tuple(n.extent for n in c.results))


def _block(c: _Chain, kept: _Kept, scores: Memory, start: Index, terms: int) -> Body:
    """What some terms, from ``start``, do to what is kept."""
    (rows, each), row, (reduced,) = c.scores, c.results[0], c.sums.reduced
    term = Loop(each.var, terms, ())
    inside = substitute(each.body, {each.var: start + variable(each.var, terms)})
    scored = tuple(replace(s, index=_at(rows, term)) if isinstance(s, Store) else s for s in inside)
    here = Loop(reduced.var, terms, ())
    weight = _load(scores, _at(row, here))
    (update,) = reduced.body
    assert isinstance(update, Update)
    (a, b) = update.value.srcs
    is_weight = isinstance(a.arg, Access) and a.arg.memory == c.weights.name
    (added,) = substitute(
        (replace(update, value=b if is_weight else a),), {reduced.var: start + variable(reduced.var, terms)}
    )
    assert isinstance(added, Update)
    pair = (weight, added.value) if is_weight else (added.value, weight)
    weighed = replace(update, value=val.make(Op.MUL, weight.dtype, pair, update.value.arg))
    factor = _load(kept.factor, variable(row.var, c.rows))
    sums, result = c.sums.acc, _result(c)
    shrunk = val.primitive(Op.MUL, _load(kept.sums, result), factor)
    grown = val.primitive(Op.ADD, shrunk, val.ref(sums.name, sums.dtype))
    return (
        replace(rows, body=(replace(term, body=scored),)),
        replace(row, body=_normalised(c, kept, scores, replace(here, var=reduced.var))),
        wrap(c.results, (sums, replace(here, body=(weighed,)), Store(kept.sums.name, result, grown))),
    )


def _normalised(c: _Chain, kept: _Kept, scores: Memory, term: Loop) -> Body:
    """Of one row: its greatest so far, its scores as weights beside that, and its sum so far."""
    row, dtype = c.results[0], scores.dtype
    at, score = variable(row.var, c.rows), _load(scores, _at(row, term))
    none = val.number(identity(Op.MAX, dtype), dtype)
    most, total = Acc("block_top", Op.MAX, dtype), Acc("block_total", Op.ADD, dtype)
    new, base, weight, factor = (val.ref(name, dtype) for name in ("new_top", "base", "weight", "shrink"))
    before = _load(kept.top, at)
    # of a row without any score yet, whose greatest is -inf, every weight is 0
    finite = val.where(val.primitive(Op.CMPNE, new, none), new, val.number(0.0, dtype))
    shrunk = val.primitive(Op.MUL, _load(kept.total, at), factor)
    return (
        most,
        replace(term, body=(Update(most.name, Op.MAX, score),)),
        Let("new_top", val.primitive(Op.MAX, before, val.ref(most.name, dtype))),
        Let("base", finite),
        total,
        replace(term, body=(
            Let("weight", _of(c.power, val.primitive(Op.SUB, score, base))),
            Store(scores.name, _at(row, term), weight),
            Update(total.name, Op.ADD, weight),
        )),
        Let("shrink", _of(c.power, val.primitive(Op.SUB, before, base))),
        Store(kept.factor.name, at, factor),
        Store(kept.total.name, at, val.primitive(Op.ADD, shrunk, val.ref(total.name, dtype))),
        Store(kept.top.name, at, new),
    )  # fmt: skip
