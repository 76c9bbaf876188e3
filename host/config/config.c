/*
 * To add a key of the host: a field in struct config, or in struct
 * config_plugin for one of a plugin's section, and a line in host_keys or
 * plugin_keys below; docs/configuration.md has a table of each.
 *
 * Both sources, a line of the file and a --set, end in assign(). A key of the
 * host is read as its setting wants it; any other of a plugin's section is the
 * author's and kept as text.
 *
 * Functions that return a char * for why something is refused return NULL if it
 * is not.
 */
#include "config/config.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/ini.h"
#include "config/setting.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MAX   64
#define KEY_CHARS  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
#define NAME_CHARS KEY_CHARS "."

#define HOST(kind, field, change) \
    SETTING_##kind, #field, offsetof(struct config, field), SETTING_##change
#define PLUGIN(kind, field) \
    SETTING_##kind, #field, offsetof(struct config_plugin, field), SETTING_LIVE

/* clang-format off */
static const struct setting host_keys[] = {
    {HOST(ADDRESS, listen, RESTART), "127.0.0.1:8080", NULL, NULL, "where clients connect"},
    {HOST(PATH, plugins, RESTART), SLUICE_PLUGIN_DIR, NULL, NULL, "folder of the plugins"},
    {HOST(SIZE, max_headers, RESTART), "8K", "4K", "64K", "largest head of a request, about; memory of each connection"},
    {HOST(SIZE, max_body, RESTART), "1M", "1", "1M", "largest body of a request"},
    {HOST(COUNT, max_connections, RESTART), "16384", "1", "1048576", "most connections at a time"},
    {HOST(COUNT, max_connections_per_address, RESTART), "0", "0", "1048576", "of those, from one address; 0 is no limit"},
    {HOST(COUNT, max_runs, LIVE), "16384", "1", "1048576", "most live runs at a time"},
    {HOST(COUNT, max_runs_per_client, LIVE), "0", "0", "1048576", "of those, of one token or address; 0 is no limit"},
    {HOST(SECONDS, connection_timeout, RESTART), "30", "1", "3600", "for sending a request, or being idle"},
    {HOST(SECONDS, request_timeout, RESTART), "60", "1", "3600", "for a request to arrive whole, however it trickles"},
    {HOST(SECONDS, heartbeat, LIVE), "15", "1", "3600", "between comments on an idle stream"},
    {HOST(SECONDS, stall, LIVE), "30", "1", "3600", "until a client that does not read is disconnected"},
    {HOST(SIZE, log_size, LIVE), "1M", "1K", "64M", "events of one run that are kept for readers to come"},
    {HOST(SIZE, log_budget, LIVE), "256M", "1M", "1048576M", "memory for the events of all runs"},
    {HOST(SECONDS, retention, LIVE), "300", "0", "86400", "for which an ended run can be read"},
    {HOST(SECONDS, start_timeout, LIVE), "10", "1", "3600", "for a worker to become ready"},
    {HOST(SECONDS, shutdown_timeout, LIVE), "5", "0", "3600", "for live runs to end at shutdown"},
    {HOST(SECONDS, stuck_timeout, LIVE), "5", "1", "3600", "for a worker's loop to answer"},
    {HOST(SECONDS, drain_timeout, LIVE), "60", "0", "86400", "for the runs of a replaced worker to end"},
    {HOST(COUNT, max_generations, LIVE), "32", "2", "1024", "most live generations of one plugin"},
    {HOST(PATH, admin, RESTART), CONFIG_AUTO, NULL, NULL, "operators' socket"},
    {HOST(HEADERS, forward_headers, LIVE), "", NULL, NULL, "request headers that agents may read"},
    {HOST(FILE, tokens, LIVE), "", NULL, NULL, "the clients' tokens, as `sluice token` makes them"},
    {HOST(SWITCH, allow_anonymous, LIVE), "no", NULL, NULL, "without tokens, also on other addresses than loopback"},
    {HOST(ORIGINS, cors_origins, LIVE), "", NULL, NULL, "whose web pages may use this server"},
    {HOST(FILE, tls_certificate, RESTART_IF_SET), "", NULL, NULL, "certificate chain for HTTPS, PEM"},
    {HOST(FILE, tls_key, LIVE), "", NULL, NULL, "its private key, PEM"},
    {0},
};

static const struct setting plugin_keys[] = {
    {PLUGIN(COUNT, threads), "256", "1", "4096", "most runs at a time in thread mode; more wait"},
    {PLUGIN(SIZE, stack), "256K", "64K", "64M", "of each fiber in fiber mode"},
    {PLUGIN(COUNT, workers), "1", "1", "64", "worker processes"},
    {PLUGIN(SIZE, memory_limit), "0", "0", "1048576M", "of a worker, which is replaced then; 0 is none"},
    {PLUGIN(COUNT, max_runs), "0", "0", "1000000000", "after which a worker is replaced; 0 is none"},
    {PLUGIN(COUNT, max_live), "0", "0", "1048576", "most live runs at a time, more wait; 0 is no limit"},
    {PLUGIN(COUNT, max_queued), "4096", "1", "1048576", "most runs that wait"},
    {PLUGIN(DISCONNECT, on_disconnect), "30", NULL, NULL, "when a run's last client left"},
    {PLUGIN(SECONDS, deadline), "0", "0", "86400", "for a run; 0 is none"},
    {PLUGIN(SECONDS, cancel_grace), "10", "1", "3600", "for a cancelled run to stop"},
    {0},
};
/* clang-format on */

