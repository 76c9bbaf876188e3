#include "front/registry.h"

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "front/process.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUIT_TIMEOUT_MS 2000

/* The pause before the n-th restart in a row, from 0, doubling, to the most. */
#define RESTART_FIRST_MS 100
#define RESTART_MOST_MS 10000

/* A worker that lived so long died for a new reason. */
#define STABLE_MS 30000

/* state, may take runs */
#define PLUGIN_STATES(X)                                                                           \
    X(starting, true)                                                                              \
    X(serving, true)                                                                               \
    X(restarting, true)                                                                            \
    X(refused, false)

enum plugin_state {
#define X(name, takes_runs) PLUGIN_##name,
    PLUGIN_STATES(X)
#undef X
};

static const struct {
    const char *name;
    bool takes_runs;
} states[] = {
#define X(name, takes_runs) {#name, takes_runs},
    PLUGIN_STATES(X)
#undef X
};

struct waiting {
    struct run *run;
    STAILQ_ENTRY(waiting) next; /* in plugin->queue */
};

struct plugin {
    struct registry *registry;
    char *file;
    char *name; /* the file's until the plugin has said its own */
    char *version;
    char *description;
    char *mode;
    uint64_t generation;
    enum plugin_state state;
    struct process *process; /* NULL between two */
    uv_timer_t restart;
    unsigned deaths; /* in a row */
    uint64_t ready_at;
    char *reason; /* why it was refused or died last; NULL if never */
    STAILQ_HEAD(, waiting) queue;
    size_t queued;
    TAILQ_ENTRY(plugin) in_registry; /* in registry->plugins */
};

struct registry {
    uv_loop_t *loop;
    const struct config *config;
    TAILQ_HEAD(, plugin) plugins; /* by file name */
    bool is_settled;
    void (*settled)(void *data);
    void (*stopped)(void *data); /* set: it is stopping */
    void *data;
};

static void set_text(char **text, const char *value)
{
    char *copy = mem_strdup(value);

    free(*text);
    *text = copy;
}

/* A plugin that said this name goes before one whose file is called so. */
static struct plugin *registry_find(const struct registry *registry, const char *name)
{
    struct plugin *plugin, *by_file = NULL;

    TAILQ_FOREACH(plugin, &registry->plugins, in_registry) {
        if (strcmp(plugin->name, name) == 0 && plugin->version)
            return plugin;
        if (strcmp(plugin->name, name) == 0)
            by_file = plugin;
    }
    return by_file;
}

static void registry_check_settled(struct registry *registry)
{
    struct plugin *plugin;

    if (registry->is_settled)
        return;
    TAILQ_FOREACH(plugin, &registry->plugins, in_registry) {
        if (plugin->state == PLUGIN_starting)
            return;
    }
    registry->is_settled = true;
    registry->settled(registry->data);
}

static void registry_check_stopped(struct registry *registry)
{
    struct plugin *plugin;

    TAILQ_FOREACH(plugin, &registry->plugins, in_registry) {
        if (plugin->process)
            return;
    }
    if (registry->stopped)
        registry->stopped(registry->data);
}

/* ---- runs ---- */

static void plugin_start_run(struct plugin *plugin, struct run *run)
{
    struct run_agent agent = {
        .name = plugin->name, .version = plugin->version, .generation = plugin->generation};

    process_start(plugin->process, run, &agent);
}

static struct run *plugin_take_waiting(struct plugin *plugin)
{
    struct waiting *waiting = STAILQ_FIRST(&plugin->queue);
    struct run *run;

    if (waiting == NULL)
        return NULL;
    run = waiting->run;
    STAILQ_REMOVE_HEAD(&plugin->queue, next);
    plugin->queued--;
    free(waiting);
    return run;
}

static void plugin_start_waiting(struct plugin *plugin)
{
    struct run *run;

    while ((run = plugin_take_waiting(plugin))) {
        if (!run_has_ended(run))
            plugin_start_run(plugin, run);
        run_unref(run);
    }
}

static void plugin_fail_waiting(struct plugin *plugin)
{
    struct run *run;

    while ((run = plugin_take_waiting(plugin))) {
        run_abort(run, RUN_ERROR_unavailable, plugin->reason);
        run_unref(run);
    }
}

