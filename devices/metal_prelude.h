/* What Portwright's Metal text is written in: operations whose meaning is that of the contract. */
#include <metal_stdlib>
#include <metal_simdgroup_matrix>
using namespace metal;
#pragma METAL fp contract(off)

/* Integers wrap: a signed overflow of a scalar has no meaning in C++, and the compiler makes use of that. Of
   vectors it makes none, so those are left alone. */
template <typename T> struct wraps { typedef T as; };
template <> struct wraps<char> { typedef uint as; };
template <> struct wraps<uchar> { typedef uint as; };
template <> struct wraps<short> { typedef uint as; };
template <> struct wraps<ushort> { typedef uint as; };
template <> struct wraps<int> { typedef uint as; };
template <> struct wraps<long> { typedef ulong as; };
#define WRAPPING(name, op) template <typename T> inline T name(T a, T b) { \
  typedef typename wraps<T>::as W; return (T)((W)a op (W)b); }
WRAPPING(add, +) WRAPPING(sub, -) WRAPPING(mul, *) WRAPPING(shl, <<)
template <typename T> inline T neg(T a) { return (T)-(typename wraps<T>::as)a; }

/* Computed in float, and for 16-bit floats rounded once more. */
#define IN_FLOAT(T, W) \
  inline T root(T x) { return T(precise::sqrt(W(x))); } \
  inline T sine(T x) { return T(precise::sin(W(x))); } \
  inline T recip(T x) { return T(1.0f / W(x)); } \
  inline T quotient(T a, T b) { return T(W(a) / W(b)); } \
  inline T fused(T a, T b, T c) { return T(fma(W(a), W(b), W(c))); }
IN_FLOAT(float, float) IN_FLOAT(float2, float2) IN_FLOAT(float4, float4)
IN_FLOAT(half, float) IN_FLOAT(half2, float2) IN_FLOAT(half4, float4)
template <typename B, typename A> struct to_ { static B of(A x) { return (B)x; } };
#if __METAL_VERSION__ >= 310
IN_FLOAT(bfloat, float) IN_FLOAT(bfloat2, float2) IN_FLOAT(bfloat4, float4)
template <typename B> struct to_<B, bfloat> { static B of(bfloat x) { return (B)float(x); } };
#endif

/* The same value as another type, the greater of two, and positions. */
template <typename B, typename A> inline B to(A x) { return to_<B, A>::of(x); }
template <typename T> inline T maximum(T a, T b) { return a > b || a != a ? a : b; }
inline index_t floordiv(index_t a, index_t b) { index_t q = a / b; return q - (a % b < 0); }
inline index_t floormod(index_t a, index_t b) { index_t r = a % b; return r < 0 ? r + b : r; }
