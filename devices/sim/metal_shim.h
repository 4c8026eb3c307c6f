/* The Metal Shading Language on the host, for text that Portwright generates: no more of it than is listed here.

   execution   kernel, and its parameters' [[buffer(n)]] (pointers, or references to one element),
               [[thread_position_in_grid]] [[thread_position_in_threadgroup]] [[thread_index_in_threadgroup]]
               [[threadgroup_position_in_grid]] [[threads_per_threadgroup]] [[threads_per_grid]]
               [[threadgroups_per_grid]] [[thread_index_in_simdgroup]] [[simdgroup_index_in_threadgroup]]
               [[threads_per_simdgroup]], in one, two or three dimensions
   memory      device constant thread threadgroup; an array in threadgroup memory is declared in the kernel
   barriers    threadgroup_barrier simdgroup_barrier; every thread of a threadgroup must reach the same one
   simdgroups  of 32: simd_shuffle simd_shuffle_xor simd_shuffle_down simd_shuffle_up simd_broadcast
               simd_sum simd_max simd_min
   tiles       simdgroup_matrix<T, 8, 8> of float, half, bfloat (simdgroup_float8x8 ...), thread_elements,
               simdgroup_load simdgroup_store simdgroup_multiply simdgroup_multiply_accumulate,
               make_filled_simdgroup_matrix
   vectors     bool2 ... float4 and packed_*, .x .y .z .w and [], no other swizzles
   maths       metal_maths.h, with metal::precise and metal::fast, which are the same here; as_type
   numbers     1.5f, 1.5h; one without suffix is a double here and a float there: generated text writes the f */
#pragma once
#include "kernel.h"
#include "metal_maths.h"
#include "tiles.h"

typedef decltype(sizeof(0)) size_t;
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long int64_t;
typedef uchar uint8_t;
typedef ushort uint16_t;
typedef uint uint32_t;
typedef ulong uint64_t;
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")

PW_INLINE half operator""h(long double x) { return (double)x; }
PW_INLINE half operator""h(unsigned long long x) { return x; }

namespace pw {

/* An index as a kernel takes it: one number, two or three. */
struct Position {
    Index3 at;
    template <class T, class = typename only_if<is_number<T>::value>::type> operator T() const {
        return T(at.x);
    }
    template <class T> operator Vector<T, 2>() const { return Vector<T, 2>(at.x, at.y); }
    template <class T> operator Vector<T, 3>() const { return Vector<T, 3>(at.x, at.y, at.z); }
};
PW_INLINE Index3 by_axis(Index3 a, Index3 b) { return {a.x * b.x, a.y * b.y, a.z * b.z}; }
PW_INLINE Position thread_position_in_threadgroup() { return {thread}; }
PW_INLINE Position threadgroup_position_in_grid() { return {block}; }
PW_INLINE Position threads_per_threadgroup() { return {threads}; }
PW_INLINE Position threadgroups_per_grid() { return {blocks}; }
PW_INLINE Position threads_per_grid() { return {by_axis(blocks, threads)}; }
PW_INLINE Position thread_position_in_grid() {
    const Index3 first = by_axis(block, threads);
    return {{first.x + thread.x, first.y + thread.y, first.z + thread.z}};
}
PW_INLINE unsigned thread_index_in_threadgroup() { return linear_thread(); }
PW_INLINE unsigned thread_index_in_simdgroup() { return linear_thread() % 32; }
PW_INLINE unsigned simdgroup_index_in_threadgroup() { return linear_thread() / 32; }
PW_INLINE unsigned threads_per_simdgroup() { return 32; }

/* Where in an 8 x 8 matrix the first of this lane's two elements is; the second is to its right. Apple has not
   published the layout; this is the one that open-source kernels (MLX and others) rely on. */
PW_INLINE int tile_row(int lane) { return (lane / 4 & 4) + lane / 2 % 4; }
PW_INLINE int tile_column(int lane) { return (lane / 4 & 2) * 2 + lane % 2 * 2; }

}  // namespace pw

