/*
 * Fibers: functions on stacks of their own that take turns on the loop's
 * thread. Each stack is mapped with a guard page below it, so only touched
 * pages take memory and an overflow is a SIGSEGV, not a corruption.
 *
 * All calls are for the loop's thread.
 */
#ifndef WORKER_FIBERS_FIBER_H
#define WORKER_FIBERS_FIBER_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* Most C++ runtimes whose exceptions are kept apart. */
#define FIBER_RUNTIMES_MAX 4

struct fiber;
struct fiber_pool;

/* stack_size: bytes of address space of each fiber. */
struct fiber_pool *fiber_pool_create(uv_loop_t *loop, size_t stack_size);

/*
 * Let each fiber have exceptions of its own in a C++ runtime, of which this is __cxa_get_globals().
 * No fiber exists. A runtime that was added before is ignored. -ENOSPC: FIBER_RUNTIMES_MAX.
 */
int fiber_pool_add_runtime(struct fiber_pool *pool, void *(*cxx_globals)(void));

/* Every fiber must have ended. NULL does nothing. */
void fiber_pool_destroy(struct fiber_pool *pool);

/* Make a fiber on which fn(data) begins with the first fiber_resume(). 0 or an -errno of mmap(). */
int fiber_prepare(struct fiber_pool *pool, void (*fn)(struct fiber *self, void *data), void *data,
                  struct fiber **out);

/* Run fn(data) on a new fiber until it parks or returns; as fiber_prepare(). */
int fiber_start(struct fiber_pool *pool, void (*fn)(struct fiber *self, void *data), void *data);

/*
 * From inside the fiber: give the loop its turn until fiber_resume(), or until
 * a whole millisecond at or after the deadline of clock_now(), which may be
 * NEVER, and may be over.
 */
void fiber_park(struct fiber *fiber, uint64_t deadline);

/* From the loop: continue a parked fiber until it parks again or returns. */
void fiber_resume(struct fiber *fiber);

/* Any thread: return the number of the turn of a fiber that executes, which no other turn has, or 0
 * if the loop itself does. */
uint64_t fiber_pool_turn(const struct fiber_pool *pool);

/* In a signal handler: if the fiber that executes has used up its stack, as these two tell, return
 * the stack's size; else 0. */
size_t fiber_pool_overflow(const struct fiber_pool *pool, uintptr_t address,
                           uintptr_t stack_pointer);

#endif
