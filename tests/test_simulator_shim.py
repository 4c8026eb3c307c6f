"""CUDA's shim against the real compiler: it names nothing that CUDA does not, and vectors lie as there."""

from __future__ import annotations

import pytest

from portwright.core.errors import DeviceError
from portwright.devices import cuda_nvrtc
from portwright.devices.cuda_sim import CUDASim

BOTH = """
#include <cuda_fp16.h>
#include <cuda_bf16.h>
"""
NARROW = (
    BOTH
    + """
template <class T> __device__ void numbers(T *p, float *f, bool *b) {
  const T a = p[0], c = p[1];
  p[0] = __hadd(a, c); p[1] = __hsub(a, c); p[2] = __hmul(a, c); p[3] = __hdiv(a, c); p[4] = __hneg(a);
  p[5] = __habs(a); p[6] = __hfma(a, c, a); p[7] = __hmax(a, c); p[8] = __hmin(a, c);
  p[9] = __hmax_nan(a, c); p[10] = __hmin_nan(a, c); p[11] = hsqrt(a); p[12] = hrcp(a); p[13] = hexp2(a);
  p[14] = hlog2(a); p[15] = hsin(a); p[16] = a + c; p[17] = a - c; p[18] = a * c; p[19] = a / c; p[20] = -a;
  p[21] = (T)1.5f; p[22] = T(3); f[0] = (float)a; f[1] = (int)a;
  b[0] = __hlt(a, c); b[1] = __hgt(a, c); b[2] = __heq(a, c); b[3] = __hne(a, c); b[4] = __hneu(a, c);
  b[5] = __hisnan(a); b[6] = a < c; b[7] = a != c;
}
template <class T> __device__ void pairs(T *p) {
  const T a = p[0], c = p[1];
  p[2] = __hadd2(a, c); p[3] = __hsub2(a, c); p[4] = __hmul2(a, c); p[5] = __h2div(a, c); p[6] = __hneg2(a);
  p[7] = __hfma2(a, c, a); p[8] = __hmax2_nan(a, c); p[9].x = p[1].y;
}
extern "C" __global__ void k(__half *h, __half2 *h2, __nv_bfloat16 *g, __nv_bfloat162 *g2, float *f,
                             bool *b) {
  numbers(h, f, b);
  numbers(g, f, b);
  pairs(h2);
  pairs(g2);
}
"""
)
PAIRS = (
    BOTH
    + """
extern "C" __global__ void k(__half *h, __half2 *h2, __nv_bfloat16 *g, __nv_bfloat162 *g2, float *f,
                             float2 *f2) {
  h[0] = __low2half(h2[0]); h[1] = __high2half(h2[0]);
  g[0] = __low2bfloat16(g2[0]); g[1] = __high2bfloat16(g2[0]);
  h2[1] = __halves2half2(h[0], h[1]); h2[2] = make_half2(h[0], h[1]); h2[3] = __half2half2(h[0]);
  h2[4] = __float2half2_rn(f[0]); h2[5] = __floats2half2_rn(f[0], f[1]); f2[0] = __half22float2(h2[0]);
  g2[1] = __halves2bfloat162(g[0], g[1]); g2[2] = __bfloat162bfloat162(g[0]);
  g2[3] = __floats2bfloat162_rn(f[0], f[1]); f2[1] = __bfloat1622float2(g2[0]);
}
static_assert(alignof(__half2) == 4 && alignof(__nv_bfloat162) == 4, "pairs");
"""
)
CONVERSIONS = BOTH + "".join(
    f"""
extern "C" __global__ void k_{name}({T} *h, short *s, unsigned short *u, int *i, unsigned *w, long long *l,
                                unsigned long long *q, float *f, double *d) {{
  u[0] = __{name}_as_ushort(h[0]); s[0] = __{name}_as_short(h[0]);
  h[0] = __ushort_as_{name}(u[1]); h[1] = __short_as_{name}(s[1]);
  h[2] = __int2{name}_rn(i[0]); h[3] = __uint2{name}_rn(w[0]); h[4] = __ll2{name}_rn(l[0]);
  h[5] = __ull2{name}_rn(q[0]); h[6] = __short2{name}_rn(s[0]); h[7] = __ushort2{name}_rn(u[0]);
  i[0] = __{name}2int_rz(h[0]); w[0] = __{name}2uint_rz(h[0]); l[0] = __{name}2ll_rz(h[0]);
  q[0] = __{name}2ull_rz(h[0]); s[0] = __{name}2short_rz(h[0]); u[0] = __{name}2ushort_rz(h[0]);
  f[0] = __{name}2float(h[0]); h[8] = __float2{name}(f[0]); h[9] = __float2{name}_rn(f[0]);
  h[10] = __double2{name}(d[0]);
}}
"""
    for T, name in (("__half", "half"), ("__nv_bfloat16", "bfloat16"))
)
MATHS = """
extern "C" __global__ void k(float *f, double *d, int *i, unsigned *w, long long *l, unsigned long long *q) {
  const float x = f[0], y = f[1];
  const double r = d[0], s = d[1];
  f[2] = __fadd_rn(x, y) + __fsub_rn(x, y) + __fmul_rn(x, y) + __fdiv_rn(x, y) + __frcp_rn(x) + __fsqrt_rn(x);
  d[2] = __dadd_rn(r, s) + __dsub_rn(r, s) + __dmul_rn(r, s) + __ddiv_rn(r, s) + __drcp_rn(r) + __dsqrt_rn(r);
  f[3] = __fmaf_rn(x, y, x) + fmaf(x, y, x) + sqrtf(x) + exp2f(x) + log2f(x) + sinf(x) + cosf(x) + tanhf(x);
  d[3] = __fma_rn(r, s, r) + fma(r, s, r) + sqrt(r) + exp2(r) + log2(r) + sin(r) + cos(r) + tanh(r);
  f[4] = sqrt(x) + exp2(x) + log2(x) + sin(x) + exp(x) + log(x) + floor(x) + ceil(x) + trunc(x) + rint(x);
  f[5] = fmaxf(x, y) + fminf(x, y) + max(x, y) + min(x, y) + ldexpf(x, 3) + copysignf(x, y) + fabsf(x);
  w[1] = __umulhi(w[0], w[1]); i[1] = __mulhi(i[0], i[1]); q[1] = __umul64hi(q[0], q[1]);
  l[1] = __mul64hi(l[0], l[1]); i[2] = __clz(i[0]) + __clzll(l[0]) + __popc(w[0]) + max(i[0], i[1]);
  i[5] = isnan(x) + isinf(y);
  i[3] = __float_as_int(x); f[6] = __int_as_float(i[0]);
  w[2] = __float_as_uint(x); f[7] = __uint_as_float(w[0]);
  l[2] = __double_as_longlong(r); d[4] = __longlong_as_double(l[0]);
  f[8] = __ldg(f) + __ldcs(f) + __ldcg(f);
  __stcs(f + 9, x);
  __stcg(f + 10, y);
  memcpy(i + 4, f, sizeof(int));
  __shared__ __align__(16) float tile[64];
  tile[threadIdx.x] = __shfl_xor_sync(0xffffffffu, x, 1) + __shfl_down_sync(0xffffffffu, x, 1) +
                      __shfl_up_sync(0xffffffffu, x, 1) + __shfl_sync(0xffffffffu, x, 1) + warpSize;
  __syncwarp();
  __syncthreads();
  f[11 + threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x] + gridDim.y + blockIdx.z;
}
"""
VECTORS = "".join(
    f"""
static_assert(sizeof({t}2) == 2 * {size} && alignof({t}2) == {two}, "{t}2");
static_assert(sizeof({t}3) == 3 * {size} && alignof({t}3) == {size}, "{t}3");
static_assert(sizeof({t}4) == 4 * {size} && alignof({t}4) == {four}, "{t}4");
extern "C" __global__ void k_{t}({t}4 *v) {{ v[0] = make_{t}4(1, 2, 3, v[1].w); v[2].x = make_{t}2(1, 2).y; }}
"""
    for size, two, four, names in (
        (1, 2, 4, "char uchar"),
        (2, 4, 8, "short ushort"),
        (4, 8, 16, "int uint float"),
        (8, 16, 16, "longlong ulonglong double"),
    )
    for t in names.split()
)
TEXTS = {"narrow": NARROW, "pairs": PAIRS, "conversions": CONVERSIONS, "maths": MATHS, "vectors": VECTORS}


@pytest.fixture(scope="module")
def sim() -> CUDASim:
    return CUDASim()


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_the_shim_has_these(sim: CUDASim, text: str) -> None:
    assert sim.compile(text).startswith(b"\x7fELF")


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_so_has_the_real_compiler(text: str) -> None:
    try:
        cuda_nvrtc.find_compiler()
    except DeviceError as e:
        pytest.skip(str(e))
    assert cuda_nvrtc.compile_for("sm_80", text).startswith(b"\x7fELF")
