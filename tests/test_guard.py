"""guard(): one expression that sees any place change, however many there are, and however they are read."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from jitting import captured, tensor, values

from portwright import Tensor
from portwright.core.errors import JitError
from portwright.core.guard import FEW, MOST, Found, guard

COUNTS = [1, 2, FEW, FEW + 1, 3 * FEW]


def attributes(count: int) -> tuple[Any, Found]:
    names = [f"a{i}" for i in range(count)]
    holder = SimpleNamespace(**{n: object() for n in names})
    found = Found(
        lambda: [getattr(holder, n) for n in names], list(vars(holder).values()), names, None, holder,
        [f".{n}" for n in names],
    )  # fmt: skip
    return holder, found


@pytest.mark.parametrize("count", COUNTS)
def test_each_place_is_compared_with_what_was_there(count: int) -> None:
    holder, found = attributes(count)
    holds = guard([found]).compiled()
    for name, before in list(vars(holder).items()):
        assert holds()
        setattr(holder, name, object())
        assert not holds()
        setattr(holder, name, before)
    assert holds()
    holder.a0 = found.kept[0] = object()  # a change that was taken over
    assert holds()


@pytest.mark.parametrize("count", COUNTS)
def test_a_place_that_is_gone_is_said(count: int) -> None:
    holder, found = attributes(count)
    holds = guard([found]).compiled()
    del holder.a0
    assert not holds()


@pytest.mark.parametrize("count", COUNTS)
def test_equal_is_not_the_same(count: int) -> None:
    kept = [[i] for i in range(count)]
    lists = list(kept)
    holds = guard([Found(partial(iter, lists), kept, [str(i) for i in range(count)])]).compiled()
    assert holds()
    lists[-1] = list(lists[-1])
    assert not holds()


@pytest.mark.parametrize("count", COUNTS)
def test_a_length_is_compared(count: int) -> None:
    sized: list[list[int]] = [[] for _ in range(count)]
    holds = guard([], sized).compiled()
    assert holds()
    sized[-1].append(1)
    assert not holds()
    sized[-1].pop()
    assert holds()


def test_however_many_holders_there_are() -> None:
    made = [attributes(2) for _ in range(MOST)]
    holds = guard([found for _, found in made]).compiled()
    assert holds()
    for holder, _ in (made[0], made[-1]):
        before, holder.a1 = holder.a1, object()
        assert not holds()
        holder.a1 = before
    assert holds()


def test_there_may_be_nothing_to_compare() -> None:
    assert guard([]).compiled()()


def test_tensors_by_name_are_told_apart_as_by_place() -> None:
    f = captured(lambda *, left, right: left - right, left=tensor(5), right=tensor(2))
    assert values(f(right=tensor(1), left=tensor(7))) == [6]
    with pytest.raises(JitError, match="the arguments were argument left, argument right and are"):
        f(left=tensor(1), wrong=tensor(2))
    with pytest.raises(JitError, match="argument right was a tensor and is 3"):
        f(left=tensor(1), right=3)
    with pytest.raises(JitError, match=r"the shape of argument right was \(1,\) and is \(2,\)"):
        f(left=tensor(1), right=Tensor(np.zeros(2, np.float32)))
