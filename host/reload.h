/*
 * The configuration and the files that it names, read and checked: at the start, by
 * `sluice serve -n`, and again while the server serves (SIGHUP, `sluice reload`).
 */
#ifndef RELOAD_H
#define RELOAD_H

#include "config/config.h"
#include "ops/admin.h"

#include <uv.h>

struct registry;
struct tls_identity;
struct tokens;
struct why;

/* What was read. The members belong to whoever holds it. */
struct reading {
    struct config *config;
    struct tokens *tokens;             /* NULL: clients need none */
    struct tls_identity *identity;     /* NULL: no HTTPS */
    bool keeps_tokens, keeps_identity; /* those in force stay, their files cannot be read */
    const char *locked[4]; /* keys whose files cannot be read, and may have changed; NULL ends */
};

/*
 * Read the files that reading->config names, on any thread. with_tls: also those of
 * HTTPS. in_force: the configuration that is replaced, or NULL; after a change of the
 * user, files that both name need not be readable. listen: the address as it is, or
 * will be, bound. Return -errno and why; all that was read is then freed, but for the
 * configuration.
 */
int reading_fill(struct reading *reading, const struct config *in_force, const char *listen,
                 bool with_tls, struct why *why);

/* Free what it holds. */
void reading_finish(struct reading *reading);

struct reload_settings {
    /* Makes the configuration anew, on any thread; NULL and why. */
    struct config *(*reread)(void *data, struct why *why);
    void *data; /* of reread() */
    const struct config *in_force;
    struct registry *registry;
    const char *listen; /* stays valid */
    bool with_tls;
    /*
     * Take all of what was read, on the loop, and write what changed, a JSON object,
     * into report; it cannot fail.
     */
    void (*take)(void *owner, struct reading *reading, struct buf *report);
    void *owner;
};

struct reload;

struct reload *reload_create(uv_loop_t *loop, const struct reload_settings *settings);

/*
 * Read all again, take it, and swap the plugins that changed. Policy: one reading at
 * a time; whoever asks meanwhile shares the next one. asker may be NULL.
 */
void reload_ask(struct reload *reload, const struct refresh *asker);

/* Reply to all who wait, and take nothing from now on. NULL is ignored. */
void reload_stop(struct reload *reload);

/* Free it when no reading is under way any longer. NULL is ignored. */
void reload_destroy(struct reload *reload);

#endif
