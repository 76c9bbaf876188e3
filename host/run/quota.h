/*
 * Quotas: what each client takes of the server's memory, and how many live runs it
 * has. A client is the subject of its token, or its address without tokens.
 *
 *   - Held are the bytes that cannot be dropped: the logs of runs that are live or
 *     being read, and what requests and runs have besides: bodies, answers that are
 *     not read, inputs that are not taken.
 *   - Kept are the bytes of ended runs that nobody reads. They are dropped when
 *     others want the room, those of the client that keeps most before the others.
 *   - The share. A client may hold three times as much as is free, not counting what is
 *     kept. So one busy client holds at most 3/4 of the budget, n of them hold
 *     3/(1 + 3n) each, and 1/(1 + 3n) stays free for who comes next.
 *
 * A client that takes nothing has no quota.
 */
#ifndef RUN_QUOTA_H
#define RUN_QUOTA_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

struct run;

TAILQ_HEAD(quota_runs, run);

struct quota {
    const char *name; /* first: the tree compares it */
    unsigned live;    /* runs */
    unsigned runs;    /* that have this quota */
    size_t held;
    size_t kept;
    unsigned size; /* place in quotas->by_kept */
    LIST_ENTRY(quota) in_size;
    struct quota_runs busy; /* runs.c: what they take is held */
    struct quota_runs idle; /* runs.c: what they take is kept; the oldest first */
    char text[];            /* the name */
};

#define QUOTA_SIZES (8 * (int)sizeof(size_t) + 1)

/* All quotas: a plain struct, zeroed is empty. */
struct quotas {
    void *tree; /* of tsearch(), by name */
    size_t budget;
    size_t held, kept;                       /* by all clients */
    unsigned count;                          /* clients */
    LIST_HEAD(, quota) by_kept[QUOTA_SIZES]; /* by the bits of what each keeps */
};

/* Return the client's quota, or NULL. */
struct quota *quota_find(const struct quotas *quotas, const char *name);

/* Return the quota for one more run of the client. */
struct quota *quota_open(struct quotas *quotas, const char *name);

/* One run of the client is gone; it takes nothing. */
void quota_close(struct quotas *quotas, struct quota *quota);

/* Return true if the client, which may have no quota, may hold this many bytes more. */
bool quota_has_room(const struct quotas *quotas, const struct quota *quota, size_t bytes);

/* Return true if the client holds more than its share. */
bool quota_is_over(const struct quotas *quotas, const struct quota *quota);

/* The client holds or keeps this many bytes more; less, if the difference is below 0. */
void quota_hold(struct quotas *quotas, struct quota *quota, ptrdiff_t bytes);
void quota_keep(struct quotas *quotas, struct quota *quota, ptrdiff_t bytes);

/* Charge a client for bytes that are of no run. False if it has no room. */
bool quotas_take(struct quotas *quotas, const char *name, size_t bytes);
void quotas_give(struct quotas *quotas, const char *name, size_t bytes);

/* Return the client that keeps most, within a factor of two; NULL if nothing is kept. */
struct quota *quotas_keeper(const struct quotas *quotas);

/* Call visit() for each quota; it must not open or close any. */
void quotas_walk(const struct quotas *quotas, void (*visit)(struct quota *quota, void *data),
                 void *data);

#endif
