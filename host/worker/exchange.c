/*
 * The states of an exchange, as its agent sees them. A call that waits goes on
 * when what it waits for is there, when the exchange is done, when it was
 * closed by another task, or when the run is stopped:
 *
 *     open ──► status ──► data, read piece by piece ──► done ──► closed
 *       │                     │      ▲                   ▲
 *       │                     ▼      │ the agent reads   │
 *       │                     held up                    │
 *       └────────────────────────────────────────────────┘
 *                an error: its first one is kept
 *
 * Two references: the driver's, until it has noticed that the exchange is
 * closed, and that of the call that waits, as another task may close meanwhile.
 */
#include "worker/exchange.h"

#include "agent.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/time.h"
#include "worker/http_request.h"
#include "worker/job.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEADERS_MAX (64u * 1024)

struct agent_http {
    struct sched *sched;
    const struct http_driver *driver;
    void *transfer;
    unsigned refs;
    struct job *job;     /* NULL when it is closed */
    struct task *waiter; /* NULL if none waits */
    struct exchange_request request;
    struct buf head;  /* the response's header lines, each terminated */
    int status;       /* of the response; 0 while its headers are not whole */
    size_t received;  /* bytes of the body */
    struct buf data;  /* that the agent has not read */
    struct buf piece; /* the agent's: what it has read last */
    bool held_up;
    bool done;
    int error; /* negative errno; 0 if all is well */
    char message[256];
    TAILQ_ENTRY(agent_http) in_job; /* in exchanges->list */
};

/* ---- life ---- */

void exchanges_init(struct exchanges *exchanges)
{
    TAILQ_INIT(&exchanges->list);
}

static char **copy_headers(const char *const *headers)
{
    size_t count = 0;
    char **copy;

    while (headers && headers[count])
        count++;
    copy = mem_alloc((count + 1) * sizeof *copy);
    for (size_t i = 0; i < count; i++)
        copy[i] = mem_strdup(headers[i]);
    return copy;
}

static struct agent_http *exchange_create(struct sched *sched, const struct http_driver *driver,
                                          const struct agent_http_request *theirs)
{
    struct agent_http *exchange = mem_alloc(sizeof *exchange);
    struct exchange_request *request = &exchange->request;

    exchange->sched = sched;
    exchange->driver = driver;
    exchange->refs = 1;
    request->url = mem_strdup(theirs->url);
    request->method = mem_strdup(http_request_method(theirs));
    request->headers = copy_headers(theirs->headers);
    request->body_length = http_request_body_length(theirs);
    request->body = theirs->body ? mem_copy(theirs->body, request->body_length) : NULL;
    request->connect_timeout_ms =
        theirs->connect_timeout_ms ? theirs->connect_timeout_ms : HTTP_REQUEST_CONNECT_TIMEOUT_MS;
    request->idle_timeout_ms =
        theirs->idle_timeout_ms ? theirs->idle_timeout_ms : HTTP_REQUEST_IDLE_TIMEOUT_MS;
    request->timeout_ms = theirs->timeout_ms;
    request->max_bytes = theirs->max_bytes ? theirs->max_bytes : HTTP_REQUEST_MAX_BYTES;
    request->http2 = theirs->http2 != 0;
    return exchange;
}

void exchange_unref(struct agent_http *exchange)
{
    struct exchange_request *request = &exchange->request;

    sched_assert_locked(exchange->sched);
    if (--exchange->refs > 0)
        return;
    for (char **header = request->headers; *header; header++)
        free(*header);
    free(request->headers);
    free(request->url);
    free(request->method);
    free(request->body);
    buf_finish(&exchange->head);
    buf_finish(&exchange->data);
    buf_finish(&exchange->piece);
    free(exchange);
}

/* Locked. */
static void exchange_attend(struct agent_http *exchange)
{
    sched_assert_locked(exchange->sched);
    exchange->driver->attend(exchange->driver->data, exchange);
}

/* Locked. */
static void exchange_wake(struct agent_http *exchange)
{
    sched_assert_locked(exchange->sched);
    if (exchange->waiter)
        sched_wake(exchange->sched, &exchange->waiter->waiter);
}

