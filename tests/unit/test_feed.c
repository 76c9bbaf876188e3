/* Feeds: whatever is sent of each view, the bytes are those of one encoding from the start. Each
 * case runs with an encoder without state and with one that has state. */
#include "../case.h"
#include "protocol/feed.h"
#include "protocol/native.h"
#include "run/pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST (64u * 1024)

/* ---- an encoder with state ---- */

/* Its frames say how many events came and what the last was; it has none for events named "mute".
 */
struct counter_state {
    unsigned bytes; /* of all deltas and other JSON */
    unsigned done;
};

static void counter_begin(void *state, const struct encoding *encoding, uint64_t after,
                          struct buf *out)
{
    (void)state;
    buf_printf(out, "<%s %u>", encoding->run->id, (unsigned)after);
}

static void counter_event(void *state, const struct encoding *encoding, const struct event *event,
                          struct buf *out)
{
    struct counter_state *counter = state;
    const char *inside = event->json;
    size_t length = event->json_length;

    (void)encoding;
    if (event_is(event, "mute"))
        return;
    pack_delta(event, &inside, &length);
    counter->bytes += (unsigned)length;
    counter->done += event_is(event, "done");
    buf_printf(out, "[%u %u ", (unsigned)event->sequence, counter->bytes);
    buf_append(out, event->json, event->json_length);
    buf_puts(out, "]");
}

static void counter_gap(void *state, const struct encoding *encoding, const struct run_gap *gap,
                        struct buf *out)
{
    (void)state;
    (void)encoding;
    buf_printf(out, "(%u %u)", (unsigned)gap->from, (unsigned)gap->to);
}

static void counter_end(void *state, const struct encoding *encoding, struct buf *out)
{
    struct counter_state *counter = state;

    (void)encoding;
    ck_assert_uint_eq(counter->done, 1);
    buf_printf(out, "{%u}", counter->bytes);
}

static const struct encoder encoder_counter = {
    .name = "counter",
    .content_type = "text/plain",
    .state_size = sizeof(struct counter_state),
    .begin = counter_begin,
    .event = counter_event,
    .gap = counter_gap,
    .end = counter_end,
};

/* ---- the log and its reader ---- */

static const struct run_identity run = {.id = "7q3vj5k8m2n4p6r9s1t0w2xyzh", .agent = "echo"};
static const struct encoding encoding = {.run = &run};
static const struct run_gap no_gap = {.to = 0};

static const struct encoder *encoder;
static struct eventlog *eventlog;
static struct feed_blocks *blocks;
static struct feed feed;
static struct buf got, left; /* bytes that were sent; bytes that the last view had besides */

/* Bytes that a view may have besides, of frames whose events were dropped. */
static size_t kept_most;

static void setup_with(const struct encoder *chosen)
{
    encoder = chosen;
    eventlog = eventlog_create();
    blocks = feed_blocks_create();
    feed = (struct feed){.sent = 0};
    got = left = (struct buf){0};
    kept_most = 0;
}

static void setup_stateless(void)
{
    setup_with(&encoder_native);
}

static void setup_stateful(void)
{
    setup_with(&encoder_counter);
}

static void teardown(void)
{
    feed_close(&feed);
    feed_blocks_destroy(blocks);
    eventlog_destroy(eventlog);
    buf_finish(&got);
    buf_finish(&left);
}

static void append(const char *type, const char *json, size_t length)
{
    struct event event = {
        .type = type, .type_length = strlen(type), .json = json, .json_length = length};

    eventlog_append(eventlog, &event);
}

static void append_delta(size_t length)
{
    char *json = malloc(length + 16);

    strcpy(json, "{\"delta\":\"");
    for (size_t i = 0; i < length; i++)
        json[10 + i] = (char)('a' + i % 26);
    strcpy(json + 10 + length, "\"}");
    append("text", json, length + 12);
    free(json);
}

static void append_random(void)
{
    static const size_t lengths[] = {10, 10, 10, 100, 1000, 20000, 200000};
    static const char *const types[] = {"step", "mute", "state", "x"};
    size_t length = (size_t)rand() % lengths[rand() % 7];

    if (rand() % 3 > 0)
        append_delta(length);
    else
        append(types[rand() % 4], "{\"n\":1}", 7);
}

