"""The gates that sums are held to: how far one may lie from the exact one, and how far many may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.dtype import DType, float32, float64
from .exact import spacing
from .judge import Mismatch, require, show

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Sums:
    """Exact sums, and the sums of what was added without its signs.

    Attributes:
        value: the exact sums, to float64.
        size: Σ|a| of each.
    """

    value: Array
    size: Array

    @staticmethod
    def of(x: Array, axis: int) -> Sums:
        """The sums of ``x`` along an axis, which stays."""
        wide = x.astype(np.longdouble)
        return Sums(
            wide.sum(axis, keepdims=True).astype(np.float64),
            np.abs(wide).sum(axis, keepdims=True).astype(np.float64),
        )

    @staticmethod
    def of_product(a: Array, b: Array) -> Sums:
        """The elements of a matrix product, each a sum of products, with a last axis of 1."""
        a, b = a.astype(np.longdouble), b.astype(np.longdouble)
        value, size = (a @ b), (np.abs(a) @ np.abs(b))
        return Sums(value.astype(np.float64)[..., None], size.astype(np.float64)[..., None])


def gamma(n: int, dtype: DType) -> float:
    """The relative error that n roundings in ``dtype`` can add up to; n·u where it is no longer small."""
    nu = n * dtype.eps / 2
    return nu / (1 - nu) if nu < 0.5 else 2 * nu


def within_gamma(title: str, got: Array, wanted: Sums, n: int, dtype: DType) -> None:
    """Each element within γ(n)·Σ|a| of the exact one, and half a unit for its own rounding.

    Raises:
        Mismatch: with the first element that is not.
    """
    most = gamma(n, dtype) * wanted.size + spacing(dtype, wanted.value) / 2
    if dtype is float64:
        most = most * (1 + 2.0**-10)  # what the wider sums were rounded by
    with np.errstate(all="ignore"):
        off = np.abs(got.astype(np.float64) - wanted.value)
        bad = ~(off <= most)
    require(title, bad, got, wanted.value, (), f"within γ({n})·Σ|a|", off / spacing(dtype, wanted.value))


def population(title: str, got: Array, wanted: Sums, n: int, dtype: DType) -> None:
    """The root mean square and the mean of the error over many sums.

    Half-precision sums are to be kept in float32 or as exactly (by halves, say); others in their own dtype.

    Raises:
        Mismatch: when the errors are larger than that, or mostly on one side.
    """
    keeps = dtype if dtype.bits >= 32 else float32
    off = got.astype(np.float64) - wanted.value
    scale = np.sqrt(np.mean(np.square(wanted.size)))
    rounding = np.sqrt(np.mean(np.square(spacing(dtype, wanted.value))))
    allowed = rounding + np.sqrt(n) * keeps.eps / 2 * scale
    rms = np.sqrt(np.mean(np.square(off)))
    at = tuple(int(i) for i in np.unravel_index(np.argmax(np.abs(off)), off.shape))
    worst = (
        f"\n  worst at {list(at)} of shape {list(off.shape)}"
        f"\n  got        {show(got[at])}, {abs(off[at]) / spacing(dtype, wanted.value[at]):.4g} ulp away"
        f"\n  wanted     {float(wanted.value[at])!r}"
    )
    if not rms <= allowed:
        raise Mismatch(
            f"{title}: the errors' root mean square is {rms:.4g}, allowed {allowed:.4g} "
            f"({rms / rounding:.3g} units in the last place): is the accumulator too narrow?{worst}"
        )
    bias, noise = abs(float(np.mean(off))), rms / np.sqrt(off.size)
    if bias > 8 * noise:
        raise Mismatch(
            f"{title}: the errors' mean is {np.mean(off):.4g}, {bias / noise:.3g} times what chance gives: "
            f"does the accumulator round to one side?{worst}"
        )
