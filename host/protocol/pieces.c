#include "protocol/pieces.h"

#include "base/json.h"

bool piece_delta_among(const struct event *event, struct piece *inside)
{
    if (!piece_find_kind(event, "delta", '"', inside))
        return false;
    inside->at++;
    inside->length -= 2;
    return true;
}

bool piece_find(const struct event *event, const char *name, struct piece *value)
{
    return json_member_find(event->json, event->json_length, name, &value->at, &value->length);
}

bool piece_find_kind(const struct event *event, const char *name, char first, struct piece *value)
{
    return piece_find(event, name, value) && *value->at == first;
}

bool piece_find_in(const struct piece *object, const char *name, struct piece *value)
{
    return json_member_find(object->at, object->length, name, &value->at, &value->length);
}

bool piece_is(const struct piece *piece, const char *text)
{
    return piece->length == strlen(text) && memcmp(piece->at, text, piece->length) == 0;
}

void piece_append(const struct piece *piece, struct buf *out)
{
    buf_append(out, piece->at, piece->length);
}

void piece_quote(const char *text, size_t length, struct buf *out)
{
    ssize_t escaped = json_escaped_length(text, length);
    char *begin, *to;

    if (escaped < 0)
        escaped = 0;
    begin = buf_reserve(out, (size_t)escaped + 2);
    to = PUT_LITERAL(begin, "\"");
    if (escaped > 0)
        to += json_escape(to, text, length);
    to = PUT_LITERAL(to, "\"");
    buf_commit(out, (size_t)(to - begin));
}

void piece_append_text(const struct piece *piece, struct buf *out)
{
    if (*piece->at == '"')
        piece_append(piece, out);
    else
        piece_quote(piece->at, piece->length, out);
}

bool piece_count(const struct event *event, const char *name, uint64_t *count)
{
    struct piece value;

    *count = 0;
    if (!piece_find(event, name, &value) || value.length > 15)
        return false;
    for (size_t i = 0; i < value.length; i++) {
        if (value.at[i] < '0' || value.at[i] > '9')
            return false;
        *count = *count * 10 + (uint64_t)(value.at[i] - '0');
    }
    return true;
}

uint32_t piece_tokens(const struct event *event, const char *name)
{
    uint64_t count;

    return piece_count(event, name, &count) && count < UINT32_MAX ? (uint32_t)count + 1 : 0;
}
