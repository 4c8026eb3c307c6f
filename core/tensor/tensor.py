"""Tensor: every layer together, what Python asks of a value, and the casts named after dtypes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

from ..dtype import DTypeLike, bool_
from ..errors import ShapeError
from .likes import Likes


class Tensor(Likes):
    """An n-dimensional array, computed when it is looked at.

    See ``TensorBase.__init__`` for how to make one.
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[Self]:
        if not self.shape:
            raise ShapeError("a tensor without axes holds nothing to go through")
        return iter(self.unbind())

    def __format__(self, spec: str) -> str:
        """As a number's, of a tensor of one element: ``f"{loss:.3f}"``."""
        return format(self.item(), spec) if spec else str(self)

    def __reduce__(self) -> tuple[Callable[..., Tensor], tuple[Any, ...]]:
        return type(self), (self.numpy(), None, self.device, self.requires_grad)

    def half(self) -> Self:
        """float16."""
        return self.cast("float16")

    def float(self) -> Self:
        """float32."""
        return self.cast("float32")

    def double(self) -> Self:
        """float64."""
        return self.cast("float64")

    def int(self) -> Self:
        """int32."""
        return self.cast("int32")

    def long(self) -> Self:
        """int64."""
        return self.cast("int64")

    def bool(self) -> Self:
        """bool: what is not zero, NaN too."""
        return self.cast(bool_)

    def type(self, dtype: DTypeLike) -> Self:
        """``cast``."""
        return self.cast(dtype)
