"""Convolutional layers."""

from __future__ import annotations

import math

from ..core.errors import ArgumentError
from ..core.tensor import Tensor
from ..core.tensor.spatial import each


class Conv2d:
    """Convolution: (N, in_channels, H, W) to (N, out_channels, H', W').

    Attributes:
        weight: (out_channels, in_channels / groups, *kernel_size), at first uniform in ±1/sqrt(fan in).
        bias: (out_channels,), at first likewise; None without.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ArgumentError(
                f"Conv2d of {in_channels} to {out_channels} channels: {groups} groups don't divide them"
            )
        kernel = each(kernel_size, 2, "kernel size")
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        shape = (out_channels, in_channels // groups, *kernel)
        bound = math.prod(shape[1:]) ** -0.5
        self.weight = Tensor.uniform(shape, low=-bound, high=bound, requires_grad=True)
        self.bias = Tensor.uniform(out_channels, low=-bound, high=bound, requires_grad=True) if bias else None

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer."""
        return x.conv2d(self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
