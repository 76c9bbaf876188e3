#include "worker/fibers/switch.h"

#include <stdint.h>
#include <string.h>

#if SWITCH_ASSEMBLED

/* What switch_asm.S saves, from the stack pointer up, and where it then returns to. */
struct saved {
#ifdef __x86_64__
    uint32_t mxcsr;
    uint16_t x87_control, unused;
    uint64_t r15, r14, r13, r12, rbx, rbp;
    void (*go_on)(void);
#else
    uint64_t d8_to_d15[8];
    uint64_t x19_to_x28[10];
    uint64_t x29;
    void (*go_on)(void);
#endif
};

/* In switch_asm.S: call the function saved as r12 or x19 with the argument in r13 or x20. */
void switch_enter(void);

void switch_make(struct switch_context *context, void *stack, size_t size,
                 void (*entry)(void *data), void *data)
{
    uintptr_t top = ((uintptr_t)stack + size) & ~(uintptr_t)15;
    struct saved saved = {.go_on = switch_enter};

#ifdef __x86_64__
    saved.mxcsr = __builtin_ia32_stmxcsr();
    __asm__("fnstcw %0" : "=m"(saved.x87_control));
    saved.r12 = (uintptr_t)entry;
    saved.r13 = (uintptr_t)data;
#else
    saved.x19_to_x28[0] = (uintptr_t)entry;
    saved.x19_to_x28[1] = (uintptr_t)data;
#endif
    context->stack_pointer = (void *)(top - sizeof saved);
    memcpy(context->stack_pointer, &saved, sizeof saved);
}

#else

typedef void entry_fn(void *data);

/* makecontext() passes only ints. */
static void enter(unsigned entry_high, unsigned entry_low, unsigned data_high, unsigned data_low)
{
    entry_fn *entry = (entry_fn *)(uintptr_t)((uint64_t)entry_high << 32 | entry_low);

    entry((void *)(uintptr_t)((uint64_t)data_high << 32 | data_low));
}

void switch_make(struct switch_context *context, void *stack, size_t size,
                 void (*entry)(void *data), void *data)
{
    uint64_t e = (uintptr_t)entry, d = (uintptr_t)data;

    getcontext(&context->ucontext);
    context->ucontext.uc_stack.ss_sp = stack;
    context->ucontext.uc_stack.ss_size = size;
    makecontext(&context->ucontext, (void (*)(void))enter, 4, (unsigned)(e >> 32), (unsigned)e,
                (unsigned)(d >> 32), (unsigned)d);
}

void switch_to(struct switch_context *from, const struct switch_context *to)
{
    swapcontext(&from->ucontext, &to->ucontext);
}

#endif