/* What cJSON made. */
static void *present(void *made)
{
    if (made == NULL)
        log_fatal("out of memory");
    return made;
}

static bool is_word(const char *text, const char *chars)
{
    size_t length = strspn(text, chars);
    return length > 0 && length <= WORD_MAX && text[length] == '\0';
}

static void keys_default(const struct setting *key, void *owner)
{
    for (; key->name; key++) {
        int status = setting_set(key, key->initial, owner);
        assert(status == 0);
        (void)status;
    }
}

static const struct setting *key_find(const struct setting *key, const char *name)
{
    for (; key->name; key++) {
        if (strcmp(key->name, name) == 0)
            return key;
    }
    return NULL;
}

static char *key_set(const struct setting *key, const char *value, void *owner)
{
    char wants[128];

    if (setting_set(key, value, owner) == 0)
        return NULL;
    setting_wants(key, wants, sizeof wants);
    return mem_printf("%s must be %s, not '%.64s'", key->name, wants, value);
}

static char *key_unknown(const char *name)
{
    struct buf why = {0};

    buf_printf(&why, "unknown key '%.64s' in [host]; keys are", name);
    for (const struct setting *key = host_keys; key->name; key++)
        buf_printf(&why, "%s %s", key == host_keys ? "" : ",", key->name);
    return buf_steal(&why);
}

/* One of the author's keys. */
static char *pair_set(struct config_plugin *plugin, const char *key, const char *value)
{
    const cJSON *old = cJSON_GetObjectItemCaseSensitive(plugin->pairs, key);
    ssize_t length = json_escaped_length(value, strlen(value));

    if (!is_word(key, KEY_CHARS))
        return mem_printf("'%.80s' is not a key; a key has 1 to %d letters, digits, '-' and '_'",
                          key, WORD_MAX);
    if (length < 0)
        return mem_printf("the value of %s is not UTF-8", key);
    plugin->json_size += (size_t)length;
    if (old)
        plugin->json_size -=
            (size_t)json_escaped_length(old->valuestring, strlen(old->valuestring));
    else
        plugin->json_size += strlen(key) + strlen("\"\":\"\",");
    if (plugin->json_size > CONFIG_JSON_MAX)
        return mem_printf("with %s, [plugin %s] has more than %d KiB of keys and values", key,
                          plugin->name, CONFIG_JSON_MAX / 1024);
    if (old)
        cJSON_ReplaceItemInObjectCaseSensitive(plugin->pairs, key,
                                               present(cJSON_CreateString(value)));
    else
        present(cJSON_AddStringToObject(plugin->pairs, key, value));
    return NULL;
}

/* plugin NULL is [host]. */
static char *assign(struct config *config, struct config_plugin *plugin, const char *name,
                    const char *value)
{
    const struct setting *key = key_find(plugin ? plugin_keys : host_keys, name);

    if (key)
        return key_set(key, value, plugin ? (void *)plugin : (void *)config);
    if (*name == '\0')
        return mem_strdup("no key before the '='");
    if (plugin)
        return pair_set(plugin, name, value);
    return key_unknown(name);
}

static void section_init(struct config_plugin *plugin)
{
    plugin->pairs = present(cJSON_CreateObject());
    plugin->json_size = strlen("{}");
    keys_default(plugin_keys, plugin);
}

static struct config_plugin *section_find(const struct config *config, const char *name)
{
    struct config_plugin *plugin = config->sections;

    while (plugin && strcmp(plugin->name, name) != 0)
        plugin = plugin->next;
    return plugin;
}

/* Finds the section, or makes it. */
static char *section_open(struct config *config, const char *name, struct config_plugin **out)
{
    struct config_plugin *plugin = section_find(config, name), **link = &config->sections;

    if (plugin == NULL) {
        if (!is_word(name, NAME_CHARS))
            return mem_printf(
                "'%.80s' is not a plugin's name; it has 1 to %d letters, digits, '-', '_' and '.'",
                name, WORD_MAX);
        plugin = mem_alloc(sizeof *plugin);
        plugin->name = mem_strdup(name);
        section_init(plugin);
        while (*link)
            link = &(*link)->next;
        *link = plugin;
    }
    *out = plugin;
    return NULL;
}

/* A line of the file. */
static char *line_assign(void *data, const char *kind, const char *name, const char *key,
                         const char *value)
{
    struct config_plugin *plugin = NULL;
    struct config *config = data;
    char *why = NULL;

    if (*kind == '\0' && key)
        return mem_printf("'%.64s' is outside a section; put it below [host] or [plugin NAME]",
                          key);
    if (strcmp(kind, "plugin") == 0 && *name)
        why = section_open(config, name, &plugin);
    else if (strcmp(kind, "host") != 0 || *name)
        why = mem_printf("[%.64s%s%.64s] is not a section; sections are [host] and [plugin NAME]",
                         kind, *name ? " " : "", name);
    if (why || key == NULL)
        return why;
    return assign(config, plugin, key, value);
}

