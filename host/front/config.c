/*
 * To add a key of the host: a field in struct config, or in struct
 * config_plugin for one of a plugin's section, and a line in host_keys or
 * plugin_keys below; docs/configuration.md has a table of each.
 *
 * inih tells comments from keys and keys from values. It silently cuts lines
 * longer than its buffer (200 bytes as a rule) and sections longer than 49, and
 * takes an indented line for more of the value above. So its reader, here,
 *
 *   - opens the sections itself and shows inih an empty line instead;
 *   - of a line that is too long shows it the key alone, and keeps the value;
 *   - refuses indented lines, lines beyond CONFIG_LINE_MAX and NUL bytes;
 *   - notices a line for which inih did not call the handler: it has no '='.
 *
 * The first refusal ends the reading.
 */
#include "front/config.h"

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"

#include <arpa/inet.h>
#include <assert.h>
#include <cjson/cJSON.h>
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NAME_MAX_LENGTH  64
#define SUGGEST_DISTANCE 2

#define KEY_CHARS    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
#define NAME_CHARS   KEY_CHARS "."
#define HEADER_CHARS NAME_CHARS "!#$%&'*+^`|~"
#define BLANKS       " \t"

/* Where messages go, and what they say about the place. */
struct report {
    const char *source;
    unsigned line; /* 0: none */
    char *error;
    size_t error_size;
};

struct key;

struct type {
    int (*read)(const struct key *key, const char *text, void *field);
    const char *wants; /* NULL: its range */
    const char *unit;  /* behind the range */
};

struct key {
    const char *name;
    size_t offset;
    const struct type *type;
    const char *initial;
    unsigned long long min, max;
    const char *about;
};

static int read_path(const struct key *key, const char *text, void *field);
static int read_address(const struct key *key, const char *text, void *field);
static int read_headers(const struct key *key, const char *text, void *field);
static int read_count(const struct key *key, const char *text, void *field);
static int read_size(const struct key *key, const char *text, void *field);

static const struct type path = {read_path, "the path of a folder", ""};
static const struct type address = {
    read_address, "a numeric ADDRESS:PORT such as 127.0.0.1:8080 or [::1]:8080", ""};
static const struct type headers = {read_headers, "header names separated by commas", ""};
static const struct type count = {read_count, NULL, ""};
static const struct type seconds = {read_count, NULL, " seconds"};
static const struct type size = {read_size, NULL, " bytes"};

#define KEY(owner, field) #field, offsetof(struct owner, field)
#define HOST(field)       KEY(config, field)
#define PLUGIN(field)     KEY(config_plugin, field)

/* clang-format off */
static const struct key host_keys[] = {
    {HOST(listen), &address, "127.0.0.1:8080", 0, 0, "where clients connect"},
    {HOST(plugins), &path, SLUICE_PLUGIN_DIR, 0, 0, "folder of the plugins"},
    {HOST(max_body), &size, "1M", 1, 1 << 20, "largest body of a request"},
    {HOST(max_connections), &count, "16384", 1, 1 << 20, "most connections at a time"},
    {HOST(max_runs), &count, "16384", 1, 1 << 20, "most live runs at a time"},
    {HOST(connection_timeout), &seconds, "30", 1, 3600, "for sending a request, or being idle"},
    {HOST(heartbeat), &seconds, "15", 1, 3600, "between comments on an idle stream"},
    {HOST(start_timeout), &seconds, "10", 1, 3600, "for a worker to become ready"},
    {HOST(shutdown_timeout), &seconds, "5", 0, 3600, "for live runs to end at shutdown"},
    {HOST(forward_headers), &headers, "", 0, 0, "request headers that agents may read"},
    {0},
};

static const struct key plugin_keys[] = {
    {PLUGIN(threads), &count, "256", 1, 4096, "most runs at a time in thread mode; more wait"},
    {PLUGIN(stack), &size, "256K", 64 << 10, 64 << 20, "of each fiber in fiber mode"},
    {0},
};
/* clang-format on */

