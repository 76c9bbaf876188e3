/*
 * A run is in one list: live until it ends, then retained, oldest first, until it
 * is forgotten. The table has a reference to it as long. Who reads a forgotten
 * run reads on: it only can no longer be found.
 *
 *     runs_enter ──► live ── runs_retain ──► retained ── forget ──► gone
 *                                               retention over (on_forget),
 *                                               or too much memory (evict)
 *
 * Memory. Each run's client is charged for RUN_SIZE, the log's memory and what else
 * changes (account), at each event: as kept if the run has ended and nobody reads it
 * (idle), else as held.
 *
 *     too much kept     evict: the oldest idle run of the client that keeps most is
 *                       forgotten, at once, until all fits into the budget
 *     a client over     relieve, when the loop turns: the histories of its live
 *     its share         runs are cut to today's fair share, which is smaller the more
 *                       runs are live; then, while that does not help, the reader
 *                       furthest behind on one of its runs is disconnected. The largest
 *                       client goes first.
 *
 * Fair shares leave room for readers: the histories of all live runs together are about
 * half of the budget at most.
 */
#include "run/inside.h"

#include "base/handles.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* What a run takes besides its log, about. */
#define RUN_SIZE 1024

/* Maximum ratio of a ring's memory and its content. */
#define RING_EXCESS 4

/* The next relief comes this much later, unless this part of the budget more is held. */
#define RELIEF_PERIOD_MS 100
#define RELIEF_STEP      64

/* Readers that one relief disconnects at most. */
#define RELIEF_MAX 64

#define FORGET_PERIOD_MS 1000

/* Random bytes of an id, and how many are asked for at once: up to 256 never come short. */
#define ID_BYTES     16
#define RANDOM_BYTES 256

TAILQ_HEAD(run_list, run);

struct runs {
    uv_loop_t *loop;
    uv_timer_t forget;
    uv_timer_t relief;
    uint64_t relief_at; /* ms of the loop's clock: before that, only if much more is held */
    size_t relief_held; /* what was held after the last relief */
    struct handles handles;
    struct runs_limits limits;
    struct run *by_id; /* uthash */
    void *by_key;      /* of tsearch(): whatever keys clients choose, it stays balanced */
    void *by_thread;   /* likewise: the newest live run of each thread */
    unsigned char random[RANDOM_BYTES];
    size_t random_left;
    struct quotas quotas;
    uint64_t changes; /* of runs' states, so far */
    struct run_list live;
    struct run_list retained; /* oldest first */
    size_t live_count;
};

/* ---- finding ---- */

