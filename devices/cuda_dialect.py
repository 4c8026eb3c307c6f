"""CUDA C++, as a table. Vectors are a template: memory moves four elements at a time, lanes compute alone."""

from __future__ import annotations

from ..core import dtype as dt
from ..core.dialect import CLike
from ..core.ops import Op
from ..core.value import Extra

_NARROW = (dt.float16, dt.bfloat16)
_THROUGH_FLOAT = {
    Op.SQRT: "sqrtf", Op.EXP2: "exp2f", Op.LOG2: "log2f", Op.SIN: "sinf", Op.RECIP: "1.0f / ",
}  # fmt: skip

CUDA_C = CLike(
    types={
        dt.bool_: "unsigned char", dt.int8: "signed char", dt.int16: "short", dt.int32: "int",
        dt.int64: "long long", dt.uint8: "unsigned char", dt.uint16: "unsigned short",
        dt.uint32: "unsigned int", dt.uint64: "unsigned long long", dt.float16: "__half",
        dt.bfloat16: "__nv_bfloat16", dt.float32: "float", dt.float64: "double",
    },
    short={
        dt.bool_: "b8", dt.int8: "i8", dt.int16: "i16", dt.int32: "i32", dt.int64: "i64", dt.uint8: "u8",
        dt.uint16: "u16", dt.uint32: "u32", dt.uint64: "u64", dt.float16: "f16", dt.bfloat16: "bf16",
        dt.float32: "f32", dt.float64: "f64",
    },
    prelude="""\
#include <cuda_fp16.h>
#include <cuda_bf16.h>
#define FN static __device__ __forceinline__
template <typename T, int N> struct alignas(sizeof(T) * N) vec {
  T v[N];
  __device__ __forceinline__ T &operator[](int i) { return v[i]; }
  __device__ __forceinline__ const T &operator[](int i) const { return v[i]; }
};
template <int S> struct mask_of { typedef int type; };
template <> struct mask_of<1> { typedef signed char type; };
template <> struct mask_of<2> { typedef short type; };
template <> struct mask_of<8> { typedef long long type; };
template <typename T> FN float wide(T x) { return (float)x; }
template <typename B, typename A> struct to_ { FN B of(A x) { return (B)x; } };
template <typename B> struct to_<B, __half> { FN B of(__half x) { return (B)__half2float(x); } };
template <typename B> struct to_<B, __nv_bfloat16> {
  FN B of(__nv_bfloat16 x) { return (B)__bfloat162float(x); }
};
template <typename B, typename A> FN B to(A x) { return to_<B, A>::of(x); }
template <typename B, typename A> FN B bits(A a) { B b; memcpy(&b, &a, sizeof(B)); return b; }
template <typename T> FN T maximum(T a, T b) { return a > b || a != a ? a : b; }
FN float root(float x) { return sqrtf(x); }
FN double root(double x) { return sqrt(x); }
FN float fused(float a, float b, float c) { return fmaf(a, b, c); }
FN double fused(double a, double b, double c) { return fma(a, b, c); }
#define LANES for (int i = 0; i < N; i++)
#define BINARY(op) template <typename T, int N> FN vec<T, N> operator op(vec<T, N> a, vec<T, N> b) { \\
  LANES a[i] = a[i] op b[i]; return a; }
BINARY(+) BINARY(-) BINARY(*) BINARY(/) BINARY(%) BINARY(&) BINARY(|) BINARY(^) BINARY(<<) BINARY(>>)
#define COMPARE(op) template <typename T, int N> FN vec<typename mask_of<sizeof(T)>::type, N> operator op( \\
  vec<T, N> a, vec<T, N> b) { \\
  vec<typename mask_of<sizeof(T)>::type, N> m; LANES m[i] = -(a[i] op b[i]); return m; }
COMPARE(<) COMPARE(>) COMPARE(!=)
template <typename T, int N> FN vec<T, N> operator&(vec<T, N> a, int b) { LANES a[i] = a[i] & b; return a; }
template <typename T, int N> FN vec<T, N> operator-(vec<T, N> a) { LANES a[i] = -a[i]; return a; }
template <typename T, int N> FN vec<T, N> operator~(vec<T, N> a) { LANES a[i] = ~a[i]; return a; }
template <typename M, typename T, int N> FN vec<T, N> choose(vec<M, N> m, vec<T, N> a, vec<T, N> b) {
  LANES a[i] = m[i] ? a[i] : b[i]; return a; }
template <typename T, int N> FN vec<T, N> all(T x) { vec<T, N> r; LANES r[i] = x; return r; }
template <typename B, typename A, int N> FN vec<B, N> convert(vec<A, N> a) {
  vec<B, N> r; LANES r[i] = to<B>(a[i]); return r; }
template <typename T, int N> FN vec<T, N> maximum(vec<T, N> a, vec<T, N> b) {
  LANES a[i] = maximum(a[i], b[i]); return a; }
template <typename T, int N> FN vec<T, N> root(vec<T, N> a) { LANES a[i] = root(a[i]); return a; }
template <typename T, int N> FN vec<T, N> fused(vec<T, N> a, vec<T, N> b, vec<T, N> c) {
  LANES a[i] = fused(a[i], b[i], c[i]); return a; }
FN index_t floordiv(index_t a, index_t b) { index_t q = a / b; return q - (a % b < 0); }
FN index_t floormod(index_t a, index_t b) { index_t r = a % b; return r < 0 ? r + b : r; }
""",
    kernel='extern "C" __global__ void __launch_bounds__({threads}) {name}({arguments})',
    argument="{qualifier}{T} *{alone}{name}",
    constant_qualifier="const ",
    alone_qualifier="__restrict__ ",
    index_types=("int", "long long"),
    grid="const {t} {var} = ({t})blockIdx.x * blockDim.x + threadIdx.x; if ({var} < {extent}) {{",
    grid_last="{var} == {last}",
    block="blockIdx.x",
    thread="threadIdx.x",
    barrier="__syncthreads();",
    shared="__shared__ {T} {name}[{size}];",
    vector_type="typedef vec<{T}, {n}> {V};",
    literal="{V}{{{{{lanes}}}}}",
    aligned_load="(*({const}{V} *)({0} + {1}))",
    aligned_store="*({V} *)({0} + {1}) = {2};",
    scalar={
        Op.CAST: "to<{T}>({0})", Op.BITCAST: "bits<{T}>({0})", Op.ADD: "({0} + {1})", Op.SUB: "({0} - {1})",
        Op.MUL: "({0} * {1})", Op.NEG: "(-{0})", Op.IDIV: "({0} / {1})", Op.MAX: "maximum({0}, {1})",
        Op.MOD: "({0} % {1})", Op.RECIP: "(({T})1 / {0})", Op.SQRT: "root({0})",
        Op.EXP2: "exp2({0})", Op.LOG2: "log2({0})", Op.SIN: "sin({0})",
        Op.CMPLT: "({0} < {1})", Op.CMPNE: "({0} != {1})", Op.WHERE: "({0} ? {1} : {2})",
        Op.AND: "({0} & {1})", Op.OR: "({0} | {1})", Op.XOR: "({0} ^ {1})", Op.SHL: "({0} << {1})",
        Op.SHR: "({0} >> {1})", Extra.FMA: "fused({0}, {1}, {2})", Extra.DIV: "({0} / {1})",
    },
    by_dtype={
        **{(op, dt.float32): f + "({0})" for op, f in _THROUGH_FLOAT.items() if op is not Op.RECIP},
        **{(op, d): "to<{T}>(" + f + "(wide({0})))" for op, f in _THROUGH_FLOAT.items() for d in _NARROW},
        **{(Extra.FMA, d): "__hfma({0}, {1}, {2})" for d in _NARROW},
        **{(Extra.DIV, d): "to<{T}>(wide({0}) / wide({1}))" for d in _NARROW},
    },
    vector={
        Op.CAST: "convert<{T}>({0})", Op.BITCAST: "bits<{V}>({0})", Op.RECIP: "(all<{T}, {n}>(1) / {0})",
        Op.WHERE: "choose({0}, {1}, {2})", Extra.SPLAT: "all<{T}, {n}>({0})",
    },
    functions={
        f"fold_{how}": f"FN {{T}} {{V}}_fold_{how}({{V}} a) {{{{ {{fold}} }}}}"
        for how in ("add", "mul", "max", "or")
    },
    number={
        dt.float16: "__float2half({0}f)", dt.bfloat16: "__float2bfloat16({0}f)", dt.float32: "{0}f",
        dt.float64: "{0}", dt.int64: "{0}ll", dt.uint64: "{0}ull", dt.uint32: "{0}u", dt.int32: "{0}",
        dt.int8: "(signed char){0}", dt.int16: "(short){0}", dt.uint8: "(unsigned char){0}",
        dt.uint16: "(unsigned short){0}",
    },
    infinity={
        dt.float32: "bits<float>(0x7f800000)", dt.float64: "bits<double>(0x7ff0000000000000ll)",
        dt.float16: "bits<__half>((short)0x7c00)", dt.bfloat16: "bits<__nv_bfloat16>((short)0x7f80)",
    },
    nan={
        dt.float32: "bits<float>(0x7fc00000)", dt.float64: "bits<double>(0x7ff8000000000000ll)",
        dt.float16: "bits<__half>((short)0x7e00)", dt.bfloat16: "bits<__nv_bfloat16>((short)0x7fc0)",
    },
)  # fmt: skip
