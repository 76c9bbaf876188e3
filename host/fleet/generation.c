#include "fleet/generation.h"

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The pause before the n-th restart in a row: none, then doubling up to the most. */
#define RESTART_FIRST_MS 100
#define RESTART_MOST_MS  10000

/* A worker that lived so long died for a new reason. */
#define STABLE_MS 10000

#define CRASH_LOOP 5

struct worker {
    struct generation *generation;
    struct seat *seat; /* NULL: it may only finish its runs */
    struct process *process;
    uint64_t since;                    /* ms of the loop's clock */
    TAILQ_ENTRY(worker) in_generation; /* in generation->workers */
};

struct seat {
    struct generation *generation;
    struct worker *worker; /* NULL between two */
    uv_timer_t restart;
    unsigned deaths; /* in a row */
};

struct generation {
    uv_loop_t *loop;
    struct image *image;
    uint64_t number;
    const struct config *config;
    char *name, *version, *description, *mode;
    unsigned threads;
    size_t stack;
    size_t memory_limit; /* 0: none */
    unsigned max_runs;   /* 0: no limit */
    char *settings;      /* JSON, for create() */
    char *state_json;    /* for create(); NULL for none */
    enum { STARTING, SERVING, DRAINING } state;
    struct seat **seats; /* the first alone until it is known how many are wanted */
    unsigned seat_count;
    unsigned closing; /* seats */
    TAILQ_HEAD(, worker) workers;
    unsigned restarts;
    char *reason;   /* of the last death; NULL if there was none */
    uint64_t since; /* ms of the loop's clock */
    const struct generation_handler *handler;
    void *data;
};

static void seat_fill(struct seat *seat);

/* ---- closing ---- */

static void on_seat_closed(uv_handle_t *handle)
{
    struct seat *seat = handle->data;
    struct generation *generation = seat->generation;

    free(seat);
    if (--generation->closing > 0)
        return;
    image_unref(generation->image);
    free(generation->name);
    free(generation->version);
    free(generation->description);
    free(generation->mode);
    free(generation->settings);
    free(generation->state_json);
    free(generation->reason);
    free(generation->seats);
    free(generation);
}

/* When it has no worker and will have none. */
static void generation_check_closed(struct generation *generation)
{
    if (generation->state != DRAINING || !TAILQ_EMPTY(&generation->workers))
        return;
    generation->handler->closed(generation->data);
    generation->closing = generation->seat_count;
    for (unsigned i = 0; i < generation->seat_count; i++)
        uv_close((uv_handle_t *)&generation->seats[i]->restart, on_seat_closed);
}

static void generation_stop_seats(struct generation *generation)
{
    generation->state = DRAINING;
    for (unsigned i = 0; i < generation->seat_count; i++)
        uv_timer_stop(&generation->seats[i]->restart);
}

void generation_drain(struct generation *generation, uint64_t timeout_ms)
{
    struct worker *worker;

    generation_stop_seats(generation);
    TAILQ_FOREACH(worker, &generation->workers, in_generation)
        process_drain(worker->process, timeout_ms);
    generation_check_closed(generation);
}

void generation_quit(struct generation *generation, uint64_t timeout_ms)
{
    struct worker *worker;

    generation_stop_seats(generation);
    TAILQ_FOREACH(worker, &generation->workers, in_generation)
        process_quit(worker->process, timeout_ms);
    generation_check_closed(generation);
}

/* ---- deaths ---- */

bool generation_is_crashing(const struct generation *generation)
{
    for (unsigned i = 0; i < generation->seat_count; i++) {
        const struct seat *seat = generation->seats[i];
        if (seat->deaths < CRASH_LOOP || (seat->worker && process_is_ready(seat->worker->process)))
            return false;
    }
    return true;
}

static uint64_t restart_pause(unsigned deaths)
{
    uint64_t pause = deaths > 1 ? (uint64_t)RESTART_FIRST_MS << (deaths < 12 ? deaths - 2 : 10) : 0;

    return pause < RESTART_MOST_MS ? pause : RESTART_MOST_MS;
}

static void on_restart_time(uv_timer_t *timer)
{
    seat_fill(timer->data);
}

