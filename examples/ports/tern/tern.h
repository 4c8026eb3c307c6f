/* The library of Tern, an invented accelerator: a vector unit and a copy engine beside memory of their own.
 *
 * It stands for what a vendor gives. The host sees no address of Tern's memory, only the numbers of blocks;
 * the vector unit computes rows (elements side by side), the copy engine walks up to TERN_AXES axes. Every
 * function returns a tern_status. */
#include <stdint.h>

#define TERN_AXES 8

enum tern_status { TERN_OK, TERN_NO_BLOCK, TERN_NO_ROOM, TERN_OUT_OF_BLOCK, TERN_NO_FUNCTION, TERN_NO_TYPE };
enum tern_type { TERN_F32, TERN_I32 };
enum tern_function {
    TERN_ADD, TERN_SUB, TERN_MUL, TERN_NEG, TERN_MAX,    /* of both types */
    TERN_RECIP, TERN_SQRT, TERN_EXP2, TERN_LOG2, TERN_SIN /* of TERN_F32 */
};

/* Elements side by side in a block, from the one numbered first. */
typedef struct { uint32_t block; int64_t first; } tern_row;

/* Elements of a block: the one numbered first, and others at distances, in elements, along each axis. */
typedef struct { uint32_t block; int64_t first; int64_t strides[TERN_AXES]; } tern_grid;

int tern_alloc(uint64_t nbytes, uint32_t *block);
int tern_free(uint32_t block);
int tern_write(uint32_t block, const void *from, uint64_t nbytes);
int tern_read(void *to, uint32_t block, uint64_t nbytes);

/* rows[0] = function(rows[1], rows[2] ...), n elements of each. */
int tern_vector(enum tern_function function, enum tern_type type, int64_t n, const tern_row *rows);

/* n elements of itemsize bytes, each the one at element. */
int tern_fill(tern_row out, int64_t n, int itemsize, const void *element);

/* Elements of in to the same places of out. */
int tern_copy(int itemsize, int axes, const int64_t *shape, const tern_grid *out, const tern_grid *in);
