#include "wire/frames.h"

#include <errno.h>
#include <string.h>

static const struct {
    const char *name;
    enum wire_side sender;
    size_t least;
    size_t most;
} frames[WIRE_TYPES] = {
#define X(name, side, least, most) {#name, WIRE_##side, least, most},
    WIRE_FRAMES(X)
#undef X
};

static const char word_chars[256] = {
    ['a' ... 'z'] = 1, ['A' ... 'Z'] = 1, ['0' ... '9'] = 1, ['_'] = 1,
    ['-'] = 1,         ['.'] = 1,         [':'] = 1};

size_t wire_word_length(const char *word)
{
    size_t length = 0;

    while (length <= WIRE_TYPE_MAX && word_chars[(unsigned char)word[length]])
        length++;
    return word[length] == '\0' && length <= WIRE_TYPE_MAX ? length : 0;
}

/* By length, for each event asks. */
static bool type_is_taken(const char *type, size_t length)
{
    switch (length) {
    case 3:
        return memcmp(type, "run", 3) == 0 || memcmp(type, "gap", 3) == 0;
    case 4:
        return memcmp(type, "done", 4) == 0 || memcmp(type, "open", 4) == 0;
    case 5:
        return memcmp(type, "error", 5) == 0;
    default:
        return false;
    }
}

bool wire_type_is_free(const char *type, size_t length)
{
    if (length == 0 || length > WIRE_TYPE_MAX)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!word_chars[(unsigned char)type[i]])
            return false;
    }
    return !type_is_taken(type, length);
}

const char *wire_name(enum wire_type type)
{
    return frames[type].name;
}

static void append_header(struct buf *buf, enum wire_type type, uint32_t run, size_t length)
{
    struct wire_header header = {
        .length = (uint32_t)length, .type = (uint16_t)type, .zero = 0, .run = run};

    buf_append(buf, &header, sizeof header);
}

void wire_append(struct buf *buf, enum wire_type type, uint32_t run, const void *data,
                 size_t length)
{
    append_header(buf, type, run, length);
    buf_append(buf, data, length);
}

char *wire_write_event(struct buf *buf, uint32_t run, const char *type, size_t type_length,
                       size_t json_length)
{
    struct wire_header header = {
        .length = (uint32_t)(1 + type_length + json_length), .type = WIRE_EVENT, .run = run};
    char *to = buf_reserve(buf, sizeof header + header.length);

    memcpy(to, &header, sizeof header);
    to += sizeof header;
    *to++ = (char)type_length;
    memcpy(to, type, type_length);
    return to + type_length;
}

void wire_append_written(struct buf *buf, size_t type_length, size_t json_length)
{
    buf_commit(buf, sizeof(struct wire_header) + 1 + type_length + json_length);
}

void wire_append_pair(struct buf *pairs, const char *key, const char *value)
{
    buf_append(pairs, key, strlen(key) + 1);
    buf_append(pairs, value, strlen(value) + 1);
}

void wire_append_input(struct buf *buf, uint32_t run, uint32_t question, const char *json,
                       size_t length)
{
    append_header(buf, WIRE_INPUT, run, sizeof question + length + 1);
    buf_append(buf, &question, sizeof question);
    buf_append(buf, json, length);
    buf_append(buf, "", 1);
}

void wire_append_end(struct buf *buf, uint32_t run, const struct wire_end *end)
{
    uint8_t status = (uint8_t)end->status;
    size_t code = strlen(end->code) + 1, message = strlen(end->message) + 1;
    size_t result = strlen(end->result) + 1;

    append_header(buf, WIRE_END, run, 1 + code + message + result);
    buf_append(buf, &status, 1);
    buf_append(buf, end->code, code);
    buf_append(buf, end->message, message);
    buf_append(buf, end->result, result);
}

static bool header_is_valid(const struct wire_header *header, enum wire_side sender)
{
    return header->zero == 0 && header->type < WIRE_TYPES &&
           frames[header->type].sender == sender && header->length >= frames[header->type].least &&
           header->length <= frames[header->type].most;
}

ssize_t wire_next(const struct buf *buf, enum wire_side sender, struct wire_frame *frame)
{
    struct wire_header header;

    if (buf_length(buf) < sizeof header)
        return 0;
    memcpy(&header, buf_data(buf), sizeof header);
    if (!header_is_valid(&header, sender))
        return -EPROTO;
    if (buf_length(buf) < sizeof header + header.length)
        return 0;
    *frame = (struct wire_frame){.type = header.type,
                                 .run = header.run,
                                 .data = buf_data(buf) + sizeof header,
                                 .length = header.length};
    return (ssize_t)(sizeof header + header.length);
}

size_t wire_whole(const struct buf *buf, enum wire_side sender)
{
    struct buf rest = *buf;
    struct wire_frame frame;
    ssize_t size;

    while ((size = wire_next(&rest, sender, &frame)) > 0)
        rest.start += (size_t)size;
    return rest.start - buf->start;
}

int wire_read_event(const struct wire_frame *frame, const char **type, size_t *type_length,
                    const char **json, size_t *json_length)
{
    size_t length = (uint8_t)frame->data[0];

    if (length == 0 || length > WIRE_TYPE_MAX || 1 + length >= frame->length)
        return -EPROTO;
    *type = frame->data + 1;
    *type_length = length;
    *json = frame->data + 1 + length;
    *json_length = frame->length - 1 - length;
    return 0;
}

int wire_read_string(const struct wire_frame *frame, size_t *at, const char **text)
{
    const char *from = frame->data + *at;
    const char *end;

    if (*at == frame->length)
        return 0;
    end = memchr(from, '\0', frame->length - *at);
    if (end == NULL)
        return -EPROTO;
    *text = from;
    *at += (size_t)(end - from) + 1;
    return 1;
}

const char *wire_find(const struct wire_frame *frame, const char *wanted)
{
    const char *key, *value;
    size_t at = 0;

    while (wire_read_string(frame, &at, &key) == 1 && wire_read_string(frame, &at, &value) == 1) {
        if (strcmp(key, wanted) == 0)
            return value;
    }
    return NULL;
}

int wire_read_end(const struct wire_frame *frame, struct wire_end *end)
{
    size_t at = 1;
    uint8_t status = (uint8_t)frame->data[0];

    if (status > WIRE_CANCELLED || wire_read_string(frame, &at, &end->code) != 1 ||
        wire_read_string(frame, &at, &end->message) != 1 ||
        wire_read_string(frame, &at, &end->result) != 1 || at != frame->length)
        return -EPROTO;
    end->status = status;
    return 0;
}
