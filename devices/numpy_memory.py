"""A device whose memory is the host's, held as NumPy arrays of bytes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.device import Device
from ..core.errors import OutOfMemoryError

Array = np.ndarray[Any, np.dtype[Any]]


class HostMemory(Device):
    """Memory, copies and host views over NumPy: a handle is an array of bytes."""

    def alloc(self, nbytes: int) -> Any:
        """Host memory."""
        try:
            room = np.empty(nbytes + self.spec.alignment, np.uint8)
        except MemoryError as e:
            raise OutOfMemoryError(
                f"{self.name} has no room for {nbytes:,} bytes: free some tensors or use smaller ones"
            ) from e
        first = -room.ctypes.data % self.spec.alignment
        return room[first : first + nbytes]

    def free(self, handle: Any, nbytes: int) -> None:
        """NumPy frees it with the last reference."""

    def copy_in(self, handle: Any, data: memoryview) -> None:
        """Host to host."""
        handle[: data.nbytes] = np.frombuffer(data, np.uint8)

    def copy_out(self, data: memoryview, handle: Any) -> None:
        """Host to host."""
        np.frombuffer(data, np.uint8)[:] = handle[: data.nbytes]

    def host_view(self, handle: Any, nbytes: int) -> memoryview:
        """The memory itself."""
        return memoryview(handle)[:nbytes]
