#include "fleet/confinement.h"

#include "base/mem.h"
#include "config/setting.h"
#include "wire/frames.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct confinement {
    struct buf pairs; /* of OPEN */
    char **env;
};

/* Variables that every plugin gets, written as plugin.NAME.env is; no secrets. */
static const char common_env[] =
    "PATH HOME USER LOGNAME SHELL LANG LANGUAGE LC_* TZ TMPDIR http_proxy https_proxy HTTPS_PROXY "
    "all_proxy ALL_PROXY no_proxy NO_PROXY SSL_CERT_FILE SSL_CERT_DIR CURL_CA_BUNDLE LD_* "
    "GLIBC_TUNABLES MALLOC_* ASAN_OPTIONS LSAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS";

/* Return true if the word of a list is the variable's name, or its beginning and '*'. */
static bool is_named(const char *list, const char *variable)
{
    size_t length, name = strcspn(variable, "=");

    for (; (length = setting_word(&list)) > 0; list += length) {
        if (list[length - 1] == '*' ? name >= length - 1 && !memcmp(list, variable, length - 1)
                                    : name == length && !memcmp(list, variable, length))
            return true;
    }
    return false;
}

/* Return true if the list sets the variable: NAME=VALUE. */
static bool is_set(const char *list, const char *variable)
{
    size_t length, name = strcspn(variable, "=");

    for (; (length = setting_word(&list)) > 0; list += length) {
        if (length > name && list[name] == '=' && !memcmp(list, variable, name))
            return true;
    }
    return false;
}

static char **make_env(const char *list)
{
    size_t count = 0, most = strlen(list) + 1, length;
    char **env;

    for (char **at = environ; *at; at++)
        most++;
    env = mem_alloc(most * sizeof *env);
    for (char **at = environ; *at; at++) {
        if ((is_named(common_env, *at) || is_named(list, *at)) && !is_set(list, *at))
            env[count++] = mem_strdup(*at);
    }
    for (; (length = setting_word(&list)) > 0; list += length) {
        if (memchr(list, '=', length))
            env[count++] = mem_printf("%.*s", (int)length, list);
    }
    return env;
}

static void add_limit(struct buf *pairs, const char *name, size_t limit)
{
    char digits[BUF_DIGITS_MAX + 1] = "";

    buf_digits(digits, limit);
    if (limit != SETTING_LIMIT_AUTO)
        wire_append_pair(pairs, name, digits);
}

struct confinement *confinement_create(const struct config_plugin *plugin, const char *file,
                                       bool debug)
{
    const char *slash = strrchr(file, '/');
    char *folder = slash ? mem_printf("%.*s", (int)(slash - file), file) : mem_strdup(".");
    struct confinement *confinement = mem_alloc(sizeof *confinement);
    struct buf *pairs = &confinement->pairs;

    wire_append_pair(pairs, "confined", "yes");
    wire_append_pair(pairs, "debug", debug ? "yes" : "no");
    wire_append_pair(pairs, "env", plugin->env);
    wire_append_pair(pairs, "user", plugin->user);
    wire_append_pair(pairs, "sandbox", plugin->sandbox);
    wire_append_pair(pairs, "folder", folder);
    wire_append_pair(pairs, "read", plugin->sandbox_read);
    wire_append_pair(pairs, "write", plugin->sandbox_write);
    wire_append_pair(pairs, "connect", plugin->sandbox_connect);
    free(folder);
    add_limit(pairs, "core", plugin->core == SETTING_LIMIT_AUTO && !debug ? 0 : plugin->core);
    add_limit(pairs, "nofile", plugin->nofile);
    add_limit(pairs, "nproc", plugin->nproc);
    add_limit(pairs, "as", plugin->as);
    add_limit(pairs, "fsize", plugin->fsize);
    confinement->env = make_env(plugin->env);
    return confinement;
}

const struct config_plugin *confinement_section(const struct config *config, const char *file)
{
    const char *slash = strrchr(file, '/'), *start = slash ? slash + 1 : file;
    size_t length = strlen(start);
    const struct config_plugin *plugin;
    char *name;

    if (length > 3 && strcmp(start + length - 3, ".so") == 0)
        length -= 3;
    name = mem_printf("%.*s", (int)length, start);
    plugin = config_plugin(config, name);
    free(name);
    return plugin;
}

char *const *confinement_env(const struct confinement *confinement)
{
    return confinement->env;
}

const struct buf *confinement_pairs(const struct confinement *confinement)
{
    return &confinement->pairs;
}

void confinement_destroy(struct confinement *confinement)
{
    if (confinement == NULL)
        return;
    for (char **at = confinement->env; *at; at++)
        free(*at);
    free(confinement->env);
    buf_finish(&confinement->pairs);
    free(confinement);
}
