"""The simulators' runtime: what it runs, and every fault that it finds in a kernel."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from simulating import run

from portwright.core.device import Buffer, Evidence, Launch
from portwright.core.errors import CompileError, DeviceError, OutOfMemoryError
from portwright.devices.cuda_sim import CUDASim
from portwright.devices.sim import runtime


@pytest.fixture(scope="module")
def sim() -> CUDASim:
    return CUDASim()


REDUCE = """
extern "C" __global__ void __launch_bounds__(64) k(float *__restrict__ out, const float *__restrict__ in) {
  __shared__ float tile[64];
  const int t = threadIdx.x;
  tile[t] = in[blockIdx.x * 64 + t];
  __syncthreads();
  for (int half = 32; half; half /= 2) {
    if (t < half) tile[t] += tile[t + half];
    __syncthreads();
  }
  if (t == 0) out[blockIdx.x] = tile[0];
}
"""


def test_says_what_it_is(sim: CUDASim) -> None:
    assert sim.spec.evidence is Evidence.EMULATED
    assert "simulator" in sim.spec.driver["device"]


def test_indices_of_three_axes_reach_every_element_once(sim: CUDASim) -> None:
    source = """
extern "C" __global__ void k(int *out) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  const int z = blockIdx.z * blockDim.z + threadIdx.z;
  const int at = (z * (gridDim.y * blockDim.y) + y) * (gridDim.x * blockDim.x) + x;
  out[at] += 1 + at;
}
"""
    (out,) = run(sim, source, np.zeros(5 * 3 * 7 * 24, np.int32), grid=(5, 3, 7), block=(4, 3, 2))
    assert (out == np.arange(1, out.size + 1)).all()


def test_a_shared_memory_reduction(sim: CUDASim) -> None:
    a = np.random.default_rng(0).integers(0, 99, (10, 64)).astype(np.float32)
    out, _ = run(sim, REDUCE, np.zeros(10, np.float32), a, grid=(10, 1, 1), block=(64, 1, 1))
    assert (out == a.sum(1)).all()


def test_a_buffer_that_is_two_parameters_is_copied_once(sim: CUDASim) -> None:
    source = """
extern "C" __global__ void k(float *out, const float *in) { out[threadIdx.x] = in[threadIdx.x] + 1.0f; }
"""
    program = sim.load(sim.compile(source), ["k"])[0]
    buffer = Buffer(sim, 128)
    buffer.write(memoryview(np.zeros(32, np.float32).view(np.uint8)))
    sim.launch(Launch(program, (1, 1, 1), (32, 1, 1), (buffer, buffer)))
    host = np.empty(32, np.float32)
    buffer.read(memoryview(host.view(np.uint8)))
    assert (host == 1).all()


@pytest.mark.parametrize(
    ("missing", "at"), [("  __syncthreads();\n  for", "  for"), ("half];\n    __syncthreads();", "half];")]
)
def test_a_missing_barrier_shows_in_the_order(sim: CUDASim, missing: str, at: str) -> None:
    assert missing in REDUCE
    a = np.random.default_rng(0).random((3, 64), np.float32)
    message = r"kernel k: parameter 0 \(out\), element 0 .*descending.* a barrier is missing"
    with pytest.raises(DeviceError, match=message):
        run(sim, REDUCE.replace(missing, at), np.zeros(3, np.float32), a, grid=(3, 1, 1), block=(64, 1, 1))


def test_overlapping_stores_of_blocks_show_in_the_order(sim: CUDASim) -> None:
    source = 'extern "C" __global__ void k(int *out) { out[5 + threadIdx.x / 2] = blockIdx.x; }'
    with pytest.raises(DeviceError, match=r"parameter 0 \(out\), element 5 .*two threads store"):
        run(sim, source, np.zeros(32, np.int32), grid=(4, 1, 1))


def test_two_barriers_are_not_one(sim: CUDASim) -> None:
    source = """
