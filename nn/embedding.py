"""Rows by position."""

from __future__ import annotations

from ..core.tensor import Tensor


class Embedding:
    """Integers to the rows of a table: (…) to (…, embedding_dim).

    Attributes:
        weight: (num_embeddings, embedding_dim), at first normal with variance 1.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        self.weight = Tensor.normal(num_embeddings, embedding_dim, requires_grad=True)

    def __call__(self, index: Tensor) -> Tensor:
        """Applies the layer. Positions outside give rows of zeros."""
        return index.embedding(self.weight)
