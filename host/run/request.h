/*
 * The run that every protocol makes of a request: a view of it goes in, and
 * what the run is to be comes out. Neither knows HTTP, so a run can be started
 * from anything that can fill one of the two.
 */
#ifndef RUN_REQUEST_H
#define RUN_REQUEST_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct encoder;

/* A request as its sender made it. The texts live as long as the view. */
struct request_view {
    const char *(*header)(void *data, const char *name); /* NULL if it is absent */
    const char *(*query)(void *data, const char *name);  /* NULL if it is absent */
    void *data;                                          /* of the two */
    const struct buf *body;                              /* NULL if it exceeds max_body */
    const char *subject;                                 /* "" if clients have no tokens */
    const char *address;                                 /* numeric, without the port */
};

/* How a client reads the run that it asks for. */
enum run_answer {
    ANSWER_STREAM, /* its events as they come */
    ANSWER_WAIT,   /* one document at its end */
    ANSWER_DETACH, /* its state, at once */
    ANSWER_NOW,    /* the document of what there is, at once */
};

/* How a client reads a run: what the reader of its protocol has chosen. */
struct answer_form {
    enum run_answer answer;
    const struct encoder *encoder;
    const void *terms; /* of the encoder (protocol/encoder.h); NULL: none */
    size_t terms_size;
    /*
     * Bytes that a stream begins with, which the run was charged for (run_take_memory());
     * the stream takes them over. NULL: none.
     */
    struct buf *first;
};

/* A run as it is wanted. run_create() copies the texts. */
struct run_request {
    const char *agent;
    const char *input; /* JSON; NULL: the run has none */
    size_t input_length;
    const char *subject;         /* who may see the run; "" if clients have no tokens */
    const char *client;          /* who is charged for the run; NULL: nobody */
    const char *key;             /* of idempotency; NULL: none */
    const unsigned char *digest; /* of the body, DIGEST_SIZE bytes; NULL without a key */
    uint64_t linger_ms;          /* how long the run goes on without a reader; or NEVER */
    uint64_t input_ms;           /* the same, while the run waits for a person */
    uint64_t deadline_ms;        /* from now; NEVER: none */
    uint64_t grace_ms;           /* how long the agent may take to stop once it is cancelled */
    const char *thread;          /* the conversation that it is a turn of; NULL: none */
    const char *note;            /* what its protocol needs to know again; NULL: nothing */
    bool own_thread;             /* it begins one, which has the run's id */
    struct answer_form form;     /* run_create() has no use for it */
    struct buf vars; /* pairs for the agent's ctx_get(); run_create() leaves the buffer empty */
};

#endif