static void open_after(struct feed *opened, uint64_t after)
{
    struct log_cursor cursor = eventlog_seek(eventlog, after);

    feed_open(opened, encoder, &encoding, eventlog, &cursor, after, &no_gap);
}

/* The bytes of a stream after this event, by encoding all events from the start. */
static void encode_all(uint64_t after, struct buf *out)
{
    struct counter_state state = {0};
    struct log_cursor cursor = eventlog->start;
    struct buf scratch = {0}, silent = {0};
    struct event event;

    encoder->begin(&state, &encoding, after, out);
    while (cursor.at < eventlog->end.at) {
        eventlog_read(eventlog, &cursor, &scratch, &event);
        encoder->event(&state, &encoding, &event, cursor.sequence > after ? out : &silent);
    }
    buf_finish(&scratch);
    buf_finish(&silent);
}

static void expect_same(const struct buf *a, const struct buf *b)
{
    ck_assert_uint_eq(buf_length(a), buf_length(b));
    if (buf_length(a) > 0)
        ck_assert_mem_eq(buf_data(a), buf_data(b), buf_length(a));
}

/* Send once, all or at most this number of bytes, and check that the view begins with what was left
 * of the one before. */
static bool send_once(size_t most)
{
    struct iovec pieces[2];
    struct buf view = {0};
    size_t sent;
    bool last;
    int count = feed_view(&feed, blocks, MOST, true, pieces, &last);

    ck_assert_int_le(count, 2);
    for (int i = 0; i < count; i++)
        buf_append(&view, pieces[i].iov_base, pieces[i].iov_len);
    ck_assert_uint_le(buf_length(&view), MOST + 1024 + kept_most);
    if (buf_length(&left) > 0 && kept_most == 0)
        expect_same(&view, &left);
    ck_assert_uint_ge(buf_length(&view), buf_length(&left));
    if (buf_length(&left) > 0)
        ck_assert_mem_eq(buf_data(&view), buf_data(&left), buf_length(&left));
    sent = buf_length(&view) < most ? buf_length(&view) : most;
    buf_append(&got, buf_data(&view), sent);
    buf_consume(&view, sent);
    buf_swap(&left, &view);
    buf_finish(&view);
    feed_sent(&feed, blocks, sent);
    if (last && buf_length(&left) == 0 && !feed.over)
        ck_assert_uint_eq(feed_backlog(&feed), 0);
    return last && buf_length(&left) == 0;
}

static void expect_all_after(uint64_t after)
{
    struct buf wanted = {0};

    while (!send_once(SIZE_MAX))
        continue;
    encode_all(after, &wanted);
    expect_same(&got, &wanted);
    buf_finish(&wanted);
}

CASES("feed of an encoder without state", .setup = setup_stateless, .teardown = teardown);
CASES("feed of an encoder with state", .setup = setup_stateful, .teardown = teardown);

CASE(nothing_but_the_beginning)
{
    open_after(&feed, 0);
    ck_assert(send_once(SIZE_MAX));
    expect_all_after(0);
}

CASE(all_at_once)
{
    for (int i = 0; i < 20; i++)
        append_delta(10);
    open_after(&feed, 0);
    ck_assert(send_once(SIZE_MAX));
    expect_all_after(0);
}

CASE(after_each_event)
{
    for (int i = 0; i < 8; i++) {
        append_delta(10);
        append("mute", "1", 1);
        append("step", "{\"name\":\"x\"}", 12);
    }
    for (uint64_t after = 0; after <= 24; after++) {
        open_after(&feed, after);
        expect_all_after(after);
        buf_finish(&got);
        feed_close(&feed);
    }
    feed = (struct feed){.sent = 0};
}

/* At each byte once. */
CASE(byte_by_byte)
{
    for (int i = 0; i < 5; i++)
        append_delta(10);
    append("step", "1", 1);
    open_after(&feed, 0);
    while (!send_once(1))
        continue;
    expect_all_after(0);
}

CASE(large_events)
{
    append_delta(10);
    append_delta(900000);
    append_delta(10);
    append_delta(MOST);
    open_after(&feed, 0);
    while (!send_once(1 + (size_t)rand() % 100000))
        continue;
    expect_all_after(0);
}

