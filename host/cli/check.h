/* Whether plugins are fit to serve, each tried in a process of its own. */
#ifndef CLI_CHECK_H
#define CLI_CHECK_H

#include "config/config.h"

/* Print what the plugin is, or why it is not fit; return the exit status. */
int check_plugin(const struct config *config, const char *file);

/* The same for each plugin of the plugin folder; -errno if one is not fit. */
int check_folder(const struct config *config);

#endif
