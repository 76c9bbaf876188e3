/*
 * An exchange is a request of an agent's and its response, as the agent sees
 * them: open until the agent closes it, or its run ends. A driver moves the
 * bytes: libcurl in a worker (httpclient.h), a script in the test library.
 *
 * A thread that is bound to a run may come when the run is over: then its
 * exchanges are closed, and none of these calls looks at one.
 */
#ifndef WORKER_EXCHANGE_H
#define WORKER_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* Maximum unread bytes of a response; then the transfer is held up. */
#define EXCHANGE_HIGH (256u * 1024)

struct agent_http;
struct agent_http_request;
struct job;
struct sched;
struct task;

/* Part of a job: those that are not closed. Guarded by the scheduler's lock. */
struct exchanges {
    TAILQ_HEAD(, agent_http) list;
};

void exchanges_init(struct exchanges *exchanges);

/* Close what the run has left open. Locked. */
void exchanges_close_all(struct job *job);

/* ---- the other side of agent_http.h, for the current task. Not locked. ---- */

int exchange_open(struct task *task, const struct agent_http_request *request,
                  struct agent_http **out);
int exchange_status(struct agent_http *exchange, struct task *task);
const char *exchange_header(struct agent_http *exchange, struct task *task, const char *name);
long exchange_read(struct agent_http *exchange, struct task *task, const char **data);
const char *exchange_error(struct agent_http *exchange, struct task *task);
void exchange_close(struct agent_http *exchange, struct task *task);

/* ---- for drivers. Locked, but for what is said to be otherwise. ---- */

struct http_driver {
    /*
     * The agent wants something of the exchange: that it begins, that it goes
     * on after it was held up, or, if exchange_is_closed(), that it ends. The
     * driver gives its reference back then.
     */
    void (*attend)(void *data, struct agent_http *exchange);
    void *data;
};

/* A copy of the agent's request, with its defaults; does not change. */
struct exchange_request {
    char *url;
    char *method;
    char **headers; /* ends with NULL */
    char *body;     /* NULL for none */
    size_t body_length;
    uint32_t connect_timeout_ms, idle_timeout_ms, timeout_ms;
    size_t max_bytes;
    bool http2;
};

/* Locked or not. */
const struct exchange_request *exchange_request(const struct agent_http *exchange);

/* The driver's own; NULL at first. Locked or not. */
void *exchange_transfer(const struct agent_http *exchange);
void exchange_set_transfer(struct agent_http *exchange, void *transfer);

struct job *exchange_job(const struct agent_http *exchange); /* NULL when it is closed */
bool exchange_is_closed(const struct agent_http *exchange);
void exchange_unref(struct agent_http *exchange);

/* Add a header line to the response, false if there are too many bytes of them; drop all; find one.
 * They do not change once there is a status. */
bool exchange_add_header(struct agent_http *exchange, const char *line, size_t length);
void exchange_drop_headers(struct agent_http *exchange);
const char *exchange_find_header(const struct agent_http *exchange, const char *name);

/* The headers are whole. */
void exchange_set_status(struct agent_http *exchange, int status);
int exchange_get_status(const struct agent_http *exchange); /* 0 while there is none */

/* Add a piece of the body: 0; -EAGAIN and the exchange is held up; or an error that ends it. */
int exchange_add_data(struct agent_http *exchange, const char *data, size_t length);

/* From now on it is held up until the agent reads. */
void exchange_hold_up(struct agent_http *exchange);
bool exchange_is_held_up(const struct agent_http *exchange);

/* Note an error, a negative errno, in words; the first one counts. */
__attribute__((format(printf, 3, 4))) void exchange_fail(struct agent_http *exchange, int error,
                                                         const char *format, ...);

/* Nothing more comes. */
void exchange_end(struct agent_http *exchange);

#endif
