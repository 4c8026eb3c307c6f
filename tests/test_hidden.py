"""Blocks of terms that no row sees: found where they are, never where a row sees one, and left out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import support as t

from portwright import Tensor, jit
from portwright.core import engine
from portwright.core import value as val
from portwright.core.dtype import bool_, float32, int32
from portwright.core.hidden import hidden_from
from portwright.core.index import Index, variable
from portwright.core.loops import Loop, statements
from portwright.core.ops import Op
from portwright.core.value import Extra, Value

NOTHING = float("-inf")
X, NONE = val.ref("x", float32), val.number(NOTHING, float32)
ROWS, EACH, BLOCKS = 12, 8, 5
HERE = (Loop("i", ROWS, ()), Loop("j", EACH, ()))
COLUMN = variable("terms", BLOCKS) * EACH + variable("j", EACH)


def number(index: Index) -> Value:
    return val.make(Extra.INDEX, int32, (), index)


def less(a: Index, b: Index) -> Value:
    return val.primitive(Op.CMPLT, number(a), number(b))


def negated(v: Value) -> Value:
    return val.primitive(Op.XOR, v, val.number(True, bool_))


def row(offset: int) -> Index:
    return variable("block", 3) * ROWS + variable("i", ROWS) + offset


MASKS: dict[str, tuple[Callable[[int], Value], Callable[[int, int, int], bool]]] = {
    "seen where not row < column": (
        lambda o: val.where(negated(less(row(o), COLUMN)), X, NONE),
        lambda i, j, o: i + o < j,
    ),
    "hidden where row < column": (
        lambda o: val.where(less(row(o), COLUMN), NONE, X),
        lambda i, j, o: i + o < j,
    ),
    "seen where column < row": (
        lambda o: val.where(less(COLUMN, row(o)), X, NONE),
        lambda i, j, o: i + o <= j,
    ),
}


@pytest.mark.parametrize("offset", [0, 1, 5, 9])
@pytest.mark.parametrize("mask", MASKS)
def test_it_is_the_first_block_that_no_row_sees(mask: str, offset: int) -> None:
    score, hides = MASKS[mask]
    until = hidden_from(score(offset), NOTHING, "terms", HERE)
    assert until is not None
    for block in range(3):
        rows = range(block * ROWS, (block + 1) * ROWS)
        unseen = [
            all(hides(i, n * EACH + j, offset) for i in rows for j in range(EACH)) for n in range(BLOCKS)
        ]
        first = until.substitute({"block": variable("b", 1) + block})
        assert first.is_const
        assert unseen == [n >= first.const for n in range(BLOCKS)]


@pytest.mark.parametrize(
    "score",
    [
        X,
        val.where(less(row(0), COLUMN), X, NONE),  # the last columns are seen
        val.where(less(row(0), COLUMN), val.number(0.0, float32), X),
        val.where(negated(less(COLUMN, row(0))), X, NONE),
        val.where(val.ref("mask", bool_), X, NONE),
        val.where(less(row(0), COLUMN % 7), NONE, X),
        val.where(val.primitive(Op.AND, less(row(0), COLUMN), val.ref("m", bool_)), NONE, X),
    ],
)
def test_of_other_masks_nothing_is_left_out(score: Value) -> None:
    assert hidden_from(score, NOTHING, "terms", HERE) is None


@pytest.mark.parametrize(("length", "heads"), [(1024, 2), (1030, 1)])
def test_causal_attention_leaves_out_what_comes_later(length: int, heads: int) -> None:
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((1, heads, length, 16)).astype(np.float32) for _ in "qkv")

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return q.scaled_dot_product_attention(k, v, is_causal=True)

    lazy = attend(*map(Tensor, (q, k, v)))
    if t.device().spec.near_bytes:
        (kernel,) = engine.kernels([lazy.node], "CPU")
        (blocks,) = (s for s in statements(kernel.loops.body) if isinstance(s, Loop) and s.until is not None)
        assert f"{blocks.var} < {blocks.extent} && " in kernel.source
    scores = q.astype(np.float64) @ k.astype(np.float64).swapaxes(-1, -2) / 4
    scores = np.where(np.tri(length, dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    wanted = weights / weights.sum(-1, keepdims=True) @ v
    f = jit(attend)
    for _ in range(3):
        assert np.abs(f(*map(Tensor, (q, k, v))).numpy() - wanted).max() < 5e-6
    assert np.abs(lazy.numpy() - wanted).max() < 5e-6
