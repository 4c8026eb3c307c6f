/* Metal's functions of numbers and vectors. Those of half and bfloat are computed in double and rounded once.
   Of metal_shim.h. */
#pragma once
#include "metal_vectors.h"

namespace metal {

template <class T, int N> using vec = pw::Vector<T, N>;

#define PW_UNARY(name, of_float, of_double)                                      \
    PW_INLINE float name(float x) { return of_float; }                           \
    template <int E, int M> PW_INLINE pw::Narrow<E, M> name(pw::Narrow<E, M> h) { \
        const double x = h.wide();                                               \
        return of_double;                                                        \
    }                                                                            \
    template <class T, int N> PW_INLINE vec<T, N> name(const vec<T, N> &a) PW_EACH(PW_ARG(vec<T, N>), name(a[i]))
#define PW_ARG(...) __VA_ARGS__
#define PW_LIBRARY(name) PW_UNARY(name, __builtin_##name##f(x), __builtin_##name(x))
PW_LIBRARY(sqrt) PW_LIBRARY(exp2) PW_LIBRARY(exp) PW_LIBRARY(log2) PW_LIBRARY(log) PW_LIBRARY(sin)
PW_LIBRARY(cos) PW_LIBRARY(tanh) PW_LIBRARY(floor) PW_LIBRARY(ceil) PW_LIBRARY(trunc) PW_LIBRARY(rint)
PW_LIBRARY(fabs)
PW_UNARY(rsqrt, (float)(1.0 / __builtin_sqrt(x)), 1.0 / __builtin_sqrt(x))
#undef PW_LIBRARY
#undef PW_UNARY

PW_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
template <int E, int M>
PW_INLINE pw::Narrow<E, M> fma(pw::Narrow<E, M> a, pw::Narrow<E, M> b, pw::Narrow<E, M> c) {
    return pw::fma_narrow(a, b, c);
}
template <class T, int N>
PW_INLINE vec<T, N> fma(const vec<T, N> &a, const vec<T, N> &b, const vec<T, N> &c)
    PW_EACH(PW_ARG(vec<T, N>), fma(a[i], b[i], c[i]))

template <class T> PW_INLINE T abs(T x) { return x < T(0) ? T(-x) : x; }
PW_INLINE float abs(float x) { return fabs(x); }
template <int E, int M> PW_INLINE pw::Narrow<E, M> abs(pw::Narrow<E, M> x) { return fabs(x); }
template <class T, int N> PW_INLINE vec<T, N> abs(const vec<T, N> &a) PW_EACH(PW_ARG(vec<T, N>), abs(a[i]))

/* min and max as the comparison says; fmin and fmax give the number where one is NaN. */
#define PW_BINARY(name, expression)                                                                    \
    template <class T> PW_INLINE T name(T a, T b) { return expression; }                               \
    template <class T, int N> PW_INLINE vec<T, N> name(const vec<T, N> &a, const vec<T, N> &b)         \
        PW_EACH(PW_ARG(vec<T, N>), name(a[i], b[i]))
PW_BINARY(min, b < a ? b : a)
PW_BINARY(max, a < b ? b : a)
PW_BINARY(fmin, a != a ? b : b < a ? b : a)
PW_BINARY(fmax, a != a ? b : a < b ? b : a)
#undef PW_BINARY
template <class T> PW_INLINE T clamp(T x, T low, T high) { return min(max(x, low), high); }
PW_INLINE float copysign(float a, float b) { return __builtin_copysignf(a, b); }
PW_INLINE float ldexp(float a, int b) { return __builtin_ldexpf(a, b); }

#define PW_TEST(name, expression)                                           \
    PW_INLINE bool name(float x) { return expression; }                     \
    template <int E, int M> PW_INLINE bool name(pw::Narrow<E, M> x) { return name(float(x)); } \
    template <class T, int N> PW_INLINE vec<bool, N> name(const vec<T, N> &a) PW_EACH(PW_ARG(vec<bool, N>), name(a[i]))
PW_TEST(isnan, __builtin_isnan(x))
PW_TEST(isinf, __builtin_isinf(x) != 0)
#undef PW_TEST

/* select(if false, if true, condition) */
template <class T> PW_INLINE T select(T no, T yes, bool c) { return c ? yes : no; }
template <class T, int N>
PW_INLINE vec<T, N> select(const vec<T, N> &no, const vec<T, N> &yes, const vec<bool, N> &c)
    PW_EACH(PW_ARG(vec<T, N>), c[i] ? yes[i] : no[i])

PW_INLINE bool any(bool x) { return x; }
PW_INLINE bool all(bool x) { return x; }
template <int N> PW_INLINE bool any(const vec<bool, N> &a) {
    bool r = false;
    for (int i = 0; i < N; i++) r |= a[i];
    return r;
}
template <int N> PW_INLINE bool all(const vec<bool, N> &a) { return !any(!a); }

PW_INLINE int mulhi(int a, int b) { return (int)((long)a * b >> 32); }
PW_INLINE uint mulhi(uint a, uint b) { return (uint)((ulong)a * b >> 32); }
PW_INLINE long mulhi(long a, long b) { return (long)((__int128)a * b >> 64); }
PW_INLINE ulong mulhi(ulong a, ulong b) { return (ulong)((unsigned __int128)a * b >> 64); }
PW_INLINE int popcount(int x) { return __builtin_popcount((uint)x); }
PW_INLINE uint popcount(uint x) { return (uint)__builtin_popcount(x); }
PW_INLINE int clz(int x) { return x ? __builtin_clz((uint)x) : 32; }
PW_INLINE uint clz(uint x) { return x ? (uint)__builtin_clz(x) : 32u; }
PW_INLINE long clz(long x) { return x ? __builtin_clzl((ulong)x) : 64; }
PW_INLINE ulong clz(ulong x) { return x ? (ulong)__builtin_clzl(x) : 64ul; }

#define PW_BOTH                                                                                       \
    using metal::abs; using metal::ceil; using metal::cos; using metal::exp; using metal::exp2;       \
    using metal::fabs; using metal::floor; using metal::fma; using metal::fmax; using metal::fmin;    \
    using metal::log; using metal::log2; using metal::rint; using metal::rsqrt; using metal::sin;     \
    using metal::sqrt; using metal::tanh; using metal::trunc; using metal::min; using metal::max;
namespace precise { PW_BOTH }
namespace fast { PW_BOTH }
#undef PW_BOTH

}  // namespace metal

/* The same bits as another type of the same size. */
template <class To, class From> PW_INLINE To as_type(From x) {
    static_assert(sizeof(To) == sizeof(From), "as_type keeps the size");
    To r;
    __builtin_memcpy((void *)&r, (const void *)&x, sizeof(r));
    return r;
}
