#include "tern.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 1 << 16, ALIGNMENT = 64 };

static struct { char *memory; uint64_t nbytes; } blocks[BLOCKS];
static uint32_t next_block;

static char *memory_of(uint32_t block) { return block && block < BLOCKS ? blocks[block].memory : NULL; }

/* The first element of a row, or NULL when some of it lies outside of its block. */
static char *row_at(tern_row row, int64_t n, int itemsize) {
    char *memory = memory_of(row.block);
    if (!memory || row.first < 0 || (uint64_t)((row.first + n) * itemsize) > blocks[row.block].nbytes) return NULL;
    return memory + row.first * itemsize;
}

int tern_alloc(uint64_t nbytes, uint32_t *block) {
    for (uint32_t tried = 0; tried < BLOCKS; tried++) {
        uint32_t b = ++next_block % BLOCKS;
        if (!b || blocks[b].memory) continue;
        uint64_t rounded = (nbytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        blocks[b].memory = rounded < nbytes ? NULL : aligned_alloc(ALIGNMENT, rounded);
        if (!blocks[b].memory) return TERN_NO_ROOM;
        blocks[b].nbytes = nbytes;
        *block = b;
        return TERN_OK;
    }
    return TERN_NO_ROOM;
}

int tern_free(uint32_t block) {
    if (!memory_of(block)) return TERN_NO_BLOCK;
    free(blocks[block].memory);
    blocks[block].memory = NULL;
    return TERN_OK;
}

int tern_write(uint32_t block, const void *from, uint64_t nbytes) {
    if (!memory_of(block)) return TERN_NO_BLOCK;
    if (nbytes > blocks[block].nbytes) return TERN_OUT_OF_BLOCK;
    memcpy(blocks[block].memory, from, nbytes);
    return TERN_OK;
}

int tern_read(void *to, uint32_t block, uint64_t nbytes) {
    if (!memory_of(block)) return TERN_NO_BLOCK;
    if (nbytes > blocks[block].nbytes) return TERN_OUT_OF_BLOCK;
    memcpy(to, blocks[block].memory, nbytes);
    return TERN_OK;
}

#define EACH(value) for (int64_t i = 0; i < n; i++) out[i] = (value); return TERN_OK

static int vector_f32(enum tern_function function, int64_t n, float *out, const float *a, const float *b) {
    switch (function) {
    case TERN_ADD: EACH(a[i] + b[i]);
    case TERN_SUB: EACH(a[i] - b[i]);
    case TERN_MUL: EACH(a[i] * b[i]);
    case TERN_NEG: EACH(-a[i]);
    case TERN_MAX: EACH(fmaxf(a[i], b[i]));
    case TERN_RECIP: EACH(1 / a[i]);
    case TERN_SQRT: EACH(sqrtf(a[i]));
    case TERN_EXP2: EACH(exp2f(a[i]));
    case TERN_LOG2: EACH(log2f(a[i]));
    case TERN_SIN: EACH(sinf(a[i]));
    }
    return TERN_NO_FUNCTION;
}

static int vector_i32(enum tern_function function, int64_t n, uint32_t *out, const uint32_t *a, const uint32_t *b) {
    switch (function) {
    case TERN_ADD: EACH(a[i] + b[i]);
    case TERN_SUB: EACH(a[i] - b[i]);
    case TERN_MUL: EACH(a[i] * b[i]);
    case TERN_NEG: EACH(0u - a[i]);
    case TERN_MAX: EACH((int32_t)a[i] > (int32_t)b[i] ? a[i] : b[i]);
    default: return TERN_NO_FUNCTION;
    }
}

int tern_vector(enum tern_function function, enum tern_type type, int64_t n, const tern_row *rows) {
    int two = function <= TERN_MAX && function != TERN_NEG;
    void *out = row_at(rows[0], n, 4), *a = row_at(rows[1], n, 4), *b = two ? row_at(rows[2], n, 4) : NULL;
    if (!out || !a || (two && !b)) return TERN_OUT_OF_BLOCK;
    if (type == TERN_F32) return vector_f32(function, n, out, a, b);
    if (type == TERN_I32) return vector_i32(function, n, out, a, b);
    return TERN_NO_TYPE;
}

int tern_fill(tern_row out, int64_t n, int itemsize, const void *element) {
    char *to = row_at(out, n, itemsize);
    if (!to) return TERN_OUT_OF_BLOCK;
    for (int64_t i = 0; i < n; i++) memcpy(to + i * itemsize, element, (size_t)itemsize);
    return TERN_OK;
}

/* Whether every element of a grid lies in its block. */
static int inside(const tern_grid *grid, int itemsize, int axes, const int64_t *shape) {
    int64_t low = grid->first, high = grid->first;
    for (int i = 0; i < axes; i++) {
        int64_t reach = (shape[i] - 1) * grid->strides[i];
        if (reach < 0) low += reach; else high += reach;
    }
    return memory_of(grid->block) && low >= 0 && (uint64_t)((high + 1) * itemsize) <= blocks[grid->block].nbytes;
}

static void copy_axis(int itemsize, int axes, const int64_t *shape, char *to, const int64_t *out, const char *from,
                      const int64_t *in) {
    for (int64_t i = 0; i < shape[0]; i++, to += out[0] * itemsize, from += in[0] * itemsize) {
        if (axes == 1) memcpy(to, from, (size_t)itemsize);
        else copy_axis(itemsize, axes - 1, shape + 1, to, out + 1, from, in + 1);
    }
}

int tern_copy(int itemsize, int axes, const int64_t *shape, const tern_grid *out, const tern_grid *in) {
    if (axes < 1 || axes > TERN_AXES) return TERN_OUT_OF_BLOCK;
    if (!inside(out, itemsize, axes, shape) || !inside(in, itemsize, axes, shape)) return TERN_OUT_OF_BLOCK;
    copy_axis(itemsize, axes, shape, memory_of(out->block) + out->first * itemsize, out->strides,
              memory_of(in->block) + in->first * itemsize, in->strides);
    return TERN_OK;
}
