#include "fleet/registry.h"

#include "base/log.h"
#include "base/mem.h"
#include "fleet/deployment.h"
#include "fleet/watch.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct entry {
    struct deployment *deployment;
    TAILQ_ENTRY(entry) in_registry; /* in registry->entries */
};

struct registry {
    uv_loop_t *loop;
    const struct config *config;
    char *folder;
    struct watch *watch;
    TAILQ_HEAD(, entry) entries;
    bool opening; /* its first agents are not all created yet */
    bool is_settled;
    void (*settled)(void *data);
    void (*stopped)(void *data); /* set: it is stopping */
    void *data;
};

/* ---- agents by name and file ---- */

/* One whose plugin said this name goes before one whose file is called so. */
static struct deployment *registry_find_any(const struct registry *registry, const char *name)
{
    struct deployment *by_file = NULL;
    struct entry *entry;

    TAILQ_FOREACH(entry, &registry->entries, in_registry) {
        if (strcmp(deployment_name(entry->deployment), name) != 0)
            continue;
        if (deployment_is_loaded(entry->deployment))
            return entry->deployment;
        by_file = entry->deployment;
    }
    return by_file;
}

static struct deployment *registry_find_file(const struct registry *registry, const char *file)
{
    struct entry *entry;

    TAILQ_FOREACH(entry, &registry->entries, in_registry) {
        if (strcmp(deployment_file(entry->deployment), file) == 0)
            return entry->deployment;
    }
    return NULL;
}

/* ---- what agents tell ---- */

static bool may_be_called(void *data, const struct deployment *deployment, const char *name,
                          char *reason, size_t size)
{
    const struct registry *registry = data;
    const struct deployment *other = registry_find_any(registry, name);

    if (other == NULL || other == deployment || !deployment_is_loaded(other))
        return true;
    snprintf(reason, size, "the agent '%s' is already that of %s", name, deployment_file(other));
    return false;
}

static void on_settled(void *data)
{
    struct registry *registry = data;
    struct entry *entry;

    if (registry->is_settled || registry->opening)
        return;
    TAILQ_FOREACH(entry, &registry->entries, in_registry) {
        if (deployment_is_starting(entry->deployment))
            return;
    }
    registry->is_settled = true;
    registry->settled(registry->data);
}

static void on_emptied(void *data)
{
    struct registry *registry = data;
    struct entry *entry;

    if (registry->stopped == NULL)
        return;
    TAILQ_FOREACH(entry, &registry->entries, in_registry) {
        if (!deployment_is_empty(entry->deployment))
            return;
    }
    registry->stopped(registry->data);
}

/* ---- the folder ---- */

static void registry_add(struct registry *registry, const char *file, const struct reply *reply)
{
    static const struct deployment_handler handler = {
        .may_be_called = may_be_called, .settled = on_settled, .emptied = on_emptied};
    struct entry *entry = mem_alloc(sizeof *entry);

    entry->deployment =
        deployment_create(registry->loop, registry->config, file, &handler, registry);
    TAILQ_INSERT_TAIL(&registry->entries, entry, in_registry);
    deployment_reload(entry->deployment, reply);
}

/* True if it swaps, and will reply. A name that becomes free may be what a refused one wants. */
static bool registry_refresh_one(struct registry *registry, struct deployment *deployment,
                                 const struct reply *reply)
{
    bool was_removed = deployment_is_removed(deployment),
         swaps = deployment_refresh(deployment, reply);
    struct entry *entry;

    if (was_removed || !deployment_is_removed(deployment))
        return swaps;
    TAILQ_FOREACH(entry, &registry->entries, in_registry)
        deployment_retry(entry->deployment);
    return swaps;
}

/* A file of the folder is there, is another, or is gone. */
static void on_changed(void *data, const char *file)
{
    struct registry *registry = data;
    struct deployment *deployment = registry_find_file(registry, file);

    if (deployment)
        registry_refresh_one(registry, deployment, NULL);
    else if (access(file, F_OK) == 0)
        registry_add(registry, file, NULL);
}

static int is_plugin(const struct dirent *entry)
{
    return watch_is_plugin(entry->d_name);
}

/* The swaps of one registry_refresh(). */
struct refresh {
    struct reply reply;
    unsigned pending;
    char *error;
};

static void on_refreshed(void *data, const char *error)
{
    struct refresh *refresh = data;

    if (error && refresh->error == NULL)
        refresh->error = mem_strdup(error);
    if (--refresh->pending > 0)
        return;
    if (refresh->reply.done)
        refresh->reply.done(refresh->reply.data, refresh->error);
    free(refresh->error);
    free(refresh);
}

/* Adds the files that are new; how many there are in all, or -errno. */
static int registry_scan(struct registry *registry, struct refresh *refresh)
{
    struct reply reply = {.done = on_refreshed, .data = refresh};
    struct dirent **found;
    int count = scandir(registry->folder, &found, is_plugin, alphasort);

    if (count < 0)
        return -errno;
    for (int i = 0; i < count; i++) {
        char *file = mem_printf("%s/%s", registry->folder, found[i]->d_name);
        if (registry_find_file(registry, file) == NULL) {
            if (refresh)
                refresh->pending++;
            registry_add(registry, file, refresh ? &reply : NULL);
        }
        free(file);
        free(found[i]);
    }
    free(found);
    return count;
}

