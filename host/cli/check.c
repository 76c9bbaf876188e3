/* Starts the same worker process as `sluice serve`, but gives it no runs. */
#include "cli/cli.h"

#include "base/log.h"
#include "base/mem.h"
#include "cli/check.h"
#include "cli/settings.h"
#include "fleet/look.h"
#include "fleet/process.h"
#include "fleet/spawn.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: sluice check [OPTION]... PLUGIN.so\n"
    "\n"
    "Loads the plugin in a process of its own, checks its ABI, calls create() and\n"
    "selftest(), and prints its name, version and mode, or why it is not fit to\n"
    "serve. Exit status 0 if it is fit, 1 if not.\n"
    "\n" SETTINGS_USAGE "  -h, --help              print this\n";

struct check {
    const struct config *config;
    const char *file;
    char *name, *version, *mode;
    bool ready;
    bool fit;
};

static void on_hello(void *data, struct process *process, const struct process_hello *hello)
{
    struct check *check = data;
    const struct config_plugin *plugin = config_plugin(check->config, hello->name);
    char *config = config_plugin_json(check->config, hello->name);
    struct process_setup setup = {
        .threads = plugin->threads, .stack = plugin->stack, .config = config};

    if (strchr(hello->name, '.'))
        fprintf(stderr,
                "sluice: warning: the name '%s' has a '.', which names of functions and tools may "
                "not have in several model APIs; use '-' or '_'\n",
                hello->name);
    check->name = strdup(hello->name);
    check->version = strdup(hello->version);
    check->mode = strdup(hello->mode);
    process_create(process, &setup);
    free(config);
}

static void on_ready(void *data, struct process *process)
{
    struct check *check = data;

    check->ready = true;
    process_quit(process, PROCESS_QUIT_MS);
}

static void on_gone(void *data, struct process *process, const char *reason, bool was_told)
{
    struct check *check = data;

    (void)process;
    check->fit = check->ready && was_told;
    if (check->fit)
        printf("%s %s, %s mode: fit to serve\n", check->name, check->version, check->mode);
    else
        fprintf(stderr, "sluice: %s is not fit to serve: %s\n", check->file, reason);
}

static int is_plugin(const struct dirent *entry)
{
    return look_is_plugin(entry->d_name);
}

static int check_file(struct check *check)
{
    static const struct process_handler handler = {
        .hello = on_hello, .ready = on_ready, .gone = on_gone};
    struct process_spec spec = {.generation = 1,
                                .names = true,
                                .start_timeout = check->config->start_timeout,
                                .stuck_timeout = check->config->stuck_timeout};
    uv_loop_t loop = {.data = NULL};
    struct process *process;
    struct why why = {0};
    int status;

    if (image_create(check->file, &spec.image, &why) < 0) {
        fprintf(stderr, "sluice: %s is not fit to serve: %s\n", check->file, why_text(&why));
        why_finish(&why);
        return 1;
    }
    if (uv_loop_init(&loop) < 0)
        log_fatal("the event loop does not start");
    status = process_spawn(&loop, &spec, &handler, check, &process);
    if (status < 0)
        fprintf(stderr, "sluice: cannot start a worker: %s\n", uv_strerror(status));
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    image_unref(spec.image);
    return check->fit ? 0 : 1;
}

int check_plugin(const struct config *config, const char *file)
{
    struct check check = {.config = config, .file = file};
    int status = check_file(&check);

    free(check.name);
    free(check.version);
    free(check.mode);
    return status;
}

int check_folder(const struct config *config)
{
    struct dirent **found;
    int status = 0, count = scandir(config->plugins, &found, is_plugin, alphasort);

    if (count < 0) {
        status = -errno;
        fprintf(stderr, "sluice: cannot read the plugin folder %s: %s\n", config->plugins,
                strerror(errno));
        return status;
    }
    if (count == 0)
        fprintf(stderr, "sluice: warning: no plugin (*.so) in the plugin folder %s\n",
                config->plugins);
    for (int i = 0; i < count; i++) {
        char *file = mem_printf("%s/%s", config->plugins, found[i]->d_name);

        if (check_plugin(config, file) != 0)
            status = -EINVAL;
        free(file);
        free(found[i]);
    }
    free(found);
    return status;
}

int cli_check(int argc, char **argv)
{
    struct settings settings;
    struct why why = {0};
    int status;

    log_open("front", "", LOG_PLUGIN);
    if (!settings_read(argc, argv, usage, &settings, &status))
        return status;
    if (settings.extra_count > 0) {
        fprintf(stderr, "sluice check: one PLUGIN.so is wanted\n");
        status = cli_misused("check");
    } else if (spawn_prepare(&why) < 0) {
        fprintf(stderr, "sluice: %s\n", why_text(&why));
        why_finish(&why);
        status = 1;
    } else {
        status = check_plugin(settings.config, settings.plugin);
    }
    settings_finish(&settings);
    return status;
}
