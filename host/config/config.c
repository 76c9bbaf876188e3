/*
 * To add a key of the host: a field in struct config, or in struct
 * config_plugin for a key of a plugin's section, and a line in host_keys or
 * plugin_keys below; docs/configuration.md has a table of each.
 *
 * Both sources, a line of the file and a --set, end in assign(). A key of the
 * host is read as its setting wants; any other key of a plugin's section is the
 * author's and kept as text.
 *
 * Functions that refuse something return -EINVAL and say why.
 */
#include "config/config.h"

#include "base/buf.h"
#include "base/capacity.h"
#include "base/json.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/why.h"
#include "config/ini.h"
#include "config/setting.h"
#include "config/spelling.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define LOG_BUDGET_LEAST (1024 * 1024)

#define WORD_MAX   64
#define KEY_CHARS  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
#define NAME_CHARS KEY_CHARS "."

#define HOST(kind, field, change) \
    SETTING_##kind, #field, offsetof(struct config, field), SETTING_##change
#define PLUGIN(kind, field) \
    SETTING_##kind, #field, offsetof(struct config_plugin, field), SETTING_LIVE

/* clang-format off */
static const struct setting host_keys[] = {
    {HOST(ADDRESSES, listen, RESTART), "127.0.0.1:8080", NULL, NULL, "where clients connect"},
    {HOST(MODE, socket_mode, RESTART), "0660", NULL, NULL, "of the unix sockets in listen"},
    {HOST(NETWORKS, trusted_proxies, LIVE), "", NULL, NULL, "whose word on their clients' addresses counts"},
    {HOST(OPTIONAL_ADDRESSES, proxy_protocol, RESTART), "", NULL, NULL, "those of listen where proxies send the PROXY protocol"},
    {HOST(PATH, plugins, RESTART), SLUICE_PLUGIN_DIR, NULL, NULL, "folder of the plugins"},
    {HOST(SIZE, max_headers, RESTART), "8K", "4K", "64K", "largest head of a request, about; memory of each connection"},
    {HOST(SIZE, max_body, RESTART), "1M", "1", "64M", "largest body of a request"},
    {HOST(COUNT, max_connections, RESTART), "16384", "1", "1048576", "most connections at a time"},
    {HOST(COUNT, max_connections_per_address, RESTART), "0", "0", "1048576", "of those, from one address; 0 is no limit"},
    {HOST(COUNT, max_runs, LIVE), "16384", "1", "1048576", "most live runs at a time"},
    {HOST(COUNT, max_runs_per_client, LIVE), "0", "0", "1048576", "of those, of one token or address; 0 is no limit"},
    {HOST(SECONDS, connection_timeout, RESTART), "30", "1", "3600", "for sending a request, or being idle"},
    {HOST(SECONDS, request_timeout, RESTART), "60", "1", "3600", "for a request to arrive whole, however it trickles"},
    {HOST(SECONDS, heartbeat, LIVE), "15", "1", "3600", "between comments on an idle stream"},
    {HOST(SECONDS, stall, LIVE), "30", "1", "3600", "until a client that does not read is disconnected"},
    {HOST(SIZE, log_size, LIVE), "1M", "1K", "64M", "events of one run that are kept for readers to come"},
    {HOST(SIZE, log_budget, LIVE), "256M", "1M", "1048576M", "memory for what is kept for clients; if it is not set, no more than a quarter of the memory there is"},
    {HOST(SECONDS, retention, LIVE), "300", "0", "86400", "for which an ended run can be read"},
    {HOST(SECONDS, start_timeout, LIVE), "10", "1", "3600", "for a worker to become ready"},
    {HOST(SECONDS, drain_delay, LIVE), "0", "0", "3600", "at shutdown, until load balancers send no more clients"},
    {HOST(SECONDS, shutdown_timeout, LIVE), "30", "0", "3600", "for live runs to end at shutdown"},
    {HOST(SECONDS, stuck_timeout, LIVE), "5", "1", "3600", "for a worker's loop to answer"},
    {HOST(SECONDS, drain_timeout, LIVE), "0", "0", "86400", "for the runs of a replaced worker to end; 0 is no limit"},
    {HOST(COUNT, max_generations, LIVE), "32", "2", "1024", "most live generations of one plugin"},
    {HOST(WORD, log_level, LIVE), "info", "fatal, error, plugin, warn, info, debug", NULL, "least important lines that are logged"},
    {HOST(WORD, log_format, LIVE), "text", "text, json", NULL, "of the log's lines"},
    {HOST(PATH, admin, RESTART), CONFIG_AUTO, NULL, NULL, "operators' socket"},
    {HOST(USER, user, RESTART), "", NULL, NULL, "whose process the server becomes, if root starts it"},
    {HOST(SWITCH, debug, LIVE), "no", NULL, NULL, "debuggers, core files: the user's processes may read the memory"},
    {HOST(SWITCH, strict_modes, LIVE), "no", NULL, NULL, "refuse files of code and secrets that others may change or read"},
    {HOST(PATH, state_folder, RESTART), CONFIG_AUTO, NULL, NULL, "folder of what rollback and drain need after a restart"},
    {HOST(HEADERS, forward_headers, LIVE), "", NULL, NULL, "request headers that agents may read"},
    {HOST(FILE, tokens, LIVE), "", NULL, NULL, "the clients' tokens, as `sluice token` makes them"},
    {HOST(SWITCH, allow_anonymous, LIVE), "no", NULL, NULL, "without tokens, also on other addresses than loopback"},
    {HOST(HOSTS, allowed_hosts, LIVE), "", NULL, NULL, "names by which clients may ask for this server"},
    {HOST(URL, public_url, LIVE), "", NULL, NULL, "by which clients reach this server, in documents that name it; else what they ask for"},
    {HOST(AGENT, default_agent, LIVE), "", NULL, NULL, "whose agent card is that of the whole server"},
    {HOST(ORIGINS, cors_origins, LIVE), "", NULL, NULL, "whose web pages may use this server"},
    {HOST(FILE, tls_certificate, RESTART_IF_SET), "", NULL, NULL, "certificate chain for HTTPS, PEM"},
    {HOST(FILE, tls_key, RESTART_IF_SET), "", NULL, NULL, "its private key, PEM"},
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
    {PLUGIN(SECONDS, input_timeout), "600", "0", "86400", "for a person to answer a run that nobody reads; 0 is no limit"},
    {PLUGIN(PROTOCOLS, protocols), SETTING_PROTOCOL_NAMES, NULL, NULL, "in which clients may talk to it"},
    {PLUGIN(SECONDS, deadline), "0", "0", "86400", "for a run; 0 is none"},
    {PLUGIN(VARIABLES, env), "", NULL, NULL, "variables of the server's environment that it gets, besides PATH and the like"},
    {PLUGIN(USER, user), "", NULL, NULL, "whose processes its workers are; the server must be root's"},
    {PLUGIN(SANDBOX, sandbox), "no", NULL, NULL, "Landlock: confines files, or with yes files and TCP"},
    {PLUGIN(PATHS, sandbox_read), "", NULL, NULL, "what it may read in its sandbox, besides /usr and the like"},
    {PLUGIN(PATHS, sandbox_write), "", NULL, NULL, "what it may read and change in its sandbox"},
    {PLUGIN(PORTS, sandbox_connect), "", NULL, NULL, "ports that it may connect to in its sandbox"},
    {PLUGIN(LIMIT, core), "auto", NULL, NULL, "most bytes of a core file; auto is 0 without host.debug"},
    {PLUGIN(LIMIT, nofile), "auto", NULL, NULL, "most open descriptors of a worker; auto is the server's"},
    {PLUGIN(LIMIT, nproc), "auto", NULL, NULL, "most processes and threads of its user"},
    {PLUGIN(LIMIT, as), "auto", NULL, NULL, "most bytes of address space of a worker"},
    {PLUGIN(LIMIT, fsize), "auto", NULL, NULL, "most bytes of a file that it writes"},
    {PLUGIN(SECONDS, cancel_grace), "10", "1", "3600", "for a cancelled run to stop"},
    {PLUGIN(COUNT, log_rate), "100", "0", "1000000", "lines a second that its workers may log; 0 is no limit"},
    {0},
};
/* clang-format on */

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

