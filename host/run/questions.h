/*
 * Questions: what tasks of a run ask people, each with an id of its own.
 *
 *   - A question is open from its event, input_request, until it is answered, or the
 *     worker says that nobody waits for the answer any longer: it came too late, or the
 *     task was told to stop. The run's end closes all of its questions.
 *   - Ids are q1, q2, ..., and no id comes twice in a run: an answer reaches the task that
 *     asked, or nobody.
 *   - While a question is open, the run is waiting.
 *   - A run's client is charged for the question until its task went on, and for the answer
 *     on its way.
 *
 * Policy: a worker that opens more than WIRE_QUESTIONS_MAX questions, or a longer one than
 * WIRE_QUESTION_MAX, breaks the protocol; its agent was refused before.
 */
#ifndef RUN_QUESTIONS_H
#define RUN_QUESTIONS_H

#include "run/event.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct run;
struct why;

/* Bytes of an id, without the terminating NUL. */
#define QUESTION_ID_MAX 11

/* It lives until it is closed. */
struct question {
    char id[QUESTION_ID_MAX + 1];
    uint64_t sequence; /* of its event */
    const char *json;  /* the event's: an object {id, message, schema?, ...}, terminated */
    size_t length;
    /* questions.c */
    uint32_t number;
    size_t answer_size; /* of the answer on its way; 0: it is open */
    TAILQ_ENTRY(question) in_run;
};

/* Part of struct run; zeroed, then questions_init(). */
struct questions {
    TAILQ_HEAD(question_list, question) list; /* in the order of their events */
    unsigned count;                           /* in the list */
    unsigned open;
    uint32_t newest; /* the highest number so far */
    size_t size;     /* bytes of all texts, and of the answers on their way */
    size_t answers;  /* bytes of the latter */
};

/* Return the open question of this id, or NULL. */
const struct question *run_question_find(const struct run *run, const char *id);

/* Return the question that the event of this number asks if it is still open, or NULL. */
const struct question *run_question_at(const struct run *run, uint64_t sequence);

/* Return the open question that was asked next after this one, NULL for the first; NULL if there
 * is none. */
const struct question *run_question_next(const struct run *run, const struct question *question);

/* Check JSON against the question's schema: 0, or -EINVAL and why it is no answer. */
int run_question_check(const struct question *question, const char *json, size_t length,
                       struct why *why);

/*
 * Answer a question with JSON. -EINVAL: run_question_check() refuses it; -ENOENT: the run has not
 * asked it; -EALREADY: it was answered, or nobody waits for the answer any longer; -ENXIO, -EAGAIN
 * and -EDQUOT as in run_give_input(). The caller has a reference to the run.
 */
int run_answer(struct run *run, const char *id, const char *json, size_t length);

/* ---- for run.c ---- */

void questions_init(struct questions *questions);

/* The event asks: its id is read from its JSON. -EPROTO if no worker of ours can have sent it. */
int questions_open(struct run *run, const struct event *event, uint64_t sequence);

/* The task that has asked no longer waits. -EPROTO if there is no such question. */
int questions_close(struct run *run, uint32_t number);

/* Close all, as the run has ended. */
void questions_clear(struct run *run);

#endif
