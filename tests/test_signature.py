"""The key of a graph: the same for the same structure over other memory, another for everything else."""

from __future__ import annotations

import numpy as np
import pytest

from portwright import Tensor
from portwright.core.node import Node
from portwright.core.signature import Key, signature


def placed(*shape: int, dtype: type = np.float32) -> Tensor:
    return Tensor(np.ones(shape, dtype), device="NUMPY").realize()


def has_storage(n: Node) -> bool:
    return n.storage is not None


def key(*tensors: Tensor) -> Key:
    return signature([t.node for t in tensors], has_storage)[0]


def test_memory_makes_no_difference() -> None:
    a, b = placed(2, 3), placed(2, 3)
    assert a.node is not b.node
    assert key((a + 1).exp() * a) == key((b + 1).exp() * b)


@pytest.mark.parametrize(
    "other",
    [
        lambda x: x + 2,
        lambda x: x - 1,
        lambda x: x + -0.0,
        lambda x: (x + 1).reshape(3, 2),
        lambda x: placed(3, 2) + 1,
        lambda x: placed(2, 3, dtype=np.float64) + 1,
        lambda x: x.to("CPU") + 1,
        lambda x: x + x,
    ],
    ids=["number", "op", "zero", "view", "shape", "dtype", "device", "operand"],
)
def test_what_makes_a_difference(other) -> None:  # type: ignore[no-untyped-def]
    x = placed(2, 3)
    assert key(x + 1) != key(other(x))
    assert key(x + 0.0) != key(other(x))


def test_which_operand_is_which() -> None:
    a, b = placed(4), placed(4)
    assert key(a - b) == key(b - a)
    assert key((a - b) * a) != key((a - b) * b)
    assert key(a + 1, a + 2) != key(a + 2, a + 1)


def test_leaves_come_as_they_are_met_and_once() -> None:
    a, b = placed(4), placed(4)
    _, leaves = signature([((b - a) * b + a).node], has_storage)
    assert leaves == [b.node, a.node]


def test_what_was_realized_is_a_leaf() -> None:
    a = placed(4)
    b = (a + 1).realize()
    assert signature([(b * 2).node], has_storage)[1] == [b.node]
    assert key(b * 2) == key(a * 2)


def test_a_chain_of_any_length() -> None:
    x = placed(4)
    for _ in range(20_000):
        x = x + 1
    assert len(signature([x.node], has_storage)[0]) == 1 + 1 + 20_000 + 1