/* ---- the agent's side ---- */

int exchange_open(struct task *task, const struct agent_http_request *request,
                  struct agent_http **out)
{
    struct job *job = task->job;
    struct sched *sched = job_sched(job); /* outlives the driver, for a thread that is late */
    struct agent_http *exchange;
    bool stopped;

    if (!http_request_check(request, NULL))
        return -EINVAL;
    exchange = exchange_create(sched, job_host(job)->http, request);
    sched_lock(sched);
    stopped = job_is_stopped(job);
    if (stopped) {
        exchange_unref(exchange);
    } else {
        exchange->job = job;
        TAILQ_INSERT_TAIL(&job_exchanges(job)->list, exchange, in_job);
        exchange_attend(exchange);
        *out = exchange;
    }
    sched_unlock(sched);
    return stopped ? -ECANCELED : 0;
}

static bool has_status(const struct agent_http *exchange)
{
    return exchange->status != 0 || exchange->done;
}

static bool has_data(const struct agent_http *exchange)
{
    return buf_length(&exchange->data) > 0 || exchange->done;
}

/*
 * Wait for this: 0; -ECANCELED if the run is to stop, or if the exchange was
 * closed meanwhile and is gone; -EBUSY if another call waits. Locked.
 */
static int exchange_await(struct agent_http *exchange, struct task *task,
                          bool (*has)(const struct agent_http *exchange))
{
    bool closed = false;

    sched_assert_locked(job_sched(task->job));
    if (job_is_stopped(task->job)) /* then the exchange may be gone */
        return -ECANCELED;
    if (exchange->waiter)
        return -EBUSY;
    while (!job_is_stopped(task->job) && !closed && !has(exchange)) {
        exchange->waiter = task;
        exchange->refs++;
        job_wait(task, NEVER);
        exchange->waiter = NULL;
        closed = exchange->job == NULL;
        exchange_unref(exchange);
    }
    return closed || job_is_stopped(task->job) ? -ECANCELED : 0;
}

int exchange_status(struct agent_http *exchange, struct task *task)
{
    struct sched *sched = job_sched(task->job);
    int status;

    sched_lock(sched);
    status = exchange_await(exchange, task, has_status);
    if (status == 0)
        status = exchange->status ? exchange->status : exchange->error;
    sched_unlock(sched);
    return status;
}

/* Locked. */
static long exchange_take_piece(struct agent_http *exchange, const char **data)
{
    sched_assert_locked(exchange->sched);
    buf_consume(&exchange->piece, buf_length(&exchange->piece));
    if (buf_length(&exchange->data) == 0)
        return exchange->error;
    buf_swap(&exchange->piece, &exchange->data);
    if (exchange->held_up) {
        exchange->held_up = false;
        exchange_attend(exchange);
    }
    *data = buf_data(&exchange->piece);
    return (long)buf_length(&exchange->piece);
}

long exchange_read(struct agent_http *exchange, struct task *task, const char **data)
{
    struct sched *sched = job_sched(task->job);
    long length;

    sched_lock(sched);
    length = exchange_await(exchange, task, has_data);
    if (length == 0)
        length = exchange_take_piece(exchange, data);
    sched_unlock(sched);
    return length;
}

/* The headers no longer change once there is a status. */
const char *exchange_header(struct agent_http *exchange, struct task *task, const char *name)
{
    struct sched *sched = job_sched(task->job);
    const char *value = NULL;

    sched_lock(sched);
    if (!job_is_over(task->job) && exchange->status)
        value = exchange_find_header(exchange, name);
    sched_unlock(sched);
    return value;
}

/* Nor does the message once there is an error. */
const char *exchange_error(struct agent_http *exchange, struct task *task)
{
    struct sched *sched = job_sched(task->job);
    const char *message;

    sched_lock(sched);
    message = !job_is_over(task->job) && exchange->error ? exchange->message : "";
    sched_unlock(sched);
    return message;
}

/* Locked. */
static void exchange_leave(struct agent_http *exchange)
{
    sched_assert_locked(exchange->sched);
    TAILQ_REMOVE(&job_exchanges(exchange->job)->list, exchange, in_job);
    exchange->job = NULL;
    exchange_wake(exchange);
    exchange_attend(exchange);
}

