/*
 * A seat is the right to have a worker. The seats are as many as the setting
 * `workers`, the processes may be more: a process that left its seat finishes
 * its runs beside its successor.
 *
 *     seat:  filled ──died──► pause ──restart timer──► filled
 *            filled ──retired──► filled at once; the old process drains
 *            filled ──stuck────► filled at once; the old process may answer again and has it
 *                                back, and its successor drains; else it is killed
 *
 * How a generation starts:
 *
 *   1. one seat exists and is filled: nobody knows yet how many are wanted;
 *   2. hello() tells the plugin's name, which the owner may refuse;
 *   3. generation_create() reads the plugin's settings and makes the other
 *      seats; the first worker calls create() and selftest();
 *   4. the first READY makes the generation serve; the other seats are filled.
 *
 * Settings and saved state are kept as text: a worker that takes a seat later is
 * created with the same as the first. A death before step 4 fails the whole
 * generation; nothing is tried twice.
 *
 * A spawn that fails counts as a death. It is told from the loop, by the seat's
 * timer, never from inside of the call that wanted the worker.
 */
#include "fleet/generation.h"

#include "base/handles.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "fleet/states.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The pause before the n-th restart in a row: none, then doubling up to the most. */
#define RESTART_FIRST_MS 100
#define RESTART_MOST_MS  10000

/* A worker that lived for this long died for a new reason. */
#define STABLE_MS 10000

/* Deaths of a seat in a row that make a crash loop. */
#define CRASH_LOOP 5

enum generation_state {
#define X(name, word) GENERATION_##name,
    GENERATION_STATES(X)
#undef X
};

struct seat {
    struct generation *generation;
    struct process *process; /* NULL between two */
    struct process *former;  /* that left it because it was stuck, and is; NULL for none */
    uv_timer_t restart;
    unsigned deaths; /* in a row */
};

struct generation {
    uv_loop_t *loop;
    struct image *image;
    uint64_t number;
    const struct config *config;
    struct output_rate *output;
    char *name, *version, *description, *mode;
    struct card card;
    unsigned threads;
    size_t stack;
    size_t memory_limit; /* 0: none */
    unsigned max_runs;   /* 0: no limit */
    char *settings;      /* JSON, for create() */
    struct confinement *confinement;
    char *state_json; /* for create(); NULL for none */
    enum generation_state state;
    struct seat **seats;
    unsigned seat_count;
    struct process **processes; /* all, oldest first */
    unsigned process_count;
    struct handles handles;
    unsigned restarts;
    char *reason;   /* of the last death; NULL if there was none */
    uint64_t since; /* ms of the loop's clock */
    const struct generation_handler *handler;
    void *data;
};

static void seat_fill(struct seat *seat);

/* Return the seat that the process sits on, or NULL if it may only finish its runs. */
static struct seat *generation_seat(const struct generation *generation,
                                    const struct process *process)
{
    for (unsigned i = 0; i < generation->seat_count; i++) {
        if (generation->seats[i]->process == process)
            return generation->seats[i];
    }
    return NULL;
}

/* Return the seat that the process left because it was stuck, or NULL. */
static struct seat *generation_former_seat(const struct generation *generation,
                                           const struct process *process)
{
    for (unsigned i = 0; i < generation->seat_count; i++) {
        if (generation->seats[i]->former == process)
            return generation->seats[i];
    }
    return NULL;
}

static bool generation_serves(const struct generation *generation)
{
    return generation->state == GENERATION_serving || generation->state == GENERATION_crash_loop;
}

/* ---- closing ---- */

static void on_seats_closed(void *owner)
{
    struct generation *generation = owner;

    for (unsigned i = 0; i < generation->seat_count; i++)
        free(generation->seats[i]);
    image_unref(generation->image);
    free(generation->name);
    free(generation->version);
    free(generation->description);
    free(generation->mode);
    card_finish(&generation->card);
    free(generation->settings);
    confinement_destroy(generation->confinement);
    free(generation->state_json);
    free(generation->reason);
    free(generation->processes);
    free(generation->seats);
    free(generation);
}

