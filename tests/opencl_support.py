"""What tests of the OpenCL ports share: a driver (without one, they are skipped), buffers, launches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from portwright.core.device import Buffer, Device, Launch

Array = np.ndarray[Any, np.dtype[Any]]


def _driver() -> Any:
    """pyopencl, where it is installed with a driver."""
    cl = pytest.importorskip("pyopencl", reason="pyopencl is not installed: pip install 'portwright[pocl]'")
    try:
        cl.get_platforms()
    except cl.LogicError as e:
        pytest.skip(
            f"no OpenCL driver is installed ({e}): pip install 'portwright[pocl]'", allow_module_level=True
        )
    return cl


cl = _driver()


@contextmanager
def opened(port: type[Device], *argument: str) -> Iterator[Any]:
    """A device, closed in the end."""
    device = port(*argument)
    try:
        yield device
    finally:
        device.close()


def put(device: Device, array: Array) -> Buffer:
    """An array on a device."""
    buffer = Buffer(device, array.nbytes)
    buffer.write(memoryview(np.ascontiguousarray(array)).cast("B"))
    return buffer


def get(buffer: Buffer, dtype: Any) -> Array:
    """What a buffer holds."""
    out = np.empty(buffer.nbytes // np.dtype(dtype).itemsize, dtype)
    buffer.read(memoryview(out).cast("B"))
    return out


def run(device: Device, kernel: Any, groups: Any, group: Any, *buffers: Buffer) -> None:
    """Launches a kernel over so many work-groups of so many work items."""
    grid = (groups, 1, 1) if isinstance(groups, int) else groups
    block = (group, 1, 1) if isinstance(group, int) else group
    device.launch(Launch(kernel, grid, block, buffers))