static void keys_finish(const struct setting *key, void *owner)
{
    for (; key->name; key++)
        setting_finish(key, owner);
}

static const struct setting *key_find(const struct setting *key, const char *name)
{
    for (; key->name; key++) {
        if (strcmp(key->name, name) == 0)
            return key;
    }
    return NULL;
}

static int key_set(const struct setting *key, const char *value, void *owner, struct why *why)
{
    char wants[128];

    if (setting_set(key, value, owner) == 0)
        return 0;
    setting_wants(key, wants, sizeof wants);
    return why_set(why, -EINVAL, "%s must be %s, not '%.64s'", key->name, wants, value);
}

static int key_unknown(const char *name, struct why *why)
{
    why_set(why, -EINVAL, "unknown key '%.64s' in [host]; keys are", name);
    for (const struct setting *key = host_keys; key->name; key++)
        why_set(why, -EINVAL, "%s%s %s", why_text(why), key == host_keys ? "" : ",", key->name);
    return -EINVAL;
}

/* Set one of the author's keys. */
static int pair_set(struct config_plugin *plugin, const char *key, const char *value,
                    struct why *why)
{
    struct config_pair *pair;
    ssize_t length = json_escaped_length(value, strlen(value));

    if (!is_word(key, KEY_CHARS))
        return why_set(why, -EINVAL,
                       "'%.80s' is not a key; a key has 1 to %d letters, digits, '-' and '_'", key,
                       WORD_MAX);
    if (length < 0)
        return why_set(why, -EINVAL, "the value of %s is not UTF-8", key);
    HASH_FIND(in_plugin, plugin->pairs, key, strlen(key), pair);
    plugin->json_size += (size_t)length;
    if (pair)
        plugin->json_size -= (size_t)json_escaped_length(pair->value, strlen(pair->value));
    else
        plugin->json_size += strlen(key) + strlen("\"\":\"\",");
    if (plugin->json_size > CONFIG_JSON_MAX)
        return why_set(why, -EINVAL, "with %s, [plugin %s] has more than %d KiB of keys and values",
                       key, plugin->name, CONFIG_JSON_MAX / 1024);
    if (pair == NULL) {
        pair = mem_alloc(sizeof *pair);
        pair->key = mem_strdup(key);
        HASH_ADD_KEYPTR(in_plugin, plugin->pairs, pair->key, strlen(key), pair);
    }
    mem_set(&pair->value, value);
    return 0;
}

