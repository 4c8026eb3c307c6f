/* The C half of the CPU port: a pool of threads that runs kernels, launches replayed in one call, and an
   allocator that keeps its pages. Compiled once for a compiler and a machine, and kept in the cache.

   A kernel does the work items [begin, end) of its launch; any split of [0, n) gives the same result. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

typedef void (*pw_kernel)(void *const *args, long begin, long end);
typedef struct {
    uintptr_t kernel;
    long items;
    const uintptr_t *args;
} pw_record;

/* ------------------------------------------------------------------------------------------- float mode
   Subnormals are kept and results are rounded to nearest, whatever mode the caller's thread is in: some
   libraries leave flush-to-zero on in every thread that loads them. */
#if defined(__x86_64__) || defined(__i386__)
typedef unsigned float_mode;
enum { MODE_BITS = 0xFFC0, MODE = 0x1F80 };
static float_mode enter_float_mode(void) {
    float_mode found = __builtin_ia32_stmxcsr();
    if ((found & MODE_BITS) != MODE) __builtin_ia32_ldmxcsr(MODE);
    return found;
}
static void leave_float_mode(float_mode found) {
    if ((found & MODE_BITS) != MODE) __builtin_ia32_ldmxcsr(found);
}
static void pause_briefly(void) { __builtin_ia32_pause(); }
#elif defined(__aarch64__)
typedef uint64_t float_mode;
static float_mode enter_float_mode(void) {
    float_mode found;
    __asm__ volatile("mrs %0, fpcr" : "=r"(found));
    if (found) __asm__ volatile("msr fpcr, %0" : : "r"((float_mode)0));
    return found;
}
static void leave_float_mode(float_mode found) {
    if (found) __asm__ volatile("msr fpcr, %0" : : "r"(found));
}
static void pause_briefly(void) { __asm__ volatile("yield"); }
#else
typedef int float_mode;
static float_mode enter_float_mode(void) { return 0; }
static void leave_float_mode(float_mode found) { (void)found; }
static void pause_briefly(void) {}
#endif

/* ------------------------------------------------------------------------------------------------- pool
   A launch is cut into one share a thread, so that a thread meets the same memory from kernel to kernel. A
   thread takes half of what is left of its share, and again, and then of the others' shares: one that wakes
   late, or has to share its core, delays nobody. The caller is thread 0. */
enum { MAX_THREADS = 256, SMALLEST_PIECE = 16 /* of so many parts of a share */, LINE = 128, SPIN_NS = 40000, PATIENCE_NS = 100000, LONGEST_PATIENCE_NS = 50000000, SPINS_TO_YIELD = 4000, STACK = 8 << 20 };
#define OPEN 0x80000000u /* in pool.state: workers may take pieces; the other bits count those inside */

typedef struct {
    _Alignas(LINE) atomic_long next;
    long end, least;
} Share;

static struct {
    pthread_mutex_t busy; /* held by the thread whose launch the workers run */
    int threads;          /* the caller's own included */
    int started;          /* workers that exist in this process */
    pw_kernel kernel;
    void *const *args;
    int shares;
    Share share[MAX_THREADS];
    _Alignas(LINE) atomic_uint generation; /* one more at each launch: what idle workers watch */
    atomic_uint sleepers;
    _Alignas(LINE) atomic_uint state;
    atomic_uint joined;  /* times that a worker took part in a launch */
    int64_t alone_ns;    /* how long launches have run since, and no worker came */
    int64_t patience_ns; /* after how long the workers are moved away */
    atomic_long tid[MAX_THREADS]; /* of the workers, as the system counts threads; 0: not known yet */
} pool = {.busy = PTHREAD_MUTEX_INITIALIZER, .threads = 1, .patience_ns = PATIENCE_NS};

