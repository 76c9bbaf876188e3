/*
 * What the host refuses of an agent's calls, and why, told to whoever can mend it. The
 * reason is a line of text:
 *
 *     emit_event("price"): not JSON at byte 8: found ',', wanted '.', …
 *
 * The first refusal of each kind in a run is a line of the log; a kind is a call with its
 * type, key or code. If handle() then returns that errno, the last refusal with it is the
 * run's message. All are counted for operators. What a plugin does outside of runs is
 * kept in the same way, once for the process.
 *
 * Policy: REFUSED_KINDS kinds are told apart in a run; one more line says that further
 * ones are only counted.
 */
#ifndef WORKER_REFUSED_H
#define WORKER_REFUSED_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define REFUSED_KINDS 16

struct task;

/* What was refused in one run. Guarded by the scheduler's lock. */
struct refused;

/* NULL does nothing. */
void refused_destroy(struct refused *refused);

/* Return why the call that failed last with this errno was refused; NULL for none. It lives until
 * the next refusal. refused may be NULL. */
const char *refused_reason(const struct refused *refused, int status);

/* Return the same for what was refused outside of runs, for the caller to free. */
char *refused_outside(int status);

/* Forget what was refused outside of runs, so that it is told again. */
void refused_forget_outside(void);

/*
 * Tell that a call of this task's, or outside of a run if it is NULL, is refused. call is
 * its name, about its type, key or code, which may be foreign, or NULL. reason is words
 * for people without foreign bytes; it is emptied. Return status. Not locked.
 */
int refused_because(struct task *task, int status, const char *call, const char *about,
                    struct buf *reason);
__attribute__((format(printf, 5, 6))) int refused(struct task *task, int status, const char *call,
                                                  const char *about, const char *format, ...);

/* Return how often this process refused a call. */
uint64_t refused_count(void);

/* Return the words for a negative errno that handle(), create() or selftest() returned. */
const char *refused_word(int status);

/* Hand each refusal to this function too, on the plugin's thread; is_first: it was logged. */
void refused_set_listener(void (*told)(struct task *task, int status, const char *text,
                                       bool is_first));

#endif
