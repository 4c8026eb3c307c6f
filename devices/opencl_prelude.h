#ifdef cl_khr_fp16
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#endif
#ifdef cl_khr_fp64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif
#pragma OPENCL FP_CONTRACT OFF
#if defined(__x86_64__) || defined(__aarch64__) /* a processor: its driver's locks come after stores */
#define STREAM(p, v) __builtin_nontemporal_store(v, p)
#define PREFETCH(p) __builtin_prefetch((const void *)(size_t)(p))
#else
#define STREAM(p, v) *(p) = (v)
#define PREFETCH(p)
#endif
#if defined(__FMA__) || defined(__aarch64__) /* where fma of a vector would be a call for each lane */
#define FUSED(a, b, c) _Pragma("OPENCL FP_CONTRACT ON") return a * b + c
#else
#define FUSED(a, b, c) return fma(a, b, c)
#endif
static inline index_t floordiv(index_t a, index_t b) { index_t q = a / b; return q - (a % b < 0); }
static inline index_t floormod(index_t a, index_t b) { index_t r = a % b; return r < 0 ? r + b : r; }