extern "C" __global__ void k(int *out) {
  if (threadIdx.x < 24)
    __syncthreads();
  else
    __syncthreads();
  out[threadIdx.x] = 1;
}
"""
    message = (
        r"threads of block \(0, 0, 0\) do not meet: 24 threads \(\(0, 0, 0\) first\) at line 4 of the "
        r"source, 8 threads \(\(24, 0, 0\) first\) at line 6"
    )
    with pytest.raises(DeviceError, match=message):
        run(sim, source, np.zeros(32, np.int32))


def test_an_early_exit_before_a_barrier(sim: CUDASim) -> None:
    source = """
extern "C" __global__ void k(int *out) {
  if (blockIdx.x * 32 + threadIdx.x >= 40) return;
  __syncthreads();
  out[blockIdx.x * 32 + threadIdx.x] = 1;
}
"""
    message = r"threads of block \(1, 0, 0\).* 8 threads .*line 4.* 24 threads \(\(8, 0, 0\) first\) finished"
    with pytest.raises(DeviceError, match=message):
        run(sim, source, np.zeros(40, np.int32), grid=(2, 1, 1))


def test_a_collective_without_all_lanes(sim: CUDASim) -> None:
    source = """
extern "C" __global__ void k(float *out) {
  float x = threadIdx.x;
  if (threadIdx.x != 3) x += __shfl_xor_sync(0xffffffff, x, 1);
  out[threadIdx.x] = x;
}
"""
    with pytest.raises(DeviceError, match=r"31 threads .*line 4.* 1 thread \(\(3, 0, 0\) first\) finished"):
        run(sim, source, np.zeros(32, np.float32))


def test_a_tile_in_a_warp_of_fewer_threads(sim: CUDASim) -> None:
    source = """
extern "C" __global__ void k(float *out) {
  unsigned a[4] = {}, b[2] = {};
  simulated_mma_m16n8k16_f32_f16(out + 4 * threadIdx.x, a, b, out + 4 * threadIdx.x);
}
"""
    with pytest.raises(DeviceError, match=r"24 threads .*line 4 of the source, and no others of its warp"):
        run(sim, source, np.zeros(128, np.float32), block=(24, 1, 1))


@pytest.mark.parametrize(("at", "element"), [("32", 32), ("-1", -1), ("32 + 1023", 1055)])
def test_a_store_beside_a_buffer(sim: CUDASim, at: str, element: int) -> None:
    source = f'extern "C" __global__ void k(int *a, int *b) {{ if (threadIdx.x == 7) b[{at}] = 1; }}'
    message = rf"stores outside of a buffer: parameter 1 \(b\), element {element},"
    with pytest.raises(DeviceError, match=message):
        run(sim, source, np.zeros(32, np.int32), np.zeros(32, np.int32))


def test_a_load_beside_a_buffer_that_counts(sim: CUDASim) -> None:
    source = 'extern "C" __global__ void k(int *out, const int *a) { out[threadIdx.x] = a[threadIdx.x + 1]; }'
    with pytest.raises(DeviceError, match=r"\(out\), element 31 .*reads outside of a buffer"):
        run(sim, source, np.zeros(32, np.int32), np.zeros(32, np.int32))


def test_shared_memory_that_nobody_wrote(sim: CUDASim) -> None:
    source = """
extern "C" __global__ void k(float *out) {
  __shared__ float tile[64];
  tile[threadIdx.x] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x + 1];
}
"""
    with pytest.raises(
        DeviceError, match=r"\(out\), element 31 .*reads shared memory that no thread has written"
    ):
        run(sim, source, np.zeros(32, np.float32))


def test_shared_memory_does_not_live_from_block_to_block(sim: CUDASim) -> None:
    source = """
extern "C" __global__ void k(float *out) {
  __shared__ float tile[32];
  if (blockIdx.x == 0) tile[threadIdx.x] = 1.0f;
  __syncthreads();
  out[blockIdx.x * 32 + threadIdx.x] = tile[threadIdx.x];
}
"""
    with pytest.raises(DeviceError, match=r"element 32 .*reads shared memory that no thread has written"):
        run(sim, source, np.zeros(64, np.float32), grid=(2, 1, 1))


def test_an_index_outside_of_shared_memory(sim: CUDASim) -> None:
    source = """