int registry_admit(const struct registry *registry, const char *agent, char *reason, size_t size)
{
    const struct plugin *plugin = registry_find(registry, agent);

    if (plugin == NULL) {
        snprintf(reason, size, "there is no agent '%s' here; GET /agents lists those there are",
                 agent);
        return -ENOENT;
    }
    if (!states[plugin->state].takes_runs) {
        snprintf(reason, size, "the agent '%s' is not available: %s", agent, plugin->reason);
        return -ENODEV;
    }
    if (plugin->queued < REGISTRY_QUEUE_MAX &&
        (plugin->state != PLUGIN_serving || process_has_room(plugin->process)))
        return 0;
    snprintf(reason, size, "the agent '%s' has too many runs waiting; try again later", agent);
    return -EAGAIN;
}

void registry_submit(struct registry *registry, struct run *run)
{
    struct plugin *plugin = registry_find(registry, run_agent_name(run));
    struct waiting *waiting;

    if (plugin->state == PLUGIN_serving) {
        plugin_start_run(plugin, run);
        return;
    }
    waiting = mem_alloc(sizeof *waiting);
    waiting->run = run_ref(run);
    STAILQ_INSERT_TAIL(&plugin->queue, waiting, next);
    plugin->queued++;
}

/* ---- workers ---- */

static void plugin_spawn(struct plugin *plugin);

static void plugin_refuse(struct plugin *plugin, const char *reason)
{
    plugin->state = PLUGIN_refused;
    set_text(&plugin->reason, reason);
    log_error("a plugin is refused: %s file=%s", reason, plugin->file);
    plugin_fail_waiting(plugin);
    registry_check_settled(plugin->registry);
}

static int on_hello(void *data, const struct process_hello *hello, struct process_setup *setup,
                    char *reason, size_t reason_size)
{
    struct plugin *plugin = data;
    struct registry *registry = plugin->registry;
    struct plugin *other = registry_find(registry, hello->name);
    const struct config_plugin *settings = config_plugin(registry->config, hello->name);

    if (other && other != plugin && other->version) {
        snprintf(reason, reason_size, "the agent '%s' is already that of %s", hello->name,
                 other->file);
        return -EEXIST;
    }
    set_text(&plugin->name, hello->name);
    set_text(&plugin->version, hello->version);
    set_text(&plugin->description, hello->description);
    set_text(&plugin->mode, hello->mode);
    setup->threads = settings->threads;
    setup->stack = settings->stack;
    setup->config = config_plugin_json(registry->config, hello->name);
    return 0;
}

static void on_ready(void *data)
{
    struct plugin *plugin = data;

    plugin->state = PLUGIN_serving;
    plugin->ready_at = uv_now(plugin->registry->loop);
    log_info("a plugin serves plugin=%s version=%s generation=%llu mode=%s pid=%d file=%s",
             plugin->name, plugin->version, (unsigned long long)plugin->generation, plugin->mode,
             process_pid(plugin->process), plugin->file);
    plugin_start_waiting(plugin);
    registry_check_settled(plugin->registry);
}

static void on_restart_time(uv_timer_t *timer)
{
    plugin_spawn(timer->data);
}

static void plugin_schedule_restart(struct plugin *plugin)
{
    uint64_t pause = 0;

    if (plugin->ready_at && uv_now(plugin->registry->loop) - plugin->ready_at > STABLE_MS)
        plugin->deaths = 0;
    if (plugin->deaths > 0) {
        unsigned doublings = plugin->deaths - 1 < 7 ? plugin->deaths - 1 : 7;
        pause = (uint64_t)RESTART_FIRST_MS << doublings;
    }
    if (pause > RESTART_MOST_MS)
        pause = RESTART_MOST_MS;
    plugin->deaths++;
    plugin->ready_at = 0;
    plugin->state = PLUGIN_restarting;
    uv_timer_start(&plugin->restart, on_restart_time, pause, 0);
}

static void on_gone(void *data, const char *reason)
{
    struct plugin *plugin = data;

    plugin->process = NULL;
    if (plugin->registry->stopped) {
        registry_check_stopped(plugin->registry);
    } else if (plugin->state == PLUGIN_starting) {
        plugin_refuse(plugin, reason);
    } else {
        set_text(&plugin->reason, reason);
        if (plugin->state == PLUGIN_restarting)
            log_error("a plugin does not start again: %s file=%s", reason, plugin->file);
        plugin_schedule_restart(plugin);
    }
}

static void plugin_spawn(struct plugin *plugin)
{
    static const struct process_handler handler = {
        .hello = on_hello, .ready = on_ready, .gone = on_gone};
    struct process_spec spec = {.path = plugin->file,
                                .generation = plugin->generation,
                                .start_timeout = plugin->registry->config->start_timeout};
    int status = process_spawn(plugin->registry->loop, &spec, &handler, plugin, &plugin->process);
    char reason[128];

    if (status == 0)
        return;
    snprintf(reason, sizeof reason, "a worker cannot be started: %s", uv_strerror(status));
    plugin->process = NULL;
    on_gone(plugin, reason);
}