/* So that the message stays one line, whatever it quotes. */
static void mask_controls(char *text)
{
    for (; *text; text++) {
        if (iscntrl((unsigned char)*text))
            *text = '?';
    }
}

/* Writes the message; -EINVAL. */
__attribute__((format(printf, 2, 3))) static int refuse(const struct report *report,
                                                        const char *format, ...)
{
    char place[16] = "";
    va_list args;
    int length;

    if (report->error_size == 0)
        return -EINVAL;
    if (report->line > 0)
        snprintf(place, sizeof place, ":%u", report->line);
    length = snprintf(report->error, report->error_size, "%s%s: ", report->source, place);
    if (length >= 0 && (size_t)length < report->error_size) {
        va_start(args, format);
        vsnprintf(report->error + length, report->error_size - (size_t)length, format, args);
        va_end(args);
    }
    mask_controls(report->error);
    return -EINVAL;
}

/* Without the white space at both ends, in place. */
static char *text_trim(char *text)
{
    size_t length;

    while (isspace((unsigned char)*text))
        text++;
    length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        length--;
    text[length] = '\0';
    return text;
}

static bool is_word(const char *text, const char *chars)
{
    size_t length = strspn(text, chars);
    return length > 0 && length <= NAME_MAX_LENGTH && text[length] == '\0';
}

/* The shift that a size's suffix stands for, -EINVAL if it is none. */
static int size_suffix(const char *suffix)
{
    if (*suffix == '\0')
        return 0;
    if (strcasecmp(suffix, "K") == 0 || strcasecmp(suffix, "KiB") == 0)
        return 10;
    if (strcasecmp(suffix, "M") == 0 || strcasecmp(suffix, "MiB") == 0)
        return 20;
    return -EINVAL;
}

/* A whole number, and what follows it. */
static int number_parse(const char *text, unsigned long long *number, const char **rest)
{
    char *end;

    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    errno = 0;
    *number = strtoull(text, &end, 10);
    *rest = end;
    return -errno;
}

static int address_host(const char *host, bool six, in_port_t port, struct sockaddr_storage *out)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

    if (six ? inet_pton(AF_INET6, host, &in6.sin6_addr) != 1
            : inet_pton(AF_INET, host, &in.sin_addr) != 1)
        return -EINVAL;
    *out = (struct sockaddr_storage){0};
    memcpy(out, six ? (void *)&in6 : (void *)&in, six ? sizeof in6 : sizeof in);
    return 0;
}

static int address_parse(const char *text, struct sockaddr_storage *out)
{
    const char *colon = strrchr(text, ':'), *rest;
    bool six = *text == '[';
    char host[INET6_ADDRSTRLEN];
    unsigned long long port;
    size_t length;

    if (colon == NULL || number_parse(colon + 1, &port, &rest) < 0 || *rest || port > 65535)
        return -EINVAL;
    if (six && (colon[-1] != ']' || colon - text < 2))
        return -EINVAL;
    length = (size_t)(colon - text) - (six ? 2 : 0);
    if (length >= sizeof host)
        return -EINVAL;
    memcpy(host, text + six, length);
    host[length] = '\0';
    return address_host(host, six, (in_port_t)port, out);
}

static void replace_text(char **field, const char *text)
{
    free(*field);
    *field = mem_strdup(text);
}

static int read_path(const struct key *key, const char *text, void *field)
{
    (void)key;
    if (*text == '\0')
        return -EINVAL;
    replace_text(field, text);
    return 0;
}

static int read_address(const struct key *key, const char *text, void *field)
{
    struct sockaddr_storage out;

    (void)key;
    if (address_parse(text, &out) < 0)
        return -EINVAL;
    replace_text(field, text);
    return 0;
}

static int read_headers(const struct key *key, const char *text, void *field)
{
    const char *at = text + strspn(text, BLANKS);

    (void)key;
    while (*at) {
        size_t length = strspn(at, HEADER_CHARS);
        if (length == 0)
            return -EINVAL;
        at += length;
        at += strspn(at, BLANKS);
        if (*at == '\0')
            break;
        if (*at++ != ',')
            return -EINVAL;
        at += strspn(at, BLANKS);
        if (*at == '\0')
            return -EINVAL;
    }
    replace_text(field, text);
    return 0;
}

