#include "run/pack.h"

#include <string.h>

#define BEFORE "{\"delta\":\""
#define AFTER  "\"}"

/* Most bytes between the quotes of a packed event. */
#define INSIDE_MAX (PACK_MAX - strlen(BEFORE AFTER))

bool pack_delta(const struct event *event, const char **inside, size_t *length)
{
    size_t before = strlen(BEFORE), after = strlen(AFTER);
    const char *at, *end;

    if (!event_is(event, "text") || event->json_length < before + after ||
        memcmp(event->json, BEFORE, before) != 0)
        return false;
    end = event->json + event->json_length - after;
    at = event->json + before;
    *inside = at;
    *length = (size_t)(end - at);
    while (at < end && *at != '"')
        at += *at == '\\' ? 2 : 1;
    return at == end && memcmp(end, AFTER, after) == 0;
}

uint64_t pack_text(const struct eventlog *log, const char *run_id, uint64_t from, struct buf *out)
{
    struct buf scratch = {0}, json = {0};
    struct event event, packed = {.type = "text", .type_length = 4};
    uint64_t at = from;
    size_t length, packed_length = 0;
    unsigned count = 0;
    const char *inside;

    buf_puts(&json, BEFORE);
    while (at < log->ring.end) {
        uint64_t next = eventlog_read(log, at, &scratch, &event);
        if (!pack_delta(&event, &inside, &length) || packed_length + length > INSIDE_MAX)
            break;
        buf_append(&json, inside, length);
        packed_length += length;
        packed.sequence = event.sequence;
        count++;
        at = next;
    }
    buf_puts(&json, AFTER);
    packed.json = buf_data(&json);
    packed.json_length = buf_length(&json);
    if (count >= 2)
        encode_sse_event(out, run_id, &packed);
    buf_finish(&json);
    buf_finish(&scratch);
    return count >= 2 ? at : from;
}

uint64_t pack_find(const struct eventlog *log, uint64_t from, size_t most)
{
    size_t length, last_length = PACK_MAX;
    uint64_t at = from, last = from; /* the event before */
    struct buf scratch = {0};
    struct event event;
    const char *inside;
    bool found = false;

    while (at < log->ring.end && last - from < most) {
        uint64_t next = eventlog_read(log, at, &scratch, &event);
        if (!pack_delta(&event, &inside, &length))
            length = PACK_MAX;
        found = length + last_length <= INSIDE_MAX;
        if (found)
            break;
        last = at;
        last_length = length;
        at = next;
    }
    buf_finish(&scratch);
    return found || at < log->ring.end ? last : at;
}
