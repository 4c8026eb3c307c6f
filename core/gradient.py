"""Gradients: from a graph to the graph of its gradient.

In: the node of a loss and the nodes to differentiate it by. Out: one node each, lazily: nothing runs.
There is
one rule for each primitive and graph operation (``gradient_rules``); compositions with a derivative of their
own state it (``derivative``). The walk is iterative, so chains of any length differentiate. A PARAMETER is
where differentiation ends: what it wraps is taken as given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import graph
from .derivative import defined
from .errors import GradientError
from .gradient_rules import RULES
from .graph import GraphOp, Node
from .ops import Op


def dependencies(node: Node) -> tuple[Node, ...]:
    """The nodes that a gradient to ``node`` passes on to."""
    if node.op is GraphOp.PARAMETER or not node.dtype.is_float:
        return ()
    stated = defined(node)
    return node.srcs if stated is None else stated.inputs


def walk(root: Node, children: Callable[[Node], Sequence[Node]] = dependencies) -> list[Node]:
    """What ``root`` depends on, operands before users. Iterative."""
    order: list[Node] = []
    done: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif node not in done:
            done.add(node)
            stack.append((node, True))
            stack.extend((s, False) for s in reversed(children(node)) if s not in done)
    return order


def parameters(root: Node) -> list[Node]:
    """The PARAMETER nodes that a gradient of ``root`` reaches."""
    return [n for n in walk(root) if n.op is GraphOp.PARAMETER]


def gradient(loss: Node, targets: Sequence[Node], seed: Node | None = None) -> list[Node | None]:
    """The gradient of ``loss`` by each of ``targets``, of the target's shape and dtype; None when unreached.

    Args:
        loss: a float node; of any shape when ``seed`` is given, else of one element.
        targets: float nodes.
        seed: the gradient to the loss (default: ones).

    Raises:
        GradientError: when the loss is no float, has several elements and no seed, or passes an operation
            that has no gradient.
    """
    if not loss.dtype.is_float:
        raise GradientError(
            f"a gradient of {loss.dtype}: only floats have one. Cast before computing the loss"
        )
    if seed is None:
        if loss.size != 1:
            raise GradientError(
                f"a gradient of shape {loss.shape}: reduce the loss to one element (as with .sum()), "
                "or give the gradient to it"
            )
        seed = graph.full(1.0, loss.shape, loss.dtype)
    order = walk(loss)
    wanted = set(targets)
    leads = {n: n in wanted for n in order}
    for n in order:
        if not leads[n] and any(leads[d] for d in dependencies(n)):
            leads[n] = True
    flows: dict[Node, Node] = {loss: seed}
    found: dict[Node, Node] = {}
    for node in reversed(order):
        g = flows.pop(node, None)
        if node in wanted:
            found[node] = g if g is not None else graph.full(0.0, node.shape, node.dtype)
        if g is None or not leads[node]:
            continue
        inputs = dependencies(node)
        need = tuple([leads[s] and s.dtype.is_float for s in inputs])
        if not any(need):
            continue
        stated = defined(node)
        parts = stated.rule(g, node) if stated is not None else RULES[node.op](g, node, need)
        for s, part, needed in zip(inputs, parts, need, strict=True):
            if part is not None and needed:
                before = flows.get(s)
                flows[s] = part if before is None else graph.elementwise(Op.ADD, before, part)
    return [found.get(t) for t in targets]
