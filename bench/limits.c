/* What this machine can do: bytes copied, read and multiplied-and-added in a second, on every core. */
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#if defined(__AVX__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define WIDTH 64
#elif defined(__AVX__)
#define WIDTH 32
#else
#define WIDTH 16
#endif
typedef float vec __attribute__((vector_size(WIDTH)));
enum { LANES = WIDTH / sizeof(float), CHAINS = 12, MOST = 256 };

typedef struct {
    char *out;
    const char *in;
    size_t bytes;
    long rounds;
    float result;
} job;

/* Streaming stores write whole lines without reading them first. */
static void *copy_part(void *argument) {
    job *j = argument;
    for (size_t i = 0; i < j->bytes; i += 64) {
#if defined(__AVX__)
        __m256 a = _mm256_load_ps((const float *)(j->in + i)), b = _mm256_load_ps((const float *)(j->in + i + 32));
        _mm256_stream_ps((float *)(j->out + i), a);
        _mm256_stream_ps((float *)(j->out + i + 32), b);
#else
        __builtin_memcpy(j->out + i, j->in + i, 64);
#endif
    }
#if defined(__AVX__)
    _mm_sfence();
#endif
    return NULL;
}

static void *read_part(void *argument) {
    job *j = argument;
    vec s[8] = {{0}};
    for (size_t i = 0; i < j->bytes; i += 8 * WIDTH)
        for (int k = 0; k < 8; k++) s[k] += *(const vec *)(j->in + i + (size_t)k * WIDTH);
    for (int k = 0; k < 8; k++)
        for (int l = 0; l < LANES; l++) j->result += s[k][l];
    return NULL;
}

static void *fma_part(void *argument) {
    job *j = argument;
    vec x = {0}, a[CHAINS];
    for (int l = 0; l < LANES; l++) x[l] = 0.5f;
    for (int k = 0; k < CHAINS; k++) a[k] = x * (float)k;
    for (long i = 0; i < j->rounds; i++)
#pragma GCC unroll 12
        for (int k = 0; k < CHAINS; k++) a[k] = a[k] * x + x;
    for (int k = 0; k < CHAINS; k++)
        for (int l = 0; l < LANES; l++) j->result += a[k][l];
    return NULL;
}

static void share(void *(*part)(void *), job *jobs, int threads) {
    pthread_t ids[MOST];
    for (int t = 1; t < threads; t++) pthread_create(&ids[t], NULL, part, &jobs[t]);
    part(&jobs[0]);
    for (int t = 1; t < threads; t++) pthread_join(ids[t], NULL);
}

static void split(job *jobs, int threads, void *out, const void *in, size_t bytes) {
    size_t each = bytes / (size_t)threads / 4096 * 4096;
    for (int t = 0; t < threads; t++) {
        size_t from = each * (size_t)t;
        jobs[t] = (job){(char *)out + from, (const char *)in + from, t == threads - 1 ? bytes - from : each, 0, 0};
    }
}

/* out, in: on lines of 64 bytes; bytes: a multiple of 512; threads: at most MOST. */
void copy_bytes(void *out, const void *in, size_t bytes, int threads) {
    job jobs[MOST];
    split(jobs, threads, out, in, bytes);
    share(copy_part, jobs, threads);
}

float read_bytes(const void *in, size_t bytes, int threads) {
    job jobs[MOST];
    float sum = 0;
    split(jobs, threads, NULL, in, bytes);
    share(read_part, jobs, threads);
    for (int t = 0; t < threads; t++) sum += jobs[t].result;
    return sum;
}

/* Operations done: rounds * CHAINS * LANES * 2 on each thread. */
long multiply_add(long rounds, int threads, float *result) {
    job jobs[MOST] = {{0}};
    for (int t = 0; t < threads; t++) jobs[t].rounds = rounds;
    share(fma_part, jobs, threads);
    for (int t = 0; t < threads; t++) *result += jobs[t].result;
    return rounds * CHAINS * LANES * 2 * threads;
}