void exchange_close(struct agent_http *exchange, struct task *task)
{
    struct sched *sched = job_sched(task->job);

    sched_lock(sched);
    if (!job_is_over(task->job)) /* else it is closed */
        exchange_leave(exchange);
    sched_unlock(sched);
}

void exchanges_close_all(struct job *job)
{
    struct agent_http *exchange;

    while ((exchange = TAILQ_FIRST(&job_exchanges(job)->list)))
        exchange_leave(exchange);
}

/* ---- the driver's side ---- */

const struct exchange_request *exchange_request(const struct agent_http *exchange)
{
    return &exchange->request;
}

void *exchange_transfer(const struct agent_http *exchange)
{
    return exchange->transfer;
}

void exchange_set_transfer(struct agent_http *exchange, void *transfer)
{
    exchange->transfer = transfer;
}

struct job *exchange_job(const struct agent_http *exchange)
{
    sched_assert_locked(exchange->sched);
    return exchange->job;
}

bool exchange_is_closed(const struct agent_http *exchange)
{
    sched_assert_locked(exchange->sched);
    return exchange->job == NULL;
}

bool exchange_add_header(struct agent_http *exchange, const char *line, size_t length)
{
    sched_assert_locked(exchange->sched);
    if (buf_length(&exchange->head) + length > HEADERS_MAX) {
        exchange_fail(exchange, -EPROTO, "the response has more than %u bytes of headers",
                      HEADERS_MAX);
        return false;
    }
    buf_append(&exchange->head, line, length);
    buf_append(&exchange->head, "", 1);
    return true;
}

void exchange_drop_headers(struct agent_http *exchange)
{
    sched_assert_locked(exchange->sched);
    buf_consume(&exchange->head, buf_length(&exchange->head));
}

const char *exchange_find_header(const struct agent_http *exchange, const char *name)
{
    const char *line = buf_data(&exchange->head), *end = line + buf_length(&exchange->head);
    size_t length = strlen(name);

    sched_assert_locked(exchange->sched);
    for (; line < end; line += strlen(line) + 1) {
        if (strncasecmp(line, name, length) == 0 && line[length] == ':')
            return line + length + 1 + strspn(line + length + 1, " \t");
    }
    return NULL;
}

void exchange_set_status(struct agent_http *exchange, int status)
{
    sched_assert_locked(exchange->sched);
    exchange->status = status;
    exchange_wake(exchange);
}

int exchange_get_status(const struct agent_http *exchange)
{
    sched_assert_locked(exchange->sched);
    return exchange->status;
}

int exchange_add_data(struct agent_http *exchange, const char *data, size_t length)
{
    sched_assert_locked(exchange->sched);
    if (exchange->job == NULL)
        return -ECANCELED;
    if (buf_length(&exchange->data) >= EXCHANGE_HIGH) {
        exchange->held_up = true;
        return -EAGAIN;
    }
    exchange->received += length;
    if (exchange->received > exchange->request.max_bytes) {
        exchange_fail(exchange, -EMSGSIZE, "the response has more than %zu bytes",
                      exchange->request.max_bytes);
        return -EMSGSIZE;
    }
    buf_append(&exchange->data, data, length);
    exchange_wake(exchange);
    return 0;
}

void exchange_hold_up(struct agent_http *exchange)
{
    sched_assert_locked(exchange->sched);
    exchange->held_up = true;
}

bool exchange_is_held_up(const struct agent_http *exchange)
{
    sched_assert_locked(exchange->sched);
    return exchange->held_up;
}

void exchange_fail(struct agent_http *exchange, int error, const char *format, ...)
{
    va_list args;

    sched_assert_locked(exchange->sched);
    if (exchange->error)
        return;
    exchange->error = error;
    va_start(args, format);
    vsnprintf(exchange->message, sizeof exchange->message, format, args);
    va_end(args);
}

void exchange_end(struct agent_http *exchange)
{
    sched_assert_locked(exchange->sched);
    exchange->done = true;
    exchange_wake(exchange);
}
