/* A block with a fiber a thread: each runs until it waits or ends, then the next. Of the runtime alone. */
#pragma once
#include <string.h>

#include "report.h"
#include "stack.h"

enum { MAX_THREADS = 1024, LANES = 32 };
enum State { READY, AT_BARRIER, MEETING, DONE };

struct Fiber {
    Context *context;
    State state;
    unsigned site, line; /* where it waits */
    void *mine;          /* what it brought there */
    Index3 at;
};

static char *stacks[MAX_THREADS];
static Fiber fibers[MAX_THREADS]; /* in the order of their linear index */
static Fiber *current;            /* null while a kernel runs as a plain loop */
static Context *scheduler;
static const Entry *entry;
static Pass *pass;
static unsigned ready, at_barrier, done;

static bool has_stacks(unsigned threads) {
    for (unsigned i = 0; i < threads; i++)
        if (!stacks[i] && !(stacks[i] = new_stack(i))) return false;
    return true;
}

static void fiber_main() {
    entry->body(pass->args);
    current->state = DONE;
    done++;
    pw_switch(&current->context, scheduler);
    abort(); /* one that is done is not resumed */
}

static void wait_as(State state, unsigned site, unsigned line) {
    current->state = state, current->site = site, current->line = line;
    pw_switch(&current->context, scheduler);
}

static void barrier(unsigned site, unsigned line) {
    if (!current) stop(NEEDS_FIBERS);
    at_barrier++;
    wait_as(AT_BARRIER, site, line);
}

static void meet(unsigned site, unsigned line, Warp which, void *mine, void (*together)(void **)) {
    if (!current) stop(NEEDS_FIBERS);
    Fiber *const warp = fibers + (current - fibers) / LANES * LANES;
    const unsigned left = pass->count - (unsigned)(warp - fibers), lanes = left < LANES ? left : (unsigned)LANES;
    void *brought[LANES] = {};
    current->mine = mine;
    if (which == WHOLE && lanes < LANES) return wait_as(MEETING, site, line); /* for ever: see diverged */
    for (unsigned i = 0; i < lanes; i++) {
        const Fiber *f = warp + i;
        if (f != current && !(f->state == MEETING && f->site == site)) return wait_as(MEETING, site, line);
        brought[i] = f->mine;
    }
    together(brought);
    for (unsigned i = 0; i < lanes; i++)
        if (brought[i] && warp + i != current) warp[i].state = READY, ready++;
}

static const Runtime services = {barrier, meet};

/* Nobody can go on: who waits where? */
[[noreturn]] static void diverged(Index3 at) {
    const Fiber *a = fibers, *b = nullptr;
    while (a->state == DONE) a++;
    const auto beside = [](const Fiber *f, const Fiber *g) {
        return f->state == g->state && (f->state == DONE || f->site == g->site);
    };
    for (const Fiber *f = fibers; f < fibers + pass->count; f++) {
        if (beside(f, a)) {
            report->count++;
        } else if (!b || beside(f, b)) {
            if (!b) b = f;
            report->other_count++;
        }
    }
    report->block = at, report->thread = a->at, report->line = a->line;
    if (b) report->other = b->at, report->other_line = b->state == DONE ? 0 : b->line;
    stop(DIVERGED);
}

static void run_block(Index3 at) {
    const unsigned n = pass->count;
    entry->set_block(at, pass);
    memset(entry->shared, pass->poison, (size_t)(entry->shared_end - entry->shared));
    for (unsigned i = 0; i < n; i++) {
        const Thread &t = pass->threads[i];
        fibers[t.linear] = {fresh(stacks[t.linear], fiber_main), READY, 0, 0, nullptr, t.at};
    }
    ready = n, at_barrier = done = 0;
    while (ready) {
        for (unsigned i = 0; i < n; i++) {
            current = fibers + pass->threads[i].linear;
            if (current->state != READY) continue;
            ready--;
            pass->at_thread = i;
            entry->set_thread(current->at);
            pw_switch(&scheduler, current->context);
        }
        if (at_barrier != n) continue;
        for (unsigned i = 1; i < n; i++)
            if (fibers[i].site != fibers[0].site) diverged(at);
        for (unsigned i = 0; i < n; i++) fibers[i].state = READY;
        ready = n, at_barrier = 0;
    }
    if (done != n) diverged(at);
}
