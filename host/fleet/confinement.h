/*
 * The confinement of a plugin, as its section of the configuration says: the
 * environment of its workers, which the front makes, and what worker/sandbox.c does
 * to the process before the plugin is loaded.
 *
 * A plugin's name is known only when it is loaded, so the section is that of its
 * file's name: NAME.so. A plugin that then gives another name is refused if that
 * name's section confines in another way.
 */
#ifndef FLEET_CONFINEMENT_H
#define FLEET_CONFINEMENT_H

#include "base/buf.h"
#include "config/config.h"

struct confinement;

/* debug: see host.debug. */
struct confinement *confinement_create(const struct config_plugin *plugin, const char *file,
                                       bool debug);

/* Return the section of the plugin that the file should hold. */
const struct config_plugin *confinement_section(const struct config *config, const char *file);

/* Return "NAME=value" strings, with NULL at the end; values are those of the front now. */
char *const *confinement_env(const struct confinement *confinement);

/* Return pairs of OPEN (wire/frames.h). Equal bytes confine in the same way. */
const struct buf *confinement_pairs(const struct confinement *confinement);

/* confinement may be NULL. */
void confinement_destroy(struct confinement *confinement);

#endif
