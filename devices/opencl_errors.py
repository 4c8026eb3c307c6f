"""What an OpenCL driver complains of, as Portwright's errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyopencl as cl

from ..core.errors import DeviceError, OutOfMemoryError

_FULL = (cl.status_code.MEM_OBJECT_ALLOCATION_FAILURE, cl.status_code.OUT_OF_HOST_MEMORY)


@contextmanager
def driver_errors(
    name: str, doing: str, full: Callable[[], OutOfMemoryError] | None = None
) -> Iterator[None]:
    """Inside, an error of the driver becomes one that says which port could not do what.

    Args:
        name: the port's.
        doing: what it could not do: "launch kernel sum_4".
        full: what to raise when the driver says that it is out of memory.
    """
    try:
        yield
    except cl.Error as e:
        if full is not None and e.code in _FULL:
            raise full() from e
        raise DeviceError(
            f"{name} cannot {doing}: {e}. If the next call fails too, the device or its driver is gone: "
            "start the program anew"
        ) from e
