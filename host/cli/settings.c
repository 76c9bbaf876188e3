#include "cli/settings.h"

#include "base/log.h"
#include "base/why.h"
#include "cli/cli.h"

#include <getopt.h>
#include <stdio.h>

enum { SETTINGS_SET = 256, SETTINGS_TEXT };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},   {"set", required_argument, NULL, SETTINGS_SET},
    {"text", no_argument, NULL, SETTINGS_TEXT}, {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},           {0},
};

static int take_option(struct settings *settings, int code, const char *command)
{
    struct why why = {0};
    int status = 0;

    if (code == 'c')
        status = config_read(settings->config, optarg, &why);
    else if (code == SETTINGS_SET)
        status = config_set(settings->config, optarg, &why);
    else if (code == 'v')
        log_open(command, "", LOG_DEBUG);
    else if (code == SETTINGS_TEXT)
        settings->text = true;
    if (status < 0)
        fprintf(stderr, "sluice: %s\n", why_text(&why));
    why_finish(&why);
    return status;
}

static bool stop(struct settings *settings, int *status, int value)
{
    settings_finish(settings);
    *status = value;
    return false;
}

bool settings_read(int argc, char **argv, const char *usage, struct settings *settings, int *status)
{
    int code;

    *settings = (struct settings){.config = config_create()};
    while ((code = getopt_long(argc, argv, "c:vh", options, NULL)) != -1) {
        if (code == '?')
            return stop(settings, status, cli_misused(argv[0]));
        if (code == 'h') {
            fputs(usage, stdout);
            return stop(settings, status, 0);
        }
        if (take_option(settings, code, argv[0]) < 0)
            return stop(settings, status, 1);
    }
    if (optind == argc) {
        fprintf(stderr, "sluice %s: which PLUGIN.so?\n", argv[0]);
        return stop(settings, status, cli_misused(argv[0]));
    }
    settings->plugin = argv[optind];
    settings->extra = argv + optind + 1;
    settings->extra_count = argc - optind - 1;
    return true;
}

void settings_finish(struct settings *settings)
{
    config_destroy(settings->config);
}

int cli_misused(const char *subcommand)
{
    fprintf(stderr, "try: sluice %s --help\n", subcommand);
    return 2;
}
