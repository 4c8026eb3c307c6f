"""What the simulators compute: 16-bit floats, Metal's vectors, and tiles by their lanes."""

from __future__ import annotations

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from simulating import Array, run

from portwright.core.errors import DeviceError
from portwright.devices.cuda_sim import CUDASim
from portwright.devices.metal_sim import MetalSim

NARROW = {"__half": np.dtype(np.float16), "__nv_bfloat16": np.dtype(ml_dtypes.bfloat16)}
CONVERT = {"__half": "half", "__nv_bfloat16": "bfloat16"}


@pytest.fixture(scope="module")
def cuda() -> CUDASim:
    return CUDASim()


@pytest.fixture(scope="module")
def metal() -> MetalSim:
    return MetalSim()


def same(a: Array, b: Array) -> Array:
    """Where two arrays hold the same bits, or NaN both."""
    bits = f"u{a.itemsize}"
    return (a.view(bits) == b.view(bits)) | (np.isnan(a.astype(float)) & np.isnan(b.astype(float)))


def every(dtype: np.dtype) -> Array:
    return np.arange(1 << 16, dtype=np.uint16).view(dtype)


# ------------------------------------------------------------------------------------------------ 16 bits


@pytest.mark.parametrize("name", NARROW)
def test_every_16_bit_float_widens_exactly(cuda: CUDASim, name: str) -> None:
    dtype = NARROW[name]
    source = f"""
extern "C" __global__ void k(float *out, const {name} *in, int *whole) {{
  const int i = blockIdx.x * 256 + threadIdx.x;
  const float x = __{CONVERT[name]}2float(in[i]);
  out[i] = x;
  whole[i] = x > -1e9f && x < 1e9f ? (int)in[i] : 0;
}}
"""
    x = every(dtype)
    out, _, whole = run(
        cuda, source, np.zeros(x.size, np.float32), x, np.zeros(x.size, np.int32),
        grid=(256, 1, 1), block=(256, 1, 1),
    )  # fmt: skip
    wide = x.astype(np.float32)
    assert same(out, wide).all()
    in_range = np.abs(np.nan_to_num(wide, nan=np.inf, posinf=np.inf, neginf=np.inf)) < 1e9
    assert (whole == np.where(in_range, np.trunc(np.where(in_range, wide, 0)), 0)).all()