static void seat_restart(struct seat *seat, const char *reason)
{
    struct generation *generation = seat->generation;

    seat->deaths++;
    generation->restarts++;
    mem_set(&generation->reason, reason);
    uv_timer_start(&seat->restart, on_restart_time, restart_pause(seat->deaths), 0);
    if (seat->deaths == CRASH_LOOP)
        log_error("a plugin is in a crash loop: %s plugin=%s generation=%llu", reason,
                  generation->name, (unsigned long long)generation->number);
    if (generation_is_crashing(generation))
        generation->handler->crashing(generation->data, generation->reason);
}

static void generation_fail(struct generation *generation, const char *reason)
{
    generation_stop_seats(generation);
    generation->handler->failed(generation->data, reason);
}

static void on_gone(void *data, const char *reason, bool was_told)
{
    struct worker *worker = data;
    struct generation *generation = worker->generation;
    struct seat *seat = worker->seat;

    TAILQ_REMOVE(&generation->workers, worker, in_generation);
    if (seat && uv_now(generation->loop) - worker->since > STABLE_MS)
        seat->deaths = 0;
    free(worker);
    if (seat)
        seat->worker = NULL;
    if (generation->state == STARTING)
        generation_fail(generation, reason);
    else if (seat && generation->state == SERVING && !was_told)
        seat_restart(seat, reason);
    generation_check_closed(generation);
}

/* ---- workers that leave their seat ---- */

/* It finishes its runs while another one takes its place. */
static void worker_retire(struct worker *worker, const char *why)
{
    struct generation *generation = worker->generation;
    struct seat *seat = worker->seat;

    if (seat == NULL || generation->state != SERVING)
        return;
    log_info("a worker is replaced: %s plugin=%s generation=%llu pid=%d runs=%zu", why,
             generation->name, (unsigned long long)generation->number, process_pid(worker->process),
             process_live(worker->process));
    if (uv_now(generation->loop) - worker->since > STABLE_MS)
        seat->deaths = 0;
    worker->seat = NULL;
    seat->worker = NULL;
    generation->restarts++;
    seat_fill(seat);
    process_drain(worker->process, generation->config->drain_timeout * UINT64_C(1000));
}

static void on_stuck(void *data)
{
    struct worker *worker = data;
    uint64_t more = worker->generation->config->stuck_timeout * UINT64_C(1000);

    mem_set(&worker->generation->reason, "a worker was stuck: its loop did not answer");
    worker_retire(worker, "it is stuck");
    process_drain(worker->process, more);
}

static void on_freed(void *data)
{
    const struct worker *worker = data;

    worker->generation->handler->ready(worker->generation->data); /* runs may wait for that */
}

static void on_ignored(void *data)
{
    worker_retire(data, "an agent ignores that its run was cancelled");
}

static void on_pinged(void *data)
{
    struct worker *worker = data;
    struct generation *generation = worker->generation;
    size_t memory = process_memory(worker->process), limit = generation->memory_limit;

    if (worker->seat && process_has_room(worker->process))
        generation->handler->ready(generation->data); /* runs may wait for that */
    if (limit == 0 || memory <= limit)
        return;
    if (memory / 2 > limit)
        process_kill(worker->process, RUN_ERROR_memory_limit,
                     "killed because it used twice its memory_limit");
    else
        worker_retire(worker, "it is over its memory_limit");
}

/* ---- starting ---- */

static void worker_create(struct worker *worker)
{
    const struct generation *generation = worker->generation;
    struct process_setup setup = {.threads = generation->threads,
                                  .stack = generation->stack,
                                  .config = generation->settings,
                                  .state = generation->state_json};

    process_create(worker->process, &setup);
}

static void on_hello(void *data, const struct process_hello *hello)
{
    struct worker *worker = data;
    struct generation *generation = worker->generation;

    if (generation->name) { /* a later worker of what is known already */
        worker_create(worker);
        return;
    }
    generation->name = mem_strdup(hello->name);
    generation->version = mem_strdup(hello->version);
    generation->description = mem_strdup(hello->description);
    generation->mode = mem_strdup(hello->mode);
    generation->handler->hello(generation->data, hello);
}

static void generation_add_seat(struct generation *generation)
{
    struct seat *seat = mem_alloc(sizeof *seat);
    unsigned count = generation->seat_count + 1;

    seat->generation = generation;
    uv_timer_init(generation->loop, &seat->restart);
    seat->restart.data = seat;
    generation->seats = mem_realloc(generation->seats, count * sizeof *generation->seats);
    generation->seats[generation->seat_count++] = seat;
}

