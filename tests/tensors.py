"""What tests of Tensor share: the reference device, comparison in ulp, finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from portwright import Tensor
from portwright.core import registry

Array = np.ndarray[Any, np.dtype[Any]]


@contextmanager
def on(device: str) -> Iterator[None]:
    """``device`` as the default; these tests are about meaning, which needs no compiler."""
    registry.set_default(device)
    try:
        yield
    finally:
        registry.set_default(None)


def same(got: Tensor, want: Any, rtol: float = 0.0, atol: float = 0.0) -> None:
    """``got`` has the shape, dtype and values of the array ``want``: exactly, unless a bound is given."""
    want = np.asarray(want)
    values = got.numpy()
    assert values.shape == want.shape
    assert values.dtype == want.dtype
    np.testing.assert_allclose(values, want, rtol, atol)


def ulps(got: Array, want: Array) -> Array:
    """How far ``got`` lies from the wider ``want``, in units in the last place; 0 of equal specials."""
    with np.errstate(all="ignore"):
        near = want.astype(got.dtype)
        unit = np.where(np.isfinite(near), np.spacing(np.abs(near)), 1).astype(want.dtype)
        same_value = (got == near) | (np.isnan(got) & np.isnan(near))
        return np.where(same_value, 0, np.abs(got.astype(want.dtype) - want) / unit)


def check_gradient(f: Callable[..., Tensor], *arrays: Array, step: float = 1e-6, tol: float = 1e-6) -> None:
    """The gradient of a random weighting of ``f``'s result by each array, against central differences."""
    rng = np.random.default_rng(1)
    inputs = [Tensor(a.astype(np.float64), requires_grad=True) for a in arrays]
    out = f(*inputs)
    weight = rng.standard_normal(out.shape)
    (out * Tensor(weight)).sum().backward()
    for i, (x, a) in enumerate(zip(inputs, arrays, strict=True)):
        want = np.zeros(a.shape)
        moved = np.stack([a.astype(np.float64)] * (2 * a.size))
        for k in range(a.size):
            moved[2 * k].flat[k] += step
            moved[2 * k + 1].flat[k] -= step
        for k in range(a.size):
            values = []
            for m in moved[2 * k : 2 * k + 2]:
                args = [Tensor(m) if j == i else Tensor(b.astype(np.float64)) for j, b in enumerate(arrays)]
                values.append(float((f(*args).numpy() * weight).sum()))
            want.flat[k] = (values[0] - values[1]) / (2 * step)
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.numpy(), want, tol, tol, err_msg=f"input {i}")
