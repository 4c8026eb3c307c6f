"""What rounding a product lost: one operation where a device offers FMA, and the same number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import support as t

from portwright import Tensor
from portwright.core import engine
from portwright.core import value as val
from portwright.core.device import Extra
from portwright.core.dtype import float32
from portwright.core.interpret_value import evaluate_value
from portwright.core.legalize import Legalizer
from portwright.core.legalize.lost import Lost, lost_of
from portwright.core.ops import Op
from portwright.core.value import Value, toposort

A, B = val.ref("a", float32), val.ref("b", float32)


def add(x: Value, y: Value) -> Value:
    return val.primitive(Op.ADD, x, y)


def sub(x: Value, y: Value) -> Value:
    return val.primitive(Op.SUB, x, y)


def mul(x: Value, y: Value) -> Value:
    return val.primitive(Op.MUL, x, y)


def error(a: Value, b: Value, product: Value, factor: float = 4097.0, other: Value | None = None) -> Value:
    """Dekker's, or what is nearly that."""

    def high(x: Value) -> Value:
        c = mul(x, val.number(factor, float32))
        return sub(c, sub(c, x))

    ah, bh = high(a), high(b)
    al, bl = sub(a, ah), sub(other or b, bh)
    return add(add(add(sub(mul(ah, bh), product), mul(ah, bl)), mul(al, bh)), mul(al, bl))


def test_it_is_seen_for_what_it_is() -> None:
    assert lost_of(error(A, B, mul(A, B))) == Lost(A, B, mul(A, B))
    assert lost_of(error(A, A, mul(A, A))) == Lost(A, A, mul(A, A))


@pytest.mark.parametrize(
    "value",
    [
        error(A, B, mul(A, A)),
        error(A, B, A),
        error(A, B, mul(A, B), factor=2049.0),
        error(A, B, mul(A, B), other=A),
        add(error(A, B, mul(A, B)), A),
        add(A, mul(A, B)),
        A,
    ],
)
def test_what_is_another_number_is_left(value: Value) -> None:
    assert lost_of(value) is None


def test_it_is_the_same_number() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(10_000).astype(np.float32) for _ in "ab")
    value = error(A, B, mul(A, B))
    made = Legalizer(replace(t.spec(), extras=frozenset({Extra.FMA}))).term(value).value
    assert [v.op for v in toposort([made])].count(val.Extra.FMA) == 1
    exact = a.astype(np.float64) * b - (a * b)
    for got in evaluate_value([value, made], lambda v: {"a": a, "b": b}[str(v.arg)]):
        assert np.array_equal(got, exact.astype(np.float32))


def test_a_power_splits_nothing_on_a_device_with_fma() -> None:
    (kernel,) = engine.kernels([(Tensor([1.5, 2.0]) ** Tensor([0.3, 7.0])).node], "CPU")
    assert "fma" in kernel.source
    assert "4097" not in kernel.source
