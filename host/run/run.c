#include "run/run.h"

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "run/quota.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <uthash.h>

/* Credit is given back in pieces of at least this many bytes. */
#define CREDIT_STEP (32u * 1024)

/* What a run takes besides its log, about: for the budget. */
#define RUN_SIZE 1024

/* A ring takes at most so many times what it holds. */
#define RING_EXCESS 4

#define FORGET_PERIOD_MS 1000

/* Random bits of an id, and how many are asked for at once: up to 256 never come short. */
#define ID_BYTES     16
#define RANDOM_BYTES 256

struct run {
    /* What each event looks at comes first, in few lines of the processor's cache. */
    enum run_state state;
    unsigned slowest_count;    /* subscribers at slowest; 0: there is no subscriber */
    struct log_cursor slowest; /* the least cursor of the subscribers */
    uint64_t spent;            /* of its credit, since the start */
    uint64_t returned;         /* of what was spent */
    struct runs *runs;
    TAILQ_HEAD(, subscriber) subscribers;
    struct eventlog *log;
    size_t memory; /* what runs->memory counts of it */
    struct buf pairs;
    const struct executor *executor; /* NULL unless it executes the run */
    void *executor_data;
    uint32_t number;
    struct run_identity identity; /* its texts are the run's */

    unsigned refs;
    UT_hash_handle by_id; /* in runs->by_id */
    char *subject;
    struct client *client; /* while live; may be NULL */
    char *key;             /* what runs->by_key compares; NULL for none */
    unsigned char digest[DIGEST_SIZE];
    uint32_t inputs_sent, inputs_taken;
    bool cancelling;
    bool held;        /* tasks of its agent wait for credit */
    uv_timer_t timer; /* for the first of these, ms of the loop's clock or NEVER */
    uint64_t deadline_at;
    uint64_t deserted_at; /* its time to linger is over */
    uint64_t ignored_at;  /* its grace is over */
    uint64_t linger_ms, grace_ms;
    char *error_code;
    char *error_message;
    uint64_t ended_at;        /* ms of the loop's clock */
    TAILQ_ENTRY(run) in_list; /* in runs->live or runs->retained */
};

TAILQ_HEAD(run_list, run);

