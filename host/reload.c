/*
 * Files may lie on a disk or a network that does not answer, so a thread of the pool
 * reads and checks them. The loop then takes all of it or nothing:
 *
 *     ask ──► reading, on a thread ──► refused: the reason goes to the askers
 *      ▲               │                  and the log, the old one stays in force
 *      │               ▼
 *      │            taken, on the loop; the askers learn what changed
 *      │               │
 *      │               ▼
 *      └─ asked     the registry swaps what changed, then replies to them
 *         meanwhile
 *
 * Who asks during a reading may have changed a file after it was read: all of those
 * share one more reading after this one. A reading that takes longer than SLOW_MS
 * goes on, and is taken when it ends, but nobody waits for it any longer.
 *
 * A server that was root reads tokens and keys that its user cannot. Such a file is
 * read once: afterwards, what was read stays in force, and the file's key needs a restart
 * unless the file is known to be the same.
 */
#include "reload.h"

#include "api/tokens.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/modes.h"
#include "base/patience.h"
#include "base/pool.h"
#include "base/user.h"
#include "base/why.h"
#include "http/tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SLOW_MS 10000

struct asker {
    struct refresh refresh;
    STAILQ_ENTRY(asker) in_list;
};

STAILQ_HEAD(asker_list, asker);

struct reload {
    uv_loop_t *loop;
    struct reload_settings settings;
    uv_work_t work;
    bool busy;  /* work is under way */
    bool again; /* when it is done */
    bool stopped, destroyed;
    struct reading reading; /* the thread's while busy, with status and why */
    int status;
    struct why why;
    struct asker_list now, later; /* for this reading, and for the next one */
    struct patience slow;
};

/* ---- a reading ---- */

/* The file was just read, so whatever hides its modes now is no reason to refuse it. */
static int check_secret(const struct config *config, const char *what, const char *path,
                        struct why *why)
{
    struct stat found;

    if (stat(path, &found) < 0)
        return 0;
    return modes_check(what, path, &found, MODES_SECRET, config->strict_modes, why);
}

/* When the first reading began; files that were not changed since then are those that it read. */
static struct timespec began;

/* Return true if the file, which the configuration in force names as well, cannot be read. */
static bool is_locked(const char *path, const char *in_force)
{
    return *path && strcmp(path, in_force) == 0 && access(path, R_OK) < 0 && errno == EACCES;
}

static bool may_have_changed(const char *path)
{
    struct stat found;

    return stat(path, &found) < 0 || found.st_ctim.tv_sec > began.tv_sec ||
           (found.st_ctim.tv_sec == began.tv_sec && found.st_ctim.tv_nsec >= began.tv_nsec);
}

/* Find out what stays in force because its file cannot be read. */
static void find_locked(struct reading *reading, const struct config *in_force)
{
    const struct config *config = reading->config;
    size_t count = 0;

    reading->keeps_tokens = is_locked(config->tokens, in_force->tokens);
    reading->keeps_identity = strcmp(config->tls_certificate, in_force->tls_certificate) == 0 &&
                              strcmp(config->tls_key, in_force->tls_key) == 0 &&
                              (is_locked(config->tls_certificate, in_force->tls_certificate) ||
                               is_locked(config->tls_key, in_force->tls_key));
    if (reading->keeps_tokens && may_have_changed(config->tokens))
        reading->locked[count++] = "host.tokens";
    if (reading->keeps_identity && may_have_changed(config->tls_certificate))
        reading->locked[count++] = "host.tls_certificate";
    if (reading->keeps_identity && may_have_changed(config->tls_key))
        reading->locked[count++] = "host.tls_key";
}

int reading_fill(struct reading *reading, const struct config *in_force, const char *listen,
                 bool with_tls, struct why *why)
{
    const struct config *config = reading->config;
    int status = config_check(config, listen, why);

    if (in_force == NULL)
        clock_gettime(CLOCK_REALTIME_COARSE, &began);
    else if (user_became())
        find_locked(reading, in_force);
    if (status == 0 && *config->tokens && !reading->keeps_tokens)
        status = tokens_load(config->tokens, &reading->tokens, why);
    if (status == 0 && *config->tokens)
        status = check_secret(config, "host.tokens", config->tokens, why);
    if (status == 0 && with_tls && *config->tls_certificate && !reading->keeps_identity)
        status = tls_read(config->tls_certificate, config->tls_key, &reading->identity, why);
    if (status == 0 && reading->identity)
        status = check_secret(config, "host.tls_key", config->tls_key, why);
    if (status < 0) {
        tokens_destroy(reading->tokens);
        tls_discard(reading->identity);
        reading->tokens = NULL;
        reading->identity = NULL;
    }
    return status;
}