/* ---- the folder ---- */

static int is_plugin_file(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);

    return entry->d_name[0] != '.' && length > 3 && strcmp(entry->d_name + length - 3, ".so") == 0;
}

static void registry_add(struct registry *registry, const char *folder, const char *file)
{
    struct plugin *plugin = mem_alloc(sizeof *plugin);

    plugin->registry = registry;
    plugin->file = mem_printf("%s/%s", folder, file);
    plugin->name = mem_strdup(file);
    plugin->name[strlen(file) - 3] = '\0';
    plugin->generation = 1;
    STAILQ_INIT(&plugin->queue);
    uv_timer_init(registry->loop, &plugin->restart);
    plugin->restart.data = plugin;
    TAILQ_INSERT_TAIL(&registry->plugins, plugin, in_registry);
}

int registry_open(struct registry *registry, const char *folder)
{
    struct dirent **entries;
    struct plugin *plugin;
    int count = scandir(folder, &entries, is_plugin_file, alphasort);

    if (count < 0)
        return -errno;
    for (int i = 0; i < count; i++) {
        registry_add(registry, folder, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    if (count == 0)
        log_warn("there is no plugin (*.so) in the folder: plugins=%s", folder);
    TAILQ_FOREACH(plugin, &registry->plugins, in_registry)
        plugin_spawn(plugin);
    registry_check_settled(registry);
    return 0;
}

struct registry *registry_create(uv_loop_t *loop, const struct config *config,
                                 void (*settled)(void *data), void *data)
{
    struct registry *registry = mem_alloc(sizeof *registry);

    registry->loop = loop;
    registry->config = config;
    registry->settled = settled;
    registry->data = data;
    TAILQ_INIT(&registry->plugins);
    return registry;
}

void registry_stop(struct registry *registry, void (*stopped)(void *data))
{
    struct plugin *plugin;

    registry->stopped = stopped;
    TAILQ_FOREACH(plugin, &registry->plugins, in_registry) {
        uv_timer_stop(&plugin->restart);
        if (plugin->process)
            process_quit(plugin->process, QUIT_TIMEOUT_MS);
    }
    registry_check_stopped(registry);
}

static void on_plugin_closed(uv_handle_t *handle)
{
    struct plugin *plugin = handle->data;

    free(plugin->file);
    free(plugin->name);
    free(plugin->version);
    free(plugin->description);
    free(plugin->mode);
    free(plugin->reason);
    free(plugin);
}

void registry_destroy(struct registry *registry)
{
    struct plugin *plugin;

    while ((plugin = TAILQ_FIRST(&registry->plugins))) {
        TAILQ_REMOVE(&registry->plugins, plugin, in_registry);
        plugin_fail_waiting(plugin);
        uv_close((uv_handle_t *)&plugin->restart, on_plugin_closed);
    }
    free(registry);
}

bool registry_is_settled(const struct registry *registry)
{
    return registry->is_settled;
}

static void describe_text(struct buf *json, const char *name, const char *value)
{
    if (value == NULL || !*value)
        return;
    buf_printf(json, ",\"%s\":", name);
    json_append_string(json, value);
}

static void plugin_describe(const struct plugin *plugin, struct buf *json)
{
    buf_puts(json, "{\"name\":");
    json_append_string(json, plugin->name);
    describe_text(json, "version", plugin->version);
    buf_printf(json, ",\"generation\":%llu", (unsigned long long)plugin->generation);
    describe_text(json, "description", plugin->description);
    describe_text(json, "mode", plugin->mode);
    describe_text(json, "state", states[plugin->state].name);
    if (plugin->state == PLUGIN_refused || plugin->state == PLUGIN_restarting)
        describe_text(json, "reason", plugin->reason);
    if (plugin->process)
        buf_printf(json, ",\"live_runs\":%zu,\"stray_emits\":%llu", process_live(plugin->process),
                   (unsigned long long)process_stray_emits(plugin->process));
    buf_puts(json, "}");
}

void registry_describe(const struct registry *registry, struct buf *json)
{
    const struct plugin *plugin;
    const char *comma = "";

    buf_puts(json, "{\"agents\":[");
    TAILQ_FOREACH(plugin, &registry->plugins, in_registry) {
        buf_puts(json, comma);
        plugin_describe(plugin, json);
        comma = ",";
    }
    buf_puts(json, "]}");
}
