"""NVIDIA's driver through pycuda: the few calls that the port makes, and no policy. Tests have a fake of it.

Every method but ``open_driver`` and ``push`` is called with the context current, and raises ``DriverError``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ..core.errors import CannotOpenError, DriverMissingError, NoDeviceError
from .cuda_guard import DriverError, DriverFullError
from .cuda_library import Library
from .cuda_spec import Facts

Result = TypeVar("Result")
Bytes = np.ndarray[Any, np.dtype[np.uint8]]

_BUILD = (
    "It has no wheel: with the CUDA toolkit and a C++ compiler installed, pip install 'portwright[cuda]' "
    "builds it (docs/porting/cuda.md)"
)


def open_driver(ordinal: int | None) -> Driver:
    """The driver with a device; without an ``ordinal`` the first one that it lists.

    Args:
        ordinal: which device.

    Raises:
        DriverMissingError: the driver or pycuda is missing: what mends it.
        NoDeviceError: there is no GPU, or not the one that is asked for.
        CannotOpenError: the driver refuses.
    """
    library = Library()
    if importlib.util.find_spec("pycuda") is None:
        raise DriverMissingError("pycuda is not installed", _BUILD)
    try:
        import pycuda.driver as cuda
    except ImportError as e:
        raise DriverMissingError(
            f"pycuda is installed and does not load: {e}", f"Build it anew. {_BUILD}"
        ) from e
    try:
        cuda.init()
        count = cuda.Device.count()
    except cuda.Error as e:
        raise NoDeviceError(
            f"NVIDIA's driver does not start: {e}",
            "nvidia-smi says whether it sees a GPU; a container must be run with the GPUs passed on",
        ) from e
    chosen = 0 if ordinal is None else ordinal
    if chosen >= count:
        listed = f"{count}, 0 to {count - 1}" if count else "0"
        raise NoDeviceError(
            f"there is no CUDA device {chosen}: the driver lists {listed}",
            "" if count else "CUDA_VISIBLE_DEVICES may hide them",
        )
    try:
        return Driver(cuda, library, chosen)
    except cuda.Error as e:
        raise CannotOpenError(
            f"CUDA device {chosen} does not open: {e}", "nvidia-smi says who uses it"
        ) from e


class Driver:
    """One device's primary context, a stream for work and one for noting graphs.

    Args:
        cuda: ``pycuda.driver``.
        library: what pycuda does not reach.
        ordinal: which device.
    """

    def __init__(self, cuda: Any, library: Library, ordinal: int) -> None:
        self._cuda, self._library = cuda, library
        self._device = device = cuda.Device(ordinal)
        ask = device.get_attribute
        about = cuda.device_attribute
        self.facts = Facts(
            capability=device.compute_capability(),
            processors=ask(about.MULTIPROCESSOR_COUNT),
            block=ask(about.MAX_THREADS_PER_BLOCK),
            grid=(ask(about.MAX_GRID_DIM_X), ask(about.MAX_GRID_DIM_Y), ask(about.MAX_GRID_DIM_Z)),
            shared_bytes=ask(about.MAX_SHARED_MEMORY_PER_BLOCK),
            cache_bytes=ask(about.L2_CACHE_SIZE),
            total_bytes=device.total_memory(),
        )
        version = cuda.get_driver_version()
        self.described = {
            "device": f"{device.name()} ({self.facts.architecture}), {device.pci_bus_id()}",
            "driver": f"CUDA {version // 1000}.{version % 1000 // 10}",
        }
        self._context = device.retain_primary_context()
        self.push()
        try:
            self._stream, self._notes = cuda.Stream(), cuda.Stream()
            ordered = ask(about.MEMORY_POOLS_SUPPORTED)
            self._pool = library.pool(ordinal) if ordered else None
            self._held: dict[int, Any] = {}  # allocations of drivers without stream-ordered memory
            self._began, self._ended = cuda.Event(), cuda.Event()
        finally:
            self.pop()

    def _told(self, call: Callable[..., Result], *arguments: Any) -> Result:
        try:
            return call(*arguments)
        except self._cuda.MemoryError as e:
            raise DriverFullError(str(e)) from e
        except self._cuda.Error as e:
            raise DriverError(str(e)) from e

    def push(self) -> None:
        """Makes the context the current one of this thread."""
        self._told(self._context.push)

    def pop(self) -> None:
        """Makes the one before it current again."""
        self._told(self._cuda.Context.pop)

    def synchronize(self) -> None:
        """Waits for everything that was launched."""
        self._told(self._stream.synchronize)

    def close(self) -> None:
        """Lets go of the primary context; others of the process may hold it still."""
        self._told(self._context.detach)

    # ------------------------------------------------------------------ memory

    def alloc(self, nbytes: int) -> int:
        """The address of device memory, for what follows on the stream."""
        if self._pool is not None:
            return self._library.alloc(nbytes, self._stream.handle)
        made = self._told(self._cuda.mem_alloc, nbytes)
        self._held[int(made)] = made
        return int(made)

    def free(self, address: int) -> None:
        """Gives memory back, after what is on the stream."""
        if self._pool is not None:
            self._library.free(address, self._stream.handle)
        else:
            self._told(self._held.pop(address).free)  # which waits for the device

    def trim(self) -> None:
        """Waits, and gives the driver the freed memory that it kept for reuse."""
        self.synchronize()
        if self._pool is not None:
            self._library.trim(self._pool)

    def room(self) -> tuple[int, int]:
        """Bytes of the device that are free, and all of them."""
        free, total = self._told(self._cuda.mem_get_info)
        return free, total

    def pinned(self, nbytes: int) -> Bytes:
        """Host memory that the device copies from and to by itself."""
        made: Bytes = self._told(self._cuda.pagelocked_empty, nbytes, np.uint8)
        return made

    def to_device(self, address: int, pinned: Bytes) -> None:
        """Begins a copy to the device."""
        self._told(self._cuda.memcpy_htod_async, address, pinned, self._stream)

    def to_host(self, pinned: Bytes, address: int) -> None:
        """Begins a copy to the host."""
        self._told(self._cuda.memcpy_dtoh_async, pinned, address, self._stream)

    def mark(self) -> Any:
        """A mark after what is on the stream; ``reach`` waits for it."""
        event = self._told(self._cuda.Event, self._cuda.event_flags.DISABLE_TIMING)
        self._told(event.record, self._stream)
        return event

    def reach(self, mark: Any) -> None:
        """Waits until the device is past a mark."""
        self._told(mark.synchronize)

    # ------------------------------------------------------------------ kernels

    def module(self, binary: bytes) -> Any:
        """Machine code, on the device."""
        return self._told(self._cuda.module_from_buffer, binary)

    def function(self, module: Any, name: str) -> Any:
        """A kernel of a module."""
        return self._told(module.get_function, name)

    def threads(self, function: Any) -> int:
        """The most threads of a block that the kernel has registers for."""
        attribute = self._cuda.function_attribute.MAX_THREADS_PER_BLOCK
        return int(self._told(function.get_attribute, attribute))

    def launch(self, function: Any, grid: Any, block: Any, arguments: bytes, noted: bool = False) -> None:
        """Starts a kernel on these packed arguments; where ``noted``, for the graph only."""
        stream = self._notes if noted else self._stream
        self._told(function._launch_kernel, grid, block, arguments, 0, stream)

    def begin_timing(self) -> None:
        """The clock starts after what is on the stream."""
        self._told(self._began.record, self._stream)

    def end_timing(self) -> None:
        """The clock stops after what is on the stream."""
        self._told(self._ended.record, self._stream)

    def seconds(self) -> float:
        """Between the last two, by the device's clock; waits for the second."""
        self._told(self._ended.synchronize)
        return float(self._told(self._ended.time_since, self._began)) * 1e-3

    # ------------------------------------------------------------------ graphs

    def begin_capture(self) -> None:
        """From here on launches that are ``noted`` make a graph."""
        self._library.begin_capture(self._notes.handle)

    def end_capture(self) -> Any:
        """The graph, ready to run; the capture is over even when this raises."""
        return self._library.end_capture(self._notes.handle)

    def run(self, graph: Any) -> None:
        """Runs a graph, in its place on the stream."""
        self._library.run(graph, self._stream.handle)

    def drop(self, graph: Any) -> None:
        """Gives a graph back."""
        self._library.drop(graph)
