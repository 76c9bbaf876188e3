#include "front/run.h"

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "front/encode_sse.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Credit is given back in pieces of at least this many bytes. */
#define CREDIT_STEP (32u * 1024)

/* At most so many ended runs are remembered, the oldest are forgotten first. */
#define RETAINED_MAX 4096

#define FORGET_PERIOD_MS 1000

struct run {
    char id[RUN_ID_LENGTH + 1]; /* first: the tree compares it */
    unsigned refs;
    enum run_state state;
    struct runs *runs;
    char *agent;
    char *version; /* NULL while queued */
    uint64_t generation;
    struct buf pairs;
    uint64_t sequence; /* of the last event */
    struct eventlog log;
    TAILQ_HEAD(, subscriber) subscribers;
    uint64_t spent;    /* of its credit, since the start */
    uint64_t returned; /* of what was spent */
    bool cancelling;
    const struct executor *executor; /* NULL unless it executes the run */
    void *executor_data;
    uint32_t number;
    char *error_code;
    char *error_message;
    uint64_t ended_at;        /* ms of the loop's clock */
    TAILQ_ENTRY(run) in_list; /* in runs->live or runs->retained */
};

TAILQ_HEAD(run_list, run);

struct runs {
    uv_loop_t *loop;
    uv_timer_t forget;
    uint64_t retain_ms;
    void *tree; /* of tsearch(), by id */
    struct run_list live;
    struct run_list retained; /* oldest first */
    size_t live_count;
    size_t retained_count;
};

static const struct {
    const char *name;
    bool is_end;
} states[] = {
#define X(name, is_end) {#name, is_end},
    RUN_STATES(X)
#undef X
};

static const struct {
    const char *code;
    const char *words;
} errors[] = {
#define X(name, words) {#name, words},
    RUN_ERRORS(X)
#undef X
};