namespace metal {

enum class mem_flags { mem_none, mem_device, mem_threadgroup, mem_texture };
PW_INLINE mem_flags operator|(mem_flags a, mem_flags b) { return (mem_flags)((int)a | (int)b); }

PW_INLINE void pw_barrier(unsigned site, unsigned line, mem_flags) { pw::runtime->barrier(site, line); }
PW_INLINE void pw_simd_barrier(unsigned site, unsigned line, mem_flags) { pw::meet_warp(site, line, pw::THOSE_THERE_ARE); }
template <class T> PW_INLINE T pw_shuffle(unsigned site, unsigned line, T x, int from) {
    return pw::shuffle(site, line, x, from & 31);
}
#define PW_FOLD(name, expression)                                             \
    template <class T> PW_INLINE T name(unsigned site, unsigned line, T a) {  \
        for (int by = 16; by; by /= 2) {                                      \
            const T b = pw_shuffle(site, line, a, pw::lane_id() ^ by);        \
            a = expression;                                                   \
        }                                                                     \
        return a;                                                             \
    }
PW_FOLD(pw_sum, a + b) PW_FOLD(pw_max, max(a, b)) PW_FOLD(pw_min, min(a, b))
#undef PW_FOLD

template <class T, int ROWS, int COLUMNS> struct simdgroup_matrix {
    static_assert(ROWS == 8 && COLUMNS == 8, "simdgroup matrices are 8 x 8");
    vec<T, 2> elements;
    simdgroup_matrix() = default;
    explicit simdgroup_matrix(T diagonal) : elements(T(0), T(0)) {
        const int lane = pw::lane_id(), at = pw::tile_row(lane) - pw::tile_column(lane);
        if (at == 0 || at == 1) elements[at] = diagonal;
    }
    vec<T, 2> &thread_elements() { return elements; }
    const vec<T, 2> &thread_elements() const { return elements; }
};
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;

template <class T, int R, int C> PW_INLINE simdgroup_matrix<T, R, C> make_filled_simdgroup_matrix(T x) {
    simdgroup_matrix<T, R, C> m;
    m.elements = vec<T, 2>(x, x);
    return m;
}

/* The address of a lane's first element in memory, and how far the second is. */
template <class T> struct Place {
    T *first;
    unsigned long step;
};
template <class T>
PW_INLINE Place<T> place(T *from, ulong per_row, ulong2 origin, bool transposed) {
    const ulong row = (ulong)pw::tile_row(pw::lane_id()), column = (ulong)pw::tile_column(pw::lane_id());
    from += origin.y * per_row + origin.x;
    if (transposed) return {from + column * per_row + row, per_row};
    return {from + row * per_row + column, 1};
}
template <class T, class P>
void pw_load(unsigned site, unsigned line, simdgroup_matrix<T, 8, 8> &m, P *from, ulong per_row = 8,
             ulong2 origin = ulong2(0), bool transposed = false) {
    pw::meet_warp(site, line, pw::WHOLE);
    const Place<P> at = place(from, per_row, origin, transposed);
    m.elements = vec<T, 2>(at.first[0], at.first[at.step]);
}
template <class T>
void pw_store(unsigned site, unsigned line, const simdgroup_matrix<T, 8, 8> &m, T *to, ulong per_row = 8,
              ulong2 origin = ulong2(0), bool transposed = false) {
    pw::meet_warp(site, line, pw::WHOLE);
    const Place<T> at = place(to, per_row, origin, transposed);
    at.first[0] = m.elements[0], at.first[at.step] = m.elements[1];
}

/* d = a b + c, summed in double and rounded once. */
template <class D, class A, class B, class C> struct Product {
    simdgroup_matrix<D, 8, 8> *d;
    const simdgroup_matrix<A, 8, 8> *a;
    const simdgroup_matrix<B, 8, 8> *b;
    const simdgroup_matrix<C, 8, 8> *c;

    static void together(void **lanes) {
        double x[8][8], y[8][8], z[8][8];
        for (int lane = 0; lane < 32; lane++) {
            const Product *p = (const Product *)lanes[lane];
            const int row = pw::tile_row(lane), column = pw::tile_column(lane);
            for (int i = 0; i < 2; i++) {
                x[row][column + i] = (float)p->a->elements[i];
                y[row][column + i] = (float)p->b->elements[i];
                z[row][column + i] = (float)p->c->elements[i];
            }
        }
        for (int lane = 0; lane < 32; lane++) {
            for (int i = 0; i < 2; i++) {
                const int row = pw::tile_row(lane), column = pw::tile_column(lane) + i;
                double sum = z[row][column];
                for (int k = 0; k < 8; k++) sum += x[row][k] * y[k][column];
                ((const Product *)lanes[lane])->d->elements[i] = D(sum);
            }
        }
    }
};
template <class D, class A, class B, class C>
void pw_multiply_accumulate(unsigned site, unsigned line, simdgroup_matrix<D, 8, 8> &d,
                            const simdgroup_matrix<A, 8, 8> &a, const simdgroup_matrix<B, 8, 8> &b,
                            const simdgroup_matrix<C, 8, 8> &c) {
    Product<D, A, B, C> mine = {&d, &a, &b, &c};
    pw::runtime->meet(site, line, pw::WHOLE, &mine, Product<D, A, B, C>::together);
}
template <class D, class A, class B>
void pw_multiply(unsigned site, unsigned line, simdgroup_matrix<D, 8, 8> &d, const simdgroup_matrix<A, 8, 8> &a,
                 const simdgroup_matrix<B, 8, 8> &b) {
    const simdgroup_matrix<D, 8, 8> zero = make_filled_simdgroup_matrix<D, 8, 8>(D(0));
    pw_multiply_accumulate(site, line, d, a, b, zero);
}

}  // namespace metal

