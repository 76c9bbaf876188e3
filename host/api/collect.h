/*
 * Collectors: clients that wait for a run's end and get it as one document, which
 * an encoder makes of the run's events from the start on. The HTTP status is 200 if
 * the run finished, 409 if it was cancelled, 500 if it failed.
 *
 * Policy: the memory that a document takes counts for the runs' budget. A run that
 * emits more than there is room for goes on, and the document says so.
 */
#ifndef API_COLLECT_H
#define API_COLLECT_H

#include "http/http.h"
#include "protocol/encoder.h"
#include "run/run.h"

/* Answer the request when the run has ended; at once if it has. */
void collect_open(struct http_request *request, struct run *run, const struct encoder *encoder);

#endif
