/* The 16-bit floats: every operation is computed in double and rounded once, to nearest even. */
#pragma once

namespace pw {

PW_INLINE unsigned long long bits_of(double x) {
    unsigned long long u;
    __builtin_memcpy(&u, &x, 8);
    return u;
}

/* A double in 1 + EXPONENT + MANTISSA bits. A NaN keeps what fits of its payload, and is quiet. */
template <int EXPONENT, int MANTISSA> static inline unsigned short narrow(double x) {
    const int bias = (1 << (EXPONENT - 1)) - 1, infinity = ((1 << EXPONENT) - 1) << MANTISSA;
    const unsigned long long u = bits_of(x), fraction = u & ((1ull << 52) - 1);
    const unsigned short sign = (unsigned short)(u >> 63 << (EXPONENT + MANTISSA));
    const int exponent = (int)(u >> 52 & 0x7FF) - 1023;
    if (exponent == 1024) {
        const int payload = fraction ? 1 << (MANTISSA - 1) | (int)(fraction >> (52 - MANTISSA)) : 0;
        return (unsigned short)(sign | infinity | payload);
    }
    if (exponent > bias) return (unsigned short)(sign | infinity);
    const int below = exponent < 1 - bias ? 1 - bias - exponent : 0; /* a subnormal: so many bits fewer */
    const int shift = 52 - MANTISSA + below;
    if (exponent == -1023 || shift > 53) return sign;
    const unsigned long long m = 1ull << 52 | fraction, half = 1ull << (shift - 1);
    const unsigned long long rest = m & ((1ull << shift) - 1);
    unsigned kept = (unsigned)(m >> shift);
    kept += rest > half || (rest == half && (kept & 1)); /* a carry goes on into the exponent */
    const int base = below ? 0 : (exponent + bias - 1) << MANTISSA;
    return (unsigned short)(sign | (base + (int)kept));
}

template <int EXPONENT, int MANTISSA> PW_INLINE float widen(unsigned short h) {
    const int bias = (1 << (EXPONENT - 1)) - 1, top = (1 << EXPONENT) - 1;
    const unsigned fraction = h & ((1u << MANTISSA) - 1), sign = (unsigned)(h >> (EXPONENT + MANTISSA)) << 31;
    const int exponent = h >> MANTISSA & top;
    unsigned u;
    if (exponent == 0 && EXPONENT < 8) { /* subnormal here, normal as a float */
        const float x = (float)fraction * __builtin_ldexpf(1.0f, 1 - bias - MANTISSA);
        __builtin_memcpy(&u, &x, 4);
    } else {
        const unsigned wide = EXPONENT == 8 ? exponent : exponent == top ? 255 : exponent + 127 - bias;
        u = wide << 23 | fraction << (23 - MANTISSA);
    }
    u |= sign;
    float x;
    __builtin_memcpy(&x, &u, 4);
    return x;
}

template <class T> struct is_number { static const bool value = false; };
#define PW_NUMBER(T) template <> struct is_number<T> { static const bool value = true; };
PW_NUMBER(bool) PW_NUMBER(char) PW_NUMBER(signed char) PW_NUMBER(unsigned char) PW_NUMBER(short)
PW_NUMBER(unsigned short) PW_NUMBER(int) PW_NUMBER(unsigned) PW_NUMBER(long) PW_NUMBER(unsigned long)
PW_NUMBER(long long) PW_NUMBER(unsigned long long) PW_NUMBER(float) PW_NUMBER(double)
#undef PW_NUMBER
template <bool, class T = void> struct only_if {};
template <class T> struct only_if<true, T> { typedef T type; };

/* An integer as a double that rounds, further on, as the integer would: what does not fit leaves a last bit. */
template <class T> PW_INLINE double sticky(T x) {
    if (sizeof(T) < 8 || T(0.5) != T(0)) return (double)x;
    const bool negative = x < T(0);
    unsigned long long m = negative ? 0 - (unsigned long long)x : (unsigned long long)x;
    if (m >> 53) m = (m >> 11 | ((m & 0x7FF) != 0)) << 11;
    return negative ? -(double)m : (double)m;
}

/* a * b + c as a double that rounds, further on, as the exact value would: an inexact sum is made odd. */
PW_INLINE double fma_odd(double a, double b, double c) {
    const double p = a * b, s = p + c, bb = s - p, error = (p - (s - bb)) + (c - bb);
    unsigned long long u = bits_of(s);
    if (!(error != 0) || u & 1 || (u >> 52 & 0x7FF) == 0x7FF) return s;
    u += (error > 0) == (s > 0) ? 1 : -1;
    double odd;
    __builtin_memcpy(&odd, &u, 8);
    return odd;
}

template <int EXPONENT, int MANTISSA> struct Narrow {
    unsigned short bits;

    Narrow() = default;
    template <class T, class = typename only_if<is_number<T>::value>::type>
    Narrow(T x) : bits(narrow<EXPONENT, MANTISSA>(sticky(x))) {}
    template <int E, int M> explicit Narrow(Narrow<E, M> x) : bits(narrow<EXPONENT, MANTISSA>((float)x)) {}
    static Narrow from_bits(unsigned short bits) {
        Narrow r;
        r.bits = bits;
        return r;
    }
    operator float() const { return widen<EXPONENT, MANTISSA>(bits); }
    double wide() const { return widen<EXPONENT, MANTISSA>(bits); }

    friend Narrow operator+(Narrow a, Narrow b) { return a.wide() + b.wide(); }
    friend Narrow operator-(Narrow a, Narrow b) { return a.wide() - b.wide(); }
    friend Narrow operator*(Narrow a, Narrow b) { return a.wide() * b.wide(); }
    friend Narrow operator/(Narrow a, Narrow b) { return a.wide() / b.wide(); }
    friend bool operator<(Narrow a, Narrow b) { return (float)a < (float)b; }
    friend bool operator>(Narrow a, Narrow b) { return (float)a > (float)b; }
    friend bool operator<=(Narrow a, Narrow b) { return (float)a <= (float)b; }
    friend bool operator>=(Narrow a, Narrow b) { return (float)a >= (float)b; }
    friend bool operator==(Narrow a, Narrow b) { return (float)a == (float)b; }
    friend bool operator!=(Narrow a, Narrow b) { return (float)a != (float)b; }
    Narrow operator-() const { return from_bits((unsigned short)(bits ^ 1 << (EXPONENT + MANTISSA))); }
    Narrow operator+() const { return *this; }
    Narrow &operator+=(Narrow b) { return *this = *this + b; }
    Narrow &operator-=(Narrow b) { return *this = *this - b; }
    Narrow &operator*=(Narrow b) { return *this = *this * b; }
    Narrow &operator/=(Narrow b) { return *this = *this / b; }
};
template <int E, int M> PW_INLINE Narrow<E, M> fma_narrow(Narrow<E, M> a, Narrow<E, M> b, Narrow<E, M> c) {
    return fma_odd(a.wide(), b.wide(), c.wide());
}

typedef Narrow<5, 10> Half;
typedef Narrow<8, 7> BFloat;

}  // namespace pw
