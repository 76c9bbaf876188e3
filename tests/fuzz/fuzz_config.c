/*
 * Any bytes are a configuration file, and after a NUL further ones are assignments of the command
 * line. What is refused has a reason of one line; what is taken has its settings in range, and
 * what a plugin gets is JSON.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create() */
#endif

#include "fuzz.h"

#include "base/json.h"
#include "base/log.h"
#include "base/why.h"
#include "config/config.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void check_why(int status, const struct why *why)
{
    assert((status < 0) == (*why_text(why) != '\0'));
    assert(strpbrk(why_text(why), "\r\n") == NULL);
}

static int read_file(struct config *config, const char *data, size_t size, struct why *why)
{
    int file = memfd_create("config", MFD_CLOEXEC), status;
    char path[64];

    if (file < 0 || write(file, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    status = config_read(config, path, why);
    close(file);
    return status;
}

static void on_change(void *data, const char *key, bool needs_restart)
{
    (void)data;
    (void)key;
    (void)needs_restart;
    abort();
}

static void on_warning(void *data, const char *text)
{
    (void)data;
    assert(*text && strpbrk(text, "\r\n") == NULL);
}

static void check_config(struct config *config, struct why *why)
{
    check_why(config_check(config, config->listen, why), why);
    for (const struct config_plugin *plugin = config->sections; plugin;
         plugin = plugin->in_config.next) {
        char *json = config_plugin_json(config, plugin->name);

        assert(strlen(json) <= CONFIG_JSON_MAX);
        assert(json_check(json, strlen(json)) == (ssize_t)strlen(json));
        assert(config_plugin(config, plugin->name) == plugin);
        assert(plugin->workers >= 1 && plugin->threads >= 1);
        free(json);
    }
    config_compare(config, config, on_change, NULL); /* nothing has changed */
    config_review(config, on_warning, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data, *end = memchr(bytes, '\0', size);
    size_t file_size = size > 0 && end ? (size_t)(end - bytes) : size;
    struct config *config = config_create();
    struct why why = {0};
    int status;

    log_open("fuzz", "", LOG_FATAL);
    status = read_file(config, bytes, file_size, &why);
    check_why(status, &why);
    while (status == 0 && file_size < size) {
        char *assignment;

        bytes += file_size + 1;
        size -= file_size + 1;
        end = memchr(bytes, '\0', size);
        file_size = size > 0 && end ? (size_t)(end - bytes) : size;
        assignment = strndup(bytes, file_size);
        status = config_set(config, assignment, &why);
        check_why(status, &why);
        free(assignment);
    }
    if (status == 0)
        check_config(config, &why);
    why_finish(&why);
    config_destroy(config);
    return 0;
}