static int compare_ids(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int make_id(char id[RUN_ID_LENGTH + 1])
{
    static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
    unsigned char bits[16];
    unsigned held = 0, have = 2; /* 130 bits in 26 letters: two zero bits in front */
    size_t at = 0;

    if (getrandom(bits, sizeof bits, 0) != (ssize_t)sizeof bits)
        return -EIO;
    for (size_t i = 0; i < sizeof bits; i++) {
        held = held << 8 | bits[i];
        for (have += 8; have >= 5; have -= 5)
            id[at++] = alphabet[held >> (have - 5) & 31];
    }
    id[at] = '\0';
    return 0;
}

/* ---- the table ---- */

static void forget_oldest(struct runs *runs)
{
    struct run *run = TAILQ_FIRST(&runs->retained);

    TAILQ_REMOVE(&runs->retained, run, in_list);
    runs->retained_count--;
    tdelete(run, &runs->tree, compare_ids);
    run_unref(run);
}

static void on_forget(uv_timer_t *timer)
{
    struct runs *runs = timer->data;
    struct run *run;

    while ((run = TAILQ_FIRST(&runs->retained)) &&
           uv_now(runs->loop) - run->ended_at >= runs->retain_ms)
        forget_oldest(runs);
}

struct runs *runs_create(uv_loop_t *loop, unsigned retain_s)
{
    struct runs *runs = mem_alloc(sizeof *runs);

    runs->loop = loop;
    runs->retain_ms = (uint64_t)retain_s * 1000;
    TAILQ_INIT(&runs->live);
    TAILQ_INIT(&runs->retained);
    uv_timer_init(loop, &runs->forget);
    runs->forget.data = runs;
    uv_timer_start(&runs->forget, on_forget, FORGET_PERIOD_MS, FORGET_PERIOD_MS);
    return runs;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void runs_destroy(struct runs *runs)
{
    while (!TAILQ_EMPTY(&runs->retained))
        forget_oldest(runs);
    uv_close((uv_handle_t *)&runs->forget, on_timer_closed);
}

struct run *runs_find(const struct runs *runs, const char *id)
{
    struct run *const *found = tfind(id, &runs->tree, compare_ids);

    return found ? *found : NULL;
}

size_t runs_live(const struct runs *runs)
{
    return runs->live_count;
}

void runs_fail_all(struct runs *runs, enum run_error error)
{
    struct run *run;

    while ((run = TAILQ_FIRST(&runs->live)))
        run_abort(run, error, NULL);
}

/* ---- one run ---- */

int run_create(struct runs *runs, const char *agent, struct buf *pairs, struct run **out)
{
    struct run *run = mem_alloc(sizeof *run);
    int status = make_id(run->id);

    if (status < 0) {
        free(run);
        return status;
    }
    run->refs = 2; /* the table's and the caller's */
    run->runs = runs;
    run->agent = mem_strdup(agent);
    buf_swap(&run->pairs, pairs);
    TAILQ_INIT(&run->subscribers);
    tsearch(run, &runs->tree, compare_ids);
    TAILQ_INSERT_TAIL(&runs->live, run, in_list);
    runs->live_count++;
    *out = run;
    return 0;
}

struct run *run_ref(struct run *run)
{
    run->refs++;
    return run;
}

void run_unref(struct run *run)
{
    if (--run->refs > 0)
        return;
    eventlog_finish(&run->log);
    buf_finish(&run->pairs);
    free(run->agent);
    free(run->version);
    free(run->error_code);
    free(run->error_message);
    free(run);
}

const char *run_error_code(enum run_error error)
{
    return errors[error].code;
}

const char *run_id(const struct run *run)
{
    return run->id;
}

const char *run_agent_name(const struct run *run)
{
    return run->agent;
}

enum run_state run_get_state(const struct run *run)
{
    return run->state;
}

bool run_has_ended(const struct run *run)
{
    return states[run->state].is_end;
}

const struct eventlog *run_log(const struct run *run)
{
    return &run->log;
}

struct buf *run_pairs(struct run *run, const struct run_agent *agent)
{
    char generation[24];

    snprintf(generation, sizeof generation, "%llu", (unsigned long long)agent->generation);
    wire_append_pair(&run->pairs, "run.id", run->id);
    wire_append_pair(&run->pairs, "run.agent", agent->name);
    wire_append_pair(&run->pairs, "plugin.version", agent->version);
    wire_append_pair(&run->pairs, "plugin.generation", generation);
    return &run->pairs;
}

static void describe_error(const struct run *run, struct buf *json)
{
    if (run->error_code == NULL)
        return;
    buf_puts(json, ",\"error\":{\"code\":");
    json_append_string(json, run->error_code);
    buf_puts(json, ",\"message\":");
    json_append_string(json, run->error_message);
    buf_puts(json, "}");
}

static void describe_agent(const struct run *run, struct buf *json)
{
    buf_printf(json, "{\"run\":\"%s\",\"agent\":", run->id);
    json_append_string(json, run->agent);
    if (run->version) {
        buf_puts(json, ",\"version\":");
        json_append_string(json, run->version);
        buf_printf(json, ",\"generation\":%llu", (unsigned long long)run->generation);
    }
}

void run_describe(const struct run *run, struct buf *json)
{
    describe_agent(run, json);
    buf_printf(json, ",\"status\":\"%s\",\"events\":%llu", states[run->state].name,
               (unsigned long long)run->sequence);
    describe_error(run, json);
    buf_puts(json, "}");
}

/* ---- events ---- */

/* All subscribers have read up to here. */
static uint64_t run_read_upto(const struct run *run)
{
    const struct subscriber *subscriber;
    uint64_t upto = run->log.end;

    TAILQ_FOREACH(subscriber, &run->subscribers, in_run) {
        if (subscriber->cursor < upto)
            upto = subscriber->cursor;
    }
    return upto;
}

/*
 * Forgets what everybody has read and gives its credit back. What is unread
 * cost at most twice its bytes, since an encoded event is at least half of
 * what it was charged: so no index of events is needed, and when all is read
 * the sum is exact.
 */
static void run_trim(struct run *run)
{
    uint64_t unread, credit;

    eventlog_trim(&run->log, run_read_upto(run));
    if (run_has_ended(run))
        eventlog_release(&run->log);
    unread = 2 * (run->log.end - run->log.start);
    credit = run->spent - run->returned;
    if (run->executor == NULL || credit < unread + CREDIT_STEP)
        return;
    credit -= unread;
    run->returned += credit;
    run->executor->credit(run->executor_data, run->number, (uint32_t)credit);
}

/* Numbers, encodes and appends an event, and tells the subscribers. */
static void run_publish(struct run *run, const struct run_event *event)
{
    char head[ENCODE_SSE_HEAD_MAX];
    struct subscriber *subscriber, *next;
    struct iovec pieces[3] = {{.iov_base = head},
                              {.iov_base = (void *)event->json, .iov_len = event->json_length},
                              {.iov_base = ENCODE_SSE_TAIL, .iov_len = strlen(ENCODE_SSE_TAIL)}};

    pieces[0].iov_len =
        encode_sse_head(head, run->id, ++run->sequence, event->type, event->type_length);
    eventlog_append(&run->log, pieces, 3);
    for (subscriber = TAILQ_FIRST(&run->subscribers); subscriber; subscriber = next) {
        next = TAILQ_NEXT(subscriber, in_run);
        subscriber->appended(subscriber, event);
    }
    run_trim(run);
}

static void run_publish_own(struct run *run, const char *type, const struct buf *json)
{
    struct run_event event = {.type = type,
                              .type_length = strlen(type),
                              .json = buf_data(json),
                              .json_length = buf_length(json)};

    run_publish(run, &event);
}

void run_start(struct run *run, const struct run_agent *agent, const struct executor *executor,
               void *data, uint32_t number)
{
    struct buf json = {0};

    run->state = RUN_running;
    run->version = mem_strdup(agent->version);
    run->generation = agent->generation;
    run->executor = executor;
    run->executor_data = data;
    run->number = number;
    run_ref(run);
    describe_agent(run, &json);
    buf_puts(&json, "}");
    run_publish_own(run, "run", &json);
    buf_finish(&json);
}

/* A worker is not trusted with the stream's lines, nor with the host's events. */
static bool event_is_safe(const struct run_event *event)
{
    return wire_type_is_free(event->type, event->type_length) &&
           !memchr(event->json, '\n', event->json_length) &&
           !memchr(event->json, '\r', event->json_length);
}

int run_append(struct run *run, const struct run_event *event)
{
    run->spent += wire_charge(event->type_length, event->json_length);
    if (run->spent - run->returned > WIRE_WINDOW || !event_is_safe(event))
        return -EPROTO;
    if (!run_has_ended(run))
        run_publish(run, event);
    return 0;
}

/* ---- the end ---- */

static void run_retain(struct run *run)
{
    struct runs *runs = run->runs;

    TAILQ_REMOVE(&runs->live, run, in_list);
    runs->live_count--;
    run->ended_at = uv_now(runs->loop);
    TAILQ_INSERT_TAIL(&runs->retained, run, in_list);
    if (++runs->retained_count > RETAINED_MAX)
        forget_oldest(runs);
}

/* The only way to an end. */
static void run_set_end(struct run *run, enum run_state state, const struct wire_end *end)
{
    struct buf json = {0};

    run->state = state;
    if (state == RUN_failed) {
        run->error_code = mem_strdup(end->code);
        run->error_message = mem_strdup(end->message);
    }
    buf_printf(&json, "{\"status\":\"%s\"", states[state].name);
    if (*end->result)
        buf_printf(&json, ",\"result\":%s", end->result);
    describe_error(run, &json);
    buf_puts(&json, "}");
    run_publish_own(run, "done", &json);
    buf_finish(&json);
    buf_finish(&run->pairs);
    run_retain(run);
}

/* Its executor reports nothing more about it. */
static void run_leave_executor(struct run *run)
{
    if (run->executor == NULL)
        return;
    run->executor = NULL;
    run_unref(run);
}

int run_end(struct run *run, const struct wire_end *end)
{
    static const enum run_state by_status[] = {[WIRE_FINISHED] = RUN_finished,
                                               [WIRE_FAILED] = RUN_failed,
                                               [WIRE_CANCELLED] = RUN_cancelled};

    size_t length = strlen(end->result);

    if (length > 0 && (json_check(end->result, length) < 0 || strpbrk(end->result, "\r\n")))
        return -EPROTO;
    if (!run_has_ended(run))
        run_set_end(run, by_status[end->status], end);
    run_leave_executor(run);
    return 0;
}

void run_abort(struct run *run, enum run_error error, const char *detail)
{
    struct wire_end end = {
        .status = WIRE_FAILED, .code = errors[error].code, .message = "", .result = ""};
    char *message;

    if (run_has_ended(run))
        return;
    message = mem_printf("%s%s%s", errors[error].words, detail ? ": " : "", detail ? detail : "");
    end.message = message;
    run_set_end(run, RUN_failed, &end);
    free(message);
    if (run->executor)
        run->executor->cancel(run->executor_data, run->number);
}

void run_cancel(struct run *run)
{
    struct wire_end end = {.status = WIRE_CANCELLED, .code = "", .message = "", .result = ""};

    if (run_has_ended(run) || run->cancelling)
        return;
    run->cancelling = true;
    if (run->executor)
        run->executor->cancel(run->executor_data, run->number);
    else
        run_set_end(run, RUN_cancelled, &end);
}

/* ---- subscribers ---- */

void run_subscribe(struct run *run, struct subscriber *subscriber)
{
    subscriber->run = run_ref(run);
    subscriber->cursor = run->log.start;
    TAILQ_INSERT_TAIL(&run->subscribers, subscriber, in_run);
}

void run_unsubscribe(struct subscriber *subscriber)
{
    struct run *run = subscriber->run;

    TAILQ_REMOVE(&run->subscribers, subscriber, in_run);
    subscriber->run = NULL;
    run_trim(run);
    run_unref(run);
}

bool run_has_subscribers(const struct run *run)
{
    return !TAILQ_EMPTY(&run->subscribers);
}

void run_leave(struct subscriber *subscriber)
{
    struct run *run = run_ref(subscriber->run);

    run_unsubscribe(subscriber);
    if (!run_has_subscribers(run))
        run_cancel(run);
    run_unref(run);
}

void run_consume(struct subscriber *subscriber, uint64_t upto)
{
    subscriber->cursor = upto;
    run_trim(subscriber->run);
}