/* Close if no worker is left and none will come. */
static void generation_check_closed(struct generation *generation)
{
    if (generation->state != GENERATION_draining || generation->process_count > 0)
        return;
    generation->handler->closed(generation->data, generation);
    for (unsigned i = 0; i < generation->seat_count; i++)
        handles_close(&generation->handles, on_seats_closed, generation,
                      &generation->seats[i]->restart, NULL);
}

/* Fill no seat from now on. */
static void generation_stop_seats(struct generation *generation)
{
    generation->state = GENERATION_draining;
    for (unsigned i = 0; i < generation->seat_count; i++)
        uv_timer_stop(&generation->seats[i]->restart);
}

static uint64_t drain_ms(const struct generation *generation)
{
    unsigned timeout = generation->config->drain_timeout;

    return timeout == 0 ? NEVER : timeout * UINT64_C(1000);
}

void generation_drain(struct generation *generation)
{
    generation_stop_seats(generation);
    for (unsigned i = 0; i < generation->process_count; i++)
        process_drain(generation->processes[i], drain_ms(generation));
    generation_check_closed(generation);
}

void generation_quit(struct generation *generation)
{
    generation_stop_seats(generation);
    for (unsigned i = 0; i < generation->process_count; i++)
        process_quit(generation->processes[i], PROCESS_QUIT_MS);
    generation_check_closed(generation);
}

static void generation_fail(struct generation *generation, const char *reason)
{
    generation_stop_seats(generation);
    generation->handler->failed(generation->data, generation, reason);
}

/* ---- deaths ---- */

/* Return true if every seat has had CRASH_LOOP deaths and no worker is ready. */
static bool generation_is_crashing(const struct generation *generation)
{
    for (unsigned i = 0; i < generation->seat_count; i++) {
        const struct seat *seat = generation->seats[i];
        if (seat->deaths < CRASH_LOOP || (seat->process && process_is_ready(seat->process)))
            return false;
    }
    return true;
}

static void on_restart_time(uv_timer_t *timer)
{
    seat_fill(timer->data);
}

/* Fill the seat again after a death, once its pause is over. */
static void seat_restart(struct seat *seat, const char *reason)
{
    struct generation *generation = seat->generation;
    unsigned deaths = ++seat->deaths;
    uint64_t pause = 0;

    if (deaths > 1)
        pause = (uint64_t)RESTART_FIRST_MS << (deaths < 12 ? deaths - 2 : 10);
    if (pause > RESTART_MOST_MS)
        pause = RESTART_MOST_MS;
    generation->restarts++;
    mem_set(&generation->reason, reason);
    uv_timer_start(&seat->restart, on_restart_time, pause, 0);
    if (deaths == CRASH_LOOP)
        log_error("crash loop: %s plugin=%s generation=%" PRIu64, reason, generation->name,
                  generation->number);
    if (generation_is_crashing(generation)) {
        generation->state = GENERATION_crash_loop;
        generation->handler->crashing(generation->data, generation, generation->reason);
    }
}

/* Note how long the process of this seat lived. */
static void seat_leave(struct seat *seat)
{
    if (process_age_ms(seat->process) > STABLE_MS)
        seat->deaths = 0;
    seat->process = NULL;
}

static void on_gone(void *data, struct process *process, const char *reason, bool was_told)
{
    struct generation *generation = data;
    struct seat *seat = generation_seat(generation, process), *former_seat;
    unsigned at = 0;

    while (generation->processes[at] != process)
        at++;
    generation->process_count--;
    memmove(&generation->processes[at], &generation->processes[at + 1],
            (generation->process_count - at) * sizeof *generation->processes);
    if (seat)
        seat_leave(seat);
    if ((former_seat = generation_former_seat(generation, process)))
        former_seat->former = NULL;
    if (generation->state == GENERATION_starting)
        generation_fail(generation, reason);
    else if (seat && generation_serves(generation) && !was_told)
        seat_restart(seat, reason);
    generation_check_closed(generation);
}