#ifdef __linux__
static void sleep_while(unsigned seen) {
    syscall(SYS_futex, &pool.generation, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}
static void wake(int workers) {
    syscall(SYS_futex, &pool.generation, FUTEX_WAKE_PRIVATE, workers, NULL, NULL, 0);
}
static void reset_sleep(void) {}
static void note_thread(int thread) { atomic_store(&pool.tid[thread], syscall(SYS_gettid)); }
/* A scheduler may leave a worker that it woke waiting for the caller's own core, however long, while another
   is idle. To take that core from what it may use, and give it back, moves it at once. */
static void move_workers_away(void) {
    int here = sched_getcpu();
    for (int i = 1; i <= pool.started && here >= 0; i++) {
        cpu_set_t all, others;
        pid_t tid = (pid_t)atomic_load(&pool.tid[i]);
        if (!tid || sched_getaffinity(tid, sizeof all, &all)) continue;
        others = all;
        CPU_CLR(here, &others);
        if (CPU_COUNT(&others) && !sched_setaffinity(tid, sizeof others, &others))
            sched_setaffinity(tid, sizeof all, &all);
    }
}
#else
static void note_thread(int thread) { (void)thread; }
static void move_workers_away(void) {}
static pthread_mutex_t sleep_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t sleep_over = PTHREAD_COND_INITIALIZER;
static void sleep_while(unsigned seen) {
    pthread_mutex_lock(&sleep_lock);
    while (atomic_load(&pool.generation) == seen) pthread_cond_wait(&sleep_over, &sleep_lock);
    pthread_mutex_unlock(&sleep_lock);
}
static void wake(int workers) {
    (void)workers;
    pthread_mutex_lock(&sleep_lock);
    pthread_cond_broadcast(&sleep_over);
    pthread_mutex_unlock(&sleep_lock);
}
static void reset_sleep(void) {
    pthread_mutex_init(&sleep_lock, NULL);
    pthread_cond_init(&sleep_over, NULL);
}
#endif

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Waits for a launch after `seen`: spins for a while, since kernels come in rows, then sleeps. */
static unsigned next_generation(unsigned seen) {
    for (;;) {
        int64_t until = now_ns() + SPIN_NS;
        do
            for (int i = 0; i < 64; i++) {
                unsigned found = atomic_load_explicit(&pool.generation, memory_order_acquire);
                if (found != seen) return found;
                pause_briefly();
            }
        while (now_ns() < until);
        atomic_fetch_add(&pool.sleepers, 1);
        sleep_while(seen);
        atomic_fetch_sub(&pool.sleepers, 1);
    }
}

static void take_pieces(int thread) {
    for (int i = 0; i < pool.shares; i++) {
        Share *share = &pool.share[(thread + i) % pool.shares];
        long begin = atomic_load_explicit(&share->next, memory_order_relaxed), left;
        while ((left = share->end - begin) > 0) {
            long piece = left / 2 > share->least ? left / 2 : left < share->least ? left : share->least;
            if (!atomic_compare_exchange_weak_explicit(&share->next, &begin, begin + piece, memory_order_relaxed,
                                                       memory_order_relaxed))
                continue; /* another was quicker; begin is where it left off */
            pool.kernel(pool.args, begin, begin + piece);
            begin = atomic_load_explicit(&share->next, memory_order_relaxed);
        }
    }
}

static void *work(void *thread) {
    enter_float_mode();
    note_thread((int)(intptr_t)thread);
    unsigned seen = atomic_load(&pool.generation);
    for (;;) {
        seen = next_generation(seen);
        /* Only who finds the launch open reads it; the caller writes the next one when none is inside. */
        if (atomic_fetch_add_explicit(&pool.state, 1, memory_order_acq_rel) & OPEN) {
            atomic_fetch_add_explicit(&pool.joined, 1, memory_order_relaxed);
            take_pieces((int)(intptr_t)thread);
        }
        atomic_fetch_sub_explicit(&pool.state, 1, memory_order_release);
    }
    return NULL;
}

static void start_workers(void) {
    sigset_t all, before;
    sigfillset(&all); /* signals are for the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&detached, STACK); /* kernels keep their panels there */
    while (pool.started < pool.threads - 1) {
        pthread_t id;
        if (pthread_create(&id, &detached, work, (void *)(intptr_t)(pool.started + 1))) {
            pool.threads = pool.started + 1; /* no more to be had: go on with these */
            break;
        }
        pool.started++;
    }
    pthread_attr_destroy(&detached);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void run(pw_kernel kernel, void *const *args, long items) {
    if (items <= 1 || pool.threads <= 1 || pthread_mutex_trylock(&pool.busy)) {
        if (items > 0) kernel(args, 0, items); /* small, or the workers serve another thread */
        return;
    }
    if (pool.started < pool.threads - 1) start_workers();
    int shares = items < pool.threads ? (int)items : pool.threads;
    pool.kernel = kernel, pool.args = args, pool.shares = shares;
    for (long i = 0, begin = 0; i < shares; i++) {
        long end = begin + items / shares + (i < items % shares);
        Share *share = &pool.share[i];
        share->end = end, share->least = (end - begin + SMALLEST_PIECE - 1) / SMALLEST_PIECE;
        atomic_store_explicit(&share->next, begin, memory_order_relaxed);
        begin = end;
    }
    atomic_fetch_or_explicit(&pool.state, OPEN, memory_order_acq_rel);
    atomic_fetch_add(&pool.generation, 1);
    if (atomic_load(&pool.sleepers)) wake(shares - 1);
    if (pool.alone_ns > pool.patience_ns) {
        move_workers_away();
        pool.alone_ns = 0;
        pool.patience_ns = pool.patience_ns < LONGEST_PATIENCE_NS / 2 ? 2 * pool.patience_ns : LONGEST_PATIENCE_NS;
    }
    unsigned joined = atomic_load_explicit(&pool.joined, memory_order_relaxed);
    int64_t start = now_ns();
    take_pieces(0);
    atomic_fetch_and_explicit(&pool.state, ~OPEN, memory_order_acq_rel);
    if (atomic_load_explicit(&pool.joined, memory_order_relaxed) == joined) pool.alone_ns += now_ns() - start;
    else pool.alone_ns = 0, pool.patience_ns = PATIENCE_NS;
    for (int i = 0; atomic_load_explicit(&pool.state, memory_order_acquire); i++)
        if (i < SPINS_TO_YIELD) pause_briefly();
        else sched_yield(); /* the worker that we wait for may need this core */
    pthread_mutex_unlock(&pool.busy);
}

void pw_launch(uintptr_t kernel, long items, const char *args) {
    float_mode found = enter_float_mode();
    run((pw_kernel)kernel, (void *const *)args, items);
    leave_float_mode(found);
}

void pw_replay(const pw_record *records, long count) {
    float_mode found = enter_float_mode();
    for (const pw_record *r = records; r < records + count; r++)
        run((pw_kernel)r->kernel, (void *const *)r->args, r->items);
    leave_float_mode(found);
}

int64_t pw_timed_replay(const pw_record *records, long count) {
    int64_t start = now_ns();
    pw_replay(records, count);
    return now_ns() - start;
}

/* ----------------------------------------------------------------------------------------------- copies */
enum { COPY_PIECE = 1 << 20 };
static void copy_pieces(void *const *args, long begin, long end) {
    size_t total = (size_t)args[2], from = (size_t)begin * COPY_PIECE, to = (size_t)end * COPY_PIECE;
    memcpy((char *)args[0] + from, (char *)args[1] + from, (to < total ? to : total) - from);
}
static void copy(char *to, const char *from, size_t nbytes) {
    void *args[] = {to, (void *)from, (void *)nbytes};
    run(copy_pieces, args, (long)((nbytes + COPY_PIECE - 1) / COPY_PIECE));
}
void pw_copy_in(uintptr_t to, const char *from, size_t nbytes) { copy((char *)to, from, nbytes); }
void pw_copy_out(char *to, uintptr_t from, size_t nbytes) { copy(to, (const char *)from, nbytes); }

/* ---------------------------------------------------------------------------------------------- memory
   First touch of fresh pages is slower than most kernels, so a freed block is kept for the next of its size
   class (four to each doubling). Large blocks are mapped on their own, in large pages.
   For a checker of memory (PW_EXACT_BLOCKS) every block is the system's own, ends where it was asked to, and
   is never kept. */
#ifdef PW_EXACT_BLOCKS
enum { EXACT = 1 };
#else
enum { EXACT = 0 };
#endif
enum { ALIGNMENT = 64, CLASSES = 256, BITS = 8 * (int)sizeof(size_t) };
#define LARGE ((size_t)2 << 20)
#define CHECKED ((size_t)64 << 20) /* blocks from here are refused before the system runs out, not after */

typedef struct Block {
    struct Block *next;
} Block;

static struct {
    pthread_mutex_t lock;
    Block *kept[CLASSES];
    size_t held_bytes, kept_bytes, limit;
} heap = {.lock = PTHREAD_MUTEX_INITIALIZER, .limit = (size_t)1 << 30};

static size_t class_size(size_t nbytes) {
    if (EXACT) return nbytes;
    size_t step = nbytes <= 4 * ALIGNMENT
                      ? ALIGNMENT
                      : (size_t)1 << (BITS - 3 - __builtin_clzl((unsigned long)(nbytes - 1)));
    if (nbytes >= LARGE && step < LARGE) step = LARGE;
    return (nbytes + step - 1) & ~(step - 1);
}

static int class_index(size_t size) { /* of a size that class_size gave: its highest bit and the next two */
    int high = BITS - 1 - __builtin_clzl((unsigned long)size);
    return 4 * high + (int)((size >> (high - 2)) & 3);
}

/* Bytes that the system can still give; all of them where it doesn't say. */
static size_t available(void) {
    unsigned long long kib = 0, one;
    char line[128];
    FILE *info = fopen("/proc/meminfo", "r");
    if (!info) return SIZE_MAX;
    while (fgets(line, sizeof line, info))
        if (sscanf(line, "MemAvailable: %llu", &one) == 1 || sscanf(line, "SwapFree: %llu", &one) == 1) kib += one;
    fclose(info);
    return kib ? (size_t)kib << 10 : SIZE_MAX;
}

static void *fresh(size_t size) {
    void *block = NULL;
    if (EXACT || size < LARGE) return posix_memalign(&block, ALIGNMENT, size) ? NULL : block;
    if (size >= CHECKED && size > available()) return NULL;
    char *map = mmap(NULL, size + LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return NULL;
    char *begin = (char *)(((uintptr_t)map + LARGE - 1) & ~(uintptr_t)(LARGE - 1));
    if (begin > map) munmap(map, (size_t)(begin - map));
    munmap(begin + size, (size_t)(map + LARGE - begin));
#ifdef MADV_HUGEPAGE
    madvise(begin, size, MADV_HUGEPAGE);
#endif
    return begin;
}

static void release(void *block, size_t size) {
    if (EXACT || size < LARGE) free(block);
    else munmap(block, size);
}

static void release_kept(void) {
    for (int i = 4; i < CLASSES; i++) {
        size_t size = (size_t)(4 + i % 4) << (i / 4) >> 2;
        for (Block *block; (block = heap.kept[i]);) {
            heap.kept[i] = block->next;
            release(block, size);
        }
    }
    heap.kept_bytes = 0;
}

uintptr_t pw_alloc(size_t nbytes) {
    if (nbytes > SIZE_MAX / 4) return 0;
    size_t size = class_size(nbytes ? nbytes : 1);
    pthread_mutex_lock(&heap.lock);
    Block **kept = EXACT ? NULL : &heap.kept[class_index(size)], *block = kept ? *kept : NULL;
    if (block) {
        *kept = block->next;
        heap.kept_bytes -= size;
    } else if (!(block = fresh(size)) && heap.kept_bytes) {
        release_kept();
        block = fresh(size);
    }
    if (block) heap.held_bytes += size;
    pthread_mutex_unlock(&heap.lock);
    return (uintptr_t)block;
}

void pw_free(uintptr_t address, size_t nbytes) {
    size_t size = class_size(nbytes ? nbytes : 1);
    Block *block = (Block *)address;
    pthread_mutex_lock(&heap.lock);
    heap.held_bytes -= size;
    if (heap.kept_bytes + size > heap.limit) release_kept();
    if (!EXACT && size <= heap.limit) {
        Block **kept = &heap.kept[class_index(size)];
        block->next = *kept, *kept = block;
        heap.kept_bytes += size;
    } else release(block, size);
    pthread_mutex_unlock(&heap.lock);
}

void pw_memory(uint64_t *held_and_kept) {
    pthread_mutex_lock(&heap.lock);
    held_and_kept[0] = heap.held_bytes, held_and_kept[1] = heap.kept_bytes;
    pthread_mutex_unlock(&heap.lock);
}

void pw_release_kept(void) {
    pthread_mutex_lock(&heap.lock);
    release_kept();
    pthread_mutex_unlock(&heap.lock);
}

/* ------------------------------------------------------------------------------- opening, loading, fork
   A forked child has none of its parent's workers: it starts its own at its first launch. */
static void before_fork(void) {
    pthread_mutex_lock(&pool.busy);
    pthread_mutex_lock(&heap.lock);
}
static void after_fork_in_parent(void) {
    pthread_mutex_unlock(&heap.lock);
    pthread_mutex_unlock(&pool.busy);
}
static void after_fork_in_child(void) {
    pthread_mutex_init(&heap.lock, NULL);
    pthread_mutex_init(&pool.busy, NULL);
    reset_sleep();
    pool.started = 0;
    for (int i = 0; i < MAX_THREADS; i++) atomic_store(&pool.tid[i], 0);
    atomic_store(&pool.sleepers, 0);
    atomic_store(&pool.state, 0);
}
static void guard_forks(void) { pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child); }

int pw_open(int threads, size_t keep_limit) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, guard_forks);
    pthread_mutex_lock(&pool.busy);
    pool.threads = threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
    pthread_mutex_unlock(&pool.busy);
    heap.limit = keep_limit;
    return pool.threads;
}

/* Libraries stay loaded for the life of the process: a worker may be inside, and unloading buys nothing. */
uintptr_t pw_library(const char *path) { return (uintptr_t)dlopen(path, RTLD_NOW | RTLD_LOCAL); }
uintptr_t pw_symbol(uintptr_t library, const char *name) { return (uintptr_t)dlsym((void *)library, name); }
const char *pw_error(void) {
    const char *error = dlerror();
    return error ? error : "";
}
