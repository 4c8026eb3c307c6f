"""The Tensor that users write: one file for each family of operations."""

from .tensor import Tensor

__all__ = ["Tensor"]
