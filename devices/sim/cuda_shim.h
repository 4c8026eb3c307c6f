/* CUDA C++ on the host, for text that Portwright generates: no more of the language than is listed here.

   execution   __global__ __device__ __host__ __forceinline__ __restrict__ __launch_bounds__ __align__
               threadIdx blockIdx blockDim gridDim warpSize; parameters of a kernel are pointers
   memory      __shared__ of fixed size, __constant__; __ldg __ldcs __ldcg __stcs __stcg
   barriers    __syncthreads __syncwarp; every thread of a block must reach the same one
   warps       __shfl_sync __shfl_xor_sync __shfl_down_sync __shfl_up_sync
   tiles       simulated_mma_<shape>_<D>_<T>(void *d, const unsigned *a, const unsigned *b, const void *c): what
               mma.sync.aligned.<shape>.row.col.D.T.T.D does with these registers (d and c: of f32 four floats,
               of f16 two registers; d may be c), for m16n8k16 of f32_f16, f32_bf16 and f16_f16, and m16n8k8 of
               those and f32_tf32. Text for both writes asm where __CUDACC__ or __CUDACC_RTC__ is defined
   vectors     char2 ... double4 with .x .y .z .w and make_*, aligned as there; they have no operators
   16-bit      __half __half2 __nv_bfloat16 __nv_bfloat162 and their functions, rounded once an operation
   maths       of float and double: C's; __fmaf_rn and kin, min max, __umulhi and kin, bit casts, memcpy

   The mask of a shuffle is not read: all lanes that the warp has take part. */
#pragma once
#include "kernel.h"
#include "tiles.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __shared__ PW_SHARED
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

#define threadIdx pw::thread
#define blockIdx pw::block
#define blockDim pw::threads
#define gridDim pw::blocks
#define warpSize 32

#define __syncthreads() pw::runtime->barrier(__COUNTER__, __LINE__)
#define __syncwarp(...) pw::meet_warp(__COUNTER__, __LINE__, pw::THOSE_THERE_ARE)
#define __shfl_sync(mask, x, lane, ...) pw::shuffle(__COUNTER__, __LINE__, x, (lane) & 31)
#define __shfl_xor_sync(mask, x, lanes, ...) pw::shuffle(__COUNTER__, __LINE__, x, pw::lane_id() ^ (lanes))
#define __shfl_down_sync(mask, x, by, ...) \
    pw::shuffle(__COUNTER__, __LINE__, x, pw::lane_id() + (int)(by) > 31 ? pw::lane_id() : pw::lane_id() + (int)(by))
#define __shfl_up_sync(mask, x, by, ...) \
    pw::shuffle(__COUNTER__, __LINE__, x, pw::lane_id() < (int)(by) ? pw::lane_id() : pw::lane_id() - (int)(by))

#define simulated_mma_m16n8k16_f32_f16(...) pw::mma<pw::F16, float, 16>(__COUNTER__, __LINE__, __VA_ARGS__)
#define simulated_mma_m16n8k16_f32_bf16(...) pw::mma<pw::BF16, float, 16>(__COUNTER__, __LINE__, __VA_ARGS__)
#define simulated_mma_m16n8k16_f16_f16(...) pw::mma<pw::F16, pw::Half, 16>(__COUNTER__, __LINE__, __VA_ARGS__)
#define simulated_mma_m16n8k8_f32_f16(...) pw::mma<pw::F16, float, 8>(__COUNTER__, __LINE__, __VA_ARGS__)
#define simulated_mma_m16n8k8_f32_bf16(...) pw::mma<pw::BF16, float, 8>(__COUNTER__, __LINE__, __VA_ARGS__)
#define simulated_mma_m16n8k8_f16_f16(...) pw::mma<pw::F16, pw::Half, 8>(__COUNTER__, __LINE__, __VA_ARGS__)
#define simulated_mma_m16n8k8_f32_tf32(...) pw::mma<pw::TF32, float, 8>(__COUNTER__, __LINE__, __VA_ARGS__)

typedef decltype(sizeof(0)) size_t;
PW_INLINE void *memcpy(void *to, const void *from, size_t n) { return __builtin_memcpy(to, from, n); }
typedef pw::Index3 dim3;