/* ---- workers that leave their seat ---- */

/* Fill the seat of the process with another one. Return it, or NULL if it has none. */
static struct seat *generation_replace(struct generation *generation, struct process *process,
                                       const char *why)
{
    struct seat *seat = generation_seat(generation, process);

    if (seat == NULL || !generation_serves(generation))
        return NULL;
    log_info("worker replaced: %s plugin=%s generation=%" PRIu64 " pid=%d runs=%zu", why,
             generation->name, generation->number, process_pid(process), process_live(process));
    seat_leave(seat);
    generation->restarts++;
    seat_fill(seat);
    return seat;
}

static void generation_drain_process(const struct generation *generation, struct process *process)
{
    process_drain(process, drain_ms(generation));
}

/* Let the process finish its runs while another one takes its seat. */
static void generation_retire(struct generation *generation, struct process *process,
                              const char *why)
{
    if (generation_replace(generation, process, why))
        generation_drain_process(generation, process);
}

static void on_stuck(void *data, struct process *process)
{
    struct generation *generation = data;
    struct seat *seat;

    mem_set(&generation->reason, "a worker was stuck: its loop did not answer");
    seat = generation_replace(generation, process, "it is stuck");
    if (seat && seat->former) /* two of one seat are stuck: only the last may have it back */
        generation_drain_process(generation, seat->former);
    if (seat)
        seat->former = process;
}

static void on_answered(void *data, struct process *process)
{
    struct generation *generation = data;
    struct seat *seat = generation_former_seat(generation, process);
    struct process *other;

    if (seat == NULL)
        return;
    seat->former = NULL;
    if (!generation_serves(generation) || !process_is_ready(process))
        return;
    other = seat->process;
    uv_timer_stop(&seat->restart);
    seat->process = process;
    generation->state = GENERATION_serving;
    if (other)
        generation_drain_process(generation, other);
    log_info("worker has its seat back plugin=%s generation=%" PRIu64 " pid=%d runs=%zu",
             generation->name, generation->number, process_pid(process), process_live(process));
    generation->handler->ready(generation->data, generation);
}

static void on_ignored(void *data, struct process *process)
{
    generation_retire(data, process, "an agent ignores that its run was cancelled");
}

static void on_freed(void *data, struct process *process)
{
    struct generation *generation = data;

    (void)process;
    generation->handler->room(generation->data, generation);
}

static void on_pinged(void *data, struct process *process)
{
    struct generation *generation = data;
    size_t memory = process_memory(process), limit = generation->memory_limit;

    if (process_has_room(process) && generation_seat(generation, process))
        generation->handler->room(generation->data, generation);
    if (limit == 0 || memory <= limit)
        return;
    if (memory / 2 > limit)
        process_kill(process, RUN_ERROR_memory_limit,
                     "killed because it used twice its memory_limit");
    else
        generation_retire(generation, process, "it is over its memory_limit");
}

/* ---- starting ---- */

static void generation_create_in(const struct generation *generation, struct process *process)
{
    struct process_setup setup = {.threads = generation->threads,
                                  .stack = generation->stack,
                                  .config = generation->settings,
                                  .state = generation->state_json};

    process_create(process, &setup);
}

/* Return true if the plugin of this name is to be confined as the generation is. */
static bool generation_is_confined(const struct generation *generation, const struct config *config,
                                   const char *name)
{
    struct confinement *wanted = confinement_create(config_plugin(config, name),
                                                    image_file(generation->image), config->debug);
    const struct buf *a = confinement_pairs(wanted),
                     *b = confinement_pairs(generation->confinement);
    bool same = buf_length(a) == buf_length(b) && !memcmp(buf_data(a), buf_data(b), buf_length(a));

    confinement_destroy(wanted);
    return same;
}