/* Takes the assignment apart in place. */
static char *text_assign(struct config *config, char *text)
{
    char *value = strchr(text, '='), *key, *why;
    struct config_plugin *plugin;

    if (value) {
        *value++ = '\0';
        if (strncmp(text, "host.", 5) == 0)
            return assign(config, NULL, text + 5, value);
        if (strncmp(text, "plugin.", 7) == 0 && (key = strrchr(text + 7, '.'))) {
            *key++ = '\0';
            why = section_open(config, text + 7, &plugin);
            return why ? why : assign(config, plugin, key, value);
        }
    }
    return mem_strdup("write host.KEY=VALUE or plugin.NAME.KEY=VALUE");
}

/* Frees the message, if there is one, and shows it as one line. */
static int report(char *message, char *error, size_t error_size)
{
    if (message == NULL)
        return 0;
    for (char *at = message; *at; at++) {
        if (iscntrl((unsigned char)*at))
            *at = '?';
    }
    snprintf(error, error_size, "%s", message);
    free(message);
    return -EINVAL;
}

int config_read(struct config *config, const char *file, char *error, size_t error_size)
{
    char *message = NULL;
    int status = ini_read(file, line_assign, config, &message);

    report(message, error, error_size);
    return status;
}

int config_set(struct config *config, const char *assignment, char *error, size_t error_size)
{
    char *text = mem_strdup(assignment), *why = text_assign(config, text);
    char *message = why ? mem_printf("--set %.200s: %s", assignment, why) : NULL;

    free(text);
    free(why);
    return report(message, error, error_size);
}

/* Whether only this machine can reach it. */
static bool is_loopback(const char *listen)
{
    struct sockaddr_storage address = {0};
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)&address)->sin6_addr;

    if (setting_address(listen, &address) < 0)
        return false;
    if (address.ss_family == AF_INET)
        return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return IN6_IS_ADDR_LOOPBACK(v6) ||
           (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == IN_LOOPBACKNET);
}

int config_check(const struct config *config, const char *listen, char *error, size_t error_size)
{
    char *why = NULL;

    if (!*config->tls_certificate != !*config->tls_key)
        why = mem_printf("%s is set without %s; set both, or none",
                         *config->tls_key ? "tls_key" : "tls_certificate",
                         *config->tls_key ? "tls_certificate" : "tls_key");
    else if (!*config->tokens && !config->allow_anonymous && !is_loopback(listen))
        why = mem_printf("others can reach %s: set host.tokens to a file of tokens, which `sluice "
                         "token` makes, or host.allow_anonymous to yes if everyone may start runs",
                         listen);
    return report(why, error, error_size);
}

struct config *config_create(void)
{
    struct config *config = mem_alloc(sizeof *config);

    keys_default(host_keys, config);
    section_init(&config->plugin_defaults);
    return config;
}

void config_address(const struct config *config, struct sockaddr_storage *out)
{
    int status = setting_address(config->listen, out);
    assert(status == 0);
    (void)status;
}

const struct config_plugin *config_plugin(const struct config *config, const char *name)
{
    const struct config_plugin *plugin = section_find(config, name);
    return plugin ? plugin : &config->plugin_defaults;
}

char *config_plugin_json(const struct config *config, const char *name)
{
    return present(cJSON_PrintUnformatted(config_plugin(config, name)->pairs));
}

void config_swap(struct config *a, struct config *b)
{
    struct config held = *a;
    *a = *b;
    *b = held;
}

void config_restart_keys(const struct config *old, const struct config *new, struct buf *names)
{
    for (const struct setting *key = host_keys; key->name; key++) {
        if (setting_needs_restart(key, old, new))
            buf_printf(names, "%s%s", buf_length(names) > 0 ? "," : "", key->name);
    }
}

static void keys_print(const struct setting *key, FILE *out)
{
    for (; key->name; key++) {
        char wants[128];
        setting_wants(key, wants, sizeof wants);
        fprintf(out, "\n# %s: %s\n%s = %s\n", key->about, wants, key->name, key->initial);
    }
}

void config_print_defaults(FILE *out)
{
    fputs("[host]\n", out);
    keys_print(host_keys, out);
    fputs("\n# one for each plugin; keys that are not listed here go to the plugin\n"
          "[plugin NAME]\n",
          out);
    keys_print(plugin_keys, out);
}

void config_destroy(struct config *config)
{
    if (config == NULL)
        return;
    while (config->sections) {
        struct config_plugin *plugin = config->sections;
        config->sections = plugin->next;
        cJSON_Delete(plugin->pairs);
        free(plugin->name);
        free(plugin);
    }
    cJSON_Delete(config->plugin_defaults.pairs);
    free(config->listen);
    free(config->plugins);
    free(config->admin);
    free(config->forward_headers);
    free(config->tokens);
    free(config->cors_origins);
    free(config->tls_certificate);
    free(config->tls_key);
    free(config);
}