extern "C" __global__ void k(float *out, const int *at) {
  __shared__ float tile[32];
  tile[at[threadIdx.x]] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x];
}
"""
    at = np.arange(32, dtype=np.int32)
    at[9] = 32
    with pytest.raises(DeviceError, match=r"thread \(9, 0, 0\) of block \(0, 0, 0\).*out of its bounds"):
        run(sim, source, np.zeros(32, np.float32), at)


def test_a_vector_at_an_odd_address(sim: CUDASim) -> None:
    source = """
extern "C" __global__ void k(float *out, const float *in) {
  const float4 v = *(const float4 *)(in + threadIdx.x);
  out[threadIdx.x] = v.x;
}
"""
    with pytest.raises(DeviceError, match=r"thread \(1, 0, 0\).*no multiple of its size"):
        run(sim, source, np.zeros(32, np.float32), np.zeros(64, np.float32))


def test_memory_far_from_any_buffer(sim: CUDASim) -> None:
    source = 'extern "C" __global__ void k(int *out) { if (threadIdx.x == 30) out[1ll << 40] = 1; }'
    with pytest.raises(DeviceError, match=r"thread \(30, 0, 0\) of block \(0, 0, 0\).*nobody's"):
        run(sim, source, np.zeros(32, np.int32))


def test_a_division_by_zero_is_no_end_of_the_process(sim: CUDASim) -> None:
    source = 'extern "C" __global__ void k(int *out, const int *a) { out[threadIdx.x] = 7 / a[threadIdx.x]; }'
    with pytest.raises(DeviceError, match="divided an integer by zero"):
        run(sim, source, np.zeros(32, np.int32), np.zeros(32, np.int32))


def test_a_deep_stack_is_no_end_of_the_process(sim: CUDASim) -> None:
    source = """
__device__ __noinline__ int deep(volatile int *a, int n) {
  volatile int keep[256];
  keep[n % 256] = n;
  return n == 0 ? 0 : deep(a, n - 1) + keep[a[0] + n % 256];
}
extern "C" __global__ void k(int *out) { __syncthreads(); out[threadIdx.x] = deep(out, 100000); }
"""
    with pytest.raises(DeviceError, match=r"thread \(0, 0, 0\).*overran its stack"):
        run(sim, source, np.zeros(32, np.int32))


def test_a_loop_without_end(sim: CUDASim, monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
extern "C" __global__ void k(volatile int *out) {
  __syncthreads();
  if (threadIdx.x == 0) while (out[31] == 0) {}
  out[threadIdx.x] = 1;
}
"""
    monkeypatch.setenv("PORTWRIGHT_SIM_SECONDS", "1")
    with pytest.raises(DeviceError, match=r"not done after 1 s .*thread \(0, 0, 0\).*PORTWRIGHT_SIM_SECONDS"):
        run(sim, source, np.zeros(32, np.int32))


def test_the_next_launch_works_after_every_fault(sim: CUDASim) -> None:
    source = 'extern "C" __global__ void k(int *out) { __syncthreads(); out[threadIdx.x] = 1; }'
    for fault in ("out[1ll << 40] = 1;", "if (threadIdx.x) return;", "out[-1] = 1;"):
        with pytest.raises(DeviceError):
            run(sim, source.replace("{", f"{{ {fault} "), np.zeros(32, np.int32))
        (out,) = run(sim, source, np.zeros(32, np.int32))
        assert (out == 1).all()


def test_a_kernel_without_barriers_has_no_fibers(sim: CUDASim) -> None:
    """Its threads share one stack: a local that nobody sets lies at one address in all of them."""
    source = """
extern "C" __global__ void k(unsigned long long *out) {
  volatile int local;
  %s
  out[threadIdx.x] = (unsigned long long)&local;
}
"""
    (plain,) = run(sim, source % "", np.zeros(32, np.uint64))
    assert len(set(plain)) == 1
    (fibers,) = run(sim, source % "__syncthreads();", np.zeros(32, np.uint64))
    assert len(set(fibers)) == 32


