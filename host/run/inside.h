/*
 * struct run and struct runs, for run.c, runs.c and readers.c alone, and the verbs
 * that these three have for each other. Each part of struct run has one file that
 * writes it.
 */
#ifndef RUN_INSIDE_H
#define RUN_INSIDE_H

#include "base/patience.h"
#include "run/questions.h"
#include "run/quota.h"
#include "run/readers.h"
#include "run/run.h"
#include "run/runs.h"

#include <uthash.h>

/* Where a subscriber is: the offset of its cursor. */
struct run_place {
    uint64_t at;
    struct subscriber *subscriber;
};

struct run {
    /* What each event looks at comes first, in few lines of the processor's cache. */
    enum run_state state;
    /* readers.c */
    unsigned readers;          /* subscribers */
    bool has_expelled;         /* a holder was thrown out */
    struct subscriber *holder; /* who makes the agent wait; NULL: nobody */
    uint64_t spent;            /* of the run's credit, since the start */
    uint64_t returned;         /* of what was spent */
    struct runs *runs;
    TAILQ_HEAD(, subscriber) subscribers;
    struct run_place *places; /* of the subscribers, a heap */
    unsigned places_capacity;
    struct eventlog *log;
    size_t memory;                   /* runs.c: what runs->memory counts of the run */
    struct buf pairs;                /* of START; empty after the start */
    const struct executor *executor; /* NULL unless it executes the run */
    void *executor_data;
    uint32_t number;
    struct run_identity identity; /* its texts are the run's */

    unsigned refs;
    /* runs.c */
    UT_hash_handle by_id; /* in runs->by_id */
    struct quota *quota;
    bool is_retained;   /* it is in runs->retained */
    bool is_idle;       /* it is in quota->idle, else in quota->busy */
    size_t texts_size;  /* bytes of its note, and of its error's words */
    size_t inputs_size; /* bytes of the inputs that the agent has not taken */
    TAILQ_ENTRY(run) in_quota;
    char *key; /* what runs->by_key compares; NULL: none */
    unsigned char digest[DIGEST_SIZE];
    uint64_t changed;         /* number of the last change of its state, of all runs' changes */
    uint64_t ended_at;        /* ms of the loop's clock */
    TAILQ_ENTRY(run) in_list; /* in runs->live or runs->retained */
    /* run.c */
    char *subject;
    char *note;                 /* see run_note() */
    struct questions questions; /* questions.c */
    uint32_t awaiting;          /* tasks that wait for an input */
    bool takes_inputs;          /* a task has waited for one, or has taken one */
    uint32_t inputs_sent, inputs_taken;
    uint32_t input_sizes[RUN_INPUTS_MAX]; /* of those between, by their numbers */
    uint32_t end_asked;                   /* see run_tell_end() */
    bool cancelling;
    enum run_canceller canceller; /* of a run that is, or was, cancelling or cancelled */
    bool held;                    /* tasks of its agent wait for credit */
    struct patience timer;        /* for the first of these, by patience_now(), or NEVER */
    uint64_t deadline_at;
    uint64_t deserted_at; /* its time without a reader is over */
    uint64_t ignored_at;  /* its grace is over */
    uint64_t linger_ms, input_ms, grace_ms;
    bool alone;                       /* without a reader, since the last one left or the start */
    uint64_t linger_left, input_left; /* then: while it runs, while it waits */
    uint64_t alone_since;             /* of the present one of the two */
    char *error_code;                 /* NULL unless failed */
    char *error_message;
};

/* ---- runs.c ---- */

/* Choose the run's id. -EIO if there is no randomness. */
int runs_make_id(struct runs *runs, char id[RUN_ID_LENGTH + 1]);

/* Put a new run into the table, which takes over a reference. */
void runs_enter(struct runs *runs, struct run *run, const struct run_request *request);

/* The run's state has changed. */
void runs_note_change(struct runs *runs, struct run *run);

/* The run has ended: keep it for the retention. */
void runs_retain(struct runs *runs, struct run *run);

/* A run without references gives back what it was charged. */
void runs_leave(struct runs *runs, struct run *run);

/* The memory of the run besides its events, or whether it is read, has changed. */
void runs_account(struct runs *runs, struct run *run);

/*
 * Drop events of the run that are too much for readers to come, but none after the
 * offset upto, and count what it takes; forget ended runs if all take too much.
 */
void runs_drop(struct runs *runs, struct run *run, uint64_t upto);

/* There is no memory: forget all ended runs that nobody reads, and the run's history. */
void runs_squeeze(struct runs *runs, struct run *run);

uv_loop_t *runs_loop(const struct runs *runs);

/* ---- readers.c ---- */

/* Return the place up to which the holder has read; the log's end if there is none. */
const struct log_cursor *readers_upto(const struct run *run);

/* Return true if a subscriber has not read all before the offset; what it lost does not count. */
bool readers_are_behind(const struct run *run, uint64_t upto);

/*
 * Events before the offset start are about to be dropped: tell the subscribers that have not read
 * them. Return the offset before which they may be dropped.
 */
uint64_t readers_lose(struct run *run, uint64_t start);

/* Take an event's cost out of the run's credit; false if it has not as much. */
bool readers_charge(struct run *run, const struct event *event);

/* Disconnect the subscribers that may be behind. */
void readers_drop(struct run *run);

/* Tell all subscribers that there is more to read, and give credit back. */
void readers_tell(struct run *run);

/* ---- run.c ---- */

/* A question was asked, is closed, or has its answer on the way: the run waits, or it goes on. */
void run_set_asking(struct run *run);

/* Somebody answers a run that waits: the times that it has without a reader begin anew. */
void run_hear(struct run *run);

/* The first reader has come, or the last one has left. */
void run_set_deserted(struct run *run, bool deserted);

#endif
