/* Time: clock_now() and its units are nanoseconds of CLOCK_MONOTONIC. */
#ifndef BASE_TIME_H
#define BASE_TIME_H

#include <stdint.h>
#include <time.h>

#define CLOCK_MS UINT64_C(1000000)
#define CLOCK_S  UINT64_C(1000000000)

/* A moment that never comes, of any clock. */
#define NEVER UINT64_MAX

/* Return the moment `wait` later than now, in the unit of both; NEVER if that is out of range. */
static inline uint64_t time_after(uint64_t now, uint64_t wait)
{
    return wait < NEVER - now ? now + wait : NEVER;
}

static inline uint64_t clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * CLOCK_S + (uint64_t)now.tv_nsec;
}

#endif
