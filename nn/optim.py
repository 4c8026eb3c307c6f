"""Optimizers: every parameter's new value in one realize.

Step counts and learning rates are tensors, not Python numbers, so that steps share their kernels and a
captured step replays with new ones.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np

from ..core.dtype import DType, float32, float64
from ..core.errors import ArgumentError
from ..core.tensor import Tensor


class Optimizer(ABC):
    """What every optimizer has.

    Attributes:
        params: the tensors that it changes, each once.
        lr: the learning rate, a tensor of shape (1,); set it to a number to change it.
    """

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        self.params = list({id(p): p for p in params}.values())
        if not self.params:
            raise ArgumentError(
                "an optimizer of no parameters: does the model have tensors with requires_grad?"
            )
        for i, p in enumerate(self.params):
            if not (p.requires_grad and p.is_leaf):
                raise ArgumentError(f"parameter {i}, of shape {p.shape}, is no leaf with requires_grad")
        if not lr >= 0:
            raise ArgumentError(f"learning rate {lr}: it can't be negative")
        self._lr = Tensor(np.array([lr], np.float32), device=self.params[0].device)

    @property
    def lr(self) -> Tensor:
        """The learning rate."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr.assign(Tensor(np.array([value], np.float32), device=self._lr.device)).realize()

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for p in self.params:
            p.grad = None

    def step(self, *others: Tensor) -> None:
        """Moves every parameter that has a gradient, and computes the new values; ``others`` with them.

        Give the loss as one of ``others``: then the forward pass, which both need, runs once.
        """
        changed = self._advance()
        for i, p in enumerate(self.params):
            if p.grad is not None:
                changed += self._update(i, p, p.grad.detach())
        todo = [*changed, *others]
        if todo:
            todo[0].realize(*todo[1:])

    def _rate(self, p: Tensor) -> Tensor:
        """The learning rate where ``p`` is."""
        return self._lr.to(p.device).cast(float64 if p.dtype is float64 else float32)

    def _advance(self) -> list[Tensor]:
        """Counts the step; gives what it assigned."""
        return []

    @abstractmethod
    def _update(self, i: int, p: Tensor, g: Tensor) -> list[Tensor]:
        """Assigns parameter i and what is kept beside it; gives what it assigned."""


def _zeros(params: Iterable[Tensor]) -> list[Tensor]:
    """Memory beside each parameter: float32 at least."""
    return [
        Tensor.zeros(p.shape, dtype=float64 if p.dtype is float64 else float32, device=p.device)
        for p in params
    ]


class SGD(Optimizer):
    """Gradient descent, with momentum (Polyak 1964), its form by Nesterov (1983), and weight decay."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params, lr)
        if nesterov and not momentum > 0:
            raise ArgumentError("nesterov without momentum: give a momentum above 0")
        self.momentum, self.weight_decay, self.nesterov = momentum, weight_decay, nesterov
        self.velocity = _zeros(self.params) if momentum else []

    def _update(self, i: int, p: Tensor, g: Tensor) -> list[Tensor]:
        x = p.detach()
        if self.weight_decay:
            g = g.add(x.mul(self.weight_decay))
        if not self.momentum:
            return [p.assign(x.sub(g.mul(self._rate(p))))]
        v = self.velocity[i]
        v.assign(v.mul(self.momentum).add(g))
        ahead = g.add(v.mul(self.momentum)) if self.nesterov else v
        return [p.assign(x.sub(ahead.mul(self._rate(p)))), v]


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015). ``weight_decay`` is added to the gradient."""

    decoupled = False

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        if not all(0 <= b < 1 for b in betas):
            raise ArgumentError(f"betas {betas}: each from 0 to below 1")
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        self.mean, self.square = _zeros(self.params), _zeros(self.params)
        self.steps = Tensor(np.zeros(1, np.float32), device=self.params[0].device)
        self._lacks: dict[tuple[str, DType], tuple[Tensor, Tensor]] = {}

    def _advance(self) -> list[Tensor]:
        return [self.steps.assign(self.steps.add(1.0))]

    def step(self, *others: Tensor) -> None:
        """As of every optimizer."""
        super().step(*others)
        self._lacks.clear()

    def _lack(self, device: str, dtype: DType) -> tuple[Tensor, Tensor]:
        """1 - beta to the power of the steps, of both betas: what the moments, which began at 0, lack."""
        found = self._lacks.get((device, dtype))
        if found is None:
            t = self.steps.to(device).cast(dtype)
            first, second = (t.mul(math.log(b)).expm1().neg() if b else t.ones_like() for b in self.betas)
            found = self._lacks[device, dtype] = first, second
        return found

    def _update(self, i: int, p: Tensor, g: Tensor) -> list[Tensor]:
        x, rate = p.detach(), self._rate(p)
        if self.weight_decay:
            if self.decoupled:
                x = x.sub(x.mul(rate.mul(self.weight_decay)))
            else:
                g = g.add(x.mul(self.weight_decay))
        m, v = self.mean[i], self.square[i]
        (b1, b2), g = self.betas, g.cast(m.dtype)
        m.assign(m.mul(b1).add(g.mul(1 - b1)))
        v.assign(v.mul(b2).add(g.mul(g).mul(1 - b2)))
        lack1, lack2 = self._lack(p.device, m.dtype)
        size = v.div(lack2).sqrt().add(self.eps)
        return [p.assign(x.sub(m.div(lack1).div(size).mul(rate))), m, v]


class AdamW(Adam):
    """Adam with weight decay beside the gradient (Loshchilov and Hutter 2019)."""

    decoupled = True

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