static bool in_range(const struct key *key, unsigned long long number)
{
    return number >= key->min && number <= key->max;
}

static int read_count(const struct key *key, const char *text, void *field)
{
    unsigned long long number;
    const char *rest;

    if (number_parse(text, &number, &rest) < 0 || *rest || !in_range(key, number))
        return -EINVAL;
    *(unsigned *)field = (unsigned)number;
    return 0;
}

static int read_size(const struct key *key, const char *text, void *field)
{
    unsigned long long number;
    const char *suffix;
    int shift;

    if (number_parse(text, &number, &suffix) < 0 || (shift = size_suffix(suffix)) < 0)
        return -EINVAL;
    if (number > key->max || !in_range(key, number << shift))
        return -EINVAL;
    *(size_t *)field = (size_t)number << shift;
    return 0;
}

/* A number as one would write it. */
static void number_print(const struct type *type, unsigned long long number, char *out,
                         size_t out_size)
{
    int shift = type != &size || number == 0 ? 0
                : number % (1 << 20) == 0    ? 20
                : number % (1 << 10) == 0    ? 10
                                             : 0;

    snprintf(out, out_size, "%llu%s", number >> shift, shift == 20 ? "M" : shift == 10 ? "K" : "");
}

/* What the key wants, in words. */
static void key_wants(const struct key *key, char *out, size_t out_size)
{
    char min[24], max[24];

    number_print(key->type, key->min, min, sizeof min);
    number_print(key->type, key->max, max, sizeof max);
    if (key->type->wants)
        snprintf(out, out_size, "%s", key->type->wants);
    else
        snprintf(out, out_size, "%s to %s%s", min, max, key->type->unit);
}

static const struct key *key_find(const struct key *keys, const char *name)
{
    for (; keys->name; keys++) {
        if (strcmp(keys->name, name) == 0)
            return keys;
    }
    return NULL;
}

static int key_set(const struct key *key, void *owner, const char *value,
                   const struct report *report)
{
    char wants[128];

    if (key->type->read(key, value, (char *)owner + key->offset) == 0)
        return 0;
    key_wants(key, wants, sizeof wants);
    return refuse(report, "%s must be %s, not '%.64s'", key->name, wants, value);
}

static void keys_default(const struct key *keys, void *owner)
{
    for (; keys->name; keys++) {
        int status = keys->type->read(keys, keys->initial, (char *)owner + keys->offset);
        assert(status == 0);
        (void)status;
    }
}

/* How many characters to add, drop or change to make b of a, which has at most NAME_MAX_LENGTH. */
static unsigned edit_distance(const char *a, const char *b)
{
    size_t length = strlen(a);
    unsigned row[NAME_MAX_LENGTH + 1];

    for (unsigned i = 0; i <= length; i++)
        row[i] = i;
    for (; *b; b++) {
        unsigned corner = row[0]++;
        for (size_t i = 1; i <= length; i++) {
            unsigned best = corner + (a[i - 1] != *b);
            corner = row[i];
            if (corner + 1 < best)
                best = corner + 1;
            if (row[i - 1] + 1 < best)
                best = row[i - 1] + 1;
            row[i] = best;
        }
    }
    return row[length];
}

/* The key that was meant, NULL if none is near. */
static const char *key_suggest(const struct key *keys, const char *name)
{
    unsigned least = SUGGEST_DISTANCE + 1;
    const char *nearest = NULL;

    if (strlen(name) > NAME_MAX_LENGTH)
        return NULL;
    for (; keys->name; keys++) {
        unsigned distance = edit_distance(name, keys->name);
        if (distance < least) {
            least = distance;
            nearest = keys->name;
        }
    }
    return nearest;
}