/* plugin NULL is [host]. */
static int assign(struct config *config, struct config_plugin *plugin, const char *name,
                  const char *value, struct why *why)
{
    const struct setting *key = key_find(plugin ? plugin_keys : host_keys, name);

    if (key)
        return key_set(key, value, plugin ? (void *)plugin : (void *)config, why);
    if (*name == '\0')
        return why_set(why, -EINVAL, "no key before the '='");
    return plugin ? pair_set(plugin, name, value, why) : key_unknown(name, why);
}

static void section_init(struct config_plugin *plugin)
{
    plugin->json_size = strlen("{}");
    keys_default(plugin_keys, plugin);
}

static struct config_plugin *section_find(const struct config *config, const char *name)
{
    struct config_plugin *plugin;

    HASH_FIND(in_config, config->sections, name, strlen(name), plugin);
    return plugin;
}

/* Find the section, or make it. */
static int section_open(struct config *config, const char *name, struct config_plugin **out,
                        struct why *why)
{
    struct config_plugin *plugin = section_find(config, name);

    if (plugin == NULL) {
        if (!is_word(name, NAME_CHARS))
            return why_set(
                why, -EINVAL,
                "'%.80s' is not a plugin's name; it has 1 to %d letters, digits, '-', '_' and '.'",
                name, WORD_MAX);
        plugin = mem_alloc(sizeof *plugin);
        plugin->name = mem_strdup(name);
        section_init(plugin);
        HASH_ADD_KEYPTR(in_config, config->sections, plugin->name, strlen(name), plugin);
    }
    *out = plugin;
    return 0;
}

/* Take a line of the file. */
static int line_assign(void *data, const char *kind, const char *name, const char *key,
                       const char *value, struct why *why)
{
    struct config_plugin *plugin = NULL;
    struct config *config = data;
    int status = 0;

    if (*kind == '\0' && key)
        return why_set(why, -EINVAL,
                       "'%.64s' is outside a section; put it below [host] or [plugin NAME]", key);
    if (strcmp(kind, "plugin") == 0 && *name)
        status = section_open(config, name, &plugin, why);
    else if (strcmp(kind, "host") != 0 || *name)
        status = why_set(why, -EINVAL,
                         "[%.64s%s%.64s] is not a section; sections are [host] and [plugin NAME]",
                         kind, *name ? " " : "", name);
    return status < 0 || key == NULL ? status : assign(config, plugin, key, value, why);
}

