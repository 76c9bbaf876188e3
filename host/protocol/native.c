#include "protocol/native.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define EVENT_FIELD "event: "
#define DATA_FIELD  "\ndata: "
#define ID_FIELD    "\nid: "
#define END         "\n\n"

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

size_t encode_sse_head(char head[ENCODE_SSE_HEAD_MAX], const struct event *event)
{
    char *to = head;

    assert(event->type_length + strlen(EVENT_FIELD DATA_FIELD) <= ENCODE_SSE_HEAD_MAX);
    to = put(to, EVENT_FIELD, strlen(EVENT_FIELD));
    to = put(to, event->type, event->type_length);
    to = put(to, DATA_FIELD, strlen(DATA_FIELD));
    return (size_t)(to - head);
}

size_t encode_sse_tail(char tail[ENCODE_SSE_TAIL_MAX], const char *run_id,
                       const struct event *event)
{
    size_t id_length = strlen(run_id);
    char *to = tail;

    assert(id_length + 20 + strlen(ID_FIELD "." END) <= ENCODE_SSE_TAIL_MAX);
    to = put(to, ID_FIELD, strlen(ID_FIELD));
    to = put(to, run_id, id_length);
    to = put(to, ".", 1);
    to = put_number(to, event->sequence);
    to = put(to, END, strlen(END));
    return (size_t)(to - tail);
}

void encode_sse_begin(struct buf *out, const char *run_id, uint64_t after)
{
    buf_printf(out, "retry: 1000" ID_FIELD "%s.%llu" END, run_id, (unsigned long long)after);
}

void encode_sse_event(struct buf *out, const char *run_id, const struct event *event)
{
    buf_commit(out, encode_sse_head(buf_reserve(out, ENCODE_SSE_HEAD_MAX), event));
    buf_append(out, event->json, event->json_length);
    buf_commit(out, encode_sse_tail(buf_reserve(out, ENCODE_SSE_TAIL_MAX), run_id, event));
}

/* The text behind the field, which must be here; NULL otherwise. */
static const char *skip(const char *at, const char *end, const char *field)
{
    size_t length = strlen(field);

    if (at == NULL || (size_t)(end - at) < length || memcmp(at, field, length) != 0)
        return NULL;
    return at + length;
}

static const char *line_end(const char *at, const char *end)
{
    return at ? memchr(at, '\n', (size_t)(end - at)) : NULL;
}

static uint64_t read_number(const char *at, const char *end)
{
    uint64_t number = 0;

    while (at && at < end && *at >= '0' && *at <= '9')
        number = number * 10 + (uint64_t)(*at++ - '0');
    return number;
}

int encode_sse_read(const char *text, size_t length, struct event *event)
{
    const char *end = text + length;
    const char *type = skip(text, end, EVENT_FIELD), *type_end = line_end(type, end);
    const char *json = skip(type_end, end, DATA_FIELD), *json_end = line_end(json, end);
    const char *id = skip(json_end, end, ID_FIELD), *id_end = line_end(id, end);
    const char *dot = id_end ? memchr(id, '.', (size_t)(id_end - id)) : NULL;

    if (dot == NULL || skip(id_end, end, END) != end)
        return -EINVAL;
    *event = (struct event){.sequence = read_number(dot + 1, id_end),
                            .type = type,
                            .type_length = (size_t)(type_end - type),
                            .json = json,
                            .json_length = (size_t)(json_end - json)};
    return 0;
}
