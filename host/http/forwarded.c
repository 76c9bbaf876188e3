#include "http/forwarded.h"

#include "base/networks.h"

#include <string.h>
#include <strings.h>

/* Return the start of the last element before end, which quotes may hide commas in. */
static const char *last_element(const char *values, const char *end)
{
    const char *start = values;
    bool quoted = false;

    for (const char *at = values; at < end; at++) {
        if (*at == '"')
            quoted = !quoted;
        else if (*at == ',' && !quoted)
            start = at + 1;
    }
    return start;
}

static void trim(const char **text, const char **end)
{
    while (*text < *end && strchr(" \t", **text))
        ++*text;
    while (*text < *end && strchr(" \t", (*end)[-1]))
        --*end;
}

static bool read_plain(const char *text, const char *end, struct sockaddr_storage *out)
{
    trim(&text, &end);
    return network_read(text, (size_t)(end - text), out);
}

/* Find for= among the parameters of an element. */
static bool read_rfc(const char *text, const char *end, struct sockaddr_storage *out)
{
    while (text < end) {
        const char *stop = memchr(text, ';', (size_t)(end - text)), *from = text;
        if (stop == NULL)
            stop = end;
        text = stop < end ? stop + 1 : end;
        trim(&from, &stop);
        if (stop - from < 4 || strncasecmp(from, "for=", 4) != 0)
            continue;
        from += 4;
        if (stop - from >= 2 && *from == '"' && stop[-1] == '"') {
            from++;
            stop--;
        }
        return network_read(from, (size_t)(stop - from), out);
    }
    return false;
}

/* More proxies than anybody has; the walk costs the length of the header for each. */
#define HOPS_MAX 16

static void walk(const char *values, const struct networks *trusted,
                 bool (*read)(const char *text, const char *end, struct sockaddr_storage *out),
                 struct sockaddr_storage *client)
{
    const char *end = values ? values + strlen(values) : NULL, *start;
    struct sockaddr_storage found;

    for (int hops = 0; values && hops < HOPS_MAX; hops++, end = start - 1) {
        if (!networks_contain(trusted, (struct sockaddr *)client))
            return;
        start = last_element(values, end);
        if (!read(start, end, &found))
            return;
        *client = found;
        if (start == values)
            return;
    }
}

void forwarded_for(const char *values, const struct networks *trusted,
                   struct sockaddr_storage *client)
{
    walk(values, trusted, read_plain, client);
}

void forwarded_by_rfc(const char *values, const struct networks *trusted,
                      struct sockaddr_storage *client)
{
    walk(values, trusted, read_rfc, client);
}
