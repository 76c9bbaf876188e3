/* The options that `run` and `check` share: a plugin, its configuration, how much to log. */
#ifndef CLI_SETTINGS_H
#define CLI_SETTINGS_H

#include "config/config.h"

#include <stdbool.h>

#define SETTINGS_USAGE                                                                  \
    "  -c, --config FILE       read the plugin's section of this configuration (INI)\n" \
    "      --set plugin.NAME.KEY=VALUE\n"                                               \
    "                          override one setting; may be given many times\n"         \
    "  -v, --verbose           log more\n"

struct settings {
    struct config *config;
    const char *plugin; /* path */
    char **extra;       /* arguments after the plugin */
    int extra_count;
    bool text; /* --text */
};

/* Return false if the command must exit with the status now. */
bool settings_read(int argc, char **argv, const char *usage, struct settings *settings,
                   int *status);

void settings_finish(struct settings *settings);

#endif
