"""What NVIDIA's driver library has and pycuda does not reach: stream-ordered memory, and graphs.

Called with the context current; streams are given as the numbers that pycuda knows them by.
"""

from __future__ import annotations

import sys
from typing import Any

from ..core.errors import DriverMissingError
from .cuda_guard import DriverError, DriverFullError

_NAMES = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "libcuda.so")
_DECLARATIONS = """
int cuGetErrorString(int result, const char **text);
int cuDeviceGetDefaultMemPool(void **pool, int device);
int cuMemPoolSetAttribute(void *pool, int attribute, void *value);
int cuMemPoolTrimTo(void *pool, size_t keep);
int cuMemAllocAsync(unsigned long long *address, size_t size, void *stream);
int cuMemFreeAsync(unsigned long long address, void *stream);
int cuStreamBeginCapture_v2(void *stream, int mode);
int cuStreamEndCapture(void *stream, void **graph);
int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags);
int cuGraphLaunch(void *executable, void *stream);
int cuGraphExecDestroy(void *executable);
int cuGraphDestroy(void *graph);
"""
_OUT_OF_MEMORY = 2
_RELEASE_THRESHOLD = 4
_CAPTURE_RELAXED = 2
"""Other threads, and other streams of this one, may do anything meanwhile."""


class Library:
    """The driver library.

    Raises:
        DriverMissingError: when it is not there: this machine has no NVIDIA driver.
    """

    def __init__(self) -> None:
        from cffi import FFI

        self._ffi: Any = FFI()
        self._ffi.cdef(_DECLARATIONS)
        for name in _NAMES:
            try:
                self._lib: Any = self._ffi.dlopen(name)
                return
            except OSError:
                continue
        raise DriverMissingError(
            f"this machine has no NVIDIA driver (no {' or '.join(_NAMES)} loads)",
            "Install it, if there is a GPU",
        )

    def _call(self, name: str, *arguments: Any) -> None:
        try:
            function = getattr(self._lib, name)
        except AttributeError as e:
            raise DriverError(f"this driver is too old to have {name}") from e
        result = function(*arguments)
        if result:
            text = self._ffi.new("const char **")
            known = not self._lib.cuGetErrorString(result, text)
            what = self._ffi.string(text[0]).decode() if known else f"error {result}"
            raise (DriverFullError if result == _OUT_OF_MEMORY else DriverError)(f"{name} failed: {what}")

    def _pointer(self, number: int) -> Any:
        return self._ffi.cast("void *", number)

    # ------------------------------------------------------------------ stream-ordered memory

    def pool(self, device: int) -> Any:
        """The memory pool of a device, which keeps what is freed until ``trim``."""
        pool = self._ffi.new("void **")
        self._call("cuDeviceGetDefaultMemPool", pool, device)
        most = self._ffi.new("unsigned long long *", 2**64 - 1)
        self._call("cuMemPoolSetAttribute", pool[0], _RELEASE_THRESHOLD, most)
        return pool[0]

    def trim(self, pool: Any) -> None:
        """Gives what the pool keeps back to the driver, as far as its last use is over."""
        self._call("cuMemPoolTrimTo", pool, 0)

    def alloc(self, nbytes: int, stream: int) -> int:
        """The address of memory that is there for what follows on the stream."""
        address = self._ffi.new("unsigned long long *")
        self._call("cuMemAllocAsync", address, nbytes, self._pointer(stream))
        return int(address[0])

    def free(self, address: int, stream: int) -> None:
        """Gives memory back after what is on the stream already."""
        self._call("cuMemFreeAsync", address, self._pointer(stream))

    # ------------------------------------------------------------------ graphs

    def begin_capture(self, stream: int) -> None:
        """From here on what is launched on the stream is noted, and not run."""
        self._call("cuStreamBeginCapture_v2", self._pointer(stream), _CAPTURE_RELAXED)

    def end_capture(self, stream: int) -> Any:
        """What was noted since, ready to run; the capture is over even when this raises."""
        graph, executable = self._ffi.new("void **"), self._ffi.new("void **")
        self._call("cuStreamEndCapture", self._pointer(stream), graph)
        try:
            self._call("cuGraphInstantiateWithFlags", executable, graph[0], 0)
        finally:
            self._call("cuGraphDestroy", graph[0])
        return executable[0]

    def run(self, executable: Any, stream: int) -> None:
        """Runs what was noted, in its place on the stream."""
        self._call("cuGraphLaunch", executable, self._pointer(stream))

    def drop(self, executable: Any) -> None:
        """Gives a graph back; a run of it that is under way completes."""
        self._call("cuGraphExecDestroy", executable)
