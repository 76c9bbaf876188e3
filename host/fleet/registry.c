/*
 * Deployments are made when their file is first seen. A deployment whose file is gone is
 * kept, as removed, while its runs finish. If the plugin has served, the deployment stays
 * after that for a rollback, but only the REMOVED_MAX that were removed last do: versions
 * of the others come back from the state folder with their file. The lists are short, so
 * names are searched one by one, once a request.
 *
 * A name may stand for two deployments: a plugin that said it, and a file that is
 * called so but was never loaded. The plugin goes first. Two plugins cannot have
 * one name: the second is refused, and tried again when the first is removed.
 *
 * Swaps come from looks at the whole folder (watch.h), in on_looked():
 *
 *     by event or clock   settled files that differ from their last copy
 *     SIGHUP, reload      all files, and settings that differ from those in use
 *
 * Starting: the first look, in registry_open(), makes a deployment for each file; when none of them
 * is starting, settled() is called, once. Stopping: each deployment lets its
 * workers quit; when all are empty, stopped() is called, once.
 */
#include "fleet/registry.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/user.h"
#include "fleet/watch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

/* Most plugins without a file, and without runs, that are kept for a rollback. */
#define REMOVED_MAX 16

struct registry {
    uv_loop_t *loop;
    const struct config *config;
    char *folder;
    char *state; /* the folder of what is kept of plugins; NULL: none */
    struct watch *watch;
    TAILQ_HEAD(, refresh) refreshes; /* that wait for a look, in the order of the looks */
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

bool registry_has_process(const struct registry *registry, int pid)
{
    for (unsigned i = 0; i < registry->count; i++) {
        struct deployment_snapshot shot;
        deployment_snapshot(registry->deployments[i], &shot);
        for (unsigned at = 0; at < shot.generations; at++) {
            if (generation_has_process(deployment_generation(registry->deployments[i], at), pid))
                return true;
        }
    }
    return false;
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

/* If the file has no deployment, make it and swap to the file. Return true if it will reply. */
static bool registry_add(struct registry *registry, const struct watch_file *found,
                         const struct reply *reply)
{
    static const struct deployment_handler handler = {
        .may_be_called = may_be_called, .settled = on_settled, .emptied = on_emptied};
    char *file = mem_printf("%s/%s", registry->folder, found->name);
    struct deployment *deployment = NULL;

    if (registry_find_file(registry, file) == NULL) {
        if (!registry->opening)
            log_info("plugin file appeared file=%s", file);
        deployment = deployment_create(registry->loop, registry->config, registry->state, file,
                                       &handler, registry);
    }
    free(file);
    if (deployment == NULL)
        return false;
    registry->deployments =
        mem_realloc(registry->deployments, (registry->count + 1) * sizeof *registry->deployments);
    registry->deployments[registry->count++] = deployment;
    return deployment_notice(deployment, found, reply);
}

/* A refused plugin may have waited for a name that became free. */
static void registry_retry(struct registry *registry)
{
    for (unsigned i = 0; i < registry->count; i++)
        deployment_retry(registry->deployments[i]);
}

static void registry_miss(struct registry *registry, struct deployment *deployment)
{
    bool was_removed = deployment_is_removed(deployment);

    deployment_miss(deployment);
    if (!was_removed && deployment_is_removed(deployment))
        registry_retry(registry);
}

static void registry_forget(struct registry *registry, unsigned at)
{
    struct deployment *deployment = registry->deployments[at];

    log_info("plugin without a file forgotten plugin=%s file=%s", deployment_name(deployment),
             deployment_file(deployment));
    deployment_destroy(deployment);
    registry->count--;
    memmove(&registry->deployments[at], &registry->deployments[at + 1],
            (registry->count - at) * sizeof *registry->deployments);
}

/* Forget removed plugins that never served, and of the others those removed longest ago. */
static void registry_tidy(struct registry *registry)
{
    unsigned idle = REMOVED_MAX + 1, oldest = 0;

    for (unsigned i = registry->count; i-- > 0;) {
        if (deployment_is_spent(registry->deployments[i]))
            registry_forget(registry, i);
    }
    while (idle > REMOVED_MAX) {
        uint64_t first = UINT64_MAX;
        idle = 0;
        for (unsigned i = 0; i < registry->count; i++) {
            uint64_t since = deployment_idle_since(registry->deployments[i]);
            idle += since > 0;
            if (since > 0 && since < first) {
                first = since;
                oldest = i;
            }
        }
        if (idle > REMOVED_MAX)
            registry_forget(registry, oldest);
    }
}

/* An operator's wish to compare all files and settings, and those swaps of it that are due. */
struct refresh {
    struct reply reply;
    uint64_t look; /* for which it waits */
    unsigned pending;
    char *error;
    TAILQ_ENTRY(refresh) in_list; /* in registry->refreshes */
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

static int compare_file(const void *name, const void *file)
{
    return strcmp(name, ((const struct watch_file *)file)->name);
}

/* Return what the look found of the deployment's file, or NULL. */
static const struct watch_file *find_file(const struct deployment *deployment,
                                          const struct watch_file *files, size_t count)
{
    const char *slash = strrchr(deployment_file(deployment), '/');

    return count == 0 ? NULL : bsearch(slash + 1, files, count, sizeof *files, compare_file);
}

/* Compare all files, settled or not, and settings. files NULL: they are unknown. */
static void registry_compare_all(struct registry *registry, const struct watch_file *files,
                                 size_t count, struct refresh *refresh)
{
    struct reply each = {.done = on_refreshed, .data = refresh};
    unsigned known = registry->count;

    for (unsigned i = 0; i < known; i++) {
        struct deployment *deployment = registry->deployments[i];
        const struct watch_file *file = find_file(deployment, files, count);
        if (files && (file == NULL || !file->there))
            registry_miss(registry, deployment);
        refresh->pending++;
        if (!deployment_refresh(deployment, file && file->there ? file : NULL, &each))
            refresh->pending--;
    }
    for (size_t i = 0; files && i < count; i++) {
        refresh->pending++;
        if (!files[i].there || !registry_add(registry, &files[i], &each))
            refresh->pending--;
    }
}

/* Swap what has changed and settled. */
static void registry_compare(struct registry *registry, const struct watch_file *files,
                             size_t count)
{
    unsigned known = registry->count;

    for (unsigned i = 0; i < known; i++) {
        struct deployment *deployment = registry->deployments[i];
        const struct watch_file *file = find_file(deployment, files, count);
        if (file == NULL)
            registry_miss(registry, deployment);
        else if (file->settled)
            deployment_notice(deployment, file, NULL);
    }
    for (size_t i = 0; i < count; i++) {
        if (files[i].settled)
            registry_add(registry, &files[i], NULL);
    }
}

/* Carry out the wishes that waited for this look. */
static void registry_refresh_due(struct registry *registry, uint64_t look, int status,
                                 const struct watch_file *files, size_t count)
{
    struct refresh *refresh;

    while ((refresh = TAILQ_FIRST(&registry->refreshes)) && refresh->look <= look) {
        TAILQ_REMOVE(&registry->refreshes, refresh, in_list);
        registry_compare_all(registry, status < 0 ? NULL : files, status < 0 ? 0 : count, refresh);
        if (status < 0 && refresh->error == NULL)
            refresh->error = mem_printf("cannot read the plugin folder %s: %s", registry->folder,
                                        strerror(-status));
        on_refreshed(refresh, NULL);
    }
}

static void on_looked(void *data, uint64_t look, int status, const struct watch_file *files,
                      size_t count)
{
    struct registry *registry = data;

    for (size_t i = 0; i < count && registry->opening; i++)
        registry_add(registry, &files[i], NULL);
    registry_refresh_due(registry, look, status, files, count);
    if (status == 0)
        registry_compare(registry, files, count);
    registry_tidy(registry);
}

/*
 * Return the folder of what is kept of plugins, to be freed: the configured folder,
 * else systemd's, else a folder in the plugin folder; NULL if nothing can be written
 * there.
 */
static char *state_folder(const struct config *config, const char *folder)
{
    const char *given = getenv("STATE_DIRECTORY");
    char *state;

    if (strcmp(config->state_folder, CONFIG_AUTO) != 0)
        given = config->state_folder;
    if (given && *given)
        return mem_strdup(given);
    state = mem_printf("%s/.sluice", folder);
    if (access(state, W_OK) == 0 || (errno == ENOENT && access(folder, W_OK) == 0))
        return state;
    free(state);
    return NULL;
}

int registry_give(const struct registry *registry)
{
    char *state = state_folder(registry->config, registry->config->plugins);
    int status = 0;

    if (state && mkdir(state, 0700) < 0 && errno != EEXIST)
        status = -errno;
    if (state && status == 0)
        status = user_give_folder(state);
    free(state);
    return status;
}

bool registry_keeps(const struct registry *registry)
{
    return registry->state != NULL;
}

int registry_open(struct registry *registry, const char *folder)
{
    static const struct watch_handler handler = {.looked = on_looked};
    int status;

    registry->folder = mem_strdup(folder);
    registry->state = state_folder(registry->config, folder);
    registry->opening = true;
    status = watch_open(registry->loop, folder, &handler, registry, &registry->watch);
    registry->opening = false;
    if (status < 0)
        return status;
    if (registry->count == 0)
        log_warn("no plugin (*.so) in the plugin folder plugins=%s", folder);
    on_settled(registry);
    return 0;
}

void registry_refresh(struct registry *registry, const struct reply *reply)
{
    struct refresh *refresh = mem_alloc(sizeof *refresh);

    for (unsigned i = 0; i < registry->count; i++)
        deployment_configure(registry->deployments[i]);
    if (reply)
        refresh->reply = *reply;
    refresh->pending = 1; /* until it was compared */
    refresh->look = watch_look(registry->watch);
    TAILQ_INSERT_TAIL(&registry->refreshes, refresh, in_list);
}

void registry_watch(const struct registry *registry, struct watch_snapshot *out)
{
    watch_snapshot(registry->watch, out);
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
    TAILQ_INIT(&registry->refreshes);
    return registry;
}

void registry_stop(struct registry *registry, void (*stopped)(void *data))
{
    struct refresh *refresh;

    while ((refresh = TAILQ_FIRST(&registry->refreshes))) {
        TAILQ_REMOVE(&registry->refreshes, refresh, in_list);
        on_refreshed(refresh, "the server is stopping");
    }
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
    free(registry->state);
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

    if (deployment == NULL)
        return;
    watch_look(registry->watch);
    deployment_reload(deployment, reply);
}

void registry_rollback(struct registry *registry, const char *name, uint64_t generation,
                       const struct reply *reply)
{
    struct deployment *deployment = registry_find_for(registry, name, reply);

    if (deployment)
        deployment_rollback(deployment, generation, reply);
}

void registry_drain(struct registry *registry, const char *name, const struct reply *reply)
{
    struct deployment *deployment = registry_find_for(registry, name, reply);

    if (deployment == NULL)
        return;
    deployment_drain(deployment);
    reply->done(reply->data, NULL);
}