static int refuse_unknown(const char *name, const struct report *report)
{
    const char *meant = key_suggest(host_keys, name);
    char known[512] = "";
    size_t length = 0;

    if (meant)
        return refuse(report, "unknown key '%.64s' in [host]; did you mean '%s'?", name, meant);
    for (const struct key *key = host_keys; key->name && length < sizeof known; key++)
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s",
                                   key == host_keys ? "" : ", ", key->name);
    return refuse(report, "unknown key '%.64s' in [host]; keys are %s", name, known);
}

static struct config_plugin *section_find(const struct config *config, const char *name)
{
    struct config_plugin *plugin = config->sections;

    while (plugin && strcmp(plugin->name, name) != 0)
        plugin = plugin->next;
    return plugin;
}

static struct config_plugin *section_create(struct config *config, const char *name)
{
    struct config_plugin *plugin = mem_alloc(sizeof *plugin), **link = &config->sections;

    plugin->name = mem_strdup(name);
    keys_default(plugin_keys, plugin);
    while (*link)
        link = &(*link)->next;
    *link = plugin;
    return plugin;
}

/* The section, made if need be; NULL if the name is refused. */
static struct config_plugin *section_open(struct config *config, const char *name,
                                          const struct report *report)
{
    struct config_plugin *plugin = section_find(config, name);

    if (plugin)
        return plugin;
    if (is_word(name, NAME_CHARS))
        return section_create(config, name);
    refuse(report,
           "'%.80s' is not a plugin's name; it has 1 to %d letters, digits, '-', '_' and '.'", name,
           NAME_MAX_LENGTH);
    return NULL;
}

static struct config_pair *pair_find(struct config_plugin *plugin, const char *key)
{
    struct config_pair **link = &plugin->pairs;

    while (*link && strcmp((*link)->key, key) != 0)
        link = &(*link)->next;
    if (*link == NULL) {
        *link = mem_alloc(sizeof **link);
        (*link)->key = mem_strdup(key);
    }
    return *link;
}

static int pair_set(struct config_plugin *plugin, const char *key, const char *value,
                    const struct report *report)
{
    if (!is_word(key, KEY_CHARS))
        return refuse(report,
                      "'%.80s' is not a key; a key has 1 to %d letters, digits, '-' and '_'", key,
                      NAME_MAX_LENGTH);
    if (json_escaped_length(value, strlen(value)) < 0)
        return refuse(report, "the value of %s is not UTF-8", key);
    replace_text(&pair_find(plugin, key)->value, value);
    return 0;
}

/* plugin NULL is [host]. */
static int assign(struct config *config, struct config_plugin *plugin, const char *name,
                  const char *value, const struct report *report)
{
    const struct key *key = key_find(plugin ? plugin_keys : host_keys, name);

    if (key)
        return key_set(key, plugin ? (void *)plugin : (void *)config, value, report);
    if (*name == '\0')
        return refuse(report, "no key before the '='");
    if (plugin)
        return pair_set(plugin, name, value, report);
    return refuse_unknown(name, report);
}

/* A key that the file has set. */
struct seen {
    struct seen *next;
    char *name;
    unsigned line;
};

struct parser {
    struct config *config;
    FILE *file;
    struct report report;
    int status;
    bool in_section;
    struct config_plugin *plugin; /* the section's; NULL in [host] */
    struct seen *seen;            /* link: next */
    bool pending;                 /* inih has a line with a key; its handler is not called yet */
    const char *value;            /* of that line, if it was too long for inih; in line */
    char line[CONFIG_LINE_MAX + 1];
};

static int refuse_file(struct report *report, int error)
{
    report->line = 0;
    refuse(report, "cannot be read: %s", strerror(error));
    return -error;
}

/* 1 with a line, 0 at the end of the file. */
static int line_read(struct parser *p)
{
    size_t length = 0;
    int c;

    p->report.line++;
    while ((c = getc(p->file)) != EOF && c != '\n') {
        if (c == '\0')
            return refuse(&p->report, "a NUL byte; the file must be UTF-8 text");
        if (length == CONFIG_LINE_MAX)
            return refuse(&p->report, "the line is longer than %d bytes", CONFIG_LINE_MAX);
        p->line[length++] = (char)c;
    }
    if (ferror(p->file))
        return refuse_file(&p->report, errno);
    p->line[length] = '\0';
    return length > 0 || c == '\n';
}

