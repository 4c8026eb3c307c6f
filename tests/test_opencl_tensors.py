"""Tensors on OPENCL: what rows of awkward sizes become in vectors of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from tensors import on

from portwright import Tensor, debug
from portwright.core.errors import DeviceError
from portwright.core.registry import open_device
from portwright.core.trace import KernelRun

try:
    open_device("OPENCL")
except DeviceError as e:
    pytest.skip(f"OPENCL does not open here: {e}", allow_module_level=True)

KINDS = (np.bool_, np.int8, np.uint8, np.int16, np.int32, np.int64, np.float32, np.float64)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("shape", [(16, 17), (3, 64), (5, 131)])
def test_rows_fold_in_vectors_that_begin_anywhere(dtype: type, shape: tuple[int, int]) -> None:
    rows = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    with on("OPENCL"):
        assert np.array_equal(Tensor(rows).max(1).numpy(), rows.max(1))
        assert np.array_equal((Tensor(rows) == 1).any(1).numpy(), (rows == 1).any(1))
        assert np.array_equal((Tensor(rows) == 1).all(1).numpy(), (rows == 1).all(1))


@pytest.mark.parametrize("dtype", KINDS)
def test_elements_are_stored_in_vectors_that_begin_anywhere(dtype: type) -> None:
    table = np.random.default_rng(0).integers(0, 2, (9, 33)).astype(dtype)
    with on("OPENCL"):
        assert np.array_equal(Tensor(table).pad(((0, 0), (1, 2))).numpy(), np.pad(table, ((0, 0), (1, 2))))
        assert np.array_equal((Tensor(table) == 1).numpy(), table == 1)


def test_a_kernel_s_time_is_the_device_s_own() -> None:
    device = open_device("OPENCL")
    with on("OPENCL"), debug.record() as events:
        (Tensor(np.arange(4000, dtype=np.float32)) * 1.25 + 3).realize()
    assert [e.seconds for e in events if isinstance(e, KernelRun)] == [device.launch_seconds()]
