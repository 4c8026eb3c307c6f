"""Layers of convolutional nets, and the two gradients of each."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .workloads import EPSILON, Array, Expected, Inputs, Random, Workload, normal, product_of


def conv2d(
    images: int,
    channels: int,
    filters: int,
    side: int,
    window: int,
    stride: int = 1,
    *,
    name: str = "",
    last: bool = False,
) -> Workload:
    """Windows of an odd side, padded so that there is one for each pixel; for each other one at stride 2.

    Args:
        images, channels, filters, side, window, stride: sizes.
        name: in the table; that of the kind when not given.
        last: whether channels come last in images (NHWC), those that are read and those that are written.
    """
    shape, pad = (images, channels, side, side), window // 2
    terms, results = channels * window**2, -(-side // stride)

    def make(random: Random) -> Inputs:
        x = normal(random, *shape)
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if last else x
        return {"x": x, "w": normal(random, filters, channels, window, window)}

    def expect(v: Inputs, random: Random) -> Expected:
        at = np.unique([0, images - 1])
        x = v["x"].transpose(0, 3, 1, 2) if last else v["x"]
        x = np.pad(x[at], ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(x, (window, window), (2, 3))
        windows = windows[:, :, ::stride, ::stride]
        flat = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, terms)
        values, allowed = product_of(flat, v["w"].reshape(filters, terms).T, terms)
        whole = (len(at), results, results, filters)
        if last:
            size = (images, results, results, filters)
            return Expected(size, at, values.reshape(whole), allowed.reshape(whole))
        turned = [z.reshape(whole).transpose(0, 3, 1, 2) for z in (values, allowed)]
        return Expected((images, filters, results, results), at, turned[0], turned[1])

    read, written = math.prod(shape), images * filters * results * results
    kind, more = ("conv2d", "") if stride == 1 else (f"conv2d_s{stride}", f", stride {stride}")
    kind, more = (f"{kind}_last", f"{more}, channels last") if last else (kind, more)
    return Workload(
        name or kind, kind,
        f"{'x'.join(map(str, shape))} with {filters}x{channels}x{window}x{window}, padding {pad}{more}",
        make, expect, nbytes=4 * (read + written + filters * terms), flops=2 * written * terms,
    )  # fmt: skip


def by_input(images: int, channels: int, filters: int, side: int, window: int, stride: int = 1) -> Workload:
    """The gradient of ``conv2d`` by its images, of a side that the stride divides."""
    terms = filters * window**2

    def expect(v: Inputs, random: Random) -> Expected:
        at = np.unique([0, images - 1])
        g, w = v["g"][at].astype(np.float64), v["w"].astype(np.float64)
        values, absolute = _added(g, w, side, stride), _added(np.abs(g), np.abs(w), side, stride)
        allowed = terms * EPSILON * absolute + np.finfo(np.float32).tiny  # where no window was, too
        return Expected((images, channels, side, side), at, values, allowed)

    return _gradient(
        "input", images, channels, filters, side, window, stride,
        expect,
    )  # fmt: skip


def _added(g: Array, w: Array, side: int, stride: int) -> Array:
    """Each result's gradient times the weights, added to the pixels that it was made of."""
    window, pad, results = w.shape[-1], w.shape[-1] // 2, g.shape[-1]
    out = np.zeros((len(g), w.shape[1], side + 2 * pad, side + 2 * pad))
    for i in range(window):
        for j in range(window):
            at = (..., *(slice(n, n + stride * (results - 1) + 1, stride) for n in (i, j)))
            out[at] += np.einsum("nohw,oc->nchw", g, w[:, :, i, j], optimize=True)
    return out[..., pad : pad + side, pad : pad + side]


def by_weight(images: int, channels: int, filters: int, side: int, window: int, stride: int = 1) -> Workload:
    """The gradient of ``conv2d`` by its weights, of images of a side that the stride divides."""
    results, pad = side // stride, window // 2
    terms = images * results**2

    def expect(v: Inputs, random: Random) -> Expected:
        x = np.pad(v["x"].astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        g = v["g"].astype(np.float64).transpose(1, 0, 2, 3).reshape(filters, terms)
        values, absolute = (np.empty((filters, channels, window, window)) for _ in range(2))
        for i in range(window):
            for j in range(window):
                at = (..., *(slice(n, n + stride * (results - 1) + 1, stride) for n in (i, j)))
                pixels = x[at].transpose(0, 2, 3, 1).reshape(terms, channels)
                values[:, :, i, j], absolute[:, :, i, j] = g @ pixels, np.abs(g) @ np.abs(pixels)
        return Expected(values.shape, ..., values, terms * EPSILON * absolute)

    return _gradient(
        "weight", images, channels, filters, side, window, stride,
        expect,
    )  # fmt: skip


def _gradient(
    by: str, images: int, channels: int, filters: int, side: int, window: int, stride: int,
    expect: Callable[[Inputs, Random], Expected],
) -> Workload:  # fmt: skip
    of_images, of_results = (images, channels, side, side), (images, filters, side // stride, side // stride)
    of_weights = (filters, channels, window, window)
    kind, more = (
        (f"conv2d_by_{by}", "") if stride == 1 else (f"conv2d_by_{by}_s{stride}", f", stride {stride}")
    )
    shape = f"{'x'.join(map(str, of_images))} with {'x'.join(map(str, of_weights))}"
    moved = {"input": (of_results, of_weights, of_images), "weight": (of_results, of_images, of_weights)}
    return Workload(
        f"{kind}_{window}x{window}_{side}", kind, f"gradient by {by} of {shape}, padding {window // 2}{more}",
        lambda r: {"g": normal(r, *of_results), "x": normal(r, *of_images), "w": normal(r, *of_weights)},
        expect,
        nbytes=4 * sum(map(math.prod, moved[by])), flops=2 * math.prod(of_results) * channels * window**2,
    )  # fmt: skip