def test_launches_that_do_not_suit(sim: CUDASim) -> None:
    source = 'extern "C" __global__ void k(int *out) { out[threadIdx.x] = 1; }'
    with pytest.raises(DeviceError, match="takes 1 buffers, not 2"):
        run(sim, source, np.zeros(32, np.int32), np.zeros(32, np.int32))
    with pytest.raises(DeviceError, match=r"blocks of \(1025, 1, 1\) threads"):
        run(sim, source, np.zeros(2000, np.int32), block=(1025, 1, 1))
    with pytest.raises(DeviceError, match=r"grid of \(0, 1, 1\) blocks"):
        run(sim, source, np.zeros(32, np.int32), grid=(0, 1, 1))


def test_a_kernel_with_a_scalar_is_refused(sim: CUDASim) -> None:
    with pytest.raises(DeviceError, match="kernel k takes 'int n'"):
        sim.compile('extern "C" __global__ void k(int *out, int n) { out[n] = 1; }')


def test_text_that_is_no_cuda(sim: CUDASim) -> None:
    with pytest.raises(CompileError, match="line 2 of the source"):
        sim.compile('extern "C" __global__ void k(int *out) {\n  out[threadIdx.x] = nothing;\n}')


def test_more_memory_than_there_is(sim: CUDASim) -> None:
    with pytest.raises(OutOfMemoryError, match="no room for"):
        Buffer(sim, 1 << 60)


@pytest.fixture(params=["gcc", "clang"])
def compiler(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if shutil.which(request.param) is None:
        pytest.skip(f"no {request.param} on this machine")
    monkeypatch.setenv("CC", request.param)
    name: str = request.param
    return name


def test_fibers_without_assembly(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on processors that ``stack.h`` has no switch for."""
    monkeypatch.setattr(runtime, "FLAGS", (*runtime.FLAGS, "-DPW_UCONTEXT"))
    sim = CUDASim()
    a = np.random.default_rng(0).integers(0, 99, (10, 64)).astype(np.float32)
    out, _ = run(sim, REDUCE, np.zeros(10, np.float32), a, grid=(10, 1, 1), block=(64, 1, 1))
    assert (out == a.sum(1)).all()
    source = (
        'extern "C" __global__ void k(int *out) { if (threadIdx.x) __syncthreads(); out[threadIdx.x] = 1; }'
    )
    for _ in range(2):
        with pytest.raises(DeviceError, match="do not meet"):
            run(sim, source, np.zeros(32, np.int32))


def test_launches_from_several_threads_take_turns(sim: CUDASim) -> None:
    program = sim.load(sim.compile(REDUCE), ["k"])[0]

    def one(seed: int) -> bool:
        a = np.random.default_rng(seed).integers(0, 99, (40, 64)).astype(np.float32)
        buffers = tuple(Buffer(sim, n) for n in (160, a.nbytes))
        buffers[1].write(memoryview(a.reshape(-1).view(np.uint8)))
        sim.launch(Launch(program, (40, 1, 1), (64, 1, 1), buffers))
        out = np.empty(40, np.float32)
        buffers[0].read(memoryview(out.view(np.uint8)))
        return bool((out == a.sum(1)).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(one, range(24)))


def test_a_fault_in_another_thread_than_the_first(sim: CUDASim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTWRIGHT_SIM_SECONDS", "1")
    endless = 'extern "C" __global__ void k(volatile int *out) { while (out[0] == 0) {} }'
    wild = 'extern "C" __global__ void k(int *out) { out[1ll << 40] = 1; }'

    def message(source: str) -> str:
        with pytest.raises(DeviceError) as caught:
            run(sim, source, np.zeros(32, np.int32))
        return str(caught.value)

    with ThreadPoolExecutor(1) as pool:
        assert "not done after 1 s" in pool.submit(message, endless).result()
        assert "nobody's" in pool.submit(message, wild).result()


def test_either_compiler_serves(compiler: str) -> None:
    sim = CUDASim()
    assert compiler in sim.spec.driver["compiler"]
    a = np.random.default_rng(0).integers(0, 99, (10, 64)).astype(np.float32)
    out, _ = run(sim, REDUCE, np.zeros(10, np.float32), a, grid=(10, 1, 1), block=(64, 1, 1))
    assert (out == a.sum(1)).all()
    early = REDUCE.replace("(t < half)", "(t >= half) return;")
    with pytest.raises(DeviceError, match="do not meet"):
        run(sim, early, out, a, grid=(10, 1, 1), block=(64, 1, 1))
