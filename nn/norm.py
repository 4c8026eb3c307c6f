"""Normalizing layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..core.errors import ShapeError
from ..core.tensor import Tensor
from ..core.tensor.base import defer


class BatchNorm2d:
    """Each channel of (N, C, H, W) brought to mean 0 and variance 1 over the batch; then weight and bias.

    In training (``with Tensor.train():``) by the batch's own statistics, which also move the running ones by
    ``momentum``; else by the running ones.

    Attributes:
        weight, bias: (C,), at first 1 and 0; None without ``affine``.
        running_mean, running_var: (C,), at first 0 and 1; None without ``track_running_stats``.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Tensor.ones(num_features, requires_grad=True) if affine else None
        self.bias = Tensor.zeros(num_features, requires_grad=True) if affine else None
        self.running_mean = Tensor.zeros(num_features) if track_running_stats else None
        self.running_var = Tensor.ones(num_features) if track_running_stats else None

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer, and in training moves the running statistics."""
        if x.ndim != 4 or x.shape[1] != self.num_features:
            raise ShapeError(f"BatchNorm2d({self.num_features}) of {x.shape}: (N, {self.num_features}, H, W)")
        if not Tensor.training and self.running_mean is not None and self.running_var is not None:
            invstd = self.running_var.add(self.eps).rsqrt()
            return x.batchnorm(self.weight, self.bias, self.running_mean, invstd)
        axes = (0, 2, 3)
        mean = x.mean(axes)
        away = x.sub(mean.reshape(1, -1, 1, 1))
        var = away.mul(away).mean(axes)
        if self.running_mean is not None and self.running_var is not None:
            n = math.prod(x.shape[a] for a in axes)
            unbiased = var.detach().mul(n / max(1, n - 1))
            for running, new in ((self.running_mean, mean.detach()), (self.running_var, unbiased)):
                running.assign(running.mul(1 - self.momentum).add(new.mul(self.momentum)))
                defer(running)
        return x.batchnorm(self.weight, self.bias, mean, var.add(self.eps).rsqrt())


class LayerNorm:
    """The last axes brought to mean 0 and variance 1; then weight and bias.

    Attributes:
        weight, bias: of ``normalized_shape``, at first 1 and 0; None without ``elementwise_affine``.
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True
    ) -> None:
        self.shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.weight = Tensor.ones(self.shape, requires_grad=True) if elementwise_affine else None
        self.bias = Tensor.zeros(self.shape, requires_grad=True) if elementwise_affine else None

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        return x.layernorm(self.shape, self.weight, self.bias, self.eps)


class GroupNorm:
    """The channels of (N, C, *) in groups, each brought to mean 0 and variance 1; then weight and bias.

    Attributes:
        weight, bias: (C,), at first 1 and 0; None without ``affine``.
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        self.num_groups, self.eps = num_groups, eps
        self.weight = Tensor.ones(num_channels, requires_grad=True) if affine else None
        self.bias = Tensor.zeros(num_channels, requires_grad=True) if affine else None

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        return x.groupnorm(self.num_groups, self.weight, self.bias, self.eps)
