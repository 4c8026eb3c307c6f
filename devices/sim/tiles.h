/* Tensor-core tiles by their lanes: 32 lanes meet, the matrices are gathered from what each holds, multiplied,
   and each lane gets its part of the result.

   A product's sum is taken in double and rounded once: the hardware's own order and rounding are not
   documented, and within its bound any is as good. */
#pragma once
#include "floats.h"

namespace pw {

/* What a lane brings to mma.sync.aligned.m16n8kK.row.col.D.T.T.D. */
template <class D> struct Mma {
    D *d;
    const unsigned *a, *b;
    const D *c;
};

struct F16 {
    enum { PER_REGISTER = 2 };
    static double element(unsigned r, int part) {
        return Half::from_bits((unsigned short)(r >> 16 * part)).wide();
    }
};
struct BF16 {
    enum { PER_REGISTER = 2 };
    static double element(unsigned r, int part) {
        return BFloat::from_bits((unsigned short)(r >> 16 * part)).wide();
    }
};
struct TF32 { /* a float whose last 13 bits are not read */
    enum { PER_REGISTER = 1 };
    static double element(unsigned r, int) {
        r &= ~0x1FFFu;
        float x;
        __builtin_memcpy(&x, &r, 4);
        return x;
    }
};

/* The layouts are those of the PTX ISA (8.5), section 9.7.14.5, "Matrix multiply-accumulate operation using
   mma instruction": figures "MMA .m16n8k16 fragment layout" of 9.7.14.5.8, and of 9.7.14.5.6 for k8. With
   group = lane / 4, place = lane % 4 and two (f16, bf16) or one (tf32) elements a register, register r holds
     A: row group + 8 (r mod 2), columns per * place + part + 4 per (r / 2);
     B: rows per * place + part + 4 per r, column group;
     C, D: element i: row group + 8 (i / 2), column 2 place + i mod 2. */
template <class T, class D, int K> static void mma_together(void **lanes) {
    const int per = T::PER_REGISTER, a_registers = K / per / 2, b_registers = K / per / 4;
    double a[16][K], b[K][8];
    D d[16][8];
    for (int lane = 0; lane < 32; lane++) {
        const Mma<D> *m = (const Mma<D> *)lanes[lane];
        const int group = lane / 4, place = lane % 4;
        for (int part = 0; part < per; part++) {
            for (int r = 0; r < a_registers; r++)
                a[group + 8 * (r % 2)][per * place + part + 4 * per * (r / 2)] = T::element(m->a[r], part);
            for (int r = 0; r < b_registers; r++)
                b[per * place + part + 4 * per * r][group] = T::element(m->b[r], part);
        }
        for (int i = 0; i < 4; i++) d[group + 8 * (i / 2)][2 * place + i % 2] = m->c[i];
    }
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 8; j++) {
            double sum = (float)d[i][j];
            for (int k = 0; k < K; k++) sum += a[i][k] * b[k][j];
            d[i][j] = D(sum);
        }
    for (int lane = 0; lane < 32; lane++) {
        const Mma<D> *m = (const Mma<D> *)lanes[lane];
        for (int i = 0; i < 4; i++) m->d[i] = d[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2];
    }
}

template <class T, class D, int K>
static void mma(unsigned site, unsigned line, void *d, const unsigned *a, const unsigned *b, const void *c) {
    Mma<D> mine = {(D *)d, a, b, (const D *)c};
    runtime->meet(site, line, WHOLE, &mine, mma_together<T, D, K>);
}

/* What a lane brings to a shuffle: a value, and from which lane it wants one. */
struct Shuffle {
    const void *value;
    void *result;
    int from;
};
template <class T> static void shuffle_together(void **lanes) {
    for (int lane = 0; lane < 32; lane++) {
        const Shuffle *m = (const Shuffle *)lanes[lane];
        if (!m) continue;
        const Shuffle *other = (const Shuffle *)lanes[m->from];
        *(T *)m->result = *(const T *)(other ? other : m)->value;
    }
}
template <class T> static T shuffle(unsigned site, unsigned line, T value, int from) {
    T result;
    Shuffle mine = {&value, &result, from};
    runtime->meet(site, line, THOSE_THERE_ARE, &mine, shuffle_together<T>);
    return result;
}
PW_INLINE int lane_id() { return (int)(linear_thread() % 32); }

static void nothing_together(void **) {}
static void meet_warp(unsigned site, unsigned line, Warp which) {
    int mine;
    runtime->meet(site, line, which, &mine, nothing_together);
}

}  // namespace pw
