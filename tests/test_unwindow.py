"""Windows added back where they were: gradients of windows and convolutions against loops of NumPy."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from portwright import Tensor
from portwright.core import engine
from portwright.core.unwindow import TERMS, fold_windows

CASES = [
    ((2, 2), (3, 3), (5, 4)),
    ((2, 1), (3, 2), (4, 6)),
    ((3, 2), (2, 5), (3, 3)),
    ((4, 4), (2, 1), (2, 3)),
    ((2, 2), (4, 4), (1, 1)),
]


def brute(g: np.ndarray, shape: tuple[int, int], stride: tuple[int, int]) -> np.ndarray:
    """Each element of each window, added where it belongs."""
    out = np.zeros((g.shape[0], *shape))
    for i, j, k, m in product(*map(range, g.shape[1:])):
        out[:, i * stride[0] + k, j * stride[1] + m] += g[:, i, j, k, m]
    return out


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize(("stride", "kernel", "out"), CASES)
def test_windows_are_added_where_they_were(
    stride: tuple[int, int], kernel: tuple[int, int], out: tuple[int, int], long: bool
) -> None:
    """Whether they are sums themselves, which are put into memory first, or not."""
    rng = np.random.default_rng(0)
    parts = rng.integers(-4, 5, (2, *out, *kernel, TERMS)).astype(np.float32)
    given = Tensor(parts).sum(-1) if long else Tensor(parts[..., 0])
    g = parts.sum(-1) if long else parts[..., 0]
    shape = tuple((o - 1) * s + k + 1 for o, s, k in zip(out, stride, kernel, strict=True))
    found = given._new(fold_windows(given.node, shape, stride))
    assert np.array_equal(found.numpy(), brute(g, shape, stride))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
def test_gradients_of_a_convolution(
    stride: int | tuple[int, int], padding: int, dilation: int, groups: int
) -> None:
    rng = np.random.default_rng(1)
    a = rng.integers(-3, 4, (2, 4, 9, 8)).astype(np.float64)
    b = rng.integers(-3, 4, (6, 4 // groups, 3, 2)).astype(np.float64)
    x, w = Tensor(a), Tensor(b)
    x.requires_grad = w.requires_grad = True
    y = x.conv2d(w, None, stride, padding, dilation, groups)
    g = rng.integers(-3, 4, y.shape).astype(np.float64)
    by_input, by_weight = (y * Tensor(g)).sum().gradient(x, w)
    steps = (stride, stride) if isinstance(stride, int) else stride
    padded = np.zeros((2, 4, 9 + 2 * padding, 8 + 2 * padding))
    inside = (..., slice(padding, padding + 9), slice(padding, padding + 8))
    padded[inside] = a
    of_input, of_weight = np.zeros_like(padded), np.zeros_like(b)
    for n, o, i, j, c, k, m in product(*map(range, y.shape), *map(range, b.shape[1:])):
        at = (
            n,
            o // (6 // groups) * (4 // groups) + c,
            i * steps[0] + k * dilation,
            j * steps[1] + m * dilation,
        )
        of_input[at] += g[n, o, i, j] * b[o, c, k, m]
        of_weight[o, c, k, m] += g[n, o, i, j] * padded[at]
    assert np.array_equal(by_input.numpy(), of_input[inside])
    assert np.array_equal(by_weight.numpy(), of_weight)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
def test_the_gradients_of_its_transpose_are_the_convolution_and_its_own(
    stride: int | tuple[int, int], groups: int
) -> None:
    """<conv(x, w), g> = <x, transpose(g, w)>, in each of the three."""
    rng = np.random.default_rng(2)
    x, w = (Tensor(rng.integers(-3, 4, s).astype(np.float64)) for s in ((2, 4, 9, 8), (6, 4 // groups, 3, 2)))
    y = x.conv2d(w, None, stride, 1, groups=groups)
    g = Tensor(rng.integers(-3, 4, y.shape).astype(np.float64))
    x.requires_grad = w.requires_grad = g.requires_grad = True
    of_conv = (x.conv2d(w, None, stride, 1, groups=groups) * g).sum().gradient(x, w, g)
    steps = (stride, stride) if isinstance(stride, int) else stride
    extra = tuple((n + 2 - k) % s for n, k, s in zip((9, 8), (3, 2), steps, strict=True))
    back = g.conv_transpose2d(w, None, stride, 1, extra, groups)
    of_transpose = (back * x).sum().gradient(x, w, g)
    for one, other in zip(of_conv, of_transpose, strict=True):
        assert np.array_equal(one.numpy(), other.numpy())


def test_no_term_is_computed_for_a_window_that_is_not_there() -> None:
    """Of a stride of 2 in both directions each element has a quarter of the taps."""
    x, w = Tensor(np.ones((1, 16, 32, 32), np.float32)), Tensor(np.ones((16, 16, 4, 4), np.float32))
    kernels = engine.kernels([x.conv_transpose2d(w, None, 2, 1).node], "CPU")
    assert sum(k.flops for k in kernels) < 1.2 * 2 * 16 * 16 * 16 * 32 * 32