#define threadgroup_barrier(...) pw_barrier(__COUNTER__, __LINE__, __VA_ARGS__)
#define simdgroup_barrier(...) pw_simd_barrier(__COUNTER__, __LINE__, __VA_ARGS__)
#define simd_shuffle(x, lane) pw_shuffle(__COUNTER__, __LINE__, x, (int)(lane))
#define simd_broadcast(x, lane) pw_shuffle(__COUNTER__, __LINE__, x, (int)(lane))
#define simd_shuffle_xor(x, mask) pw_shuffle(__COUNTER__, __LINE__, x, pw::lane_id() ^ (int)(mask))
#define simd_shuffle_down(x, by) pw_shuffle(__COUNTER__, __LINE__, x, pw::lane_id() + (int)(by))
#define simd_shuffle_up(x, by) pw_shuffle(__COUNTER__, __LINE__, x, pw::lane_id() - (int)(by))
#define simd_sum(x) pw_sum(__COUNTER__, __LINE__, x)
#define simd_max(x) pw_max(__COUNTER__, __LINE__, x)
#define simd_min(x) pw_min(__COUNTER__, __LINE__, x)
#define simdgroup_load(...) pw_load(__COUNTER__, __LINE__, __VA_ARGS__)
#define simdgroup_store(...) pw_store(__COUNTER__, __LINE__, __VA_ARGS__)
#define simdgroup_multiply(...) pw_multiply(__COUNTER__, __LINE__, __VA_ARGS__)
#define simdgroup_multiply_accumulate(...) pw_multiply_accumulate(__COUNTER__, __LINE__, __VA_ARGS__)

/* The address spaces are words for nothing, but for "threadgroup": where that declares memory it is shared, and
   everywhere else nothing. Which is which is known by the line: metal_sim.py defines pw_threadgroup_<line>. */
#define __METAL_VERSION__ 310 /* the one that has bfloat */
#define kernel
#define device
#define thread
#define constant const
#define PW_JOIN_(a, b) a##b
#define PW_JOIN(a, b) PW_JOIN_(a, b)
#define threadgroup PW_JOIN(pw_threadgroup_, __LINE__)
