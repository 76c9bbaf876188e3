/*
 * An agent brought to life: what its plugin declares, checked, and the self that
 * its create() made. How the plugin got into memory is somebody else's matter.
 * Whatever refuses an agent says at which step and why, in words for people.
 */
#ifndef WORKER_INSTANCE_H
#define WORKER_INSTANCE_H

#include "agent.h"
#include "base/buf.h"
#include "base/card.h"
#include "base/why.h"

#include <stdbool.h>

struct refusal {
    const char *step; /* open, entry, abi, declare, create or selftest */
    struct why why;
};

/* Return status, for `return refuse(...)`. */
__attribute__((format(printf, 4, 5))) int refuse(struct refusal *refusal, int status,
                                                 const char *step, const char *format, ...);
void refusal_finish(struct refusal *refusal);

/* Zeroed is an instance that was not declared. */
struct instance {
    struct agent_plugin info; /* of the host's ABI: members that the plugin does not have are 0 */
    struct card card;         /* what it declares for clients */
    void *self;
    bool created;
};

/* Steps abi and declare: take over what a plugin's entry point returned; -EINVAL and the refusal.
 */
int instance_declare(struct instance *instance, const struct agent_plugin *theirs,
                     struct refusal *refusal);

/* Steps create and selftest: config is JSON, state is JSON or NULL. Return what refused it. */
int instance_create(struct instance *instance, const char *config, const char *state,
                    struct refusal *refusal);

int instance_handle(const struct instance *instance, const char *input);

/* Set *state to JSON without white space, to be freed, or NULL for none. -EINVAL: what
 * save_state() returned is not JSON; -EMSGSIZE: it has more than AGENT_STATE_MAX bytes; then append
 * what it returned. */
int instance_save_state(const struct instance *instance, char **state, struct buf *why);

/* Call destroy(), if create() succeeded. */
void instance_destroy(struct instance *instance);

#endif
