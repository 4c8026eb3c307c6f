"""Gradients of a tensor: ``backward`` leaves them in the leaves, ``gradient`` gives them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from .. import graph
from ..device import Buffer
from ..errors import GradientError, ShapeError
from ..gradient import gradient, parameters, walk
from ..graph import Node
from ..ops import Op
from .base import TensorBase, leaf_of


class Autograd(TensorBase):
    """backward and gradient."""

    __slots__ = ()

    def backward(self, gradient: Self | None = None) -> None:
        """Adds the gradient of this tensor by each leaf with ``requires_grad`` that it depends on to its
        ``grad``.

        Args:
            gradient: to this tensor, of its shape; may be left out when it has one element.

        Raises:
            GradientError: when nothing that it depends on requires a gradient, or it can't be differentiated.
        """
        if not self._requires_grad:
            raise GradientError("backward() of a tensor that depends on none with requires_grad=True")
        reached = []
        for node in parameters(self.node):
            leaf = leaf_of(node)
            if leaf is not None and leaf._requires_grad:
                reached.append((node, leaf))
        grads = self._gradients([node for node, _ in reached], gradient)
        for (_, leaf), g in zip(reached, grads, strict=True):
            assert g is not None
            if leaf.grad is not None:
                g = graph.elementwise(Op.ADD, leaf.grad.node, g)
            leaf.grad = leaf._of(g, leaf.device)

    def gradient(self, *targets: Self, gradient: Self | None = None) -> list[Self]:
        """The gradient of this tensor by each of ``targets``, lazily; they need not require one.

        Raises:
            GradientError: when this tensor doesn't depend on a target.
        """
        nodes = [t.node for t in targets]
        grads = self._gradients(nodes, gradient)
        if None in grads:  # a target may have been realized, and so replaced by a leaf, after it was used
            by_storage: dict[Buffer | None, Node] = {
                n.storage: n for n in walk(self.node) if n.storage is not None
            }
            nodes = [
                n if g is not None else by_storage.get(n.storage, n)
                for n, g in zip(nodes, grads, strict=True)
            ]
            grads = self._gradients(nodes, gradient)
        out = []
        for i, (t, g) in enumerate(zip(targets, grads, strict=True)):
            if g is None:
                raise GradientError(
                    f"gradient() by target {i}, of shape {t.shape}: the tensor doesn't depend on it"
                )
            out.append(self._of(g, t.device))
        return out

    def _gradients(self, nodes: Sequence[Node], seed: TensorBase | None) -> list[Node | None]:
        if seed is not None and (seed.shape != self.shape or seed.dtype is not self.dtype):
            raise ShapeError(
                f"a gradient of {seed.dtype} {seed.shape} to a tensor of {self.dtype} {self.shape}: "
                "they must be equal"
            )
        return gradient(self.node, nodes, None if seed is None else seed.detach().node)
