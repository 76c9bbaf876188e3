/*
 * Deployments are made when their file is first seen and live as long as the
 * registry: one whose file is gone is kept, removed, since its runs may still
 * finish and the file may come back. The lists are short, so names are searched
 * one by one, once a request.
 *
 * A name may stand for two deployments: a plugin that said it, and a file that is
 * called so but was never loaded. The plugin goes first. Two plugins cannot have
 * one name: the second is refused, and tried again when the first is removed.
 *
 * Two causes lead to a swap, both through deployment_refresh(), which compares
 * the file with its last copy and the settings with those in use:
 *
 *     the watched folder    one file                    on_changed()
 *     SIGHUP, reload        every file, and new ones    registry_refresh()
 *
 * Starting: registry_open() makes a deployment for each file; when none of them
 * is starting, settled() is called, once. Stopping: each deployment lets its
 * workers quit; when all are empty, stopped() is called, once.
 */
#include "fleet/registry.h"

#include "base/log.h"
#include "base/mem.h"
#include "fleet/watch.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct registry {
    uv_loop_t *loop;
    const struct config *config;
    char *folder;
    struct watch *watch;
    struct deployment **deployments;
    unsigned count;
    bool opening; /* the first deployments are not all made yet */
    bool is_settled;
    void (*settled)(void *data);
    void (*stopped)(void *data); /* NULL until registry_stop() */
    void *data;
};

/* ---- by name and file ---- */

static struct deployment *registry_find_name(const struct registry *registry, const char *name)
{
    struct deployment *by_file = NULL;

    for (unsigned i = 0; i < registry->count; i++) {
        struct deployment *deployment = registry->deployments[i];
        if (strcmp(deployment_name(deployment), name) != 0)
            continue;
        if (deployment_is_loaded(deployment))
            return deployment;
        by_file = deployment;
    }
    return by_file;
}

struct deployment *registry_find(const struct registry *registry, const char *agent)
{
    struct deployment *found = registry_find_name(registry, agent);

    return found && !deployment_is_removed(found) ? found : NULL;
}

static struct deployment *registry_find_file(const struct registry *registry, const char *file)
{
    for (unsigned i = 0; i < registry->count; i++) {
        if (strcmp(deployment_file(registry->deployments[i]), file) == 0)
            return registry->deployments[i];
    }
    return NULL;
}

unsigned registry_count(const struct registry *registry)
{
    return registry->count;
}

const struct deployment *registry_deployment(const struct registry *registry, unsigned index)
{
    assert(index < registry->count);
    return registry->deployments[index];
}

/* ---- what deployments tell ---- */

static bool may_be_called(void *data, const struct deployment *deployment, const char *name,
                          struct why *why)
{
    const struct deployment *other = registry_find_name(data, name);

    if (other == NULL || other == deployment || !deployment_is_loaded(other))
        return true;
    why_set(why, 0, "the name '%s' is already that of the plugin in %s", name,
            deployment_file(other));
    return false;
}

static void on_settled(void *data)
{
    struct registry *registry = data;

    if (registry->is_settled || registry->opening)
        return;
    for (unsigned i = 0; i < registry->count; i++) {
        if (deployment_is_starting(registry->deployments[i]))
            return;
    }
    registry->is_settled = true;
    registry->settled(registry->data);
}

static void on_emptied(void *data)
{
    struct registry *registry = data;

    if (registry->stopped == NULL)
        return;
    for (unsigned i = 0; i < registry->count; i++) {
        if (!deployment_is_empty(registry->deployments[i]))
            return;
    }
    registry->stopped(registry->data);
}

/* ---- the folder ---- */

/* Make a deployment of a file that has none, and swap to the file. */
static void registry_add(struct registry *registry, const char *file, const struct reply *reply)
{
    static const struct deployment_handler handler = {
        .may_be_called = may_be_called, .settled = on_settled, .emptied = on_emptied};
    struct deployment *deployment =
        deployment_create(registry->loop, registry->config, file, &handler, registry);

    registry->deployments =
        mem_realloc(registry->deployments, (registry->count + 1) * sizeof *registry->deployments);
    registry->deployments[registry->count++] = deployment;
    deployment_reload(deployment, reply);
}

/* Return true if the deployment swaps and will reply. */
static bool registry_refresh_one(struct registry *registry, struct deployment *deployment,
                                 const struct reply *reply)
{
    bool was_removed = deployment_is_removed(deployment);
    bool swaps = deployment_refresh(deployment, reply);

    /* A refused plugin may have waited for the name that became free. */
    for (unsigned i = 0; !was_removed && deployment_is_removed(deployment) && i < registry->count;
         i++)
        deployment_retry(registry->deployments[i]);
    return swaps;
}

/* A file appeared, changed or went away. */
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

/* Add the files that have no deployment. Return the number of files, or -errno. */
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
        log_warn("no plugin (*.so) in the plugin folder plugins=%s", folder);
    status = watch_open(registry->loop, folder, on_changed, registry, &registry->watch);
    if (status < 0)
        log_warn("cannot watch the plugin folder: %s; use `sluice reload` plugins=%s",
                 uv_strerror(status), folder);
    on_settled(registry);
    return 0;
}

void registry_refresh(struct registry *registry, const struct reply *reply)
{
    struct refresh *refresh = mem_alloc(sizeof *refresh);
    struct reply each = {.done = on_refreshed, .data = refresh};

    for (unsigned i = 0; i < registry->count; i++)
        deployment_configure(registry->deployments[i]);
    if (reply)
        refresh->reply = *reply;
    refresh->pending = 1; /* this function's own */
    for (unsigned i = 0; i < registry->count; i++) {
        refresh->pending++;
        if (!registry_refresh_one(registry, registry->deployments[i], &each))
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
    return registry;
}

void registry_stop(struct registry *registry, void (*stopped)(void *data))
{
    watch_close(registry->watch);
    registry->watch = NULL;
    for (unsigned i = 0; i < registry->count; i++)
        deployment_stop(registry->deployments[i]);
    registry->stopped = stopped;
    on_emptied(registry);
}

void registry_destroy(struct registry *registry)
{
    watch_close(registry->watch);
    for (unsigned i = 0; i < registry->count; i++)
        deployment_destroy(registry->deployments[i]);
    free(registry->deployments);
    free(registry->folder);
    free(registry);
}

bool registry_is_settled(const struct registry *registry)
{
    return registry->is_settled;
}

/* ---- commands of operators ---- */

/* Return the deployment, or reply that there is none. */
static struct deployment *registry_find_for(const struct registry *registry, const char *name,
                                            const struct reply *reply)
{
    struct deployment *deployment = registry_find_name(registry, name);
    struct why why = {0};

    if (deployment)
        return deployment;
    why_set(&why, 0, "there is no plugin '%.64s'; `sluice list` shows those there are", name);
    reply->done(reply->data, why_text(&why));
    why_finish(&why);
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
