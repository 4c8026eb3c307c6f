"""Fully connected layers."""

from __future__ import annotations

from ..core.tensor import Tensor


class Linear:
    """x @ weight.T + bias: (…, in_features) to (…, out_features).

    Attributes:
        weight: (out_features, in_features), at first uniform in ±1/sqrt(in_features).
        bias: (out_features,), at first likewise; None without.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        bound = in_features**-0.5 if in_features else 0.0
        self.weight = Tensor.uniform(out_features, in_features, low=-bound, high=bound, requires_grad=True)
        self.bias = Tensor.uniform(out_features, low=-bound, high=bound, requires_grad=True) if bias else None

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        return x.linear(self.weight, self.bias)
