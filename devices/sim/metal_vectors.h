/* Metal's vectors: float4 and its kin, with operators, by lanes. Of metal_shim.h. */
#pragma once
#include "floats.h"

namespace pw {

template <class T, int N> struct Lanes;
template <class T> struct Lanes<T, 2> { T x, y; };
template <class T> struct Lanes<T, 3> { T x, y, z; };
template <class T> struct Lanes<T, 4> { T x, y, z, w; };

/* PACKED: aligned as one element is, not as the whole. */
template <class T, int N, bool PACKED = false>
struct __attribute__((aligned(PACKED ? alignof(T) : sizeof(T) * (N == 2 ? 2 : 4)))) Vector : Lanes<T, N> {
    typedef Vector V;
    typedef Vector<bool, N> Bools;

    Vector() = default;
    template <class S, class = typename only_if<is_number<S>::value>::type> Vector(S all) { fill(T(all)); }
    template <int E, int M> Vector(Narrow<E, M> all) { fill(T(all)); }
    Vector(const Vector<T, N, !PACKED> &v) { put(0, v); }
    template <class S, bool P> explicit Vector(const Vector<S, N, P> &v) { put(0, v); }
    template <class A, class B, class... Rest> Vector(const A &a, const B &b, const Rest &...rest) {
        gather(0, a, b, rest...);
    }

    T &operator[](int i) { return (&this->x)[i]; }
    const T &operator[](int i) const { return (&this->x)[i]; }

#define PW_EACH(R, expression)                        \
    {                                                 \
        R r;                                          \
        _Pragma("GCC unroll 4") for (int i = 0; i < N; i++) r[i] = expression; \
        return r;                                     \
    }
#define PW_ARITHMETIC(op)                                                      \
    friend V operator op(const V &a, const V &b) PW_EACH(V, T(a[i] op b[i]))    \
    V &operator op##=(const V & b) { return *this = *this op b; }
    PW_ARITHMETIC(+) PW_ARITHMETIC(-) PW_ARITHMETIC(*) PW_ARITHMETIC(/) PW_ARITHMETIC(%)
    PW_ARITHMETIC(&) PW_ARITHMETIC(|) PW_ARITHMETIC(^) PW_ARITHMETIC(<<) PW_ARITHMETIC(>>)
#undef PW_ARITHMETIC
#define PW_COMPARISON(op) \
    friend Bools operator op(const V &a, const V &b) PW_EACH(Bools, bool(a[i] op b[i]))
    PW_COMPARISON(<) PW_COMPARISON(>) PW_COMPARISON(<=) PW_COMPARISON(>=) PW_COMPARISON(==) PW_COMPARISON(!=)
    PW_COMPARISON(&&) PW_COMPARISON(||)
#undef PW_COMPARISON
    V operator-() const PW_EACH(V, T(-(*this)[i]))
    V operator~() const PW_EACH(V, T(~(*this)[i]))
    Bools operator!() const PW_EACH(Bools, !(*this)[i])

private:
    void fill(T all) {
        _Pragma("GCC unroll 4") for (int i = 0; i < N; i++) (*this)[i] = all;
    }
    template <class S> int put(int at, const S &x) { return (*this)[at] = T(x), at + 1; }
    template <class S, int K, bool P> int put(int at, const Vector<S, K, P> &v) {
        _Pragma("GCC unroll 4") for (int i = 0; i < K; i++) (*this)[at + i] = T(v[i]);
        return at + K;
    }
    void gather(int) {}
    template <class A, class... Rest> void gather(int at, const A &a, const Rest &...rest) {
        gather(put(at, a), rest...);
    }
};

/* Half with another number: a float makes both floats, an integer becomes half. */
#define PW_MIXED(op, R)                                                                                  \
    template <int E, int M> PW_INLINE R<float> operator op(Narrow<E, M> a, float b) { return float(a) op b; } \
    template <int E, int M> PW_INLINE R<float> operator op(float a, Narrow<E, M> b) { return a op float(b); } \
    template <int E, int M, class T, class = typename only_if<is_number<T>::value>::type>                  \
    PW_INLINE R<Narrow<E, M>> operator op(Narrow<E, M> a, T b) { return a op Narrow<E, M>(b); }            \
    template <int E, int M, class T, class = typename only_if<is_number<T>::value>::type>                  \
    PW_INLINE R<Narrow<E, M>> operator op(T a, Narrow<E, M> b) { return Narrow<E, M>(a) op b; }
template <class T> using Same = T;
template <class T> using Bool = bool;
PW_MIXED(+, Same) PW_MIXED(-, Same) PW_MIXED(*, Same) PW_MIXED(/, Same)
PW_MIXED(<, Bool) PW_MIXED(>, Bool) PW_MIXED(<=, Bool) PW_MIXED(>=, Bool) PW_MIXED(==, Bool) PW_MIXED(!=, Bool)
#undef PW_MIXED

}  // namespace pw

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned uint;
typedef unsigned long ulong;
typedef pw::Half half;
typedef pw::BFloat bfloat;
#define PW_VECTORS(T)                                                                  \
    typedef pw::Vector<T, 2> T##2;                                                      \
    typedef pw::Vector<T, 3> T##3;                                                      \
    typedef pw::Vector<T, 4> T##4;
PW_VECTORS(bool) PW_VECTORS(char) PW_VECTORS(uchar) PW_VECTORS(short) PW_VECTORS(ushort) PW_VECTORS(int)
PW_VECTORS(uint) PW_VECTORS(long) PW_VECTORS(ulong) PW_VECTORS(half) PW_VECTORS(bfloat) PW_VECTORS(float)
#undef PW_VECTORS
#define PW_VECTORS(T)                                                                  \
    typedef pw::Vector<T, 2, true> packed_##T##2;                                       \
    typedef pw::Vector<T, 3, true> packed_##T##3;                                       \
    typedef pw::Vector<T, 4, true> packed_##T##4;
PW_VECTORS(char) PW_VECTORS(uchar) PW_VECTORS(short) PW_VECTORS(ushort) PW_VECTORS(int) PW_VECTORS(uint)
PW_VECTORS(long) PW_VECTORS(ulong) PW_VECTORS(half) PW_VECTORS(bfloat) PW_VECTORS(float)
#undef PW_VECTORS
