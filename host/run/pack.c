#include "run/pack.h"

#include <string.h>

/* Maximum bytes between the quotes of a packed event. */
#define INSIDE_MAX (PACK_MAX - strlen(EVENT_DELTA_BEFORE EVENT_DELTA_AFTER))

bool pack_delta(const struct event *event, const char **inside, size_t *length)
{
    return event->kind == EVENT_text && event_delta(event, inside, length);
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
    buf_puts(joined, EVENT_DELTA_BEFORE);
    buf_append(joined, inside, length);
    while (cursor->at < limit) {
        struct log_cursor next = *cursor;
        struct event following;
        eventlog_read(log, &next, &pack->scratch, &following);
        if (!pack_delta(&following, &inside, &length) ||
            buf_length(joined) - strlen(EVENT_DELTA_BEFORE) + length > INSIDE_MAX)
            break;
        buf_append(joined, inside, length);
        *cursor = next;
    }
    buf_puts(joined, EVENT_DELTA_AFTER);
    *event = (struct event){.sequence = cursor->sequence,
                            .kind = EVENT_text,
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
