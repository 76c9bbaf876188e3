#include "config/setting.h"

#include "base/mem.h"
#include "base/networks.h"
#include "base/user.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define UNIX           "unix:"
#define LISTEN_WANTS   "numeric ADDRESS:PORT such as 127.0.0.1:8080 or [::1]:8080, or unix:PATH"
#define BLANKS         " \t"
#define SEPARATORS     "," BLANKS
#define ALPHANUMERIC   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define SCHEME_CHARS   ALPHANUMERIC "+-."
#define NAME_CHARS     ALPHANUMERIC "-._"
#define HEADER_CHARS   ALPHANUMERIC "-_.!#$%&'*+^`|~"
#define VARIABLE_CHARS ALPHANUMERIC "_"

/* Read a whole number; a size may have a suffix. */
static bool number_read(const char *text, bool is_size, uint64_t *out)
{
    uint64_t number;
    int shift = 0;
    char *end;

    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    number = strtoull(text, &end, 10);
    if (is_size && (strcasecmp(end, "K") == 0 || strcasecmp(end, "KiB") == 0))
        shift = 10;
    else if (is_size && (strcasecmp(end, "M") == 0 || strcasecmp(end, "MiB") == 0))
        shift = 20;
    else if (*end)
        return false;
    if (errno || number > UINT64_MAX >> shift)
        return false;
    *out = number << shift;
    return true;
}

static bool is_headers(const char *text)
{
    text += strspn(text, BLANKS);
    if (*text == '\0')
        return true;
    for (;;) {
        size_t length = strspn(text, HEADER_CHARS);
        text += length;
        text += strspn(text, BLANKS);
        if (length == 0 || *text != ',')
            return length > 0 && *text == '\0';
        text++;
        text += strspn(text, BLANKS);
    }
}

size_t setting_word(const char **text)
{
    *text += strspn(*text, SEPARATORS);
    return strcspn(*text, SEPARATORS);
}

/* Return true if all words of the text are fine. */
static bool is_list(const char *text, bool (*is_fine)(const char *word, size_t length))
{
    size_t length;

    for (; (length = setting_word(&text)) > 0; text += length) {
        if (!is_fine(text, length))
            return false;
    }
    return true;
}

/* Read the socket address of a numeric ADDRESS:PORT; -EINVAL if it is none. */
static int read_address(const char *text, struct sockaddr_storage *out)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    bool six = *text == '[';
    char host[INET6_ADDRSTRLEN]; /* 46 bytes */
    uint64_t port;
    int length = 0; /* of the text before the port */

    sscanf(text, six ? "[%45[^]]]:%n" : "%45[^:]:%n", host, &length);
    if (length == 0 || !number_read(text + length, false, &port) || port > 65535)
        return -EINVAL;
    in.sin_port = in6.sin6_port = htons((in_port_t)port);
    if (inet_pton(six ? AF_INET6 : AF_INET, host,
                  six ? (void *)&in6.sin6_addr : (void *)&in.sin_addr) != 1)
        return -EINVAL;
    *out = (struct sockaddr_storage){0};
    memcpy(out, six ? (void *)&in6 : (void *)&in, six ? sizeof in6 : sizeof in);
    return 0;
}

bool setting_is_loopback_v4(struct in_addr address)
{
    return ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET;
}

static bool is_unix(const char *word, size_t length)
{
    return length > strlen(UNIX) && strncmp(word, UNIX, strlen(UNIX)) == 0;
}

/* Copy a word and read it as an address. */
static bool word_address(const char *word, size_t length, struct sockaddr_storage *out)
{
    char text[64];

    if (length >= sizeof text)
        return false;
    memcpy(text, word, length);
    text[length] = '\0';
    return read_address(text, out) == 0;
}

static bool is_address(const char *word, size_t length)
{
    struct sockaddr_storage address;

    return is_unix(word, length) || word_address(word, length, &address);
}