struct runs {
    uv_loop_t *loop;
    uv_timer_t forget;
    struct runs_limits limits;
    struct run *by_id; /* uthash */
    void *by_key;      /* of tsearch(): whatever keys clients choose, it stays balanced */
    unsigned char random[RANDOM_BYTES];
    size_t random_left;
    struct clients clients;
    struct run_list live;
    struct run_list retained; /* oldest first */
    size_t live_count;
    size_t memory;
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

/* Of pointers to a run's key. */
static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* From the kernel, which is asked once for many. */
static const unsigned char *take_random(struct runs *runs, size_t bytes)
{
    if (runs->random_left < bytes) {
        if (getrandom(runs->random, RANDOM_BYTES, 0) != RANDOM_BYTES)
            return NULL;
        runs->random_left = RANDOM_BYTES;
    }
    runs->random_left -= bytes;
    return runs->random + runs->random_left;
}

static int make_id(struct runs *runs, char id[RUN_ID_LENGTH + 1])
{
    static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
    const unsigned char *bits = take_random(runs, ID_BYTES);
    unsigned held = 0, have = 2; /* 130 bits in 26 letters: two zero bits in front */
    size_t at = 0;

    if (bits == NULL)
        return -EIO;
    for (size_t i = 0; i < ID_BYTES; i++) {
        held = held << 8 | bits[i];
        for (have += 8; have >= 5; have -= 5)
            id[at++] = alphabet[held >> (have - 5) & 31];
    }
    id[at] = '\0';
    return 0;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- the table ---- */

/* A run is forgotten: it cannot be found any more, but its readers may read on. */
static void run_forget(struct run *run)
{
    struct runs *runs = run->runs;

    TAILQ_REMOVE(&runs->retained, run, in_list);
    HASH_DELETE(by_id, runs->by_id, run);
    if (run->key)
        tdelete(&run->key, &runs->by_key, compare_keys);
    run_unref(run);
}

static void on_forget(uv_timer_t *timer)
{
    struct runs *runs = timer->data;
    struct run *run;

    while ((run = TAILQ_FIRST(&runs->retained)) &&
           uv_now(runs->loop) - run->ended_at >= runs->limits.retention_ms)
        run_forget(run);
}

/* While there is too much: the oldest of those that are ended, unless it is being read. */
static void runs_evict(struct runs *runs)
{
    struct run *run, *next;

    for (run = TAILQ_FIRST(&runs->retained); run && runs->memory >= runs->limits.log_budget;
         run = next) {
        next = TAILQ_NEXT(run, in_list);
        if (run->slowest_count == 0)
            run_forget(run);
    }
}

static void run_account(struct run *run)
{
    size_t memory = RUN_SIZE + eventlog_memory(run->log) + buf_length(&run->pairs);

    run->runs->memory += memory - run->memory;
    run->memory = memory;
}

/* What a live run may keep for readers to come. */
static size_t runs_share(const struct runs *runs)
{
    size_t share = runs->limits.log_budget / RING_EXCESS / (runs->live_count + 1);

    if (share < RUN_SHARE_LEAST)
        share = RUN_SHARE_LEAST;
    return share < runs->limits.log_size ? share : runs->limits.log_size;
}

/* Return the place up to which all subscribers have read. */
static const struct log_cursor *run_read_upto(const struct run *run)
{
    return run->slowest_count > 0 ? &run->slowest : &run->log->end;
}

/* Drop events that are too much for readers to come, but none after the offset upto. */
static void run_drop(struct run *run, uint64_t upto)
{
    eventlog_drop(run->log, runs_share(run->runs), earlier(upto, run_read_upto(run)->at));
    run_account(run);
}

struct runs *runs_create(uv_loop_t *loop, const struct runs_limits *limits)
{
    struct runs *runs = mem_alloc(sizeof *runs);

    runs->loop = loop;
    runs->limits = *limits;
    TAILQ_INIT(&runs->live);
    TAILQ_INIT(&runs->retained);
    uv_timer_init(loop, &runs->forget);
    runs->forget.data = runs;
    uv_timer_start(&runs->forget, on_forget, FORGET_PERIOD_MS, FORGET_PERIOD_MS);
    return runs;
}

void runs_set_limits(struct runs *runs, const struct runs_limits *limits)
{
    runs->limits = *limits;
}

static void on_forget_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void runs_destroy(struct runs *runs)
{
    while (!TAILQ_EMPTY(&runs->retained))
        run_forget(TAILQ_FIRST(&runs->retained));
    uv_close((uv_handle_t *)&runs->forget, on_forget_closed);
}

struct run *runs_find(const struct runs *runs, const char *id)
{
    struct run *found;

    HASH_FIND(by_id, runs->by_id, id, strlen(id), found);
    return found;
}

void runs_lookup(struct runs *runs, const char *id, void (*done)(void *data, struct run *run),
                 void *data)
{
    done(data, runs_find(runs, id));
}

/* None of the three has a line break. */
static char *make_key(const char *subject, const char *agent, const char *key)
{
    return mem_printf("%s\n%s\n%s", subject, agent, key);
}

struct run *runs_find_key(const struct runs *runs, const char *subject, const char *agent,
                          const char *key)
{
    char *wanted = make_key(subject, agent, key);
    char *const *const *found = tfind(&wanted, &runs->by_key, compare_keys);

    free(wanted);
    return found ? (struct run *)((char *)*found - offsetof(struct run, key)) : NULL;
}

size_t runs_live(const struct runs *runs)
{
    return runs->live_count;
}

unsigned runs_live_of(const struct runs *runs, const char *client)
{
    return clients_live(&runs->clients, client);
}

size_t runs_memory(const struct runs *runs)
{
    return runs->memory;
}

/* Live ones give back what is beyond today's share, then ended ones are forgotten. */
bool runs_make_room(struct runs *runs)
{
    struct run *run;

    if (runs->memory >= runs->limits.log_budget) {
        TAILQ_FOREACH(run, &runs->live, in_list)
            run_drop(run, run->log->end.at);
    }
    runs_evict(runs);
    return runs->memory < runs->limits.log_budget;
}

bool run_take_memory(struct run *run, size_t bytes)
{
    struct runs *runs = run->runs;

    runs->memory += bytes;
    if (runs->memory <= runs->limits.log_budget || runs_make_room(runs))
        return true;
    runs->memory -= bytes;
    return false;
}

void run_give_memory(struct run *run, size_t bytes)
{
    run->runs->memory -= bytes;
}

void runs_fail_all(struct runs *runs, enum run_error error)
{
    struct run *run;

    while ((run = TAILQ_FIRST(&runs->live)))
        run_abort(run, error, NULL);
}

/* ---- one run ---- */

static void on_timer(uv_timer_t *timer);

/* The time that is so far from now. */
static uint64_t run_time(const struct run *run, uint64_t ms)
{
    return time_after(uv_now(run->runs->loop), ms);
}

static void run_arm(struct run *run)
{
    uint64_t now = uv_now(run->runs->loop);
    uint64_t due = earlier(run->ignored_at, earlier(run->deadline_at, run->deserted_at));

    if (due == NEVER)
        uv_timer_stop(&run->timer);
    else
        uv_timer_start(&run->timer, on_timer, due > now ? due - now : 0, 0);
}

static void run_enter(struct run *run, const struct run_request *request)
{
    struct runs *runs = run->runs;

    HASH_ADD(by_id, runs->by_id, identity.id, RUN_ID_LENGTH, run);
    if (request->client)
        run->client = client_take(&runs->clients, request->client);
    if (request->key) {
        run->key = make_key(request->subject, request->agent, request->key);
        memcpy(run->digest, request->digest, sizeof run->digest);
        tsearch(&run->key, &runs->by_key, compare_keys);
    }
    TAILQ_INSERT_TAIL(&runs->live, run, in_list);
    runs->live_count++;
    run_account(run);
}

int run_create(struct runs *runs, struct run_request *request, struct run **out)
{
    struct run *run = mem_alloc(sizeof *run);
    int status = make_id(runs, run->identity.id);

    if (status < 0) {
        free(run);
        return status;
    }
    run->refs = 2; /* the table's and the caller's */
    run->runs = runs;
    run->identity.agent = mem_strdup(request->agent);
    run->log = eventlog_create();
    run->subject = mem_strdup(request->subject);
    if (request->input) {
        buf_append(&run->pairs, "input", sizeof "input");
        buf_append(&run->pairs, request->input, request->input_length);
        buf_append(&run->pairs, "", 1);
    }
    buf_append(&run->pairs, buf_data(&request->vars), buf_length(&request->vars));
    buf_finish(&request->vars);
    TAILQ_INIT(&run->subscribers);
    uv_timer_init(runs->loop, &run->timer);
    run->timer.data = run;
    run->linger_ms = request->linger_ms;
    run->grace_ms = request->grace_ms;
    run->deadline_at = run_time(run, request->deadline_ms);
    run->deserted_at = request->linger_ms > 0 ? run_time(run, request->linger_ms) : NEVER;
    run->ignored_at = NEVER;
    run_enter(run, request);
    run_arm(run);
    *out = run;
    return 0;
}

struct run *run_ref(struct run *run)
{
    run->refs++;
    return run;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct run *run = handle->data;

    free(run);
}

void run_unref(struct run *run)
{
    if (--run->refs > 0)
        return;
    run->runs->memory -= run->memory;
    eventlog_destroy(run->log);
    buf_finish(&run->pairs);
    free((char *)run->identity.agent);
    free((char *)run->identity.version);
    free(run->subject);
    free(run->key);
    free(run->error_code);
    free(run->error_message);
    uv_close((uv_handle_t *)&run->timer, on_timer_closed);
}

const char *run_error_code(enum run_error error)
{
    return errors[error].code;
}

const char *run_id(const struct run *run)
{
    return run->identity.id;
}

const struct run_identity *run_identity(const struct run *run)
{
    return &run->identity;
}

const char *run_agent_name(const struct run *run)
{
    return run->identity.agent;
}

const char *run_subject(const struct run *run)
{
    return run->subject;
}

const unsigned char *run_digest(const struct run *run)
{
    return run->digest;
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
    return run->log;
}

struct buf *run_pairs(struct run *run, const struct run_agent *agent)
{
    char generation[24];

    snprintf(generation, sizeof generation, "%llu", (unsigned long long)agent->generation);
    wire_append_pair(&run->pairs, "run.id", run->identity.id);
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

void run_describe(const struct run *run, struct buf *json)
{
    run_identity_describe(&run->identity, json);
    buf_printf(json, ",\"status\":\"%s\",\"events\":%llu", states[run->state].name,
               (unsigned long long)eventlog_last(run->log));
    if (run->held && !run_has_ended(run))
        buf_puts(json, ",\"held\":true");
    if (run->cancelling && !run_has_ended(run))
        buf_puts(json, ",\"cancelling\":true");
    describe_error(run, json);
    buf_puts(json, "}");
}

/* ---- events ---- */

/*
 * Give back the credit of what everybody has read. The first event is the run's
 * own and was not charged; while it is unread, as much too little is given back.
 */
static void run_return_credit(struct run *run)
{
    uint64_t credit = run->spent - run->returned;
    uint64_t unread = run->log->end.cost - run_read_upto(run)->cost;

    if (run->executor == NULL || credit < unread + CREDIT_STEP)
        return;
    credit -= unread;
    run->returned += credit;
    run->executor->credit(run->executor_data, run->number, (uint32_t)credit);
}

/* Numbers and appends an event, drops what need not be kept, and tells the subscribers. */
static void run_publish(struct run *run, struct event *event)
{
    uint64_t before = run->log->end.at;
    struct subscriber *subscriber, *next;
    struct runs *runs = run->runs;

    eventlog_append(run->log, event);
    run_drop(run, run_has_ended(run) ? before : run->log->end.at);
    if (runs->memory > runs->limits.log_budget)
        runs_evict(runs);
    for (subscriber = TAILQ_FIRST(&run->subscribers); subscriber; subscriber = next) {
        next = TAILQ_NEXT(subscriber, in_run);
        subscriber->appended(subscriber);
    }
    run_return_credit(run);
}

static void run_publish_own(struct run *run, const char *type, const struct buf *json)
{
    struct event event = {.type = type,
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
    run->identity.version = mem_strdup(agent->version);
    run->identity.generation = agent->generation;
    run->executor = executor;
    run->executor_data = data;
    run->number = number;
    run_ref(run);
    run_identity_describe(&run->identity, &json);
    buf_puts(&json, "}");
    run_publish_own(run, "run", &json);
    buf_finish(&json);
}

/* A worker is not trusted with the stream's lines, nor with the host's events. */
static bool event_is_safe(const struct event *event)
{
    return wire_type_is_free(event->type, event->type_length) &&
           !memchr(event->json, '\n', event->json_length) &&
           !memchr(event->json, '\r', event->json_length);
}

int run_append(struct run *run, struct event *event)
{
    run->spent += wire_charge(event->type_length, event->json_length);
    if (run->spent - run->returned > WIRE_WINDOW || !event_is_safe(event))
        return -EPROTO;
    if (!run_has_ended(run))
        run_publish(run, event);
    return 0;
}

int run_set_waiting(struct run *run, uint32_t taken, uint32_t waiting)
{
    if (taken > run->inputs_sent || taken < run->inputs_taken)
        return -EPROTO;
    run->inputs_taken = taken;
    if (!run_has_ended(run))
        run->state = waiting > 0 ? RUN_waiting : RUN_running;
    return 0;
}

void run_set_held(struct run *run, bool held)
{
    run->held = held;
}

int run_give_input(struct run *run, const char *json, size_t length)
{
    int status;

    if (run->executor == NULL || run_has_ended(run))
        return -ENXIO;
    if (run->inputs_sent - run->inputs_taken >= RUN_INPUTS_MAX)
        return -EAGAIN;
    status = run->executor->input(run->executor_data, run->number, json, length);
    if (status == 0)
        run->inputs_sent++;
    return status;
}

/* ---- the end ---- */

static void run_retain(struct run *run)
{
    struct runs *runs = run->runs;

    TAILQ_REMOVE(&runs->live, run, in_list);
    runs->live_count--;
    client_give_back(&runs->clients, run->client);
    run->client = NULL;
    run->ended_at = uv_now(runs->loop);
    run->deadline_at = run->deserted_at = NEVER;
    run_arm(run);
    TAILQ_INSERT_TAIL(&runs->retained, run, in_list);
    runs_evict(runs);
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
    buf_finish(&run->pairs);
    run_publish_own(run, "done", &json);
    buf_finish(&json);
    run_retain(run);
}

/* Its executor reports nothing more about it. */
static void run_leave_executor(struct run *run)
{
    if (run->executor == NULL)
        return;
    run->executor = NULL;
    run->ignored_at = NEVER;
    run_arm(run);
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

/* Asks its agent to stop, once. */
static void run_stop_executor(struct run *run)
{
    if (run->executor == NULL || run->cancelling)
        return;
    run->cancelling = true;
    run->ignored_at = run_time(run, run->grace_ms);
    run_arm(run);
    run->executor->cancel(run->executor_data, run->number);
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
    run_ref(run);
    run_set_end(run, RUN_failed, &end);
    free(message);
    run_stop_executor(run);
    run_unref(run);
}

static void run_set_cancelled(struct run *run)
{
    struct wire_end end = {.status = WIRE_CANCELLED, .code = "", .message = "", .result = ""};

    run_set_end(run, RUN_cancelled, &end);
}

void run_cancel(struct run *run)
{
    if (run_has_ended(run))
        return;
    if (run->executor)
        run_stop_executor(run);
    else
        run_set_cancelled(run);
}

/* Its agent goes on, but nobody waits for it any more. */
static void run_give_up(struct run *run)
{
    log_plugin("an agent ignores that its run was cancelled plugin=%s generation=%llu run=%s",
               run->identity.agent, (unsigned long long)run->identity.generation, run->identity.id);
    run->ignored_at = NEVER;
    if (!run_has_ended(run))
        run_set_cancelled(run);
    run->executor->ignored(run->executor_data, run->number);
}

static void on_timer(uv_timer_t *timer)
{
    struct run *run = run_ref(timer->data);
    uint64_t now = uv_now(run->runs->loop);

    if (now >= run->deadline_at)
        run_abort(run, RUN_ERROR_deadline, NULL);
    if (now >= run->deserted_at) {
        run->deserted_at = NEVER;
        run_cancel(run);
    }
    if (now >= run->ignored_at)
        run_give_up(run);
    run_arm(run);
    run_unref(run);
}

/* ---- subscribers ---- */

static void run_find_slowest(struct run *run)
{
    const struct subscriber *subscriber;

    run->slowest_count = 0;
    TAILQ_FOREACH(subscriber, &run->subscribers, in_run) {
        if (run->slowest_count == 0 || subscriber->cursor.at < run->slowest.at) {
            run->slowest = subscriber->cursor;
            run->slowest_count = 0;
        }
        run->slowest_count += subscriber->cursor.at == run->slowest.at;
    }
}

/* A subscriber is not at this offset any more. */
static void run_left_offset(struct run *run, uint64_t offset)
{
    if (offset != run->slowest.at || --run->slowest_count > 0)
        return;
    run_find_slowest(run);
    run_return_credit(run);
}

void run_subscribe(struct run *run, struct subscriber *subscriber, uint64_t after,
                   struct run_gap *gap)
{
    uint64_t dropped;

    if (!run_has_ended(run)) /* else ever more would stay unread, for one reader after another */
        run_drop(run, run->log->end.at);
    *gap = (struct run_gap){0};
    dropped = run->log->start.sequence;
    if (after < dropped)
        *gap = (struct run_gap){.from = after + 1, .to = dropped};
    subscriber->run = run_ref(run);
    subscriber->cursor = eventlog_seek(run->log, after);
    TAILQ_INSERT_TAIL(&run->subscribers, subscriber, in_run);
    run_find_slowest(run);
    run->deserted_at = NEVER;
    run_arm(run);
}

void run_unsubscribe(struct subscriber *subscriber)
{
    struct run *run = subscriber->run;

    TAILQ_REMOVE(&run->subscribers, subscriber, in_run);
    subscriber->run = NULL;
    run_left_offset(run, subscriber->cursor.at);
    run_unref(run);
}

void run_leave(struct subscriber *subscriber)
{
    struct run *run = run_ref(subscriber->run);

    run_unsubscribe(subscriber);
    if (run->slowest_count == 0 && run->linger_ms == 0) {
        run_cancel(run);
    } else if (run->slowest_count == 0 && !run_has_ended(run)) {
        run->deserted_at = run_time(run, run->linger_ms);
        run_arm(run);
    }
    run_unref(run);
}

void run_consume(struct subscriber *subscriber, const struct log_cursor *upto)
{
    uint64_t from = subscriber->cursor.at;

    if (upto->at == from)
        return;
    subscriber->cursor = *upto;
    run_left_offset(subscriber->run, from);
}
