/*
 * Where a client wants to read a run on: behind the event whose id it saw last,
 * RUN.NUMBER as the stream has them.
 */
#ifndef API_POSITION_H
#define API_POSITION_H

#include "http/http.h"
#include "run/run.h"

struct position {
    char run[RUN_ID_LENGTH + 1];
    uint64_t after; /* number of an event, 0 for the start */
};

/* -EINVAL if the id is none of an event. */
int position_read(const char *id, struct position *position);

/*
 * The id that the request names, from its header Last-Event-ID or its query's
 * last_event_id, for clients that cannot send headers; NULL if none.
 */
const char *position_id(const struct http_request *request);

/*
 * The event behind which to read this run: of the request's id, or its query's
 * after. Replies if it is not one that the run has: false.
 */
bool position_in_run(struct http_request *request, const struct run *run, uint64_t *after);

#endif
