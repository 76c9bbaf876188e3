/*
 * Collectors: clients that wait for a run's end and get it as one document, which
 * an encoder makes of the run's events from the start on, with the HTTP status that it
 * says. A question to a person ends the wait, too: the run goes on without the client.
 *
 * A run that takes longer than a heartbeat must not look like a dead connection to the
 * proxies on the way. Its answer begins with status 200 and white space, and goes on
 * with white space at each heartbeat; only the document says how the run ended.
 *
 * Policy: the memory that a document takes is charged to the run's client, and the
 * answer, until it is sent, to the client that asked. A run that emits more than there is
 * room for goes on, and the document says so. Who asks for a run that has ended, and has
 * no room for its document, is refused.
 */
#ifndef API_COLLECT_H
#define API_COLLECT_H

#include "api/pace.h"
#include "http/answer.h"
#include "protocol/encoder.h"
#include "run/run.h"

struct collectors;

struct collectors *collectors_create(uv_loop_t *loop, const struct pace_times *times);

void collectors_set_times(struct collectors *collectors, const struct pace_times *times);

/* No collector may be open. */
void collectors_destroy(struct collectors *collectors);

/*
 * Answer the request when the run has ended, or has asked a question after the event of
 * this number; at once if it has. The form is copied.
 */
void collect_open(struct collectors *collectors, struct http_request *request, struct run *run,
                  const struct answer_form *form, uint64_t after);

/*
 * Answer at once with the document of the events that there are. The run does not count as
 * read.
 */
void collect_now(struct http_request *request, struct run *run, const struct answer_form *form);

/*
 * Add the run's events up to this number to an empty document, which is truncated where the
 * run's client has no room. document_finish() is due.
 */
void collect_read(struct run *run, unsigned keeps, uint64_t upto, struct document *document);

#endif