static int section_line(struct parser *p, char *line)
{
    char *end = strchr(line, ']'), *name;

    if (end == NULL)
        return refuse(&p->report, "'%.64s' has no ']'", line);
    *end = '\0';
    name = text_trim(line + 1);
    end += 1 + strspn(end + 1, BLANKS);
    if (*end && *end != ';' && *end != '#')
        return refuse(&p->report, "only a comment may follow [%.64s] on its line", name);
    p->in_section = true;
    p->plugin = NULL;
    if (strcmp(name, "host") == 0)
        return 0;
    if (strncmp(name, "plugin", 6) == 0 && isspace((unsigned char)name[6])) {
        p->plugin = section_open(p->config, text_trim(name + 6), &p->report);
        return p->plugin ? 0 : -EINVAL;
    }
    return refuse(&p->report, "[%.64s] is not a section; sections are [host] and [plugin NAME]",
                  name);
}

/* A value as inih takes it: up to an inline comment, trimmed. */
static char *value_cut(char *text)
{
    for (char *at = text; *at; at++) {
        if (*at == ';' && at > text && isspace((unsigned char)at[-1])) {
            *at = '\0';
            break;
        }
    }
    return text_trim(text);
}

/* Hands inih a line, or its key alone if its buffer is too small. */
static void line_pass(struct parser *p, char *line, char *out, size_t out_size)
{
    size_t length = strlen(line), most = out_size - 2;

    p->value = NULL;
    p->pending = true;
    if (length > most) {
        char *after = line + strcspn(line, "=:");
        if (*after)
            after++;
        length = (size_t)(after - line) < most ? (size_t)(after - line) : most;
        memcpy(out, line, length);
        p->value = value_cut(after);
    } else {
        memcpy(out, line, length);
    }
    out[length] = '\0';
}

/* Hands inih a line that is a key's, deals with any other. */
static int line_take(struct parser *p, char *out, size_t out_size)
{
    bool bom = p->report.line == 1 && strncmp(p->line, "\xef\xbb\xbf", 3) == 0;
    bool indented = isspace((unsigned char)p->line[bom ? 3 : 0]);
    char *line = text_trim(p->line + (bom ? 3 : 0));

    out[0] = '\0';
    if (*line == '\0' || *line == ';' || *line == '#')
        return 0;
    if (indented)
        return refuse(&p->report, "the line is indented; begin it at the left edge, and write each "
                                  "value on one line");
    if (*line == '[')
        return section_line(p, line);
    line_pass(p, line, out, out_size);
    return 0;
}

static char *parser_line(char *out, int out_size, void *data)
{
    struct parser *p = data;
    int got;

    if (p->pending)
        p->status = refuse(&p->report, "no '=' in this line; write KEY = VALUE");
    if (p->status < 0)
        return NULL;
    got = line_read(p);
    p->status = got > 0 ? line_take(p, out, (size_t)out_size) : got;
    return got > 0 && p->status == 0 ? out : NULL;
}

static int seen_add(struct parser *p, const char *key)
{
    const char *plugin = p->plugin ? p->plugin->name : "";
    struct seen *seen = mem_alloc(sizeof *seen), *old = p->seen;

    seen->name = mem_printf("%s/%s", plugin, key);
    seen->line = p->report.line;
    seen->next = p->seen;
    p->seen = seen;
    while (old && strcmp(old->name, seen->name) != 0)
        old = old->next;
    if (old)
        return refuse(&p->report, "%.64s is set twice, first in line %u", key, old->line);
    return 0;
}

static int parser_key(struct parser *p, const char *name, const char *value)
{
    int status;

    if (!p->in_section)
        return refuse(&p->report,
                      "'%.64s' is outside a section; put it below [host] or "
                      "[plugin NAME]",
                      name);
    if ((status = seen_add(p, name)) < 0)
        return status;
    return assign(p->config, p->plugin, name, value, &p->report);
}

