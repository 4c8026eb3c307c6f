"""Losses. ``reduction`` is "mean", "sum" or "none"; arguments and defaults are PyTorch's."""

from __future__ import annotations

import math
from typing import Self

from ..errors import ArgumentError, DTypeError, ShapeError
from .functional import Functional


class Loss(Functional):
    """cross_entropy to kl_div."""

    __slots__ = ()

    def _lessened(self, reduction: str) -> Self:
        if reduction == "mean":
            return self.mean()
        if reduction == "sum":
            return self.sum()
        if reduction == "none":
            return self
        raise ArgumentError(f"reduction {reduction!r}: 'mean', 'sum' or 'none'")

    def _classes(self, target: Self) -> tuple[Self, int]:
        """Positions of classes, broadcast along the class axis, and that axis."""
        axis = 1 if self.ndim > 1 else 0
        wanted = self.shape[:axis] + self.shape[axis + 1 :]
        if target.shape != wanted:
            raise ShapeError(
                f"classes of shape {target.shape} for scores of {self.shape}: they must be {wanted}"
            )
        return target.unsqueeze(axis), axis

    def nll_loss(
        self, target: Self, weight: Self | None = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> Self:
        """The negative of each row's log-probability (class axis 1) at its target.

        Args:
            target: positions of classes.
            weight: one number for each class; the mean is weighted.
            ignore_index: a target that counts for nothing.
            reduction: "mean", "sum" or "none".
        """
        return self._picked(target, weight, ignore_index, 0.0, reduction)

    def _picked(
        self, target: Self, weight: Self | None, ignore_index: int, smoothing: float, reduction: str
    ) -> Self:
        """nll of log-probabilities, with a share ``smoothing`` of every class's."""
        if not target.dtype.is_int:
            raise DTypeError(f"classes of {target.dtype}: they must be integers")
        index, axis = self._classes(target)
        n = self.shape[axis]
        along = [n if i == axis else 1 for i in range(self.ndim)]
        counted = target.ne(ignore_index)
        hit = index.cast("int64").eq(self.arange(n, dtype="int64", device=self.device).reshape(along))
        scores = self.neg()
        weighted = scores if weight is None else scores.mul(weight.reshape(along))
        loss = hit.where(weighted, 0.0).sum(axis)
        if smoothing:
            loss = loss.mul(1 - smoothing).add(weighted.sum(axis).mul(smoothing / n))
        loss = counted.where(loss, 0.0)
        if reduction != "mean":
            return loss._lessened(reduction)
        if weight is None:
            share = counted.cast(self.dtype)
        else:
            share = counted.where(hit.where(weight.reshape(along), 0.0).sum(axis), 0.0)
        return loss.sum().div(share.sum())

    def cross_entropy(
        self,
        target: Self,
        weight: Self | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> Self:
        """The negative log-likelihood of ``target`` under softmax of these scores (class axis 1).

        Args:
            target: positions of classes, or probabilities in the shape of the scores.
            weight: one number for each class.
            ignore_index: a position that counts for nothing.
            reduction: "mean", "sum" or "none".
            label_smoothing: the share of each target that is spread over all classes.
        """
        if not 0 <= label_smoothing <= 1:
            raise ArgumentError(f"label smoothing {label_smoothing}: from 0 to 1")
        axis = 1 if self.ndim > 1 else 0
        logs = self.log_softmax(axis)
        if not target.dtype.is_float:
            return logs._picked(target, weight, ignore_index, label_smoothing, reduction)
        if target.shape != self.shape:
            raise ShapeError(
                f"probabilities of shape {target.shape} for scores of {self.shape}: they must be equal"
            )
        n = self.shape[axis]
        p = target.mul(1 - label_smoothing).add(label_smoothing / n) if label_smoothing else target
        if weight is not None:
            p = p.mul(weight.reshape([n if i == axis else 1 for i in range(self.ndim)]))
        loss = logs.mul(p).sum(axis).neg()
        return loss.sum().div(max(1, loss.numel())) if reduction == "mean" else loss._lessened(reduction)

    def sparse_categorical_crossentropy(
        self, Y: Self, ignore_index: int = -1, label_smoothing: float = 0.0, reduction: str = "mean"
    ) -> Self:
        """``cross_entropy`` of scores whose classes are the last axis."""
        return self.movedim(-1, 1 if self.ndim > 1 else 0).cross_entropy(
            Y, None, ignore_index, reduction, label_smoothing
        )

    def binary_crossentropy(self, target: Self, weight: Self | None = None, reduction: str = "mean") -> Self:
        """-(t·log(p) + (1-t)·log(1-p)) of these probabilities, each logarithm at least -100."""
        one = target.mul(self.log().clip(min=-100.0))
        other = target.neg().add(1.0).mul(self.neg().log1p().clip(min=-100.0))
        loss = one.add(other).neg()
        return (loss if weight is None else loss.mul(weight))._lessened(reduction)

    def binary_crossentropy_logits(
        self,
        target: Self,
        weight: Self | None = None,
        reduction: str = "mean",
        pos_weight: Self | None = None,
    ) -> Self:
        """``binary_crossentropy`` of sigmoid(self), without overflow."""
        unlikely = self.neg().softplus(1.0, math.inf)  # -log(sigmoid(self))
        if pos_weight is None:
            loss = unlikely.add(target.neg().add(1.0).mul(self))
        else:
            stress = pos_weight.sub(1.0).mul(target).add(1.0)
            loss = target.neg().add(1.0).mul(self).add(stress.mul(unlikely))
        return (loss if weight is None else loss.mul(weight))._lessened(reduction)

    def mse_loss(self, target: Self, reduction: str = "mean") -> Self:
        """(self - target)²."""
        return self.sub(target).square()._lessened(reduction)

    def l1_loss(self, target: Self, reduction: str = "mean") -> Self:
        """|self - target|."""
        return self.sub(target).abs()._lessened(reduction)

    def smooth_l1_loss(self, target: Self, reduction: str = "mean", beta: float = 1.0) -> Self:
        """d²/(2·beta) where d = |self - target| is below ``beta``, else d - beta/2."""
        if beta < 0:
            raise ArgumentError(f"smooth_l1_loss with beta {beta}: it can't be negative")
        away = self.sub(target).abs()
        if beta == 0:
            return away._lessened(reduction)
        near = away.mul(away).mul(0.5 / beta)
        return away.lt(beta).where(near, away.sub(0.5 * beta))._lessened(reduction)

    def kl_div(self, target: Self, reduction: str = "mean", log_target: bool = False) -> Self:
        """target·(log(target) - self) of log-probabilities; "batchmean" sums and divides by the first
        axis.
        """
        if log_target:
            loss = target.exp().mul(target.sub(self))
        else:
            safe = target.gt(0).where(target, 1.0)
            loss = target.mul(safe.log()).sub(target.mul(self))
        if reduction == "batchmean":
            return loss.sum().div(self.shape[0])
        return loss._lessened(reduction)