void reading_finish(struct reading *reading)
{
    config_destroy(reading->config);
    tokens_destroy(reading->tokens);
    tls_discard(reading->identity);
    *reading = (struct reading){0};
}

/* ---- the askers ---- */

static void askers_reply(struct asker_list *askers, const char *error)
{
    struct asker *asker;

    while ((asker = STAILQ_FIRST(askers))) {
        STAILQ_REMOVE_HEAD(askers, in_list);
        asker->refresh.reply.done(asker->refresh.reply.data, error);
        free(asker);
    }
}

/* They wait for the swaps of one reading, while the next one may begin. */
static void on_swapped(void *data, const char *error)
{
    askers_reply(data, error);
    free(data);
}

static void reload_swap(struct reload *reload)
{
    struct reply reply = {.done = on_swapped};
    struct asker_list *askers = mem_alloc(sizeof *askers);

    STAILQ_INIT(askers);
    STAILQ_CONCAT(askers, &reload->now);
    reply.data = askers;
    registry_refresh(reload->settings.registry, &reply);
}

/* ---- the way of a reading ---- */

static void on_thread(uv_work_t *work)
{
    struct reload *reload = work->data;
    const struct reload_settings *settings = &reload->settings;

    reload->reading.config = settings->reread(settings->data, &reload->why);
    reload->status = reload->reading.config
                         ? reading_fill(&reload->reading, settings->in_force, settings->listen,
                                        settings->with_tls, &reload->why)
                         : -EINVAL;
}

static void on_slow(void *data)
{
    static const char slow[] = "reading the configuration and its files takes longer than 10 s; "
                               "it goes on, and takes effect when it is done";
    struct reload *reload = data;

    log_error("%s", slow);
    askers_reply(&reload->now, slow);
}

static void reload_take(struct reload *reload)
{
    struct buf report = {0};
    struct asker *asker;

    reload->settings.take(reload->settings.owner, &reload->reading, &report);
    STAILQ_FOREACH(asker, &reload->now, in_list)
    asker->refresh.report(asker->refresh.reply.data, &report);
    buf_finish(&report);
    reload_swap(reload);
}

static void on_patience_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void reload_free(struct reload *reload)
{
    reload->slow.timer.data = reload;
    uv_close((uv_handle_t *)&reload->slow.timer, on_patience_closed);
}

static void reload_begin(struct reload *reload);

static void on_read(uv_work_t *work, int status)
{
    struct reload *reload = work->data;

    reload->busy = false;
    if (!reload->destroyed)
        patience_stop(&reload->slow);
    if (status == 0 && !reload->stopped && reload->status == 0) {
        reload_take(reload);
    } else if (!reload->stopped) {
        log_error("configuration refused, the old one stays in force: %s", why_text(&reload->why));
        askers_reply(&reload->now, why_text(&reload->why));
    }
    reading_finish(&reload->reading);
    why_finish(&reload->why);
    reload->why = (struct why){0};
    if (reload->destroyed)
        reload_free(reload);
    else if (reload->again && !reload->stopped)
        reload_begin(reload);
}

static void reload_begin(struct reload *reload)
{
    reload->busy = true;
    reload->again = false;
    STAILQ_CONCAT(&reload->now, &reload->later);
    patience_start(&reload->slow, SLOW_MS, on_slow);
    pool_queue(reload->loop, &reload->work, on_thread, on_read);
}

void reload_ask(struct reload *reload, const struct refresh *asker)
{
    struct asker *waiting;

    if (reload->stopped) {
        if (asker)
            asker->reply.done(asker->reply.data, "the server is stopping");
        return;
    }
    if (asker) {
        waiting = mem_alloc(sizeof *waiting);
        waiting->refresh = *asker;
        STAILQ_INSERT_TAIL(&reload->later, waiting, in_list);
    }
    if (reload->busy)
        reload->again = true;
    else
        reload_begin(reload);
}

/* ---- the whole ---- */

struct reload *reload_create(uv_loop_t *loop, const struct reload_settings *settings)
{
    struct reload *reload = mem_alloc(sizeof *reload);

    reload->loop = loop;
    reload->settings = *settings;
    reload->work.data = reload;
    STAILQ_INIT(&reload->now);
    STAILQ_INIT(&reload->later);
    patience_init(loop, &reload->slow, reload);
    return reload;
}

void reload_stop(struct reload *reload)
{
    if (reload == NULL || reload->stopped)
        return;
    reload->stopped = true;
    patience_stop(&reload->slow);
    if (reload->busy)
        uv_cancel((uv_req_t *)&reload->work);
    askers_reply(&reload->now, "the server is stopping");
    askers_reply(&reload->later, "the server is stopping");
}

void reload_destroy(struct reload *reload)
{
    if (reload == NULL)
        return;
    reload_stop(reload);
    reload->destroyed = true;
    if (!reload->busy)
        reload_free(reload);
}
