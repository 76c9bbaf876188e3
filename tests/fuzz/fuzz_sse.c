/* Any bytes are a stream of server-sent events: in pieces they are the same events as at once. The
 * first byte says how large the pieces are. */
#include "fuzz.h"

#include <agent_sse.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* All events, each as type LF data NUL. */
struct events {
    char *bytes;
    size_t length;
};

static int take(void *arg, const char *type, const char *data)
{
    struct events *events = arg;
    size_t type_length = strlen(type), data_length = strlen(data);
    char *to;

    events->bytes = realloc(events->bytes, events->length + type_length + data_length + 2);
    to = events->bytes + events->length;
    memcpy(to, type, type_length);
    to[type_length] = '\n';
    memcpy(to + type_length + 1, data, data_length + 1);
    events->length += type_length + data_length + 2;
    return 0;
}

static int read_in(size_t piece, const uint8_t *data, size_t size, struct events *events)
{
    struct agent_sse sse = {0};
    int status = 0;

    for (size_t at = 0; at < size && status == 0; at += piece)
        status = agent_sse_feed(&sse, (const char *)data + at,
                                size - at < piece ? size - at : piece, take, events);
    if (status == 0)
        status = agent_sse_feed(&sse, "\n\n", 2, take, events);
    agent_sse_finish(&sse);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct events whole = {0}, pieces = {0};

    if (size < 2)
        return 0;
    assert(read_in(size, data + 1, size - 1, &whole) ==
           read_in(1 + *data % 16, data + 1, size - 1, &pieces));
    assert(whole.length == pieces.length);
    assert(whole.length == 0 || memcmp(whole.bytes, pieces.bytes, whole.length) == 0);
    free(whole.bytes);
    free(pieces.bytes);
    return 0;
}
