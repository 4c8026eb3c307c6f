"""The call of a captured function that is as it was: one generated function, for this recipe alone.

In: what is watched, how many tensors are passed, and the two players. Out: a function of these tensors that
runs the next player and gives the result; None, and nothing done, where anything differs: other memory, a
result that is still held, a watched place, somebody who listens. Then the long way finds out what. It suits
functions that compute one tensor from those that they are passed, and takes half the time of loops for any.
"""

from __future__ import annotations

from collections.abc import Callable
from sys import getrefcount
from typing import Any

from . import engine, trace
from .guard import GONE, Condition
from .tensor import Tensor

Quick = Callable[..., "Tensor | None"]


def never(*tensors: Tensor) -> None:
    """For what takes the long way always."""


def quick(condition: Condition, tensors: int, turns: list[Any], device: str) -> Quick:
    """The function.

    Args:
        condition: what is watched.
        tensors: how many are passed, all by position, in the order of the players' sources.
        turns: both players, the next one first, each with ``nodes`` that it is bound to, the only ``lease``
            that it lends, and ``start``, which runs it while nobody listens.
        device: of the result.
    """
    given = [f"a{i}" for i in range(tensors)]
    same = " and ".join(f"{a}.node is nodes[{i}]" for i, a in enumerate(given))
    names = condition.names | {
        "engine": engine, "trace": trace, "getrefcount": getrefcount, "turns": turns, "Tensor": Tensor,
        "new": object.__new__, "device": device, "GONE": GONE,
    }  # fmt: skip
    exec(_TEXT.format(given=", ".join(given), same=same, condition=condition.text), names)
    made: Quick = names["quick"]
    return made


_TEXT = """
def quick({given}):
    turn = turns[0]
    nodes, lease = turn.nodes, turn.lease
    try:
        if not ({same} and getrefcount(lease.top) + getrefcount(lease.shown) == lease.free_at
                and {condition}):
            return None
    except GONE:
        return None
    if trace.listening or engine.recorder is not None:
        return None
    turn.start()
    turns.reverse()
    out = new(Tensor)
    out.node, out.device, out._requires_grad, out.grad = lease.node, device, False, None
    return out
"""
