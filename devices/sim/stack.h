/* A stack at rest, and the switch from one to another. Of the runtime (blocks.cpp) alone. */
#pragma once
#include <stdlib.h>
#include <sys/mman.h>

enum { STACK = 256 << 10, GUARD = 64 << 10 };
struct Context;

#if defined(__x86_64__) && !defined(PW_UCONTEXT)
/* Pushes what a function must keep for its caller, and takes the same from the other stack: a few ns.
   (swapcontext asks the system for the signal mask, twice: a hundred times that. "ret" in place of "jmp" would
   go where the processor does not expect it, at three times the cost.) */
extern "C" void pw_switch(Context **from, Context *to);
__asm__(
    ".text\n.globl pw_switch\n.hidden pw_switch\n.type pw_switch,@function\npw_switch:\n"
    "pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15\n"
    "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
    "popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp\npopq %rcx\njmp *%rcx\n"
    ".size pw_switch,.-pw_switch\n");

/* A stack whose first switch enters ``entry``. */
static Context *fresh(char *stack, void (*entry)()) {
    void **top = (void **)(stack + STACK) - 2;
    top[0] = (void *)entry; /* "jmp" goes there, with the stack aligned as after a call */
    top[1] = nullptr;
    return (Context *)(top - 6);
}
#else
#include <ucontext.h>

struct Context {
    ucontext_t at;
};

static void pw_switch(Context **from, Context *to) {
    static Context own; /* of who runs on no stack of ours */
    if (!*from) *from = &own;
    swapcontext(&(*from)->at, &to->at);
}

static Context *fresh(char *stack, void (*entry)()) {
    Context *c = (Context *)stack;
    getcontext(&c->at);
    c->at.uc_stack.ss_sp = stack + sizeof(Context);
    c->at.uc_stack.ss_size = STACK - sizeof(Context);
    c->at.uc_link = nullptr;
    makecontext(&c->at, entry, 0);
    return c;
}
#endif

/* Memory for stack number ``i``, above pages that nobody may touch; null when there is none. Stacks begin at
   different offsets of a page: else the few lines that each uses would share a set of the nearest cache. */
static char *new_stack(unsigned i) {
    const size_t page = 4096, offset = i * 5 % 16 * 256;
    char *p = (char *)mmap(nullptr, GUARD + STACK + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p + GUARD, STACK + page, PROT_READ | PROT_WRITE)) return nullptr;
    return p + GUARD + offset;
}
