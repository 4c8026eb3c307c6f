"""Layers one after another, and those without tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..core.errors import ArgumentError
from ..core.tensor import Tensor

Layer = Callable[[Tensor], Tensor]


class Sequential:
    """Each layer applied to what the one before gave. A layer is any callable: ``Tensor.relu`` is one."""

    def __init__(self, *layers: Layer) -> None:
        self.layers = list(layers)

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layers."""
        for layer in self.layers:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, index: int) -> Layer:
        return self.layers[index]


class Dropout:
    """In training, each element zero with probability ``p`` and the others times 1/(1-p); else nothing."""

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ArgumentError(f"Dropout with probability {p}: from 0 to 1")
        self.p = p

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        return x.dropout(self.p)