static int parser_pair(void *data, const char *section, const char *name, const char *value)
{
    struct parser *p = data;

    (void)section;
    if (value == NULL)
        return 0;
    p->pending = false;
    p->status = parser_key(p, name, p->value ? p->value : value);
    return p->status == 0;
}

static void parser_destroy(struct parser *p)
{
    while (p->seen) {
        struct seen *seen = p->seen;
        p->seen = seen->next;
        free(seen->name);
        free(seen);
    }
    fclose(p->file);
    free(p);
}

int config_read(struct config *config, const char *file, char *error, size_t error_size)
{
    struct report report = {.source = file, .error = error, .error_size = error_size};
    FILE *stream = fopen(file, "re");
    struct parser *p;
    int status;

    if (stream == NULL)
        return refuse_file(&report, errno);
    p = mem_alloc(sizeof *p);
    p->config = config;
    p->file = stream;
    p->report = report;
    if (ini_parse_stream(parser_line, p, parser_pair, p) < 0)
        p->status = refuse_file(&p->report, ENOMEM);
    status = p->status;
    parser_destroy(p);
    return status;
}

/* Takes text apart in place. */
static int set_apart(struct config *config, char *text, const struct report *report)
{
    char *value = strchr(text, '='), *key;

    if (value) {
        *value++ = '\0';
        if (strncmp(text, "host.", 5) == 0)
            return assign(config, NULL, text + 5, value, report);
        if (strncmp(text, "plugin.", 7) == 0 && (key = strrchr(text + 7, '.'))) {
            struct config_plugin *plugin;
            *key++ = '\0';
            plugin = section_open(config, text + 7, report);
            return plugin ? assign(config, plugin, key, value, report) : -EINVAL;
        }
    }
    return refuse(report, "write host.KEY=VALUE or plugin.NAME.KEY=VALUE");
}

int config_set(struct config *config, const char *assignment, char *error, size_t error_size)
{
    char *source = mem_printf("--set %.200s", assignment);
    struct report report = {.source = source, .error = error, .error_size = error_size};
    char *text = mem_strdup(assignment);
    int status = set_apart(config, text, &report);

    free(text);
    free(source);
    return status;
}

struct config *config_create(void)
{
    struct config *config = mem_alloc(sizeof *config);

    keys_default(host_keys, config);
    keys_default(plugin_keys, &config->plugin_defaults);
    config->plugin_defaults.name = mem_strdup("");
    return config;
}

void config_address(const struct config *config, struct sockaddr_storage *out)
{
    int status = address_parse(config->listen, out);
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
    const struct config_pair *pair = config_plugin(config, name)->pairs;
    cJSON *object = cJSON_CreateObject();
    char *text;

    for (; pair; pair = pair->next) {
        if (cJSON_AddStringToObject(object, pair->key, pair->value) == NULL)
            log_fatal("out of memory");
    }
    text = cJSON_PrintUnformatted(object);
    if (text == NULL)
        log_fatal("out of memory");
    cJSON_Delete(object);
    return text;
}

static void keys_print(const struct key *keys, FILE *out)
{
    for (; keys->name; keys++) {
        char wants[128];
        key_wants(keys, wants, sizeof wants);
        fprintf(out, "\n# %s: %s\n%s = %s\n", keys->about, wants, keys->name, keys->initial);
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

/* What the plugin owns, not the plugin. */
static void section_finish(struct config_plugin *plugin)
{
    while (plugin->pairs) {
        struct config_pair *pair = plugin->pairs;
        plugin->pairs = pair->next;
        free(pair->key);
        free(pair->value);
        free(pair);
    }
    free(plugin->name);
}

void config_destroy(struct config *config)
{
    if (config == NULL)
        return;
    while (config->sections) {
        struct config_plugin *plugin = config->sections;
        config->sections = plugin->next;
        section_finish(plugin);
        free(plugin);
    }
    section_finish(&config->plugin_defaults);
    free(config->listen);
    free(config->plugins);
    free(config->forward_headers);
    free(config);
}
