"""Convolution, pooling, resizing, attention and normalization against plain loops in NumPy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tensors import on, same

from portwright import Tensor
from portwright.core.errors import ArgumentError, DTypeError, ShapeError

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _reference() -> Iterator[None]:
    with on("NUMPY"):
        yield


def r(*shape: int) -> Any:
    return RNG.standard_normal(shape)


def convolved(x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """Cross-correlation over any number of axes, one product at a time."""
    rank = w.ndim - 2
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    size = [
        (n - (k - 1) * d - 1) // s + 1
        for n, k, s, d in zip(x.shape[2:], w.shape[2:], stride, dilation, strict=True)
    ]
    out = np.zeros((x.shape[0], w.shape[0], *size))
    each_in, each_out = w.shape[1], w.shape[0] // groups
    for o in itertools.product(*map(range, size)):
        for k in itertools.product(*map(range, w.shape[2:])):
            at = tuple(o[i] * stride[i] + k[i] * dilation[i] for i in range(rank))
            for g in range(groups):
                seen = x[(slice(None), slice(g * each_in, (g + 1) * each_in), *at)]
                weight = w[(slice(g * each_out, (g + 1) * each_out), slice(None), *k)]
                out[(slice(None), slice(g * each_out, (g + 1) * each_out), *o)] += seen @ weight.T
    return out


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"),
    [
        ((1, 1), (0, 0), (1, 1), 1),
        ((2, 1), (1, 2), (1, 1), 1),
        ((1, 1), (2, 2), (2, 1), 2),
        ((3, 2), (0, 1), (1, 2), 4),
    ],
)
def test_conv2d(stride: Any, padding: Any, dilation: Any, groups: int) -> None:
    x, w, b = r(2, 4, 7, 8), r(8, 4 // groups, 3, 2), r(8)
    want = convolved(x, w, stride, padding, dilation, groups) + b.reshape(1, -1, 1, 1)
    same(Tensor(x).conv2d(Tensor(w), Tensor(b), stride, padding, dilation, groups), want, 1e-12, 1e-12)


def test_convolutions_of_other_ranks() -> None:
    x, w = r(2, 3, 9), r(5, 3, 4)
    same(Tensor(x).conv1d(Tensor(w), stride=2), convolved(x, w, (2,), (0,), (1,), 1), 1e-12, 1e-12)
    x, w = r(1, 2, 4, 5, 3), r(3, 2, 2, 3, 3)
    same(
        Tensor(x).conv3d(Tensor(w), padding=1), convolved(x, w, (1,) * 3, (1,) * 3, (1,) * 3, 1), 1e-12, 1e-12
    )
    x, w = r(3, 6, 7), r(2, 3, 3, 4)
    want = convolved(np.pad(x[None], [(0, 0), (0, 0), (1, 1), (1, 2)]), w, (1, 1), (0, 0), (1, 1), 1)[0]
    same(Tensor(x).conv2d(Tensor(w), padding="same"), want, 1e-12, 1e-12)


@pytest.mark.parametrize(
    ("stride", "padding", "extra", "dilation", "groups"), [(1, 0, 0, 1, 1), (2, 1, 1, 1, 1), (3, 0, 0, 2, 2)]
)
def test_conv_transpose2d(stride: int, padding: int, extra: int, dilation: int, groups: int) -> None:
    x, w = r(2, 4, 3, 5), r(4, 6 // groups, 3, 2)
    size = [
        (n - 1) * stride - 2 * padding + dilation * (k - 1) + extra + 1
        for n, k in zip((3, 5), (3, 2), strict=True)
    ]
    full = np.zeros((2, 6, size[0] + 2 * padding, size[1] + 2 * padding))
    for i, j, a, b in itertools.product(range(3), range(5), range(3), range(2)):
        for g in range(groups):
            c, o = 4 // groups, 6 // groups
            part = x[:, g * c : (g + 1) * c, i, j] @ w[g * c : (g + 1) * c, :, a, b]
            full[:, g * o : (g + 1) * o, i * stride + a * dilation, j * stride + b * dilation] += part
    want = full[:, :, padding : padding + size[0], padding : padding + size[1]]
    got = Tensor(x).conv_transpose2d(Tensor(w), None, stride, padding, extra, groups, dilation)
    same(got, want, 1e-12, 1e-12)


def pooled(x: Any, k: int, s: int, p: int, ceil: bool, fold: Any, fill: float) -> Any:
    out = []
    for n in x.shape[-2:]:
        size = (-(-(n + 2 * p - k) // s) if ceil else (n + 2 * p - k) // s) + 1
        out.append(size - 1 if ceil and (size - 1) * s >= n + p else size)
    grown = np.pad(x, [(0, 0), (0, 0), (p, p + k + s), (p, p + k + s)], constant_values=fill)
    return np.array(
        [
            [fold(grown[..., i * s : i * s + k, j * s : j * s + k]) for j in range(out[1])]
            for i in range(out[0])
        ]
    ).transpose(2, 3, 0, 1)


@pytest.mark.parametrize(
    ("k", "s", "p", "ceil"), [(2, 2, 0, False), (3, 2, 1, False), (3, 2, 1, True), (2, 3, 0, True)]
)
def test_pooling(k: int, s: int, p: int, ceil: bool) -> None:
    x = r(2, 3, 6, 7)
    best = Tensor(x).max_pool2d(k, s, p, ceil_mode=ceil, return_indices=True)
    assert isinstance(best, tuple)
    same(best[0], pooled(x, k, s, p, ceil, lambda v: v.max((-1, -2)), -np.inf))
    same(Tensor(x).flatten(-2).gather(-1, best[1].flatten(-2)).reshape(best[0].shape), best[0].numpy())
    mean = pooled(x, k, s, p, ceil, lambda v: np.nanmean(v, (-1, -2)), np.nan)
    same(Tensor(x).avg_pool2d(k, s, p, ceil, count_include_pad=False), mean, 1e-12)
    if not ceil:
        mean = pooled(x, k, s, p, ceil, lambda v: v.mean((-1, -2)), 0)
        same(Tensor(x).avg_pool2d(k, s, p), mean, 1e-12)


def test_unpooling_puts_back() -> None:
    x = r(1, 2, 4, 6)
    best = Tensor(x).max_pool2d(2, return_indices=True)
    assert isinstance(best, tuple)
    back = best[0].max_unpool2d(best[1], 2).numpy()
    kept = back != 0
    np.testing.assert_array_equal(back[kept], x[kept])
    assert kept.sum() == best[0].numel()


def test_adaptive_pooling() -> None:
    x = r(2, 3, 7, 6)
    got = Tensor(x).adaptive_avg_pool2d((3, 4))
    want = np.zeros((2, 3, 3, 4))
    for i, j in itertools.product(range(3), range(4)):
        rows = slice(i * 7 // 3, math.ceil((i + 1) * 7 / 3))
        cols = slice(j * 6 // 4, math.ceil((j + 1) * 6 / 4))
        want[:, :, i, j] = x[:, :, rows, cols].mean((-1, -2))
    same(got, want, 1e-12, 1e-15)
    same(Tensor(x).adaptive_avg_pool2d(1), x.mean((-1, -2), keepdims=True), 1e-12)


def test_resizing() -> None:
    x = np.arange(4.0).reshape(1, 1, 4)
    t = Tensor(x)
    assert t.interpolate(8).numpy().ravel().tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert t.interpolate(scale_factor=0.5).numpy().ravel().tolist() == [0, 2]
    same(t.interpolate(7, mode="linear", align_corners=True), np.linspace(0, 3, 7).reshape(1, 1, 7), 1e-12)
    same(t.interpolate(8, mode="linear"), np.array([[[0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]]]), 1e-12)
    impulse = np.eye(9)[4].reshape(1, 1, 9)
    near = [
        -0.03515625,
        -0.10546875,
        0.26171875,
        0.87890625,
    ]  # Keys' kernel, a = -0.75, at 1.75, 1.25, 0.75, 0.25
    same(Tensor(impulse).interpolate(18, mode="cubic")[..., 5:13], np.array([[[*near, *near[::-1]]]]), 1e-12)
    assert Tensor(r(1, 2, 3, 4)).interpolate((6, 5), mode="bilinear").shape == (1, 2, 6, 5)
    with pytest.raises(ArgumentError):
        t.interpolate(8, scale_factor=2)
    with pytest.raises(ArgumentError):
        t.interpolate(8, mode="lanczos")


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Tensor.zeros(1, 3, 5, 5).conv2d(Tensor.zeros(2, 4, 3, 3)),
        lambda: Tensor.zeros(1, 3, 2, 2).conv2d(Tensor.zeros(2, 3, 3, 3)),
        lambda: Tensor.zeros(3, 5).conv2d(Tensor.zeros(2, 3, 3, 3)),
        lambda: Tensor.zeros(1, 4, 5, 5).conv2d(Tensor.zeros(3, 2, 3, 3), groups=2),
        lambda: Tensor.zeros(1, 1, 2, 2).max_pool2d(3),
        lambda: Tensor.zeros(2, 3).layernorm(4),
        lambda: Tensor.zeros(2, 3).groupnorm(2),
    ],
)
def test_what_does_not_fit(bad: Any) -> None:
    with pytest.raises(ShapeError):
        bad()


def attention(q: Any, k: Any, v: Any, mask: Any) -> Any:
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])
    scores = np.where(mask, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


def test_attention() -> None:
    q, k, v = r(2, 4, 5, 8), r(2, 4, 6, 8), r(2, 4, 6, 3)
    mask = RNG.random((5, 6)) > 0.3
    mask[:, 0] = True
    t = Tensor(q)
    same(t.scaled_dot_product_attention(Tensor(k), Tensor(v)), attention(q, k, v, True), 1e-12)
    same(t.scaled_dot_product_attention(Tensor(k), Tensor(v), Tensor(mask)), attention(q, k, v, mask), 1e-12)
    causal = np.tril(np.ones((5, 6), bool))
    same(
        t.scaled_dot_product_attention(Tensor(k), Tensor(v), is_causal=True),
        attention(q, k, v, causal),
        1e-12,
    )
    added = np.where(mask, 0.0, -1e9)
    same(t.scaled_dot_product_attention(Tensor(k), Tensor(v), Tensor(added)), attention(q, k, v, mask), 1e-12)
    shared = attention(q, k[:, :2].repeat(2, 1), v[:, :2].repeat(2, 1), True)
    same(t.scaled_dot_product_attention(Tensor(k[:, :2]), Tensor(v[:, :2]), enable_gqa=True), shared, 1e-12)
    with pytest.raises(ArgumentError):
        t.scaled_dot_product_attention(Tensor(k), Tensor(v), Tensor(mask), is_causal=True)


def test_normalizations() -> None:
    x, w, b = r(3, 4, 6), r(6), r(6)
    want = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * w + b
    same(Tensor(x).layernorm(6, Tensor(w), Tensor(b)), want, 1e-10)
    two = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    same(Tensor(x).layernorm((4, 6)), two, 1e-10)
    g = x.reshape(3, 2, 12)
    g = ((g - g.mean(2, keepdims=True)) / np.sqrt(g.var(2, keepdims=True) + 1e-5)).reshape(3, 4, 6)
    same(Tensor(x).groupnorm(2, Tensor(w[:4]), Tensor(b[:4])), g * w[:4, None] + b[:4, None], 1e-10)


def test_embedding_and_one_hot() -> None:
    table = r(5, 3)
    index = np.array([[0, 4], [2, 2]])
    same(Tensor(index).embedding(Tensor(table)), table[index])
    same(Tensor(index).one_hot(5), np.eye(5, dtype=np.int64)[index])
    assert Tensor(index).one_hot().shape == (2, 2, 5)
    with pytest.raises(DTypeError):
        Tensor([0.5]).one_hot(3)


def test_dropout_only_in_training() -> None:
    x = Tensor.ones(2000)
    assert x.dropout(0.5).node is x.node
    with Tensor.train():
        kept = x.dropout(0.25).numpy()
        assert x.dropout(1.0).numpy().sum() == 0
    assert not Tensor.training
    assert set(np.unique(kept).tolist()) == {0.0, float(np.float32(1 / 0.75))}
    assert 1350 < (kept > 0).sum() < 1650
    with pytest.raises(ArgumentError):
        x.dropout(1.5)
