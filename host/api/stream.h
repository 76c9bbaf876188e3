/*
 * Streams: clients that read a run's events as they come, in the frames of an
 * encoder. Events that are appended during a loop turn go out at its end, with one
 * send a stream.
 *
 * Policy: a stream queues only its beginning and a heartbeat. Events that its client has not
 * read stay in the run's log, whose size the run's credit bounds; they hold the agent back, or
 * are dropped at last (run/readers.h). A client that lags is sent its text in fewer, larger
 * events (pack.h). A client that makes no progress for the stall time is disconnected by a
 * reset, and can resume.
 */
#ifndef API_STREAM_H
#define API_STREAM_H

#include "api/pace.h"
#include "http/answer.h"
#include "protocol/encoder.h"
#include "run/run.h"

struct streams;

struct streams *streams_create(uv_loop_t *loop, const struct pace_times *times);

void streams_set_times(struct streams *streams, const struct pace_times *times);

/* No stream may be open. */
void streams_destroy(struct streams *streams);

/* Answer with the run's events after this number, to their end. The form is copied. */
void stream_open(struct streams *streams, struct http_request *request, struct run *run,
                 const struct answer_form *form, uint64_t after);

/*
 * End the answers of this encoder to clients of the run, which have cancelled it, with what they
 * were sent: they are told no end. Who only looks at the run is. Call this before run_cancel().
 */
void streams_hush(struct streams *streams, const struct run *run, const struct encoder *encoder);

#endif
