typedef signed char int8_t; typedef short int16_t; typedef int int32_t; typedef long long int64_t;
typedef unsigned char uint8_t; typedef unsigned short uint16_t; typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
#if defined(__clang__)
#define PERMUTE(I, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define PERMUTE(I, a, b, ...) __builtin_shuffle(a, b, (I){__VA_ARGS__})
#endif
#if defined(__clang__)
#define STREAM(V, p, v) __builtin_nontemporal_store(v, (V *)(p))
#elif defined(__AVX512F__)
typedef long long i64x8_s __attribute__((vector_size(64)));
#define STREAM(V, p, v) __builtin_ia32_movntdq512((i64x8_s *)(p), (i64x8_s)(v))
#elif defined(__AVX__)
typedef long long i64x4_s __attribute__((vector_size(32)));
#define STREAM(V, p, v) __builtin_ia32_movntdq256((i64x4_s *)(p), (i64x4_s)(v))
#else
#define STREAM(V, p, v) (*(V *)(p) = (v))
#endif
#if defined(__x86_64__) && (defined(__AVX__) || defined(__clang__))
#define STREAM_END() __builtin_ia32_sfence()
#else
#define STREAM_END() __atomic_thread_fence(__ATOMIC_RELEASE)
#endif
#if !defined(__clang__) && defined(__AVX512F__)
#define LESSER_f32x16(a, b) __builtin_ia32_minps512_mask(a, b, a, (unsigned short)-1, 4)
#define GREATER_f32x16(a, b) __builtin_ia32_maxps512_mask(b, a, a, (unsigned short)-1, 4)
#define LESSER_f64x8(a, b) __builtin_ia32_minpd512_mask(a, b, a, (unsigned char)-1, 4)
#define GREATER_f64x8(a, b) __builtin_ia32_maxpd512_mask(b, a, a, (unsigned char)-1, 4)
#endif
#if !defined(__clang__) && defined(__AVX__)
#define LESSER_f32x8(a, b) __builtin_ia32_minps256(a, b)
#define GREATER_f32x8(a, b) __builtin_ia32_maxps256(b, a)
#define LESSER_f64x4(a, b) __builtin_ia32_minpd256(a, b)
#define GREATER_f64x4(a, b) __builtin_ia32_maxpd256(b, a)
#endif
#if !defined(__clang__) && defined(__SSE2__)
#define LESSER_f32x4(a, b) __builtin_ia32_minps(a, b)
#define GREATER_f32x4(a, b) __builtin_ia32_maxps(b, a)
#define LESSER_f64x2(a, b) __builtin_ia32_minpd(a, b)
#define GREATER_f64x2(a, b) __builtin_ia32_maxpd(b, a)
#endif
static inline index_t floordiv(index_t a, index_t b) { index_t q = a / b; return q - (a % b < 0); }
static inline index_t floormod(index_t a, index_t b) { index_t r = a % b; return r < 0 ? r + b : r; }
