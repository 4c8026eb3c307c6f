"""Integers wrap, also where a compiler would rather think that they never overflow."""

from __future__ import annotations

import numpy as np
import pytest

from portwright import Tensor
from portwright.core.errors import DeviceError
from portwright.core.registry import open_device


@pytest.mark.parametrize("n", [3, 8192], ids=["one by one", "in vectors"])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64], ids=lambda d: d.__name__)
@pytest.mark.parametrize("device", ["CPU", "OPENCL", "CUDA:sim", "METAL:sim"])
def test_an_overflow_is_not_thought_away(device, dtype, n):
    """x + 1 < x holds for the greatest x, and (2 x) / 2 differs from it."""
    try:
        open_device(device)
    except DeviceError as e:
        pytest.skip(str(e))
    most = np.iinfo(dtype).max
    x = np.resize(np.array([most, 5, -7], dtype), n)
    t = Tensor(x, device=device)
    assert np.array_equal(((t + 1) < t).numpy(), x == most)
    assert np.array_equal(((t * 2) // 2 != t).numpy(), x == most)
    assert np.array_equal((-(t - 1) > (1 - t)).numpy(), np.zeros(n, bool))
