/* Kestrel C, as kestrel-cc puts it before every kernel: C with types of its own, no double and no headers. */
typedef signed char k_i8;
typedef short k_i16;
typedef int k_i32;
typedef long long k_i64;
typedef unsigned char k_u8;
typedef unsigned short k_u16;
typedef unsigned int k_u32;
typedef unsigned long long k_u64;
typedef float k_f32;

struct k_frame { k_i64 lane; void *const *arguments; };

/* KESTREL_KERNEL(name) { ... } is a kernel, kestrel_lane() the lane that it runs on, kestrel_argument(i) the
 * memory that it was launched with. k_sqrt is the chip's own square root, correctly rounded. */
#define KESTREL_KERNEL(name) void name(const struct k_frame *k_frame)
#define kestrel_lane() (k_frame->lane)
#define kestrel_argument(i) (k_frame->arguments[i])
#define k_sqrt(x) __builtin_sqrtf(x)
#define double double_is_no_type_of_kestrel_c