@pytest.mark.parametrize("name", NARROW)
def test_every_rounding_to_16_bits(cuda: CUDASim, name: str) -> None:
    """Every value, every midpoint, and the floats beside each."""
    dtype = NARROW[name]
    source = f"""
extern "C" __global__ void k({name} *out, const float *in) {{
  const int i = blockIdx.x * 256 + threadIdx.x;
  out[i] = __float2{CONVERT[name]}_rn(in[i]);
}}
"""
    wide = every(dtype).astype(np.float32)
    up = (np.arange(1 << 16, dtype=np.uint16) + np.uint16(1)).view(dtype).astype(np.float32)
    middle = wide / 2 + up / 2
    around = [f(m, d) for m in (wide, middle) for f, d in ((np.nextafter, np.float32(9e37)),)]
    below = [np.nextafter(m, np.float32(-9e37)) for m in (wide, middle)]
    x = np.concatenate([wide, middle, *around, *below]).astype(np.float32)
    out, _ = run(
        cuda, source, np.zeros(x.size, dtype), x, grid=(x.size // 256, 1, 1), block=(256, 1, 1)
    )  # fmt: skip
    assert same(out, x.astype(dtype)).all()


@pytest.mark.parametrize("name", NARROW)
def test_16_bit_arithmetic_is_rounded_once_an_operation(cuda: CUDASim, name: str) -> None:
    dtype = NARROW[name]
    source = f"""
extern "C" __global__ void k({name} *out, const {name} *a, const {name} *b, unsigned char *less) {{
  const int i = blockIdx.x * 256 + threadIdx.x, n = gridDim.x * 256;
  out[i] = a[i] + b[i];
  out[n + i] = a[i] - b[i];
  out[2 * n + i] = a[i] * b[i];
  out[3 * n + i] = a[i] / b[i];
  out[4 * n + i] = hsqrt(a[i]);
  out[5 * n + i] = __hmax_nan(a[i], b[i]);
  out[6 * n + i] = -a[i];
  less[i] = (a[i] < b[i]) + 2 * (a[i] != b[i]);
}}
"""
    rng = np.random.default_rng(3)
    a = np.concatenate([every(dtype), every(dtype)])
    b = rng.permutation(a)
    near = a.view(np.uint16)[: 1 << 16] ^ rng.integers(0, 8, 1 << 16).astype(np.uint16)
    b[: 1 << 16] = near.view(dtype)  # cancellation
    n = a.size
    out, _, _, less = run(
        cuda, source, np.zeros(7 * n, dtype), a, b, np.zeros(n, np.uint8), grid=(n // 256, 1, 1),
        block=(256, 1, 1),
    )  # fmt: skip
    x, y = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(all="ignore"):
        expected = [x + y, x - y, x * y, x / y, np.sqrt(x), np.maximum(x, y), -x]
        for got, exact in zip(out.reshape(7, n), expected, strict=True):
            right = same(got, exact.astype(dtype)) | ((got == 0) & (exact == 0))
            assert right.all()
    assert (less == (x < y) + 2 * (x != y)).all()


@pytest.mark.parametrize("name", NARROW)
def test_16_bit_fma_is_rounded_once(cuda: CUDASim, name: str) -> None:
    dtype = NARROW[name]
    source = f"""
extern "C" __global__ void k({name} *out, const {name} *a, const {name} *b, const {name} *c) {{
  const int i = blockIdx.x * 64 + threadIdx.x;
  out[i] = __hfma(a[i], b[i], c[i]);
}}
"""
    rng = np.random.default_rng(4)
    n = 4096
    finite = every(dtype)[np.isfinite(every(dtype).astype(np.float32))]
    a, b, c = (rng.choice(finite, n) for _ in range(3))
    # a product that is nearly a midpoint of c: only an exact sum tells on which side
    a[::2] = (1 + rng.integers(0, 8, n // 2) / 128).astype(dtype)
    b[::2] = (2.0 ** rng.integers(-20, 3, n // 2)).astype(dtype)
    c[::2] = rng.integers(-200, 200, n // 2).astype(dtype)
    out, *_ = run(cuda, source, np.zeros(n, dtype), a, b, c, grid=(n // 64, 1, 1), block=(64, 1, 1))
    step = np.finfo(np.float16) if name == "__half" else ml_dtypes.finfo(dtype)
    for got, x, y, z in zip(out, a, b, c, strict=True):
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        if abs(exact) >= Fraction(float(step.max)):
            continue
        bits = int(got.view(np.uint16))
        error = abs(Fraction(float(got)) - exact)
        for other in (bits - 1, bits + 1):
            beside = np.array(other & 0xFFFF, np.uint16).view(dtype)[()]
            if not np.isfinite(float(beside)):
                continue
            distance = abs(Fraction(float(beside)) - exact)
            assert error < distance or (error == distance and (bits % 2 == 0 or distance == 0))


# -------------------------------------------------------------------------------------------------- tiles

MMA = {
    "simulated_mma_m16n8k16_f16_f16": (16, np.dtype(np.float16)),
    "simulated_mma_m16n8k8_f16_f16": (8, np.dtype(np.float16)),
    "simulated_mma_m16n8k16_f32_f16": (16, np.dtype(np.float16)),
    "simulated_mma_m16n8k8_f32_f16": (8, np.dtype(np.float16)),
    "simulated_mma_m16n8k16_f32_bf16": (16, np.dtype(ml_dtypes.bfloat16)),
    "simulated_mma_m16n8k8_f32_bf16": (8, np.dtype(ml_dtypes.bfloat16)),
    "simulated_mma_m16n8k8_f32_tf32": (8, np.dtype(np.float32)),
}


def registers(k: int, dtype: np.dtype) -> tuple[Array, Array, Array]:
    """What each lane holds, from the PTX ISA's formulas: (row, column) of A, of B and of C by element.

    Written out as the manual does, element by element, and not as the simulator computes it.
    """
    a, b, c = [], [], []
    for lane in range(32):
        group, place = lane >> 2, lane % 4
        if dtype.itemsize == 2:
            a_count, b_count = (8, 4) if k == 16 else (4, 2)
            for i in range(a_count):
                if k == 16:
                    row = group if 0 <= i < 2 or 4 <= i < 6 else group + 8
                else:
                    row = group if i < 2 else group + 8
                a.append((row, place * 2 + (i & 1) + (8 if i >= 4 else 0)))
            for i in range(b_count):
                b.append((place * 2 + (i & 1) + (8 if i >= 2 else 0), group))
        else:
            for i in range(4):
                a.append((group if i in (0, 2) else group + 8, place if i < 2 else place + 4))
            for i in range(2):
                b.append((place if i == 0 else place + 4, group))
        for i in range(4):
            c.append((group if i < 2 else group + 8, place * 2 + (i & 1)))
    return (
        np.array(a).reshape(32, -1, 2),
        np.array(b).reshape(32, -1, 2),
        np.array(c).reshape(32, -1, 2),
    )


@pytest.mark.parametrize("name", MMA)
def test_mma_by_lanes(cuda: CUDASim, name: str) -> None:
    k, dtype = MMA[name]
    held, accumulator = ("__half", np.float16) if "f16_f16" in name else ("float", np.float32)
    at_a, at_b, at_c = registers(k, dtype)
    a_regs, b_regs = at_a.shape[1] * dtype.itemsize // 4, at_b.shape[1] * dtype.itemsize // 4
    source = f"""
extern "C" __global__ void k({held} *out, const unsigned *a, const unsigned *b, const {held} *c) {{
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  unsigned x[{a_regs}], y[{b_regs}];
  __align__(8) {held} d[4];
  for (int i = 0; i < {a_regs}; i++) x[i] = a[lane * {a_regs} + i];
  for (int i = 0; i < {b_regs}; i++) y[i] = b[lane * {b_regs} + i];
  for (int i = 0; i < 4; i++) d[i] = c[lane * 4 + i];
  if (warp == 1) {name}(d, x, y, d);
  for (int i = 0; i < 4; i++) out[threadIdx.x * 4 + i] = d[i];
}}
"""
    rng = np.random.default_rng(k)
    a = rng.standard_normal((16, k)).astype(dtype)
    b = rng.standard_normal((k, 8)).astype(dtype)
    c = rng.standard_normal((16, 8)).astype(accumulator)
    lanes = [np.ascontiguousarray(m[at[..., 0], at[..., 1]]) for m, at in ((a, at_a), (b, at_b), (c, at_c))]
    out, *_ = run(
        cuda, source, np.zeros((64, 4), accumulator), lanes[0].view(np.uint32), lanes[1].view(np.uint32),
        lanes[2], block=(64, 1, 1),
    )  # fmt: skip
    if dtype.itemsize == 4:  # the hardware reads no more than 10 bits of the fraction
        a, b = ((m.view(np.uint32) & ~np.uint32(0x1FFF)).view(np.float32) for m in (a, b))
    exact = a.astype(np.float64) @ b.astype(np.float64) + c
    got = np.zeros((16, 8), accumulator)
    got[at_c[..., 0], at_c[..., 1]] = out[32:]
    assert (got == exact.astype(accumulator)).mean() > 0.99  # a sum in double is all but exact
    assert np.abs(got - exact).max() <= np.finfo(accumulator).eps * np.abs(exact).max()
    assert (out[:32] == lanes[2]).all()  # the warp that did not multiply


def test_a_tiled_product_by_mma(cuda: CUDASim) -> None:
    """As an expert writes it: tiles staged in shared memory, four warps, exact on integers."""
    source = """
extern "C" __global__ void __launch_bounds__(128) k(float *__restrict__ out, const __half *__restrict__ a,
                                                    const __half *__restrict__ b) {
  __shared__ __align__(16) __half ta[32][24], tb[16][24];
  const int t = threadIdx.x, lane = t % 32, warp = t / 32, g = lane / 4, p = lane % 4;
  const int row = blockIdx.y * 32, column = blockIdx.x * 16, wr = warp / 2 * 16, wc = warp % 2 * 8;
  float acc[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  for (int k = 0; k < 64; k += 16) {
    *(uint2 *)&ta[t / 4][t % 4 * 4] = *(const uint2 *)(a + (row + t / 4) * 64 + k + t % 4 * 4);
    if (t < 64) *(uint2 *)&tb[t / 4][t % 4 * 4] = *(const uint2 *)(b + (k + t / 4) * 48 + column + t % 4 * 4);
    __syncthreads();
    unsigned x[4], y[2];
    for (int r = 0; r < 4; r++) x[r] = *(const unsigned *)&ta[wr + g + 8 * (r & 1)][2 * p + 8 * (r >> 1)];
    for (int r = 0; r < 2; r++) {
      const __half2 both = __halves2half2(tb[2 * p + 8 * r][wc + g], tb[2 * p + 8 * r + 1][wc + g]);
      y[r] = *(const unsigned *)&both;
    }
    simulated_mma_m16n8k16_f32_f16(acc, x, y, acc);
    __syncthreads();
  }
  for (int i = 0; i < 4; i++)
    out[(row + wr + g + 8 * (i >> 1)) * 48 + column + wc + 2 * p + (i & 1)] = acc[i];
}
"""
    rng = np.random.default_rng(5)
    a = rng.integers(-9, 9, (64, 64)).astype(np.float16)
    b = rng.integers(-9, 9, (64, 48)).astype(np.float16)
    out, *_ = run(
        cuda, source, np.zeros((64, 48), np.float32), a, b, grid=(3, 2, 1), block=(128, 1, 1)
    )  # fmt: skip
    assert (out == a.astype(np.float32) @ b.astype(np.float32)).all()
    once = source.replace("acc, x, y, acc);\n    __syncthreads();", "acc, x, y, acc);")
    with pytest.raises(DeviceError, match="a barrier is missing"):
        run(cuda, once, np.zeros((64, 48), np.float32), a, b, grid=(3, 2, 1), block=(128, 1, 1))


def test_shuffles(cuda: CUDASim) -> None:
    source = """
extern "C" __global__ void k(float *out, const float *in) {
  float x = in[threadIdx.x];
  out[32 + threadIdx.x] = __shfl_down_sync(0xffffffffu, x, 3);
  out[64 + threadIdx.x] = __shfl_up_sync(0xffffffffu, x, 3);
  out[96 + threadIdx.x] = __shfl_sync(0xffffffffu, x, 5);
  for (int by = 16; by; by /= 2) x += __shfl_xor_sync(0xffffffffu, x, by);
  out[threadIdx.x] = x;
}
"""
    x = np.arange(32, dtype=np.float32) ** 2
    out, _ = run(cuda, source, np.zeros(128, np.float32), x)
    assert (out[:32] == x.sum()).all()
    assert (out[32:64] == np.concatenate([x[3:], x[-3:]])).all()
    assert (out[64:96] == np.concatenate([x[:3], x[:-3]])).all()
    assert (out[96:] == x[5]).all()


# -------------------------------------------------------------------------------------------------- metal

HEAD = "#include <metal_stdlib>\nusing namespace metal;\n"


def test_metal_vectors(metal: MetalSim) -> None:
    source = f"""{HEAD}
kernel void k(device float *out [[buffer(0)]], device const float4 *a [[buffer(1)]],
              device const float4 *b [[buffer(2)]], uint i [[thread_position_in_grid]]) {{
  device float4 *o = (device float4 *)out + 10 * i;
  const float4 x = a[i], y = b[i];
  const bool4 less = x < y;
  o[0] = float4(int4(less));
  o[1] = select(x, y, less);
  o[2] = -(x * 2.0f - y / x) + 1.0f;
  o[3] = as_type<float4>(as_type<uint4>(x) ^ uint4(0x80000000u));
  o[4] = fma(x, y, float4(1.0f, float2(2.0f, 3.0f), 4.0f));
  o[5] = float4(half4(x));
  o[6] = max(x, y);
  o[7] = float4(x.w, x[2], x.y, x.x);
  o[8] = float4(any(less), all(less), any(isnan(x / 0.0f * 0.0f)), simd_sum(x.x));
  o[9] = float4(int4(x * 10.0f) >> 1 & 7) + metal::precise::sqrt(abs(x));
}}
"""
    rng = np.random.default_rng(6)
    x, y = (rng.standard_normal((32, 4)).astype(np.float32) for _ in range(2))
    out, *_ = run(metal, source, np.zeros((32, 10, 4), np.float32), x, y)
    less, f = x < y, np.float32
    expected = [
        less, np.where(less, y, x), -(x * f(2) - y / x) + f(1), -x,
        (x.astype(float) * y + [1, 2, 3, 4]), x.astype(np.float16), np.maximum(x, y), x[:, ::-1],
        np.stack([less.any(1), less.all(1), np.ones(32), np.full(32, np.nan)], 1),
        ((x * f(10)).astype(np.int32) >> 1 & 7).astype(f) + np.sqrt(np.abs(x)),
    ]  # fmt: skip
    for i, e in enumerate(expected):
        assert (out[:, i] == np.asarray(e).astype(f))[np.isfinite(e)].all(), i
    assert np.allclose(out[:, 8, 3], x[:, 0].astype(float).sum(), atol=1e-5)


def test_metal_half_with_other_numbers(metal: MetalSim) -> None:
    source = f"""{HEAD}
kernel void k(device float *out [[buffer(0)]], device const half *a [[buffer(1)]],
              constant uint &n [[buffer(2)]], uint2 at [[thread_position_in_grid]]) {{
  if (at.x >= n) return;
  const half h = a[at.x];
  out[at.x * 3] = h * 3;
  out[at.x * 3 + 1] = h * 0.1f;
  out[at.x * 3 + 2] = float(bfloat(float(h))) + (h < 0 ? 1.0f : 0.0f);
}}
"""
    h = np.random.default_rng(7).standard_normal(20).astype(np.float16)
    out, *_ = run(metal, source, np.full((20, 3), 9, np.float32), h, np.array([20], np.uint32))
    assert (out[:, 0] == (h * np.float16(3)).astype(np.float32)).all()
    assert (out[:, 1] == h.astype(np.float32) * np.float32(0.1)).all()
    assert (out[:, 2] == h.astype(ml_dtypes.bfloat16).astype(np.float32) + (h < 0)).all()


def test_metal_threadgroup_memory_and_its_pointers(metal: MetalSim) -> None:
    source = f"""{HEAD}
kernel void k(device float *out [[buffer(0)]], const device float *a [[buffer(1)]],
              uint3 group [[threadgroup_position_in_grid]], uint t [[thread_index_in_threadgroup]],
              uint3 size [[threads_per_threadgroup]]) {{
  threadgroup float tile[16 * 4];
  threadgroup float *mine = tile + t;
  *mine = a[group.x * size.x + t];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (t % 4 == 0) {{
    const float4 v = *(threadgroup const float4 *)(tile + t);
    out[(group.x * size.x + t) / 4] = v.x + v.y + v.z + v.w;
  }}
}}
"""
    a = np.random.default_rng(8).integers(0, 99, (5, 64)).astype(np.float32)
    out, _ = run(metal, source, np.zeros(80, np.float32), a, grid=(5, 1, 1), block=(64, 1, 1))
    assert (out == a.reshape(-1, 4).sum(1)).all()
    gone = source.replace("threadgroup_barrier(mem_flags::mem_threadgroup);", "")
    with pytest.raises(DeviceError, match=r"parameter 0 \(out\), element \d+ .*a barrier is missing"):
        run(metal, gone, out, a, grid=(5, 1, 1), block=(64, 1, 1))


@pytest.mark.parametrize("load", [True, False])
def test_simdgroup_matrices(metal: MetalSim, load: bool) -> None:
    """By ``simdgroup_load`` and by ``thread_elements``: the layout is the same."""
    by_lane = """
  const ushort q = lane / 4, r = (q & 4) + (lane / 2) % 4, c = (q & 2) * 2 + (lane % 2) * 2;
  x.thread_elements() = half2(a[r * 8 + c], a[r * 8 + c + 1]);
  y.thread_elements() = half2(b[r * 8 + c], b[r * 8 + c + 1]);
  simdgroup_multiply_accumulate(z, x, y, z);
  thread auto &e = z.thread_elements();
  *(device float2 *)(out + r * 8 + c) = e;
"""
    by_load = """
  simdgroup_load(x, a, 8);
  simdgroup_load(y, b, 8);
  simdgroup_multiply_accumulate(z, x, y, z);
  simdgroup_store(z, out, 8);
"""
    source = f"""{HEAD}
kernel void k(device float *out [[buffer(0)]], device const half *a [[buffer(1)]],
              device const half *b [[buffer(2)]], ushort lane [[thread_index_in_simdgroup]]) {{
  simdgroup_half8x8 x, y;
  simdgroup_float8x8 z = make_filled_simdgroup_matrix<float, 8, 8>(1.0f);
  {by_load if load else by_lane}
}}
"""
    rng = np.random.default_rng(9)
    a, b = (rng.integers(-9, 9, (8, 8)).astype(np.float16) for _ in range(2))
    out, *_ = run(metal, source, np.zeros((8, 8), np.float32), a, b)
    assert (out == a.astype(np.float32) @ b.astype(np.float32) + 1).all()


def test_metal_heads_that_are_refused(metal: MetalSim) -> None:
    for head, message in (
        ("device float *out [[buffer(1)]]", r"has buffers \[1\]"),
        ("device float *out", "takes 'device float \\*out' with attributes"),
        ("device float *out [[buffer(0)]], threadgroup float *t [[threadgroup(0)]]", "no memory of the"),
    ):
        with pytest.raises(DeviceError, match=message):
            metal.compile(f"{HEAD}kernel void k({head}) {{ out[0] = 1.0f; }}")
    both = "threadgroup float t[4]; threadgroup float *p = t;"
    with pytest.raises(DeviceError, match="line 3 of the source both declares"):
        metal.compile(f"{HEAD}kernel void k(device float *out [[buffer(0)]]) {{ {both} out[0] = *p; }}")