CASE(heartbeat)
{
    open_after(&feed, 0);
    send_once(SIZE_MAX);
    buf_finish(&got);
    feed_beat(&feed);
    append_delta(3);
    ck_assert(send_once(SIZE_MAX));
    ck_assert_mem_eq(buf_data(&got), ENCODER_HEARTBEAT, strlen(ENCODER_HEARTBEAT));
}

CASE(gap)
{
    struct run_gap missing = {.from = 1, .to = 3};
    struct log_cursor cursor;
    struct buf wanted = {0};

    for (int i = 0; i < 5; i++)
        append_delta(10);
    eventlog_drop(eventlog, (size_t)(eventlog->end.at - eventlog_seek(eventlog, 3).at),
                  eventlog->end.at);
    cursor = eventlog_seek(eventlog, 0);
    ck_assert_uint_eq(cursor.sequence, 3);
    feed_open(&feed, encoder, &encoding, eventlog, &cursor, 0, &missing);
    encoder->begin(NULL, &encoding, 0, &wanted);
    encoder->gap(NULL, &encoding, &missing, &wanted);
    ck_assert(send_once(SIZE_MAX));
    ck_assert_uint_gt(buf_length(&got), buf_length(&wanted));
    ck_assert_mem_eq(buf_data(&got), buf_data(&wanted), buf_length(&wanted));
    buf_finish(&wanted);
}

CASE(end)
{
    append_delta(3);
    append("done", "{}", 2);
    open_after(&feed, 0);
    ck_assert(send_once(SIZE_MAX));
    if (encoder == &encoder_counter)
        ck_assert_mem_eq(buf_data(&got) + buf_length(&got) - 3, "{5}", 3);
}

/* Events come between sends of any length, and other feeds take the blocks away. */
CASE_LOOP(random_use, 0, 8)
{
    struct feed other;

    srand((unsigned)_i);
    open_after(&feed, 0);
    for (int round = 0; round < 400; round++) {
        for (int i = rand() % 5; i > 0; i--)
            append_random();
        send_once(rand() % 3 ? (size_t)rand() % 3000 : (size_t)rand() % (2 * MOST));
        for (int i = rand() % 4; i > 0 && eventlog_last(eventlog) > 0; i--) {
            struct iovec pieces[2];
            bool last;
            open_after(&other, (uint64_t)rand() % eventlog_last(eventlog));
            feed_view(&other, blocks, MOST, true, pieces, &last);
            feed_sent(&other, blocks, 0);
            feed_close(&other);
        }
    }
    expect_all_after(0);
}

/* Events are dropped while their frames are sent in part: those end, and a gap follows. */
CASE_LOOP(dropped_while_sent, 0, 8)
{
    uint64_t number = 0; /* of the last event whose frames are whole, or that is missing */
    unsigned gaps = 0;

    srand((unsigned)_i);
    kept_most = 300000;
    open_after(&feed, 0);
    send_once(SIZE_MAX);
    for (int round = 0; round < 100; round++) {
        for (int i = rand() % 20; i > 0; i--)
            append_random();
        send_once(rand() % 2 ? (size_t)rand() % 3000 : (size_t)rand() % (2 * MOST));
        if (rand() % 4 == 0 &&
            eventlog_surplus(eventlog, 5000, eventlog->end.at).at > feed.cursor.at) {
            size_t kept = feed_lose(&feed, blocks, MOST);
            ck_assert_uint_le(kept, MOST + 300000);
            eventlog_drop(eventlog, 5000, eventlog->end.at);
            if (feed.cursor.at < eventlog->start.at) {
                feed_gap(&feed, &eventlog->start);
                gaps++;
            }
        }
    }
    while (!send_once(SIZE_MAX))
        continue;
    ck_assert_uint_gt(gaps, 0);
    if (encoder == &encoder_counter)
        return; /* its frames have no borders */
    buf_append(&got, "", 1);
    for (char *at = strstr(buf_data(&got), "\n\n") + 2; *at; at = strstr(at, "\n\n") + 2) {
        unsigned long long from, to, id;
        if (sscanf(at, "event: gap\ndata: {\"from\":%llu,\"to\":%llu}", &from, &to) == 2) {
            ck_assert_uint_eq(from, number + 1);
            ck_assert_uint_ge(to, from);
            number = to;
            gaps--;
        } else {
            ck_assert_int_eq(sscanf(strstr(at, "\nid: ") + 5 + RUN_ID_LENGTH, ".%llu\n\n", &id), 1);
            ck_assert_uint_eq(id, ++number);
        }
    }
    ck_assert_uint_eq(number, eventlog_last(eventlog));
    ck_assert_uint_eq(gaps, 0);
}

