/*
 * A type's number is its enum event_kind for the names that everybody uses, else the
 * place of the name in the run's own table plus OWN_FIRST. The table is bounded: an
 * agent that makes up a new name for each event has the names beyond OWN_MAX in
 * its records (RECORD_NAMED).
 *
 * Numbers never change, so a record can be read as long as its log lives. An
 * agent mostly emits the type that it emitted before: record_append() compares
 * with that one first.
 */
#include "run/record.h"

#include "base/mem.h"
#include "wire/frames.h"

#include <assert.h>
#include <stdlib.h>

#define HEAD         4u
#define OWN_FIRST    16u
#define OWN_MAX      64u
#define RECORD_NAMED 255u

struct record_type {
    uint8_t length;
    char name[WIRE_TYPE_MAX];
};

static const struct record_type common[] = {
#define X(name) {sizeof(#name) - 1, #name},
    {0, ""}, /* EVENT_OTHER; no type is empty */
    EVENT_KINDS(X)
#undef X
};

#define COMMON (sizeof common / sizeof *common)

static const struct record_type *type_at(const struct record_types *types, unsigned number)
{
    return number < OWN_FIRST ? &common[number] : &types->own[number - OWN_FIRST];
}

static bool type_is(const struct record_type *type, const struct event *event)
{
    return type->length == event->type_length && memcmp(type->name, event->type, type->length) == 0;
}

/* Give the event's type a place in the run's own table. */
static unsigned type_add(struct record_types *types, const struct event *event)
{
    struct record_type *type;

    assert(event->type_length <= WIRE_TYPE_MAX);
    if (types->count == OWN_MAX)
        return RECORD_NAMED;
    if ((types->count & (types->count - 1)) == 0) /* a power of two: the table is full */
        types->own =
            mem_realloc(types->own, (types->count ? 2 * types->count : 1) * sizeof *types->own);
    type = &types->own[types->count];
    type->length = (uint8_t)event->type_length;
    memcpy(type->name, event->type, event->type_length);
    return OWN_FIRST + types->count++;
}

static unsigned type_number(struct record_types *types, const struct event *event)
{
    if (types->last != RECORD_NAMED && type_is(type_at(types, types->last), event))
        return types->last;
    for (unsigned i = EVENT_OTHER + 1; i < COMMON; i++) {
        if (type_is(&common[i], event))
            return i;
    }
    for (unsigned i = 0; i < types->count; i++) {
        if (type_is(&types->own[i], event))
            return OWN_FIRST + i;
    }
    return type_add(types, event);
}

struct record_head record_append(struct ring *ring, struct record_types *types,
                                 const struct event *event)
{
    struct record_head head = {.type = types->last = type_number(types, event),
                               .type_length = event->type_length,
                               .json_length = event->json_length};
    bool named = head.type == RECORD_NAMED;
    size_t rest = event->json_length + (named ? 1 + event->type_length : 0);
    uint32_t word = head.type | (uint32_t)rest << 8;
    uint64_t at = ring->end;
    char *to;

    assert(rest < 1u << 24);
    head.size = HEAD + rest;
    to = ring_claim(ring, head.size);
    if (to && !named) { /* nearly always */
        memcpy(to, &word, HEAD);
        memcpy(to + HEAD, event->json, event->json_length);
        return head;
    }
    ring_put(ring, at, &word, HEAD);
    at += HEAD;
    if (named) {
        uint8_t length = (uint8_t)event->type_length;
        ring_put(ring, at, &length, 1);
        ring_put(ring, at + 1, event->type, length);
        at += 1u + length;
    }
    ring_put(ring, at, event->json, event->json_length);
    return head;
}

struct record_head record_head(const struct ring *ring, const struct record_types *types,
                               uint64_t at)
{
    uint32_t word;
    struct record_head head;
    size_t rest;

    ring_copy(ring, at, &word, HEAD);
    head.type = word & 0xff;
    rest = word >> 8;
    head.size = HEAD + rest;
    if (head.type == RECORD_NAMED) {
        uint8_t length;
        ring_copy(ring, at + HEAD, &length, 1);
        head.type_length = length;
        head.json_length = rest - 1 - length;
    } else {
        head.type_length = type_at(types, head.type)->length;
        head.json_length = rest;
    }
    return head;
}

struct record_head record_read(const struct ring *ring, const struct record_types *types,
                               uint64_t at, struct buf *scratch, struct event *event)
{
    struct record_head head = record_head(ring, types, at);
    struct iovec pieces[2];
    const char *rest;

    if (ring_view(ring, at + HEAD, at + head.size, pieces) == 2) {
        buf_consume(scratch, buf_length(scratch));
        for (int i = 0; i < 2; i++)
            buf_append(scratch, pieces[i].iov_base, pieces[i].iov_len);
        rest = buf_data(scratch);
    } else {
        rest = pieces[0].iov_base;
    }
    event->kind = head.type < COMMON ? (enum event_kind)head.type : EVENT_OTHER;
    event->type = head.type == RECORD_NAMED ? rest + 1 : type_at(types, head.type)->name;
    event->type_length = head.type_length;
    event->json = head.type == RECORD_NAMED ? rest + 1 + head.type_length : rest;
    event->json_length = head.json_length;
    event->closed = false;
    return head;
}

size_t record_types_memory(const struct record_types *types)
{
    unsigned room = 1;

    if (types->count == 0)
        return 0;
    while (room < types->count)
        room *= 2;
    return room * sizeof *types->own;
}

void record_types_finish(struct record_types *types)
{
    free(types->own);
    *types = (struct record_types){0};
}
