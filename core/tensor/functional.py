"""What layers compute: normalization, dropout, embedding, attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from ..dtype import bool_, default_int, float32
from ..errors import ArgumentError, DTypeError, ShapeError
from .base import TensorBase
from .pool import Pool
from .select import triangle


class Training:
    """``with Tensor.train():`` - dropout drops and batch norm learns, until the block ends."""

    def __init__(self, mode: bool) -> None:
        self.mode = mode

    def __enter__(self) -> None:
        self.before, TensorBase.training = TensorBase.training, self.mode

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        TensorBase.training = self.before


class Functional(Pool):
    """layernorm to scaled_dot_product_attention."""

    __slots__ = ()

    @staticmethod
    def train(mode: bool = True) -> Training:
        """A context in which ``Tensor.training`` is ``mode``."""
        return Training(mode)

    def _standardized(self, axes: Sequence[int], eps: float) -> Self:
        """(self - mean) / sqrt(variance + eps) over ``axes``, computed in float32 of the half types."""
        x = self.cast(float32) if self.dtype.bits == 16 else self
        away = x.sub(x.mean(axes, keepdim=True))
        variance = away.mul(away).mean(axes, keepdim=True)
        return away.mul(variance.add(eps).rsqrt())

    def layernorm(
        self,
        normalized_shape: int | Sequence[int] | None = None,
        weight: Self | None = None,
        bias: Self | None = None,
        eps: float = 1e-5,
    ) -> Self:
        """The last axes brought to mean 0 and variance 1, then times ``weight`` plus ``bias``.

        Args:
            normalized_shape: the sizes of these axes (the last one by default).
            weight: of that shape.
            bias: of that shape.
            eps: added to the variance.
        """
        if normalized_shape is None:
            normalized_shape = self.shape[-1:]
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        n = len(shape)
        if not n or self.shape[-n:] != shape:
            raise ShapeError(f"layernorm over {shape} of {self.shape}: the last axes must have these sizes")
        out = self._standardized(range(self.ndim - n, self.ndim), eps).cast(self.dtype)
        return out._affine(weight, bias)

    layer_norm = layernorm

    def _affine(self, weight: Self | None, bias: Self | None) -> Self:
        out = self if weight is None else self.mul(weight)
        return out if bias is None else out.add(bias)

    def batchnorm(
        self, weight: Self | None, bias: Self | None, mean: Self, invstd: Self, axis: int = 1
    ) -> Self:
        """(self - mean)·invstd·weight + bias, where these hold one number for each position on ``axis``."""
        shape = [n if i == self._axis(axis) else 1 for i, n in enumerate(self.shape)]
        scale = invstd.reshape(shape)
        out = self.sub(mean.reshape(shape)).mul(scale if weight is None else scale.mul(weight.reshape(shape)))
        return out if bias is None else out.add(bias.reshape(shape))

    def groupnorm(
        self, num_groups: int, weight: Self | None = None, bias: Self | None = None, eps: float = 1e-5
    ) -> Self:
        """The channels of (N, C, *) in groups, each brought to mean 0 and variance 1; then weight and
        bias.
        """
        if self.ndim < 2 or num_groups < 1 or self.shape[1] % num_groups:
            raise ShapeError(
                f"groupnorm of {self.shape} in {num_groups} groups: they must divide the channels"
            )
        grouped = self.reshape(self.shape[0], num_groups, -1)
        out = grouped._standardized((2,), eps).cast(self.dtype).reshape(self.shape)
        shape = (1, self.shape[1], *(1,) * (self.ndim - 2))
        return out._affine(
            None if weight is None else weight.reshape(shape), None if bias is None else bias.reshape(shape)
        )

    def dropout(self, p: float = 0.5, training: bool | None = None) -> Self:
        """Each element zero with probability ``p``, the others times 1/(1-p); untouched outside training."""
        if not 0 <= p <= 1:
            raise ArgumentError(f"dropout with probability {p}: from 0 to 1")
        if not (TensorBase.training if training is None else training) or p == 0:
            return self._new(self.node)
        if p == 1:
            return self.mul(0)
        kept = self.rand(self.shape, device=self.device).ge(p)
        return kept.where(self.mul(1.0 / (1.0 - p)), 0)

    def embedding(self, weight: Self) -> Self:
        """The rows of ``weight`` (num, dim) at these positions: shape (*self.shape, dim)."""
        if not self.dtype.is_int:
            raise DTypeError(f"embedding by {self.dtype}: positions must be integers")
        return weight[self]

    def one_hot(self, num_classes: int = -1) -> Self:
        """1 at each position's place on a new last axis of ``num_classes``, else 0 (int64).

        Args:
            num_classes: the axis's size; -1: the greatest position and one, which is looked at at once.
        """
        if not self.dtype.is_int:
            raise DTypeError(f"one_hot of {self.dtype}: positions must be integers")
        n = int(self.amax().item()) + 1 if num_classes < 0 else num_classes
        places = self.arange(
            n, dtype=self.dtype if n - 1 <= self.dtype.max else default_int, device=self.device
        )
        return self.unsqueeze(-1).eq(places).cast("int64")

    def scaled_dot_product_attention(
        self,
        key: Self,
        value: Self,
        attn_mask: Self | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Self:
        """softmax(self·keyᵀ·scale + mask)·value, over (…, length, width).

        Args:
            key: (…, source length, width).
            value: (…, source length, value width).
            attn_mask: a bool that says what takes part, or a float to add.
            dropout_p: of the weights, in training and out of it.
            is_causal: position i sees those up to i only.
            scale: 1/sqrt(width) unless given.
            enable_gqa: key and value have fewer heads (axis -3), each shared by a group of the query's.
        """
        if enable_gqa:
            heads, shared = self.shape[-3], key.shape[-3]
            if heads % shared:
                raise ShapeError(f"attention of {heads} heads over {shared}: the groups must be equal")
            key, value = (t.repeat_interleave(heads // shared, -3) for t in (key, value))
        factor = 1.0 / math.sqrt(self.shape[-1]) if scale is None else scale
        scores = self.matmul(key.transpose(-2, -1)).mul(factor)
        if is_causal:
            if attn_mask is not None:
                raise ArgumentError("attention with is_causal and a mask: give one of them")
            attn_mask = self._of(triangle(scores.shape[-2:], 0, lower=True), self.device)
        if attn_mask is not None:
            if attn_mask.dtype is bool_:
                scores = attn_mask.where(scores, -math.inf)
            else:
                scores = scores.add(attn_mask.cast(scores.dtype))
        weights = scores.softmax(-1)
        if dropout_p:
            weights = weights.dropout(dropout_p, training=True)
        return weights.cast(self.dtype).matmul(value)
