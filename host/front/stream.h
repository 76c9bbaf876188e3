/*
 * Streams: clients that read a run's log as server-sent events. What was
 * appended during a loop turn goes out at its end, with one send a stream.
 *
 * Policy: a stream queues nothing of its own but its beginning and one
 * heartbeat; what its client has not read stays in the run's log, whose size
 * the run's credit bounds. When the last subscriber of a run leaves before the
 * end, the run is cancelled.
 */
#ifndef FRONT_STREAM_H
#define FRONT_STREAM_H

#include "front/http.h"
#include "front/run.h"

struct streams;

/* heartbeat_s: an idle stream is sent a comment after so many seconds. */
struct streams *streams_create(uv_loop_t *loop, unsigned heartbeat_s);

/* When no stream is open any more. */
void streams_destroy(struct streams *streams);

/* Answers the request with the run's events, to their end. */
void stream_open(struct streams *streams, struct http_request *request, struct run *run);

#endif