/* Take a --set, which is cut apart in place. */
static int text_assign(struct config *config, char *text, struct why *why)
{
    char *value = strchr(text, '='), *key;
    struct config_plugin *plugin;

    if (value) {
        *value++ = '\0';
        if (strncmp(text, "host.", 5) == 0)
            return assign(config, NULL, text + 5, value, why);
        if (strncmp(text, "plugin.", 7) == 0 && (key = strrchr(text + 7, '.'))) {
            *key++ = '\0';
            return section_open(config, text + 7, &plugin, why) < 0
                       ? -EINVAL
                       : assign(config, plugin, key, value, why);
        }
    }
    return why_set(why, -EINVAL, "write host.KEY=VALUE or plugin.NAME.KEY=VALUE");
}

/* Foreign text in a reason must not break the line that shows it. */
static int show_as_line(int status, struct why *why)
{
    for (char *at = why->text; status < 0 && *at; at++) {
        if (iscntrl((unsigned char)*at))
            *at = '?';
    }
    return status;
}

int config_read(struct config *config, const char *file, struct why *why)
{
    return show_as_line(ini_read(file, line_assign, config, why), why);
}

int config_set(struct config *config, const char *assignment, struct why *why)
{
    char *text = mem_strdup(assignment);
    int status = text_assign(config, text, why);

    if (status < 0)
        why_set(why, status, "--set %.200s: %s", assignment, why_text(why));
    free(text);
    return show_as_line(status, why);
}

int config_check(const struct config *config, const char *listen, struct why *why)
{
    const char *odd;
    int status = 0;

    if (!*config->tls_certificate != !*config->tls_key)
        status = why_set(why, -EINVAL, "%s is set without %s; set both, or none",
                         *config->tls_key ? "tls_key" : "tls_certificate",
                         *config->tls_key ? "tls_certificate" : "tls_key");
    else if ((odd = setting_odd_word(config->proxy_protocol, config->listen)))
        status = why_set(why, -EINVAL,
                         "proxy_protocol has %.*s, which is not in listen; write it as there",
                         (int)strcspn(odd, ", \t"), odd);
    else if (*config->proxy_protocol && !*config->trusted_proxies)
        status = why_set(why, -EINVAL,
                         "proxy_protocol needs trusted_proxies, the addresses of the proxies");
    else if (!*config->tokens && !config->allow_anonymous && !setting_is_loopback(listen))
        status = why_set(why, -EINVAL,
                         "others can reach %s: set host.tokens to a file of tokens, which `sluice "
                         "token` makes, or host.allow_anonymous to yes if everyone may start runs",
                         listen);
    return show_as_line(status, why);
}

/* The front must not be what uses up the memory of a small machine or container. */
static size_t log_budget_default(size_t initial)
{
    size_t quarter = capacity_memory("") / 4;

    return quarter < LOG_BUDGET_LEAST ? LOG_BUDGET_LEAST : quarter < initial ? quarter : initial;
}

struct config *config_create(void)
{
    struct config *config = mem_alloc(sizeof *config);

    keys_default(host_keys, config);
    config->log_budget = log_budget_default(config->log_budget);
    section_init(&config->plugin_defaults);
    return config;
}

const struct config_plugin *config_plugin(const struct config *config, const char *name)
{
    const struct config_plugin *plugin = section_find(config, name);
    return plugin ? plugin : &config->plugin_defaults;
}

bool config_has_users(const struct config *config)
{
    for (const struct config_plugin *plugin = config->sections; plugin;
         plugin = plugin->in_config.next) {
        if (*plugin->user && strcmp(plugin->user, config->user) != 0)
            return true;
    }
    return false;
}

char *config_plugin_json(const struct config *config, const char *name)
{
    struct buf text = {0};
    struct json_writer json = {.out = &text};
    const struct config_pair *pair = config_plugin(config, name)->pairs;

    json_open(&json, NULL, '{');
    for (; pair; pair = pair->in_plugin.next)
        json_text(&json, pair->key, pair->value);
    json_close(&json, '}');
    return buf_steal(&text);
}

void config_swap(struct config *a, struct config *b)
{
    struct config held = *a;
    *a = *b;
    *b = held;
}

/* ---- what changed ---- */

struct comparison {
    config_take_change *take;
    void *data;
};

static void tell_change(const struct comparison *comparison, const char *section, const char *key,
                        bool needs_restart)
{
    char *name = section ? mem_printf("plugin.%s.%s", section, key) : mem_printf("host.%s", key);

    comparison->take(comparison->data, name, needs_restart);
    free(name);
}

