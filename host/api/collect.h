/*
 * Collectors: clients that wait for a run's end and get it as one document,
 *
 *     {"run","agent","version","generation","text","usage"?,"status","result"?,"error"?}
 *
 * made of the run's events from the start on: text joins the deltas of the
 * text events. The HTTP status is 200 if the run finished, 409 if it was
 * cancelled, 500 if it failed.
 *
 * Policy: at most COLLECT_TEXT_MAX bytes of text, and no more than the budget of
 * the runs has room for; a run that emits more goes on, and the document says
 * "truncated": true, as it does if the first events are not kept any more.
 */
#ifndef API_COLLECT_H
#define API_COLLECT_H

#include "http/http.h"
#include "run/run.h"

#define COLLECT_TEXT_MAX (8u * 1024 * 1024)

/* Answers the request when the run has ended; at once if it has. */
void collect_open(struct http_request *request, struct run *run);

#endif