static void generation_configure(struct generation *generation)
{
    const struct config_plugin *plugin = config_plugin(generation->config, generation->name);

    generation->threads = plugin->threads;
    generation->stack = plugin->stack;
    generation->memory_limit = plugin->memory_limit;
    generation->max_runs = plugin->max_runs;
    generation->settings = config_plugin_json(generation->config, generation->name);
    while (generation->seat_count < plugin->workers)
        generation_add_seat(generation);
}

void generation_create(struct generation *generation, const char *state)
{
    generation_configure(generation);
    if (state)
        generation->state_json = mem_strdup(state);
    if (generation->seats[0]->worker)
        worker_create(generation->seats[0]->worker);
}

void generation_refuse(struct generation *generation, const char *reason)
{
    if (generation->seats[0]->worker)
        process_refuse(generation->seats[0]->worker->process, reason);
}

static void on_ready(void *data)
{
    struct worker *worker = data;
    struct generation *generation = worker->generation;

    worker->since = uv_now(generation->loop);
    log_info("a worker serves plugin=%s version=%s generation=%llu mode=%s pid=%d file=%s",
             generation->name, generation->version, (unsigned long long)generation->number,
             generation->mode, process_pid(worker->process), image_file(generation->image));
    if (generation->state == STARTING) {
        generation->state = SERVING;
        for (unsigned i = 1; i < generation->seat_count; i++)
            seat_fill(generation->seats[i]);
    }
    if (generation->state == SERVING)
        generation->handler->ready(generation->data);
}

static void on_saved(void *data, const char *state)
{
    struct worker *worker = data;

    worker->generation->handler->saved(worker->generation->data, state);
}

static int worker_spawn(struct seat *seat, struct worker *worker)
{
    static const struct process_handler handler = {.hello = on_hello,
                                                   .ready = on_ready,
                                                   .saved = on_saved,
                                                   .stuck = on_stuck,
                                                   .freed = on_freed,
                                                   .ignored = on_ignored,
                                                   .pinged = on_pinged,
                                                   .gone = on_gone};
    struct generation *generation = seat->generation;
    struct process_spec spec = {.image = generation->image,
                                .generation = generation->number,
                                .start_timeout = generation->config->start_timeout,
                                .stuck_timeout = generation->config->stuck_timeout};

    worker->generation = generation;
    worker->seat = seat;
    worker->since = uv_now(generation->loop);
    seat->worker = worker;
    TAILQ_INSERT_TAIL(&generation->workers, worker, in_generation);
    return process_spawn(generation->loop, &spec, &handler, worker, &worker->process);
}

/* The end of a worker that never was; never inside of the call that wanted it. */
static void on_spawn_failed(uv_timer_t *timer)
{
    struct seat *seat = timer->data;
    struct generation *generation = seat->generation;
    char reason[256];

    snprintf(reason, sizeof reason, "%s", generation->reason);
    if (generation->state == STARTING)
        generation_fail(generation, reason);
    else if (generation->state == SERVING)
        seat_restart(seat, reason);
    generation_check_closed(generation);
}

static void seat_fill(struct seat *seat)
{
    struct generation *generation = seat->generation;
    struct worker *worker = mem_alloc(sizeof *worker);
    int status = worker_spawn(seat, worker);
    char reason[128];

    if (status == 0)
        return;
    TAILQ_REMOVE(&generation->workers, worker, in_generation);
    seat->worker = NULL;
    free(worker);
    snprintf(reason, sizeof reason, "a worker cannot be started: %s", uv_strerror(status));
    mem_set(&generation->reason, reason);
    uv_timer_start(&seat->restart, on_spawn_failed, 0, 0);
}

struct generation *generation_start(uv_loop_t *loop, const struct generation_spec *spec,
                                    const struct generation_handler *handler, void *data)
{
    struct generation *generation = mem_alloc(sizeof *generation);

    generation->loop = loop;
    generation->image = image_ref(spec->image);
    generation->number = spec->number;
    generation->config = spec->config;
    generation->handler = handler;
    generation->data = data;
    generation->since = uv_now(loop);
    TAILQ_INIT(&generation->workers);
    generation_add_seat(generation);
    seat_fill(generation->seats[0]);
    return generation;
}

