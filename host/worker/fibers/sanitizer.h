/*
 * The sanitizers of this process, which must be told of every stack and switch: those that the host
 * is built with, and those that are preloaded into a host that is built without. What they do not
 * have is NULL. See sanitizer/common_interface_defs.h and sanitizer/tsan_interface.h of compilers.
 */
#ifndef WORKER_FIBERS_SANITIZER_H
#define WORKER_FIBERS_SANITIZER_H

#include <stddef.h>

struct sanitizer {
    void (*start_switch)(void **fake_stack, const void *stack, size_t size);
    void (*finish_switch)(void *fake_stack, const void **old_stack, size_t *old_size);
    void (*unpoison)(const volatile void *memory, size_t size);
    void *(*tsan_current)(void);
    void *(*tsan_create)(unsigned flags);
    void (*tsan_destroy)(void *fiber);
    void (*tsan_switch)(void *fiber, unsigned flags);
};

/* Fill in what is there. */
void sanitizer_find(struct sanitizer *sanitizer);

#endif
