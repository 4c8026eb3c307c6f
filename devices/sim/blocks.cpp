/* The runtime of the simulators: blocks one after another, their threads in a stated order.

   A kernel runs first as a plain loop over threads. The first barrier or collective that it meets ends that
   run, and the kernel runs anew with a fiber a thread.

   A launch is three such runs on copies of the memory that may be written: ascending, descending and a seeded
   order of blocks and threads. Of two threads that touch one place without a barrier between them, one comes
   first in one order and the other in another; so a difference in any bit shows a missing barrier or stores
   that overlap. Shared memory, and the canaries around buffers, hold another byte in each run; so reading
   what nobody wrote shows as well. A fault of the processor, or no end in sight, ends the launch. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define PW_RUNTIME
#include <dlfcn.h>
#include <stdint.h>

#include "faults.h"
#include "fibers.h"

enum { CANARY = 4096, ALIGNMENT = 256, SEEN = 16 << 20 };
enum Order { ASCENDING, DESCENDING, SEEDED, ORDERS };
/* What unset memory holds in each run: as a float NaN, large and small; as an integer always another. */
static const int POISON[ORDERS] = {0xFF, 0x7B, 0xC5};
static const int FENCE[ORDERS] = {0xA5, 0xFF, 0x3C};

struct Job {
    const Entry *entry;
    Index3 grid, block;
    int count;
    void *const *args;
    const uint64_t *sizes;
    long seconds; /* of the processor's time for all runs together */
    int flushes;  /* float results below the normal range become 0 */
};

