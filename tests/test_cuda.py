"""The CUDA port over a fake driver: order of calls, contexts, copies, limits, graphs, and what goes wrong."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading

import numpy as np
import pytest
from cuda_fake import FakeCUDA

from portwright import Tensor, jit
from portwright.core import registry
from portwright.core.device import Buffer, Launch
from portwright.core.errors import DeviceError, OutOfMemoryError
from portwright.devices import cuda_memory
from portwright.devices.cuda_guard import DriverError, DriverFullError

ADD_ONE = """extern "C" __global__ void k(float *o, const float *a) {
  int i = blockIdx.x * blockDim.x + threadIdx.x; o[i] = a[i] + 1;
}"""


@pytest.fixture
def cuda():
    device = FakeCUDA()
    yield device
    assert device.fake.depth == 0


def bytes_of(array):
    return memoryview(np.ascontiguousarray(array).view(np.uint8).reshape(-1))


def put(device, array):
    buffer = Buffer(device, array.nbytes)
    buffer.write(bytes_of(array))
    return buffer


def get(buffer, dtype=np.float32):
    out = np.empty(buffer.nbytes, np.uint8)
    buffer.read(memoryview(out))
    return out.view(dtype)


def kernel(device, source=ADD_ONE, name="k"):
    return device.load(device.compile(source), [name])[0]


# ------------------------------------------------------------------------------------------- memory


def test_a_copy_takes_the_host_bytes_before_it_returns(cuda):
    x = np.arange(1000, dtype=np.float32)
    buffer = Buffer(cuda, x.nbytes)
    buffer.write(bytes_of(x))
    x[:] = -1
    assert np.array_equal(get(buffer), np.arange(1000, dtype=np.float32))


@pytest.mark.parametrize("pieces", [1, 2, 3, 5])
def test_large_copies_go_in_pieces_that_do_not_overtake_each_other(cuda, monkeypatch, pieces):
    monkeypatch.setattr(cuda_memory, "CHUNK", 256)
    x = np.random.default_rng(0).integers(0, 255, 256 * pieces - 100, dtype=np.uint8)
    one, other = put(cuda, x), put(cuda, x[::-1])
    assert np.array_equal(get(one, np.uint8), x)
    assert np.array_equal(get(other, np.uint8), x[::-1])
    assert cuda.fake.calls.count("pinned") == 2


def test_memory_goes_back_once(cuda):
    buffers = [Buffer(cuda, 100) for _ in range(5)]
    assert cuda.fake.live == 5
    del buffers[:3]
    gc.collect()
    assert cuda.fake.live == 2
    handle = buffers[0].handle
    del buffers
    with pytest.raises(DeviceError, match="no buffer of its own, or one that was freed"):
        cuda.free(handle, 100)


@pytest.mark.parametrize("handle", [None, 12345, "address"])
def test_what_is_no_buffer_never_reaches_the_driver(cuda, handle):
    before = list(cuda.fake.calls)
    with pytest.raises(DeviceError, match="no buffer of its own"):
        cuda.copy_in(handle, memoryview(b"1234"))
    assert cuda.fake.calls == before


def test_more_bytes_than_a_buffer_has_are_refused(cuda):
    buffer = Buffer(cuda, 8)
    with pytest.raises(DeviceError, match="9 bytes do not fit a buffer of 8"):
        cuda.copy_in(buffer.handle, memoryview(b"123456789"))


def test_out_of_memory_says_how_much_is_held_and_the_next_call_works():
    cuda = FakeCUDA(total_bytes=1 << 20)
    kept = Buffer(cuda, 600_000)
    with pytest.raises(
        OutOfMemoryError, match=r"no room for 600,000 bytes: tensors hold 600,000, and .* of the"
    ):
        Buffer(cuda, 600_000)
    assert cuda.fake.depth == 0
    assert get(put(cuda, np.ones(4, np.float32))).sum() == 4
    assert kept.nbytes == 600_000


def test_what_the_pool_keeps_is_given_up_before_memory_is_out():
    cuda = FakeCUDA(total_bytes=1 << 20)
    first = Buffer(cuda, 600_000)
    del first
    again = Buffer(cuda, 700_000)
    assert cuda.fake.calls[-3:] == ["synchronize", "trim", "alloc"]
    assert again.handle


# ------------------------------------------------------------------------------------------- kernels


def test_a_kernel_runs_in_its_place_among_the_copies(cuda):
    x = np.arange(64, dtype=np.float32)
    a, o = put(cuda, x), Buffer(cuda, x.nbytes)
    k = kernel(cuda)
    assert k.threads == 512
    cuda.launch(Launch(k, (2, 1, 1), (32, 1, 1), (o, a)))
    a.write(bytes_of(x * 0))
    assert np.array_equal(get(o), x + 1)
    cuda.synchronize()
    assert cuda.launch_seconds() == 1e-6
    assert cuda.compiler.compiled == ["sm_80"]


def test_memory_that_is_freed_after_a_launch_is_still_there_for_it(cuda):
    a, o = put(cuda, np.zeros(32, np.float32)), Buffer(cuda, 128)
    cuda.launch(Launch(kernel(cuda), (1, 1, 1), (32, 1, 1), (o, a)))
    del a
    gc.collect()
    assert np.array_equal(get(o), np.ones(32, np.float32))


@pytest.mark.parametrize(
    ("grid", "block", "says"),
    [
        ((1, 1, 1), (513, 1, 1), "513 threads in a block: it has 1 to 512"),
        ((1, 1, 1), (32, 0, 1), "0 threads in a block"),
        ((1, 65536, 1), (32, 1, 1), "at most"),
    ],
)
def test_limits_are_checked_before_the_driver_is_called(cuda, grid, block, says):
    o = Buffer(cuda, 128)
    k = kernel(cuda)
    before = list(cuda.fake.calls)
    with pytest.raises(DeviceError, match=f"cannot launch kernel k .*{says}"):
        cuda.launch(Launch(k, grid, block, (o, o)))
    assert cuda.fake.calls == before


def test_too_many_buffers_and_what_is_no_kernel_are_refused(cuda):
    o = Buffer(cuda, 128)
    with pytest.raises(DeviceError, match="on 513 buffers: it takes at most 512"):
        cuda.launch(Launch(kernel(cuda), (1, 1, 1), (32, 1, 1), (o,) * 513))
    with pytest.raises(DeviceError, match="cannot launch a str"):
        cuda.launch(Launch("k", (1, 1, 1), (32, 1, 1), (o, o)))


def test_an_empty_grid_launches_nothing(cuda):
    o = Buffer(cuda, 128)
    cuda.launch(Launch(kernel(cuda), (0, 1, 1), (32, 1, 1), (o, o)))
    assert "launch" not in cuda.fake.calls


def test_nothing_launched_cannot_be_timed(cuda):
    with pytest.raises(DeviceError, match="launched nothing"):
        cuda.launch_seconds()


def test_every_thread_has_the_context_while_it_calls(cuda):
    results = []

    def work(i):
        buffer = put(cuda, np.full(50, i, np.float32))
        results.append((i, get(buffer)[0], cuda.fake.depth))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(results) == [(i, float(i), 0) for i in range(8)]


# ------------------------------------------------------------------------------------------- graphs


@pytest.fixture
def chain(cuda):
    """A recording of o = a + 1, p = o + 1, and its buffers."""
    a, o, p = put(cuda, np.zeros(32, np.float32)), Buffer(cuda, 128), Buffer(cuda, 128)
    k = kernel(cuda)
    launches = [Launch(k, (1, 1, 1), (32, 1, 1), pair) for pair in ((o, a), (p, o))]
    return cuda.record(launches), p


def test_a_recording_becomes_a_graph_when_it_is_run_again(cuda, chain):
    recording, p = chain
    cuda.replay(recording)
    assert cuda.fake.calls.count("launch") == 2
    assert cuda.fake.graphs == 0
    for _ in range(3):
        cuda.replay(recording)
    assert cuda.fake.calls.count("launch") == 2
    assert cuda.fake.calls.count("noted") == 2
    assert cuda.fake.calls.count("run") == 3
    assert get(p)[0] == 2


def test_a_rebound_recording_runs_on_the_new_memory_and_gives_its_graph_back(cuda, chain):
    recording, p = chain
    for _ in range(3):
        cuda.replay(recording)
    other = put(cuda, np.full(32, 7, np.float32))
    cuda.rebind(recording, 0, 1, other)
    assert cuda.fake.graphs == 0
    cuda.replay(recording)
    assert get(p)[0] == 9
    cuda.replay(recording)
    assert cuda.fake.graphs == 1
    assert get(p)[0] == 9
    del recording
    del chain


def test_a_graph_goes_back_with_its_recording(cuda):
    o, a = Buffer(cuda, 128), put(cuda, np.zeros(32, np.float32))
    recording = cuda.record([Launch(kernel(cuda), (1, 1, 1), (32, 1, 1), (o, a))])
    for _ in range(2):
        cuda.replay(recording)
    assert cuda.fake.graphs == 1
    del recording
    gc.collect()
    assert cuda.fake.graphs == 0


def test_without_graphs_the_launches_go_in_order(cuda, chain):
    recording, p = chain
    cuda.fake.refuses_graphs = True
    for _ in range(4):
        cuda.replay(recording)
    assert cuda.fake.calls.count("begin_capture") == 1
    assert cuda.fake.calls.count("launch") == 8
    assert recording.refused == "operation not supported"
    assert get(p)[0] == 2


def test_a_launch_that_fails_while_it_is_noted_ends_the_capture(cuda, chain):
    recording, p = chain
    cuda.replay(recording)
    cuda.fake.fails["noted"] = DriverError("no")
    cuda.replay(recording)
    assert cuda.fake.calls.count("end_capture") == 1
    assert cuda.fake.graphs == 0
    assert get(p)[0] == 2


def test_an_empty_recording_does_nothing(cuda):
    before = len(cuda.fake.calls)
    cuda.replay(cuda.record([]))
    assert len(cuda.fake.calls) == before


# ------------------------------------------------------------------------------------------- failures


def test_an_error_that_passes_says_what_failed_and_the_next_call_works(cuda):
    a, o = put(cuda, np.zeros(32, np.float32)), Buffer(cuda, 128)
    k = kernel(cuda)
    cuda.fake.fails["launch"] = DriverError("too many resources requested for launch")
    with pytest.raises(DeviceError, match="CUDA cannot launch kernel k: too many resources"):
        cuda.launch(Launch(k, (1, 1, 1), (32, 1, 1), (o, a)))
    cuda.launch(Launch(k, (1, 1, 1), (32, 1, 1), (o, a)))
    assert get(o)[0] == 1


def test_a_lost_context_is_said_once_and_for_all(cuda):
    o = put(cuda, np.zeros(32, np.float32))
    k = kernel(cuda)
    cuda.fake.is_lost = True
    with pytest.raises(
        DeviceError, match=r"CUDA is gone: .*launch kernel k: an illegal .*start the program anew"
    ):
        cuda.launch(Launch(k, (1, 1, 1), (32, 1, 1), (o, o)))
    before = list(cuda.fake.calls)
    with pytest.raises(DeviceError, match="CUDA is gone"):
        cuda.synchronize()
    with pytest.raises(DeviceError, match="CUDA is gone"):
        cuda.copy_in(o.handle, memoryview(b"1234"))
    with pytest.raises(DeviceError, match="CUDA is gone"):
        Buffer(cuda, 8)
    del o
    gc.collect()
    assert cuda.fake.calls == before


def test_full_memory_elsewhere_is_no_lost_device(cuda):
    cuda.fake.fails["module"] = DriverFullError("out of memory")
    with pytest.raises(DeviceError, match="CUDA cannot load kernel k: out of memory"):
        kernel(cuda)
    assert kernel(cuda).name == "k"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_is_told_so(cuda):
    buffer = put(cuda, np.zeros(4, np.float32))

    def child(said):
        try:
            get(buffer)
        except DeviceError as e:
            said.put(str(e))

    context = multiprocessing.get_context("fork")
    said = context.Queue()
    process = context.Process(target=child, args=(said,))
    process.start()
    assert "before this process was forked" in said.get(timeout=30)
    process.join(30)
    assert process.exitcode == 0


def test_a_gpu_that_the_compiler_does_not_know_is_refused():
    with pytest.raises(DeviceError, match=r"fake 1.0 does not compile for sm_75: it knows sm_80, sm_90"):
        FakeCUDA(capability=(7, 5))
    assert FakeCUDA(capability=(8, 9))._architecture == "sm_80"


def test_closing_waits_and_lets_go(cuda):
    cuda.close()
    assert cuda.fake.calls == ["synchronize", "trim", "close"]


# ------------------------------------------------------------------------------------------- the whole


@pytest.fixture
def adopted(cuda):
    registry.adopt(cuda)
    yield cuda
    registry._opened.pop("CUDA", None)


def test_tensors_compute_on_it(adopted):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((8, 300)).astype(np.float32), rng.standard_normal((300, 5)).astype(np.float32)
    a, b = Tensor(x, device="CUDA"), Tensor(w, device="CUDA")
    assert np.allclose((a @ b).relu().numpy(), np.maximum(x @ w, 0), rtol=1e-4, atol=1e-4)
    s = a.softmax(1).numpy()
    e = np.exp(x - x.max(1, keepdims=True))
    assert np.allclose(s, e / e.sum(1, keepdims=True), atol=1e-6)


def test_jit_replays_through_graphs(adopted):
    @jit
    def step(a):
        return (a * 2 + 1).sum(0)

    for i in range(5):
        x = np.full((4, 8), i, np.float32)
        assert np.array_equal(step(Tensor(x, device="CUDA")).numpy(), (x * 2 + 1).sum(0))
