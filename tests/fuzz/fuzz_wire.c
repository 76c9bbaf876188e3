/* Any bytes on a link, in pieces: frames lie in the buffer, and their parts lie in the frame. The
 * first byte says which side sends, and how large the pieces are. */
#include "fuzz.h"

#include "wire/frames.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static void check_text(const struct wire_frame *frame, const char *text)
{
    const char *end = frame->data + frame->length;

    assert(text >= frame->data && text < end);
    assert(memchr(text, '\0', (size_t)(end - text)));
}

static void check_end(const struct wire_frame *frame)
{
    struct wire_end end;
    struct buf again = {0};

    if (wire_read_end(frame, &end) < 0)
        return;
    check_text(frame, end.code);
    check_text(frame, end.message);
    check_text(frame, end.result);
    wire_append_end(&again, frame->run, &end);
    assert(buf_length(&again) == sizeof(struct wire_header) + frame->length);
    assert(memcmp(buf_data(&again) + sizeof(struct wire_header), frame->data, frame->length) == 0);
    buf_finish(&again);
}

static void check_event(const struct wire_frame *frame)
{
    const char *type, *json;
    size_t type_length, json_length;

    if (wire_read_event(frame, &type, &type_length, &json, &json_length) < 0)
        return;
    assert(type_length > 0 && type_length <= WIRE_TYPE_MAX && json_length > 0);
    assert(type + type_length == json && json + json_length == frame->data + frame->length);
    wire_type_is_free(type, type_length);
}

static void check_strings(const struct wire_frame *frame)
{
    const char *text;
    size_t at = 0;

    while (wire_read_string(frame, &at, &text) == 1) {
        check_text(frame, text);
        assert(at <= frame->length);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum wire_side side = size > 0 && *data & 1 ? WIRE_FRONT : WIRE_WORKER;
    size_t piece = size > 0 && *data >> 1 ? *data >> 1 : 1;
    struct buf buf = {0};
    ssize_t length = 0;

    for (size_t at = 1; at < size && length >= 0; at += piece) {
        struct wire_frame frame;

        buf_append(&buf, data + at, size - at < piece ? size - at : piece);
        while ((length = wire_next(&buf, side, &frame)) > 0) {
            assert(frame.length + sizeof(struct wire_header) == (size_t)length);
            assert(frame.data == buf_data(&buf) + sizeof(struct wire_header));
            assert((size_t)length <= buf_length(&buf));
            if (frame.type == WIRE_EVENT)
                check_event(&frame);
            else if (frame.type == WIRE_END)
                check_end(&frame);
            else
                check_strings(&frame);
            buf_consume(&buf, (size_t)length);
        }
        assert(length == 0 || length == -EPROTO);
    }
    buf_finish(&buf);
    return 0;
}
