/*
 * A context: where a stack goes on. Switching saves what a called function must
 * preserve, and nothing else: unlike swapcontext() it makes no system call,
 * since the signal mask is the thread's, whichever stack it runs on.
 *
 * For x86-64 and AArch64, whose calling conventions switch_asm.S follows (System
 * V ABI, AMD64 supplement, 3.2; AAPCS64, 6.1). Elsewhere, or with
 * CPPFLAGS=-DCONTEXT_PORTABLE, ucontext does it.
 */
#ifndef WORKER_FIBERS_SWITCH_H
#define WORKER_FIBERS_SWITCH_H

#include <stddef.h>

#if !defined(SWITCH_PORTABLE) && (defined(__x86_64__) && defined(__LP64__) || defined(__aarch64__))
#define SWITCH_ASSEMBLED 1
#endif

#if SWITCH_ASSEMBLED

struct switch_context {
    void *stack_pointer; /* below it is what was saved */
};

#else

#include <ucontext.h>

struct switch_context {
    ucontext_t ucontext;
};

#endif

/* The first switch to it calls entry(data) on this stack. entry() never returns. */
void switch_make(struct switch_context *context, void *stack, size_t size,
                 void (*entry)(void *data), void *data);

/* Goes on at to; returns when somebody switches to from. */
void switch_to(struct switch_context *from, const struct switch_context *to);

#endif
