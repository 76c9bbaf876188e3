#include "http/target.h"

#include "http/framing.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

static int hex(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c | 0x20) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* Other readers cut a target at a blank, a control character or a fragment. */
static bool is_clean(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text <= ' ' || *text == 0x7f || *text == '#')
            return false;
    }
    return true;
}

/*
 * Decode from *text to *to, up to one of the stops or the end, and write a NUL;
 * move both. False if an escape is broken or makes a NUL.
 */
static bool decode(const char **text, char **to, const char *stops, bool is_path)
{
    const char *at = *text;

    for (; *at && !strchr(stops, *at); at++) {
        char c = *at;
        if (c == '+' && !is_path)
            c = ' ';
        if (c == '%') {
            int high = hex(at[1]), low = high < 0 ? -1 : hex(at[2]);
            if (low < 0)
                return false;
            c = (char)(high << 4 | low);
            if (c == '\0')
                return false;
            if (is_path && c == '/')
                c = '%'; /* and "2F" follows */
            else
                at += 2;
        }
        *(*to)++ = c;
    }
    *(*to)++ = '\0';
    *text = at;
    return true;
}

static const char *parse_authority(const char **text, char **to, struct target *target)
{
    size_t scheme = strncasecmp(*text, "http://", 7) == 0    ? 7
                    : strncasecmp(*text, "https://", 8) == 0 ? 8
                                                             : 0;
    size_t length = strcspn(*text + scheme, "/?");

    if (scheme == 0)
        return "the target must begin with a slash, or with http:// and a name";
    if (length == 0 || !framing_is_authority(*text + scheme, length))
        return "the target must name a host, with or without a port";
    target->authority = memcpy(*to, *text + scheme, length);
    (*to)[length] = '\0';
    *to += length + 1;
    *text += scheme + length;
    return NULL;
}

const char *target_parse(const char *text, char *room, struct target *target)
{
    const char *why;
    char *to = room;

    *target = (struct target){.path = "/", .query = room, .end = room};
    if (!is_clean(text))
        return "the target has a blank, a control character or #; escape them";
    if (strcmp(text, "*") != 0 && *text != '/' && (why = parse_authority(&text, &to, target)))
        return why;
    if (*text != '?' && *text != '\0') {
        target->path = to;
        if (!decode(&text, &to, "?", true))
            return "the path has a broken escape, or an escaped NUL";
    }
    target->query = to;
    while (*text) {
        text++; /* ? or & */
        if (*text == '&' || *text == '\0')
            continue;
        if (!decode(&text, &to, "=&", false))
            return "the query has a broken escape, or an escaped NUL";
        text += *text == '=';
        if (!decode(&text, &to, "&", false))
            return "the query has a broken escape, or an escaped NUL";
    }
    target->end = to;
    return NULL;
}

const char *target_value(const char *name)
{
    return name + strlen(name) + 1;
}

const char *target_next(const struct target *target, const char *name)
{
    const char *next = target->query;

    if (name) {
        next = target_value(name);
        next += strlen(next) + 1;
    }
    return next < target->end ? next : NULL;
}

const char *target_find(const struct target *target, const char *name)
{
    const char *at = NULL;

    while ((at = target_next(target, at))) {
        if (strcmp(at, name) == 0)
            return target_value(at);
    }
    return NULL;
}
