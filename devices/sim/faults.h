/* A fault of the processor while a kernel runs, and a kernel that comes to no end. Of the runtime alone. */
#pragma once
#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include "report.h"

static const int CAUGHT[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGVTALRM};
enum { CAUGHT_COUNT = sizeof(CAUGHT) / sizeof(*CAUGHT) };
static pthread_t runner;
static struct sigaction found_actions[CAUGHT_COUNT];
static volatile bool late; /* the clock ran out between two runs */

static void caught(int number, siginfo_t *, void *) {
    const bool mine = pthread_equal(pthread_self(), runner);
    if (number == SIGVTALRM && !mine) {
        pthread_kill(runner, number);
    } else if (mine && running) {
        report->signal = number;
        stop(number == SIGVTALRM ? TIMED_OUT : CRASHED);
    } else if (number == SIGVTALRM) {
        late = true;
    } else { /* no kernel's: it is met again, by whoever handled it before */
        for (int i = 0; i < CAUGHT_COUNT; i++)
            if (CAUGHT[i] == number) sigaction(number, &found_actions[i], nullptr);
    }
}

/* From here on the processor treats subnormal floats as 0, before and after each operation. */
static void flush_subnormals() {
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040);
#elif defined(__aarch64__)
    unsigned long mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode | 1ul << 24));
#else
#error "how does this processor flush subnormals?"
#endif
}

/* While one lives, faults and the clock end what runs, on a stack of their own; floats behave as by default,
   whatever mode the caller is in, or flush subnormals. */
class Watch {
    stack_t found_stack;
    fenv_t found_floats;

    static void set_clock(long seconds) {
        struct itimerval limit = {};
        limit.it_value.tv_sec = seconds;
        setitimer(ITIMER_VIRTUAL, &limit, nullptr);
    }

public:
    Watch(long seconds, bool flushes) {
        static char stack[64 << 10];
        stack_t own = {};
        own.ss_sp = stack, own.ss_size = sizeof(stack);
        sigaltstack(&own, &found_stack);
        struct sigaction action = {};
        action.sa_sigaction = caught;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        runner = pthread_self();
        late = false;
        for (int i = 0; i < CAUGHT_COUNT; i++) sigaction(CAUGHT[i], &action, &found_actions[i]);
        fegetenv(&found_floats);
        fesetenv(FE_DFL_ENV);
        if (flushes) flush_subnormals();
        set_clock(seconds);
    }
    ~Watch() {
        set_clock(0);
        fesetenv(&found_floats);
        for (int i = 0; i < CAUGHT_COUNT; i++) sigaction(CAUGHT[i], &found_actions[i], nullptr);
        sigaltstack(&found_stack, nullptr);
    }
    Watch(const Watch &) = delete;
};
