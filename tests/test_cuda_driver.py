"""NVIDIA's driver as the port calls it: pycuda by a fake, the driver library by a small one compiled here."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from portwright.core.errors import DriverMissingError, NoDeviceError
from portwright.devices import cuda_driver, cuda_library
from portwright.devices.cuda_driver import Driver, open_driver
from portwright.devices.cuda_guard import DriverError, DriverFullError
from portwright.devices.toolchain import find_toolchain

LIBRARY = r"""
static int calls[16];
static unsigned long long threshold, last;
static int full;
int cuGetErrorString(int result, const char **text) {
  *text = result == 2 ? "out of memory" : "invalid value"; return 0;
}
int cuDeviceGetDefaultMemPool(void **pool, int device) { *pool = (void *)(long)(100 + device); return 0; }
int cuMemPoolSetAttribute(void *pool, int attribute, void *value) {
  if (attribute != 4) return 1;
  threshold = *(unsigned long long *)value; return 0;
}
int cuMemPoolTrimTo(void *pool, unsigned long keep) { calls[1]++; return pool != (void *)101 || keep; }
int cuMemAllocAsync(unsigned long long *address, unsigned long size, void *stream) {
  if (size > 1000) return 2;
  *address = 4096 + size; last = (unsigned long long)stream; return 0;
}
int cuMemFreeAsync(unsigned long long address, void *stream) {
  return address != 4096 + 10 || stream != (void *)7;
}
int cuStreamBeginCapture_v2(void *stream, int mode) { return mode == 2 ? 0 : 1; }
int cuStreamEndCapture(void *stream, void **graph) { *graph = (void *)50; return 0; }
int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
  *executable = (void *)60; return graph == (void *)50 && !flags ? full : 1;
}
int cuGraphLaunch(void *executable, void *stream) {
  return executable != (void *)60 || stream != (void *)7;
}
int cuGraphExecDestroy(void *executable) { return executable == (void *)60 ? 0 : 1; }
int cuGraphDestroy(void *graph) { calls[0]++; return 0; }
int asked(int which) { return which == 2 ? (int)(threshold >> 63) : which == 3 ? (int)last : calls[which]; }
void refuse(int code) { full = code; }
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A library that has the functions, checks what they are given, and counts."""
    tools = find_toolchain()
    path = tmp_path_factory.mktemp("driver") / "libcuda.so"
    path.write_bytes(tools.compile(LIBRARY, tools.flags))
    return str(path)


@pytest.fixture
def library(small, monkeypatch):
    monkeypatch.setattr(cuda_library, "_NAMES", ("libabsent.so.1", small))
    made = cuda_library.Library()
    made._ffi.cdef("int asked(int which); void refuse(int code);", override=True)
    return made


def test_memory_is_ordered_on_the_stream(library):
    pool = library.pool(1)
    assert library._lib.asked(2) == 1  # the pool keeps everything: the threshold has its top bit
    assert library.alloc(10, 7) == 4106
    assert library._lib.asked(3) == 7
    library.free(4106, 7)
    library.trim(pool)
    assert library._lib.asked(1) == 1


def test_the_librarys_errors_are_told_apart(library):
    with pytest.raises(DriverFullError, match="cuMemAllocAsync failed: out of memory"):
        library.alloc(1001, 7)
    with pytest.raises(DriverError, match="cuMemFreeAsync failed: invalid value"):
        library.free(1, 7)


def test_a_graph_is_noted_run_and_dropped(library):
    library.begin_capture(9)
    executable = library.end_capture(9)
    library.run(executable, 7)
    library.drop(executable)
    dropped = library._lib.asked(0)
    library._lib.refuse(1)
    try:
        with pytest.raises(DriverError, match="cuGraphInstantiateWithFlags failed"):
            library.end_capture(9)
    finally:
        library._lib.refuse(0)
    assert library._lib.asked(0) == dropped + 1  # the graph went back all the same


def test_an_old_driver_lacks_functions_and_says_which(tmp_path, monkeypatch):
    tools = find_toolchain()
    path = tmp_path / "libcuda.so"
    path.write_bytes(tools.compile("int cuInit(int x) { return 0; }", tools.flags))
    monkeypatch.setattr(cuda_library, "_NAMES", (str(path),))
    with pytest.raises(DriverError, match="this driver is too old to have cuMemAllocAsync"):
        cuda_library.Library().alloc(8, 0)


# ------------------------------------------------------------------------------------------- pycuda


class Names:
    """An enumeration of pycuda: any name in capitals, which is its own value."""

    def __init__(self, **values):
        self._values = values

    def __getattr__(self, name):
        assert name.isupper() or name[0].isupper(), name
        return name


class FakeCuda(ModuleType):
    """``pycuda.driver``, as far as the port calls it; the signatures are those of pycuda 2026.1."""

    class Error(Exception): ...

    class MemoryError(Error): ...

    device_attribute = Names()
    function_attribute = Names()
    event_flags = Names()

    def __init__(self, count=1, pools=1):
        super().__init__("pycuda.driver")
        self.calls, self.depth, self.count, self.pools = [], 0, count, pools
        self.fails = None
        self.Device = type("Device", (_FakeDevice,), {"cuda": self})
        self.Context = SimpleNamespace(pop=self._pop)
        self.Stream = lambda: _FakeStream(self)
        self.Event = lambda flags=0: _FakeEvent(self, flags)

    def said(self, *call):
        assert self.depth > 0, call
        self.calls.append(call)
        if self.fails is not None:
            error, self.fails = self.fails, None
            raise error

    def init(self):
        if self.count < 0:
            raise self.Error("cuInit failed: no CUDA-capable device is detected")

    def get_driver_version(self):
        return 12090

    def _pop(self):
        self.depth -= 1

    def push(self):
        self.depth += 1

    def detach(self):
        self.calls.append(("detach",))

    def mem_alloc(self, nbytes):
        self.said("mem_alloc", nbytes)
        return _FakeAllocation(self)

    def mem_get_info(self):
        return 10, 20

    def pagelocked_empty(self, shape, dtype):
        self.said("pagelocked_empty", shape)
        return np.empty(shape, dtype)

    def memcpy_htod_async(self, dest, src, stream=None):
        self.said("htod", dest, src.size, stream.handle)

    def memcpy_dtoh_async(self, dest, src, stream=None):
        self.said("dtoh", dest.size, src, stream.handle)

    def module_from_buffer(self, binary):
        self.said("module", binary)
        return SimpleNamespace(get_function=lambda name: _FakeFunction(self, name))


class _FakeDevice:
    cuda: FakeCuda

    def __init__(self, ordinal):
        self.ordinal = ordinal

    @classmethod
    def count(cls):
        return cls.cuda.count

    def name(self):
        return "Fake GPU"

    def pci_bus_id(self):
        return "0000:01:00.0"

    def compute_capability(self):
        return (8, 0)

    def total_memory(self):
        return 1 << 30

    def get_attribute(self, name):
        return {"MEMORY_POOLS_SUPPORTED": self.cuda.pools, "MAX_THREADS_PER_BLOCK": 1024}.get(name, 65535)

    def retain_primary_context(self):
        return self.cuda


class _FakeStream:
    handles = 6

    def __init__(self, cuda):
        cuda.said("Stream")
        _FakeStream.handles += 1
        self.cuda, self.handle = cuda, _FakeStream.handles

    def synchronize(self):
        self.cuda.said("synchronize", self.handle)


class _FakeEvent:
    def __init__(self, cuda, flags):
        cuda.said("Event", flags)
        self.cuda = cuda

    def record(self, stream):
        self.cuda.said("record", stream.handle)

    def synchronize(self):
        self.cuda.said("wait")

    def time_since(self, start):
        assert start is not self
        return 2.5


class _FakeAllocation:
    def __init__(self, cuda):
        self.cuda = cuda

    def __int__(self):
        return 512

    def free(self):
        self.cuda.said("free")


class _FakeFunction:
    def __init__(self, cuda, name):
        self.cuda, self.name = cuda, name

    def get_attribute(self, name):
        return {"MAX_THREADS_PER_BLOCK": 768}[name]

    def _launch_kernel(self, grid, block, arguments, shared, stream):
        self.cuda.said("launch", self.name, grid, block, arguments, shared, stream.handle)


@pytest.fixture
def fresh(monkeypatch):
    monkeypatch.setattr(_FakeStream, "handles", 6)


def driver(library, **how):
    cuda = FakeCuda(**how)
    made = Driver(cuda, library, 0)
    assert cuda.depth == 0
    cuda.calls.clear()
    cuda.push()
    return cuda, made


def test_a_device_is_asked_what_it_has(library, fresh):
    _, made = driver(library)
    assert made.facts.architecture == "sm_80"
    assert (made.facts.block, made.facts.total_bytes) == (1024, 1 << 30)
    assert made.described == {"device": "Fake GPU (sm_80), 0000:01:00.0", "driver": "CUDA 12.9"}


def test_work_goes_to_one_stream_and_notes_to_another(library, fresh):
    cuda, made = driver(library)
    module = made.module(b"code")
    function = made.function(module, "k")
    assert made.threads(function) == 768
    made.launch(function, (2, 1, 1), (32, 1, 1), b"args")
    made.launch(function, (2, 1, 1), (32, 1, 1), b"args", noted=True)
    pinned = made.pinned(16)
    made.to_device(512, pinned[:8])
    made.to_host(pinned[:8], 512)
    made.reach(made.mark())
    made.synchronize()
    assert cuda.calls == [
        ("module", b"code"),
        ("launch", "k", (2, 1, 1), (32, 1, 1), b"args", 0, 7),
        ("launch", "k", (2, 1, 1), (32, 1, 1), b"args", 0, 8),
        ("pagelocked_empty", 16),
        ("htod", 512, 8, 7),
        ("dtoh", 8, 512, 7),
        ("Event", "DISABLE_TIMING"),
        ("record", 7),
        ("wait",),
        ("synchronize", 7),
    ]
    made.begin_timing()
    made.end_timing()
    assert made.seconds() == pytest.approx(2.5e-3)
    assert made.room() == (10, 20)


def test_memory_is_the_pools_or_pycudas(library, fresh):
    cuda, made = driver(library)
    assert made.alloc(10) == 4106
    made.free(4106)
    assert cuda.calls == []
    cuda, made = driver(library, pools=0)
    address = made.alloc(10)
    made.free(address)
    made.trim()
    assert [c[0] for c in cuda.calls] == ["mem_alloc", "free", "synchronize"]


def test_pycudas_errors_are_told_apart(library, fresh):
    cuda, made = driver(library, pools=0)
    cuda.fails = cuda.MemoryError("cuMemAlloc failed: out of memory")
    with pytest.raises(DriverFullError, match="out of memory"):
        made.alloc(10)
    cuda.fails = cuda.Error("cuStreamSynchronize failed: an illegal memory access was encountered")
    with pytest.raises(DriverError, match="illegal memory access"):
        made.synchronize()
    made.close()
    assert cuda.calls[-1] == ("detach",)


# ------------------------------------------------------------------------------------------- opening


@pytest.fixture
def installed(library, monkeypatch):
    """pycuda, as a fake: what is passed here is found by ``import pycuda.driver``."""

    def install(cuda):
        package = ModuleType("pycuda")
        package.__path__ = []
        package.driver = cuda
        monkeypatch.setitem(sys.modules, "pycuda", package)
        monkeypatch.setitem(sys.modules, "pycuda.driver", cuda)
        monkeypatch.setattr(cuda_driver.importlib.util, "find_spec", lambda name: object())

    return install


def test_without_the_driver_it_says_what_it_takes(monkeypatch):
    monkeypatch.setattr(cuda_library, "_NAMES", ("libabsent.so.1",))
    with pytest.raises(
        DriverMissingError, match=r"no NVIDIA driver \(no libabsent.so.1 loads\). Install it, if"
    ):
        open_driver(None)


def test_without_pycuda_it_says_how_to_build_it(library, monkeypatch):
    monkeypatch.setattr(cuda_driver.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        DriverMissingError, match=r"pycuda is not installed. It has no wheel: .*portwright\[cuda\]"
    ):
        open_driver(None)


def test_a_pycuda_that_does_not_load_says_why(library, monkeypatch):
    monkeypatch.setattr(cuda_driver.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(DriverMissingError, match="pycuda is installed and does not load"):
        open_driver(None)


def test_a_machine_without_gpus_says_so(installed):
    installed(FakeCuda(count=-1))
    with pytest.raises(NoDeviceError, match="driver does not start: cuInit failed: no CUDA-capable"):
        open_driver(None)
    installed(FakeCuda(count=0))
    with pytest.raises(NoDeviceError, match=r"no CUDA device 0: the driver lists 0\. CUDA_VISIBLE_DEVICES"):
        open_driver(None)


def test_the_device_that_was_asked_for_is_opened(installed, fresh):
    installed(FakeCuda(count=2))
    assert open_driver(1)._device.ordinal == 1
    assert open_driver(None)._device.ordinal == 0
    with pytest.raises(NoDeviceError, match="no CUDA device 2: the driver lists 2, 0 to 1"):
        open_driver(2)