static bool is_loopback(const char *word, size_t length)
{
    struct sockaddr_storage address = {0};
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)&address)->sin6_addr;
    struct in_addr v4;

    if (is_unix(word, length))
        return true;
    if (!word_address(word, length, &address))
        return false;
    if (address.ss_family == AF_INET)
        return setting_is_loopback_v4(((const struct sockaddr_in *)&address)->sin_addr);
    memcpy(&v4, v6->s6_addr + 12, sizeof v4);
    return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && setting_is_loopback_v4(v4));
}

bool setting_is_loopback(const char *text)
{
    return *text && is_list(text, is_loopback);
}

const char *setting_odd_word(const char *text, const char *all)
{
    size_t length;

    for (; (length = setting_word(&text)) > 0; text += length) {
        const char *at = all;
        size_t other;
        while ((other = setting_word(&at)) > 0 &&
               (other != length || strncmp(at, text, length) != 0))
            at += other;
        if (other == 0)
            return text;
    }
    return NULL;
}

static int mode_set(const char *text, unsigned *out)
{
    unsigned mode = 0;

    if (*text == '\0' || strlen(text) > 4)
        return -EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '7')
            return -EINVAL;
        mode = mode << 3 | (unsigned)(*text - '0');
    }
    *out = mode;
    return mode <= 0777 ? 0 : -EINVAL;
}

static bool is_networks(const char *text)
{
    struct networks *networks = networks_create(text);
    bool are = networks != NULL;

    networks_destroy(networks);
    return are;
}

int setting_number(const char *text, unsigned min, unsigned max, unsigned *out)
{
    uint64_t number;

    if (!number_read(text, false, &number) || number < min || number > max)
        return -EINVAL;
    *out = (unsigned)number;
    return 0;
}

int setting_disconnect(const char *text, unsigned *out)
{
    if (strcmp(text, "cancel") == 0)
        *out = DISCONNECT_CANCEL;
    else if (strcmp(text, "continue") == 0)
        *out = DISCONNECT_CONTINUE;
    else
        return setting_number(text, 1, DISCONNECT_SECONDS_MAX, out);
    return 0;
}

static int word_set(const char *words, const char *text, unsigned *out)
{
    size_t length;

    for (unsigned place = 0; (length = setting_word(&words)) > 0; place++, words += length) {
        if (strlen(text) == length && strncmp(words, text, length) == 0) {
            *out = place;
            return 0;
        }
    }
    return -EINVAL;
}

static int switch_set(const char *text, bool *out)
{
    bool yes = strcmp(text, "yes") == 0;

    if (!yes && strcmp(text, "no") != 0)
        return -EINVAL;
    *out = yes;
    return 0;
}

bool setting_has_word(const char *text, const char *word)
{
    size_t length;

    for (; (length = setting_word(&text)) > 0; text += length) {
        if (length == strlen(word) && strncmp(text, word, length) == 0)
            return true;
    }
    return false;
}

/*
 * A web origin as browsers send it (RFC 6454, 6.2): a scheme, a host, maybe a
 * port. The scheme is any, since desktop shells and extensions have their own.
 */
static bool is_origin(const char *text, size_t length)
{
    size_t scheme = isalpha((unsigned char)*text) ? strspn(text, SCHEME_CHARS) : 0;

    return scheme > 0 && strncmp(text + scheme, "://", 3) == 0 && length > scheme + 3 &&
           strcspn(text + scheme + 3, "/?#@*, \t") == length - scheme - 3;
}

/* A host's name, or an address, an IPv6 one in brackets; without a port. */
static bool is_host(const char *text, size_t length)
{
    if (*text == '[')
        return length > 2 && strspn(text + 1, "0123456789abcdefABCDEF:.") == length - 2 &&
               text[length - 1] == ']';
    return strspn(text, NAME_CHARS) >= length;
}

/* The name of an environment variable, maybe with a '*' or a "=value" after it. */
static bool is_variable(const char *text, size_t length)
{
    size_t name = strspn(text, VARIABLE_CHARS);

    if (isdigit((unsigned char)*text) || name > length)
        return false;
    return name == length || (text[name] == '*' && name + 1 == length) ||
           (text[name] == '=' && name > 0);
}

