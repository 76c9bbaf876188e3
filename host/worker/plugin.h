/*
 * One plugin: a file that was loaded, and the agent that it declares, created and
 * tested. A refusal names the file, what was wanted and what was found.
 *
 * libltdl is not thread safe: one thread opens plugins.
 */
#ifndef WORKER_PLUGIN_H
#define WORKER_PLUGIN_H

#include "worker/instance.h"

struct plugin;

/* Return what the plugin declares for clients. */
const struct card *plugin_card(const struct plugin *plugin);

/*
 * Steps open, entry and abi. path is what is loaded, file what the operator
 * calls it. -EINVAL and the refusal.
 */
int plugin_open(const char *path, const char *file, const struct agent_host *host,
                struct plugin **out, struct refusal *refusal);

/* Return true if the file at this path says $ORIGIN, or calls dladdr(): it looks beside itself. */
bool plugin_looks_beside(const char *path);

/* Steps create and selftest; config is JSON, state is JSON or NULL. */
int plugin_create(struct plugin *plugin, const char *config, const char *state,
                  struct refusal *refusal);

/* Return what it declared; see struct instance. */
const struct agent_plugin *plugin_info(const struct plugin *plugin);

/* __cxa_get_globals(): return what a C++ runtime keeps of this thread's exceptions. */
typedef void *cxx_globals(void);

/*
 * Find the C++ runtimes that are loaded: the plugin's own, also where it is linked statically and
 * hidden, those of its libraries, and others that are shared. Return how many; some may be the
 * same.
 */
#define PLUGIN_RUNTIMES_MAX 5
size_t plugin_runtimes(const struct plugin *plugin, cxx_globals *found[PLUGIN_RUNTIMES_MAX]);

/* Call its handle() with its self. */
int plugin_handle(const struct plugin *plugin, const char *input);

/* Return its state as JSON without white space, to be freed; NULL if it has none, or if what it
 * returned is refused, which is logged. */
char *plugin_save_state(const struct plugin *plugin);

/* Call its destroy() if it was created; the code stays mapped. NULL does nothing. */
void plugin_destroy(struct plugin *plugin);

#endif
