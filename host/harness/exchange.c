#include "harness/exchange.h"

#include "base/mem.h"
#include "harness/test.h"
#include "harness/turn.h"
#include "worker/http_request.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct answer {
    char *method; /* NULL for any */
    char *url;
    int status; /* 0 for none */
    struct list headers;
    struct list body;
    int error;
    uint32_t delay_ms;
    bool used;
};

struct agent_http {
    struct run *run; /* NULL when it is closed */
    unsigned refs;   /* one until it is closed, and that of the call that waits */
    bool awaited;
    const struct answer *answer; /* NULL for none */
    uint32_t idle_ms;
    uint64_t deadline_ms;
    uint64_t came_ms; /* when something came last */
    size_t max_bytes;
    size_t received;
    size_t pieces; /* that were read */
    char *piece;   /* the last, and not a byte more */
    bool responded;
    int error;
    char message[256];
    TAILQ_ENTRY(agent_http) in_run; /* in run->exchanges */
};

/* ---- answers ------------------------------------------------------------ */

static char *copy(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

static void copy_all(struct list *list, const char *const *texts)
{
    for (; texts && *texts; texts++)
        list_add(list, mem_strdup(*texts));
}

void *answer_create(const struct agent_test_response *theirs)
{
    struct answer *answer = mem_alloc(sizeof *answer);

    answer->method = copy(theirs->method);
    answer->url = copy(theirs->url);
    answer->status = theirs->status || theirs->error ? theirs->status : 200;
    copy_all(&answer->headers, theirs->headers);
    copy_all(&answer->body, theirs->body);
    answer->error = theirs->error;
    answer->delay_ms = theirs->delay_ms;
    return answer;
}

void answer_destroy(void *item)
{
    struct answer *answer = item;

    free(answer->method);
    free(answer->url);
    list_finish(&answer->headers, free);
    list_finish(&answer->body, free);
    free(answer);
}

static bool answer_fits(const struct answer *answer, const struct agent_test_requested *request)
{
    return !answer->used &&
           (answer->method == NULL || strcasecmp(answer->method, request->method) == 0) &&
           (answer->url == NULL || strstr(request->url, answer->url));
}

/* The first that is left for it, or NULL. */
static const struct answer *run_take_answer(struct run *run,
                                            const struct agent_test_requested *request)
{
    for (size_t i = 0; i < run->answers.count; i++) {
        struct answer *answer = run->answers.items[i];
        if (answer_fits(answer, request)) {
            answer->used = true;
            return answer;
        }
    }
    return NULL;
}

/* ---- requests ----------------------------------------------------------- */

static char *join_headers(const char *const *headers)
{
    struct buf text = {0};

    for (; headers && *headers; headers++)
        buf_printf(&text, "%s\n", *headers);
    return buf_steal(&text);
}

static struct agent_test_requested *request_create(const struct agent_http_request *theirs)
{
    struct agent_test_requested *request = mem_alloc(sizeof *request);

    request->method = mem_strdup(http_request_method(theirs));
    request->url = mem_strdup(theirs->url);
    request->headers = join_headers(theirs->headers);
    request->body_length = http_request_body_length(theirs);
    request->body = mem_copy(theirs->body ? theirs->body : "", request->body_length);
    return request;
}

void request_destroy(void *item)
{
    struct agent_test_requested *request = item;

    free((char *)request->method);
    free((char *)request->url);
    free((char *)request->headers);
    free((char *)request->body);
    free(request);
}

/* ---- exchanges ---------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static int exchange_fail(struct agent_http *exchange,
                                                               int error, const char *format, ...)
{
    va_list args;

    exchange->error = error;
    va_start(args, format);
    vsnprintf(exchange->message, sizeof exchange->message, format, args);
    va_end(args);
    return error;
}

static void exchange_take_answer(struct agent_http *exchange,
                                 const struct agent_test_requested *request)
{
    exchange->answer = run_take_answer(exchange->run, request);
    if (exchange->answer)
        return;
    exchange_fail(exchange, -ECONNREFUSED, "the test has no answer for %s %s", request->method,
                  request->url);
    test_log(exchange->run->test, "warn", exchange->message);
}

static struct agent_http *exchange_create(struct run *run, const struct agent_http_request *request)
{
    struct agent_http *exchange = mem_alloc(sizeof *exchange);

    exchange->run = run;
    exchange->refs = 1;
    exchange->came_ms = run->now_ms;
    exchange->idle_ms =
        request->idle_timeout_ms ? request->idle_timeout_ms : HTTP_REQUEST_IDLE_TIMEOUT_MS;
    exchange->deadline_ms = request->timeout_ms ? run->now_ms + request->timeout_ms : NEVER;
    exchange->max_bytes = request->max_bytes ? request->max_bytes : HTTP_REQUEST_MAX_BYTES;
    return exchange;
}

int exchange_open(struct agent_task *task, const struct agent_http_request *request,
                  struct agent_http **out)
{
    struct run *run = task->run;
    struct agent_test_requested *recorded;

    if (!http_request_is_valid(request))
        return -EINVAL;
    if (run_is_stopped(run))
        return -ECANCELED;
    recorded = request_create(request);
    list_add(&run->requests, recorded);
    *out = exchange_create(run, request);
    TAILQ_INSERT_TAIL(&run->exchanges, *out, in_run);
    exchange_take_answer(*out, recorded);
    return 0;
}

static void exchange_unref(struct agent_http *exchange)
{
    if (--exchange->refs > 0)
        return;
    free(exchange->piece);
    free(exchange);
}

/* Waits until this time: 0; or -ECANCELED, also if the exchange was closed, which is gone then. */
static int exchange_wait(struct agent_http *exchange, struct agent_task *task, uint64_t until_ms)
{
    struct run *run = task->run;
    bool closed;

    exchange->refs++;
    exchange->awaited = true;
    while (!run_is_stopped(run) && exchange->run && run->now_ms < until_ms)
        task_wait(task, until_ms);
    exchange->awaited = false;
    closed = exchange->run == NULL;
    exchange_unref(exchange);
    return closed || run_is_stopped(run) ? -ECANCELED : 0;
}

/* Waits for what comes next: 0, -ECANCELED, or the exchange's error. */
static int exchange_await(struct agent_http *exchange, struct agent_task *task)
{
    uint64_t due = exchange->came_ms + exchange->answer->delay_ms;
    uint64_t idle = exchange->came_ms + exchange->idle_ms;
    uint64_t limit = idle < exchange->deadline_ms ? idle : exchange->deadline_ms;
    int status = exchange_wait(exchange, task, due < limit ? due : limit);

    if (status < 0)
        return status;
    if (due > limit)
        return exchange_fail(exchange, -ETIMEDOUT, "a timeout was reached");
    exchange->came_ms = due;
    return 0;
}

/* A call that waits begins: 0, -ECANCELED or -EBUSY. */
static int exchange_enter(struct agent_http *exchange, struct agent_task *task)
{
    int status = run_enter_wait(task->run, task);

    return status == 0 && exchange->awaited ? -EBUSY : status;
}

static int exchange_respond(struct agent_http *exchange, struct agent_task *task)
{
    int status;

    if (exchange->responded || exchange->error)
        return exchange->responded ? 0 : exchange->error;
    status = exchange_await(exchange, task);
    if (status < 0)
        return status;
    if (exchange->answer->status == 0)
        return exchange_fail(exchange, exchange->answer->error, "%s",
                             strerror(-exchange->answer->error));
    exchange->responded = true;
    return 0;
}

int exchange_status(struct agent_http *exchange, struct agent_task *task)
{
    int status = exchange_enter(exchange, task);

    if (status == 0)
        status = exchange_respond(exchange, task);
    return status < 0 ? status : exchange->answer->status;
}

/* The next piece that is not empty, or NULL. */
static const char *exchange_next_piece(struct agent_http *exchange)
{
    const struct list *body = &exchange->answer->body;

    while (exchange->pieces < body->count) {
        const char *piece = body->items[exchange->pieces++];
        if (*piece)
            return piece;
    }
    return NULL;
}

static long exchange_take_piece(struct agent_http *exchange, const char *piece, const char **data)
{
    size_t length = strlen(piece);

    exchange->received += length;
    if (exchange->received > exchange->max_bytes)
        return exchange_fail(exchange, -EMSGSIZE, "the response has more than %zu bytes",
                             exchange->max_bytes);
    exchange->piece = memcpy(mem_alloc(length), piece, length);
    *data = exchange->piece;
    return (long)length;
}

/* Behind the last piece. */
static int exchange_end(struct agent_http *exchange, struct agent_task *task)
{
    int error = exchange->answer->error;
    int status = error ? exchange_await(exchange, task) : 0;

    if (error && status == 0)
        status = exchange_fail(exchange, error, "%s", strerror(-error));
    return status;
}

long exchange_read(struct agent_http *exchange, struct agent_task *task, const char **data)
{
    int status = exchange_enter(exchange, task);
    const char *piece;

    if (status == 0)
        mem_set(&exchange->piece, NULL);
    if (status == 0)
        status = exchange_respond(exchange, task);
    if (status == 0)
        status = exchange->error;
    if (status < 0)
        return status;
    piece = exchange_next_piece(exchange);
    if (piece == NULL)
        return exchange_end(exchange, task);
    status = exchange_await(exchange, task);
    return status < 0 ? status : exchange_take_piece(exchange, piece, data);
}

const char *exchange_header(const struct agent_http *exchange, const char *name)
{
    size_t length = strlen(name);

    for (size_t i = 0; exchange->responded && i < exchange->answer->headers.count; i++) {
        const char *line = exchange->answer->headers.items[i];
        if (strncasecmp(line, name, length) == 0 && line[length] == ':')
            return line + length + 1 + strspn(line + length + 1, " \t");
    }
    return NULL;
}

const char *exchange_error(const struct agent_http *exchange)
{
    return exchange->message;
}

void exchange_close(struct agent_http *exchange)
{
    struct run *run = exchange->run;

    TAILQ_REMOVE(&run->exchanges, exchange, in_run);
    exchange->run = NULL;
    run_wake(run);
    exchange_unref(exchange);
}

void exchanges_close_all(struct run *run)
{
    struct agent_http *exchange;

    while ((exchange = TAILQ_FIRST(&run->exchanges)))
        exchange_close(exchange);
}