/* ---- runs ---- */

bool generation_take(struct generation *generation, struct run *run)
{
    struct run_agent agent = {
        .name = generation->name, .version = generation->version, .generation = generation->number};
    struct worker *worker, *best = NULL;

    TAILQ_FOREACH(worker, &generation->workers, in_generation) {
        if (worker->seat && process_has_room(worker->process) &&
            (best == NULL || process_live(worker->process) < process_live(best->process)))
            best = worker;
    }
    if (best == NULL || generation->state != SERVING)
        return false;
    process_start(best->process, run, &agent);
    if (generation->max_runs > 0 && process_started(best->process) >= generation->max_runs)
        worker_retire(best, "it has had its max_runs");
    return true;
}

bool generation_save_state(struct generation *generation)
{
    struct worker *worker;

    TAILQ_FOREACH(worker, &generation->workers, in_generation) {
        if (process_has_room(worker->process)) {
            process_save_state(worker->process);
            return true;
        }
    }
    return false;
}

/* ---- what is known ---- */

struct image *generation_image(const struct generation *generation)
{
    return generation->image;
}

uint64_t generation_number(const struct generation *generation)
{
    return generation->number;
}

const char *generation_version(const struct generation *generation)
{
    return generation->version;
}

bool generation_is_configured(const struct generation *generation, const struct config *config)
{
    const struct config_plugin *plugin = config_plugin(config, generation->name);
    char *settings = config_plugin_json(config, generation->name);
    bool same =
        strcmp(settings, generation->settings) == 0 && plugin->threads == generation->threads &&
        plugin->stack == generation->stack && plugin->memory_limit == generation->memory_limit &&
        plugin->max_runs == generation->max_runs && plugin->workers == generation->seat_count;

    free(settings);
    return same;
}

size_t generation_live(const struct generation *generation)
{
    const struct worker *worker;
    size_t live = 0;

    TAILQ_FOREACH(worker, &generation->workers, in_generation)
        live += process_live(worker->process);
    return live;
}

static uint64_t generation_stray_emits(const struct generation *generation)
{
    const struct worker *worker;
    uint64_t stray = 0;

    TAILQ_FOREACH(worker, &generation->workers, in_generation)
        stray += process_stray_emits(worker->process);
    return stray;
}

void generation_describe(const struct generation *generation, struct buf *json)
{
    json_append_member(json, "version", generation->version);
    buf_printf(json, ",\"generation\":%llu", (unsigned long long)generation->number);
    json_append_member(json, "description", generation->description);
    json_append_member(json, "mode", generation->mode);
    buf_printf(json, ",\"live_runs\":%zu,\"stray_emits\":%llu", generation_live(generation),
               (unsigned long long)generation_stray_emits(generation));
}

static void report_worker(const struct worker *worker, struct buf *json)
{
    uint64_t age = uv_now(worker->generation->loop) - worker->since;

    buf_printf(json,
               "{\"pid\":%d,\"state\":\"%s\",\"live_runs\":%zu,\"started_runs\":%llu,"
               "\"memory\":%zu,\"age_s\":%llu}",
               process_pid(worker->process), process_state(worker->process),
               process_live(worker->process), (unsigned long long)process_started(worker->process),
               process_memory(worker->process), (unsigned long long)(age / 1000));
}

void generation_report(const struct generation *generation, struct buf *json)
{
    static const char *const states[] = {"starting", "serving", "draining"};
    const struct worker *worker;
    const char *comma = "";

    buf_printf(json, "{\"generation\":%llu", (unsigned long long)generation->number);
    json_append_member(json, "version", generation->version);
    json_append_member(json, "mode", generation->mode);
    json_append_member(json, "state",
                       generation_is_crashing(generation) ? "crash-loop"
                                                          : states[generation->state]);
    json_append_member(json, "reason", generation->reason);
    buf_printf(json, ",\"restarts\":%u,\"age_s\":%llu,\"workers\":[", generation->restarts,
               (unsigned long long)((uv_now(generation->loop) - generation->since) / 1000));
    TAILQ_FOREACH(worker, &generation->workers, in_generation) {
        buf_puts(json, comma);
        report_worker(worker, json);
        comma = ",";
    }
    buf_puts(json, "]}");
}