/* Tell which of the author's keys a has and b has not, or, if asked for, with another value. */
static void compare_pairs(const char *section, const struct config_plugin *a,
                          const struct config_plugin *b, bool values,
                          const struct comparison *comparison)
{
    const struct config_pair *pair = a->pairs;

    for (; pair; pair = pair->in_plugin.next) {
        const struct config_pair *other;

        HASH_FIND(in_plugin, b->pairs, pair->key, strlen(pair->key), other);
        if (other == NULL || (values && strcmp(other->value, pair->value) != 0))
            tell_change(comparison, section, pair->key, false);
    }
}

static void compare_sections(const char *name, const struct config_plugin *old,
                             const struct config_plugin *new, const struct comparison *comparison)
{
    for (const struct setting *key = plugin_keys; key->name; key++) {
        if (setting_differs(key, old, new))
            tell_change(comparison, name, key->name, false);
    }
    compare_pairs(name, new, old, true, comparison);
    compare_pairs(name, old, new, false, comparison);
}

void config_compare(struct config *old, struct config *new, config_take_change *take, void *data)
{
    struct comparison comparison = {.take = take, .data = data};

    for (const struct setting *key = host_keys; key->name; key++) {
        bool needs_restart = setting_needs_restart(key, old, new);

        if (setting_differs(key, old, new))
            tell_change(&comparison, NULL, key->name, needs_restart);
        if (needs_restart)
            setting_swap(key, old, new);
    }
    for (const struct config_plugin *plugin = new->sections; plugin;
         plugin = plugin->in_config.next)
        compare_sections(plugin->name, config_plugin(old, plugin->name), plugin, &comparison);
    for (const struct config_plugin *plugin = old->sections; plugin;
         plugin = plugin->in_config.next) {
        if (section_find(new, plugin->name) == NULL)
            compare_sections(plugin->name, plugin, &new->plugin_defaults, &comparison);
    }
}

/* ---- keys that were not meant so ---- */

/* Return the key that somebody meant who wrote this one, or NULL. Short keys are near to many
 * words. */
static const struct setting *key_meant(const struct setting *key, const char *name)
{
    for (; key->name; key++) {
        size_t length = strlen(key->name);

        if (strcmp(key->name, name) == 0 || (length > 5 && spelling_is_near(name, key->name, 2)) ||
            (length == 5 && *name == *key->name && spelling_is_near(name, key->name, 1)))
            return key;
    }
    return NULL;
}

static void review_pair(const struct config_plugin *plugin, const char *name,
                        void (*warn)(void *data, const char *text), void *data)
{
    const struct setting *meant = key_meant(plugin_keys, name);
    bool is_hosts = meant == NULL;
    char *text;

    /* Short keys of [host], such as tokens, are too near to what authors may call theirs. */
    if (is_hosts && (meant = key_meant(host_keys, name)) && strchr(meant->name, '_') == NULL &&
        strcmp(meant->name, name) != 0)
        meant = NULL;
    if (meant == NULL)
        return;
    text = mem_printf("plugin.%s.%s goes to the plugin as a key of its own; did you mean %s%s?",
                      plugin->name, name, meant->name, is_hosts ? " in [host]" : "");
    warn(data, text);
    free(text);
}

void config_review(const struct config *config, void (*warn)(void *data, const char *text),
                   void *data)
{
    const struct config_plugin *plugin = config->sections;

    for (; plugin; plugin = plugin->in_config.next) {
        const struct config_pair *pair = plugin->pairs;

        for (; pair; pair = pair->in_plugin.next)
            review_pair(plugin, pair->key, warn, data);
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

static void section_finish(struct config_plugin *plugin)
{
    struct config_pair *pair, *next;

    HASH_ITER(in_plugin, plugin->pairs, pair, next)
    {
        HASH_DELETE(in_plugin, plugin->pairs, pair);
        free(pair->key);
        free(pair->value);
        free(pair);
    }
    keys_finish(plugin_keys, plugin);
}

void config_destroy(struct config *config)
{
    struct config_plugin *plugin, *next;

    if (config == NULL)
        return;
    HASH_ITER(in_config, config->sections, plugin, next)
    {
        HASH_DELETE(in_config, config->sections, plugin);
        section_finish(plugin);
        free(plugin->name);
        free(plugin);
    }
    section_finish(&config->plugin_defaults);
    keys_finish(host_keys, config);
    free(config);
}