int runs_make_id(struct runs *runs, char id[RUN_ID_LENGTH + 1])
{
    static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
    const unsigned char *bits;
    unsigned held = 0, have = 2; /* 130 bits in 26 letters: two zero bits in front */
    size_t at = 0;

    if (runs->random_left < ID_BYTES) { /* the kernel is asked once for many ids */
        if (getrandom(runs->random, RANDOM_BYTES, 0) != RANDOM_BYTES)
            return -EIO;
        runs->random_left = RANDOM_BYTES;
    }
    runs->random_left -= ID_BYTES;
    bits = runs->random + runs->random_left;
    for (size_t i = 0; i < ID_BYTES; i++) {
        held = held << 8 | bits[i];
        for (have += 8; have >= 5; have -= 5)
            id[at++] = alphabet[held >> (have - 5) & 31];
    }
    id[at] = '\0';
    return 0;
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

/* Compare two runs' keys, by pointers to them. */
static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
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

/* ---- lists ---- */

void runs_note_change(struct runs *runs, struct run *run)
{
    run->changed = ++runs->changes;
}

uint64_t run_changed(const struct run *run)
{
    return run->changed;
}

static bool is_wanted(const struct runs *runs, const struct runs_query *query,
                      const struct run *run)
{
    const char *thread = run->identity.thread ? run->identity.thread : run->identity.id;

    return query->states & 1u << run->state && strcmp(run->subject, query->subject) == 0 &&
           strcmp(run->identity.agent, query->agent) == 0 &&
           (query->thread == NULL || strcmp(thread, query->thread) == 0) &&
           (!run->is_retained || uv_now(runs->loop) - run->ended_at <= query->age_ms);
}

unsigned runs_list(const struct runs *runs, const struct runs_query *query, struct run **out,
                   unsigned most, size_t *total)
{
    const struct quota *quota = quota_find(&runs->quotas, query->client);
    const struct quota_runs *lists[] = {quota ? &quota->busy : NULL, quota ? &quota->idle : NULL};
    unsigned count = 0, left = RUNS_LIST_MAX;
    struct run *run;

    *total = 0;
    for (int i = 0; quota && i < 2; i++) {
        TAILQ_FOREACH_REVERSE(run, lists[i], quota_runs, in_quota)
        {
            unsigned at = count;
            if (left == 0)
                return count;
            left--;
            if (!is_wanted(runs, query, run))
                continue;
            (*total)++;
            if (run->changed >= query->before ||
                (count == most && out[count - 1]->changed > run->changed))
                continue;
            if (count < most)
                count++;
            else
                at--;
            for (; at > 0 && out[at - 1]->changed < run->changed; at--)
                out[at] = out[at - 1];
            out[at] = run;
        }
    }
    return count;
}

/* Compare two runs' threads. */
static int compare_threads(const void *a, const void *b)
{
    const struct run *one = a, *other = b;
    int order = strcmp(one->subject, other->subject);

    if (order == 0)
        order = strcmp(one->identity.agent, other->identity.agent);
    return order ? order : strcmp(one->identity.thread, other->identity.thread);
}

struct run *runs_find_thread(const struct runs *runs, const char *subject, const char *agent,
                             const char *thread)
{
    const struct run wanted = {.subject = (char *)subject,
                               .identity = {.agent = agent, .thread = thread}};
    struct run *const *found = tfind(&wanted, &runs->by_thread, compare_threads);

    return found ? *found : NULL;
}

static void enter_thread(struct runs *runs, struct run *run)
{
    if (run->identity.thread == NULL)
        return;
    tdelete(run, &runs->by_thread, compare_threads);
    tsearch(run, &runs->by_thread, compare_threads);
}

static void leave_thread(struct runs *runs, struct run *run)
{
    if (run->identity.thread &&
        runs_find_thread(runs, run->subject, run->identity.agent, run->identity.thread) == run)
        tdelete(run, &runs->by_thread, compare_threads);
}

/* ---- memory ---- */

/* Put the run among the idle ones of its client, or the busy ones. */
static void set_idle(struct runs *runs, struct run *run, bool idle)
{
    struct quota *quota = run->quota;
    ptrdiff_t memory = (ptrdiff_t)run->memory;

    if (idle == run->is_idle)
        return;
    run->is_idle = idle;
    TAILQ_REMOVE(idle ? &quota->busy : &quota->idle, run, in_quota);
    TAILQ_INSERT_TAIL(idle ? &quota->idle : &quota->busy, run, in_quota);
    quota_keep(&runs->quotas, quota, idle ? memory : -memory);
    quota_hold(&runs->quotas, quota, idle ? -memory : memory);
}

static void forget(struct runs *runs, struct run *run)
{
    TAILQ_REMOVE(&runs->retained, run, in_list);
    run->is_retained = false;
    set_idle(runs, run, false); /* whoever still has it holds it */
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
        forget(runs, run);
}

size_t runs_memory(const struct runs *runs)
{
    return runs->quotas.held + runs->quotas.kept;
}

/* Forget ended runs that nobody reads while all take as much as the budget. */
static void evict(struct runs *runs)
{
    struct quota *quota;

    while (runs_memory(runs) >= runs->limits.log_budget && (quota = quotas_keeper(&runs->quotas)))
        forget(runs, TAILQ_FIRST(&quota->idle));
}

/* Return ms until the next relief may find something to do that the last one did not. */
static uint64_t relief_pause(const struct runs *runs)
{
    uint64_t now = uv_now(runs->loop);

    if (runs->quotas.held > runs->relief_held + runs->limits.log_budget / RELIEF_STEP)
        return 0;
    return runs->relief_at > now ? runs->relief_at - now : 0;
}

static void on_relief(uv_timer_t *timer);

static void relieve_soon(struct runs *runs)
{
    if (!uv_is_active((uv_handle_t *)&runs->relief) || relief_pause(runs) == 0)
        uv_timer_start(&runs->relief, on_relief, relief_pause(runs), 0);
}

static void account(struct runs *runs, struct run *run)
{
    size_t memory = RUN_SIZE + eventlog_memory(run->log) + buf_length(&run->pairs) +
                    run->inputs_size + run->questions.size + run->texts_size;
    ptrdiff_t more = (ptrdiff_t)(memory - run->memory);

    if (more == 0)
        return;
    run->memory = memory;
    if (run->is_idle) {
        quota_keep(&runs->quotas, run->quota, more);
        return;
    }
    quota_hold(&runs->quotas, run->quota, more);
    if (more > 0 && quota_is_over(&runs->quotas, run->quota))
        relieve_soon(runs);
}

void runs_account(struct runs *runs, struct run *run)
{
    set_idle(runs, run, run->is_retained && TAILQ_EMPTY(&run->subscribers));
    account(runs, run);
    if (!run->is_idle && quota_is_over(&runs->quotas, run->quota))
        relieve_soon(runs);
}

/* Return how many bytes of history a live run may keep. */
static size_t fair_share(const struct runs *runs)
{
    size_t share = runs->limits.log_budget / RING_EXCESS / (runs->live_count + 1);

    if (share < RUN_SHARE_LEAST)
        share = RUN_SHARE_LEAST;
    return share < runs->limits.log_size ? share : runs->limits.log_size;
}

/* Cut the run's history to this many bytes, or its fair share. */
static void cut(struct runs *runs, struct run *run, uint64_t upto, size_t keep)
{
    uint64_t read = readers_upto(run)->at;
    size_t share = fair_share(runs);

    if (share > keep)
        share = keep;
    if (read < upto)
        upto = read;
    if (readers_are_behind(run, upto)) {
        upto = readers_lose(run, eventlog_surplus(run->log, share, upto).at);
        share = 0;
    }
    eventlog_drop(run->log, share, upto);
    account(runs, run);
}

void runs_drop(struct runs *runs, struct run *run, uint64_t upto)
{
    cut(runs, run, upto, SIZE_MAX);
    if (runs_memory(runs) > runs->limits.log_budget)
        evict(runs);
}

void runs_squeeze(struct runs *runs, struct run *run)
{
    struct quota *quota;
    struct run *live;

    while ((quota = quotas_keeper(&runs->quotas)))
        forget(runs, TAILQ_FIRST(&quota->idle));
    TAILQ_FOREACH(live, &runs->live, in_list)
        cut(runs, live, live->log->end.at, live == run ? 0 : RUN_SHARE_LEAST);
}

/* ---- relief ---- */

struct victim {
    struct runs *runs;
    size_t held; /* by the client of the reader */
    struct subscriber *reader;
};

/*
 * Return the reader for whom most of the run's log is kept, or NULL, and how many bytes
 * it has not read, if that matters. An ended run is kept whole for any reader, a live
 * run for its holder.
 */
static struct subscriber *run_reader(const struct run *run, uint64_t *unread)
{
    struct subscriber *reader = run->holder;

    if (run->is_retained)
        reader = run->readers > 0 ? run->places[0].subscriber : NULL;
    *unread = reader ? run->log->end.at - reader->cursor.at : 0;
    if (!run->is_retained && *unread < RUN_SHARE_LEAST)
        *unread = 0;
    return reader;
}

/*
 * Find the client's reader with the most unread events, or NULL. A reader that reads on
 * does not count: it makes room by itself.
 */
static struct subscriber *slowest_reader(const struct quota *quota)
{
    struct subscriber *slowest = NULL, *reader;
    uint64_t most = 0;
    struct run *run;

    TAILQ_FOREACH(run, &quota->busy, in_quota) {
        uint64_t unread;
        reader = run_reader(run, &unread);
        if (unread <= most)
            continue;
        if (reader->is_blocked && reader->is_blocked(reader)) {
            most = unread;
            slowest = reader;
        }
    }
    return slowest;
}

/* Cut the histories of the client's live runs to this many bytes, or the fair share. */
static void cut_all(struct runs *runs, const struct quota *quota, size_t keep)
{
    struct run *run;

    TAILQ_FOREACH(run, &quota->busy, in_quota) {
        if (run_has_ended(run))
            continue;
        cut(runs, run, run->log->end.at, keep);
        eventlog_fit(run->log);
        account(runs, run);
    }
}

/* Choose the client's slowest reader, if the client is over its share and the largest one. */
static void consider(struct quota *quota, void *data)
{
    struct victim *victim = data;
    struct runs *runs = victim->runs;
    struct subscriber *reader;

    if (quota->held <= victim->held || !quota_is_over(&runs->quotas, quota))
        return;
    cut_all(runs, quota, SIZE_MAX);
    if (quota_is_over(&runs->quotas, quota))
        cut_all(runs, quota, RUN_SHARE_LEAST);
    if (!quota_is_over(&runs->quotas, quota) || (reader = slowest_reader(quota)) == NULL)
        return;
    victim->held = quota->held;
    victim->reader = reader;
}

/* Make clients that are over their share smaller, the largest one first. */
static void relieve(struct runs *runs)
{
    struct victim victim = {.runs = runs};
    int count = 0;

    if (relief_pause(runs) > 0)
        return;
    do {
        victim.held = 0;
        victim.reader = NULL;
        quotas_walk(&runs->quotas, consider, &victim);
        if (victim.reader == NULL)
            break;
        log_info("a client that reads slowly is disconnected, for it holds more than its share of "
                 "log_budget client=%s held=%zu run=%s",
                 victim.reader->run->quota->name, victim.held, run_id(victim.reader->run));
        victim.reader->drop(victim.reader);
    } while (++count < RELIEF_MAX);
    runs->relief_at = uv_now(runs->loop) + (count < RELIEF_MAX ? RELIEF_PERIOD_MS : 0);
    runs->relief_held = runs->quotas.held;
    if (count == RELIEF_MAX)
        relieve_soon(runs);
}

static void on_relief(uv_timer_t *timer)
{
    relieve(timer->data);
}

bool runs_make_room(struct runs *runs, const char *client, size_t bytes)
{
    struct quota *quota = quota_find(&runs->quotas, client);

    if (!quota_has_room(&runs->quotas, quota, bytes)) {
        if (quota)
            cut_all(runs, quota, SIZE_MAX);
        relieve(runs);
    }
    evict(runs);
    return quota_has_room(&runs->quotas, quota_find(&runs->quotas, client), bytes);
}

bool runs_has_one_client(const struct runs *runs)
{
    return runs->quotas.count <= 1;
}

bool runs_take(struct runs *runs, const char *client, size_t bytes)
{
    if (!quotas_take(&runs->quotas, client, bytes))
        return false;
    if (runs_memory(runs) > runs->limits.log_budget)
        evict(runs);
    return true;
}

void runs_give(struct runs *runs, const char *client, size_t bytes)
{
    quotas_give(&runs->quotas, client, bytes);
}

bool run_take_memory(struct run *run, size_t bytes)
{
    struct runs *runs = run->runs;

    if (!quota_has_room(&runs->quotas, run->quota, bytes))
        return false;
    quota_hold(&runs->quotas, run->quota, (ptrdiff_t)bytes);
    if (runs_memory(runs) > runs->limits.log_budget)
        evict(runs);
    return true;
}

void run_give_memory(struct run *run, size_t bytes)
{
    quota_hold(&run->runs->quotas, run->quota, -(ptrdiff_t)bytes);
}

/* ---- a run's way through the table ---- */

void runs_enter(struct runs *runs, struct run *run, const struct run_request *request)
{
    HASH_ADD(by_id, runs->by_id, identity.id, RUN_ID_LENGTH, run);
    run->quota = quota_open(&runs->quotas, request->client ? request->client : "");
    run->quota->live++;
    TAILQ_INSERT_TAIL(&run->quota->busy, run, in_quota);
    if (request->key) {
        run->key = make_key(request->subject, request->agent, request->key);
        memcpy(run->digest, request->digest, sizeof run->digest);
        tsearch(&run->key, &runs->by_key, compare_keys);
    }
    TAILQ_INSERT_TAIL(&runs->live, run, in_list);
    runs_note_change(runs, run);
    enter_thread(runs, run);
    runs->live_count++;
    account(runs, run);
}

void runs_retain(struct runs *runs, struct run *run)
{
    TAILQ_REMOVE(&runs->live, run, in_list);
    leave_thread(runs, run);
    runs->live_count--;
    run->quota->live--;
    run->ended_at = uv_now(runs->loop);
    run->is_retained = true;
    TAILQ_INSERT_TAIL(&runs->retained, run, in_list);
    runs_account(runs, run);
    evict(runs);
}

void runs_leave(struct runs *runs, struct run *run)
{
    TAILQ_REMOVE(&run->quota->busy, run, in_quota);
    quota_hold(&runs->quotas, run->quota, -(ptrdiff_t)run->memory);
    quota_close(&runs->quotas, run->quota);
}

size_t runs_live(const struct runs *runs)
{
    return runs->live_count;
}

unsigned runs_live_of(const struct runs *runs, const char *client)
{
    const struct quota *quota = quota_find(&runs->quotas, client);

    return quota ? quota->live : 0;
}

void runs_fail_all(struct runs *runs, enum run_error error)
{
    struct run *run;

    while ((run = TAILQ_FIRST(&runs->live)))
        run_abort(run, error, NULL);
}

/* ---- the table ---- */

struct runs *runs_create(uv_loop_t *loop, const struct runs_limits *limits)
{
    struct runs *runs = mem_alloc(sizeof *runs);

    runs->loop = loop;
    runs_set_limits(runs, limits);
    TAILQ_INIT(&runs->live);
    TAILQ_INIT(&runs->retained);
    uv_timer_init(loop, &runs->forget);
    uv_timer_init(loop, &runs->relief);
    runs->forget.data = runs->relief.data = runs;
    uv_timer_start(&runs->forget, on_forget, FORGET_PERIOD_MS, FORGET_PERIOD_MS);
    return runs;
}

uv_loop_t *runs_loop(const struct runs *runs)
{
    return runs->loop;
}

void runs_set_limits(struct runs *runs, const struct runs_limits *limits)
{
    runs->limits = *limits;
    runs->quotas.budget = limits->log_budget;
}

void runs_destroy(struct runs *runs)
{
    while (!TAILQ_EMPTY(&runs->retained))
        forget(runs, TAILQ_FIRST(&runs->retained));
    handles_close(&runs->handles, free, runs, &runs->forget, &runs->relief, NULL);
}
