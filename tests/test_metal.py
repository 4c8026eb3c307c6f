"""The METAL port over fakes of Metal's objects: order of calls, batches, memory, and what goes wrong."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest
from metal_fake import FakeError, FakeMetalPort, FakeOptions, FakePipeline

from portwright import Tensor
from portwright.core import dtype as dt
from portwright.core import registry
from portwright.core.device import Buffer, Launch
from portwright.core.errors import CompileError, DeviceError, OutOfMemoryError
from portwright.devices import metal_queue

ADD_ONE = """#include <metal_stdlib>
using namespace metal;
kernel void k(device float *o [[buffer(0)]], const device float *a [[buffer(1)]],
              uint i [[thread_position_in_grid]]) {
  o[i] = a[i] + 1;
}"""


@pytest.fixture
def metal():
    device = FakeMetalPort()
    yield device
    assert device.fake.pools == 0


def put(device, array):
    buffer = Buffer(device, array.nbytes)
    buffer.write(memoryview(np.ascontiguousarray(array).view(np.uint8).reshape(-1)))
    return buffer


def get(buffer, dtype=np.float32):
    out = np.empty(buffer.nbytes, np.uint8)
    buffer.read(memoryview(out))
    return out.view(dtype)


def kernel(device):
    return device.load(device.compile(ADD_ONE), ["k"])[0]


def launch(k, *buffers, grid=(1, 1, 1), block=(32, 1, 1)):
    return Launch(k, grid, block, buffers)


# ------------------------------------------------------------------------------------------- running


def test_a_read_commits_what_was_launched_and_waits_for_it(metal):
    x = np.arange(64, dtype=np.float32)
    a, o = put(metal, x), Buffer(metal, x.nbytes)
    metal.launch(launch(kernel(metal), o, a, grid=(2, 1, 1)))
    assert "commit" not in metal.fake.calls
    assert np.array_equal(get(o), x + 1)
    assert metal.fake.calls[-4:] == ["dispatch", "endEncoding", "commit", "wait"]


def test_launches_share_a_command_buffer_up_to_so_many(metal, monkeypatch):
    monkeypatch.setattr(metal_queue, "BATCH", 3)
    a, o = put(metal, np.zeros(32, np.float32)), Buffer(metal, 128)
    k = kernel(metal)
    for _ in range(7):
        metal.launch(launch(k, o, a))
    assert metal.fake.calls.count("commandBuffer") == 3
    assert metal.fake.calls.count("commit") == 2
    assert metal.launch_seconds() == pytest.approx(1e-6)  # the last one holds one kernel
    assert metal.fake.calls.count("wait") == 3


def test_kernels_run_in_the_order_of_their_launches(metal):
    a, b, c = put(metal, np.zeros(32, np.float32)), Buffer(metal, 128), Buffer(metal, 128)
    k = kernel(metal)
    metal.launch(launch(k, b, a))
    metal.launch(launch(k, c, b))
    assert get(c)[0] == 2


def test_the_host_writes_only_after_what_was_launched_on_the_memory(metal):
    a, o = put(metal, np.zeros(32, np.float32)), Buffer(metal, 128)
    metal.launch(launch(kernel(metal), o, a))
    a.write(memoryview(np.full(32, 9, np.float32).view(np.uint8)))
    assert get(o)[0] == 1


def test_memory_that_no_launch_uses_is_not_waited_for(metal):
    a, o, other = put(metal, np.zeros(32, np.float32)), Buffer(metal, 128), Buffer(metal, 128)
    metal.launch(launch(kernel(metal), o, a))
    get(other)
    assert "commit" not in metal.fake.calls
    metal.synchronize()
    assert metal.fake.calls[-1] == "wait"


def test_the_host_sees_the_memory_itself(metal):
    a, o = put(metal, np.zeros(32, np.float32)), Buffer(metal, 128)
    view = np.frombuffer(metal.host_view(o.handle, o.nbytes), np.float32)
    metal.launch(launch(kernel(metal), o, a))
    metal.synchronize()
    assert view[0] == 1


# ------------------------------------------------------------------------------------------- memory


def test_freed_memory_is_used_again_and_what_was_launched_on_it_is_done(metal):
    a, o = put(metal, np.zeros(32, np.float32)), Buffer(metal, 128)
    metal.launch(launch(kernel(metal), o, a))
    del a
    gc.collect()
    made = metal.fake.calls.count("newBuffer")
    again = put(metal, np.full(32, 9, np.float32))
    assert metal.fake.calls.count("newBuffer") == made
    assert get(o)[0] == 1
    assert get(again)[0] == 9


def test_kept_memory_is_let_go_before_memory_is_out(metal):
    first = Buffer(metal, 500_000)
    del first
    gc.collect()
    one, other = Buffer(metal, 400_000), Buffer(metal, 400_000)
    with pytest.raises(
        OutOfMemoryError, match=r"no room for 400,000 bytes: tensors hold 800,\d+, 0 are kept"
    ):
        Buffer(metal, 400_000)
    with pytest.raises(OutOfMemoryError, match="a buffer has at most 524,288"):
        Buffer(metal, 600_000)
    assert one.nbytes == other.nbytes
    del one
    gc.collect()
    assert Buffer(metal, 400_000).nbytes == 400_000


@pytest.mark.parametrize("handle", [None, 12345, "buffer"])
def test_what_is_no_buffer_is_refused(metal, handle):
    with pytest.raises(DeviceError, match="no buffer of its own"):
        metal.copy_in(handle, memoryview(b"1234"))
    freed = metal.alloc(8)
    metal.free(freed, 8)
    with pytest.raises(DeviceError, match="or one that was freed"):
        metal.free(freed, 8)
    with pytest.raises(DeviceError, match="9 bytes do not fit a buffer of 8"):
        metal.copy_in(metal.alloc(8), memoryview(b"123456789"))


# ------------------------------------------------------------------------------------------- compiling


@pytest.mark.parametrize("has_math_mode", [False, True])
def test_fast_math_is_off(metal, monkeypatch, has_math_mode):
    monkeypatch.setattr(FakeOptions, "has_math_mode", has_math_mode)
    metal.compile(ADD_ONE)
    said = FakeOptions.made[-1].said
    assert said == {"language": (3 << 16) + 1, **({"math": 0} if has_math_mode else {"fast": False})}


def test_a_text_is_compiled_once_and_a_kept_one_again(metal):
    binary = metal.compile(ADD_ONE)
    metal.load(binary, ["k"])
    assert metal.fake.calls.count("newLibrary") == 1
    metal.load(binary, ["k"])
    assert metal.fake.calls.count("newLibrary") == 2


def test_a_refusal_shows_the_line(metal):
    source = ADD_ONE.replace("a[i] + 1", "missing")
    with pytest.raises(CompileError, match=r"at line 5 of the source: .*\n +o\[i\] = missing") as e:
        metal.compile(source)
    assert e.value.source == source


def test_kernels_that_cannot_be_loaded_say_why(metal, monkeypatch):
    binary = metal.compile(ADD_ONE)
    with pytest.raises(DeviceError, match="METAL finds no kernel absent"):
        metal.load(binary, ["absent"])
    metal.fake.refuses_pipelines = True
    with pytest.raises(CompileError, match="pipeline of kernel k: too many registers"):
        metal.load(binary, ["k"])
    metal.fake.refuses_pipelines = False
    monkeypatch.setattr(FakePipeline, "shared", 40_000)
    with pytest.raises(DeviceError, match="40,000 bytes of threadgroup memory; there are 32,768"):
        metal.load(binary, ["k"])


def test_an_older_system_has_no_bfloat():
    metal = FakeMetalPort((13, 6))
    assert dt.bfloat16 in metal.spec.dtypes
    assert dt.bfloat16 not in metal.spec.arithmetic
    metal.compile(ADD_ONE)
    assert FakeOptions.made[-1].said["language"] == (2 << 16) + 4


# ------------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("grid", "block", "count", "says"),
    [
        ((1, 1, 1), (513, 1, 1), 2, "513 threads in a threadgroup: it has 1 to 512"),
        ((0, 1, 1), (32, 1, 1), 2, "along the axes there are 1 to"),
        ((1, 65536, 1), (32, 1, 1), 2, "along the axes"),
        ((1, 1, 1), (32, 1, 1), 32, "on 32 buffers: it takes at most 31"),
    ],
)
def test_limits_are_checked_first(metal, grid, block, count, says):
    o = Buffer(metal, 128)
    k = kernel(metal)
    with pytest.raises(DeviceError, match=says):
        metal.launch(launch(k, *[o] * count, grid=grid, block=block))
    with pytest.raises(DeviceError, match="cannot launch a str"):
        metal.launch(launch("k", o, o))
    assert "dispatch" not in metal.fake.calls


def test_a_command_buffer_that_fails_says_which_kernels_and_the_next_works(metal):
    a, o = put(metal, np.zeros(32, np.float32)), Buffer(metal, 128)
    k = kernel(metal)
    metal.launch(launch(k, o, a))
    metal.fake.failures.append(FakeError("Caused GPU Hang Error"))
    with pytest.raises(DeviceError, match="METAL cannot finish kernel k: Caused GPU Hang Error"):
        metal.synchronize()
    metal.launch(launch(k, o, a))
    assert get(o)[0] == 1


def test_nothing_launched_cannot_be_timed(metal):
    with pytest.raises(DeviceError, match="launched nothing"):
        metal.launch_seconds()


@pytest.mark.skipif(sys.platform == "darwin", reason="this is a Mac: METAL may open")
def test_elsewhere_it_says_that_it_is_of_macos():
    with pytest.raises(
        DeviceError, match=r"Metal is macOS's own, and this is \w+\. It takes a Mac. METAL:sim may open"
    ):
        registry.open_device("METAL")


# ------------------------------------------------------------------------------------------- the whole


def test_tensors_compute_on_it(metal):
    registry.adopt(metal)
    try:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((8, 30)).astype(np.float32)
        a = Tensor(x, device="METAL")
        e = np.exp(x - x.max(1, keepdims=True))
        assert np.allclose(a.softmax(1).numpy(), e / e.sum(1, keepdims=True), atol=1e-6)
        assert np.allclose((a @ a.T).numpy(), x @ x.T, rtol=1e-4, atol=1e-4)
    finally:
        registry._opened.pop("METAL", None)
        metal.close()
