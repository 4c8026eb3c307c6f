/* What a launch reports, and how it is broken off. Of the runtime (blocks.cpp) alone. */
#pragma once
#include <setjmp.h>

#include "kernel.h"

using namespace pw;

enum Outcome { FINE, NEEDS_FIBERS, DIVERGED, DIFFERS, OUTSIDE, CRASHED, TIMED_OUT, NO_MEMORY };
enum Cause { ORDER, UNWRITTEN_SHARED, OUTSIDE_READ };

/* What went wrong. Of threads that do not meet, ``count`` wait at ``line``, ``thread`` among them, and
   ``other_count``, ``other`` among them, wait at ``other_line`` or, if it is 0, have finished. */
struct Report {
    int outcome, order, cause, signal;
    Index3 block, thread, other;
    unsigned line, other_line, count, other_count;
    int parameter;
    long long offset; /* bytes from the start of the buffer */
};

static Report *report;
static sigjmp_buf way_out;
static volatile bool running; /* a kernel is: there is a way out */

[[noreturn]] static void stop(Outcome outcome) {
    report->outcome = outcome;
    siglongjmp(way_out, 1);
}
