"""Few columns filled up to a vector: the same meaning at every stage, and nothing is stored beyond them."""

from __future__ import annotations

import numpy as np
import pytest
import support as t

from portwright.core.fuse import fuse
from portwright.core.pipeline import fresh_kernel
from portwright.core.schedule import schedule

SPEC = t.spec(64, vector_registers=32, cache_bytes=(1 << 15, 1 << 20))
"""Vectors of 16 float32."""


def trail(root: t.Node) -> str:
    (group,) = fuse([root], SPEC)[1]
    return "; ".join(schedule(fresh_kernel(group), SPEC).trail)


def product(rows: int, terms: int, columns: int) -> t.Node:
    return t.matmul(t.integers((rows, terms)), t.integers((terms, columns), seed=1))


@pytest.mark.parametrize("columns", [5, 7, 10, 13, 15])
@pytest.mark.parametrize("rows", [128, 203])
@pytest.mark.parametrize("follows", [False, True], ids=["", "bias and relu"])
def test_a_product_with_few_columns_means_the_same(rows: int, columns: int, follows: bool) -> None:
    node = product(rows, 30, columns)
    if follows:
        bias = t.graph.broadcast_to(t.integers((columns,), seed=2), (rows, columns))
        node = t.op(t.Op.MAX, t.add(node, bias), 0.0)
    assert "widen i1 to 16" in trail(node)
    wanted = t.meaning(node)[0]
    for name, (got,) in t.by_stage([node], SPEC).items():
        assert np.array_equal(got, wanted), name
    assert np.array_equal(t.realized(node)[0], wanted)


@pytest.mark.parametrize(
    ("rows", "terms", "columns"),
    [(128, 30, 8), (128, 30, 16), (128, 30, 20), (20, 30, 10), (128, 20_000, 10)],
    ids=["half a vector", "a vector", "more than one", "few rows", "no room for the panel"],
)  # fmt: skip
def test_other_products_are_not_filled_up(rows: int, terms: int, columns: int) -> None:
    assert "widen" not in trail(product(rows, terms, columns))