static bool is_port(const char *text, size_t length)
{
    unsigned long port = strspn(text, "0123456789") == length ? strtoul(text, NULL, 10) : 0;

    return port > 0 && port <= 65535;
}

static bool is_paths(const char *text)
{
    for (; *text; text += strcspn(text, ":"), text += *text == ':') {
        if (*text != '/')
            return false;
    }
    return true;
}

static int limit_set(const char *text, size_t *out)
{
    uint64_t number = SETTING_LIMIT_AUTO;

    if (strcmp(text, "auto") != 0 &&
        (!number_read(text, true, &number) || number >= SETTING_LIMIT_AUTO))
        return -EINVAL;
    *out = (size_t)number;
    return 0;
}

/* http or https, a host, maybe a path; no blank, quote, query or fragment. */
static bool is_url(const char *text)
{
    size_t scheme = strncmp(text, "http://", 7) == 0    ? 7
                    : strncmp(text, "https://", 8) == 0 ? 8
                                                        : 0;

    if (scheme == 0 || text[scheme] == '\0' || text[scheme] == '/')
        return false;
    for (const char *at = text; *at; at++) {
        if (*at <= ' ' || *at > '~' || strchr("\"<>\\^`{|}?#", *at))
            return false;
    }
    return true;
}

static bool is_text(enum setting_kind kind, const char *text)
{
    const char *word = text;
    bool any = strcmp(text, "*") == 0;

    if (kind == SETTING_ADDRESSES || kind == SETTING_OPTIONAL_ADDRESSES)
        return is_list(text, is_address) &&
               (kind == SETTING_OPTIONAL_ADDRESSES || setting_word(&word) > 0);
    if (kind == SETTING_NETWORKS)
        return is_networks(text);
    if (kind == SETTING_HEADERS)
        return is_headers(text);
    if (kind == SETTING_HOSTS)
        return any || is_list(text, is_host);
    if (kind == SETTING_ORIGINS)
        return any || is_list(text, is_origin);
    if (kind == SETTING_USER)
        return *text == '\0' || user_is_known(text);
    if (kind == SETTING_SANDBOX)
        return strcmp(text, "no") == 0 || strcmp(text, "files") == 0 || strcmp(text, "yes") == 0;
    if (kind == SETTING_PATHS)
        return is_paths(text);
    if (kind == SETTING_PORTS)
        return is_list(text, is_port) && strcmp(text, "*") != 0;
    if (kind == SETTING_VARIABLES)
        return is_list(text, is_variable);
    if (kind == SETTING_PROTOCOLS)
        return setting_word(&word) > 0 && setting_odd_word(text, SETTING_PROTOCOL_NAMES) == NULL;
    if (kind == SETTING_URL)
        return *text == '\0' || is_url(text);
    return kind == SETTING_FILE || kind == SETTING_AGENT || *text != '\0';
}

int setting_set(const struct setting *setting, const char *text, void *owner)
{
    void *field = (char *)owner + setting->offset;
    bool is_size = setting->kind == SETTING_SIZE;
    uint64_t number, min, max;

    if (setting->kind == SETTING_SWITCH)
        return switch_set(text, field);
    if (setting->kind == SETTING_DISCONNECT)
        return setting_disconnect(text, field);
    if (setting->kind == SETTING_LIMIT)
        return limit_set(text, field);
    if (setting->kind == SETTING_WORD)
        return word_set(setting->min, text, field);
    if (setting->kind == SETTING_MODE)
        return mode_set(text, field);
    if (setting->min == NULL) {
        if (!is_text(setting->kind, text))
            return -EINVAL;
        free(*(char **)field);
        *(char **)field = mem_strdup(text);
        return 0;
    }
    if (!number_read(setting->min, true, &min) || !number_read(setting->max, true, &max) ||
        !number_read(text, is_size, &number) || number < min || number > max)
        return -EINVAL;
    if (is_size)
        *(size_t *)field = (size_t)number;
    else
        *(unsigned *)field = (unsigned)number;
    return 0;
}

