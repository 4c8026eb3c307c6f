/* What Portwright's CUDA text is written in: vectors, and operations whose meaning is that of the contract. */
#include <cuda_fp16.h>
#include <cuda_bf16.h>
#define FN static __device__ __forceinline__

/* Memory moves whole vectors; their lanes compute alone, pairs of 16-bit floats together. */
template <typename T, int N> struct alignas(sizeof(T) * N) vec {
  T v[N];
  __device__ __forceinline__ T &operator[](int i) { return v[i]; }
  __device__ __forceinline__ const T &operator[](int i) const { return v[i]; }
};
#define LANES for (int i = 0; i < N; i++)

/* Bits as another type, and values as another: 16-bit floats by way of float, which holds each of theirs. */
template <typename B, typename A> FN B bits(A a) { B b; memcpy(&b, &a, sizeof(B)); return b; }
template <typename B, typename A> struct to_ { FN B of(A x) { return (B)x; } };
template <typename B> struct to_<B, __half> { FN B of(__half x) { return (B)__half2float(x); } };
template <typename B> struct to_<B, __nv_bfloat16> {
  FN B of(__nv_bfloat16 x) { return (B)__bfloat162float(x); }
};
template <typename B, typename A> FN B to(A x) { return to_<B, A>::of(x); }

/* Integers wrap: a signed overflow has no meaning in C++, and the compiler makes use of that. */
template <typename T> struct wraps { typedef T as; };
template <> struct wraps<signed char> { typedef unsigned as; };
template <> struct wraps<unsigned char> { typedef unsigned as; };
template <> struct wraps<short> { typedef unsigned as; };
template <> struct wraps<unsigned short> { typedef unsigned as; };
template <> struct wraps<int> { typedef unsigned as; };
template <> struct wraps<long long> { typedef unsigned long long as; };
#define WRAPPING(name, op) template <typename T> FN T name(T a, T b) { \
  typedef typename wraps<T>::as W; return (T)((W)a op (W)b); }
WRAPPING(add, +) WRAPPING(sub, -) WRAPPING(mul, *) WRAPPING(shl, <<)
template <typename T> FN T neg(T a) { return (T)-(typename wraps<T>::as)a; }

/* Of 16-bit floats these are computed in float and rounded once more, which changes nothing or little: a
   quotient or root of float has more than twice their digits, the others stay within their bounds. */
template <typename T> FN T quotient(T a, T b) { return to<T>(to<float>(a) / to<float>(b)); }
FN float quotient(float a, float b) { return a / b; }
FN double quotient(double a, double b) { return a / b; }
template <typename T> FN T recip(T a) { return quotient(to<T>(1.0f), a); }
#define UNARY(name, of) FN float name(float x) { return of##f(x); } FN double name(double x) { return of(x); } \
  template <typename T> FN T name(T x) { return to<T>(name(to<float>(x))); } \
  template <typename T, int N> FN vec<T, N> name(vec<T, N> a) { LANES a[i] = name(a[i]); return a; }
UNARY(root, sqrt) UNARY(power2, exp2) UNARY(logarithm2, log2) UNARY(sine, sin)
template <typename T> FN T maximum(T a, T b) { return a > b || a != a ? a : b; }
template <typename T> FN T fused(T a, T b, T c) { return __hfma(a, b, c); }
FN float fused(float a, float b, float c) { return fmaf(a, b, c); }
FN double fused(double a, double b, double c) { return fma(a, b, c); }

/* The same of vectors. A condition is an integer as wide as what was compared, all bits set where true. */
#define EACH(name, lane) template <typename T, int N> FN vec<T, N> name(vec<T, N> a, vec<T, N> b) { \
  LANES a[i] = lane; return a; }
#define PAIRS(name, lane, T, pair, together) template <int N> FN vec<T, N> name(vec<T, N> a, vec<T, N> b) { \
  for (int i = 0; i < N; i += 2) ((pair *)&a)[i / 2] = together(((pair *)&a)[i / 2], ((pair *)&b)[i / 2]); \
  return a; }
#define NARROW(name, lane, together) EACH(name, lane) PAIRS(name, lane, __half, __half2, together) \
  PAIRS(name, lane, __nv_bfloat16, __nv_bfloat162, together)
NARROW(operator+, add(a[i], b[i]), __hadd2)
NARROW(operator-, sub(a[i], b[i]), __hsub2)
NARROW(operator*, mul(a[i], b[i]), __hmul2)
EACH(operator%, a[i] % b[i]) EACH(operator&, a[i] & b[i]) EACH(operator|, a[i] | b[i])
EACH(operator^, a[i] ^ b[i]) EACH(operator<<, shl(a[i], b[i])) EACH(operator>>, a[i] >> b[i])
EACH(operator/, a[i] / b[i]) EACH(quotient, quotient(a[i], b[i])) EACH(maximum, maximum(a[i], b[i]))
template <int S> struct mask_of { typedef int type; };
template <> struct mask_of<1> { typedef signed char type; };
template <> struct mask_of<2> { typedef short type; };
template <> struct mask_of<8> { typedef long long type; };
#define COMPARE(op) template <typename T, int N> FN vec<typename mask_of<sizeof(T)>::type, N> operator op( \
  vec<T, N> a, vec<T, N> b) { \
  vec<typename mask_of<sizeof(T)>::type, N> m; LANES m[i] = -(a[i] op b[i]); return m; }
COMPARE(<) COMPARE(!=)
template <typename T, int N> FN vec<T, N> operator&(vec<T, N> a, int b) { LANES a[i] = a[i] & b; return a; }
template <typename T, int N> FN vec<T, N> operator-(vec<T, N> a) { LANES a[i] = neg(a[i]); return a; }
template <typename T, int N> FN vec<T, N> operator~(vec<T, N> a) { LANES a[i] = ~a[i]; return a; }
template <typename T, int N> FN vec<T, N> recip(vec<T, N> a) { LANES a[i] = recip(a[i]); return a; }
template <typename M, typename T, int N> FN vec<T, N> choose(vec<M, N> m, vec<T, N> a, vec<T, N> b) {
  LANES a[i] = m[i] ? a[i] : b[i]; return a; }
template <typename T, int N> FN vec<T, N> all(T x) { vec<T, N> r; LANES r[i] = x; return r; }
template <typename B, typename A, int N> FN vec<B, N> convert(vec<A, N> a) {
  vec<B, N> r; LANES r[i] = to<B>(a[i]); return r; }
template <typename T, int N> FN vec<T, N> fused(vec<T, N> a, vec<T, N> b, vec<T, N> c) {
  LANES a[i] = fused(a[i], b[i], c[i]); return a; }

/* Positions. */
FN index_t floordiv(index_t a, index_t b) { index_t q = a / b; return q - (a % b < 0); }
FN index_t floormod(index_t a, index_t b) { index_t r = a % b; return r < 0 ? r + b : r; }