/* ------------------------------------------------------------------------------------------------- orders */
static uint64_t seeded(uint64_t *state) { /* SplitMix64 */
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static uint64_t common_divisor(uint64_t a, uint64_t b) {
    while (b) {
        const uint64_t r = a % b;
        a = b, b = r;
    }
    return a;
}

static void swap(Thread *a, Thread *b) {
    const Thread t = *a;
    *a = *b, *b = t;
}

/* The threads of a block, and how blocks follow one another. */
static void put_in_order(Pass *p, Order order, Thread *to) {
    const unsigned n = p->count;
    for (unsigned i = 0; i < n; i++)
        to[i] = {{i % p->block.x, i / p->block.x % p->block.y, i / p->block.x / p->block.y}, i};
    p->threads = to, p->first = 0, p->step = 1;
    if (order == DESCENDING) {
        for (unsigned i = 0; i < n / 2; i++) swap(to + i, to + n - 1 - i);
        p->first = p->step = p->blocks - 1;
    } else if (order == SEEDED) {
        uint64_t state = 20;
        for (unsigned i = n; i > 1; i--) swap(to + i - 1, to + seeded(&state) % i);
        p->first = seeded(&state) % p->blocks;
        do p->step = 1 + seeded(&state) % p->blocks;
        while (common_divisor(p->step, p->blocks) != 1);
    }
}

/* One run, on the memory as it is. False: the report says what ended it. */
static bool run(const Job *job, Order order, int poison, bool with_fibers) {
    static Thread threads[MAX_THREADS];
    static Pass p;
    const uint64_t blocks = (uint64_t)job->grid.x * job->grid.y * job->grid.z;
    p = {job->grid, job->block, blocks, 0, 1, threads, job->block.x * job->block.y * job->block.z, poison,
         job->args, 0, 0};
    put_in_order(&p, order, threads);
    entry = job->entry, pass = &p, current = nullptr;
    report->order = order;
    if (with_fibers && !has_stacks(p.count)) {
        report->outcome = NO_MEMORY;
        return false;
    }
    if (sigsetjmp(way_out, 1) == 0) {
        running = true;
        if (late) stop(TIMED_OUT);
        entry->bind(&services);
        if (with_fibers) {
            uint64_t n = p.first;
            for (uint64_t b = 0; b < blocks; b++, n = p.next(n)) {
                p.at_block = n;
                run_block(p.block_index(n));
            }
        } else {
            entry->plain(&p);
        }
        running = false;
        return true;
    }
    running = false;
    if (report->outcome != DIVERGED) {
        report->block = p.block_index(p.at_block);
        report->thread = threads[p.at_thread].at;
    }
    return false;
}

/* ------------------------------------------------------------------------------------------------- launch */

/* A buffer of the launch, once though it may be several parameters. */
struct Piece {
    char *data;
    uint64_t size;
    int parameter;
    bool written;
    char *before, *after; /* what it held before the launch, and after the first run, if it is written */
};

class Launch {
    const Job *job;
    Piece *pieces;
    int count;
    bool with_fibers;

    bool fence_holds(const Piece *p, int byte) const {
        for (int i = 0; i < CANARY; i++) {
            const bool low = (unsigned char)p->data[-1 - i] != byte;
            if (!low && (unsigned char)p->data[p->size + i] == byte) continue;
            report->outcome = OUTSIDE, report->parameter = p->parameter;
            report->offset = low ? -1 - i : (long long)p->size + i;
            return false;
        }
        return true;
    }

    /* A run from the start; as a plain loop unless that was tried. */
    bool run_afresh(Order order, int poison, int fence) {
        for (;;) {
            for (Piece *p = pieces; p < pieces + count; p++) {
                memset(p->data - CANARY, fence, CANARY);
                memset(p->data + p->size, fence, CANARY);
                if (p->written) memcpy(p->data, p->before, p->size);
            }
            if (run(job, order, poison, with_fibers)) break;
            if (report->outcome != NEEDS_FIBERS) return false;
            with_fibers = true;
        }
        for (Piece *p = pieces; p < pieces + count; p++)
            if (!fence_holds(p, fence)) return false;
        return true;
    }

    const Piece *first_difference() const {
        for (const Piece *p = pieces; p < pieces + count; p++)
            if (p->written && memcmp(p->data, p->after, p->size)) return p;
        return nullptr;
    }

    /* What a difference is due to: one thing alone is changed, then another. */
    bool find_cause(int order) {
        if (!run_afresh(ASCENDING, POISON[order], FENCE[ASCENDING])) return false;
        if (first_difference()) {
            report->cause = UNWRITTEN_SHARED;
            return true;
        }
        if (!run_afresh(ASCENDING, POISON[ASCENDING], FENCE[order])) return false;
        report->cause = first_difference() ? OUTSIDE_READ : ORDER;
        return true;
    }

public:
    Launch(const Job *of) : job(of), pieces(nullptr), count(0), with_fibers(false) {}
    Launch(const Launch &) = delete;
    ~Launch() {
        for (Piece *p = pieces; p < pieces + count; p++) free(p->before);
        free(pieces);
    }

    /* Copies what may be written. False: there is no room. */
    bool prepare() {
        pieces = (Piece *)calloc((size_t)job->count + 1, sizeof(Piece));
        if (!pieces) return false;
        for (int i = 0; i < job->count; i++) {
            Piece *p = pieces;
            while (p < pieces + count && p->data != job->args[i]) p++;
            if (p == pieces + count) {
                *p = {(char *)job->args[i], job->sizes[i], i, false, nullptr, nullptr};
                count++;
            }
            p->written |= job->entry->parameters[i].written != 0;
        }
        for (Piece *p = pieces; p < pieces + count; p++) {
            if (!p->written) continue;
            p->before = (char *)malloc(2 * p->size + 1);
            if (!p->before) return false;
            p->after = p->before + p->size;
            memcpy(p->before, p->data, p->size);
        }
        return true;
    }

    void run_in_every_order() {
        for (int order = ASCENDING; order < ORDERS; order++) {
            if (!run_afresh((Order)order, POISON[order], FENCE[order])) return;
            if (order == ASCENDING) {
                for (Piece *p = pieces; p < pieces + count; p++)
                    if (p->written) memcpy(p->after, p->data, p->size);
            } else if (const Piece *p = first_difference()) {
                long long offset = 0;
                while (p->data[offset] == p->after[offset]) offset++;
                if (!find_cause(order)) return;
                report->outcome = DIFFERS, report->order = order;
                report->parameter = p->parameter, report->offset = offset;
                return;
            }
        }
        report->outcome = FINE;
    }
};

static pthread_mutex_t one_launch = PTHREAD_MUTEX_INITIALIZER;

/* Runs a job of at most MAX_THREADS threads a block. Gives its outcome; ``to`` says more. */
PW_PUBLIC int pw_sim_launch(const Job *job, Report *to) {
    pthread_mutex_lock(&one_launch);
    memset(to, 0, sizeof(*to));
    report = to;
    {
        Launch launch(job);
        if (launch.prepare()) {
            Watch watch(job->seconds, job->flushes);
            launch.run_in_every_order();
        } else {
            report->outcome = NO_MEMORY;
        }
    }
    pthread_mutex_unlock(&one_launch);
    return to->outcome;
}

/* ------------------------------------------------------------------------------------------------- memory */
PW_PUBLIC char *pw_sim_alloc(uint64_t nbytes) {
    void *p;
    if (nbytes > INT64_MAX - 2 * CANARY || posix_memalign(&p, ALIGNMENT, nbytes + 2 * CANARY)) return nullptr;
    const uint64_t all = nbytes + 2 * CANARY; /* what nobody wrote should look wrong: at least its beginning */
    memset(p, 0xC9, all < SEEN ? all : SEEN);
    return (char *)p + CANARY;
}

PW_PUBLIC void pw_sim_free(char *data) { free(data - CANARY); }

/* A kernel of a library, which stays loaded; or null, and ``why`` says why. */
PW_PUBLIC const Entry *pw_sim_load(const char *path, const char *symbol, char *why, size_t size) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL), *found = library ? dlsym(library, symbol) : nullptr;
    if (!found) strncpy(why, dlerror(), size - 1);
    return (const Entry *)found;
}