/* Return the size of the setting's field. */
static bool setting_is_text(const struct setting *setting)
{
    return setting->min == NULL && setting->kind != SETTING_SWITCH &&
           setting->kind != SETTING_DISCONNECT && setting->kind != SETTING_LIMIT &&
           setting->kind != SETTING_MODE;
}

static size_t setting_size(const struct setting *setting)
{
    if (setting->kind == SETTING_SIZE || setting->kind == SETTING_LIMIT)
        return sizeof(size_t);
    if (setting->kind == SETTING_SWITCH)
        return sizeof(bool);
    return setting_is_text(setting) ? sizeof(char *) : sizeof(unsigned);
}

bool setting_differs(const struct setting *setting, const void *from, const void *to)
{
    const char *a = (const char *)from + setting->offset, *b = (const char *)to + setting->offset;

    if (setting_is_text(setting))
        return strcmp(*(char *const *)a, *(char *const *)b) != 0;
    return memcmp(a, b, setting_size(setting)) != 0;
}

bool setting_needs_restart(const struct setting *setting, const void *from, const void *to)
{
    const char *a = (const char *)from + setting->offset, *b = (const char *)to + setting->offset;

    if (setting->change == SETTING_LIVE || !setting_differs(setting, from, to))
        return false;
    return setting->change == SETTING_RESTART || !**(char *const *)a != !**(char *const *)b;
}

void setting_finish(const struct setting *setting, void *owner)
{
    if (setting_is_text(setting))
        free(*(char **)((char *)owner + setting->offset));
}

void setting_swap(const struct setting *setting, void *one, void *other)
{
    char *a = (char *)one + setting->offset, *b = (char *)other + setting->offset;
    char held[sizeof(size_t)];

    memcpy(held, a, setting_size(setting));
    memcpy(a, b, setting_size(setting));
    memcpy(b, held, setting_size(setting));
}

void setting_wants(const struct setting *setting, char *out, size_t out_size)
{
    static const char *const words[] = {
        [SETTING_PATH] = "the path of a folder",
        [SETTING_FILE] = "the path of a file, or nothing",
        [SETTING_ADDRESSES] = LISTEN_WANTS,
        [SETTING_OPTIONAL_ADDRESSES] = LISTEN_WANTS ", or nothing",
        [SETTING_NETWORKS] = "addresses such as 10.0.0.1, networks such as 10.0.0.0/8, and unix",
        [SETTING_MODE] = "an octal mode such as 0660",
        [SETTING_HEADERS] = "header names separated by commas",
        [SETTING_HOSTS] = "host names and addresses without a port, separated by commas, or *",
        [SETTING_ORIGINS] = "origins such as https://app.example separated by commas, or *",
        [SETTING_VARIABLES] =
            "NAME, NAME* or NAME=VALUE of environment variables, separated by commas",
        [SETTING_USER] = "the name of a user of this machine, or USER:GROUP, or nothing",
        [SETTING_SANDBOX] = "no, files or yes",
        [SETTING_PATHS] = "absolute paths with ':' between them, or nothing",
        [SETTING_PORTS] = "TCP ports from 1 to 65535 separated by commas",
        [SETTING_PROTOCOLS] = ("some of " SETTING_PROTOCOL_NAMES),
        [SETTING_URL] = "a URL such as https://agents.example, or nothing",
        [SETTING_AGENT] = "the name of an agent, or nothing",
        [SETTING_SWITCH] = "yes or no",
        [SETTING_DISCONNECT] = DISCONNECT_WANTS,
        [SETTING_WORD] = "",
        [SETTING_COUNT] = "",
        [SETTING_SECONDS] = " seconds",
        [SETTING_SIZE] = " bytes",
        [SETTING_LIMIT] = "auto, or a whole number, maybe with K or M",
    };

    if (setting->kind == SETTING_WORD)
        snprintf(out, out_size, "one of %s", setting->min);
    else if (setting->min)
        snprintf(out, out_size, "%s to %s%s", setting->min, setting->max, words[setting->kind]);
    else
        snprintf(out, out_size, "%s", words[setting->kind]);
}
