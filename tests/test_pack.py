"""Operands that are copied before a contraction: which, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import support as t

from portwright import Tensor
from portwright.core import engine
from portwright.core.fuse import fuse
from portwright.core.graph import Node
from portwright.core.legal_tree import legalize_kernel
from portwright.core.pack import pack
from portwright.core.pipeline import fresh_kernel

SPEC = t.spec(16, cache_bytes=(1 << 10, 1 << 13), threads=2)


def transposed(rows: int, terms: int, columns: int) -> Node:
    """aᵀ @ b."""
    return t.matmul(t.graph.permute(t.integers((terms, rows)), (1, 0)), t.integers((terms, columns), seed=2))


def copies(root: Node) -> int:
    """How many operands are copied first."""
    (group,) = fuse([root], SPEC)[1]
    return len(pack(legalize_kernel(fresh_kernel(group), SPEC), SPEC).copies)


def test_what_lies_far_apart_is_copied_where_strips_of_it_would_be_packed_again_and_again() -> None:
    assert copies(transposed(600, 64, 200)) == 1
    assert copies(transposed(600, 64, 100)) == 0, "few groups"
    assert copies(transposed(64, 64, 600)) == 0, "its steps are near"
    assert copies(t.matmul(t.integers((600, 64)), t.integers((64, 200), seed=2))) == 0, "it lies along"


@pytest.mark.parametrize("shape", [(600, 64, 200), (515, 70, 201)], ids=str)
def test_every_stage_of_a_product_of_a_copy(shape: tuple[int, int, int]) -> None:
    root = transposed(*shape)
    assert copies(root) == 1
    for name, (got,) in t.by_stage([root], SPEC).items():
        assert np.array_equal(got, t.meaning(root)[0]), name


def test_batches_of_them_are_right() -> None:
    random = np.random.default_rng(4)
    a = random.integers(-4, 5, (2, 1100, 600)).astype(np.float32)
    b = random.integers(-4, 5, (2, 1100, 1000)).astype(np.float32)
    product = Tensor(a).transpose(1, 2) @ Tensor(b)
    assert len(product.kernels()) == 2
    assert np.array_equal(product.numpy(), a.swapaxes(1, 2) @ b)


def strided(channels: int, filters: int, side: int, stride: int) -> Node:
    """A convolution of windows of one pixel."""
    image, weights = t.integers((2, channels, side, side)), t.integers((filters, channels, 1, 1), seed=2)
    return Tensor(engine.read(image)).conv2d(Tensor(engine.read(weights)), stride=stride).node


def test_pixels_between_which_others_are_skipped_are_copied_where_many_filters_read_them() -> None:
    assert copies(strided(64, 64, 28, 2)) == 1
    assert copies(strided(64, 64, 28, 1)) == 0, "nothing is skipped"
    assert copies(strided(96, 32, 28, 2)) == 0, "few filters"


def test_every_stage_of_a_convolution_of_skipped_pixels() -> None:
    root = strided(64, 64, 28, 3)
    assert copies(root) == 1
    for name, (got,) in t.by_stage([root], SPEC).items():
        assert np.array_equal(got, t.meaning(root)[0]), name
