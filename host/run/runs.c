/*
 * A run is in one list: live until it ends, then retained, oldest first, until it
 * is forgotten. The table has a reference to it as long. Who reads a forgotten
 * run reads on: it only can no longer be found.
 *
 *     runs_enter ──► live ── runs_retain ──► retained ── forget ──► gone
 *                                               retention over (on_forget),
 *                                               or too much memory (evict)
 *
 * Memory. Each run is charged RUN_SIZE, its log's memory and its START's variables
 * (account), which changes with each event. When an event makes the sum too
 * large, ended runs are forgotten at once. Live runs are made smaller only when a
 * new run asks for room (runs_make_room), and when they emit or get a reader: then
 * their history is cut to today's fair share, which is smaller the more runs are
 * live. A run that is being read is never forgotten for memory.
 */
#include "run/inside.h"

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

#define FORGET_PERIOD_MS 1000

/* Random bytes of an id, and how many are asked for at once: up to 256 never come short. */
#define ID_BYTES     16
#define RANDOM_BYTES 256

TAILQ_HEAD(run_list, run);

struct runs {
    uv_loop_t *loop;
    uv_timer_t forget;
    struct runs_limits limits;
    struct run *by_id; /* uthash */
    void *by_key;      /* of tsearch(): whatever keys clients choose, it stays balanced */
    unsigned char random[RANDOM_BYTES];
    size_t random_left;
    struct quotas quotas;
    struct run_list live;
    struct run_list retained; /* oldest first */
    size_t live_count;
    size_t memory;
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

/* ---- memory ---- */

static void forget(struct runs *runs, struct run *run)
{
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
        forget(runs, run);
}

/* Forget the oldest ended runs that nobody reads while all take as much as the budget. */
static void evict(struct runs *runs)
{
    struct run *run, *next;

    for (run = TAILQ_FIRST(&runs->retained); run && runs->memory >= runs->limits.log_budget;
         run = next) {
        next = TAILQ_NEXT(run, in_list);
        if (TAILQ_EMPTY(&run->subscribers))
            forget(runs, run);
    }
}

static void account(struct runs *runs, struct run *run)
{
    size_t memory = RUN_SIZE + eventlog_memory(run->log) + buf_length(&run->pairs);

    runs->memory += memory - run->memory;
    run->memory = memory;
}

/* Return how many bytes of history a live run may keep. */
static size_t fair_share(const struct runs *runs)
{
    size_t share = runs->limits.log_budget / RING_EXCESS / (runs->live_count + 1);

    if (share < RUN_SHARE_LEAST)
        share = RUN_SHARE_LEAST;
    return share < runs->limits.log_size ? share : runs->limits.log_size;
}

/* Cut the run's history to its fair share. */
static void cut(struct runs *runs, struct run *run, uint64_t upto)
{
    uint64_t read = readers_upto(run)->at;

    eventlog_drop(run->log, fair_share(runs), read < upto ? read : upto);
    account(runs, run);
}

void runs_drop(struct runs *runs, struct run *run, uint64_t upto)
{
    cut(runs, run, upto);
    if (runs->memory > runs->limits.log_budget)
        evict(runs);
}

bool runs_make_room(struct runs *runs)
{
    struct run *run;

    if (runs->memory >= runs->limits.log_budget) {
        TAILQ_FOREACH(run, &runs->live, in_list)
            cut(runs, run, run->log->end.at);
    }
    evict(runs);
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

size_t runs_memory(const struct runs *runs)
{
    return runs->memory;
}

/* ---- a run's way through the table ---- */

void runs_enter(struct runs *runs, struct run *run, const struct run_request *request)
{
    HASH_ADD(by_id, runs->by_id, identity.id, RUN_ID_LENGTH, run);
    if (request->client)
        run->quota = quota_take(&runs->quotas, request->client);
    if (request->key) {
        run->key = make_key(request->subject, request->agent, request->key);
        memcpy(run->digest, request->digest, sizeof run->digest);
        tsearch(&run->key, &runs->by_key, compare_keys);
    }
    TAILQ_INSERT_TAIL(&runs->live, run, in_list);
    runs->live_count++;
    account(runs, run);
}

void runs_retain(struct runs *runs, struct run *run)
{
    TAILQ_REMOVE(&runs->live, run, in_list);
    runs->live_count--;
    quota_give_back(&runs->quotas, run->quota);
    run->quota = NULL;
    run->ended_at = uv_now(runs->loop);
    TAILQ_INSERT_TAIL(&runs->retained, run, in_list);
    evict(runs);
}

void runs_leave(struct runs *runs, const struct run *run)
{
    runs->memory -= run->memory;
}

size_t runs_live(const struct runs *runs)
{
    return runs->live_count;
}

unsigned runs_live_of(const struct runs *runs, const char *client)
{
    return quotas_live(&runs->quotas, client);
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
    runs->limits = *limits;
    TAILQ_INIT(&runs->live);
    TAILQ_INIT(&runs->retained);
    uv_timer_init(loop, &runs->forget);
    runs->forget.data = runs;
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
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void runs_destroy(struct runs *runs)
{
    while (!TAILQ_EMPTY(&runs->retained))
        forget(runs, TAILQ_FIRST(&runs->retained));
    uv_close((uv_handle_t *)&runs->forget, on_closed);
}
