#include "run/event.h"

#include "base/json.h"

enum event_kind event_kind_of(const char *type, size_t length)
{
    static const char *const names[] = {
#define X(name) [EVENT_##name] = #name,
        EVENT_KINDS(X)
#undef X
    };

    for (size_t i = EVENT_OTHER + 1; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i]) == length && memcmp(names[i], type, length) == 0)
            return (enum event_kind)i;
    }
    return EVENT_OTHER;
}

void run_identity_describe(const struct run_identity *run, struct buf *json)
{
    buf_puts(json, "{\"run\":\"");
    buf_append(json, run->id, RUN_ID_LENGTH);
    buf_puts(json, "\",\"agent\":");
    json_append_string(json, run->agent);
    if (run->version) {
        buf_puts(json, ",\"version\":");
        json_append_string(json, run->version);
        buf_puts(json, ",\"generation\":");
        buf_number(json, run->generation);
    }
}

/* Return true if no quote ends the text before its end, and no escape goes beyond it. */
static bool is_one_string(const char *at, const char *end)
{
    if (memchr(at, '"', (size_t)(end - at)) == NULL && (at == end || end[-1] != '\\'))
        return true; /* so it is in most texts */
    while (at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));

        if (memchr(at, '"', (size_t)((escape ? escape : end) - at)))
            return false;
        at = escape ? escape + 2 : end;
    }
    return at == end;
}

bool event_delta(const struct event *event, const char **inside, size_t *length)
{
    size_t before = strlen(EVENT_DELTA_BEFORE), after = strlen(EVENT_DELTA_AFTER);
    const char *end;

    if (event->json_length < before + after || memcmp(event->json, EVENT_DELTA_BEFORE, before) != 0)
        return false;
    end = event->json + event->json_length - after;
    *inside = event->json + before;
    *length = (size_t)(end - *inside);
    return memcmp(end, EVENT_DELTA_AFTER, after) == 0 && is_one_string(*inside, end);
}
