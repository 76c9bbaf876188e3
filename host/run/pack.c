#include "run/pack.h"

#include <string.h>

#define BEFORE "{\"delta\":\""
#define AFTER  "\"}"

/* Maximum bytes between the quotes of a packed event. */
#define INSIDE_MAX (PACK_MAX - strlen(BEFORE AFTER))

/* Return true if no quote ends the text before its end, and no escape goes beyond it. */
static bool is_one_string(const char *at, const char *end)
{
    while (at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));

        if (memchr(at, '"', (size_t)((escape ? escape : end) - at)))
            return false;
        at = escape ? escape + 2 : end;
    }
    return at == end;
}

bool pack_delta(const struct event *event, const char **inside, size_t *length)
{
    size_t before = strlen(BEFORE), after = strlen(AFTER);
    const char *end;

    if (!event_is(event, "text") || event->json_length < before + after ||
        memcmp(event->json, BEFORE, before) != 0)
        return false;
    end = event->json + event->json_length - after;
    *inside = event->json + before;
    *length = (size_t)(end - *inside);
    return memcmp(end, AFTER, after) == 0 && is_one_string(*inside, end);
}

void pack_read(const struct eventlog *log, struct log_cursor *cursor, uint64_t limit,
               struct pack *pack, struct event *event)
{
    struct buf *joined = &pack->joined;
    const char *inside;
    size_t length;

    eventlog_read(log, cursor, &pack->scratch, event);
    if (!pack_delta(event, &inside, &length))
        return;
    buf_consume(joined, buf_length(joined));
    buf_puts(joined, BEFORE);
    buf_append(joined, inside, length);
    while (cursor->at < limit) {
        struct log_cursor next = *cursor;
        struct event following;
        eventlog_read(log, &next, &pack->scratch, &following);
        if (!pack_delta(&following, &inside, &length) ||
            buf_length(joined) - strlen(BEFORE) + length > INSIDE_MAX)
            break;
        buf_append(joined, inside, length);
        *cursor = next;
    }
    buf_puts(joined, AFTER);
    *event = (struct event){.sequence = cursor->sequence,
                            .type = "text",
                            .type_length = strlen("text"),
                            .json = buf_data(joined),
                            .json_length = buf_length(joined)};
}

void pack_finish(struct pack *pack)
{
    buf_finish(&pack->scratch);
    buf_finish(&pack->joined);
}
