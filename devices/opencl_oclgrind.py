"""The OpenCL ports under Oclgrind, an interpreter of kernels that sees what each access touches.

What it writes down of a launch is the failure of that launch. It keeps what it knows of memory with the
thread that made the context, and crashes in others, so that everything is done in one thread here.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, ClassVar, ParamSpec, TypeVar

from ..core.device import Ability, Checker, Launch, Spec
from ..core.errors import DeviceError, DriverMissingError
from ..core.record import dataclass
from .adreno import Adreno
from .opencl import OpenCL
from .opencl_choice import Candidate, candidates

if TYPE_CHECKING:
    from .opencl_limits import Limits
    from .opencl_memory import Memory
    from .opencl_program import Entry
    from .opencl_queue import Hint

_P = ParamSpec("_P")
_R = TypeVar("_R")

_PLATFORM = "oclgrind"
_SETTINGS = {
    "OCLGRIND_DATA_RACES": "1",
    "OCLGRIND_MAX_ERRORS": str(10**9),  # of a process: after these it would say nothing more
    "OCLGRIND_GLOBAL_MEM_SIZE": str(4 << 30),
    "OCLGRIND_INTERACTIVE": "0",
}
_FINDS = "accesses outside buffers or unaligned, data races, barriers that not all reach"
_FINDS_UNWRITTEN = ", reads of what nobody wrote"
_MEND = "pip install 'portwright[oclgrind]' brings it"
_UNOPTIMIZED = "-cl-opt-disable"
"""A compiler may drop an access whose value nobody needs; and Oclgrind's makes instructions that its check of
uninitialised values does not know (freeze)."""
_PIXEL = 16
"""Bytes of the largest pixel of an image that is made of a buffer."""
_MOST_LINES = 14
"""Of one report: the kernel, the work item, the line of the source, and of a race the other one."""
_QUIET = "Oclgrind computes float32 in float64, which makes signalling NaNs quiet"
_SLOW = "interpreted, it takes minutes"
_BLIND = {
    "reductions::test_sum_of_many?*-1000?": _SLOW,
    "fused::test_named?fold_of_fold-(33, 129)?": _SLOW,
    **{f"fused::test_random?{kind}-*": _SLOW for kind in ("mixed", "float32-bool", "float16", "int8")},
    **{
        f"reductions::test_matmul_of_integers?{kind}*": f"{_SLOW}; float32 and int32 are run"
        for kind in ("bfloat16", "float16", "float64", "float8", "int8", "int16", "int64", "uint")
    },
    "memory::test_given_back": "Oclgrind keeps notes on every byte: 200 times 64 MiB takes minutes",
    "casts::test_cast?int64-float32?": "Oclgrind converts int64 to float32 through float64, and rounds twice",
    **{f"primitives::test_unary?NEG-{t}?": _QUIET for t in ("bfloat16", "float16", "float32", "float8_e5m2")},
    "views::test_computed_between?float32?": _QUIET,
}
"""Cases that say nothing of a port here: a ``?`` stands for a bracket."""


@dataclass(frozen=True, slots=True)
class _Freed:
    """A buffer that nothing uses any more."""

    handle: Memory
    nbytes: int


class Watched(OpenCL):
    """An OpenCL port whose device is Oclgrind. Buffers end at their last byte.

    A vendor's port is watched as ``class AcmeWatched(Watched, Acme)``, which is its variant "sanitize".
    """

    finds_unwritten: ClassVar[bool] = True
    """Whether reads of memory that nobody wrote are reported."""
    blind: ClassVar[Mapping[str, str]] = _BLIND

    def __init__(self) -> None:
        self._freed: SimpleQueue[_Freed] = SimpleQueue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="oclgrind")
        self._ident = self._thread.submit(threading.get_ident).result()
        if not any(_PLATFORM in c.names[0].lower() for c in candidates("Oclgrind")):
            raise DriverMissingError("Oclgrind, which watches OpenCL kernels, is not installed", _MEND)
        self._log = tempfile.NamedTemporaryFile(  # noqa: SIM115 - open as long as the device is
            "r", prefix="portwright-oclgrind-", errors="replace", delete=False
        )
        ours = {
            "OCLGRIND_UNINITIALIZED": str(int(self.finds_unwritten)),
            "OCLGRIND_LOG": self._log.name,
            f"PORTWRIGHT_{self.called}": _PLATFORM,
        }
        try:
            with _environment({**_SETTINGS, **ours}):
                self._there(super().__init__)
        finally:  # both have it open by now: without a name nothing is left, however the process ends
            os.unlink(self._log.name)

    def _open(self, chosen: Candidate, spec: Spec, limits: Limits, hints: Sequence[Hint] = ()) -> None:
        from .oclgrind_memory import FreshPool
        from .opencl_image import Images
        from .opencl_launch import Launcher

        tool = f"Oclgrind {chosen.device.driver_version.removeprefix('Oclgrind').strip()}"
        spec = replace(
            spec,
            abilities=spec.abilities - {Ability.CLOCK},  # events would be asked from another thread
            checker=Checker(tool, _FINDS + _FINDS_UNWRITTEN * self.finds_unwritten, self.blind),
            driver={**spec.driver, "flags": f"{spec.driver['flags']} {_UNOPTIMIZED}"},
        )
        super()._open(chosen, spec, limits, hints)
        grain = _PIXEL if spec.images else 1
        self._pool = FreshPool(spec.name, self._queue, limits, spec.unified_memory, grain)
        self._launcher = Launcher(spec, self._pool, Images(spec.name, self._queue, limits))

    def _there(self, call: Callable[_P, _R], *args: _P.args, **named: _P.kwargs) -> _R:
        """Calls in the thread that made the context, which it may be in already."""
        if threading.get_ident() == self._ident:
            return call(*args, **named)
        return self._thread.submit(self._after_freeing, partial(call, *args, **named)).result()

    def _after_freeing(self, call: Callable[[], _R]) -> _R:
        with suppress(Empty):
            while True:
                freed = self._freed.get_nowait()
                super().free(freed.handle, freed.nbytes)
        return call()

    def alloc(self, nbytes: int) -> Memory:
        """A buffer of just so many bytes."""
        return self._there(super().alloc, nbytes)

    def free(self, handle: Memory, nbytes: int) -> None:
        """Gives the buffer back before the next call. The collector may be anywhere, even in a call to the
        thread, and must not wait for it."""
        self._freed.put(_Freed(handle, nbytes))

    def copy_in(self, handle: Memory, data: memoryview) -> None:
        """Through the queue."""
        self._there(super().copy_in, handle, data)

    def copy_out(self, data: memoryview, handle: Memory) -> None:
        """Through the queue."""
        self._there(super().copy_out, data, handle)

    def host_view(self, handle: Memory, nbytes: int) -> memoryview:
        """The memory itself."""
        return self._there(super().host_view, handle, nbytes)

    def synchronize(self) -> None:
        """Every launch was waited for."""

    def compile(self, source: str) -> bytes:
        """OpenCL C to bitcode, which keeps the lines of the source."""
        return self._there(super().compile, source)

    def load(self, binary: bytes, entries: Sequence[str]) -> list[Entry]:
        """The kernels of a binary."""
        return self._there(super().load, binary, entries)

    def launch(self, launch: Launch) -> None:
        """Runs a kernel to its end.

        Raises:
            DeviceError: with what Oclgrind says of it.
        """
        self._there(super().launch, launch)
        self._there(super().synchronize)
        first, *others = self._log.read().strip().split("\n\n")
        if first:
            lines = [line.expandtabs(2).rstrip() for line in first.splitlines() if line.strip()]
            more = [f"… and {len(others):,} more reports of this launch"] if others else []
            told = "\n    ".join([*lines[:_MOST_LINES], *more])
            raise DeviceError(f"{self.name}: Oclgrind, of kernel {launch.program.name}:\n    {told}")

    def close(self) -> None:
        """Gives everything back."""
        self._there(super().close)
        self._thread.shutdown()


class WatchedAdreno(Watched, Adreno):
    """ADRENO's usual profile, laid over Oclgrind, which takes every image for never written."""

    finds_unwritten = False
    blind: ClassVar[Mapping[str, str]] = {**_BLIND, "views::test_single?cube?": _QUIET}


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Inside, the environment says so; Oclgrind reads it when a context is made."""
    before = {key: os.environ.get(key) for key in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
