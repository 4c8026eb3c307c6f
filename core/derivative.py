"""Derivatives stated by hand: of compositions whose gradient is known better than it can be traced.

An accurate exp is a dozen primitives, some of them roundings whose own derivative is zero; its gradient is
one multiplication. ``define`` records such a rule beside the node, and ``gradient`` asks here before it
looks at what the node is made of.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence

from .graph import Node
from .record import dataclass

Rule = Callable[[Node, Node], Sequence[Node | None]]
"""``rule(g, y)``: from the gradient to ``y`` and ``y`` itself, the gradient to each input (None: 0)."""


@dataclass(frozen=True, slots=True)
class Derivative:
    """How the gradient of a node passes to ``inputs``, whatever the node is made of."""

    inputs: tuple[Node, ...]
    rule: Rule


_defined: weakref.WeakKeyDictionary[Node, Derivative] = weakref.WeakKeyDictionary()


def define(y: Node, inputs: tuple[Node, ...], rule: Rule) -> Node:
    """``y``, whose gradient passes to ``inputs`` by ``rule``. The rule must not hold on to ``y``: it is
    given it.
    """
    if y not in inputs and y not in _defined:
        _defined[y] = Derivative(inputs, rule)
    return y


def flat(y: Node, *inputs: Node) -> Node:
    """``y``, whose derivative by ``inputs`` is zero wherever it exists (roundings, signs)."""
    return define(y, inputs, lambda g, y: [None] * len(inputs))


def defined(y: Node) -> Derivative | None:
    """What was stated of ``y``."""
    return _defined.get(y)