/* What was begun stays as it is, although the log has grown and more could be packed. */
CASE_LOOP(packed, 0, 8)
{
    struct buf plain = {0};
    struct log_cursor cursor;
    struct event event;
    struct pack pack = {.scratch = {0}};
    struct counter_state state = {0};

    srand((unsigned)_i);
    open_after(&feed, 0);
    for (int round = 0; round < 400; round++) {
        for (int i = rand() % 5; i > 0; i--)
            append_random();
        feed_pack(&feed, true);
        send_once((size_t)rand() % 3000);
    }
    while (!send_once(SIZE_MAX))
        feed_pack(&feed, true);
    if (encoder == &encoder_counter) { /* the state says that no byte of any delta is missing */
        cursor = eventlog->start;
        while (cursor.at < eventlog->end.at) {
            eventlog_read(eventlog, &cursor, &pack.scratch, &event);
            encoder->event(&state, &encoding, &event, &plain);
        }
        ck_assert_mem_eq(feed.state, &state, sizeof state);
        ck_assert_uint_lt(buf_length(&got), buf_length(&plain));
    }
    buf_finish(&plain);
    pack_finish(&pack);
}

/* Readers at the same place share what was encoded: the counter is asked once. */
static unsigned calls;

static void counting_event(void *state, const struct encoding *told, const struct event *event,
                           struct buf *out)
{
    calls++;
    encoder_native.event(state, told, event, out);
}

CASES("shared blocks", .setup = setup_stateless, .teardown = teardown);

CASE(readers_at_one_place_share_a_block)
{
    struct encoder counting = encoder_native;
    struct feed feeds[100];

    counting.event = counting_event;
    encoder = &counting;
    for (int i = 0; i < 100; i++)
        open_after(&feeds[i], 0);
    calls = 0;
    for (int n = 0; n < 5000; n++)
        append_delta(10);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 100; i++) {
            struct iovec pieces[2];
            bool last;
            int count = feed_view(&feeds[i], blocks, MOST, true, pieces, &last);
            feed_sent(&feeds[i], blocks,
                      pieces[0].iov_len * (count > 0) + (count > 1 ? pieces[1].iov_len : 0));
        }
    }
    for (int i = 0; i < 100; i++) {
        ck_assert_uint_eq(feed_backlog(&feeds[i]), 0);
        feed_close(&feeds[i]);
    }
    ck_assert_uint_eq(calls, 5000);
}

CASES("blocks of an encoder with state", .setup = setup_stateful, .teardown = teardown);

/* The late reader has not seen the events that were dropped, so its frames are others. */
CASE(readers_with_other_states_share_no_block)
{
    struct buf first = {0};
    struct feed late;

    append_delta(10);
    open_after(&feed, 0);
    ck_assert(send_once(SIZE_MAX));
    eventlog_drop(eventlog, 0, eventlog->end.at);
    open_after(&late, 1);
    append_delta(5);
    buf_finish(&got);
    ck_assert(send_once(SIZE_MAX));
    buf_swap(&got, &first);
    feed_close(&feed);
    feed = late;
    ck_assert(send_once(SIZE_MAX));
    ck_assert_mem_eq(buf_data(&first), "[2 15 ", 6);
    ck_assert(buf_length(&got) > strlen("<7q3vj5k8m2n4p6r9s1t0w2xyzh 1>[2 5 "));
    ck_assert_mem_eq(buf_data(&got), "<7q3vj5k8m2n4p6r9s1t0w2xyzh 1>[2 5 ", 35);
    buf_finish(&first);
}

/* ---- what ends a stream, and what it was asked for ---- */

