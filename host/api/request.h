/*
 * A client's wish for a run, read from a view of its request: nothing here
 * knows HTTP.
 *
 *     mode=             stream (default), wait or detach
 *     as=               message: events without a name
 *     on_disconnect=    cancel, continue, or seconds
 *     deadline=         seconds, at most the plugin's
 *     Idempotency-Key   the first request with it starts a run, later ones read
 *                       that run
 *     Last-Event-ID     RUN.N: read that run on, after its event N; a client that
 *                       cannot send headers says last_event_id=, or lastEventId=
 *                       as the polyfill of EventSource does; a client that counts
 *                       says after=
 *     the body          the agent's input, or what a person says to it
 *     traceparent and the headers of forward_headers, for the agent's ctx_get()
 */
#ifndef API_REQUEST_H
#define API_REQUEST_H

#include "api/admission.h"
#include "base/digest.h"
#include "run/request.h"
#include "run/run.h"

#include <cjson/cJSON.h>

#define REQUEST_KEY_MAX 255

struct config_plugin;

/* What a struct run_request points to and the view does not hold. */
struct request_texts {
    char key[REQUEST_KEY_MAX + 1];
    unsigned char digest[DIGEST_SIZE];
};

/* Read how the native protocol is to answer. */
enum admission request_read_form(const struct request_view *view, struct answer_form *form);

/*
 * Read what requests of all protocols may have outside of their body; plugin has the limits,
 * linger_s holds unless the request says on_disconnect=.
 */
enum admission request_read(const struct request_view *view, const struct config_plugin *plugin,
                            unsigned linger_s, struct request_texts *texts,
                            struct run_request *out);

/*
 * Read the agent's input and the variables of the request, after
 * request_read(). forward_headers: the names of the headers that become
 * variables. The caller empties out->vars, also after a refusal.
 */
enum admission request_read_input(const struct request_view *view, const char *forward_headers,
                                  struct request_texts *texts, struct run_request *out);

/* Check that the body is one JSON value and that its Content-Type says so. */
enum admission request_check_body(const struct request_view *view);

/* Read a body that request_check_body() took as a tree of protocol/body.h, the caller's if it is
 * granted. */
enum admission request_read_tree(const struct buf *body, cJSON **tree);

/* ---- where to read on ---- */

struct position {
    char run[RUN_ID_LENGTH + 1];
    uint64_t after; /* the number of an event, 0 for the start */
};

/* Read an event's id, RUN.N; -EINVAL if it is none. */
int position_read(const char *id, struct position *position);

/* Return the event's id that the request names, or NULL. */
const char *request_event_id(const struct request_view *view);

/* Read the number of the event after which to read this run; 0 if the request names none. */
enum admission request_read_after(const struct request_view *view, const struct run *run,
                                  uint64_t *after);

#endif
