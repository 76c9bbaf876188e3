/*
 * Switch stacks. A context says where a stack goes on. A switch saves what a
 * called function must preserve and nothing else. Unlike swapcontext() it makes
 * no system call: the signal mask belongs to the thread, not to its stacks.
 *
 * switch_asm.S does it for x86-64 and AArch64 by their calling conventions (System
 * V ABI, AMD64 supplement, 3.2; AAPCS64, 6.1). Elsewhere, or with
 * CPPFLAGS=-DSWITCH_PORTABLE, ucontext does.
 */
#ifndef WORKER_FIBERS_SWITCH_H
#define WORKER_FIBERS_SWITCH_H

#include <stddef.h>

#if !defined(SWITCH_PORTABLE) && (defined(__x86_64__) && defined(__LP64__) || defined(__aarch64__))
#define SWITCH_ASSEMBLED 1
#endif

#if SWITCH_ASSEMBLED

struct switch_context {
    void *stack_pointer; /* at what was saved */
};

#else

#include <ucontext.h>

struct switch_context {
    ucontext_t ucontext;
};

#endif

/* Make a context: the first switch to it calls entry(data) on this stack. entry() must not return.
 */
void switch_make(struct switch_context *context, void *stack, size_t size,
                 void (*entry)(void *data), void *data);

/* Go on at `to`; return when somebody switches to `from`. */
void switch_to(struct switch_context *from, const struct switch_context *to);

#endif