static void on_hello(void *data, struct process *process, const struct process_hello *hello)
{
    struct generation *generation = data;

    if (generation->name) { /* a later worker of the same plugin */
        generation_create_in(generation, process);
        return;
    }
    if (!generation_is_confined(generation, generation->config, hello->name)) {
        char *reason =
            mem_printf("%s: its plugin is called '%s', and [plugin %s] says what it may reach "
                       "(env, user, sandbox, limits), "
                       "which counts before a file is loaded; name the file %s.so",
                       image_file(generation->image), hello->name, hello->name, hello->name);
        process_refuse(process, reason);
        free(reason);
        return;
    }
    generation->name = mem_strdup(hello->name);
    generation->version = mem_strdup(hello->version);
    generation->description = mem_strdup(hello->description);
    generation->mode = mem_strdup(hello->mode);
    generation->card = *hello->card;
    *hello->card = (struct card){0};
    generation->handler->hello(generation->data, generation, hello);
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

void generation_create(struct generation *generation, const char *state)
{
    const struct config_plugin *plugin = config_plugin(generation->config, generation->name);

    generation->threads = plugin->threads;
    generation->stack = plugin->stack;
    generation->memory_limit = plugin->memory_limit;
    generation->max_runs = plugin->max_runs;
    generation->settings = config_plugin_json(generation->config, generation->name);
    while (generation->seat_count < plugin->workers)
        generation_add_seat(generation);
    if (state)
        generation->state_json = mem_strdup(state);
    if (generation->seats[0]->process)
        generation_create_in(generation, generation->seats[0]->process);
}

void generation_refuse(struct generation *generation, const char *reason)
{
    if (generation->seats[0]->process)
        process_refuse(generation->seats[0]->process, reason);
}

static void on_ready(void *data, struct process *process)
{
    struct generation *generation = data;
    bool is_first = generation->state == GENERATION_starting;

    log_info("worker ready plugin=%s version=%s generation=%" PRIu64 " mode=%s pid=%d file=%s",
             generation->name, generation->version, generation->number, generation->mode,
             process_pid(process), image_file(generation->image));
    if (generation->state == GENERATION_draining)
        return;
    generation->state = GENERATION_serving;
    for (unsigned i = 1; is_first && i < generation->seat_count; i++)
        seat_fill(generation->seats[i]);
    generation->handler->ready(generation->data, generation);
}

static void on_saved(void *data, struct process *process, const char *state)
{
    struct generation *generation = data;

    (void)process;
    generation->handler->saved(generation->data, generation, state);
}

static void on_spawn_failed(uv_timer_t *timer)
{
    struct seat *seat = timer->data;
    struct generation *generation = seat->generation;
    char *reason = mem_strdup(generation->reason);

    if (generation->state == GENERATION_starting)
        generation_fail(generation, reason);
    else if (generation_serves(generation))
        seat_restart(seat, reason);
    free(reason);
    generation_check_closed(generation);
}

static void seat_fill(struct seat *seat)
{
    static const struct process_handler handler = {.hello = on_hello,
                                                   .ready = on_ready,
                                                   .saved = on_saved,
                                                   .stuck = on_stuck,
                                                   .answered = on_answered,
                                                   .freed = on_freed,
                                                   .ignored = on_ignored,
                                                   .pinged = on_pinged,
                                                   .gone = on_gone};
    struct generation *generation = seat->generation;
    struct process_spec spec = {.image = generation->image,
                                .generation = generation->number,
                                .confinement = generation->confinement,
                                .output = generation->output,
                                .start_timeout = generation->config->start_timeout,
                                .stuck_timeout = generation->config->stuck_timeout};
    unsigned count = generation->process_count + 1;
    int status = process_spawn(generation->loop, &spec, &handler, generation, &seat->process);

    if (status < 0) {
        free(generation->reason);
        generation->reason = mem_printf("cannot start a worker: %s", uv_strerror(status));
        uv_timer_start(&seat->restart, on_spawn_failed, 0, 0);
        return;
    }
    generation->processes =
        mem_realloc(generation->processes, count * sizeof *generation->processes);
    generation->processes[generation->process_count++] = seat->process;
}

struct generation *generation_start(uv_loop_t *loop, const struct generation_spec *spec,
                                    const struct generation_handler *handler, void *data)
{
    struct generation *generation = mem_alloc(sizeof *generation);

    generation->loop = loop;
    generation->image = image_ref(spec->image);
    generation->number = spec->number;
    generation->config = spec->config;
    generation->output = spec->output;
    generation->handler = handler;
    generation->data = data;
    generation->since = uv_now(loop);
    generation->confinement =
        confinement_create(confinement_section(spec->config, image_file(spec->image)),
                           image_file(spec->image), spec->config->debug);
    generation_add_seat(generation);
    seat_fill(generation->seats[0]);
    return generation;
}

/* ---- runs ---- */

bool generation_take(struct generation *generation, struct run *run)
{
    struct run_agent agent = {
        .name = generation->name, .version = generation->version, .generation = generation->number};
    struct process *best = NULL;

    if (!generation_serves(generation))
        return false;
    for (unsigned i = 0; i < generation->seat_count; i++) {
        struct process *process = generation->seats[i]->process;
        if (process && process_has_room(process) &&
            (best == NULL || process_live(process) < process_live(best)))
            best = process;
    }
    if (best == NULL)
        return false;
    process_start(best, run, &agent);
    if (generation->max_runs > 0 && process_started(best) >= generation->max_runs)
        generation_retire(generation, best, "it has had its max_runs");
    return true;
}

bool generation_save_state(struct generation *generation)
{
    for (unsigned i = 0; i < generation->process_count; i++) {
        if (process_has_room(generation->processes[i])) {
            process_save_state(generation->processes[i]);
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

const struct card *generation_card(const struct generation *generation)
{
    return &generation->card;
}

uint64_t generation_number(const struct generation *generation)
{
    return generation->number;
}

bool generation_is_configured(const struct generation *generation, const struct config *config)
{
    const struct config_plugin *plugin = config_plugin(config, generation->name);
    char *settings = config_plugin_json(config, generation->name);
    bool same =
        generation_is_confined(generation, config, generation->name) &&
        strcmp(settings, generation->settings) == 0 && plugin->threads == generation->threads &&
        plugin->stack == generation->stack && plugin->memory_limit == generation->memory_limit &&
        plugin->max_runs == generation->max_runs && plugin->workers == generation->seat_count;

    free(settings);
    return same;
}

size_t generation_live(const struct generation *generation)
{
    size_t live = 0;

    for (unsigned i = 0; i < generation->process_count; i++)
        live += process_live(generation->processes[i]);
    return live;
}

const struct process *generation_process(const struct generation *generation, unsigned index)
{
    assert(index < generation->process_count);
    return generation->processes[index];
}

bool generation_has_process(const struct generation *generation, int pid)
{
    for (unsigned i = 0; i < generation->process_count; i++) {
        if (process_pid(generation->processes[i]) == pid)
            return true;
    }
    return false;
}

void generation_snapshot(const struct generation *generation, struct generation_snapshot *out)
{
    static const char *const words[] = {
#define X(name, word) word,
        GENERATION_STATES(X)
#undef X
    };

    *out = (struct generation_snapshot){
        .number = generation->number,
        .name = generation->name,
        .version = generation->version,
        .description = generation->description,
        .mode = generation->mode,
        .state = words[generation->state],
        .reason = generation->reason,
        .restarts = generation->restarts,
        .age_ms = uv_now(generation->loop) - generation->since,
        .processes = generation->process_count,
    };
    for (unsigned i = 0; i < generation->process_count; i++) {
        struct process_snapshot process;
        process_snapshot(generation->processes[i], &process);
        out->live_runs += process.live_runs;
        out->stray_emits += process.stray_emits;
        out->refused_calls += process.refused_calls;
    }
}