/* ------------------------------------------------------------------------------------------------ vectors */
#define PW_VECTORS(T, name, a2, a4)                                                                       \
    struct __attribute__((aligned(a2))) name##2 { T x, y; };                                               \
    struct name##3 { T x, y, z; };                                                                         \
    struct __attribute__((aligned(a4))) name##4 { T x, y, z, w; };                                         \
    PW_INLINE name##2 make_##name##2(T x, T y) { return {x, y}; }                                          \
    PW_INLINE name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                                  \
    PW_INLINE name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
PW_VECTORS(signed char, char, 2, 4)
PW_VECTORS(unsigned char, uchar, 2, 4)
PW_VECTORS(short, short, 4, 8)
PW_VECTORS(unsigned short, ushort, 4, 8)
PW_VECTORS(int, int, 8, 16)
PW_VECTORS(unsigned, uint, 8, 16)
PW_VECTORS(long, long, 16, 16)
PW_VECTORS(unsigned long, ulong, 16, 16)
PW_VECTORS(long long, longlong, 16, 16)
PW_VECTORS(unsigned long long, ulonglong, 16, 16)
PW_VECTORS(float, float, 8, 16)
PW_VECTORS(double, double, 16, 16)
#undef PW_VECTORS

/* -------------------------------------------------------------------------------------------------- maths */
#define PW_MATHS(name)                        \
    extern "C" double name(double) noexcept;  \
    extern "C" float name##f(float) noexcept; \
    PW_INLINE float name(float x) { return name##f(x); }
PW_MATHS(sqrt) PW_MATHS(exp2) PW_MATHS(exp) PW_MATHS(log2) PW_MATHS(log) PW_MATHS(sin) PW_MATHS(cos)
PW_MATHS(tanh) PW_MATHS(floor) PW_MATHS(ceil) PW_MATHS(trunc) PW_MATHS(rint) PW_MATHS(fabs)
#undef PW_MATHS
extern "C" {
double fma(double, double, double) noexcept;
float fmaf(float, float, float) noexcept;
double fmax(double, double) noexcept;
float fmaxf(float, float) noexcept;
double fmin(double, double) noexcept;
float fminf(float, float) noexcept;
double ldexp(double, int) noexcept;
float ldexpf(float, int) noexcept;
double copysign(double, double) noexcept;
float copysignf(float, float) noexcept;
}
PW_INLINE float fma(float a, float b, float c) { return fmaf(a, b, c); }
#define isnan(x) __builtin_isnan(x)
#define isinf(x) __builtin_isinf(x)

#define PW_ROUNDED(prefix, T, fma_name, root)                                \
    PW_INLINE T prefix##add_rn(T a, T b) { return a + b; }                   \
    PW_INLINE T prefix##sub_rn(T a, T b) { return a - b; }                   \
    PW_INLINE T prefix##mul_rn(T a, T b) { return a * b; }                   \
    PW_INLINE T prefix##div_rn(T a, T b) { return a / b; }                   \
    PW_INLINE T prefix##rcp_rn(T a) { return T(1) / a; }                     \
    PW_INLINE T prefix##sqrt_rn(T a) { return root(a); }                     \
    PW_INLINE T fma_name(T a, T b, T c) { return fma(a, b, c); }
PW_ROUNDED(__f, float, __fmaf_rn, sqrtf)
PW_ROUNDED(__d, double, __fma_rn, sqrt)
#undef PW_ROUNDED

#define PW_EXTREMES(T)                                   \
    PW_INLINE T min(T a, T b) { return b < a ? b : a; }  \
    PW_INLINE T max(T a, T b) { return a < b ? b : a; }
PW_EXTREMES(int) PW_EXTREMES(unsigned) PW_EXTREMES(long) PW_EXTREMES(unsigned long) PW_EXTREMES(long long)
PW_EXTREMES(unsigned long long)
#undef PW_EXTREMES
PW_INLINE float min(float a, float b) { return fminf(a, b); }
PW_INLINE float max(float a, float b) { return fmaxf(a, b); }
PW_INLINE double min(double a, double b) { return fmin(a, b); }
PW_INLINE double max(double a, double b) { return fmax(a, b); }

PW_INLINE unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
PW_INLINE int __mulhi(int a, int b) { return (int)((long long)a * b >> 32); }
PW_INLINE unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
PW_INLINE long long __mul64hi(long long a, long long b) { return (long long)((__int128)a * b >> 64); }
PW_INLINE int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
PW_INLINE int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
PW_INLINE int __popc(unsigned x) { return __builtin_popcount(x); }

#define PW_BITS(name, A, B)    \
    PW_INLINE B name(A x) {    \
        B r;                   \
        static_assert(sizeof(A) == sizeof(B), ""); \
        __builtin_memcpy(&r, &x, sizeof(r)); \
        return r;              \
    }
PW_BITS(__float_as_int, float, int) PW_BITS(__int_as_float, int, float) PW_BITS(__float_as_uint, float, unsigned)
PW_BITS(__uint_as_float, unsigned, float) PW_BITS(__double_as_longlong, double, long long)
PW_BITS(__longlong_as_double, long long, double)

template <class T> PW_INLINE T __ldg(const T *p) { return *p; }
template <class T> PW_INLINE T __ldcs(const T *p) { return *p; }
template <class T> PW_INLINE T __ldcg(const T *p) { return *p; }
template <class T> PW_INLINE void __stcs(T *p, T x) { *p = x; }
template <class T> PW_INLINE void __stcg(T *p, T x) { *p = x; }

/* ------------------------------------------------------------------------------------------------- 16-bit */
typedef pw::Half __half, half;
typedef pw::BFloat __nv_bfloat16, nv_bfloat16;

/* What cuda_fp16.h and cuda_bf16.h have for each of the two, by the same names. */
#define PW_NARROW(T, T2)                                                                        \
    struct __attribute__((aligned(4))) T2 { T x, y; };                                           \
    PW_INLINE T __hadd(T a, T b) { return a + b; }                                               \
    PW_INLINE T __hsub(T a, T b) { return a - b; }                                               \
    PW_INLINE T __hmul(T a, T b) { return a * b; }                                               \
    PW_INLINE T __hdiv(T a, T b) { return a / b; }                                               \
    PW_INLINE T __hneg(T a) { return -a; }                                                       \
    PW_INLINE T __habs(T a) { return T::from_bits(a.bits & 0x7FFF); }                            \
    PW_INLINE T __hfma(T a, T b, T c) { return pw::fma_narrow(a, b, c); }                             \
    PW_INLINE bool __hlt(T a, T b) { return a < b; }                                             \
    PW_INLINE bool __hgt(T a, T b) { return a > b; }                                             \
    PW_INLINE bool __heq(T a, T b) { return a == b; }                                            \
    PW_INLINE bool __hne(T a, T b) { return a < b || a > b; } /* false of a NaN; __hneu is not */ \
    PW_INLINE bool __hneu(T a, T b) { return a != b; }                                           \
    PW_INLINE bool __hisnan(T a) { return a != a; }                                              \
    PW_INLINE T __hmax(T a, T b) { return a != a ? b : b != b ? a : a > b ? a : b; }             \
    PW_INLINE T __hmin(T a, T b) { return a != a ? b : b != b ? a : a < b ? a : b; }             \
    PW_INLINE T __hmax_nan(T a, T b) { return a != a ? a : b != b ? b : a > b ? a : b; }         \
    PW_INLINE T __hmin_nan(T a, T b) { return a != a ? a : b != b ? b : a < b ? a : b; }         \
    PW_INLINE T hsqrt(T a) { return sqrt(a.wide()); }                                            \
    PW_INLINE T hrcp(T a) { return 1.0 / a.wide(); }                                             \
    PW_INLINE T hexp2(T a) { return exp2(a.wide()); }                                            \
    PW_INLINE T hlog2(T a) { return log2(a.wide()); }                                            \
    PW_INLINE T hsin(T a) { return sin(a.wide()); }                                              \
    PW_INLINE T2 __hadd2(T2 a, T2 b) { return {a.x + b.x, a.y + b.y}; }                          \
    PW_INLINE T2 __hsub2(T2 a, T2 b) { return {a.x - b.x, a.y - b.y}; }                          \
    PW_INLINE T2 __hmul2(T2 a, T2 b) { return {a.x * b.x, a.y * b.y}; }                          \
    PW_INLINE T2 __h2div(T2 a, T2 b) { return {a.x / b.x, a.y / b.y}; }                          \
    PW_INLINE T2 __hneg2(T2 a) { return {-a.x, -a.y}; }                                          \
    PW_INLINE T2 __hfma2(T2 a, T2 b, T2 c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; } \
    PW_INLINE T2 __hmax2_nan(T2 a, T2 b) { return {__hmax_nan(a.x, b.x), __hmax_nan(a.y, b.y)}; } \
    PW_INLINE T __low2half(T2 a) { return a.x; }                                                 \
    PW_INLINE T __high2half(T2 a) { return a.y; }
PW_NARROW(__half, __half2)
PW_NARROW(__nv_bfloat16, __nv_bfloat162)
#undef PW_NARROW
typedef __half2 half2;
typedef __nv_bfloat162 nv_bfloat162;

PW_BITS(__half_as_ushort, __half, unsigned short) PW_BITS(__half_as_short, __half, short)
PW_BITS(__ushort_as_half, unsigned short, __half) PW_BITS(__short_as_half, short, __half)
PW_BITS(__bfloat16_as_ushort, __nv_bfloat16, unsigned short) PW_BITS(__bfloat16_as_short, __nv_bfloat16, short)
PW_BITS(__ushort_as_bfloat16, unsigned short, __nv_bfloat16) PW_BITS(__short_as_bfloat16, short, __nv_bfloat16)

#define PW_CONVERTS(T, half, name, code)                                    \
    PW_INLINE half __##code##2##name##_rn(T x) { return x; }                \
    PW_INLINE T __##name##2##code##_rz(half x) { return (T)(float)x; }
#define PW_INTEGERS(half, name)                                                                         \
    PW_CONVERTS(int, half, name, int) PW_CONVERTS(unsigned, half, name, uint)                           \
    PW_CONVERTS(long long, half, name, ll) PW_CONVERTS(unsigned long long, half, name, ull)             \
    PW_CONVERTS(short, half, name, short) PW_CONVERTS(unsigned short, half, name, ushort)
PW_INTEGERS(__half, half) PW_INTEGERS(__nv_bfloat16, bfloat16)
#undef PW_INTEGERS
#undef PW_CONVERTS

PW_INLINE float __half2float(__half x) { return x; }
PW_INLINE __half __float2half(float x) { return x; }
PW_INLINE __half __float2half_rn(float x) { return x; }
PW_INLINE __half __double2half(double x) { return x; }
PW_INLINE float __bfloat162float(__nv_bfloat16 x) { return x; }
PW_INLINE __nv_bfloat16 __float2bfloat16(float x) { return x; }
PW_INLINE __nv_bfloat16 __float2bfloat16_rn(float x) { return x; }
PW_INLINE __nv_bfloat16 __double2bfloat16(double x) { return x; }
PW_INLINE __half2 __halves2half2(__half x, __half y) { return {x, y}; }
PW_INLINE __half2 make_half2(__half x, __half y) { return {x, y}; }
PW_INLINE __half2 __half2half2(__half x) { return {x, x}; }
PW_INLINE __half2 __float2half2_rn(float x) { return {x, x}; }
PW_INLINE __half2 __floats2half2_rn(float x, float y) { return {x, y}; }
PW_INLINE float2 __half22float2(__half2 a) { return {a.x, a.y}; }
PW_INLINE __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) { return {x, y}; }
PW_INLINE __nv_bfloat162 __bfloat162bfloat162(__nv_bfloat16 x) { return {x, x}; }
PW_INLINE __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {x, y}; }
PW_INLINE float2 __bfloat1622float2(__nv_bfloat162 a) { return {a.x, a.y}; }
PW_INLINE __nv_bfloat16 __low2bfloat16(__nv_bfloat162 a) { return a.x; }
PW_INLINE __nv_bfloat16 __high2bfloat16(__nv_bfloat162 a) { return a.y; }
#undef PW_BITS