CASES("questions and terms", .setup = setup_stateless, .teardown = teardown);

static enum encoder_question ends(const void *state, const struct encoding *told)
{
    (void)state;
    return told->terms ? QUESTION_CANCELS : QUESTION_ENDS;
}

/* Nothing of what follows the question is sent, also in pieces. */
CASE_LOOP(question_ends_the_stream, 1, 40)
{
    struct encoder asking = encoder_native;
    const char *end;

    asking.question = ends;
    encoder = &asking;
    append("text", "{\"delta\":\"a\"}", 13);
    append("input_request", "{\"id\":\"q1\"}", 11);
    append("text", "{\"delta\":\"b\"}", 13);
    open_after(&feed, 0);
    while (!feed.over)
        send_once((size_t)_i);
    send_once((size_t)_i);
    end = "data: {\"id\":\"q1\"}\nid: 7q3vj5k8m2n4p6r9s1t0w2xyzh.2\n\n";
    ck_assert_uint_gt(buf_length(&got), strlen(end));
    ck_assert_mem_eq(buf_data(&got) + buf_length(&got) - strlen(end), end, strlen(end));
    ck_assert(!feed.cancels);
    feed_close(&feed);
    buf_finish(&got);
    open_after(&feed, 2); /* the client comes again with the answer */
    ck_assert(send_once(SIZE_MAX));
    ck_assert(!feed.over);
    ck_assert_ptr_nonnull(memmem(buf_data(&got), buf_length(&got), "{\"delta\":\"b\"}", 13));
}

/* Prints its terms at each event. */
static void termed_event(void *state, const struct encoding *told, const struct event *event,
                         struct buf *out)
{
    (void)state;
    (void)event;
    buf_append(out, told->terms, told->terms_size);
}

CASE(readers_with_other_terms_share_no_block)
{
    struct encoder termed = encoder_native;
    struct log_cursor cursor = eventlog->start;
    struct feed feeds[3];
    char terms[] = "<one>";

    termed.event = termed_event;
    termed.question = ends;
    append("input_request", "{}", 2);
    for (int i = 0; i < 3; i++) {
        const struct encoding told = {
            .run = &run, .terms = i < 2 ? terms : NULL, .terms_size = sizeof terms - 1};
        terms[1] = (char)('a' + i);
        feed_open(&feeds[i], &termed, &told, eventlog, &cursor, 0, &no_gap);
        buf_finish(&feeds[i].own);
    }
    for (int i = 0; i < 3; i++) {
        struct iovec pieces[2];
        bool last;
        int count = feed_view(&feeds[i], blocks, MOST, false, pieces, &last);
        ck_assert(last);
        ck_assert_int_eq(count, i < 2);
        if (i < 2)
            ck_assert_mem_eq(pieces[0].iov_base, i == 0 ? "<ane>" : "<bne>", 5);
        feed_sent(&feeds[i], blocks, i < 2 ? 5 : 0);
        ck_assert(feeds[i].over);
        ck_assert(feeds[i].cancels == (i < 2));
        feed_close(&feeds[i]);
    }
}

/* A question that is closed ends nothing; who has begun its frame is sent the rest of it. */
CASE_LOOP(closed_question_ends_nothing, 1, 30)
{
    struct encoder asking = encoder_native;
    const char *question = "{\"id\":\"q1\"}", *text = "{\"delta\":\"b\"}";

    asking.question = ends;
    encoder = &asking;
    append("input_request", question, strlen(question));
    append("text", text, strlen(text));
    open_after(&feed, 0);
    send_once((size_t)_i);
    eventlog_close(eventlog, 1);
    while (!feed.over && buf_length(&got) < 4096 &&
           memmem(buf_data(&got), buf_length(&got), text, strlen(text)) == NULL)
        send_once((size_t)_i);
    ck_assert(feed.over);
    ck_assert_ptr_nonnull(memmem(buf_data(&got), buf_length(&got), question, strlen(question)));
    feed_close(&feed);
    buf_finish(&got);
    open_after(&feed, 0);
    while (memmem(buf_data(&got), buf_length(&got), text, strlen(text)) == NULL) {
        ck_assert(!feed.over);
        send_once(SIZE_MAX);
    }
}
