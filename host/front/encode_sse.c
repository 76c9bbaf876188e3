#include "front/encode_sse.h"

#include <assert.h>
#include <string.h>

static char *put(char *to, const char *text, size_t length)
{
    memcpy(to, text, length);
    return to + length;
}

static char *put_number(char *to, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return put(to, digits + at, sizeof digits - at);
}

size_t encode_sse_head(char head[ENCODE_SSE_HEAD_MAX], const char *run_id, uint64_t sequence,
                       const char *type, size_t type_length)
{
    size_t id_length = strlen(run_id);
    char *to = head;

    assert(id_length + type_length + 48 <= ENCODE_SSE_HEAD_MAX);
    to = put(to, "id: ", 4);
    to = put(to, run_id, id_length);
    to = put(to, ".", 1);
    to = put_number(to, sequence);
    to = put(to, "\nevent: ", 8);
    to = put(to, type, type_length);
    to = put(to, "\ndata: ", 7);
    return (size_t)(to - head);
}
