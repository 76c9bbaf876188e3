/*
 * Workers: the other end of each link, honest or hostile as the input wants. They are no
 * processes: they die when they are told to, and are reaped when they are told to.
 */
#ifndef TESTS_FUZZ_FRONT_WORKER_H
#define TESTS_FUZZ_FRONT_WORKER_H

#include "front_truth.h"
#include "wire/frames.h"

#include <uv.h>

struct worker;

/* Return how many workers are not reaped, and one of them, the newest first; NULL: there is none.
 */
unsigned workers_count(void);
struct worker *worker_at(unsigned index);

/* The front was held for this long: what it waits for may come so much later. */
void workers_excuse_front(uint64_t ms);

/* Check that whoever had to leave by now has been killed at least. */
void workers_check(void);

/* Read what the front sent, and answer as a worker should; agents go on. */
void worker_serve(struct worker *worker);

/* As worker_serve(), and let all agents end. */
void worker_finish(struct worker *worker);

/* All that its agents emitted is read: check that they may emit again. */
void worker_check_credit(const struct worker *worker);

/* Emit an event of one of its runs, if the run has the credit. */
void worker_emit(struct worker *worker, unsigned which, const char *type, const char *json,
                 size_t length);

/* A task of one of its runs asks a person; or one that has asked waits no longer. */
void worker_ask(struct worker *worker, unsigned which);
void worker_give_up(struct worker *worker, unsigned which);

/* The agent of one of its runs ends. */
void worker_end(struct worker *worker, unsigned which, enum wire_status status);

/* One of its agents does not stop when it is cancelled. */
void worker_deafen(struct worker *worker, unsigned which);

/* One of its agents waits, having taken all inputs that came; or is held. */
void worker_wait(struct worker *worker, unsigned which, uint32_t tasks);
void worker_hold(struct worker *worker, unsigned which, uint32_t tasks);

/* Send any bytes: all ends of its runs have a cause from now on. */
void worker_send(struct worker *worker, const void *bytes, size_t length);

/* The next write takes this many bytes only. */
void worker_limit(struct worker *worker, size_t bytes);

void worker_close(struct worker *worker);

/* Die. A grandchild may keep the socket open. */
void worker_die(struct worker *worker, bool keeps_socket);

/* Tell the front of the death of a worker that has died. */
void worker_reap(struct worker *worker, int status);
bool worker_is_dead(const struct worker *worker);

/* It has sent what no honest worker sends: its honest frames may be lost in those. */
bool worker_is_hostile(const struct worker *worker);

/* The next spawn fails. */
void workers_fail_spawn(void);

/* Forget all, and check that the front has closed its ends. */
void workers_reset(void);

#endif
