/* Requests of the agent, which are recorded, and the answers that are scripted for them. */
#ifndef HARNESS_EXCHANGE_H
#define HARNESS_EXCHANGE_H

#include "harness/run.h"

struct agent_http;
struct agent_task;

/* A copy, for the list of a run. */
void *answer_create(const struct agent_test_response *answer);
void answer_destroy(void *item);
void request_destroy(void *item);

/* The other side of agent_http.h, for the current task. Locked. */
int exchange_open(struct agent_task *task, const struct agent_http_request *request,
                  struct agent_http **out);
int exchange_status(struct agent_http *exchange, struct agent_task *task);
const char *exchange_header(const struct agent_http *exchange, const char *name);
long exchange_read(struct agent_http *exchange, struct agent_task *task, const char **data);
const char *exchange_error(const struct agent_http *exchange);
void exchange_close(struct agent_http *exchange);

/* Those that the run has left open. */
void exchanges_close_all(struct run *run);

#endif