int registry_open(struct registry *registry, const char *folder)
{
    int status;

    registry->folder = mem_strdup(folder);
    registry->opening = true;
    status = registry_scan(registry, NULL);
    registry->opening = false;
    if (status < 0)
        return status;
    if (status == 0)
        log_warn("there is no plugin (*.so) in the folder: plugins=%s", folder);
    status = watch_open(registry->loop, folder, on_changed, registry, &registry->watch);
    if (status < 0)
        log_warn("the plugin folder cannot be watched; use `sluice reload`: %s plugins=%s",
                 uv_strerror(status), folder);
    on_settled(registry);
    return 0;
}

void registry_refresh(struct registry *registry, const struct reply *reply)
{
    struct refresh *refresh = mem_alloc(sizeof *refresh);
    struct reply each = {.done = on_refreshed, .data = refresh};
    struct entry *entry;

    if (reply)
        refresh->reply = *reply;
    refresh->pending = 1; /* this function's own */
    TAILQ_FOREACH(entry, &registry->entries, in_registry) {
        refresh->pending++;
        if (!registry_refresh_one(registry, entry->deployment, &each))
            refresh->pending--;
    }
    registry_scan(registry, refresh);
    on_refreshed(refresh, NULL);
}

/* ---- the whole ---- */

struct registry *registry_create(uv_loop_t *loop, const struct config *config,
                                 void (*settled)(void *data), void *data)
{
    struct registry *registry = mem_alloc(sizeof *registry);

    registry->loop = loop;
    registry->config = config;
    registry->settled = settled;
    registry->data = data;
    TAILQ_INIT(&registry->entries);
    return registry;
}

void registry_stop(struct registry *registry, void (*stopped)(void *data))
{
    struct entry *entry;

    watch_close(registry->watch);
    registry->watch = NULL;
    TAILQ_FOREACH(entry, &registry->entries, in_registry)
        deployment_stop(entry->deployment);
    registry->stopped = stopped;
    on_emptied(registry);
}

void registry_destroy(struct registry *registry)
{
    struct entry *entry;

    watch_close(registry->watch);
    while ((entry = TAILQ_FIRST(&registry->entries))) {
        TAILQ_REMOVE(&registry->entries, entry, in_registry);
        deployment_destroy(entry->deployment);
        free(entry);
    }
    free(registry->folder);
    free(registry);
}

bool registry_is_settled(const struct registry *registry)
{
    return registry->is_settled;
}

/* ---- runs ---- */

struct deployment *registry_find(const struct registry *registry, const char *agent)
{
    struct deployment *found = registry_find_any(registry, agent);

    return found && !deployment_is_removed(found) ? found : NULL;
}

/* ---- what operators do ---- */

/* The deployment, or a reply that there is none. */
static struct deployment *registry_find_for(const struct registry *registry, const char *name,
                                            const struct reply *reply)
{
    struct deployment *deployment = registry_find_any(registry, name);
    char error[160];

    if (deployment)
        return deployment;
    snprintf(error, sizeof error, "there is no plugin '%.64s'; `sluice list` shows those there are",
             name);
    reply->done(reply->data, error);
    return NULL;
}

void registry_reload(struct registry *registry, const char *name, const struct reply *reply)
{
    struct deployment *deployment = registry_find_for(registry, name, reply);

    if (deployment)
        deployment_reload(deployment, reply);
}

void registry_rollback(struct registry *registry, const char *name, const struct reply *reply)
{
    struct deployment *deployment = registry_find_for(registry, name, reply);

    if (deployment)
        deployment_rollback(deployment, reply);
}

void registry_drain(struct registry *registry, const char *name, const struct reply *reply)
{
    struct deployment *deployment = registry_find_for(registry, name, reply);

    if (deployment == NULL)
        return;
    deployment_drain(deployment);
    reply->done(reply->data, NULL);
}

static void each_deployment(const struct registry *registry, bool with_removed, struct buf *json,
                            void (*append)(const struct deployment *deployment, struct buf *json))
{
    const struct entry *entry;
    const char *comma = "";

    TAILQ_FOREACH(entry, &registry->entries, in_registry) {
        if (deployment_is_removed(entry->deployment) &&
            (!with_removed || deployment_is_empty(entry->deployment)))
            continue;
        buf_puts(json, comma);
        append(entry->deployment, json);
        comma = ",";
    }
}

void registry_describe(const struct registry *registry, struct buf *json)
{
    buf_puts(json, "{\"agents\":[");
    each_deployment(registry, false, json, deployment_describe);
    buf_puts(json, "]}");
}

void registry_report(const struct registry *registry, struct buf *json)
{
    buf_puts(json, "{\"plugins\":[");
    each_deployment(registry, true, json, deployment_report);
    buf_puts(json, "]}");
}
