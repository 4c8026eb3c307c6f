/* What a kernel's library and the runtime that runs it (blocks.cpp) know of each other.

   A kernel is compiled behind a shim header, which includes this one, and before a footer, which states its
   entries by PW_ENTRY. Nothing here includes a system header: generated text may define its own int64_t.

   The indices are plain variables of the kernel's library that nothing else sees, so that a loop over threads
   keeps them in registers; thread-local ones would make a kernel without barriers ten times slower. */
#pragma once

#define PW_PUBLIC extern "C" __attribute__((visibility("default")))
#define PW_INLINE __attribute__((always_inline)) static inline

namespace pw {

struct Index3 {
    unsigned x, y, z;
};

/* One thread of a block: its index, and its place when all are counted x first. */
struct Thread {
    Index3 at;
    unsigned linear;
};

/* One run over all blocks, in some order. Blocks are counted x first; number (first + i * step) mod blocks
   is the i-th to run. */
struct Pass {
    Index3 grid, block;
    unsigned long long blocks, first, step;
    const Thread *threads; /* in their order */
    unsigned count;
    int poison; /* the byte that shared memory is filled with before each block */
    void *const *args;
    volatile unsigned long long at_block; /* for reports: the number of the block that runs, */
    volatile unsigned at_thread;          /* and the place of its thread in ``threads`` */

    Index3 block_index(unsigned long long n) const {
        if (grid.y * grid.z == 1) return {unsigned(n), 0, 0};
        return {unsigned(n % grid.x), unsigned(n / grid.x % grid.y), unsigned(n / grid.x / grid.y)};
    }
    unsigned long long next(unsigned long long n) const {
        return n < blocks - step ? n + step : n - (blocks - step);
    }
};

enum Warp { WHOLE, THOSE_THERE_ARE };

/* What a kernel may ask of the runtime. */
struct Runtime {
    /* Returns when every thread of the block is at this very barrier. */
    void (*barrier)(unsigned site, unsigned line);
    /* Returns when the lanes of a warp have met here; the last to come calls ``together`` with what each of
       32 brought, null for a lane that the warp does not have. Of WHOLE warps all 32 must come. */
    void (*meet)(unsigned site, unsigned line, Warp which, void *mine, void (*together)(void **lanes));
};

struct Parameter {
    const char *name;
    unsigned element; /* bytes of one */
    int written;      /* whether it may be */
};

/* One kernel of a library. */
struct Entry {
    int count;
    const Parameter *parameters;
    char *shared, *shared_end;
    void (*bind)(const Runtime *);
    void (*plain)(Pass *);                      /* all threads as a loop */
    void (*set_block)(Index3 at, const Pass *); /* for fibers: the indices of what runs next */
    void (*set_thread)(Index3 at);
    void (*body)(void *const *args);
};

/* ------------------------------------------------------------------------------ of the kernel's library */
#ifndef PW_RUNTIME
static Index3 thread, block, threads, blocks;
static const Runtime *runtime;

PW_INLINE unsigned linear_thread() { return thread.x + threads.x * (thread.y + threads.y * thread.z); }

/* Shared memory is a section of its own, so that it can be poisoned whole. "used": something else writes it. */
#define PW_SHARED static __attribute__((section("pw_shared"), used, aligned(16)))
extern "C" {
extern char shared_begin[] __asm__("__start_pw_shared") __attribute__((weak, visibility("hidden")));
extern char shared_end[] __asm__("__stop_pw_shared") __attribute__((weak, visibility("hidden")));
}

static void bind(const Runtime *r) { runtime = r; }
static void set_thread(Index3 at) { thread = at; }
static void set_block(Index3 at, const Pass *pass) {
    block = at;
    threads = pass->block;
    blocks = pass->grid;
}

template <void (*body)(void *const *)> static void plain(Pass *pass) {
    const Thread *const order = pass->threads;
    void *const *const args = pass->args;
    const unsigned count = pass->count;
    unsigned long long n = pass->first;
    for (unsigned long long b = 0; b < pass->blocks; b++, n = pass->next(n)) {
        pass->at_block = n;
        set_block(pass->block_index(n), pass);
        if (shared_begin != shared_end)
            __builtin_memset(shared_begin, pass->poison, (unsigned long)(shared_end - shared_begin));
        for (unsigned t = 0; t < count; t++) {
            pass->at_thread = t;
            thread = order[t].at;
            body(args);
        }
    }
}

/* A buffer as an argument: a pointer to whatever the kernel calls its elements. */
struct Pointer {
    void *address;
    template <class T> __attribute__((always_inline)) operator T *() const { return (T *)address; }
};
/* The same where the kernel takes a reference to one element. */
struct Reference {
    void *address;
    template <class T> __attribute__((always_inline)) operator T &() const { return *(T *)address; }
};

/* States kernel ``name``, which is called by ``call`` with the buffers a[0], a[1] ... */
#define PW_ENTRY(name, call, ...)                                                                \
    static void pw_body_##name(void *const *a) { call; }                                          \
    static const pw::Parameter pw_parameters_##name[] = {__VA_ARGS__};                            \
    PW_PUBLIC const pw::Entry pw_entry_##name = {                                                 \
        sizeof(pw_parameters_##name) / sizeof(pw::Parameter), pw_parameters_##name,               \
        pw::shared_begin, pw::shared_end, pw::bind, pw::plain<pw_body_##name>, pw::set_block,     \
        pw::set_thread, pw_body_##name};
#endif
}  // namespace pw
