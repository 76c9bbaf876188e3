#include "cli/cli.h"

#include "base/guard.h"
#include "base/log.h"
#include "base/user.h"
#include "base/why.h"
#include "cli/check.h"
#include "config/config.h"
#include "fleet/spawn.h"
#include "front.h"
#include "reload.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

static const char usage[] =
    "usage: sluice serve [OPTION]...\n"
    "\n"
    "Serves the agents of a plugin folder until SIGINT or SIGTERM. When it is ready,\n"
    "it prints \"sluice: listening on http://ADDR:PORT\" to standard error.\n"
    "\n"
    "  -c, --config FILE       read the configuration from FILE (INI)\n"
    "      --listen ADDR:PORT  where to listen, 127.0.0.1:8080 if not given; a port\n"
    "                          of 0 takes a free one; also unix:PATH, and several\n"
    "                          with commas between them\n"
    "      --plugins DIR       the plugin folder, the installed one if not given\n"
    "      --set host.KEY=VALUE\n"
    "      --set plugin.NAME.KEY=VALUE\n"
    "                          override one setting; may be given many times\n"
    "  -n, --check             only check the configuration, and each plugin as\n"
    "                          `sluice check` does\n"
    "  -v, --verbose           log more\n"
    "      --defaults          print a configuration file with every default\n"
    "  -h, --help              print this\n"
    "\n"
    "Try it:\n"
    "  sluice serve --listen 127.0.0.1:8080 &\n"
    "  curl -N --json '{\"question\":\"How is a plugin registered?\"}' \\\n"
    "      http://127.0.0.1:8080/agents/ask/runs\n";

enum { SERVE_LISTEN = 256, SERVE_PLUGINS, SERVE_SET, SERVE_DEFAULTS };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"listen", required_argument, NULL, SERVE_LISTEN},
    {"plugins", required_argument, NULL, SERVE_PLUGINS},
    {"set", required_argument, NULL, SERVE_SET},
    {"check", no_argument, NULL, 'n'},
    {"verbose", no_argument, NULL, 'v'},
    {"defaults", no_argument, NULL, SERVE_DEFAULTS},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static const char short_options[] = "c:nvh";

/* The command line, and what it asks for besides settings. */
struct request {
    int argc;
    char **argv;
    const char *file;
    bool only_check;
    bool only_help;
    bool only_defaults;
};

static bool read_request(int argc, char **argv, struct request *request)
{
    int code;

    while ((code = getopt_long(argc, argv, short_options, options, NULL)) != -1) {
        if (code == '?')
            return false;
        if (code == 'c')
            request->file = optarg;
        request->only_check |= code == 'n';
        request->only_help |= code == 'h';
        request->only_defaults |= code == SERVE_DEFAULTS;
        if (code == 'v')
            log_open("front", "", LOG_DEBUG);
    }
    if (optind < argc)
        fprintf(stderr, "sluice serve: '%s' is not an option\n", argv[optind]);
    return optind == argc;
}

static int set(struct config *config, const char *key, struct why *why)
{
    char assignment[4096];

    snprintf(assignment, sizeof assignment, "host.%s=%s", key, optarg);
    return config_set(config, assignment, why);
}

/* Apply the settings of the command line, which override the file's. */
static int apply_settings(int argc, char **argv, struct config *config, struct why *why)
{
    int code, status = 0;

    optind = 0;
    while (status == 0 && (code = getopt_long(argc, argv, short_options, options, NULL)) != -1) {
        if (code == SERVE_LISTEN)
            status = set(config, "listen", why);
        else if (code == SERVE_PLUGINS)
            status = set(config, "plugins", why);
        else if (code == SERVE_SET)
            status = config_set(config, optarg, why);
    }
    return status;
}

/* Make the configuration from file and command line; NULL and why if something is refused. */
static struct config *make_config(void *data, struct why *why)
{
    const struct request *request = data;
    struct config *config = config_create();

    if ((request->file && config_read(config, request->file, why) < 0) ||
        apply_settings(request->argc, request->argv, config, why) < 0 ||
        config_check(config, config->listen, why) < 0) {
        config_destroy(config);
        return NULL;
    }
    return config;
}

static void on_doubt(void *data, const char *text)
{
    (void)data;
    fprintf(stderr, "sluice: warning: %s\n", text);
}

/* Refuse now what serving would refuse later. Takes the configuration over. */
static int check(struct config *config)
{
    struct reading reading = {.config = config};
    struct why why = {0};
    int status = 0;

    log_open("front", "", LOG_WARN);
    config_review(config, on_doubt, NULL);
    if (*config->user && (status = user_choose(config->user, &why)) < 0)
        why_set(&why, status, "host.%s", why_text(&why));
    if (status == 0)
        status = reading_fill(&reading, NULL, config->listen, true, &why);
    if (status == 0 && (status = user_become(false, &why)) < 0)
        why_set(&why, status, "host.%s", why_text(&why));
    guard_set(false); /* as it was before that */
    if (status < 0)
        fprintf(stderr, "sluice: %s\n", why_text(&why));
    else if ((status = check_folder(config)) == 0)
        printf("the configuration is fine\n");
    reading_finish(&reading);
    why_finish(&why);
    return status < 0;
}

static int serve(struct request *request)
{
    struct why why = {0};
    struct config *config = make_config(request, &why);
    int status = 0;

    if (config == NULL || spawn_prepare(&why) < 0) {
        fprintf(stderr, "sluice: %s\n", why_text(&why));
        why_finish(&why);
        config_destroy(config);
        return 1;
    }
    if (request->only_check)
        return check(config);
    status = front_main(config, make_config, request);
    config_destroy(config);
    return status;
}

int cli_serve(int argc, char **argv)
{
    struct request request = {.argc = argc, .argv = argv};

    if (!read_request(argc, argv, &request))
        return cli_misused("serve");
    if (request.only_help) {
        fputs(usage, stdout);
        return 0;
    }
    if (request.only_defaults) {
        config_print_defaults(stdout);
        return 0;
    }
    return serve(&request);
}
